"""AdamW's groups, schedule and guards."""

import math

import pytest
import torch

from hpt_core.training.config import OptimizerConfig
from hpt_core.training.optimizer import apply_update, learning_rate, make_optimizer, zero_gradients


def model_with_gradient(scale: float) -> torch.nn.Module:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, scale)
    return model


def test_gradients_are_zeroed_and_missing_ones_are_created() -> None:
    model = model_with_gradient(1.0)
    model[0].bias.grad = None
    zero_gradients(make_optimizer(model, OptimizerConfig()))
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def copy(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_every_parameter_decays() -> None:
    model = model_with_gradient(1.0)
    (group,) = make_optimizer(model, OptimizerConfig(weight_decay=0.3)).param_groups
    assert group["weight_decay"] == 0.3
    assert {id(p) for p in group["params"]} == {id(p) for p in model.parameters()}


@pytest.mark.parametrize(
    ("decay", "expected"),
    [("constant", [1 / 3, 2 / 3, 1, 1, 1, 1]), ("linear", [1 / 3, 2 / 3, 1, 3 / 4, 1 / 2, 1 / 4])],
)
def test_schedule(decay: str, expected: list[float]) -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=2, decay=decay)
    assert [learning_rate(config, step, 6) for step in range(6)] == pytest.approx(expected)


def test_cosine_falls_to_half_midway() -> None:
    config = OptimizerConfig(learning_rate=2.0, decay="cosine")
    assert learning_rate(config, 0, 10) == 2.0
    assert learning_rate(config, 5, 10) == pytest.approx(1.0)


def test_one_step_is_adamw_by_hand() -> None:
    model = model_with_gradient(0.01)
    config = OptimizerConfig(learning_rate=0.1, weight_decay=0.5, gradient_clip=None)
    before = model[0].weight.detach().clone()
    applied = apply_update(make_optimizer(model, config), config, rate=0.1)
    expected = before * (1 - 0.1 * 0.5) - 0.1 * 0.01 / (0.01 + 1e-8)
    torch.testing.assert_close(model[0].weight.detach(), expected)
    assert applied == pytest.approx((0.01 * math.sqrt(24), False))


def test_clipping_scales_the_gradient_and_reports_the_norm_before() -> None:
    model = model_with_gradient(1.0)
    config = OptimizerConfig(gradient_clip=0.5)
    applied = apply_update(make_optimizer(model, config), config, rate=0.1)
    norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()
    assert applied.norm == pytest.approx(math.sqrt(24))
    assert norm == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("scale", "skipped"), [(100.0, True), (math.nan, False), (math.inf, False), (-math.inf, False)]
)
def test_guards_do_not_change_weights_and_moments(scale: float, skipped: bool) -> None:
    model = model_with_gradient(scale)
    config = OptimizerConfig(spike_limit=80.0)
    optimizer = make_optimizer(model, config)
    before = copy(model)
    applied = apply_update(optimizer, config, rate=0.1)
    assert applied.skipped is skipped
    assert math.isfinite(applied.norm) is skipped
    assert not optimizer.state
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
