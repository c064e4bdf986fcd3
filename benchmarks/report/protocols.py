"""Differences in the protocol of results: from the chosen protocol, from the published numbers of the same column, and
from other results in the same column."""

from benchmarks.report.inputs import Protocol, Rules, SuiteInfo
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
_LONG = {
    "prompt": "another prompt",
    "engine": "another engine config",
    "from_model": "options of the model's generation_config.json in one of the two",
}
"""Fields whose values are too long to show. The number's details show them."""


def deviations(suite: SuiteInfo, protocol: Protocol, questions: int) -> list[str]:
    """Differences between a result's protocol and the chosen one, one phrase each: what the config overrides, and
    benchmarks that the protocol does not cover."""
    return _from_rules(suite, suite.rules, protocol, questions)


def published_differences(suite: SuiteInfo, protocol: Protocol, questions: int) -> list[str]:
    """Differences between a result's protocol and that of the published numbers in its column, one phrase each; empty
    without published numbers."""
    if suite.published is None:
        return []
    other = suite.published
    data = [f"data {suite.data or 'without a name'} instead of {other.data}"] if suite.data != other.data else []
    grader = f"grader {protocol.grader_version} instead of {other.grader}"
    return [*data, *_from_rules(suite, other, protocol, questions), grader]


def rule_differences(used: Rules, reference: Rules) -> list[str]:
    """Differences between two protocols of a benchmark, one phrase each."""
    found = []
    if used.covers and not reference.covers:
        found.append(f"not a benchmark of the protocol {reference.protocol}")
    if used.k != reference.k:
        found.append(f"k = {used.k} instead of {reference.k}")
    found += _sampling_differences(used.sampling, reference.sampling)
    for field, told in (("max_total_tokens", _total), ("counted_from", _seeds), ("dtype", _dtype)):
        value, other = getattr(used, field), getattr(reference, field)
        if value != other:
            found.append(f"{told(value)} instead of {told(other)}")
    if used.prompt != reference.prompt:
        found.append(_LONG["prompt"])
    if used.graders != reference.graders:
        found.append(f"further graders: {_graders(used)} instead of {_graders(reference)}")
    return found


def _from_rules(suite: SuiteInfo, rules: Rules, protocol: Protocol, questions: int) -> list[str]:
    """What a result does differently from `rules`. Where they leave something open, anything will do."""
    used = Rules(
        protocol=protocol.protocol,
        prompt=protocol.prompt,
        sampling=protocol.sampling,
        max_total_tokens=protocol.max_total_tokens,
        k=protocol.k,
        counted_from=protocol.seed if protocol.seeds == "counted" else None,
        dtype=protocol.dtype,
    )
    # Without further graders the score is the same.
    open_: dict[str, object] = {"graders": used.graders}
    open_ |= {} if rules.dtype else {"dtype": used.dtype}
    open_ |= {} if rules.counted_from is not None else {"counted_from": used.counted_from}
    few = [f"{questions} of {suite.rows} questions"] if questions != suite.rows else []
    return few + rule_differences(used, rules.model_copy(update=open_))


def _total(tokens: int | None) -> str:
    return "no limit on prompt and response together" if tokens is None else f"{tokens} tokens with the prompt"


def _seeds(first: int | None) -> str:
    return "derived seeds" if first is None else f"seeds counted from {first}"


def _dtype(name: str | None) -> str:
    return "any precision" if name is None else f"precision {name}"


def _graders(rules: Rules) -> str:
    return ", ".join(rules.graders) or "none"


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
        elif field == "max_total_tokens":
            found.append(f"{_total(protocol.max_total_tokens)} instead of {_total(reference.max_total_tokens)}")
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
        elif isinstance(used, int | float):
            found.append(f"{field} {used:g} instead of {other:g}")
        else:
            found.append(f"{field} {list(used)} instead of {list(other)}")
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
