"""The plan of shards, and errors when they are read."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core.errors import DataError
from hpt_core.evaluation.shards import is_whole, plan, read_questions, read_samples
from hpt_core.files import write_parquet
from hpt_core.schemas import QUESTIONS, SAMPLES


def samples(question_ids, k=2):
    rows = [
        {
            "benchmark": "b",
            "question_id": q,
            "sample_index": i,
            "seed": 7 + i,
            "response": "r",
            "tokens": 1,
            "prompt_tokens": 1,
            "finish_reason": "stop",
        }
        for q in question_ids
        for i in range(k)
    ]
    return pa.Table.from_pylist(rows, schema=SAMPLES)


@given(st.integers(1, 700), st.integers(1, 64), st.integers(1, 1000))
def test_plan_covers_every_question_once_in_order(questions, k, shard_samples):
    shards = plan(questions, k, shard_samples)
    assert [q for s in shards for q in range(s.start, s.stop)] == list(range(questions))
    assert [s.number for s in shards] == list(range(len(shards)))
    assert all((s.stop - s.start) * k >= shard_samples for s in shards[:-1])
    assert all((s.stop - s.start - 1) * k < shard_samples for s in shards)
    assert sorted(s.file_name for s in shards) == [s.file_name for s in shards]


def test_samples_are_read_back_in_order(tmp_path):
    for number, ids in enumerate((["z"], ["a", "m"])):
        write_parquet(tmp_path / f"part-{number:05d}.parquet", samples(ids))
    table = read_samples(tmp_path)
    assert table.schema == SAMPLES
    assert table.column("question_id").to_pylist() == ["z", "z", "a", "a", "m", "m"]


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(DataError, match=r"part-00000\.parquet is missing"):
        read_samples(tmp_path)
    write_parquet(tmp_path / "part-00000.parquet", samples(["a"]))
    write_parquet(tmp_path / "part-00002.parquet", samples(["c"]))
    with pytest.raises(DataError, match=r"part-00001\.parquet is missing"):
        read_samples(tmp_path)


def test_damage_is_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "part-00000.parquet"
    write_parquet(path, samples(["a"]))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"part-00000\.parquet"):
        read_samples(tmp_path)
    write_parquet(path, pa.table({"other": [1]}))
    with pytest.raises(DataError, match="other columns than benchmark"):
        read_samples(tmp_path)


def test_a_shard_is_whole_only_with_its_own_rows(tmp_path):
    path = tmp_path / "part-00000.parquet"
    assert not is_whole(path, [])
    write_parquet(path, samples(["a"]))
    assert is_whole(path, [("a", 0, 7), ("a", 1, 8)])
    assert not is_whole(path, [("a", 0, 7)])
    assert not is_whole(path, [("a", 0, 7), ("a", 1, 9)])
    path.write_bytes(b"PAR1")
    assert not is_whole(path, [("a", 0, 7), ("a", 1, 8)])


def test_repeated_questions_are_refused(tmp_path):
    row = {"question_id": "a", "question": "q", "gold": "1", "kind": "math", "family": ""}
    write_parquet(tmp_path / "questions.parquet", pa.Table.from_pylist([row, row], schema=QUESTIONS))
    with pytest.raises(DataError, match="1 repeated question ids"):
        read_questions(tmp_path / "questions.parquet")
    with pytest.raises(DataError, match="cannot read"):
        read_questions(tmp_path / "none.parquet")
