"""Publish to a branch of a git repository, for GitHub Pages and GitLab Pages.

A publication is one commit. If somebody else pushed in the meantime, it is made again on top of their commit.
"""

import base64
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator

from benchmarks.publishers._layout import INDEX, LIST, Content, contents, outdated, pages, read_list, require_ours
from benchmarks.publishers.base import Occasion, PublisherConfig, Receipt
from hpt_core.base import SecretVariable
from hpt_core.errors import PublishError
from hpt_core.paths import UserAddress

ATTEMPTS = 20
"""Pushes before giving up. Each failed one means that somebody else's push succeeded."""
REJECTED = ("[rejected]", "[remote rejected]", "cannot lock ref", "stale info")
"""Parts of git's message if the branch has moved, or somebody else is writing it."""


class GitBranch(PublisherConfig):
    """`[[publish]] name = "git_branch"`."""

    remote: UserAddress = Field(min_length=1)
    """Address or path of the repository, without a password: "git@github.com:someone/board.git"."""
    branch: str = Field("gh-pages", pattern=r"^[A-Za-z0-9][\w./-]*$")
    """Branch, which is created if it does not exist."""
    folder: str = Field("", pattern=r"^([\w.-]+(/[\w.-]+)*)?$")
    """Folder of the site in the branch; "" for its root."""
    keep_history: bool = True
    """Keep the branch's earlier commits. If not, each publication replaces them by one commit, which keeps clones
    small. Earlier reports stay either way."""
    token_env: SecretVariable | None = None
    """Environment variable with a token for an https address. None leaves access to git (SSH keys, helpers)."""
    timeout_s: float = Field(600.0, gt=0)
    """Time limit of each git command, in seconds."""

    @field_validator("remote")
    @classmethod
    def _without_password(cls, value: str) -> str:
        if re.match(r"\w+://[^/@]*:[^/@]*@", value):
            # The value is not shown, because errors are logged.
            raise ValueError("the address contains a password; put a token into a variable and name it in token_env")
        return value

    def needs(self) -> str:
        """git, and write access."""
        return f"git, and write access to {self.remote}"

    def publish(self, report: Path, occasion: Occasion | None = None) -> Receipt:
        """Push a commit with what the branch lacks. Raises PublishError."""
        occasion = occasion or Occasion()
        found = contents(report, self.samples, occasion)
        content = found[0]
        if shutil.which("git") is None:
            raise PublishError("git is not installed", "install git")
        with tempfile.TemporaryDirectory() as folder:
            repository = Repository(Path(folder), self.remote, self.timeout_s, self._access())
            for _ in range(ATTEMPTS):
                changed = self._commit(repository, found, occasion)
                if changed is None:
                    return content.receipt(self._target, occasion, changed=False)
                if self._push(repository, *changed):
                    return content.receipt(self._target, occasion, changed=True)
        raise PublishError(
            f"cannot publish to {self._target}: somebody else pushed first, {ATTEMPTS} times", "publish again"
        )

    @property
    def _target(self) -> str:
        return f"{self.remote}#{self.branch}" + (f":{self.folder}" if self.folder else "")

    def _access(self) -> dict[str, str]:
        """Environment of git: it never asks for a password, and the token is in no command line."""
        found = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        if self.token_env is None:
            return found
        token = os.environ.get(self.token_env)
        if not token:
            raise PublishError(
                f"no token in {self.token_env}", f"set {self.token_env} to a token that may write the repository"
            )
        header = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        return found | {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {header}",
        }

    def _commit(self, repository: "Repository", found: list[Content], occasion: Occasion) -> tuple[str, str] | None:
        """(the new commit, the one that it replaces); None if the branch already holds the publication."""
        before = repository.fetch(self.branch)
        at = f"{self.folder}/" if self.folder else ""
        require_ours(repository.read(f"{at}{INDEX}"), self._target)
        runs = {run.key: run for run in read_list(repository.read(f"{at}{LIST}"))}
        for content in found:
            if content.is_new(occasion, runs.values()):
                runs[content.key] = content.entry(occasion, runs.values())
            repository.add({f"{at}{content.folder}/{name}": file for name, file in content.files.items()})
        for old in outdated(runs.values()):
            repository.remove(f"{at}{old.folder}")
        # Without .nojekyll, GitHub leaves out names that begin with an underscore.
        repository.write({".nojekyll": b"", **{f"{at}{name}": page for name, page in pages(runs.values()).items()}})
        title = f"{'Leaderboard' if occasion.board else 'Run'} {found[0].key[:12]}"
        made = repository.commit(title, before if self.keep_history else "", unless=before)
        return None if made is None else (made, before)

    def _push(self, repository: "Repository", commit: str, before: str) -> bool:
        """Whether the branch could be moved to the commit. It is not if it no longer is at `before`."""
        # The server compares and moves in one step, so no commit of anybody else is lost.
        lease = f"--force-with-lease=refs/heads/{self.branch}:{before}"
        try:
            repository.run("push", "--quiet", lease, "origin", f"{commit}:refs/heads/{self.branch}")
        except PublishError as error:
            if any(part in str(error) for part in REJECTED) and "hook declined" not in str(error):
                return False
            raise
        return True


class Repository:
    """A temporary repository, without a working tree."""

    def __init__(self, folder: Path, remote: str, timeout_s: float, environment: Mapping[str, str]) -> None:
        self._timeout_s = timeout_s
        inherited = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER}
        who = {f"GIT_{role}_{what}": text for role in ("AUTHOR", "COMMITTER") for what, text in _SELF.items()}
        self._environment = {**inherited, **who, **environment, "GIT_DIR": str(folder)}
        self.run("init", "--quiet", "--bare", str(folder))
        self.run("remote", "add", "origin", remote)

    def run(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        """Output of a git command. Raises PublishError with git's message."""
        command = ["git", *arguments]
        try:
            done = subprocess.run(
                command, env=self._environment, input=stdin, capture_output=True, timeout=self._timeout_s, check=True
            )
        except subprocess.TimeoutExpired as error:
            raise PublishError(
                f"git {arguments[0]} took more than {self._timeout_s:g} s", "check the network, or raise timeout_s"
            ) from error
        except subprocess.CalledProcessError as error:
            told = " ".join(error.stderr.decode(errors="replace").split())
            raise PublishError(
                f"git {arguments[0]} failed: {told[:500]}", "check remote, branch and access, then publish again"
            ) from error
        return done.stdout

    def fetch(self, branch: str) -> str:
        """The branch's commit, whose files are then in the index; "" if there is no such branch."""
        listed = self.run("ls-remote", "origin", f"refs/heads/{branch}").split()
        if not listed:
            self.run("read-tree", "--empty")
            return ""
        # One commit is enough, and the reports' files are not needed if the server can leave them out.
        self.run("fetch", "--quiet", "--depth=1", "--filter=blob:none", "--no-tags", "origin", f"refs/heads/{branch}")
        commit = self.run("rev-parse", "FETCH_HEAD").decode().strip()
        self.run("read-tree", commit)
        return commit

    def read(self, name: str) -> bytes | None:
        """A file in the index; None if there is no such file."""
        listed = self.run("ls-files", "--stage", "--", f":(literal){name}").split()
        return self.run("cat-file", "blob", listed[1].decode()) if listed else None

    def add(self, files: Mapping[str, Path]) -> None:
        """Put files into the index, by their names in it."""
        paths = "".join(f"{path.absolute()}\n" for path in files.values()).encode()
        blobs = self.run("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=paths).decode().split()
        lines = "".join(f"100644 {blob}\t{name}\n" for blob, name in zip(blobs, files, strict=True))
        self.run("update-index", "--add", "--index-info", stdin=lines.encode())

    def remove(self, folder: str) -> None:
        """Take a folder's files out of the index."""
        listed = self.run("ls-files", "-z", "--", f":(literal){folder}/")
        lines = b"".join(b"0 " + b"0" * 40 + b"\t" + name + b"\0" for name in listed.split(b"\0") if name)
        self.run("update-index", "-z", "--index-info", stdin=lines)

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Put contents into the index."""
        with tempfile.TemporaryDirectory() as folder:
            paths = {name: Path(folder) / str(number) for number, name in enumerate(contents)}
            for name, path in paths.items():
                path.write_bytes(contents[name])
            self.add(paths)

    def commit(self, title: str, parent: str, unless: str) -> str | None:
        """A commit of the index; None if the index equals the commit `unless`."""
        tree = self.run("write-tree", "--missing-ok").decode().strip()
        if unless and self.run("rev-parse", f"{unless}^{{tree}}").decode().strip() == tree:
            return None
        parents = ["-p", parent] if parent else []
        return self.run("commit-tree", tree, *parents, "-m", title).decode().strip()


_OF_ANOTHER = ("GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
"""Variables that are set if git itself started this program, as a hook does. They belong to another repository."""
_SELF = {"NAME": "HPT Pipelines", "EMAIL": "hpt-pipelines@localhost"}
"""Author of the commits."""
