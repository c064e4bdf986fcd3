"""Hub repositories: their revisions, and their files in the local Hub cache. Files cached at a commit need no
network."""

import contextlib
import io
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hpt_core.errors import HPTError, ModelError
from hpt_core.worker import Progress

REPORT_EVERY_S = 1.0


class Snapshot(NamedTuple):
    """A repository's files at one commit."""

    folder: Path
    """Part of the Hub cache; do not change it."""
    commit: str
    """The commit of the requested revision, forty hexadecimal digits."""


def fetch(
    repo: str,
    revision: str,
    patterns: Sequence[str],
    kind: Literal["model", "dataset"],
    error: Callable[[str, str], HPTError],
    instead: str,
    progress: Progress | None = None,
    offline: bool = False,
    without: Sequence[str] = (),
) -> Snapshot:
    """Download the files of `repo` that match `patterns`, match none of `without`, and are not in the cache yet.

    Raises `error` (ModelError or DataError); `instead` is the alternative that its remedy offers to a user without
    access. `progress` is called with the downloaded and the total MB. `offline` uses only the cache.
    """
    from huggingface_hub import snapshot_download

    with _errors(repo, kind, f"download {repo} at {revision}", error, instead, revision):
        folder = Path(
            snapshot_download(
                repo,
                repo_type=kind,
                revision=revision,
                allow_patterns=list(patterns),
                ignore_patterns=list(without),
                local_files_only=offline,
                tqdm_class=_reporting_bar(progress, repo),
            )
        )
    return Snapshot(folder, folder.name)


def model_refs(repo: str) -> dict[str, str]:
    """Branch or tag of a model repository -> its commit now. Asks the Hub. Raises ModelError."""
    from huggingface_hub import HfApi

    with _errors(repo, "model", f"list the branches of {repo}", ModelError, "name its revisions in a list"):
        found = HfApi().list_repo_refs(repo)
    return {ref.name: ref.target_commit for ref in (*found.branches, *found.tags)}


@contextlib.contextmanager
def _errors(
    repo: str, kind: str, what: str, error: Callable[[str, str], HPTError], instead: str, revision: str = ""
) -> Iterator[None]:
    """Raise `error` for whatever the Hub's client raises; `what` says what cannot be done."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    page = f"huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo}"
    try:
        yield
    except GatedRepoError as problem:
        raise error(
            f"access to {repo} is gated", f"accept its terms at {page} and set HF_TOKEN, or {instead}"
        ) from problem
    except RevisionNotFoundError as problem:
        raise error(f"{repo} has no revision {revision!r}", f"use a branch, tag or commit of {page}") from problem
    except RepositoryNotFoundError as problem:
        raise error(
            f"the Hub has no {kind} {repo}", f"correct the name, set HF_TOKEN if it is private, or {instead}"
        ) from problem
    except Exception as problem:
        # The client raises network, disk and its own errors, which have no common base class.
        raise error(f"cannot {what} ({_first_line(problem)})", f"check the network, or {instead}") from problem


def _first_line(problem: Exception) -> str:
    text = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {text[0][:160]}" if text else type(problem).__name__


def _reporting_bar(progress: Progress | None, what: str) -> type[Any]:
    """A tqdm class that prints nothing and calls `progress` at most once a second."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    shown = {"done": 0.0, "at": 0.0}

    class Bar(tqdm):  # type: ignore[type-arg, misc, unused-ignore]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            kwargs["file"] = io.StringIO()
            super().__init__(*args, **kwargs)

        def update(self, n: float | None = 1) -> bool | None:
            updated: bool | None = super().update(n)
            now = time.monotonic()
            if progress and self.unit == "B" and self.total and self.n > shown["done"]:
                if now - shown["at"] >= REPORT_EVERY_S or self.n >= self.total:
                    shown["at"] = now
                    progress(int(self.n / 1e6), max(1, int(self.total / 1e6)), f"MB of {what}")
                shown["done"] = self.n
            return updated

    return Bar
