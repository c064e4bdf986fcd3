"""Training data sources: rows, malformed rows, wrong files."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core.data.sources import gsm8k, jsonl, openr1
from hpt_core.data.sources.base import MalformedRow, SourceRow
from hpt_core.errors import DataError
from hpt_core.parquet import _values


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPT_CACHE", str(tmp_path_factory.mktemp("cache")))


def message(role: str, content: str | None) -> dict[str, Any]:
    return {"role": role, "content": content}


def openr1_row(**changes: Any) -> dict[str, Any]:
    row = {
        "data_source": "openr1",
        "prompt": [message("system", "Think."), message("user", "What is {x}?")],
        "target": [message("assistant", "<think>\nhm\n</think>\n\\boxed{1}")],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "1"},
        "extra_info": {"split": "default", "index": -1},
    }
    return {**row, **changes}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_openr1_drops_the_system_message(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", [openr1_row()])
    (row,) = openr1.OpenR1(file=path).read(None)
    assert row == SourceRow(
        f"{path} row 1", "", "What is {x}?", "1", "math", "<think>\nhm\n</think>\n\\boxed{1}", "math"
    )
    (row,) = openr1.OpenR1(file=path, drop_think=True).read(None)
    assert isinstance(row, SourceRow)
    assert row.demonstration == "hm\n</think>\n\\boxed{1}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prompt": []}, "prompt must hold one message, the user's; it holds none"),
        ({"prompt": None}, "it holds none"),
        ({"prompt": [message("user", "a"), message("user", "b")]}, "it holds user, user"),
        ({"prompt": [message("user", " ")]}, "prompt is empty"),
        ({"prompt": [message("user", None)]}, "prompt is empty"),
        ({"target": [message("user", "a")]}, "target must hold one message, the assistant's; it holds user"),
        ({"reward_model": {"style": "rule", "ground_truth": ""}}, "reward_model.ground_truth is empty"),
        ({"reward_model": None}, "reward_model.ground_truth is empty"),
    ],
)
def test_a_malformed_row_is_named_and_the_others_are_read(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    path = write(tmp_path / "rows.parquet", [openr1_row(), openr1_row(**changes), openr1_row(target=None)])
    first, second, third = openr1.OpenR1(file=path).read(None)
    assert isinstance(first, SourceRow)
    assert isinstance(second, MalformedRow)
    assert second.where == f"{path} row 2"
    assert reason in second.reason
    assert isinstance(third, SourceRow)
    assert third.demonstration is None


def of_type(name: str, value: Any, kind: pa.DataType) -> pa.Table:
    """One row in which a column has this value and type."""
    table = pa.Table.from_pylist([openr1_row()])
    return table.set_column(table.schema.get_field_index(name), name, pa.array([value], kind))


def gold(kind: pa.DataType) -> pa.DataType:
    return pa.struct([("style", pa.string()), ("ground_truth", kind)])


def messages(content: pa.DataType, text: pa.DataType = pa.string()) -> pa.DataType:  # noqa: B008  (immutable)
    return pa.struct([("role", text), ("content", content)])


PARTS = pa.list_(pa.struct([("type", pa.string()), ("text", pa.string()), ("image", pa.string())]))


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (27, pa.int64(), "27"),
        (2**64 - 1, pa.uint64(), str(2**64 - 1)),
        (27.0, pa.float64(), "27"),
        (0.1, pa.float16(), "0.1"),
        (0.1, pa.float32(), "0.1"),
        (1e10, pa.float32(), "10000000000"),
        (-0.0, pa.float32(), "0"),
        (Decimal("2.50"), pa.decimal128(10, 2), "2.5"),
        (["2"], pa.list_(pa.string()), "2"),
        ([0.1], pa.list_(pa.float32()), "0.1"),
        ([0.1], pa.list_(pa.float16(), 1), "0.1"),
        ([0.1], pa.list_view(pa.float32()), "0.1"),
        ([[0.1]], pa.large_list(pa.large_list(pa.float32())), "0.1"),
        (0.1, pa.dictionary(pa.int32(), pa.float32()), "0.1"),
        ([[2]], pa.large_list(pa.list_(pa.int32())), "2"),
        ("2", pa.large_string(), "2"),
        ("2", pa.string_view(), "2"),
        ("2", pa.dictionary(pa.int32(), pa.string()), "2"),
        (b"2", pa.binary(), "2"),
    ],
)
def test_a_gold_answer_of_any_type_is_read_as_its_text(
    tmp_path: Path, value: Any, kind: pa.DataType, text: str
) -> None:
    pq.write_table(
        of_type("reward_model", {"style": "rule", "ground_truth": value}, gold(kind)), tmp_path / "rows.parquet"
    )
    (row,) = openr1.OpenR1(file=tmp_path / "rows.parquet").read(None)
    assert isinstance(row, SourceRow)
    assert row.gold == text


@pytest.mark.parametrize(
    ("value", "kind", "reason"),
    [
        (["2", "3"], pa.list_(pa.string()), "reward_model.ground_truth is a list of 2 answers where one is expected"),
        ([], pa.list_(pa.string()), "reward_model.ground_truth is a list of 0 answers where one is expected"),
        (float("nan"), pa.float64(), "reward_model.ground_truth is NaN, which is not a number"),
        (float("nan"), pa.float32(), "reward_model.ground_truth is NaN, which is not a number"),
        (float("inf"), pa.float16(), "reward_model.ground_truth is Infinity, which is not a number"),
        ([float("-inf")], pa.list_(pa.float32()), "reward_model.ground_truth is -Infinity, which is not a number"),
        (2**62, pa.timestamp("us"), "reward_model.ground_truth is a timestamp[us] where text is expected"),
        (1, pa.time32("s"), "reward_model.ground_truth is a time where text is expected"),
        (True, pa.bool_(), "reward_model.ground_truth is a truth value where text is expected"),
        ({"a": "2"}, pa.struct([("a", pa.string())]), "reward_model.ground_truth is an object where text is expected"),
        (None, pa.int64(), "reward_model.ground_truth is empty"),
    ],
)
def test_a_gold_answer_without_one_meaning_is_malformed(
    tmp_path: Path, value: Any, kind: pa.DataType, reason: str
) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(of_type("reward_model", {"style": "rule", "ground_truth": value}, gold(kind)), path)
    assert list(openr1.OpenR1(file=path).read(None)) == [MalformedRow(f"{path} row 1", reason)]


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_list(messages(pa.large_string(), pa.large_string())),
        pa.list_(messages(pa.string()), 1),
        pa.list_view(messages(pa.string())),
        pa.list_(messages(pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.string()))),
    ],
)
def test_messages_are_read_from_every_type_of_list_and_text(tmp_path: Path, kind: pa.DataType) -> None:
    plain = pa.array([[message("user", "What?")]], pa.list_(messages(pa.string())))
    value = pa.array(plain.to_pylist(), kind) if pa.types.is_list_view(kind) else plain.cast(kind)
    table = pa.Table.from_pylist([openr1_row()])
    pq.write_table(table.set_column(table.schema.get_field_index("prompt"), "prompt", value), tmp_path / "rows.parquet")
    (row,) = openr1.OpenR1(file=tmp_path / "rows.parquet").read(None)
    assert isinstance(row, SourceRow)
    assert row.question == "What?"


def test_a_message_in_parts_is_their_texts(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "2?"}]
    pq.write_table(of_type("prompt", [message("user", parts)], pa.list_(messages(PARTS))), path)
    (row,) = openr1.OpenR1(file=path).read(None)
    assert isinstance(row, SourceRow)
    assert row.question == "What is 2?"
    pq.write_table(
        of_type("prompt", [message("user", ["What ", "is 2?"])], pa.list_(messages(pa.list_(pa.string())))), path
    )
    (row,) = openr1.OpenR1(file=path).read(None)
    assert isinstance(row, SourceRow)
    assert row.question == "What is 2?"
    binary = pa.list_(messages(pa.list_(pa.struct([("type", pa.binary()), ("text", pa.binary())])), pa.binary()))
    pq.write_table(of_type("prompt", [message("user", parts)], binary), path)
    (row,) = openr1.OpenR1(file=path).read(None)
    assert isinstance(row, SourceRow)
    assert row.question == "What is 2?"
    for wrong, reason in [
        ([*parts, {"type": "image_url", "image": "x"}], "prompt has a part of type 'image_url', which is not text"),
        ([{"type": "text"}], "prompt is nothing where text is expected"),
        ([], "prompt is empty"),
    ]:
        pq.write_table(of_type("prompt", [message("user", wrong)], pa.list_(messages(PARTS))), path)
        assert list(openr1.OpenR1(file=path).read(None)) == [MalformedRow(f"{path} row 1", reason)]


def not_utf8(*values: bytes) -> pa.Array:
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())


def test_text_that_is_not_utf8_is_named_and_other_rows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = pa.Table.from_pylist([openr1_row()] * 3)
    broken = not_utf8(b"a", b"\xff", b"c")
    users = pa.StructArray.from_arrays([pa.array(["user"] * 3), broken], names=["role", "content"])
    prompts = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), users)
    pq.write_table(table.set_column(table.schema.get_field_index("prompt"), "prompt", prompts), path)
    first, second, third = openr1.OpenR1(file=path).read(None)
    assert isinstance(first, SourceRow) and isinstance(third, SourceRow)
    assert (first.question, third.question) == ("a", "c")
    assert second == MalformedRow(f"{path} row 2", "prompt contains bytes that are not UTF-8 (character 1)")
    users = pa.StructArray.from_arrays([broken, pa.array(["a"] * 3)], names=["role", "content"])
    prompts = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), users)
    pq.write_table(table.set_column(table.schema.get_field_index("prompt"), "prompt", prompts), path)
    _, second, third = openr1.OpenR1(file=path).read(None)
    assert second == MalformedRow(f"{path} row 2", "prompt's role contains bytes that are not UTF-8 (character 1)")
    assert third == MalformedRow(f"{path} row 3", "prompt must hold one message, the user's; it holds c")


UNREADABLE = [
    not_utf8(b"\xff"),
    pa.array([2**62], pa.timestamp("us")),
    pa.array([1], pa.timestamp("ns")),
    pa.array([1], pa.timestamp("us", "Nowhere/Town")),
    pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64())),
    pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
]


@pytest.mark.parametrize("other", UNREADABLE, ids=lambda array: str(array.type))
def test_fields_that_are_not_used_may_hold_anything(tmp_path: Path, other: pa.Array) -> None:
    path = tmp_path / "rows.parquet"
    table = pa.Table.from_pylist([openr1_row()])
    grown = pa.StructArray.from_arrays([pa.array(["27"]), other], names=["ground_truth", "other"])
    table = table.set_column(table.schema.get_field_index("reward_model"), "reward_model", grown)
    users = pa.StructArray.from_arrays(
        [pa.array(["user"]), pa.array(["What?"]), other], names=["role", "content", "other"]
    )
    prompts = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), users)
    table = table.set_column(table.schema.get_field_index("prompt"), "prompt", prompts)
    pq.write_table(table.append_column("other", other).append_column("other", other), path)
    (row,) = openr1.OpenR1(file=path).read(None)
    assert isinstance(row, SourceRow)
    assert (row.question, row.gold) == ("What?", "27")


def test_fields_of_one_name_are_refused_where_they_are_used(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = pa.Table.from_pylist([openr1_row()])
    twice = pa.StructArray.from_arrays([pa.array(["1"]), pa.array(["2"])], names=["ground_truth"] * 2)
    for value in (twice, pa.array([[("ground_truth", "1"), ("ground_truth", "2")]], pa.map_(pa.string(), pa.string()))):
        pq.write_table(table.set_column(table.schema.get_field_index("reward_model"), "reward_model", value), path)
        (row,) = openr1.OpenR1(file=path).read(None)
        assert row == MalformedRow(f"{path} row 1", "reward_model.ground_truth is the name of two fields")
    pq.write_table(table.append_column("ability", table["ability"]), path)
    with pytest.raises(DataError, match="has the column 'ability' twice"):
        list(openr1.OpenR1(file=path).read(None))


def test_columns_that_are_not_used_may_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    broken = not_utf8(b"\xff")
    deep = pa.array([[{"a": [{"b": 1}]}]])
    table = pa.Table.from_pylist([openr1_row()]).append_column("notes", broken).append_column("deep", deep)
    pq.write_table(table.drop_columns(["ability"]), path)
    (row,) = openr1.OpenR1(file=path).read(None)
    assert isinstance(row, SourceRow)
    assert row.family == ""


def test_columns_without_values_are_read(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [openr1_row(target=None), openr1_row(target=None)])
    assert pq.read_schema(tmp_path / "rows.parquet").field("target").type == pa.null()
    rows = list(openr1.OpenR1(file=tmp_path / "rows.parquet").read(None))
    assert [row.demonstration for row in rows if isinstance(row, SourceRow)] == [None, None]


def test_a_map_is_an_object(tmp_path: Path) -> None:
    value = [("style", "rule"), ("ground_truth", "2")]
    pq.write_table(of_type("reward_model", value, pa.map_(pa.string(), pa.string())), tmp_path / "rows.parquet")
    (row,) = openr1.OpenR1(file=tmp_path / "rows.parquet").read(None)
    assert isinstance(row, SourceRow)
    assert row.gold == "2"
    pq.write_table(
        of_type("reward_model", [("ground_truth", 0.1)], pa.map_(pa.string(), pa.float32())), tmp_path / "rows.parquet"
    )
    (row,) = openr1.OpenR1(file=tmp_path / "rows.parquet").read(None)
    assert isinstance(row, SourceRow)
    assert row.gold == "0.1"


@given(st.floats(width=16, allow_nan=False, allow_infinity=False))
def test_a_float_has_the_shortest_digits_that_give_it(number: float) -> None:
    for kind, digits in ((np.float16, 5), (np.float32, 9)):
        (value,) = _values(pa.array([kind(number)]))
        assert kind(value) == number
        shorter = [n for n in range(1, digits + 1) if kind(f"{number:.{n}g}") == number]
        assert len(Decimal(repr(value)).normalize().as_tuple().digits) <= min(shorter)


def test_files_that_are_not_of_the_schema_are_refused(tmp_path: Path) -> None:
    def error(path: Path) -> str:
        with pytest.raises(DataError) as caught:
            list(openr1.OpenR1(file=path).read(None))
        return str(caught.value)

    other = write(tmp_path / "other.parquet", [{"question": "a", "answer": "b"}])
    assert "has no column 'prompt'. Remedy: known: question, answer" in error(other)
    upper = write(tmp_path / "upper.parquet", [{"Prompt": "a"}])
    assert "did you mean 'Prompt'" in error(upper)
    typed = write(tmp_path / "typed.parquet", [openr1_row(prompt="What?")])
    assert "column 'prompt' of" in error(typed)
    twice = pa.Table.from_pylist([openr1_row()])
    twice = twice.append_column("prompt", twice["prompt"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    assert "has the column 'prompt' twice" in error(tmp_path / "twice.parquet")
    (tmp_path / "text.parquet").write_text('{"question": ')
    assert "cannot be read as Parquet" in error(tmp_path / "text.parquet")
    assert "there is no file" in error(tmp_path / "missing.parquet")
    assert f"{tmp_path} is a folder, not a file" in error(tmp_path)
    pq.write_table(twice.slice(0, 0).select([0, 1, 2, 3, 4]), tmp_path / "empty.parquet")
    assert f"{tmp_path / 'empty.parquet'}: there are no rows" in error(tmp_path / "empty.parquet")
    assert openr1.OpenR1(file=tmp_path / "missing.parquet").needs(None) == f"a file {tmp_path / 'missing.parquet'}"
    with pytest.raises(DataError, match="there is no file"):
        openr1.OpenR1(file=tmp_path / "missing.parquet").content(None)


def test_damage_within_a_file_is_named_by_the_last_good_row(tmp_path: Path) -> None:
    rows = [openr1_row(prompt=[message("user", f"What is {i}? " + "x" * i)]) for i in range(2000)]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=500)
    content = bytearray(path.read_bytes())
    middle = slice(len(content) // 2, len(content) // 2 + 2000)
    content[middle] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged after row \d+"):
        list(openr1.OpenR1(file=path).read(None))


def test_a_file_in_the_data_folder_takes_precedence(tmp_path: Path) -> None:
    write(tmp_path / "train" / "openr1.parquet", [openr1_row(), openr1_row()])
    write(tmp_path / "train" / "mine.parquet", [openr1_row()])
    assert openr1.OpenR1().needs(tmp_path) == ""
    assert openr1.OpenR1().count(tmp_path) == 2
    assert openr1.OpenR1(file=Path("mine.parquet")).count(tmp_path) == 1
    assert openr1.OpenR1().needs(None) == "network: Elliott/Openr1-Math-46k-8192 from the Hub"
    assert openr1.OpenR1().needs(tmp_path / "train") == "network: Elliott/Openr1-Math-46k-8192 from the Hub"


def test_identity_is_the_content_and_what_changes_the_rows(tmp_path: Path) -> None:
    write(tmp_path / "a" / "train" / "openr1.parquet", [openr1_row()])
    write(tmp_path / "b" / "mine.parquet", [openr1_row()])
    first = openr1.OpenR1().content(tmp_path / "a")
    assert openr1.OpenR1(file=tmp_path / "b" / "mine.parquet").content(None) == first
    assert openr1.OpenR1(drop_think=True).content(tmp_path / "a") != first
    write(tmp_path / "b" / "mine.parquet", [openr1_row(), openr1_row()])
    assert openr1.OpenR1(file=tmp_path / "b" / "mine.parquet").content(None) != first
    hub = openr1.OpenR1(revision="v1").content(None)
    assert hub["repo"] == "Elliott/Openr1-Math-46k-8192"
    assert hub != openr1.OpenR1().content(None)


def test_gsm8k_marks_are_removed_and_the_answer_is_boxed(tmp_path: Path) -> None:
    rows = [
        {"question": "How many?", "answer": "A <<1+1=2>>2 and 500*2=<<500*2=1000>>1000.\n#### 1,000"},
        {"question": "How many?", "answer": "It is 7."},
        {"question": None, "answer": "#### 7"},
        {"question": "Owed?", "answer": "5-8=<<5-8=-3>>-3\n#### -3"},
    ]
    path = write(tmp_path / "rows.parquet", rows)
    first, second, third, fourth = gsm8k.GSM8K(file=path).read(None)
    assert isinstance(first, SourceRow)
    assert first.demonstration == "A 2 and 500*2=1000.\nThe answer is \\boxed{1000}."
    assert first.gold == "1000"
    assert second == MalformedRow(f"{path} row 2", 'answer does not end with "#### NUMBER"')
    assert third == MalformedRow(f"{path} row 3", "question is empty")
    assert isinstance(fourth, SourceRow)
    assert fourth.gold == "-3"


def test_gsm8k_answers_of_any_length_are_read_in_one_pass(tmp_path: Path) -> None:
    rows = [
        {"question": "How many?", "answer": " " * 2_000_000 + "2\n#### 2"},
        {"question": "a", "answer": " #" * 1_000_000},
    ]
    path = write(tmp_path / "rows.parquet", rows)
    first, second = gsm8k.GSM8K(file=path).read(None)
    assert isinstance(first, SourceRow)
    assert first.gold == "2"
    assert isinstance(second, MalformedRow)


def test_a_data_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    for source in (openr1.OpenR1(), gsm8k.GSM8K(), jsonl.JSONLines(file=Path("rows.jsonl"))):
        with pytest.raises(DataError, match=r"data_dir .*nowhere does not exist.*HPT_DATA"):
            source.content(missing)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is not a folder"):
        openr1.OpenR1().content(tmp_path / "file")
    assert openr1.OpenR1().needs(missing) == f"a folder {missing}"


def test_gsm8k_of_the_data_folder(shared_data: Path) -> None:
    source = gsm8k.GSM8K()
    rows = list(source.read(shared_data))
    assert len(rows) == source.count(shared_data) == 1000
    assert all(isinstance(row, SourceRow) and row.demonstration and "<<" not in row.demonstration for row in rows)
    assert source.needs(shared_data) == ""


def test_jsonl_reads_the_fields_that_exist(tmp_path: Path) -> None:
    lines = [
        json.dumps({"question": "1+1?", "answer": 2, "source": "ignored"}),
        "",
        json.dumps({"question": "B?", "answer": "B", "demonstration": "\\boxed{B}", "id": 7, "kind": "choice"}),
    ]
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "rows.jsonl"
    path.write_text("\n".join(lines))
    source = jsonl.JSONLines(file=Path("rows.jsonl"))
    assert list(source.read(tmp_path)) == [
        SourceRow(f"{path} row 1", "", "1+1?", "2", "math", None, ""),
        SourceRow(f"{path} row 3", "7", "B?", "B", "choice", "\\boxed{B}", ""),
    ]
    assert source.needs(None) == "a file rows.jsonl"
    assert jsonl.JSONLines(file=path).content(None) == source.content(tmp_path)


def test_jsonl_numbers_keep_their_digits(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    answers = ["7" * 5000, "0.30000000000000000001", "[27.0]", "1e-7"]
    path.write_text("".join(f'{{"question": "a", "answer": {answer}, "other": NaN}}\n' for answer in answers))
    golds = [row.gold for row in jsonl.JSONLines(file=path).read(None) if isinstance(row, SourceRow)]
    assert golds == ["7" * 5000, "0.30000000000000000001", "27", "0.0000001"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"question": "a"', "not JSON: Expecting ',' delimiter at character 16"),
        (b"[1]", "is a list where an object is expected"),
        (b"\xff", "not UTF-8"),
        (b'{"answer": "1"}', "has no field 'question'; known: answer"),
        (b'{"Question": "a", "answer": "1"}', "has no field 'question'; did you mean 'Question'? known: Question, ans"),
        (b'{"question": "a", "\\ud800": "1"}', "has no field 'answer'; known: question, \\ud800"),
        (b'{"question": "a", "answer": null}', "answer is empty"),
        (b'{"question": "a", "answer": " "}', "answer is empty"),
        (b'{"question": ["a"], "answer": "1"}', "question is a list where text is expected"),
        (b'{"question": "a", "answer": true}', "answer is a truth value where text is expected"),
        (b'{"question": "a", "answer": NaN}', "answer is NaN, which is not a number"),
        (b'{"question": "a", "answer": -Infinity}', "answer is -Infinity, which is not a number"),
        (b'{"question": "a", "answer": ["1", "2"]}', "answer is a list of 2 answers where one is expected"),
        (b'{"question": "a\\udc00", "answer": "1"}', "question contains an unpaired surrogate (character 2)"),
        (b'{"question": "a", "answer": "1", "id": "\\ud800"}', "id contains an unpaired surrogate"),
        (b'{"question": "a", "question": "b", "answer": "1"}', "has the field 'question' twice"),
        (b'{"question": "a", "answer": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "is nested too deeply to be read"),
        (
            b'{"question": "a", "answer": "1", "kind": "code"}',
            "kind: unknown name 'code' in verifiers; did you mean 'choice'? known: choice, math",
        ),
    ],
)
def test_jsonl_malformed_lines_are_named(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"question": "a", "answer": "1"}\n' + line + b"\n")
    _, bad = jsonl.JSONLines(file=path).read(None)
    assert isinstance(bad, MalformedRow)
    assert bad.where == f"{path} row 2"
    assert reason in bad.reason
