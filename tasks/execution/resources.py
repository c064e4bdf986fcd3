"""How a run uses the machine."""

from pydantic import Field

from hpt_core.base import Frozen
from hpt_core.evaluation.budget import Prices


class ResourcesConfig(Frozen):
    """How a run uses the machine; never part of a fingerprint."""

    parallel_stages: int = Field(1, ge=1)
    """Stages that run at the same time."""
    workers: int = Field(2, ge=1)
    """Verifier processes per stage."""
    threads: int | None = Field(None, ge=1)
    """Torch threads per training process. None divides the available cores among the processes."""
    processes: int | None = Field(None, ge=1)
    """Training processes on this machine. None is one per visible GPU, or one without GPUs."""
    launcher: str | None = Field(None, min_length=1)
    """Command that starts the training processes, instead of torchrun on this machine. `-m MODULE SPEC` is appended to
    it. It is split into words as in a shell, and $NAME is replaced by the environment variable."""
    slices: int | None = Field(None, ge=1)
    """Number of slices that a model's questions are divided into and sampled in parallel. None is one per visible GPU,
    or one without GPUs; on a Ray cluster, one per GPU of the cluster, or per node without GPUs."""
    ray: str | None = Field(None, min_length=1)
    """Address of a Ray cluster that samples the slices, such as "10.0.0.1:6379" or "auto". None is this machine. The
    nodes need this package, and the store at the same path."""
    prices: Prices = Prices()
    """What the machine costs. Manifests then hold the cost of each artifact. evaluate.budget.prices, if set, are those
    of the samples."""
    stage_timeout_s: float | None = Field(None, gt=0)
    """Seconds after which a stage's worker is ended and the stage fails."""
