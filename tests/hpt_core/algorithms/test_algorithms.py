"""Algorithms as configs: discovery, overriding single parts, errors that name the remedy."""

import subprocess
import sys
import tomllib
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hpt_core.algorithms import describe
from hpt_core.algorithms.base import Algorithm
from hpt_core.config import AlgorithmConfig
from hpt_core.errors import ConfigError
from hpt_core.plugins import names

ADAPTER: TypeAdapter[Any] = TypeAdapter(AlgorithmConfig)
NAMES = names("hpt_core.algorithms")


def parse(toml: str) -> Any:
    return ADAPTER.validate_python(tomllib.loads(f"algorithm = {toml}")["algorithm"])


def parts(algorithm: Algorithm, signal: str) -> dict[str, str]:
    """Field -> name of the variant, of one signal."""
    return {field: part.name for field, part in algorithm.signals[signal] if hasattr(part, "name")}


def test_the_four_algorithms_are_shipped() -> None:
    assert {"sft", "grpo", "dr_grpo", "hpt"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_algorithm_round_trips_and_can_be_described(name: str) -> None:
    algorithm = ADAPTER.validate_python(name)
    assert algorithm.name == name
    assert ADAPTER.validate_json(ADAPTER.dump_json(algorithm)) == algorithm
    assert set(algorithm.gate.signal_names) <= set(algorithm.signals)
    assert describe(name).endswith(".")
    assert "\n" not in describe(name)


@pytest.mark.parametrize("name", NAMES)
def test_no_field_of_an_algorithm_is_required_by_its_json_schema(name: str) -> None:
    schema = type(ADAPTER.validate_python(name)).model_json_schema()
    assert set(schema.get("required", [])) <= {"name"}


def test_description_of_an_unknown_algorithm_names_near_matches() -> None:
    with pytest.raises(ConfigError, match="did you mean 'dr_grpo'"):
        describe("dr-grpo")


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
    assert hpt.regularisers == ()
    assert parts(hpt, "rl") == clipped | fixed | {"advantage": "group_mean"}
    assert parts(hpt, "sft") == imitation | fixed
    assert parts(parse('"dr_grpo"'), "rl") == parts(hpt, "rl")
    assert parts(parse('"grpo"'), "rl") == clipped | {"advantage": "group_zscore", "aggregation": "sequence_mean"}
    assert parts(parse('"sft"'), "sft") == imitation | {"aggregation": "token_mean"}


def test_any_single_part_can_be_overridden() -> None:
    algorithm = parse(
        '{ name = "hpt", gate = { name = "switch", gamma = 0.25 }, sft_coefficient = 0.3, regularisers = ["entropy"], '
        'rl = { stabilization_mask = { name = "clip", eps_high = 0.28 }, advantage = "group_zscore" } }'
    )
    assert algorithm.gate.gamma == 0.25
    assert algorithm.sft.coefficient == 0.3
    assert algorithm.regularisers[0].coefficient == 0.001
    assert (algorithm.rl.stabilization_mask.eps_low, algorithm.rl.stabilization_mask.eps_high) == (0.2, 0.28)
    assert algorithm.rl.advantage.name == "group_zscore"
    assert algorithm.rl.reference_policy.name == "old"


@pytest.mark.parametrize(
    ("normalisation", "rl", "sft"),
    [
        ("fixed_length", "fixed_length", "fixed_length"),
        ("paper", "question_mean", "demonstration_mean"),
        ("script", "constant_length", "token_mean"),
    ],
)
def test_normalisation_of_hpt_sets_both_aggregations(normalisation: str, rl: str, sft: str) -> None:
    algorithm = parse(f'{{ name = "hpt", normalisation = "{normalisation}", rl = {{ coefficient = 2.0 }} }}')
    assert (algorithm.rl.aggregation.name, algorithm.sft.aggregation.name) == (rl, sft)
    assert ADAPTER.validate_json(ADAPTER.dump_json(algorithm)) == algorithm


def test_an_aggregation_of_hpt_can_be_set_by_itself() -> None:
    algorithm = parse('{ name = "hpt", normalisation = "script", sft = { aggregation = "sequence_mean" } }')
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
        ('{ name = "hpt", sft = { coefficient = 0.3 } }', "set sft_coefficient alone"),
        ('{ name = "hpt", normalisation = "papr" }', "'fixed_length', 'paper' or 'script'"),
        ('{ name = "hpt", normalisation = ["paper"] }', "normalisation"),
        ('{ name = "hpt", rl = 3 }', "rl"),
        ('{ name = "hpt", gate = { name = "switch", above = "r1" } }', "unknown signal 'r1'; did you mean 'rl'"),
        ('{ name = "grpo", gate = "switch" }', "unknown signal 'sft'"),
        ('{ name = "grpo", regularisers = ["entropi"] }', "did you mean 'entropy'"),
    ],
)
def test_wrong_configs_fail_and_name_the_remedy(toml: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse(toml)
    assert message in str(caught.value)


def test_configs_load_without_torch() -> None:
    code = (
        "import sys, importlib\n"
        "from hpt_core.plugins import names, load\n"
        "import hpt_core.upge.estimator\n"
        "for name in names('hpt_core.algorithms'):\n"
        "    load('hpt_core.algorithms', name).Config()\n"
        "assert not {'torch', 'vllm', 'transformers', 'numpy'} & set(sys.modules), 'heavy import'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
