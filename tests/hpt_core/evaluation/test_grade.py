"""The grading worker with the real verifiers."""

import json
import logging
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpt_core.errors import DataError
from hpt_core.evaluation.grade import GradeSpec, run
from hpt_core.evaluation.metrics import score
from hpt_core.evaluation.shards import read_samples
from hpt_core.files import write_parquet
from hpt_core.schemas import QUESTIONS, SAMPLES, VERDICTS

ASKED = [  # id, kind, gold, responses
    ("half", "math", "\\frac{1}{2}", ["so \\boxed{0.5}", "\\boxed{2}"]),
    ("none", "math", "7", ["I do not know", "\\boxed{7}"]),
    ("letter", "choice", "B", ["The answer is \\boxed{B}.", "\\boxed{C}"]),
]
OUTCOMES = ["correct", "incorrect", "no_answer", "correct", "correct", "incorrect"]


def unit(folder, name="b", asked=ASKED, k=2, sampled=None, per_shard=2, question="?"):
    """Questions and sample shards on disk, and the unit that grades them."""
    rows = [
        {"question_id": q, "question": question, "gold": gold, "kind": kind, "family": ""} for q, kind, gold, _ in asked
    ]
    write_parquet(folder / name / "questions.parquet", pa.Table.from_pylist(rows, schema=QUESTIONS))
    samples = [
        {
            "benchmark": name,
            "question_id": q,
            "sample_index": i,
            "seed": 1,
            "response": response,
            "tokens": 5,
            "prompt_tokens": 1,
            "finish_reason": "stop",
        }
        for q, _, _, responses in (sampled or asked)
        for i, response in enumerate(responses)
    ]
    for number, start in enumerate(range(0, len(samples), per_shard)):
        table = pa.Table.from_pylist(samples[start : start + per_shard], schema=SAMPLES)
        write_parquet(folder / name / "samples" / f"part-{number:05d}.parquet", table)
    return {
        "benchmark": name,
        "questions": folder / name / "questions.parquet",
        "samples": folder / name / "samples",
        "k": k,
        "output": folder / name / "verdicts.parquet",
    }


def test_verdicts_match_their_samples(tmp_path):
    run(GradeSpec.model_validate({"units": [unit(tmp_path)], "workers": 1}))
    verdicts = pq.read_table(tmp_path / "b" / "verdicts.parquet")
    samples = read_samples(tmp_path / "b" / "samples")
    assert verdicts.schema == VERDICTS
    assert verdicts.select(["question_id", "sample_index"]).equals(samples.select(["question_id", "sample_index"]))
    assert verdicts.column("outcome").to_pylist() == OUTCOMES
    extracted = verdicts.column("extracted").to_pylist()
    assert [e is None for e in extracted] == [o == "no_answer" for o in OUTCOMES]
    assert score("b", samples, verdicts, 2).mean == pytest.approx(0.5)


def test_the_program_grades_every_unit_and_reports_progress(tmp_path):
    spec = GradeSpec.model_validate({"units": [unit(tmp_path, "a"), unit(tmp_path, "b")], "workers": 1})
    (tmp_path / "spec.json").write_text(spec.model_dump_json())
    command = [sys.executable, "-m", "hpt_core.evaluation.grade", str(tmp_path / "spec.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(e["done"], e["total"], e["text"]) for e in events] == [(0, 12, ""), (6, 12, "a"), (12, 12, "b")]
    assert all((tmp_path / name / "verdicts.parquet").is_file() for name in "ab")


def test_a_choice_is_graded_by_its_question(tmp_path):
    asked = [("pick", "choice", "B", ["\\boxed{gold}", "The answer is iron."])]
    graded = unit(tmp_path, asked=asked, question="Which?\n\nA) iron\nB) gold")
    run(GradeSpec.model_validate({"units": [graded], "workers": 1}))
    verdicts = pq.read_table(tmp_path / "b" / "verdicts.parquet")
    assert verdicts.column("outcome").to_pylist() == ["correct", "incorrect"]
    assert verdicts.column("extracted").to_pylist() == ["B", "A"]


def test_gold_errors_are_counted_and_named_in_the_log(tmp_path, caplog):
    asked = [*ASKED, ("broken", "choice", "Z", ["\\boxed{A}", "\\boxed{Z}"])]
    with caplog.at_level(logging.INFO, "hpt.evaluation"):
        run(GradeSpec.model_validate({"units": [unit(tmp_path, asked=asked)], "workers": 1}))
    assert pq.read_table(tmp_path / "b" / "verdicts.parquet").column("outcome").to_pylist() == [
        *OUTCOMES,
        "gold_error",
        "gold_error",
    ]
    assert "2 gold_error" in caplog.text
    assert "the gold answers of 1 questions cannot be read: broken ('Z': no option's label)" in caplog.text


def test_a_further_grader_reads_the_same_responses_and_does_not_warn_of_them_again(tmp_path, caplog):
    same = [("a", "math", "4", ["<think> \\boxed{4}"] * 2), ("b", "math", "5", ["<think> \\boxed{4}"] * 2)]
    own = unit(tmp_path, "same", asked=same)
    other = own | {"grader": "math_verify", "output": tmp_path / "other.parquet"}
    with caplog.at_level(logging.INFO, "hpt.evaluation"):
        run(GradeSpec.model_validate({"units": [own, other], "workers": 1}))
    outcomes = [pq.read_table(u["output"]).column("outcome").to_pylist() for u in (own, other)]
    # Ours has no answer in unclosed thinking; Math-Verify reads the whole response.
    assert outcomes == [["no_answer"] * 4, ["correct"] * 2 + ["incorrect"] * 2]
    assert caplog.text.count("all 4 responses are identical") == 1
    assert "same by math_verify: 2 correct" in caplog.text


def test_responses_that_are_all_alike_are_warned_of(tmp_path, caplog):
    empty = [("a", "math", "1", ["", " "]), ("b", "math", "2", ["", "\n"])]
    same = [("a", "math", "1", ["!!", "!!"]), ("b", "math", "2", ["!!", "!!"])]
    units = [unit(tmp_path, "empty", asked=empty), unit(tmp_path, "same", asked=same), unit(tmp_path, "fine")]
    run(GradeSpec.model_validate({"units": units, "workers": 1}))
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text.partition(",")[0] for text in warned] == [
        "empty: all 4 responses are empty",
        "same: all 4 responses are identical",
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"k": 3}, r"question half has 2 samples \(indices 0, 1\) where 3 are expected"),
        ({"k": 1}, r"question half has 2 samples \(indices 0, 1\) where 1 are expected"),
        ({"sampled": ASKED[:2]}, r"question letter has no samples where 2 are expected"),
        (
            {"sampled": [*ASKED, ("other", "math", "1", ["a", "b"])]},
            r"1 sampled questions are not in .*, such as other",
        ),
        ({"sampled": [*ASKED, ASKED[0]]}, r"samples of a question are not consecutive"),
    ],
)
def test_anything_but_k_samples_of_each_question_is_an_error(tmp_path, changed, message):
    good = unit(tmp_path, "good")
    with pytest.raises(DataError, match=message):
        run(GradeSpec.model_validate({"units": [good, unit(tmp_path, "bad", **changed)], "workers": 1}))
    assert not (tmp_path / "good" / "verdicts.parquet").exists()
