"""Weights & Biases, offline."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hpt_core.errors import ConfigError
from hpt_core.trackers import check_all
from hpt_core.training.config import TrainSpec

pytest.importorskip("wandb", reason="needs the package wandb")

SpecOf = Callable[..., TrainSpec]


def test_no_token_is_an_error_before_training(spec_of: SpecOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    spec = spec_of("wandb")
    with pytest.raises(ConfigError, match=r"wandb has no token.*set WANDB_API_KEY"):
        check_all(spec.trackers)
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password x\n")
    check_all(spec.trackers)


@pytest.mark.slow
def test_an_offline_run_is_in_the_runs_folder_and_keeps_its_name(spec_of: SpecOf, tmp_path: Path) -> None:
    spec = spec_of({"name": "wandb", "mode": "offline", "tags": ["t"]})
    mirror = spec.open_trackers(0)
    mirror.log({"step": 1, "reward": 0.25})
    mirror.close()
    first = (tmp_path / "tracking" / "wandb-run.txt").read_text()
    files = list((tmp_path / "tracking" / "wandb").rglob("run-*.wandb"))
    assert len(files) == 1
    assert b"reward" in files[0].read_bytes()
    for done, same in ((1, True), (0, False)):
        mirror = spec.open_trackers(done)
        mirror.close()
        assert ((tmp_path / "tracking" / "wandb-run.txt").read_text() == first) is same
