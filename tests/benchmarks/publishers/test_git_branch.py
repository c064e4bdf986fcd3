"""Pushes to a bare repository on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmarks.publishers.base import Occasion
from benchmarks.publishers.git_branch import GitBranch
from hpt_core.errors import PublishError
from tests.benchmarks.publishers.reader import shown

Make = Callable[[str], Path]
Read = Callable[[str], bytes]
ROOT = Path(__file__).resolve().parents[3]
PUBLISH = """
import sys
from pathlib import Path
from benchmarks.publishers.git_branch import GitBranch

config = GitBranch.model_validate_json(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for report in sys.argv[2:]:
    config.publish(Path(report))
"""


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--bare", "board.git")
    return tmp_path / "board.git"


def git(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True).stdout


def reader(remote: Path, branch: str = "gh-pages", folder: str = "") -> Read:
    return lambda name: git(remote, "show", f"{branch}:{folder}{name}")


def commits(remote: Path, branch: str = "gh-pages") -> int:
    return int(git(remote, "rev-list", "--count", branch))


def test_a_publication_is_one_commit_on_the_branch(make_report: Make, remote: Path) -> None:
    git(remote.parent, "clone", "--quiet", str(remote), "clone")
    clone = remote.parent / "clone"
    (clone / "code.py").write_text("1")
    git(clone, "add", ".")
    git(clone, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "code")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    config = GitBranch(remote=str(remote))
    receipt = config.publish(make_report("a"))
    assert receipt.changed
    assert receipt.target == f"{remote}#gh-pages"
    assert shown(reader(remote)) == "site/index.html a"
    names = git(remote, "ls-tree", "-r", "--name-only", "gh-pages").decode().split()
    pages = {".nojekyll", "index.html", "runs.json", "runs/index.html"}
    assert set(names) == pages | {f"{receipt.folder}/{name}" for name in receipt.files}
    assert not config.publish(make_report("a")).changed
    assert commits(remote) == 1
    config.publish(make_report("b"))
    assert commits(remote) == 2
    assert shown(reader(remote)) == "site/index.html b"
    assert reader(remote)(f"{receipt.folder}/leaderboard.md") == b"leaderboard.md a"
    assert config.publish(make_report("a")).changed, "the earlier report is published again"
    assert shown(reader(remote)) == "site/index.html a"
    assert git(remote, "rev-list", "--count", "main") == b"1\n"


def test_an_older_report_and_a_trial_do_not_replace_the_board(make_report: Make, remote: Path) -> None:
    config, noon = GitBranch(remote=str(remote)), datetime(2026, 1, 1, 12, tzinfo=UTC)
    config.publish(make_report("newer"), Occasion(when=noon + timedelta(seconds=1)))
    config.publish(make_report("older"), Occasion(when=noon))
    config.publish(make_report("trial"), Occasion(board=False, overrides=("seed=1",)))
    assert shown(reader(remote)) == "site/index.html newer"
    assert commits(remote) == 3
    assert b"with seed=1" in reader(remote)("runs/index.html")


@pytest.mark.parametrize("partial", ["true", "false"])
def test_the_history_can_be_kept_small(make_report: Make, remote: Path, partial: str) -> None:
    git(remote, "config", "uploadpack.allowFilter", partial)
    config = GitBranch(remote=str(remote), branch="site/board", folder="public", keep_history=False)
    former = config.publish(make_report("a"))
    config.publish(make_report("b"))
    read = reader(remote, "site/board", "public/")
    assert commits(remote, "site/board") == 1
    assert shown(read) == "site/index.html b"
    assert read(f"{former.folder}/site/index.html") == b"site/index.html a"


@pytest.mark.slow
@pytest.mark.parametrize("keep_history", [True, False])
def test_publishers_that_push_at_once_lose_nothing(make_report: Make, remote: Path, keep_history: bool) -> None:
    config = GitBranch(remote=str(remote), keep_history=keep_history)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    programs = []
    for name in ("x", "y"):
        reports = [str(make_report(f"{name}{number}")) for number in range(4)]
        command = [sys.executable, "-c", PUBLISH, config.model_dump_json(), *reports]
        programs.append(
            subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
    for program in programs:
        assert program.stdout and program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin
        program.stdin.write("\n")
        program.stdin.flush()
    for program in programs:
        program.communicate()
        assert program.returncode == 0
    listed = json.loads(reader(remote)("runs.json"))
    found = {reader(remote)(f"runs/{run['key']}/site/index.html").decode()[-2:] for run in listed["runs"]}
    assert found == {f"{name}{number}" for name in "xy" for number in range(4)}
    assert shown(reader(remote))[-2:] in ("x3", "y3")
    assert commits(remote) == (8 if keep_history else 1)


def test_a_branch_with_a_page_of_others_is_left_alone(make_report: Make, remote: Path) -> None:
    git(remote.parent, "clone", "--quiet", str(remote), "clone")
    clone = remote.parent / "clone"
    (clone / "index.html").write_text("<title>Somebody's</title>")
    git(clone, "add", ".")
    git(clone, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "page")
    git(clone, "push", "--quiet", "origin", "HEAD:gh-pages")
    with pytest.raises(PublishError, match="not a publication of ours"):
        GitBranch(remote=str(remote)).publish(make_report("a"))
    # The rest of the branch stays.
    GitBranch(remote=str(remote), folder="board").publish(make_report("a"))
    assert reader(remote)("index.html") == b"<title>Somebody's</title>"
    assert shown(reader(remote, folder="board/")) == "site/index.html a"


def test_what_git_says_is_told(make_report: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PublishError, match=r"git ls-remote failed: fatal: .*nowhere"):
        GitBranch(remote=str(tmp_path / "nowhere")).publish(make_report("a"))
    monkeypatch.delenv("HPT_NO_TOKEN", raising=False)
    with pytest.raises(PublishError, match="no token in HPT_NO_TOKEN"):
        GitBranch(remote="https://localhost/x.git", token_env="HPT_NO_TOKEN").publish(make_report("a"))


def test_a_hook_that_declines_ends_the_publication(make_report: Make, remote: Path) -> None:
    hook = remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho frozen >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(PublishError, match="frozen"):
        GitBranch(remote=str(remote)).publish(make_report("a"))


@pytest.mark.parametrize("remote_", ["https://me:secret@host/x.git", ""])
def test_addresses_with_a_password_are_refused(remote_: str) -> None:
    with pytest.raises(ValidationError):
        GitBranch(remote=remote_)
