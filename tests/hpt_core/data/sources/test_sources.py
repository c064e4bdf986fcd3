"""Training data sources: rows, malformed rows, wrong files."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpt_core.data.sources import gsm8k, jsonl, openr1
from hpt_core.data.sources.base import MalformedRow, SourceRow
from hpt_core.errors import DataError


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


def test_files_that_are_not_of_the_schema_are_refused(tmp_path: Path) -> None:
    def error(path: Path) -> str:
        with pytest.raises(DataError) as caught:
            list(openr1.OpenR1(file=path).read(None))
        return str(caught.value)

    other = write(tmp_path / "other.parquet", [{"question": "a", "answer": "b"}])
    assert "has no column 'prompt'; its columns are question, answer" in error(other)
    typed = write(tmp_path / "typed.parquet", [openr1_row(prompt="What?")])
    assert "column 'prompt' of" in error(typed)
    (tmp_path / "text.parquet").write_text('{"question": ')
    assert "cannot be read as Parquet" in error(tmp_path / "text.parquet")
    assert "there is no file" in error(tmp_path / "missing.parquet")
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


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"question": "a"', "not JSON: Expecting ',' delimiter at character 16"),
        (b"[1]", "not an object"),
        (b"\xff", "not UTF-8"),
        (b'{"answer": "1"}', "question is missing or empty"),
        (b'{"question": "a", "answer": " "}', "answer is missing or empty"),
        (b'{"question": ["a"], "answer": "1"}', "question is no text"),
        (b'{"question": "a", "answer": true}', "answer is no text"),
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
