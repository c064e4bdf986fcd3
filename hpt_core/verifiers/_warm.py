"""Importing this module loads every shipped grader and uses it once. The server that forks the workers imports it."""

from hpt_core.plugins import modules
from hpt_core.verifiers import get

for _kind in modules("hpt_core.verifiers"):
    _verifier = get(_kind)
    if _verifier.example is not None:
        _verifier.judge(*_verifier.example)
