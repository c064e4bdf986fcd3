import json
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from pydantic import ValidationError

from benchmarks.publishers.s3 import S3
from hpt_core.errors import PublishError

Make = Callable[[str], Path]


@pytest.fixture
def url() -> str:
    return f"memory://bucket-{uuid.uuid4().hex}/board"


def files(url: str) -> dict[str, bytes]:
    system, root = fsspec.core.url_to_fs(url)
    return {path.removeprefix(f"{root}/"): system.cat_file(path) for path in system.find(root)}


def test_everything_is_uploaded_and_recorded(make_report: Make, url: str) -> None:
    receipt = S3(url=url).publish(make_report("a"))
    found = files(url)
    record = json.loads(found.pop("publication.json"))
    assert receipt.changed
    assert tuple(sorted(found)) == receipt.files == tuple(sorted(record["files"]))
    assert found["site/index.html"] == b"site/index.html a"
    assert "tables/samples.parquet" not in found


def test_publishing_the_same_report_again_uploads_nothing(make_report: Make, url: str) -> None:
    report = make_report("a")
    S3(url=url).publish(report)
    system, root = fsspec.core.url_to_fs(url)
    before = system.modified(f"{root}/leaderboard.md")
    assert not S3(url=url).publish(report).changed
    assert system.modified(f"{root}/leaderboard.md") == before


def test_stale_files_are_removed_and_other_files_stay(make_report: Make, url: str) -> None:
    first, second = make_report("a"), make_report("b")
    (first / "site/old.js").write_text("old")
    S3(url=url).publish(first)
    system, root = fsspec.core.url_to_fs(url)
    system.pipe_file(f"{root}/notes.txt", b"someone's")
    S3(url=url).publish(second)
    found = files(url)
    assert "site/old.js" not in found
    assert found["notes.txt"] == b"someone's"
    assert found["leaderboard.md"] == b"leaderboard.md b"


def test_pages_are_uploaded_after_their_assets_and_the_record_last(
    make_report: Make, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, root = fsspec.core.url_to_fs(url)
    written: list[str] = []
    pipe = type(system).pipe_file

    def record(self: Any, path: str, value: bytes, **options: Any) -> None:
        written.append(path.removeprefix(f"{root}/"))
        pipe(self, path, value, **options)

    monkeypatch.setattr(type(system), "pipe_file", record)
    S3(url=url).publish(make_report("a"))
    assert written[0] == "publication.json"
    assert written[-3:] == ["site/index.html", "index.html", "publication.json"]
    assert len(written) == 9
    written.clear()
    S3(url=url).publish(make_report("b"))
    assert "site/plotly.min.js" not in written  # did not change
    assert len(written) == 7


@pytest.mark.parametrize("again", ["a", "b"])
def test_a_failed_upload_is_named_and_repaired(
    make_report: Make, url: str, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    system, _ = fsspec.core.url_to_fs(url)
    config, pipe = S3(url=url), type(system).pipe_file
    config.publish(make_report("a"))

    def fail(self: Any, path: str, value: bytes, **options: Any) -> None:
        if path.endswith("site/index.html"):
            raise PermissionError("access denied")
        pipe(self, path, value, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(system), "pipe_file", fail)
        with pytest.raises(PublishError, match="access denied"):
            config.publish(make_report("b"))
    assert files(url)["site/index.html"] == b"site/index.html a"
    assert files(url)["leaderboard.md"] == b"leaderboard.md b"
    assert config.publish(make_report(again)).changed
    found = files(url)
    assert found["site/index.html"].decode() == f"site/index.html {again}"
    assert found["leaderboard.md"].decode() == f"leaderboard.md {again}"


def test_a_missing_client_names_the_remedy(make_report: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    with pytest.raises(PublishError, match=r"pip install 'hpt-pipelines\[s3\]'"):
        S3(url="s3a://bucket/board").publish(make_report("a"))


def test_an_unknown_protocol_is_an_error(make_report: Make) -> None:
    with pytest.raises(PublishError, match="Protocol not known: s33"):
        S3(url="s33://bucket/board").publish(make_report("a"))


@pytest.mark.parametrize("url", ["bucket/board", "s3://key:secret@bucket/board"])
def test_urls_without_protocol_or_with_credentials_are_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        S3(url=url)
