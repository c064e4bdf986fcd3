"""Reading rows: every format gives the same rows, and every error names file and position."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.sources.rows import read_rows, text, texts
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
        ("x.json", b'[{"a": 1},\n{]', r"x\.json is not JSON: line 2"),
        ("x.json", b'{"a": 1}', r"x\.json holds an object where a list of rows is expected"),
        ("x.jsonl", b'{"a": 1}\n{"a"\n', r"x\.jsonl line 2 is not JSON"),
        ("x.jsonl", b'{"a": 1}\n3\n', r"x\.jsonl row 2 is a number where an object is expected"),
        ("x.parquet", b"PAR1 but not really", r"x\.parquet is not Parquet"),
        ("x.csv", b'a,b\n"1"2,3\n', r"x\.csv is not CSV"),
        ("x.json", b"\xff\xfe", r"x\.json is not UTF-8"),
        ("x.txt", b"", r"x\.txt has an unknown format"),
    ],
)
def test_faults_name_the_file_and_the_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_rows(tmp_path / name))


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
    with pytest.raises(ValueError, match="no field 'b'"):
        texts({"a": []}, "b")
