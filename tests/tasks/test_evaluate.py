"""The evaluation's config: protocols, overrides, and what they mean for fingerprints."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest

from benchmarks.protocols.paper import Paper
from flows.load import load_config
from hpt_core.artifacts import KnownFiles, Store
from hpt_core.errors import ConfigError
from hpt_core.files import write_parquet
from hpt_core.prompts.chat import ChatTemplate
from hpt_core.prompts.plain import PlainText
from hpt_core.rollout.base import Sampling
from hpt_core.schemas import SAMPLES
from hpt_core.verifiers.math_verify import MathVerify
from tasks.evaluate import KIND, EvaluationPlan, Measurement, SampleStep
from tasks.execution.artifact import Artifact, Artifacts, Job, Target
from tasks.execution.config import PipelineConfig
from tasks.execution.context import Context
from tasks.execution.keys import ArtifactKey, StageKey
from tasks.execution.resources import ResourcesConfig

OVERRIDES: dict[str, Any] = {
    "temperature": 0.3,
    "top_p": 0.5,
    "max_tokens": 64,
    "stop_repetition": {"times": 3},
    "top_k": 20,
    "min_p": 0.1,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "repetition_penalty": 1.1,
    "stop": ["Question:"],
}


class Existing(Artifacts):
    """Every artifact exists."""

    def __getitem__(self, key: ArtifactKey | StageKey) -> Artifact:
        outputs = {name: f"{key} {name}" for name in ("asked", "samples", "model")}
        return Artifact(ArtifactKey(key) if isinstance(key, StageKey) else key, "x", "", Path("/x"), outputs)


def pipeline(**evaluate: Any) -> PipelineConfig:
    table = {
        "name": "demo",
        "seed": 5,
        "prompt": "plain",
        "model": {"base": {"source": "scratch"}},
        "evaluate": {"models": ["model.base"], "suites": ["aime24", "gpqa_diamond"]} | evaluate,
    }
    return PipelineConfig.model_validate(table)


def measured(**evaluate: Any) -> tuple[Measurement, ...]:
    config = pipeline(**evaluate)
    assert config.evaluate is not None
    return EvaluationPlan.of(config, config.evaluate).measurements


def test_samples_cost_their_hours_and_tokens(tmp_path: Path) -> None:
    """At the budget's prices, or else at those of the machine."""
    rows = [
        {"benchmark": "aime24", "question_id": str(n), "sample_index": 0, "seed": 1, "response": "x",
         "tokens": 1_000_000, "prompt_tokens": 250_000, "finish_reason": "stop"}
        for n in range(4)
    ]  # fmt: skip
    slot = Store(tmp_path).slot("samples", "a" * 64)
    for part in range(2):
        table = pa.Table.from_pylist(rows[2 * part : 2 * part + 2], schema=SAMPLES)
        write_parquet(slot.output / "samples" / f"part-{part}.parquet", table)
    context = Context(Store(tmp_path), KnownFiles(tmp_path / "known.json"))
    machine = replace(context, resources=ResourcesConfig.model_validate({"prices": {"hour": 2.0}}))

    def cost(context: Context, hours: float | None, **evaluate: Any) -> float | None:
        (stage,) = KIND.stages(pipeline(**evaluate))
        job = Job(targets(0, **evaluate)[0], slot)
        return stage.steps[0].money(stage.steps[0].facts(job), hours, context)

    assert (cost(machine, 3.0), cost(machine, None), cost(context, 3.0)) == (6.0, None, None)
    billed = {"budget": {"prices": {"million_tokens": 0.5, "million_prompt_tokens": 0.1}}}
    assert cost(machine, 3.0, **billed) == pytest.approx(4 * 0.5 + 0.1)
    (stage,) = KIND.stages(pipeline(engine={"name": "endpoint", "url": "http://127.0.0.1:9/v1"}))
    assert stage.steps[0].devices(context) is None, "nobody here knows what is behind it"


def targets(step: int, **evaluate: Any) -> list[Target]:
    (stage,) = KIND.stages(pipeline(**evaluate))
    return stage.steps[step].targets(Existing(), cast(Context, None))


def test_the_default_protocol_keeps_earlier_identities() -> None:
    """The identity of samples as it was before protocols existed."""
    target = next(t for t in targets(0) if t.key.part == "aime24")
    assert target.config == {
        "engine": {"name": "vllm", "enforce_eager": None, "prefix_caching": True, "batch_invariant": False},
        "dtype": "bfloat16",
        "prompt": pipeline().prompt.identity(),
        "instruction": None,
        "sampling": {"temperature": 0.6, "top_p": 0.95, "max_tokens": 8192},
        "k": 32,
        "seed": 5,
        "benchmark": "aime24",
    }
    assert not [name for name in target.versions if "protocols" in name]
    verdicts = next(t for t in targets(1) if t.key.part == "aime24")
    assert verdicts.config == {"timeout_s": 5.0, "k": 32, "benchmark": "aime24"}


def test_the_protocols_name_is_no_identity() -> None:
    named = {t.key: t.fingerprint for t in targets(0, protocol="benchmark")}
    assert named == {t.key: t.fingerprint for t in targets(0)}


def test_the_overrides_cover_every_sampling_option() -> None:
    assert set(OVERRIDES) == set(Sampling.model_fields)


@pytest.mark.parametrize("protocol", ["benchmark", "paper"])
@pytest.mark.parametrize("name", OVERRIDES)
def test_every_sampling_option_overrides_the_protocol(name: str, protocol: str) -> None:
    value = OVERRIDES[name]
    for m in measured(protocol=protocol, **{name: value}):
        expected = Sampling.model_validate({**dict(m.protocol.sampling), name: value})
        assert m.settings == m.protocol.model_copy(update={"sampling": expected})
        assert m.settings != m.protocol
    before = {t.key: t.fingerprint for t in targets(0, protocol=protocol)}
    after = {t.key: t.fingerprint for t in targets(0, protocol=protocol, **{name: value})}
    assert all(before[key] != after[key] for key in before)


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"k": 3}, "k", 3),
        ({"seed": 9}, "seed", 9),
        ({"max_total_tokens": 4096}, "max_total_tokens", 4096),
        ({"prompt": {"name": "plain", "instruction": ""}}, "prompt", PlainText(instruction="")),
    ],
)
def test_other_settings_override_the_protocol(change: dict[str, Any], field: str, value: Any) -> None:
    for m in measured(protocol="paper", **change):
        assert m.settings == m.protocol.model_copy(update={field: value})
    before, after = targets(0, protocol="paper"), targets(0, protocol="paper", **change)
    assert all(a.fingerprint != b.fingerprint for a, b in zip(before, after, strict=True))


def test_template_arguments_join_those_of_the_prompt() -> None:
    prompt = {"name": "chat", "template_arguments": {"a": 1, "b": 1}}
    (first, _) = measured(prompt=prompt, template_arguments={"b": 2, "enable_thinking": False})
    assert first.settings.prompt == ChatTemplate(template_arguments={"a": 1, "b": 2, "enable_thinking": False})
    (first, _) = measured(protocol="paper", template_arguments={"enable_thinking": False})
    expected = dict(Paper().prompt) | {"template_arguments": {"enable_thinking": False}}
    assert first.settings.prompt == ChatTemplate(**expected)


def test_a_prompt_without_template_takes_no_arguments() -> None:
    with pytest.raises(ValueError, match=r"evaluate\.template_arguments: the prompt 'plain' has no chat template"):
        pipeline(template_arguments={"enable_thinking": False})


def test_a_name_that_is_no_template_argument_is_refused_by_its_field() -> None:
    said = r"evaluate\.template_arguments: tokenize is set by the prompt itself; remove it"
    with pytest.raises(ValueError, match=said):
        pipeline(prompt="chat", template_arguments={"tokenize": True})


def test_a_wrong_option_is_told_what_it_means(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(
        'name = "x"\n[model.base]\nsource = "scratch"\n[evaluate]\nmodels = ["model.base"]\nsuites = ["aime24"]\n'
    )
    with pytest.raises(ConfigError, match=r"evaluate\.top_k = -1: .* Number of most probable tokens to sample from"):
        load_config(file, ["evaluate.top_k=-1"])


def test_an_option_that_the_engine_ignores_is_refused_at_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old_engines.py").write_text(
        "from hpt_core.rollout.base import EngineConfig\n\n\nclass Old(EngineConfig):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    pipeline(engine="old_engines:Old")
    with pytest.raises(ValueError, match=r"evaluate\.engine: .*old_engines:Old.* does not honor top_k; remove it"):
        pipeline(engine="old_engines:Old", top_k=4)


def test_the_protocols_benchmarks_are_the_default_suites() -> None:
    config = PipelineConfig.model_validate(
        {
            "name": "x",
            "model": {"base": {"source": "scratch"}},
            "evaluate": {"models": ["model.base"], "protocol": "paper"},
        }
    )
    assert config.evaluate is not None
    assert tuple(suite.name for suite in config.evaluate.suites) == Paper().benchmarks
    with pytest.raises(ValueError, match="suites"):
        PipelineConfig.model_validate(
            {"name": "x", "model": {"base": {"source": "scratch"}}, "evaluate": {"models": ["model.base"]}}
        )


@pytest.mark.parametrize(
    ("value", "said"),
    [("papr", "did you mean 'paper'"), ('{ name = "paper", kk = 1 }', "unknown field"), ("3", "3 is not a name")],
)
def test_a_wrong_protocol_is_named(tmp_path: Path, value: str, said: str) -> None:
    file = tmp_path / "x.toml"
    file.write_text(
        'name = "x"\n[model.base]\nsource = "scratch"\n[evaluate]\nmodels = ["model.base"]\nsuites = ["aime24"]\n'
    )
    with pytest.raises(ConfigError, match=said) as error:
        load_config(file, [f"evaluate.protocol={value}"])
    assert "evaluate.protocol" in str(error.value)


def test_verdicts_belong_to_one_model_even_if_another_gives_the_same_samples() -> None:
    found = next(t for t in targets(1) if t.key.part == "aime24")
    assert set(found.inputs) == {"model", "samples", "questions"}


def test_a_second_grader_has_verdicts_of_its_own() -> None:
    plain = {str(t.key): t for t in targets(1)}
    found = {str(t.key): t for t in targets(1, protocol="paper")}
    names = ["aime24", "aime24@math_verify", "gpqa_diamond"]
    assert list(found) == [f"evaluate.base/verdicts/{name}" for name in names]
    second = found["evaluate.base/verdicts/aime24@math_verify"]
    assert second.versions["math_verify"] == MathVerify.version
    assert [name for name in second.versions if name.startswith("hpt_core.verifiers")]
    # The first grader's identity does not depend on the second.
    first, alone = found["evaluate.base/verdicts/aime24"], plain["evaluate.base/verdicts/aime24"]
    assert (first.config, first.versions) == (alone.config, alone.versions)


def test_options_of_the_model_are_asked_for_unless_set() -> None:
    (m, _) = measured(generation_config=True, top_p=0.9)
    assert m.from_model == ("temperature", "top_k", "min_p", "repetition_penalty")
    assert measured()[0].from_model == ()
    before, after = targets(0), targets(0, generation_config=True)
    assert all(a.fingerprint != b.fingerprint for a, b in zip(before, after, strict=True))


def test_the_workers_spec_has_every_setting(tmp_path: Path) -> None:
    (stage,) = KIND.stages(pipeline(protocol="paper", stop=["x"], generation_config=True))
    step = stage.steps[0]
    assert isinstance(step, SampleStep)
    jobs = [Job(t, Store(tmp_path).slot(t.kind, t.fingerprint)) for t in step.targets(Existing(), cast(Context, None))]
    spec = step.spec(jobs, Existing())
    unit = spec.units[0]
    assert (unit.benchmark, unit.k, unit.seed, unit.seeds, unit.max_total_tokens) == ("aime24", 32, 42, "counted", 8192)
    assert (unit.prompt, unit.instruction, unit.sampling.stop) == (Paper().prompt, None, ("x",))
    assert unit.from_model == ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec


def test_an_option_that_the_model_may_replace_makes_no_samples_the_same() -> None:
    (greedy, _), (own, _) = measured(temperature=0.0), measured(temperature=0.0, generation_config=True)
    assert (greedy.greedy, own.greedy) == ("temperature", "temperature")
    assert Measurement(greedy.suite, greedy.settings, greedy.protocol, ("temperature",)).greedy is None
    assert measured(top_k=1)[0].greedy == "top_k"
