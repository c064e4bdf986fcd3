"""lighteval's metrics on given responses: `python -m bench._peers.adapters.grade_lighteval ROWS VERDICTS`, both files
of JSON lines.

Metrics are those that its tasks name; a gold answer is put into the form that the task's data set has it in.
"""

import json
import logging
import sys
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from lighteval.metrics.metrics import Metrics
from lighteval.metrics.metrics_sample import ExactMatches
from lighteval.metrics.utils.extractive_match_utils import extract_target_from_pred, get_extraction_regexes
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc

Row = dict[str, Any]
INTEGERS = ("aime24", "aime25", "amc23")
"""Benchmarks whose gold answer lighteval's tasks give as it is; others stand in a solution's box."""


def metrics() -> dict[str, Any]:
    """The metrics by name."""
    return {
        "math pass@1": Metrics.pass_at_k_math(sample_params={"k": 1, "n": 1}),  # aime24, aime25, math_500
        "olympiad_bench em": Metrics.exact_match.value,
        "gpqa pass@1": Metrics.gpqa_instruct_pass_at_k(sample_params={"k": 1, "n": 1}),  # gpqa:diamond
    }


def document(row: Row, exact: bool) -> Doc:
    """The question as lighteval's tasks have it; `exact` for those that compare the whole response."""
    if row["kind"] == "choice":
        labels = list(ascii_uppercase)[: max(len(row["options"]), 2)]
        gold = row["gold"] if row["gold"] in labels else labels["12345".index(row["gold"])]
        return Doc(query="", choices=labels, gold_index=labels.index(gold), specific={})
    plain = exact or row["benchmark"] in INTEGERS
    gold = row["gold"] if plain else f"ANSWER: $\\boxed{{{row['gold']}}}$"
    return Doc(query="", choices=[gold], gold_index=0, specific={})


def judge(metric: Any, row: Row) -> dict[str, Any]:
    """The metric's verdict on the response, what it reads out of it, and its verdict on the answer in its own form."""
    computed = metric.sample_level_fn
    exact = isinstance(computed, ExactMatches)
    doc = document(row, exact)
    found = {"correct": _correct(computed, doc, row["response"]), "read": _read(computed, doc, row["response"])}
    if row["extracted"] is not None:
        own = "Answer: {}" if row["kind"] == "choice" else "ANSWER: $\\boxed{{{}}}$"
        own = "{}" if exact else own
        found["restated"] = _correct(computed, document(row, exact), own.format(row["extracted"]))
    return found


def _correct(computed: Any, doc: Doc, text: str) -> bool:
    return float(computed.compute(doc=doc, model_response=ModelResponse(text=[text]))) == 1.0


def _read(computed: Any, doc: Doc, text: str) -> str | None:
    """What the metric reads out, the first of it; None where nothing."""
    if isinstance(computed, ExactMatches):
        return text.strip()
    inner = computed.compute_score.__self__  # the extractive match within pass@k
    regexes = get_extraction_regexes(doc, inner.pred_extraction_target, inner.language)
    found = extract_target_from_pred(
        computed.preprocess(text), regexes, inner.fallback_mode, inner.extraction_mode, inner.timeout_seconds
    )
    return str(found[0]) if found else None


def main() -> None:
    logging.disable(logging.WARNING)
    known = metrics()
    with Path(sys.argv[2]).open("w", encoding="utf-8") as output:
        for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["kind"] == "choice":
                names = ["gpqa pass@1"]
            else:
                names = ["math pass@1", "olympiad_bench em"] if row["benchmark"] == "olympiadbench" else ["math pass@1"]
            graders = {name: judge(known[name], row) for name in names}
            output.write(json.dumps({"id": row["id"], "graders": graders}) + "\n")


if __name__ == "__main__":
    main()
