import json

import pyarrow.parquet as pq
import pytest

from hpt_core.errors import ConfigError, DataError, StoreError
from hpt_core.verifiers.grade_file import GRADED, grade_file

ROWS = [
    {"id": "a", "gold": "5", "response": "\\boxed{5}", "kind": "math"},
    {"id": "b", "gold": "B", "response": "The answer is C.", "kind": "choice"},
    {"id": 3, "gold": 5, "response": "none", "kind": "math"},
    {"id": "d", "gold": "", "response": "\\boxed{5}", "kind": "math"},
]


def lines(rows):
    return "\n".join(json.dumps(row) for row in rows) + "\n\n"


def test_grades_every_row(tmp_path):
    source, target, seen = tmp_path / "answers.jsonl", tmp_path / "out" / "graded.parquet", []
    source.write_text(lines(ROWS), encoding="utf-8")
    counts = grade_file(source, target, workers=1, progress=lambda *event: seen.append(event))
    assert counts == {"correct": 1, "incorrect": 1, "no_answer": 1, "timeout": 0, "crash": 0, "gold_error": 1}
    table = pq.read_table(target)
    assert table.schema == GRADED
    assert table.column("id").to_pylist() == ["a", "b", "3", "d"]
    assert table.column("outcome").to_pylist() == ["correct", "incorrect", "no_answer", "gold_error"]
    assert table.column("extracted").to_pylist() == ["5", "C", None, "5"]
    assert seen == [(4, 4, "1 correct")]


def test_a_choice_takes_its_options_from_the_question(tmp_path):
    source, target = tmp_path / "answers.jsonl", tmp_path / "graded.parquet"
    row = {"gold": "B", "response": "\\boxed{gold}", "kind": "choice"}
    source.write_text(lines([{**row, "id": "a", "question": "Which?\n\nA) iron\nB) gold"}, {**row, "id": "b"}]))
    grade_file(source, target, workers=1)
    assert pq.read_table(target).column("outcome").to_pylist() == ["correct", "incorrect"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"id": "x", ', "line 2 is not JSON"),
        ("[1]", "line 2 is a list where an object is expected"),
        ('{"id": "x", "gold": "5", "kind": "math"}', "line 2 has no field 'response'"),
        ('{"id": "x", "gold": "5", "response": null, "kind": "math"}', "line 2 field 'response' is nothing where text"),
        (
            '{"id": "x", "gold": "5", "kind": "math", "response": "", "question": 5}',
            "line 2 field 'question' is a number where text",
        ),
        ('{"id": "x", "gold": true, "response": "", "kind": "math"}', "line 2 field 'gold' is a truth value"),
        (
            '{"id": "x", "gold": NaN, "response": "", "kind": "math"}',
            "line 2 field 'gold' is NaN, which is not a number",
        ),
        (
            '{"id": "x", "gold": ["5", "6"], "response": "", "kind": "math"}',
            "line 2 field 'gold' is a list of 2 answers",
        ),
        (
            '{"id": "x", "gold": "5", "response": "\\ud83d", "kind": "math"}',
            "line 2 field 'response' contains an unpaired",
        ),
        ('{"id": ' + "[" * 10_000, "line 2 is nested too deeply"),
        (
            '{"id": "x", "gold": "5", "response": "", "kind": "maths"}',
            "line 2: unknown name 'maths' in verifiers.*did you mean 'math'",
        ),
        ('{"id": "a", "gold": "7", "response": "", "kind": "math"}', "line 2: the id 'a' is also the id of line 1"),
    ],
)
def test_a_malformed_row_is_named_and_nothing_is_written(tmp_path, bad, message):
    source, target = tmp_path / "answers.jsonl", tmp_path / "graded.parquet"
    source.write_text(lines(ROWS[:1]).strip() + "\n" + bad + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"answers\.jsonl, {message}"):
        grade_file(source, target, workers=1)
    assert list(tmp_path.iterdir()) == [source]


def test_files_that_cannot_be_read_or_written(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        grade_file(tmp_path / "missing.jsonl", tmp_path / "graded.parquet")
    source = tmp_path / "answers.jsonl"
    source.write_text(lines(ROWS[:1]), encoding="utf-8")
    with pytest.raises(StoreError, match="cannot write"):
        grade_file(source, source / "graded.parquet", workers=1)


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_file_without_rows_is_an_error(tmp_path, text):
    source = tmp_path / "answers.jsonl"
    source.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"answers\.jsonl holds no row"):
        grade_file(source, tmp_path / "graded.parquet")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("make", ["hardlink_to", "symlink_to", None])
def test_the_graded_file_is_never_overwritten(tmp_path, make):
    source = tmp_path / "answers.jsonl"
    source.write_text(lines(ROWS), encoding="utf-8")
    target = tmp_path / "sub" / ".." / source.name if make is None else tmp_path / "other"
    (tmp_path / "sub").mkdir()
    if make is not None:
        getattr(target, make)(source)
    with pytest.raises(ConfigError, match="would be overwritten"):
        grade_file(source, target, workers=1)
    assert source.read_text(encoding="utf-8") == lines(ROWS)
