"""Commits to a repository on the Hugging Face Hub."""

import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from benchmarks.publishers.base import PublisherConfig
from hpt_core.base import SecretVariable
from hpt_core.errors import PublishError
from hpt_core.paths import UserAddress

ATTEMPTS = 20
"""Commits before giving up. Each failed one means that somebody else's commit succeeded."""
MOVED = (409, 412)
"""HTTP statuses of a commit whose parent is no longer the repository's latest."""

Kind = Literal["dataset", "space", "model"]


class Repository:
    """A repository at one commit."""

    def __init__(self, api: Any, name: str, kind: Kind) -> None:
        self._api, self._name, self._kind = api, name, kind
        info = api.repo_info(name, repo_type=kind)
        self.commit: str = info.sha
        self.names = frozenset(sibling.rfilename for sibling in info.siblings or ())

    def read(self, name: str) -> bytes | None:
        """A file's content; None if there is no such file."""
        if name not in self.names:
            return None
        with tempfile.TemporaryDirectory() as cache:
            options = {"repo_type": self._kind, "revision": self.commit, "cache_dir": cache}
            return Path(self._api.hf_hub_download(self._name, name, **options)).read_bytes()


Changes = Callable[[Repository], tuple[str, Mapping[str, bytes | Path | None]]]
"""From a repository's state to a commit's title and the files to write; None removes a file. It is called again if the
state changed."""


class HubConfig(PublisherConfig):
    """What every publisher to the Hub needs. It is no publisher itself."""

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """Repository, "owner/name". It is created if it does not exist."""
    private: bool = True
    """Whether a newly created repository is private."""
    token_env: SecretVariable = "HF_TOKEN"
    """Environment variable that holds a token with write access. The token itself appears in no config or log."""
    endpoint: UserAddress | None = None
    """Address of the Hub. None uses HF_ENDPOINT or the public Hub."""

    def needs(self) -> str:
        """The Hub and a token."""
        return f"network: the Hub; a token with write access in {self.token_env}"

    def target(self, kind: Kind) -> str:
        """Address of the repository."""
        return f"{self.endpoint or 'https://huggingface.co'}/{'' if kind == 'model' else f'{kind}s/'}{self.repo}"

    def commit(self, kind: Kind, changes: Changes) -> bool:
        """Make one commit. Returns whether anything changed. Raises PublishError."""
        token = os.environ.get(self.token_env)
        if not token:
            raise PublishError(
                f"no token for the Hub in {self.token_env}", f"set {self.token_env} to a token with write access"
            )
        try:
            return self._commit(kind, changes, token)
        except PublishError:
            raise
        except Exception as error:  # httpx and the Hub client raise many classes; all are handled alike
            first = (str(error) or type(error).__name__).splitlines()[0].replace(token, "***")
            remedy = "check the repository's name, the token's rights and the network, then publish again"
            # The original error can hold the request with its headers, so it is not chained.
            raise PublishError(f"cannot publish to {self.target(kind)}: {first}", remedy) from None

    def _commit(self, kind: Kind, changes: Changes, token: str) -> bool:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
        from huggingface_hub.errors import HfHubHTTPError

        api = HfApi(endpoint=self.endpoint, token=token, library_name="hpt-pipelines")
        sdk = "static" if kind == "space" else None
        api.create_repo(self.repo, repo_type=kind, private=self.private, exist_ok=True, space_sdk=sdk)
        for _ in range(ATTEMPTS):
            before = Repository(api, self.repo, kind)
            title, files = changes(before)
            operations = [
                CommitOperationDelete(name) if content is None else CommitOperationAdd(name, content)
                for name, content in files.items()
            ]
            if not operations:
                return False
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
                    # The client leaves out what did not change, and makes no empty commit.
                    made = api.create_commit(
                        self.repo, operations, commit_message=title, repo_type=kind, parent_commit=before.commit
                    )
            except HfHubHTTPError as error:
                if error.response.status_code in MOVED:
                    continue
                raise
            return bool(made.oid != before.commit)
        raise PublishError(
            f"cannot publish to {self.target(kind)}: somebody else committed first, {ATTEMPTS} times", "publish again"
        )
