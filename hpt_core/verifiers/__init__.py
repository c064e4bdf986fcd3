"""Verifiers: one grader for training rewards and evaluation scores. One file a kind: math, choice.

A kind's module holds its verifier as `VERIFIER`. Importing it loads no sympy: only comparing answers does.
"""

from hpt_core.plugins import load, names
from hpt_core.verifiers.base import Outcome, Verdict, Verifier

__all__ = ["Outcome", "Verdict", "Verifier", "get", "kinds", "version"]

NOT_VARIANTS = frozenset({"pool", "grade_file", "options", "references"})
"""Modules here that are not kinds of verifier."""
REFERENCES = f"{__name__}.references"


def kinds() -> tuple[str, ...]:
    """Names of every verifier."""
    return names(__name__)


def get(kind: str) -> Verifier:
    """The verifier called `kind`, or "references.NAME" for a grader that ours is held against; an unknown name raises
    ConfigError with near matches."""
    package, name = (
        (REFERENCES, kind.removeprefix("references.")) if kind.startswith("references.") else (__name__, kind)
    )
    verifier: Verifier = load(package, name).VERIFIER
    return verifier


def version(kind: str) -> str:
    """What a fingerprint takes of the verifier: "math-5+math-verify-0.9.0+..."; loads no sympy."""
    return get(kind).version
