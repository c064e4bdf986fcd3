"""The fingerprint of a report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from flows.graph import build
from hpt_core import verifiers
from hpt_core.rollout.base import Sampling
from hpt_core.verifiers.math_verify import MathVerify
from tasks.evaluate import samples_key
from tasks.execution.artifact import Artifact, Artifacts, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import ArtifactKey, StageKey
from tasks.report import KIND, ReportStep

Report = Callable[..., Target]


class Same(Artifacts):
    """Every input made, with the same bytes whatever the config says."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __getitem__(self, key: ArtifactKey | StageKey) -> Artifact:
        names = ("asked", "contamination", "samples", "verdicts", "log", "model")
        folder = self.folder / str(key).replace("/", "-")
        outputs = {name: f"{key} {name}" for name in names}
        return Artifact(ArtifactKey(key) if isinstance(key, StageKey) else key, "samples", "", folder, outputs)


def step(report: dict[str, Any] | None = None, **evaluate: Any) -> ReportStep:
    table = {
        "name": "demo",
        "report": report or {},
        "model": {"base": {"source": "scratch"}},
        "evaluate": {"models": ["model.base"], "suites": ["procedural_double", "aime24"]} | evaluate,
    }
    (found,) = build(PipelineConfig.model_validate(table))[KIND.key()].steps
    assert isinstance(found, ReportStep)
    return found


@pytest.fixture
def report(tmp_path: Path) -> Report:
    def make(**evaluate: Any) -> Target:
        (target,) = step(**evaluate).targets(Same(tmp_path), cast(Context, None))
        return target

    return make


@pytest.mark.parametrize(
    "change",
    [
        {"grade_timeout_s": 6.0},
        {"max_tokens": 64},
        {"temperature": 0.3},
        {"stop_repetition": {}},
        {"k": 3},
        {"seed": 9},
        {"dtype": "float32"},
        {"engine": {"name": "transformers"}},
        {"limit": 2},
    ],
)
def test_another_protocol_changes_the_report_even_with_the_same_verdicts(
    report: Report, change: dict[str, Any]
) -> None:
    assert report(**change).fingerprint != report().fingerprint


def test_another_grader_engine_or_benchmark_changes_the_report(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    before = report().fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(type(verifiers.get("math")), "version", "math-next")
        assert report().fingerprint != before
    with monkeypatch.context() as patch:
        patch.setattr("tasks.execution.environment.engine_version", lambda engine: "vllm 99")
        assert report().fingerprint != before
    from benchmarks.suites.aime24 import SUITE

    for field, value in {"title": "Other", "group": "out", "k": 7, "rows": 31}.items():
        with monkeypatch.context() as patch:
            patch.setattr("benchmarks.suites.aime24.SUITE", SUITE.model_copy(update={field: value}))
            assert report().fingerprint != before, field
    assert report().fingerprint == before


@pytest.mark.parametrize("change", [{"shard_samples": 3}, {"budget": {"hours": 1}}])
def test_machine_settings_do_not_change_the_report(report: Report, change: dict[str, Any]) -> None:
    assert report(**change).fingerprint == report().fingerprint


def test_paths_do_not_change_the_report(report: Report, tmp_path: Path) -> None:
    assert str(tmp_path) not in json.dumps(report().config)


def test_the_protocol_contains_what_the_samples_record(tmp_path: Path) -> None:
    asked = step(suites=["aime24"])
    base = StageKey("model", "base")
    (m,) = asked.contents.protocol.measurements
    artifacts = Same(tmp_path)
    planned = asked._result(base, m, artifacts).protocol
    assert (planned.prompt_hash, planned.engine_version) == (None, asked.contents.protocol.engine_version)
    folder = artifacts[samples_key(StageKey("evaluate", "base"), "aime24")].output
    folder.mkdir(parents=True)
    file = folder / "sampling.json"
    file.write_text(json.dumps({"engines": ["vllm 1", "vllm 2"], "prompt_example": "<|user|>1 + 1?<|assistant|>"}))
    found = asked._result(base, m, artifacts).protocol
    assert found.engine_version == "vllm 1, vllm 2"
    # echo -n '<|user|>1 + 1?<|assistant|>' | sha256sum
    assert found.prompt_hash == "sha256:1286e0b6d76a897b5f35ca76c6a6e1af0258698a73982350ff4bbe3a30290c63"
    file.write_text(json.dumps({"engines": ["vllm 1"], "prompt_example": "<user>1 + 1?"}))
    assert asked._result(base, m, artifacts).protocol.prompt_hash != found.prompt_hash
    file.write_text("{}")
    assert asked._result(base, m, artifacts).protocol == planned


def test_options_of_the_model_are_shown_as_they_were_used(tmp_path: Path) -> None:
    asked = step(suites=["aime24"], generation_config=True)
    (m,) = asked.contents.protocol.measurements
    artifacts = Same(tmp_path)
    folder = artifacts[samples_key(StageKey("evaluate", "base"), "aime24")].output
    folder.mkdir(parents=True)
    used = {"temperature": 0.2, "top_p": 0.8, "max_tokens": 8192, "top_k": 20}
    (folder / "sampling.json").write_text(json.dumps({"from_model": ["temperature", "top_k"], "sampling": used}))
    found = asked._result(StageKey("model", "base"), m, artifacts).protocol
    assert found.from_model
    assert found.sampling == Sampling(temperature=0.2, top_p=0.8, max_tokens=8192, top_k=20)


def test_the_report_knows_its_protocol_and_that_of_the_published_numbers() -> None:
    asked = step(suites=["aime24", "amc23"], protocol="paper", top_k=5)
    aime, amc = (asked._suite(m) for m in asked.contents.protocol.measurements)
    assert (aime.rules.protocol, aime.rules.max_total_tokens, aime.rules.covers) == ("paper", 8192, True)
    assert aime.rules.sampling.top_k == 0, "the rules are those without overrides"
    assert not amc.rules.covers
    assert (aime.published, amc.published) == (None, None)
    published = step(report={"published": "qwen2.5-math-7b"}, suites=["aime24", "amc23", "amc"])
    aime, amc23, amc = (published._suite(m) for m in published.contents.protocol.measurements)
    assert aime.published is not None and amc.published is not None
    assert (aime.published.protocol, aime.published.max_total_tokens, aime.published.k) == ("paper", 8192, 32)
    assert "any of several graders" in aime.published.grader
    assert amc.published.data == "AI-MO/aimo-validation-amc"
    assert amc23.published is None
    assert (aime.group, amc23.group, amc.group) == ("in", "other", "in"), "the paper's average has no amc23"
    llama = step(report={"published": "llama-3.1-8b"}, suites=["aime24", "arc_challenge"])
    assert [llama._suite(m).group for m in llama._measurements] == ["in", "out"], "it has no average to keep"
    assert aime.rules.max_total_tokens is None


def test_a_second_graders_verdicts_are_inputs_of_the_report(report: Report) -> None:
    names = [name for name in report(protocol="paper").inputs if "/verdicts/" in name]
    assert names == [
        "evaluate.base/verdicts/procedural_double",
        "evaluate.base/verdicts/procedural_double@math_verify",
        "evaluate.base/verdicts/aime24",
        "evaluate.base/verdicts/aime24@math_verify",
    ]


GRADERS = """
from benchmarks.protocols.paper import Paper
from hpt_core.verifiers.math import Math
from hpt_core.verifiers.math_verify import MathVerify


class Lax(Math):
    version = "1"


class Strict(Math):
    version = "1"


class Two(Paper):
    def settings(self, suite, prompt, seed):
        return super().settings(suite, prompt, seed).model_copy(update={"graders": (Lax(), Strict())})


class Twice(Paper):
    def settings(self, suite, prompt, seed):
        return super().settings(suite, prompt, seed).model_copy(update={"graders": (Lax(), Lax())})
"""


def test_graders_of_one_version_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "graders_of_one_version.py").write_text(GRADERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = step(suites=["aime24"], protocol="graders_of_one_version:Two")
    (m,) = asked.contents.protocol.measurements
    others = asked._result(StageKey("model", "base"), m, Same(tmp_path)).others
    assert list(others) == ["graders_of_one_version:Lax (1)", "graders_of_one_version:Strict (1)"]
    assert len(set(others.values())) == 2
    with pytest.raises(
        ValueError, match=r"evaluate\.protocol: the grader '.*:Lax' occurs twice; name each grader once"
    ):
        step(suites=["aime24"], protocol="graders_of_one_version:Twice")


def test_another_version_of_a_further_grader_changes_the_report(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its verdicts may be the same, but the report names its version."""
    before, plain = report(protocol="paper").fingerprint, report().fingerprint
    monkeypatch.setattr(MathVerify, "version", "math-verify-next")
    assert report(protocol="paper").fingerprint != before
    assert report().fingerprint == plain


def test_a_report_without_a_model_names_it_and_has_another_fingerprint(tmp_path: Path) -> None:
    table = {
        "name": "demo",
        "report": {"baseline": "model.a"},
        "model": {"a": {"source": "scratch"}, "b": {"source": "scratch"}},
        "evaluate": {"models": ["model.a", "model.b"], "suites": ["aime24"]},
    }
    (found,) = build(PipelineConfig.model_validate(table))[KIND.key()].steps
    assert isinstance(found, ReportStep)

    class Without(Same):
        def __getitem__(self, key: ArtifactKey | StageKey) -> Artifact:
            if str(key).startswith("evaluate.a"):
                raise KeyError(key)
            return super().__getitem__(key)

    (whole,) = found.targets(Same(tmp_path), cast(Context, None))
    (part,) = found.targets(Without(tmp_path), cast(Context, None))
    assert part.fingerprint != whole.fingerprint
    assert [name for name in part.inputs if "verdicts" in name] == ["evaluate.b/verdicts/aime24"]
    assert part.config["notes"] == ["Not measured, because a stage failed: model.a."]
    assert (whole.config["notes"], whole.config["baseline"], part.config["baseline"]) == ([], "model.a", None)
