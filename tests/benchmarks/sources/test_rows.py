"""Reading rows: every format gives the same rows, and every error names file and position."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.sources.rows import gold, optional, read_rows, text, texts
from hpt_core.errors import DataError

ROWS = [{"a": "x", "b": "ü,\n1"}, {"a": "y", "b": '"2"'}]


def write(path, rows):
    match path.suffix:
        case ".json":
            path.write_text(json.dumps(rows))
        case ".jsonl":
            path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
        case ".csv":
            path.write_text('a,b\nx,"ü,\n1"\ny,"""2"""\n')
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "parquet"])
def test_formats_agree(tmp_path, suffix):
    path = tmp_path / f"rows.{suffix}"
    write(path, ROWS)
    assert list(read_rows(path)) == [(f"{path} row 1", ROWS[0]), (f"{path} row 2", ROWS[1])]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", b'[{"a": 1},\n{]', r"x\.json row 2 is not JSON: line 2"),
        ("x.json", b'{"a": 1}', r"x\.json holds an object where a list of rows is expected"),
        ("x.jsonl", b'{"a": 1}\n{"a"\n', r"x\.jsonl row 2 is not JSON"),
        ("x.jsonl", b'{"a": 1}\n3\n', r"x\.jsonl row 2 is a number where an object is expected"),
        ("x.json", b'[{"a": 1}, ' + b"[" * 10_000, r"x\.json row 2 is nested too deeply"),
        ("x.jsonl", b'{"a": 1}\n' + b"[" * 10_000, r"x\.jsonl row 2 is nested too deeply"),
        ("x.jsonl", b'{"a": 1}\n{"a": 1, "a": 2}', r"x\.jsonl row 2 has the field 'a' twice"),
        ("x.parquet", b"PAR1 but not really", r"x\.parquet cannot be read as Parquet"),
        ("x.csv", b'a,b\n1,2\n"1"2,3\n', r"x\.csv row 2 is not CSV"),
        ("x.csv", b"a,b\n1,2\n1,000,2\n", r"x\.csv row 2 has more fields than there are columns"),
        ("x.csv", b"a,a\n1,2\n", r"x\.csv has two columns with the same name"),
        ("x.json", b"\xff\xfe", r"x\.json is not UTF-8 text"),
        ("x.json", '[{"a": 1}]'.encode("utf-16"), r"x\.json is not UTF-8 text"),
        ("x.txt", b"", r"x\.txt has an unknown format"),
    ],
)
def test_faults_name_the_file_and_the_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_rows(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", b'[{"a": 1, "b": "\xff"}, {"a": "\xff"}]'),
        ("x.jsonl", b'{"a": 1, "b": "\xff"}\n{"a": "\xff"}\n'),
        ("x.csv", b"a,b\n1,\xff\n\xff,3\n"),
    ],
)
def test_text_that_is_not_utf8_is_refused_where_it_is_used(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    (_, first), (where, second) = read_rows(tmp_path / name)
    assert text(first, "a") == "1"
    assert where.endswith(f"{name} row 2")
    with pytest.raises(ValueError, match=r"field 'a' contains bytes that are not UTF-8 \(character 1\)"):
        text(second, "a")


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none\.json: No such file"):
        list(read_rows(tmp_path / "none.json"))


def test_text_takes_text_and_numbers():
    assert text({"a": "  x "}, "a") == "x"
    assert [text({"a": value}, "a") for value in (27, 27.0, 2.5)] == ["27", "27", "2.5"]
    for value in (None, True, ["x"], {}, ""):
        with pytest.raises(ValueError, match="'a'"):
            text({"a": value}, "a")


def test_texts_takes_lists_of_text():
    assert texts({"a": ["x", 1]}, "a") == ["x", "1"]
    for value in (None, [], "x", [None]):
        with pytest.raises(ValueError, match="'a"):
            texts({"a": value}, "a")
    with pytest.raises(ValueError, match="has no field 'A'; did you mean 'a'"):
        text({"a": "x"}, "A")
    with pytest.raises(ValueError, match="no field 'b'"):
        texts({"a": []}, "b")


def test_gold_takes_a_list_of_one_answer():
    assert [gold({"a": value}, "a") for value in (" 2 ", 2, ["2"], [[2.0]])] == ["2"] * 4
    with pytest.raises(ValueError, match="field 'a' is a list of 2 answers where one is expected"):
        gold({"a": ["2", "3"]}, "a")
    with pytest.raises(ValueError, match="field 'a' is NaN, which is not a number"):
        gold({"a": float("nan")}, "a")


def test_rows_hold_long_numbers_and_long_fields(tmp_path):
    digits, long = "7" * 5000, "x" * 500_000
    for name, content in {
        "x.json": f'[{{"a": {digits}, "b": "{long}", "unused": NaN}}]',
        "x.jsonl": f'\ufeff{{"a": {digits}, "b": "{long}", "unused": Infinity}}',
        "x.csv": f'a,b\n{digits},"{long}"\n',
    }.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        ((where, row),) = read_rows(tmp_path / name)
        assert (where, gold(row, "a"), text(row, "b")) == (f"{tmp_path / name} row 1", digits, long)


def test_rows_of_parquet_are_read_from_every_type_of_text(tmp_path):
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())):
        column = pa.array(["x", "y"]).cast(kind) if not pa.types.is_dictionary(kind) else pa.array(["x", "y"], kind)
        pq.write_table(pa.table({"a": column}), tmp_path / "x.parquet")
        assert [text(row, "a") for _, row in read_rows(tmp_path / "x.parquet")] == ["x", "y"]
    pq.write_table(
        pa.table({"a": pa.array([0.1], pa.float32()), "b": pa.array([27], pa.int8())}), tmp_path / "x.parquet"
    )
    ((_, row),) = read_rows(tmp_path / "x.parquet")
    assert (gold(row, "a"), gold(row, "b")) == ("0.1", "27")
    for kind in (pa.float16(), pa.large_list(pa.float32())):
        nested = pa.types.is_large_list(kind)
        pq.write_table(pa.table({"a": pa.array([[0.1] if nested else 0.1], kind)}), tmp_path / "x.parquet")
        ((_, row),) = read_rows(tmp_path / "x.parquet")
        assert gold(row, "a") == "0.1"


def test_parquet_values_that_cannot_be_read_are_refused_where_they_are_used(tmp_path):
    path = tmp_path / "x.parquet"
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff"]).buffers())
    for column, problem in (
        (bad, r"field 'b' contains bytes that are not UTF-8 \(character 1\)"),
        (pa.array([None, 2**62], pa.timestamp("us")), r"field 'b' is a timestamp\[us\] where text is expected"),
        (pa.array([[], [(1, 1), (1, 2)]], pa.map_(pa.int8(), pa.int8())), "field 'b' is an object where text"),
        (pa.array([1, float("nan")], pa.float32()), "field 'b' is NaN, which is not a number"),
    ):
        pq.write_table(pa.table({"a": pa.array([1, 2]), "b": column}), path)
        (_, first), (where, second) = read_rows(path)
        assert (text(first, "a"), text(second, "a"), where) == ("1", "2", f"{path} row 2")
        with pytest.raises(ValueError, match=problem):
            gold(second, "b")


def test_columns_of_one_name_are_refused(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array(["1"]), pa.array(["2"])], ["a", "a"]), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet has the column 'a' twice"):
        list(read_rows(tmp_path / "x.parquet"))


def test_files_without_rows_are_named(tmp_path):
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "x.parquet")
    for name, content in {"x.json": "[]", "x.jsonl": "\n\n", "x.csv": "a,b\n"}.items():
        (tmp_path / name).write_text(content)
    for path in tmp_path.iterdir():
        with pytest.raises(DataError, match=f"{path}: there are no rows"):
            list(read_rows(path))


def test_optional_fields():
    assert [optional(row, "a") for row in ({"a": " x "}, {"a": 5}, {"a": ""}, {"a": None}, {})] == [
        "x",
        "5",
        "",
        "",
        "",
    ]
    with pytest.raises(ValueError, match="field 'a' is a list where text is expected"):
        optional({"a": []}, "a")
