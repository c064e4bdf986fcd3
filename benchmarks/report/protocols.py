"""How results differ in their protocol: from the benchmark's own, and from others in the same column."""

from benchmarks.report.inputs import Protocol, SuiteInfo

_WORDS = {
    "engine_version": "engine",
    "dtype": "precision",
    "benchmark_hash": "questions",
    "grader_version": "grader",
    "grade_timeout_s": "grading limit",
}
"""Fields of Protocol that are told by another word than their name."""
_LONG = {"prompt": "another prompt", "engine": "another engine config"}
"""Fields whose values are too long to be told; the number's details have them."""


def deviations(suite: SuiteInfo, protocol: Protocol, questions: int) -> list[str]:
    """How a result differs from the benchmark's own protocol, one phrase each."""
    own, used = suite.sampling, protocol.sampling
    found = []
    if questions != suite.rows:
        found.append(f"{questions} of {suite.rows} questions")
    if protocol.k != suite.k:
        found.append(f"k = {protocol.k} instead of {suite.k}")
    if used.max_tokens != own.max_tokens:
        found.append(f"{used.max_tokens} new tokens instead of {own.max_tokens}")
    if used.temperature != own.temperature:
        found.append(f"temperature {used.temperature:g} instead of {own.temperature:g}")
    if used.top_p != own.top_p:
        found.append(f"top_p {used.top_p:g} instead of {own.top_p:g}")
    if used.stop_repetition != own.stop_repetition:
        found.append(_repetition(used.stop_repetition is None, own.stop_repetition is None))
    return found


def protocol_differences(model: Protocol, baseline: Protocol) -> list[str]:
    """Names of the fields that keep two results from being compared; the models differ by intent."""
    return [
        field
        for field in Protocol.model_fields
        if field != "model_hash" and getattr(model, field) != getattr(baseline, field)
    ]


def differences(protocol: Protocol, reference: Protocol) -> list[str]:
    """How a result differs from another one of its column, one phrase each field."""
    found = []
    for field in protocol_differences(protocol, reference):
        if field == "sampling":
            found += _sampling_differences(protocol, reference)
        elif field in _LONG:
            found.append(_LONG[field])
        else:
            used, other = (_short(getattr(p, field)) for p in (protocol, reference))
            found.append(f"{_WORDS.get(field, field)} {used} instead of {other}")
    return found


def _sampling_differences(protocol: Protocol, reference: Protocol) -> list[str]:
    found = []
    for field in type(protocol.sampling).model_fields:
        used, other = getattr(protocol.sampling, field), getattr(reference.sampling, field)
        if used == other:
            continue
        if field == "stop_repetition":
            found.append(_repetition(used is None, other is None))
        else:
            found.append(f"{field} {used:g} instead of {other:g}")
    return found


def _repetition(runs: bool, other_runs: bool) -> str:
    if runs:
        return "lets runaway repetition go on"
    return "stops runaway repetition" if other_runs else "stops runaway repetition otherwise"


def _short(value: object) -> str:
    """A value for readers: hashes by their first digits."""
    if value is None:
        return "none"
    text = str(value).removeprefix("sha256:")
    return text[:12] if len(text) == 64 else text
