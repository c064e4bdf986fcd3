"""Algorithms as configs: discovery, overriding single parts, errors that name the remedy."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hpt_core.errors import ConfigError
from hpt_core.plugins import summary
from hpt_core.upge.algorithm import Algorithm

ADAPTER: TypeAdapter[Any] = TypeAdapter(Algorithm)
NAMES = Algorithm.plugin_kind.names


def parse(toml: str) -> Any:
    return ADAPTER.validate_python(tomllib.loads(f"algorithm = {toml}")["algorithm"])


def parts(algorithm: Algorithm, signal: str) -> dict[str, str]:
    """Field -> name of the variant, of one signal."""
    return {field: part.name for field, part in algorithm.signals[signal] if hasattr(part, "name")}


def test_the_algorithms_of_the_paper_are_shipped() -> None:
    named = {"sft", "reinforce", "ppo", "grpo", "dr_grpo", "dapo", "cispo", "gspo", "srft", "luffy", "hpt"}
    assert named <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_algorithm_round_trips_and_can_be_described(name: str) -> None:
    algorithm = ADAPTER.validate_python(name)
    assert algorithm.name == name
    assert ADAPTER.validate_json(ADAPTER.dump_json(algorithm)) == algorithm
    assert set(algorithm.gate.signal_names) <= set(algorithm.signals)
    assert summary(algorithm) == summary(type(algorithm)) != ""
    assert "\n" not in summary(algorithm)
    assert not summary(algorithm).endswith(".")
    assert "L = " in algorithm.equation
    assert not algorithm.equation.startswith(" ")


@pytest.mark.parametrize("name", NAMES)
def test_no_field_of_an_algorithm_is_required_by_its_json_schema(name: str) -> None:
    schema = type(ADAPTER.validate_python(name)).model_json_schema()
    assert set(schema.get("required", [])) <= {"name"}


def test_an_unknown_algorithm_has_near_matches() -> None:
    with pytest.raises(ConfigError, match="did you mean 'dr_grpo'"):
        Algorithm.plugin_kind.load("dr-grpo")


def test_defaults_are_the_compositions_of_the_paper() -> None:
    clipped = {"stabilization_mask": "clip", "reference_policy": "old", "likelihood_gradient": "plain"}
    imitation = {
        "stabilization_mask": "none",
        "reference_policy": "current",
        "advantage": "one",
        "likelihood_gradient": "plain",
    }
    fixed = {"aggregation": "fixed_length"}
    hpt = parse('"hpt"')
    assert hpt.gate.gamma == 0.0
    assert hpt.regularizers == ()
    assert parts(hpt, "rl") == clipped | fixed | {"advantage": "group_mean"}
    assert parts(hpt, "sft") == imitation | fixed
    assert parts(parse('"dr_grpo"'), "rl") == parts(hpt, "rl")
    assert parts(parse('"grpo"'), "rl") == clipped | {"advantage": "group_zscore", "aggregation": "sequence_mean"}
    assert parts(parse('"sft"'), "sft") == imitation | {"aggregation": "token_mean"}
    assert parts(parse('"reinforce"'), "rl") == imitation | {"advantage": "signed", "aggregation": "token_mean"}
    zscores = clipped | {"advantage": "group_zscore", "aggregation": "token_mean"}
    assert parts(parse('"ppo"'), "rl") == zscores | {"advantage": "gae"}
    assert parts(parse('"dapo"'), "rl") == zscores
    assert (parse('"dapo"').rl.stabilization_mask.eps_low, parse('"dapo"').rl.stabilization_mask.eps_high) == (
        0.2,
        0.28,
    )
    assert parts(parse('"cispo"'), "rl") == zscores | {"stabilization_mask": "clipped_ratio"}
    of_sequence = {
        "stabilization_mask": "sequence_clip",
        "reference_policy": "sequence",
        "aggregation": "sequence_mean",
    }
    assert parts(parse('"gspo"'), "rl") == zscores | of_sequence
    off = imitation | fixed | {"reference_policy": "one", "advantage": "group_zscore", "likelihood_gradient": "shaped"}
    assert parts(hpt, "off") == parts(parse('"luffy"'), "off") == off
    assert parts(parse('"luffy"'), "rl") == clipped | fixed | {"advantage": "group_zscore"}
    srft = parse('"srft"')
    assert parts(srft, "off") == off | {"likelihood_gradient": "plain"}
    assert parts(srft, "sft") == imitation | fixed | {"advantage": "inverse_entropy"}
    assert parts(srft, "rl") == imitation | fixed | {"advantage": "signed_entropy"}


def test_the_demonstration_joins_the_group_in_luffy_and_srft_but_not_in_hpt() -> None:
    for form in ("paper", "script"):
        luffy, srft = (parse(f'{{ name = "{name}", form = "{form}" }}') for name in ("luffy", "srft"))
        joined = (luffy.rl.advantage, luffy.off.advantage, srft.off.advantage)
        assert [a.with_demonstration for a in joined] == [True] * 3
        assert {a.name for a in joined} == {"group_zscore" if form == "paper" else "group_mean"}
    assert not parse('"hpt"').off.advantage.with_demonstration


def test_form_sets_only_missing_fields() -> None:
    algorithm = parse('{ name = "luffy", form = "script", rl = { stabilization_mask = "clip", coefficient = 2.0 } }')
    assert algorithm.rl.stabilization_mask.name == "clip"
    assert algorithm.rl.aggregation.name == "constant_length"
    assert algorithm.rl.advantage.name == "group_mean"


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ('"ppo"', [(1.0, 0.95)]),
        ('{ name = "ppo", rl = { advantage = { name = "gae", lam = 0.5 } } }', [(1.0, 0.5)]),
        (
            '{ name = "ppo", rl = { advantage = { name = "gae", gamma = 0.9, lam = 0.5 } }, '
            'regularizers = ["entropy", { name = "value_loss", lam = 1.0 }] }',
            [(0.9, 1.0)],
        ),
        ('{ name = "ppo", rl = { advantage = "group_zscore" }, regularizers = [] }', []),
    ],
)
def test_value_loss_of_ppo_follows_its_advantage(toml: str, expected: list[tuple[float, float]]) -> None:
    algorithm = parse(toml)
    found = [(r.gamma, r.lam) for r in algorithm.regularizers if r.name == "value_loss"]
    assert found == expected
    assert ADAPTER.validate_json(ADAPTER.dump_json(algorithm)) == algorithm


def test_any_single_part_can_be_overridden() -> None:
    algorithm = parse(
        '{ name = "hpt", gate = { name = "switch", gamma = 0.25 }, sft_coefficient = 0.3, regularizers = ["entropy"], '
        'rl = { stabilization_mask = { name = "clip", eps_high = 0.28 }, advantage = "group_zscore" } }'
    )
    assert algorithm.gate.gamma == 0.25
    assert algorithm.sft.coefficient == 0.3
    assert algorithm.regularizers[0].coefficient == 0.001
    assert (algorithm.rl.stabilization_mask.eps_low, algorithm.rl.stabilization_mask.eps_high) == (0.2, 0.28)
    assert algorithm.rl.advantage.name == "group_zscore"
    assert algorithm.rl.reference_policy.name == "old"


@pytest.mark.parametrize(
    ("normalization", "rl", "sft"),
    [
        ("fixed_length", "fixed_length", "fixed_length"),
        ("paper", "question_mean", "demonstration_mean"),
        ("script", "constant_length", "micro_batch_mean"),
    ],
)
def test_normalization_of_hpt_sets_both_aggregations(normalization: str, rl: str, sft: str) -> None:
    algorithm = parse(f'{{ name = "hpt", normalization = "{normalization}", rl = {{ coefficient = 2.0 }} }}')
    assert (algorithm.rl.aggregation.name, algorithm.sft.aggregation.name) == (rl, sft)
    assert ADAPTER.validate_json(ADAPTER.dump_json(algorithm)) == algorithm


def test_an_aggregation_of_hpt_can_be_set_by_itself() -> None:
    algorithm = parse('{ name = "hpt", normalization = "script", sft = { aggregation = "sequence_mean" } }')
    assert algorithm.sft.aggregation.name == "sequence_mean"
    assert algorithm.rl.aggregation.name == "constant_length"


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('"grppo"', "did you mean 'grpo'"),
        ('{ name = "hpt", rl = { advantage = "group_men" } }', "did you mean 'group_mean'"),
        ('{ name = "hpt", sft_coeficient = 0.3 }', "sft_coeficient"),
        ('{ name = "hpt", sft_coefficient = -1 }', "greater than or equal to 0"),
        ('{ name = "hpt", sft_coefficient = nan }', "sft_coefficient"),
        ('{ name = "hpt", sft = { coefficient = 0.3 } }', "set only sft_coefficient"),
        ('{ name = "hpt", normalization = "papr" }', "'fixed_length', 'paper' or 'script'"),
        ('{ name = "hpt", normalization = ["paper"] }', "normalization"),
        ('{ name = "hpt", rl = 3 }', "rl"),
        ('{ name = "luffy", form = "papr" }', "'paper' or 'script'"),
        ('{ name = "srft", off = 3 }', "off"),
        ('{ name = "ppo", regularizers = 3, rl = { advantage = { name = "gae" } } }', "regularizers"),
        ('{ name = "ppo", rl = { advantage = { name = "gae", lam = 1.5 } } }', "less than or equal to 1"),
        ('{ name = "gspo", rl = { reference_policy = "sequenc" } }', "did you mean 'sequence'"),
        ('{ name = "grpo", gate = { name = "always", signals = ["rl", "off"] } }', "unknown signal 'off'"),
        ('{ name = "hpt", gate = { name = "switch", otherwise = ["sft", "of"] } }', "did you mean 'off'"),
        ('{ name = "hpt", gate = { name = "switch", above = "r1" } }', "unknown signal 'r1'; did you mean 'rl'"),
        ('{ name = "grpo", gate = "switch" }', "unknown signal 'sft'"),
        ('{ name = "grpo", regularizers = ["entropi"] }', "did you mean 'entropy'"),
    ],
)
def test_wrong_configs_fail_and_name_the_remedy(toml: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse(toml)
    assert message in str(caught.value)


def test_configs_load_without_torch() -> None:
    code = (
        "import sys\n"
        "from hpt_core.upge.algorithm import Algorithm\n"
        "import hpt_core.upge.estimator\n"
        "for name in Algorithm.plugin_kind.names:\n"
        "    Algorithm.from_value(name)\n"
        "assert not {'torch', 'vllm', 'transformers', 'numpy'} & set(sys.modules), 'heavy import'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


DOCUMENT = (Path(__file__).parents[3] / "docs" / "explanation" / "algorithms.md").read_text(encoding="utf-8")
EXAMPLES = [
    line
    for block in re.findall(r"```toml\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("algorithm = ")
]
"""Lines of the document, each a whole example."""


@pytest.mark.parametrize("name", NAMES)
def test_every_algorithm_is_documented_with_an_example(name: str) -> None:
    assert f"\n## {name}\n\n    " in DOCUMENT
    assert name in {parse(line.removeprefix("algorithm = ")).name for line in EXAMPLES}


@pytest.mark.parametrize("gate", re.findall(r"`gate = (\{.*?\})`", DOCUMENT))
def test_documented_gates_parse(gate: str) -> None:
    assert parse(f'{{ name = "hpt", gate = {gate} }}').name == "hpt"


def test_the_table_of_the_document_lists_the_shipped_algorithms() -> None:
    called = {
        "stabilization_mask": 2,
        "reference_policy": 3,
        "advantage": 4,
        "likelihood_gradient": 5,
        "aggregation": 6,
    }
    name, seen = "", set()
    for line in DOCUMENT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or len(cells) != 7 or ", " not in cells[1]:
            continue
        name = cells[0].strip("`") or name
        signal, on = cells[1].split(", ")
        shipped = ADAPTER.validate_python(name).signals[signal]
        assert shipped.on == on
        for part, column in called.items():
            assert getattr(shipped, part).name == cells[column].partition(",")[0], line
        assert getattr(shipped.advantage, "with_demonstration", False) is ("joint" in cells[4])
        seen.add((name, signal))
    assert seen == {(name, signal) for name in NAMES for signal in ADAPTER.validate_python(name).signals}
