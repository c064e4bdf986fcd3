"""All trackers: a failure before training is an error, a failure during training is a warning."""

import importlib.util
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from hpt_core.errors import ConfigError
from hpt_core.trackers import Trackers, check_all
from hpt_core.trackers._mirror import numbers
from hpt_core.trackers.base import TrackerConfig
from hpt_core.training.config import TrainSpec

SpecOf = Callable[..., TrainSpec]
ROW = {"step": 1, "reward": 0.25, "updates": 2, "entropy": math.nan, "loss": math.inf, "note": "x"}
PACKAGES = ("tensorboard", "wandb", "mlflow")


class Recorder:
    """A tracker that fails while it is told to."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.fails = False
        self.closed = 0

    def log(self, step: int, row: dict[str, float]) -> None:
        if self.fails:
            raise ConnectionError("the server is away\nmore")
        self.rows.append((step, row))

    def close(self) -> None:
        self.closed += 1
        if self.fails:
            raise ConnectionError("the server is away")


def test_a_row_is_its_finite_numbers() -> None:
    assert numbers(ROW) == {"reward": 0.25, "updates": 2.0}


def test_a_failing_tracker_gives_one_warning_and_others_continue(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = Recorder(), Recorder()
    trackers = Trackers({"bad": bad, "good": good})
    for step, fails in enumerate([False, True, True, False, True], 1):
        bad.fails = fails
        trackers.log(ROW | {"step": step})
    trackers.close()
    assert [step for step, _ in good.rows] == [1, 2, 3, 4, 5]
    assert [step for step, _ in bad.rows] == [1, 4]
    messages = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert messages == ["tracker bad failed, training continues without it: ConnectionError: the server is away"] * 2
    trackers.close()
    assert (good.closed, bad.closed) == (1, 1)


def test_no_tracker_changes_the_row_of_another() -> None:
    class Greedy(Recorder):
        def log(self, step: int, row: dict[str, float]) -> None:
            row.clear()

    good = Recorder()
    Trackers({"greedy": Greedy(), "good": good}).log(ROW)
    assert good.rows == [(1, {"reward": 0.25, "updates": 2.0})]


@pytest.mark.parametrize("name", [n for n in PACKAGES if importlib.util.find_spec(n) is None])
def test_a_missing_package_is_an_error_before_training(spec_of: SpecOf, name: str) -> None:
    spec = spec_of(name)
    for act in (lambda: check_all(spec.trackers), lambda: spec.open_trackers(0)):
        with pytest.raises(ConfigError, match=rf"{name} needs the package {name}.*Remedy: `pip install {name}`"):
            act()
    assert not (spec.tracking or Path()).exists()


@pytest.mark.parametrize("name", PACKAGES)
def test_every_service_is_one_file_and_a_bare_name_means_its_defaults(spec_of: SpecOf, name: str) -> None:
    assert TrackerConfig.plugin_kind.names == tuple(sorted(PACKAGES))
    (tracker,) = spec_of(name).trackers
    assert tracker == TrackerConfig.plugin_kind.load(name)()
    assert not {"token", "key", "api_key", "password"} & set(type(tracker).model_fields)


def test_an_unknown_tracker_has_near_matches(spec_of: SpecOf) -> None:
    with pytest.raises(ValidationError, match="did you mean 'tensorboard'"):
        spec_of("tensorbord")


def test_without_trackers_no_file_is_written(spec_of: SpecOf, tmp_path: Path) -> None:
    trackers = spec_of().open_trackers(0)
    trackers.log(ROW)
    trackers.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_warning(
    spec_of: SpecOf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tracking").write_text("in the way")
    trackers = spec_of("tensorboard").open_trackers(0)
    trackers.log(ROW)
    assert "could not be opened, training continues without it" in caplog.text


def test_ranks_other_than_0_track_nothing(spec_of: SpecOf, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(spec_of("tensorboard").model_dump_json(by_alias=True))
    code = (
        "import sys; from pathlib import Path; from hpt_core.training.config import TrainSpec;"
        "spec = TrainSpec.model_validate_json(Path(sys.argv[1]).read_bytes());"
        "spec.open_trackers(0).log({'step': 1, 'reward': 1.0})"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "spec.json")]
    subprocess.run(command, env={"RANK": "1"}, check=True, timeout=120)
    assert not (tmp_path / "tracking").exists()
