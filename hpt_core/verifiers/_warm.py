"""Importing this module loads every grader and uses it once. The server that forks the workers imports it."""

from hpt_core.verifiers import get

WARM_UPS = {"math": (r"$\frac{1}{2}x^2 + \sqrt{3}$", r"\sqrt{3} + 0.5x^{2}"), "choice": ("A", "B")}

for _kind, _answers in WARM_UPS.items():
    get(_kind).judge(*_answers)
