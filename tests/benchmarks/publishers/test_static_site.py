import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.publishers.static_site import StaticSite
from hpt_core.errors import PublishError

Make = Callable[[str], Path]
FILES = (
    "index.html",
    "leaderboard.md",
    "site/index.html",
    "site/plotly.min.js",
    "tables/comparisons.parquet",
    "tables/scores.parquet",
    "tables/training_log.parquet",
)


def snapshot(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_first_publication_contains_the_report_without_samples(make_report: Make, tmp_path: Path) -> None:
    target = tmp_path / "public" / "board"
    receipt = StaticSite(path=target).publish(make_report("a"))
    assert receipt.changed
    assert receipt.target == str(target)
    assert receipt.files == FILES
    assert tuple(snapshot(target)) == FILES
    assert (target / "site/index.html").read_text() == "site/index.html a"
    hashes = {name: hashlib.sha256((target / name).read_bytes()).hexdigest() for name in FILES}
    text = json.dumps(hashes, sort_keys=True, separators=(",", ":"))
    assert receipt.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_samples_are_published_on_request(make_report: Make, tmp_path: Path) -> None:
    receipt = StaticSite(path=tmp_path / "board", samples=True).publish(make_report("a"))
    assert "tables/samples.parquet" in receipt.files
    assert (tmp_path / "board/tables/samples.parquet").is_file()


def test_publishing_the_same_report_again_changes_nothing(make_report: Make, tmp_path: Path) -> None:
    config, report = StaticSite(path=tmp_path / "board"), make_report("a")
    first = config.publish(report)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "board").rglob("*")}
    second = config.publish(report)
    assert not second.changed
    assert second.sha256 == first.sha256
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "board").rglob("*")} == before


def test_a_new_report_replaces_the_old_one_and_keeps_one_version(make_report: Make, tmp_path: Path) -> None:
    config = StaticSite(path=tmp_path / "board")
    for text in "abc":
        assert config.publish(make_report(text)).changed
    assert (tmp_path / "board/leaderboard.md").read_text() == "leaderboard.md c"
    kept = sorted((v / "leaderboard.md").read_text() for v in tmp_path.glob(".board-*"))
    assert kept == ["leaderboard.md b", "leaderboard.md c"]


def test_a_damaged_publication_is_repaired(make_report: Make, tmp_path: Path) -> None:
    config, report = StaticSite(path=tmp_path / "board"), make_report("a")
    config.publish(report)
    (tmp_path / "board/leaderboard.md").write_text("changed by hand")
    assert config.publish(report).changed
    assert (tmp_path / "board/leaderboard.md").read_text() == "leaderboard.md a"


def test_holds_checks_whether_the_publication_still_exists(make_report: Make, tmp_path: Path) -> None:
    config, path = StaticSite(path=tmp_path / "board"), tmp_path / "receipt.json"
    assert not config.holds(path)
    path.write_text(config.publish(make_report("a")).model_dump_json())
    assert config.holds(path)
    (tmp_path / "board/site/index.html").unlink()
    assert not config.holds(path)
    config.publish(make_report("b"))
    assert not config.holds(path)


def test_an_interrupted_publication_keeps_the_old_one(
    make_report: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = StaticSite(path=tmp_path / "board")
    config.publish(make_report("a"))
    before = snapshot(tmp_path / "board")
    write = Path.write_bytes

    def fail(path: Path, data: bytes) -> int:
        if path.name == "scores.parquet":
            raise OSError(28, "No space left on device", str(path))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(PublishError, match="No space left on device"):
        config.publish(make_report("b"))
    assert snapshot(tmp_path / "board") == before
    assert not list(tmp_path.glob(".board*.tmp"))


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_files_of_others_are_not_touched(make_report: Make, tmp_path: Path, kind: str) -> None:
    target, elsewhere = tmp_path / "board", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.tex").write_text("precious")
    if kind == "folder":
        elsewhere.rename(target)
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
    assert (tmp_path / "board/site/index.html").is_file()


def test_a_folder_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=r"site/index\.html is missing"):
        StaticSite(path=tmp_path / "board").publish(tmp_path)
    assert not (tmp_path / "board").exists()
