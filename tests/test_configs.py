"""Every shipped config parses, and the paper's recipes have the settings of the paper and its scripts."""

from pathlib import Path

import pytest

from benchmarks.protocols.benchmark import Benchmark
from benchmarks.protocols.paper import Paper
from flows.load import load_config
from hpt_core.base import idle_settings
from hpt_core.prompts.plain import PlainText
from tasks.evaluate import EvaluationPlan
from tasks.execution.config import PipelineConfig
from tasks.execution.keys import StageKey

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.toml"))
PAPER = ("qwen2.5-math-7b", "qwen2.5-math-1.5b", "llama-3.1-8b")
SIX = ("aime24", "aime25", "amc", "math500", "minerva", "olympiadbench")


def read(path: Path) -> PipelineConfig:
    return load_config(path)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_shipped_config_parses_and_survives_a_round_trip(path: Path) -> None:
    config = read(path)
    assert config.name == path.stem
    assert PipelineConfig.model_validate(config.model_dump(mode="json", by_alias=True)) == config
    assert list(idle_settings(config)) == [], "every setting has an effect"


@pytest.mark.parametrize("name", PAPER)
def test_paper_recipe_states_the_scripts_settings(name: str) -> None:
    config = read(Path(__file__).parent.parent / "configs" / f"{name}.toml")
    hpt = config.train["hpt"]
    assert (hpt.steps, hpt.questions_per_step, hpt.rollouts_per_question, hpt.minibatch_rows) == (500, 128, 8, 512)
    assert (hpt.sampling.temperature, hpt.sampling.top_p, hpt.sampling.max_tokens) == (1.0, 1.0, 8192)
    optimizer = hpt.optimizer
    assert (optimizer.learning_rate, optimizer.betas, optimizer.weight_decay) == (5e-6, (0.9, 0.999), 0.01)
    assert (optimizer.gradient_clip, optimizer.decay, optimizer.warmup_steps) == (1.0, "constant", 0)
    assert optimizer.spike_limit == (None if name.startswith("llama") else 80.0)
    assert hpt.checkpoint_every == 50
    algorithm = hpt.algorithm
    assert (algorithm.name, algorithm.normalization) == ("hpt", "script")
    assert algorithm.gate.gamma == (0.25 if name.startswith("llama") else 0.0)
    assert algorithm.sft_coefficient == (0.3 if name.endswith("1.5b") else 1.0)
    assert algorithm.rl.stabilization_mask.name == "none"
    assert [(r.name, r.coefficient) for r in algorithm.regularizers] == [("entropy", 0.001)]
    llama = PlainText(bos="never")
    assert config.prompt == llama if name.startswith("llama") else config.prompt.name == "chat"
    base = config.model["base"]
    overrides = (None, None) if name.startswith("llama") else (40000.0, 16384)
    assert (base.rope_theta, base.max_position_embeddings) == overrides


@pytest.mark.parametrize(
    ("name", "rivals"), [(PAPER[0], {"luffy", "srft"}), (PAPER[1], {"luffy"}), (PAPER[2], {"luffy"})]
)
def test_paper_recipe_trains_the_rivals_of_the_published_table(name: str, rivals: set[str]) -> None:
    config = read(Path(__file__).parent.parent / "configs" / f"{name}.toml")
    assert rivals == set(config.train) & {"luffy", "srft"}
    hpt = config.train["hpt"]
    for rival in rivals:
        stage = config.train[rival]
        assert (stage.algorithm.name, stage.algorithm.form) == (rival, "script")
        # The demonstration is the eighth member of its group.
        assert stage.rollouts_per_question == 7
        assert stage.algorithm.off.advantage.with_demonstration
        assert stage.optimizer == hpt.optimizer.model_copy(update={"learning_rate": 1e-6, "spike_limit": None})
        same = ("from_", "data", "steps", "questions_per_step", "minibatch_rows", "sampling", "dtype", "engine")
        assert all(getattr(stage, field) == getattr(hpt, field) for field in same)
        assert [(r.name, r.coefficient) for r in stage.algorithm.regularizers] == [("entropy", 0.001)]
        assert config.evaluate is not None and StageKey("train", rival) in config.evaluate.models


@pytest.mark.parametrize("name", PAPER)
def test_paper_recipe_evaluates_by_the_papers_protocol(name: str) -> None:
    config = read(Path(__file__).parent.parent / "configs" / f"{name}.toml")
    evaluation = config.evaluate
    assert evaluation is not None
    assert evaluation.protocol == Paper()
    assert tuple(suite.name for suite in evaluation.suites[:6]) == SIX
    assert (evaluation.limit, evaluation.dtype) == (None, "bfloat16")
    # Nothing of the protocol is overridden, except where the model has no chat template.
    for m in EvaluationPlan.of(config, evaluation).measurements:
        prompt = PlainText(bos="never") if name.startswith("llama") else m.protocol.prompt
        assert m.settings == m.protocol.model_copy(update={"prompt": prompt})


def test_the_small_config_of_the_papers_protocol_overrides_only_sizes() -> None:
    config = read(Path(__file__).parent.parent / "configs" / "smollm2-paper.toml")
    assert config.evaluate is not None and config.evaluate.protocol == Paper()
    for m in EvaluationPlan.of(config, config.evaluate).measurements:
        sampling = m.protocol.sampling.model_copy(update={"max_tokens": 512})
        assert m.settings == m.protocol.model_copy(update={"k": 2, "sampling": sampling})


@pytest.mark.parametrize("name", ["demo", "smollm2-gsm8k"])
def test_small_configs_keep_the_benchmarks_own_protocol(name: str) -> None:
    evaluation = read(Path(__file__).parent.parent / "configs" / f"{name}.toml").evaluate
    assert evaluation is not None and evaluation.protocol == Benchmark()
