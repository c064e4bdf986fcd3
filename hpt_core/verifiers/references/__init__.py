"""Reference graders, to compare with ours (hpt_core/evaluation/audit.py). They give no rewards or scores."""

from hpt_core.verifiers.base import Verifier
from hpt_core.verifiers.math_verify import MathVerify
from hpt_core.verifiers.references.string import String

REFERENCES: dict[str, Verifier] = {"string": String(), "math_verify": MathVerify()}
"""By name."""
