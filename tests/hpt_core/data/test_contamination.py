"""How much of a benchmark question stands in training data."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_core.config import ContaminationSpec, ContaminationUnit
from hpt_core.data.contamination import Matcher, run
from hpt_core.data.decontaminate import OverlapIndex, split_ngrams, words
from hpt_core.errors import DataError
from hpt_core.schemas import CONTAMINATION, PREPARED, QUESTIONS

TEXT = st.lists(st.sampled_from(["a", "B", "c", "D", "e,", "-", "+"]), max_size=12).map(" ".join)


@settings(max_examples=300)
@given(st.lists(TEXT, min_size=1, max_size=5), TEXT, st.integers(1, 4))
def test_it_finds_what_a_plain_search_finds(questions: list[str], text: str, n: int) -> None:
    matcher, index = Matcher(n), OverlapIndex(n)
    for number, question in enumerate(questions):
        assert matcher.add(question) == number
        index.add("bench", str(number), question)
    held = set(split_ngrams(words(text), n))
    shared = [set(split_ngrams(words(question), n)) & held for question in questions]
    found = matcher.find(text)
    assert {number: grams for number, grams in found.items() if grams != {""}} == {
        number: grams for number, grams in enumerate(shared) if grams
    }
    # Decontamination drops a training question where, and only where, there is an overlap.
    assert bool(found) == (index.find(text) is not None)


def write(folder: Path, questions: Sequence[tuple[str, str]], rows: Sequence[tuple[str, str, str | None]]) -> Path:
    """Benchmark questions (id, text) and training rows (id, question, demonstration)."""
    table = [{"question_id": i, "question": q, "gold": "1", "kind": "math", "family": ""} for i, q in questions]
    pq.write_table(pa.Table.from_pylist(table, QUESTIONS), folder / "asked.parquet")
    prepared = [
        {
            "question_id": i,
            "question": q,
            "gold": "1",
            "kind": "math",
            "family": "",
            "prompt_tokens": 1,
            "demonstration": d,
        }
        for i, q, d in rows
    ]
    pq.write_table(pa.Table.from_pylist(prepared, PREPARED), folder / "prepared.parquet")
    return folder


def spec(folder: Path, ngram: int = 3) -> ContaminationSpec:
    unit = ContaminationUnit(
        benchmark="bench", questions=folder / "asked.parquet", output=folder / "contamination.parquet"
    )
    return ContaminationSpec(data=folder / "prepared.parquet", ngram=ngram, units=(unit,))


def found(folder: Path) -> dict[str, dict[str, Any]]:
    table = pq.read_table(folder / "contamination.parquet")
    assert table.schema.equals(CONTAMINATION)
    return {row.pop("question_id"): row for row in table.to_pylist()}


def test_shares_and_the_row_that_holds_most(tmp_path: Path) -> None:
    questions = [("six", "One two three, four five six."), ("clean", "seven eight nine ten"), ("short", "2 + 2")]
    rows = [
        ("t1", "So: ONE two THREE!", None),
        ("t2", "two three four five", "Let us see: seven eight nine is said"),
        ("t3", "2+2", "2 - 2"),
        ("t4", "three four five, again three four five", "2 + 2"),
    ]
    run(spec(write(tmp_path, questions, rows)))
    by_id = found(tmp_path)
    assert list(by_id) == ["six", "clean", "short"]
    # Of "one two three", "two three four", "three four five", "four five six" the last stands nowhere.
    assert by_id["six"] == {
        "ngrams": 4,
        "question_overlap": 0.75,
        "demonstration_overlap": 0.0,
        "question_match": "t2",
        "demonstration_match": None,
    }
    assert (by_id["clean"]["question_overlap"], by_id["clean"]["question_match"]) == (0.0, None)
    assert (by_id["clean"]["demonstration_overlap"], by_id["clean"]["demonstration_match"]) == (0.5, "t2")
    # A question of fewer words than n is compared as a whole, with its operators.
    assert by_id["short"]["ngrams"] == 0
    assert (by_id["short"]["question_overlap"], by_id["short"]["question_match"]) == (1.0, "t3")
    assert (by_id["short"]["demonstration_overlap"], by_id["short"]["demonstration_match"]) == (1.0, "t4")


def test_equal_questions_of_a_benchmark_both_overlap(tmp_path: Path) -> None:
    questions = [("a", "alpha beta gamma delta"), ("a-2", "alpha beta gamma delta")]
    run(spec(write(tmp_path, questions, [("t", "alpha beta gamma delta", None)])))
    assert {i: row["question_overlap"] for i, row in found(tmp_path).items()} == {"a": 1.0, "a-2": 1.0}


def test_data_larger_than_a_batch_are_read_whole(tmp_path: Path) -> None:
    rows = [(f"t{i}", f"filler text number {i}", None) for i in range(600)]
    rows[-1] = ("last", "alpha beta gamma", None)
    run(spec(write(tmp_path, [("a", "alpha beta gamma")], rows)))
    assert found(tmp_path)["a"]["question_match"] == "last"


def test_nothing_overlaps_nothing(tmp_path: Path) -> None:
    run(spec(write(tmp_path, [("a", "???")], [("t", "!", None)])))
    assert found(tmp_path)["a"]["question_overlap"] == 0.0


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, [("a", "alpha")], [("t", "beta", None)])
    (folder / "prepared.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"prepared\.parquet cannot be read"):
        run(spec(folder))
    (folder / "asked.parquet").unlink()
    with pytest.raises(DataError, match="questions of bench cannot be read"):
        run(spec(folder))
    assert not (folder / "contamination.parquet").exists()


def test_the_worker_runs_from_a_spec_file(tmp_path: Path) -> None:
    folder = write(tmp_path, [("a", "alpha beta gamma")], [("t", "alpha beta gamma", None)])
    (folder / "spec.json").write_text(spec(folder).model_dump_json())
    command = [sys.executable, "-m", "hpt_core.data.contamination", str(folder / "spec.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "event": "progress",
        "done": 1,
        "total": 1,
        "unit": "rows",
        "text": "",
    }
    assert "1 of 1 questions overlap" in done.stderr
    assert found(folder)["a"]["question_overlap"] == 1.0
