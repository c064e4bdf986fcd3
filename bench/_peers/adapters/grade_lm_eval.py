"""Grade given responses with lm-evaluation-harness: `python -m bench._peers.adapters.grade_lm_eval ROWS VERDICTS`.

Both files hold JSON lines. Scorers and filters come from lm-evaluation-harness's task files. Each gold answer is
written in the form of the task's data set.
"""

import contextlib
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval.tasks
from lm_eval.api.metrics import exact_match_fn
from lm_eval.filters import build_filter_ensemble
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.tasks.aime import utils as aime
from lm_eval.tasks.hendrycks_math import utils as hendrycks
from lm_eval.tasks.minerva_math import utils as minerva
from math_verify import parse, verify

TASKS = Path(lm_eval.tasks.__file__).parent
Row = dict[str, Any]
Judged = tuple[bool, str | None]
"""Whether the response is correct, and the answer extracted from it."""


def aime_task(gold: str, response: str) -> Judged:
    """aime24, aime25: the last box; without one, the text between the first and the last $, or the whole response."""
    boxed = aime.last_boxed_only_string(response)
    read = _between_dollars(response)
    if boxed is not None:
        with contextlib.suppress(AssertionError, IndexError):
            read = aime.remove_boxed(boxed)
    return bool(aime.process_results({"answer": gold}, [response])["exact_match"]), read


def hendrycks_task(gold: str, response: str) -> Judged:
    """hendrycks_math500: the text between the first and the last $, or the whole response."""
    verdict = hendrycks.process_results({"solution": f"\\boxed{{{gold}}}"}, [response])["exact_match"]
    return bool(verdict), _between_dollars(response)


def minerva_exact(gold: str, response: str) -> Judged:
    """minerva_math500's exact_match: the answer in the sentence that ends its few-shot examples."""
    read = minerva.normalize_final_answer(minerva.get_unnormalized_answer(response))
    verdict = minerva.is_equiv(read, minerva.normalize_final_answer(gold))
    return verdict, None if read == "[invalidanswer]" else read


def minerva_math_verify(gold: str, response: str) -> Judged:
    """minerva_math500's math_verify: Math-Verify with its defaults."""
    parsed = parse(response)
    return verify(gold=parse(f"$\\boxed{{{gold}}}$"), target=parsed), str(parsed[-1]) if parsed else None


def filtered(path: str, name: str, gold_form: str, row: Row) -> Callable[[str, str], Judged]:
    """The task's filter `name` followed by its exact_match, for the row's options."""
    rules, parts = _task(path, name)
    filters = [make() for make in build_filter_ensemble(name, parts).filters]

    def judge(gold: str, response: str) -> Judged:
        found: Any = [[response]]
        for one in filters:
            found = list(one.apply(found, [{"choices": row["options"]}]))
        (read,) = found
        verdict = exact_match_fn(predictions=[read], references=[gold_form.format(gold)], **rules)["exact_match"]
        return bool(verdict), None if read == "[invalid]" else read

    return judge


@functools.cache
def _task(path: str, name: str) -> tuple[dict[str, Any], list[Any]]:
    """The options of exact_match and the parts of the filter, from the task's file."""
    config = load_yaml(TASKS / path, resolve_func=False)
    (chosen,) = [one for one in config["filter_list"] if one["name"] == name]
    parts = [
        (one["function"], {key: value for key, value in one.items() if key != "function"}) for one in chosen["filter"]
    ]
    (metric,) = config["metric_list"]
    return {key: metric[key] for key in ("ignore_case", "ignore_punctuation")}, parts


def graders(row: Row) -> dict[str, tuple[Callable[[str, str], Judged], str]]:
    """The scorers that apply to the row, each with the form of answer that it expects."""
    if row["kind"] == "math":
        return {
            "aime": (aime_task, "$\\boxed{{{}}}$"),
            "hendrycks_math": (hendrycks_task, "${}$"),
            "minerva exact_match": (
                minerva_exact, "Final Answer: The final answer is ${}$. I hope it is correct."
            ),
            "minerva math_verify": (minerva_math_verify, "$\\boxed{{{}}}$"),
        }  # fmt: skip
    gpqa = "gpqa/cot_zeroshot/_gpqa_cot_zeroshot_yaml"
    mmlu = "mmlu_pro/_default_template_yaml"
    arc = "arc/arc_challenge_chat.yaml"
    return {
        "gpqa strict-match": (filtered(gpqa, "strict-match", "({})", row), "The answer is ({})."),
        "gpqa flexible-extract": (filtered(gpqa, "flexible-extract", "({})", row), "({})"),
        "mmlu_pro custom-extract": (filtered(mmlu, "custom-extract", "{}", row), "The answer is ({})."),
        "arc_challenge_chat": (filtered(arc, "remove_whitespace", "{}", row), "{}"),
    }


def _between_dollars(text: str) -> str:
    places = [place for place, char in enumerate(text) if char == "$"]
    return text if len(places) <= 1 else text[places[0] + 1 : places[-1]]


def main() -> None:
    with Path(sys.argv[2]).open("w", encoding="utf-8") as output:
        for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found = {}
            for name, (judge, form) in graders(row).items():
                correct, read = judge(row["gold"], row["response"])
                found[name] = {"correct": correct, "read": read}
                if row["extracted"] is not None:
                    found[name]["restated"], _ = judge(row["gold"], form.format(row["extracted"]))
            output.write(json.dumps({"id": row["id"], "graders": found}) + "\n")


if __name__ == "__main__":
    main()
