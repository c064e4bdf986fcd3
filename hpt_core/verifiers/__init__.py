"""Verifiers: one grader for training rewards and evaluation scores. One file a verifier: math, choice.

Importing one loads no sympy: only comparing answers does.
"""

from functools import cache

from hpt_core.verifiers.base import Outcome, Verdict, Verifier

__all__ = ["Outcome", "Verdict", "Verifier", "get", "kinds", "version"]

NOT_PLUGINS = frozenset({"pool", "grade_file", "grading", "options"})
"""Modules here that are no verifiers."""


def kinds() -> tuple[str, ...]:
    """Names of every verifier."""
    return Verifier.plugin_kind.names


@cache
def get(kind: str) -> Verifier:
    """The verifier called `kind`, with its defaults; an unknown name raises ConfigError with near matches."""
    verifier: Verifier = Verifier.plugin_kind.load(kind)()
    return verifier


def version(kind: str) -> str:
    """What tables show of the verifier: "math-5+math-verify-0.9.0+..."; loads no sympy."""
    return get(kind).version
