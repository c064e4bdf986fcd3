"""Verifiers, one per file; `hpt list verifiers` prints them. One grader gives training rewards and evaluation scores.

Importing a verifier does not load sympy; comparing answers does.
"""

from functools import cache

from hpt_core.verifiers.base import Outcome, Verdict, Verifier

__all__ = ["Outcome", "Verdict", "Verifier", "get", "kinds", "version"]

NOT_PLUGINS = frozenset({"pool", "grade_file", "grading", "options"})
"""Modules of this package that are not verifiers."""


def kinds() -> tuple[str, ...]:
    """Names of all verifiers."""
    return Verifier.plugin_kind.names


@cache
def get(kind: str) -> Verifier:
    """The verifier called `kind`, with its defaults. An unknown name raises ConfigError with near matches."""
    verifier: Verifier = Verifier.plugin_kind.load(kind)()
    return verifier


def version(kind: str) -> str:
    """The verifier's version as tables show it: "math-7+math-verify-0.9.0+...". Does not load sympy."""
    return get(kind).version
