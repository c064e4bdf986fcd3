"""Differences in the protocol of results: from the benchmark's own, and from other results in the same column."""

from benchmarks.report.inputs import Protocol, SuiteInfo
from hpt_core.rollout.base import Sampling

_WORDS = {
    "engine_version": "engine",
    "dtype": "precision",
    "benchmark_hash": "questions",
    "prompt_hash": "rendered prompt",
    "grader_version": "grader",
    "grade_timeout_s": "grading limit",
}
"""Display names of the fields of Protocol, if they differ from the field's name."""
_LONG = {"prompt": "another prompt", "engine": "another engine config"}
"""Fields whose values are too long to show. The number's details show them."""


def deviations(suite: SuiteInfo, protocol: Protocol, questions: int) -> list[str]:
    """Differences between a result's protocol and the benchmark's own, one phrase each."""
    found = []
    if questions != suite.rows:
        found.append(f"{questions} of {suite.rows} questions")
    if protocol.k != suite.k:
        found.append(f"k = {protocol.k} instead of {suite.k}")
    return found + _sampling_differences(protocol.sampling, suite.sampling)


def protocol_differences(model: Protocol, baseline: Protocol) -> list[str]:
    """Names of the fields that make two results incomparable. Different models are expected."""
    return [
        field
        for field in Protocol.model_fields
        if field != "model_hash" and getattr(model, field) != getattr(baseline, field)
    ]


def differences(protocol: Protocol, reference: Protocol) -> list[str]:
    """Differences between a result's protocol and that of another in its column, one phrase per field."""
    found = []
    for field in protocol_differences(protocol, reference):
        if field == "sampling":
            found += _sampling_differences(protocol.sampling, reference.sampling)
        elif field in _LONG:
            found.append(_LONG[field])
        else:
            used, other = (_short(getattr(p, field)) for p in (protocol, reference))
            found.append(f"{_WORDS.get(field, field)} {used} instead of {other}")
    return found


def _sampling_differences(sampling: Sampling, reference: Sampling) -> list[str]:
    """One phrase for each field of Sampling that differs."""
    found = []
    for field in Sampling.model_fields:
        used, other = getattr(sampling, field), getattr(reference, field)
        if used == other:
            continue
        if field == "stop_repetition":
            found.append(_repetition(used is None, other is None))
        elif field == "max_tokens":
            found.append(f"{used} new tokens instead of {other}")
        else:
            found.append(f"{field} {used:g} instead of {other:g}")
    return found


def _repetition(unlimited: bool, other_unlimited: bool) -> str:
    if unlimited:
        return "does not stop repetition"
    return "stops repetition" if other_unlimited else "stops repetition by another rule"


def _short(value: object) -> str:
    """A value for readers. Hashes are shortened."""
    if value is None:
        return "none"
    text = str(value).removeprefix("sha256:")
    return text[:12] if len(text) == 64 else text
