"""Publish to a Hugging Face Hub repository: a dataset, or a static Space that shows the page."""

import os
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field

from benchmarks.publishers.base import Content, PublisherConfig, Receipt
from hpt_core.base import SecretVariable
from hpt_core.errors import PublishError
from hpt_core.paths import UserAddress

_CARD = {
    "dataset": """---
pretty_name: Leaderboard
configs:
- config_name: scores
  data_files: tables/scores.parquet
- config_name: comparisons
  data_files: tables/comparisons.parquet
- config_name: exclusive
  data_files: tables/exclusive.parquet
- config_name: contamination
  data_files: tables/contamination.parquet
- config_name: training_log
  data_files: tables/training_log.parquet
---

""",
    "space": """---
title: Leaderboard
sdk: static
app_file: site/index.html
---

""",
}
"""Front matter of README.md, required by the Hub. leaderboard.md follows it."""


class HuggingFace(PublisherConfig):
    """`[[publish]] name = "huggingface"`."""

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """Repository, "owner/name". It is created if it does not exist."""
    kind: Literal["dataset", "space"] = "space"
    """Repository type. A Space shows the page, a dataset shows its tables."""
    private: bool = True
    """Whether a newly created repository is private."""
    token_env: SecretVariable = "HF_TOKEN"
    """Environment variable that holds a token with write access. The token itself appears in no config or log."""
    endpoint: UserAddress | None = None
    """Address of the Hub. None uses HF_ENDPOINT or the public Hub."""

    def needs(self) -> str:
        """The Hub and a token."""
        return f"network: the Hub; a token with write access in {self.token_env}"

    def publish(self, report: Path) -> Receipt:
        """Upload everything in one commit. Raises PublishError."""
        content = Content(report, self.samples)
        token = os.environ.get(self.token_env)
        if not token:
            raise PublishError(
                f"no token for the Hub in {self.token_env}", f"set {self.token_env} to a token with write access"
            )
        try:
            changed = self._upload(content, report, token)
        except Exception as error:  # httpx and the Hub client raise many classes; all are handled alike
            first = (str(error) or type(error).__name__).splitlines()[0].replace(token, "***")
            remedy = "check the repository's name, the token's rights and the network, then publish again"
            # The original error can hold the request with its headers, so it is not chained.
            raise PublishError(f"cannot publish to {self._target}: {first}", remedy) from None
        return content.receipt(self._target, changed)

    @property
    def _target(self) -> str:
        return f"{self.endpoint or 'https://huggingface.co'}/{self.kind}s/{self.repo}"

    def _upload(self, content: Content, report: Path, token: str) -> bool:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.endpoint, token=token, library_name="hpt-pipelines")
        sdk = "static" if self.kind == "space" else None
        api.create_repo(self.repo, repo_type=self.kind, private=self.private, exist_ok=True, space_sdk=sdk)
        before = api.repo_info(self.repo, repo_type=self.kind).sha
        with tempfile.TemporaryDirectory() as folder:
            content.write(Path(folder))
            card = _CARD[self.kind] + (report / "leaderboard.md").read_text(encoding="utf-8")
            (Path(folder) / "README.md").write_text(card, encoding="utf-8")
            commit = api.upload_folder(
                repo_id=self.repo,
                repo_type=self.kind,
                folder_path=folder,
                commit_message=f"Leaderboard {content.sha256[:12]}",
                delete_patterns=["site/*", "tables/*"],
            )
        return commit.oid != before
