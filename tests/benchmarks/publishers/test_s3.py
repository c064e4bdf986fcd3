import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from pydantic import ValidationError

from benchmarks.publishers.s3 import S3
from benchmarks.publishers.static_site import StaticSite
from hpt_core.errors import PublishError
from tests.benchmarks.publishers.reader import shown

Make = Callable[[str], Path]


@pytest.fixture
def url() -> str:
    return f"memory://bucket-{uuid.uuid4().hex}/board"


def files(url: str) -> dict[str, bytes]:
    system, root = fsspec.core.url_to_fs(url)
    return {path.removeprefix(f"{root}/"): system.cat_file(path) for path in system.find(root)}


def test_everything_is_uploaded(make_report: Make, url: str) -> None:
    receipt = S3(url=url).publish(make_report("a"))
    found = files(url)
    assert receipt.changed
    pages = {"index.html", "runs.json", "runs/index.html", f"records/{receipt.folder[5:]}.json"}
    assert set(found) == {*pages, *(f"{receipt.folder}/{name}" for name in receipt.files)}
    assert shown(found.__getitem__) == "site/index.html a"
    assert "tables/samples.parquet" not in receipt.files


def test_publishing_the_same_report_again_uploads_nothing(make_report: Make, url: str) -> None:
    report = make_report("a")
    S3(url=url).publish(report)
    system, root = fsspec.core.url_to_fs(url)
    before = {path: system.modified(path) for path in system.find(root)}
    assert not S3(url=url).publish(report).changed
    assert {path: system.modified(path) for path in system.find(root)} == before


def test_earlier_reports_and_other_files_stay(make_report: Make, url: str) -> None:
    former = S3(url=url).publish(make_report("a"))
    system, root = fsspec.core.url_to_fs(url)
    system.pipe_file(f"{root}/notes.txt", b"someone's")
    S3(url=url).publish(make_report("b"))
    found = files(url)
    assert found["notes.txt"] == b"someone's"
    assert found[f"{former.folder}/leaderboard.md"] == b"leaderboard.md a"
    assert shown(found.__getitem__) == "site/index.html b"
    assert S3(url=url).publish(make_report("a")).changed
    assert shown(files(url).__getitem__) == "site/index.html a"


def test_somebody_elses_page_is_not_replaced(make_report: Make, url: str) -> None:
    system, root = fsspec.core.url_to_fs(url)
    system.pipe_file(f"{root}/index.html", b"<title>Somebody's</title>")
    with pytest.raises(PublishError, match="not a publication of ours"):
        S3(url=url).publish(make_report("a"))
    assert set(files(url)) == {"index.html"}


def test_what_readers_open_is_written_last(make_report: Make, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system, root = fsspec.core.url_to_fs(url)
    written: list[str] = []
    pipe = type(system).pipe_file

    def record(self: Any, path: str, value: bytes, **options: Any) -> None:
        written.append(path.removeprefix(f"{root}/"))
        pipe(self, path, value, **options)

    monkeypatch.setattr(type(system), "pipe_file", record)
    receipt = S3(url=url).publish(make_report("a"))
    assert len(written) == len(receipt.files) + 4
    assert written[-4:] == [f"records/{receipt.folder[5:]}.json", "runs.json", "runs/index.html", "index.html"]


@pytest.mark.parametrize("again", ["a", "b"])
def test_a_failed_upload_is_named_and_continued(
    make_report: Make, url: str, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    system, _ = fsspec.core.url_to_fs(url)
    config, pipe = S3(url=url), type(system).pipe_file
    config.publish(make_report("a"))

    def fail(self: Any, path: str, value: bytes, **options: Any) -> None:
        if path.endswith("tables/comparisons.parquet"):
            raise PermissionError("access denied")
        pipe(self, path, value, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(system), "pipe_file", fail)
        with pytest.raises(PublishError, match="access denied"):
            config.publish(make_report("b"))
    before = files(url)
    assert shown(before.__getitem__) == "site/index.html a"
    receipt = config.publish(make_report(again))
    assert receipt.changed == (again == "b")
    assert shown(files(url).__getitem__) == f"site/index.html {again}"
    if again == "b":
        kept = f"{receipt.folder}/leaderboard.md"
        assert before[kept] == files(url)[kept] == b"leaderboard.md b"


def test_a_local_folder_is_written_by_renaming(make_report: Make, tmp_path: Path) -> None:
    S3(url=f"file://{tmp_path}/board").publish(make_report("a"))
    assert shown(tmp_path / "board") == "site/index.html a"
    assert not StaticSite(path=tmp_path / "board").publish(make_report("a")).changed


def test_s3_tells_browsers_what_a_file_is_and_whether_it_changes(make_report: Make, s3: Any) -> None:
    url = s3.bucket()
    receipt = S3(url=url).publish(make_report("a"))
    assert not S3(url=url).publish(make_report("a")).changed
    system, root = fsspec.core.url_to_fs(url)

    def headers(name: str) -> tuple[str, str]:
        bucket, _, folder = root.partition("/")
        found = system.call_s3("head_object", Bucket=bucket, Key=f"{folder}/{name}")
        return found["ContentType"], found["CacheControl"]

    immutable = "public, max-age=31536000, immutable"
    assert headers("index.html") == ("text/html; charset=utf-8", "no-cache")
    assert headers("runs.json") == ("application/json", "no-cache")
    assert headers("runs/index.html")[1] == "no-cache"
    assert headers(f"{receipt.folder}/leaderboard.md") == ("text/markdown; charset=utf-8", immutable)


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
