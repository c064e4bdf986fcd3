"""Overlap with benchmarks."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_core.data.decontaminate import BenchmarkQuestion, OverlapIndex, whole, words

WORD = st.text("abcdefghijklmnopqrstuvwxyzäßéИж0123456789", min_size=1, max_size=6)
GAP = st.text(" \t\n.,;:!?'\"()[]{}$\\_", min_size=1, max_size=4)
BENCHMARKS = {
    "aime24": 30,
    "aime25": 30,
    "amc23": 40,
    "arc_challenge": 1172,
    "gpqa_diamond": 198,
    "math500": 500,
    "minerva": 272,
    "olympiadbench": 674,
}


def index(n: int, *questions: str) -> OverlapIndex:
    found = OverlapIndex(n)
    for i, question in enumerate(questions):
        found.add("bench", str(i), question)
    return found


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_shared_ngram_is_found_in_any_case_and_punctuation(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 8))
    shared = data.draw(st.lists(WORD, min_size=n, max_size=n + 4))

    def dressed(extra: int) -> str:
        around = data.draw(st.lists(WORD, max_size=extra)), data.draw(st.lists(WORD, max_size=extra))
        return "".join(
            data.draw(st.sampled_from([word, word.upper(), word.title()])) + data.draw(GAP)
            for word in [*around[0], *shared, *around[1]]
        )

    assert index(n, dressed(5)).find(dressed(5)) == BenchmarkQuestion("bench", "0")


@given(st.lists(WORD, min_size=1, max_size=6), st.data())
def test_a_short_question_is_compared_as_a_whole(found: list[str], data: st.DataObject) -> None:
    benchmark = index(7, "".join(word + data.draw(GAP) for word in found))
    assert benchmark.find("".join(data.draw(GAP) + word.upper() for word in found)) == BenchmarkQuestion("bench", "0")
    assert benchmark.find(" ".join([*found, "more"])) is None


@given(st.lists(WORD, min_size=13, max_size=40, unique_by=str.casefold))
def test_fewer_shared_words_are_not_an_overlap(found: list[str]) -> None:
    benchmark = index(13, " ".join(found))
    assert benchmark.find(" ".join(found[:12])) is None
    assert benchmark.find(" ".join(reversed(found))) is None


def test_short_questions_differ_by_their_operators() -> None:
    benchmark = index(13, "Compute $3-5$.", "A well-known sum: 3 + 5")
    assert benchmark.find("compute 3 - 5") == BenchmarkQuestion("bench", "0")
    assert benchmark.find("Compute $3+5$.") is None
    assert benchmark.find("a well known sum 3+5") == BenchmarkQuestion("bench", "1")


def test_texts_without_words_do_not_overlap() -> None:
    assert index(1, "", "?!").find("...") is None
    assert whole("...") == ""
    assert words("ﬁne ½ x_1 Ǆ") == ["fine", "1", "2", "x", "1", "dž"]


def test_real_benchmarks_are_found_in_other_dress_and_gsm8k_is_not(shared_data: Path) -> None:
    found = OverlapIndex(13)
    questions = []
    for name, count in BENCHMARKS.items():
        rows = json.loads((shared_data / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
        assert len(rows) == count
        for number, row in enumerate(rows):
            found.add(name, str(number), row["prompt"])
            questions.append(row["prompt"])
    dressed = [" ".join(q.upper().replace(",", " ; ").split()) for q in questions]
    assert all(found.find(q) for q in questions)
    assert sum(found.find(q) is not None for q in dressed) == len(questions)
    import pyarrow.parquet as pq

    rows = pq.read_table(shared_data / "train" / "gsm8k_demos.parquet", columns=["prompt"]).to_pylist()
    assert sum(found.find(row["prompt"][0]["content"]) is not None for row in rows) == 0


def test_invisible_characters_do_not_hide_an_overlap() -> None:
    index = OverlapIndex(8)
    index.add("b", "q", "how many ways are there to seat four people at one table")
    hidden = "how ma\u00adny ways are there to se\u200bat four people at one ta\u2060ble"
    assert index.find(hidden) == BenchmarkQuestion("b", "q")
