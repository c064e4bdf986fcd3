"""Files of Hub repositories, in the local Hub cache. What is in the cache at a commit needs no network."""

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hpt_core.errors import HPTError
from hpt_core.worker import Progress

REPORT_EVERY_S = 1.0


class Snapshot(NamedTuple):
    """A repository's files as they are at one commit."""

    folder: Path
    """Read-only: it belongs to the Hub cache."""
    commit: str
    """Forty hexadecimal digits, whatever the revision was called."""


def fetch(
    repo: str,
    revision: str,
    patterns: Sequence[str],
    kind: Literal["model", "dataset"],
    error: Callable[[str, str], HPTError],
    instead: str,
    progress: Progress | None = None,
    offline: bool = False,
) -> Snapshot:
    """Download the files of `repo` that match `patterns` and are not in the cache yet.

    Raises `error` (ModelError, DataError) with the cause in one line; `instead` is what a user without access can do.
    `progress` is called with the downloaded and the total MB; `offline` takes what the cache has and asks nobody.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    page = f"huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo}"
    try:
        folder = Path(
            snapshot_download(
                repo,
                repo_type=kind,
                revision=revision,
                allow_patterns=list(patterns),
                local_files_only=offline,
                tqdm_class=_reporting_bar(progress, repo),
            )
        )
    except GatedRepoError as problem:
        raise error(
            f"access to {repo} is gated", f"accept its terms at {page} and set HF_TOKEN, or {instead}"
        ) from problem
    except RevisionNotFoundError as problem:
        raise error(f"{repo} has no revision {revision!r}", f"take a branch, tag or commit of {page}") from problem
    except RepositoryNotFoundError as problem:
        raise error(
            f"the Hub knows no {kind} {repo}", f"correct the name, set HF_TOKEN where it is private, or {instead}"
        ) from problem
    except Exception as problem:
        # The client passes on errors of its transport, of the disk and of its own tree, without a common root.
        raise error(
            f"{repo} at {revision} cannot be downloaded ({_first_line(problem)})", f"check the network, or {instead}"
        ) from problem
    return Snapshot(folder, folder.name)


def _first_line(problem: Exception) -> str:
    text = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {text[0][:160]}" if text else type(problem).__name__


def _reporting_bar(progress: Progress | None, what: str) -> type[Any]:
    """A tqdm class that draws nothing and calls `progress`, at most once a second."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    shown = {"done": 0.0, "at": 0.0}

    class Bar(tqdm):  # type: ignore[type-arg, misc, unused-ignore]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            kwargs["file"] = io.StringIO()
            super().__init__(*args, **kwargs)

        def update(self, n: float | None = 1) -> bool | None:
            drawn: bool | None = super().update(n)
            now = time.monotonic()
            if progress and self.unit == "B" and self.total and self.n > shown["done"]:
                if now - shown["at"] >= REPORT_EVERY_S or self.n >= self.total:
                    shown["at"] = now
                    progress(int(self.n / 1e6), max(1, int(self.total / 1e6)), f"MB of {what}")
                shown["done"] = self.n
            return drawn

    return Bar
