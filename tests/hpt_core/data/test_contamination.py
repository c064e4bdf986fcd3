"""The share of a benchmark question that occurs in training data."""

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

from hpt_core.data import contamination
from hpt_core.data.contamination import SHORTEST, ContaminationSpec, ContaminationUnit, Matcher, OverlapTally, run
from hpt_core.data.decontaminate import OverlapIndex, split_ngrams, whole, words
from hpt_core.errors import DataError
from hpt_core.schemas import CONTAMINATION, PREPARED, QUESTIONS

TEXT = st.lists(st.sampled_from(["a", "B", "c", "D", "e,", "-", "+"]), max_size=12).map(" ".join)


def plainly(question: str, text: str, n: int) -> tuple[set[str], int]:
    """What a text shares with a question by the plainest search, and how many runs of words the question has."""
    found = words(question)
    length = n if len(found) >= n else len(found) if len(found) >= SHORTEST else 0
    if not length:
        same = whole(question) == whole(text) != ""
        return ({"whole"} if same else set()), 0
    runs = set(split_ngrams(found, length))
    return runs & set(split_ngrams(words(text), length)), len(runs)


@settings(max_examples=300)
@given(st.lists(TEXT, min_size=1, max_size=5), st.lists(TEXT, min_size=1, max_size=4), st.integers(1, 8))
def test_the_index_finds_the_same_as_a_plain_search(questions: list[str], texts: list[str], n: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contamination, "_COMMON", 2)
        matcher, index = Matcher(n), OverlapIndex(n)
        for number, question in enumerate(questions):
            assert matcher.add(question) == number
            index.add("bench", str(number), question)
        tally = OverlapTally(matcher)
        for place, text in enumerate(texts):
            tally.take(text, f"t{place}")
    for number, question in enumerate(questions):
        held = [plainly(question, text, n)[0] for text in texts]
        most = max(map(len, held))
        shared = tally.shared[number]
        assert len(shared.grams) == len(set().union(*held))
        assert (shared.match, shared.most) == (f"t{[len(h) for h in held].index(most)}" if most else None, most)
        assert matcher.ngrams(number) == plainly(question, "", n)[1]
    # What decontamination drops overlaps. The reverse holds but for questions that are looked for by a shorter run.
    for text in texts:
        found = bool(matcher.find(text))
        assert found or index.find(text) is None
        if all(len(words(q)) >= n or len(words(q)) < SHORTEST for q in questions):
            assert found == (index.find(text) is not None)


def test_a_preamble_of_many_questions_is_credited_once(monkeypatch: pytest.MonkeyPatch) -> None:
    preamble = "the following are multiple choice questions about mathematics"
    matcher = Matcher(4)
    for i in range(50):
        matcher.add(f"{preamble} own{i} words{i} of{i} it{i}")
    tally, credited = OverlapTally(matcher), []
    plain = Matcher.grams
    monkeypatch.setattr(Matcher, "grams", lambda self, number: credited.append(number) or plain(self, number))
    for i in range(100):
        tally.take(f"{preamble} unrelated{i}", f"t{i}")
    assert sorted(credited) == list(range(50))
    tally.take(f"{preamble} own7 words7 of7 it7", "whole")
    assert credited[50:] == [7]
    assert (tally.shared[7].match, len(tally.shared[7].grams)) == ("whole", matcher.ngrams(7))
    assert (tally.shared[8].match, len(tally.shared[8].grams)) == ("t0", 5)


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


def test_a_short_question_is_found_inside_of_texts_from_six_words_on(tmp_path: Path) -> None:
    questions = [("six", "How many ways: A, B, C?"), ("five", "How many are there, then?")]
    rows = [
        ("t1", "Count. How many ways a b c, d? How many are there then", None),
        ("t2", "how many ways a b d", "He asked: how many ways, A b C! How many are there, then?"),
        ("t3", "-", "how many are there; then"),
    ]
    run(spec(write(tmp_path, questions, rows), 13))
    by_id = found(tmp_path)
    assert (by_id["six"]["ngrams"], by_id["six"]["question_match"], by_id["six"]["demonstration_match"]) == (
        1,
        "t1",
        "t2",
    )
    assert (by_id["six"]["question_overlap"], by_id["six"]["demonstration_overlap"]) == (1.0, 1.0)
    # So few words stand in many a text.
    assert (by_id["five"]["ngrams"], by_id["five"]["question_match"], by_id["five"]["demonstration_match"]) == (
        *(0, None),
        "t3",
    )


def test_equal_questions_of_a_benchmark_both_overlap(tmp_path: Path) -> None:
    questions = [("a", "alpha beta gamma delta"), ("a-2", "alpha beta gamma delta")]
    run(spec(write(tmp_path, questions, [("t", "alpha beta gamma delta", None)])))
    assert {i: row["question_overlap"] for i, row in found(tmp_path).items()} == {"a": 1.0, "a-2": 1.0}


def test_data_larger_than_a_batch_are_read_whole(tmp_path: Path) -> None:
    rows = [(f"t{i}", f"filler text number {i}", None) for i in range(600)]
    rows[-1] = ("last", "alpha beta gamma", None)
    run(spec(write(tmp_path, [("a", "alpha beta gamma")], rows)))
    assert found(tmp_path)["a"]["question_match"] == "last"


def test_texts_without_words_do_not_overlap(tmp_path: Path) -> None:
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
    assert "1 of 1 questions share at least one run of words" in done.stderr
    assert found(folder)["a"]["question_overlap"] == 1.0
