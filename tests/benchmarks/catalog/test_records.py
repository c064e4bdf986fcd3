"""Records that several processes write at the same time, and some while they are killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stores import MadeUp
from benchmarks.catalog import migrations, schemas
from benchmarks.catalog.board import make_board
from benchmarks.catalog.migrations import Migration
from benchmarks.catalog.records import QuestionScores, Records
from benchmarks.catalog.schemas import QUESTION_SCORES
from benchmarks.catalog.tables import update
from hpt_core.errors import StoreError
from tasks.execution.catalog import fill
from tests.conftest import ROOT


def stage(record: str) -> dict[str, object]:
    return {"record": record, "stage": "train.a", "state": "made", "end": "2026-01-01T00:00:00+00:00"}


def questions(record: str, count: int = 3) -> QuestionScores:
    columns = {
        "record": [record] * count, "protocol": ["p"] * count, "question_id": [f"q{i}" for i in range(count)],
        "correct": [1] * count, "k": [2] * count, "tokens": [10] * count, "truncated": [0] * count,
    }  # fmt: skip
    return QuestionScores("aime24", f"org/name@{record}", pa.table(columns, schema=QUESTION_SCORES))


def write(records: Records, name: str) -> None:
    records.add(name, {"stages": [stage(name)]}, questions(name))


WRITES = """
import sys
import tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[4])
import test_records as t
from benchmarks.catalog.records import Records
from benchmarks.catalog.tables import update
records = Records(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    t.write(records, f"{sys.argv[2]}x{number}")
    if number % 7 == 0:
        update(records)
    print(number, flush=True)
"""


def writer(root: Path, name: str, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITES, str(root), name, str(count), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_concurrent_writers_lose_nothing_though_one_is_killed(tmp_path: Path) -> None:
    """Each also rewrites the tables, over and over."""
    steady = [writer(tmp_path, name, 30) for name in ("a", "b")]
    doomed = writer(tmp_path, "c", 10_000)
    assert doomed.stdout is not None
    written = [int(doomed.stdout.readline()) for _ in range(10)][-1]
    doomed.send_signal(signal.SIGKILL)
    doomed.wait()
    doomed.stdout.close()
    for process in steady:
        process.communicate(timeout=240)
        assert process.returncode == 0
    records = Records(tmp_path)
    tables = update(records)
    found = set(tables.stages.column("record").to_pylist())
    expected = {f"{name}x{i}" for name in "ab" for i in range(30)} | {f"cx{i}" for i in range(written + 1)}
    assert found >= expected
    assert len(found) == tables.stages.num_rows, "no record counts twice"
    assert all(name.startswith("cx") for name in found - expected), "what the killed one had begun"
    for name in found:
        assert records.questions("aime24", f"org/name@{name}", name).num_rows == 3


def test_a_record_never_refers_to_questions_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The questions are written first."""
    records = Records(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("benchmarks.catalog.records.pq.write_table", full)
    with pytest.raises(OSError, match="No space"):
        write(records, "a")
    assert not records.has("a")
    assert [path.name for path in tmp_path.rglob("*.tmp")] == []


def test_a_damaged_record_is_removed_so_that_it_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = Records(tmp_path)
    write(records, "a")
    path = tmp_path / "catalog" / "records" / "a.json"
    path.write_text(path.read_text()[:40])
    assert records.read(["a"]) == {}
    assert "a.json is damaged" in caplog.text
    assert not records.has("a")


def test_a_number_that_is_not_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Records(tmp_path).add("a", {"stages": [stage("a") | {"seconds": float("nan")}]})


def test_another_version_is_migrated_and_a_later_one_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if `money` had been called `price`, and `truncated` had not existed."""
    old = Records(tmp_path)
    rows = stage("a")
    old.add("a", {"stages": [rows | {"price": 2.5}]}, questions("a"))
    tables = update(old)
    assert tables.stages.column("money").to_pylist() == [None]
    before = QUESTION_SCORES.remove(QUESTION_SCORES.get_field_index("truncated"))
    path = old.questions_path("aime24", "org/name@a", "a")
    pq.write_table(questions("a").table.select(before.names).cast(before), path)

    def renamed(found: migrations.Rows) -> migrations.Rows:
        stages = [{("money" if k == "price" else k): v for k, v in row.items()} for row in found.get("stages", [])]
        return {**found, "stages": stages}

    def counted(table: pa.Table) -> pa.Table:
        return table.append_column("truncated", pa.array([0] * table.num_rows, pa.int32()))

    now = schemas.VERSION
    monkeypatch.setattr(migrations, "STEPS", {now: Migration(renamed, counted)})
    monkeypatch.setattr(schemas, "VERSION", now + 1)
    for name, schema in schemas.TABLES.items():
        newer = schema.with_metadata({schemas.VERSION_KEY: str(now + 1).encode()})
        monkeypatch.setitem(schemas.TABLES, name, newer)
    tables = update(Records(tmp_path))
    assert tables.stages.column("money").to_pylist() == [2.5], "the files of the old version are not read"
    assert Records(tmp_path).questions("aime24", "org/name@a", "a").column("truncated").to_pylist() == [0, 0, 0]
    file = tmp_path / "catalog" / "records" / "a.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": now + 2}))
    expected = f"has version {now + 2} of the catalog's tables; this release reads 1 to {now + 1}"
    with pytest.raises(StoreError, match=expected):
        Records(tmp_path).read(["a"])


LACKED = {1: ("lengths", "outcomes"), 2: ("outcomes",)}
"""Version -> columns of SCORES that it did not have. Version 1 had no OVERLAPS either."""


@pytest.fixture
def filled(tmp_path: Path) -> MadeUp:
    """A store with a score and an overlap, and a catalog."""
    made = MadeUp(tmp_path)
    made.run("demo", {"hpt": {"aime24": np.array([[1, 1], [1, 0], [0, 0]], bool)}})
    made.overlap("demo", "aime24", [0.5, 0.0, 0.0])
    assert fill(made.store).overlaps.num_rows == 1
    return made


def as_written_by(version: int, store: Path) -> None:
    """Make the catalog one of an earlier version."""
    for file in (store / "catalog" / "records").iterdir():
        content = json.loads(file.read_text())
        for row in content["rows"].get("scores", ()):
            for name in LACKED[version]:
                assert row.pop(name)
        if version == 1:
            content["rows"].pop("overlaps", None)
        file.write_text(json.dumps({**content, "version": version}))
    for table in (store / "catalog").glob("*.parquet"):
        table.unlink()


@pytest.mark.parametrize("version", LACKED)
def test_what_an_earlier_version_did_not_have_is_null(filled: MadeUp, version: int) -> None:
    root = filled.store.root
    as_written_by(version, root)
    tables = update(Records(root))
    assert [tables.scores.column(name).to_pylist() for name in LACKED[version]] == [[None]] * len(LACKED[version])
    assert tables.overlaps.num_rows == version - 1
    assert [line.label for section in make_board(tables).sections for line in section.lines] == ["hpt"]


@pytest.mark.parametrize("version", LACKED)
def test_what_an_earlier_version_did_not_have_is_made_from_what_the_store_has(filled: MadeUp, version: int) -> None:
    before = fill(filled.store)
    as_written_by(version, filled.store.root)
    for _ in range(2):
        tables = fill(filled.store)
        assert tables.scores.equals(before.scores) and tables.overlaps.equals(before.overlaps)


def test_what_cannot_be_made_any_more_stays_null(filled: MadeUp, caplog: pytest.LogCaptureFixture) -> None:
    as_written_by(2, filled.store.root)
    shutil.rmtree(filled.store.root / "samples")
    assert fill(filled.store).scores.column("outcomes").to_pylist() == [None]
    assert caplog.text == "", "nothing is lost"


def test_every_version_before_todays_has_a_step() -> None:
    assert set(migrations.STEPS) == set(range(1, schemas.VERSION))


def test_files_of_two_writers_are_not_mixed(tmp_path: Path) -> None:
    """One that was overtaken leaves tables that do not belong together; they are made again from the records."""
    records = Records(tmp_path)
    write(records, "a")
    update(records)
    stale = (tmp_path / "catalog" / "stages.parquet").read_bytes()
    write(records, "b")
    update(records)
    (tmp_path / "catalog" / "stages.parquet").write_bytes(stale)
    assert update(Records(tmp_path)).stages.column("record").to_pylist() == ["a", "b"]


def test_nothing_is_written_if_nothing_is_new(tmp_path: Path) -> None:
    records = Records(tmp_path)
    write(records, "a")
    update(records)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "catalog").glob("*.parquet")}
    time.sleep(0.01)
    update(records)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "catalog").glob("*.parquet")} == before


DEFAULTS = {pa.string(): "", pa.bool_(): False}
PROTOCOL = {field.name: DEFAULTS.get(field.type, 0) for field in schemas.PROTOCOLS}


@given(
    ends=st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=8),
    cuts=st.sets(st.integers(0, 8)),
    data=st.data(),
)
def test_tables_do_not_depend_on_when_they_were_updated(
    ends: list[int | None], cuts: set[int], data: st.DataObject
) -> None:
    """In whatever order stages end, if one never ended, and if records are removed."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        step_by_step, at_once = Records(Path(one)), Records(Path(other))
        removed = data.draw(st.sets(st.integers(0, len(ends))))
        for number, end in enumerate(ends):
            name = f"{'ba'[number % 2]}{number}"
            row = stage(name) | {"end": None if end is None else f"2026-01-0{end + 1}T00:00:00+00:00"}
            protocol = {**PROTOCOL, "record": name, "protocol": f"p{(end or 0) % 2}"}
            rows = {"stages": [row], "protocols": [protocol]}
            step_by_step.add(name, rows, durable=False)
            if number in cuts:
                update(step_by_step)
            if number in removed:
                (step_by_step.folder / "records" / f"{name}.json").unlink()
            else:
                at_once.add(name, rows, durable=False)
        for table in ("stages", "protocols"):
            assert getattr(update(step_by_step), table).equals(getattr(update(at_once), table)), table
