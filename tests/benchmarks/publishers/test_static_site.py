import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.publishers._layout import OURS
from benchmarks.publishers.base import Occasion
from benchmarks.publishers.static_site import StaticSite
from hpt_core.errors import PublishError
from tests.benchmarks.publishers.reader import shown

Make = Callable[[str], Path]
FILES = (
    "leaderboard.md",
    "site/index.html",
    "tables/comparisons.parquet",
    "tables/scores.parquet",
    "tables/training_log.parquet",
)


PAGES = ("index.html", "runs.json", "runs/index.html")


def snapshot(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_first_publication_contains_the_report_without_samples(make_report: Make, tmp_path: Path) -> None:
    target = tmp_path / "public" / "board"
    receipt = StaticSite(path=target).publish(make_report("a"))
    assert receipt.changed
    assert receipt.target == str(target)
    assert receipt.files == FILES
    key = receipt.folder.removeprefix("runs/")
    assert set(snapshot(target)) == {*PAGES, f"records/{key}.json", *(f"runs/{key}/{name}" for name in FILES)}
    assert shown(target) == "site/index.html a"
    hashes = {name: hashlib.sha256((target / receipt.folder / name).read_bytes()).hexdigest() for name in FILES}
    text = json.dumps(hashes, sort_keys=True, separators=(",", ":"))
    assert receipt.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert receipt.sha256.startswith(key)


def test_samples_are_published_on_request(make_report: Make, tmp_path: Path) -> None:
    receipt = StaticSite(path=tmp_path / "board", samples=True).publish(make_report("a"))
    assert "tables/samples.parquet" in receipt.files
    assert (tmp_path / "board" / receipt.folder / "tables/samples.parquet").is_file()


def test_publishing_the_same_report_again_changes_nothing(make_report: Make, tmp_path: Path) -> None:
    config, report = StaticSite(path=tmp_path / "board"), make_report("a")
    first = config.publish(report)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "board").rglob("*")}
    second = config.publish(report)
    assert not second.changed
    assert second.sha256 == first.sha256
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "board").rglob("*")} == before


def test_a_new_report_replaces_the_old_one_whose_page_stays(make_report: Make, tmp_path: Path) -> None:
    config, target = StaticSite(path=tmp_path / "board"), tmp_path / "board"
    folders = [config.publish(make_report(text)).folder for text in "abc"]
    assert shown(target) == "site/index.html c"
    assert [(target / folder / "site/index.html").read_text()[-1] for folder in folders] == ["a", "b", "c"]
    listed = (target / "runs/index.html").read_text()
    assert [listed.index(folder.removeprefix("runs/")) for folder in reversed(folders)] == sorted(
        listed.index(folder.removeprefix("runs/")) for folder in folders
    )
    assert config.publish(make_report("a")).changed, "the earlier report is published again"
    assert shown(target) == "site/index.html a"


def test_a_run_that_is_not_to_be_the_board_gets_a_labeled_page(make_report: Make, tmp_path: Path) -> None:
    config, target = StaticSite(path=tmp_path / "board"), tmp_path / "board"
    changed = ('train.hpt.label="<b>"',)
    trial = Occasion(pipeline="demo", overrides=changed, board=False)
    assert config.publish(make_report("t"), trial).changed
    assert 'content="1; url=runs/index.html"' in (target / "index.html").read_text(), "there is no board yet"
    config.publish(make_report("a"))
    receipt = config.publish(make_report("u"), trial)
    assert shown(target) == "site/index.html a"
    assert (target / receipt.folder / "site/index.html").read_text() == "site/index.html u"
    assert "with train.hpt.label=&quot;&lt;b&gt;&quot;" in (target / "runs/index.html").read_text()
    listed = json.loads((target / "runs.json").read_text())
    assert {run["key"]: run["overrides"] for run in listed["runs"]}[receipt.folder[5:]] == list(changed)
    assert not config.publish(make_report("u"), trial).changed
    (tmp_path / "receipt").write_text(receipt.model_dump_json())
    assert config.holds(tmp_path / "receipt")
    assert config.publish(make_report("u"), Occasion(pipeline="demo", overrides=changed)).changed
    assert shown(target) == "site/index.html u"
    assert not config.publish(make_report("u"), trial).changed, "it stays the board"


def test_of_reports_published_at_once_the_newer_wins(make_report: Make, tmp_path: Path) -> None:
    config, noon = StaticSite(path=tmp_path / "board"), datetime(2026, 1, 1, 12, tzinfo=UTC)
    config.publish(make_report("newer"), Occasion(when=noon + timedelta(seconds=1)))
    assert config.publish(make_report("older"), Occasion(when=noon)).changed
    assert shown(tmp_path / "board") == "site/index.html newer"
    config.publish(make_report("older"), Occasion(when=noon + timedelta(seconds=2)))
    assert shown(tmp_path / "board") == "site/index.html older"


def test_a_damaged_publication_is_repaired(make_report: Make, tmp_path: Path) -> None:
    config, report, target = StaticSite(path=tmp_path / "board"), make_report("a"), tmp_path / "board"
    page = target / config.publish(report).folder / "leaderboard.md"
    for damaged, text in ((page, "leaderboard.md b"), (target / "index.html", OURS)):
        before = damaged.read_text()
        damaged.write_text(text)
        assert config.publish(report).changed
        assert damaged.read_text() == before
    (record,) = (target / "records").iterdir()
    record.write_text("{")
    assert config.publish(report).changed
    assert not config.publish(report).changed


def test_holds_checks_whether_the_publication_still_exists(make_report: Make, tmp_path: Path) -> None:
    config, path = StaticSite(path=tmp_path / "board"), tmp_path / "receipt.json"
    assert not config.holds(path)
    receipt = config.publish(make_report("a"))
    path.write_text(receipt.model_dump_json())
    assert config.holds(path)
    (tmp_path / "board" / receipt.folder / "site/index.html").unlink()
    assert not config.holds(path)
    config.publish(make_report("a"))
    assert config.holds(path)
    config.publish(make_report("b"))
    assert not config.holds(path)


def test_an_interrupted_publication_keeps_the_old_one(
    make_report: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, target = StaticSite(path=tmp_path / "board"), tmp_path / "board"
    config.publish(make_report("a"))
    before = snapshot(target)
    write = Path.write_bytes

    def fail(path: Path, data: bytes) -> int:
        if "scores.parquet" in path.name:
            raise OSError(28, "No space left on device", str(path))
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        with pytest.raises(PublishError, match="No space left on device"):
            config.publish(make_report("b"))
    assert before.items() <= snapshot(target).items()
    assert shown(target) == "site/index.html a"
    assert not list(target.rglob("*.tmp"))
    config.publish(make_report("b"))
    assert shown(target) == "site/index.html b"


def test_a_link_of_an_earlier_version_becomes_a_folder(make_report: Make, tmp_path: Path) -> None:
    for name in ("0" * 16, "1" * 16):
        (tmp_path / f".board-{name}").mkdir()
        (tmp_path / f".board-{name}" / "index.html").write_text("earlier")
    target = tmp_path / "board"
    target.symlink_to(f".board-{'1' * 16}")
    StaticSite(path=target).publish(make_report("a"))
    assert not target.is_symlink()
    assert shown(target) == "site/index.html a"
    assert [p.name for p in tmp_path.glob(".board*")] == []


@pytest.mark.parametrize("kind", ["folder", "page", "file", "link"])
def test_files_of_others_are_not_touched(make_report: Make, tmp_path: Path, kind: str) -> None:
    target, elsewhere = tmp_path / "board", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.tex").write_text("precious")
    if kind == "folder":
        elsewhere.rename(target)
    elif kind == "page":
        elsewhere.rename(target)
        (target / "index.html").write_text("<title>Somebody's</title>")
    elif kind == "file":
        target.write_text("precious")
    else:
        target.symlink_to(elsewhere)
    with pytest.raises(PublishError, match="not a publication of ours"):
        StaticSite(path=target).publish(make_report("a"))
    assert "precious" in (target.read_text() if kind == "file" else (target / "thesis.tex").read_text())


def test_an_empty_folder_is_accepted(make_report: Make, tmp_path: Path) -> None:
    (tmp_path / "board").mkdir()
    StaticSite(path=tmp_path / "board").publish(make_report("a"))
    assert shown(tmp_path / "board") == "site/index.html a"


def test_a_folder_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=r"site/index\.html is missing"):
        StaticSite(path=tmp_path / "board").publish(tmp_path)
    assert not (tmp_path / "board").exists()
