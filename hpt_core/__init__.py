"""Post-training as a library: `import hpt_core as hpt`.

hpt.grade(gold, response, kind="math")     the verdict on one response
hpt.VerifierPool(workers)                  verdicts on many, in processes that can be killed
hpt.Estimator("hpt", max_length)           the unified policy gradient in a training loop of your own
hpt.run("demo.toml")                       a pipeline, with the events that the command line shows
hpt.open_run("demo.toml")                  its scores, samples and training logs as tables

Importing it loads nothing else: names are loaded as they are used. docs/guides/library.md has examples.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "grade": "hpt_core.verifiers.grading",
    "Verdict": "hpt_core.verifiers.base",
    "Outcome": "hpt_core.verifiers.base",
    "Judgment": "hpt_core.verifiers.base",
    "Verifier": "hpt_core.verifiers.base",
    "VerifierPool": "hpt_core.verifiers.pool",
    "Algorithm": "hpt_core.upge.algorithm",
    "Advantage": "hpt_core.upge.parts",
    "Advantages": "hpt_core.upge.parts",
    "Gate": "hpt_core.gates.base",
    "Estimator": "hpt_core.upge.estimator",
    "Group": "hpt_core.upge.base",
    "TokenBatch": "hpt_core.upge.base",
    "HPTError": "hpt_core.errors",
    "RunOptions": "flows.run",
    "Results": "flows.results",
    "run": "flows.api",
    "open_run": "flows.results",
}
"""Public name -> the module that defines it. `__init__.pyi` says the same to type checkers. `flows` is a higher layer:
users look for its names here, so they are listed, but a module is imported only when one of its names is used."""

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
