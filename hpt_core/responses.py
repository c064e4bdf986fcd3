"""Responses that are all alike, which point to a fault of the model or the prompt and not to its skill."""

from collections.abc import Sequence

import pyarrow as pa

from hpt_core.prompts.base import THINK


def collapsed(questions: Sequence[str], responses: Sequence[str], finish_reasons: Sequence[str]) -> list[str]:
    """What all responses have in common: "empty", "cut at the token limit" or "identical". Nothing if they differ.

    `questions` holds the id of each response's question. Responses to one question alone may be identical, as at
    temperature 0. A response is empty too if it has nothing but the "<think>" of its prompt.
    """
    if not responses:
        return []
    found = []
    if not any(response.strip().removeprefix(THINK.strip()).strip() for response in responses):
        found.append("empty")
    elif len(set(responses)) == 1 and len(set(questions)) > 1:
        found.append("identical")
    if all(reason == "length" for reason in finish_reasons):
        found.append("cut at the token limit")
    return found


def collapsed_samples(samples: pa.Table) -> list[str]:
    """The same for a table of samples (schemas.SAMPLES)."""
    return collapsed(*(samples.column(name).to_pylist() for name in ("question_id", "response", "finish_reason")))
