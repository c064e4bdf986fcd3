"""Which overrides make a run a trial, and what becomes of its report."""

from pathlib import Path

import pytest

from flows.graph import build
from flows.load import load_config, overridden
from hpt_core.errors import ConfigError
from tasks.execution.config import PipelineConfig
from tasks.publish import KIND, PublishStep
from tasks.report import KIND as REPORT
from tasks.report import ReportStep

CONFIG = """
name = "demo"

[schedule]
set = ["evaluate.k=4", "resources.threads=2"]

[model.base]
source = "scratch"

[evaluate]
models = ["model.base"]
suites = ["procedural_double"]

[[publish]]
name = "static_site"
path = "site"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "demo.toml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ([], ()),
        (["evaluate.limit=6"], ("evaluate.limit=6",)),
        (["store=elsewhere", "resources.threads=1", "publish.0.path=here", "seed=3"], ("seed=3",)),
        (["store=elsewhere", "resources.threads=1", "data_dir=none", "trackers=[]"], ()),
        (["seed=0"], ()),  # the default
        (["report.max_overlap=none", "evaluate.budget.hours=3"], ()),
        (["evaluate.seed=3"], ("evaluate.seed=3",)),
        (['evaluate.suites=["procedural_mixed"]'], ('evaluate.suites=["procedural_mixed"]',)),
        (["evaluate.k=4"], ()),  # what the schedule sets
        (["evaluate.k=4", "evaluate.limit=6"], ("evaluate.limit=6",)),
        (["evaluate.k=5"], ("evaluate.k=5",)),
        (["seed=1", "seed=1", "replace_board=true"], ("seed=1",)),
    ],
)
def test_overrides_of_what_is_computed_are_noted(file: Path, given: list[str], counted: tuple[str, ...]) -> None:
    found = load_config(file, given)
    assert found.overrides == counted
    assert found.is_trial == (bool(counted) and "replace_board=true" not in given)
    assert overridden(load_config(file), given).overrides == counted
    # As Prefect stores and restores it.
    assert PipelineConfig.model_validate_json(found.model_dump_json(by_alias=True)) == found


def test_a_file_that_needs_its_overrides_is_a_trial(file: Path) -> None:
    file.write_text(CONFIG.replace('source = "scratch"', ""))
    assert load_config(file, ["model.base.source=scratch"]).overrides == ("model.base.source=scratch",)


def test_the_report_names_the_changes_and_is_published_apart(file: Path) -> None:
    config = load_config(file, ["seed=1"])
    graph = build(config)
    (report,) = graph[REPORT.key()].steps
    assert isinstance(report, ReportStep)
    assert report.contents.notes == ("A run with changes to the pipeline: seed=1.",)
    (step,) = graph[KIND.key("static_site")].steps
    assert isinstance(step, PublishStep)
    found = step.occasion()
    assert (found.pipeline, found.overrides, found.board) == ("demo", ("seed=1",), False)
    (step,) = build(config.model_copy(update={"replace_board": True}))[KIND.key("static_site")].steps
    assert isinstance(step, PublishStep)
    assert step.occasion().board
    (plain,) = build(load_config(file))[REPORT.key()].steps
    assert isinstance(plain, ReportStep)
    assert plain.contents.notes == ()


def test_a_publisher_may_name_evaluated_models_only(file: Path) -> None:
    card = '\n[[publish]]\nname = "model_card"\nrepo = "a/b"\nmodel = "model.bas"\n'
    file.write_text(CONFIG + card)
    with pytest.raises(
        ConfigError, match=r"publish\.1: 'model\.bas' is not evaluated\. Remedy: did you mean 'model\.base'"
    ):
        load_config(file)
    file.write_text(CONFIG + card.replace('"model.bas"', '"model.base"'))
    assert KIND.key("model_card") in build(load_config(file))
