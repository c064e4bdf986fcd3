"""Grade given responses with lighteval: `python -m bench._peers.adapters.grade_lighteval ROWS VERDICTS`.

Both files hold JSON lines. The metrics are those that lighteval's tasks use. Each gold answer is written in the form of
the task's data set.
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
"""Benchmarks whose data sets hold the bare answer. The others hold a solution with the answer in a box."""


def metrics() -> dict[str, Any]:
    """lighteval's metrics by name."""
    return {
        "math pass@1": Metrics.pass_at_k_math(sample_params={"k": 1, "n": 1}),  # aime24, aime25, math_500
        "olympiad_bench em": Metrics.exact_match.value,
        "gpqa pass@1": Metrics.gpqa_instruct_pass_at_k(sample_params={"k": 1, "n": 1}),  # gpqa:diamond
    }


def document(row: Row, exact: bool) -> Doc:
    """The question in the form of lighteval's tasks. `exact`: the task compares the whole response."""
    if row["kind"] == "choice":
        labels = list(ascii_uppercase)[: max(len(row["options"]), 2)]
        gold = row["gold"] if row["gold"] in labels else labels["12345".index(row["gold"])]
        return Doc(query="", choices=labels, gold_index=labels.index(gold), specific={})
    plain = exact or row["benchmark"] in INTEGERS
    gold = row["gold"] if plain else f"ANSWER: $\\boxed{{{row['gold']}}}$"
    return Doc(query="", choices=[gold], gold_index=0, specific={})


def judge(metric: Any, row: Row) -> dict[str, Any]:
    """The metric's verdict on the response, the answer it extracts, and its verdict on our extracted answer restated in
    the form that it expects."""
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
    """The first answer that the metric extracts; None if there is none."""
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
