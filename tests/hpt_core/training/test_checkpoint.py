"""Checkpoints are whole or absent, and restore everything."""

import errno
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hpt_core.errors import StoreError, TrainingError
from hpt_core.training.checkpoint import Checkpointer, checkpoints
from hpt_core.training.config import OptimizerConfig
from hpt_core.training.optimizer import apply_update, make_optimizer, zero_gradients

CONFIG = OptimizerConfig(learning_rate=0.1)


def trained(steps: int, seed: int = 0) -> tuple[torch.nn.Module, torch.optim.AdamW]:
    torch.manual_seed(seed)
    model = torch.nn.Linear(4, 3)
    optimizer = make_optimizer(model, CONFIG)
    for _ in range(steps):
        advance(model, optimizer)
    return model, optimizer


def advance(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    advance_by(model, optimizer, torch.randn(2, 4))


def advance_by(model: torch.nn.Module, optimizer: torch.optim.Optimizer, inputs: torch.Tensor) -> None:
    zero_gradients(optimizer)
    model(inputs).square().sum().backward()
    apply_update(optimizer, CONFIG, 0.1)


def draws() -> tuple[float, float, float]:
    return torch.rand(1).item(), random.random(), float(np.random.rand())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_restored_run_equals_an_uninterrupted_one(tmp_path: Path, asynchronous: bool) -> None:
    model, optimizer = trained(3)
    state = {"counts": {"a": 1}, "cursor": [0, 8]}
    saving = Checkpointer(tmp_path, keep=1, asynchronous=asynchronous)
    saving.save(3, model, optimizer, state)
    saving.finish()
    for _ in range(4):
        advance(model, optimizer)
    expected = draws()
    other, other_optimizer = trained(1, seed=9)
    assert Checkpointer(tmp_path, keep=1).load(other, other_optimizer) == (3, state)
    for _ in range(4):
        advance(other, other_optimizer)
    assert draws() == expected
    assert torch.equal(other.weight, model.weight)
    for ours, theirs in zip(other_optimizer.state.values(), optimizer.state.values(), strict=True):
        assert torch.equal(ours["exp_avg_sq"], theirs["exp_avg_sq"])


def test_newest_are_kept_and_the_newest_is_restored(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    saving = Checkpointer(tmp_path, keep=2)
    for step in (5, 10, 15):
        saving.save(step, model, optimizer, {"at": step})
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00010", "step-00015"]
    assert saving.load(model, optimizer) == (15, {"at": 15})


def test_checkpoint_before_any_update_was_applied_is_restored(tmp_path: Path) -> None:
    """As where every update so far was over the spike limit."""
    model, optimizer = trained(0)
    zero_gradients(optimizer)
    saving = Checkpointer(tmp_path, keep=1)
    saving.save(1, model, optimizer, {})
    other, other_optimizer = trained(0, seed=9)
    assert saving.load(other, other_optimizer) == (1, {})
    torch.manual_seed(3)
    advance(model, optimizer)
    torch.manual_seed(3)
    advance(other, other_optimizer)
    assert torch.equal(other.weight, model.weight)


def test_a_failed_write_keeps_the_earlier_checkpoint(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    saving = Checkpointer(tmp_path, keep=1)
    saving.save(1, model, optimizer, {})
    with pytest.raises(TypeError):
        saving.save(2, model, optimizer, {"unwritable": object()})
    assert [p.name for p in tmp_path.iterdir()] == ["step-00001"]


def test_half_written_folders_are_ignored_and_removed(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    half = tmp_path / ".step-00004.deadbeef.tmp"
    half.mkdir()
    (half / "tensors.pt").write_bytes(b"half")
    (tmp_path / ".step-00003.old").mkdir()
    assert Checkpointer(tmp_path, keep=1).load(model, optimizer) is None
    assert list(tmp_path.iterdir()) == []


def test_the_number_decides_which_checkpoint_is_newest(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    for step in (99_999, 100_000):
        Checkpointer(tmp_path, keep=1).save(step, model, optimizer, {})
    assert [p.name for p in checkpoints(tmp_path)] == ["step-100000"]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("tensors/.metadata", b"", "has 0 bytes instead of"),
        ("tensors/.metadata", None, "is missing"),
        ("tensors/__0_0.distcp", b"damaged", "has 7 bytes instead of"),
        ("tensors/__0_0.distcp", None, "is missing"),
        ("tensors", None, "is missing"),
        ("state.json", None, "state.json is missing"),
        ("state.json", b"", "state.json is not a checkpoint's"),
        ("state.json", b"[]", "state.json is not a checkpoint's"),
        ("state.json", b"{}", "state.json is not a checkpoint's"),
        ("state.json", b'{"step": 2, "files": [{"path": 3}]}', "state.json is not a checkpoint's"),
    ],
)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_restored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, content: bytes | None, said: str
) -> None:
    model, optimizer = trained(1)
    saving = Checkpointer(tmp_path, keep=2)
    saving.save(1, model, optimizer, {"at": 1})
    first = model.weight.detach().clone()
    advance(model, optimizer)
    saving.save(2, model, optimizer, {"at": 2})
    damage(tmp_path / "step-00002" / file, content)
    with caplog.at_level("WARNING"):
        assert saving.load(model, optimizer) == (1, {"at": 1})
    assert torch.equal(model.weight, first)
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00001"]
    assert (tmp_path / "step-00002.damaged").is_dir()
    assert said in caplog.text and "step-00002.damaged" in caplog.text


def damage(path: Path, content: bytes | None) -> None:
    """Replace a file by `content`, or remove a file or a folder."""
    if content is not None:
        path.write_bytes(content)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def test_with_no_intact_checkpoint_training_starts_from_its_own_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file cut in half, and one with a changed bit, whose tensors would still load."""
    model, optimizer = trained(1)
    saving = Checkpointer(tmp_path, keep=2)
    for step in (1, 2):
        saving.save(step, model, optimizer, {})
    file = tmp_path / "step-00002" / "tensors" / "__0_0.distcp"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    file = tmp_path / "step-00001" / "tensors" / "__0_0.distcp"
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)
    other, other_optimizer = trained(0, seed=9)
    before = other.weight.detach().clone()
    with caplog.at_level("WARNING"):
        assert saving.load(other, other_optimizer) is None
    assert torch.equal(other.weight, before), "nothing of a damaged checkpoint was loaded"
    assert "training starts from the beginning" in caplog.text
    saving.save(1, other, other_optimizer, {"again": True})
    assert saving.load(other, other_optimizer) == (1, {"again": True})


def test_a_checkpoint_that_cannot_be_read_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk or a server that is away for a moment must not cost the work of hours."""

    def away(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error")

    model, optimizer = trained(1)
    saving = Checkpointer(tmp_path, keep=1)
    saving.save(1, model, optimizer, {})
    with monkeypatch.context() as patch:
        patch.setattr("hpt_core.training.checkpoint.sha256_file", away)
        with pytest.raises(StoreError, match=r"cannot read .*step-00001.*: Input/output error"):
            saving.load(model, optimizer)
    assert saving.load(model, optimizer) == (1, {})


def test_an_intact_checkpoint_of_another_model_is_named(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    saving = Checkpointer(tmp_path, keep=1)
    saving.save(1, model, optimizer, {})
    other = torch.nn.Linear(7, 5)
    with pytest.raises(TrainingError, match=r"cannot restore checkpoint .*step-00001.*its files are intact"):
        saving.load(other, make_optimizer(other, CONFIG))
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00001"]


def test_an_asynchronous_checkpoint_holds_the_weights_of_its_step(tmp_path: Path) -> None:
    model, optimizer = trained(3)
    before = model.weight.detach().clone()
    saving = Checkpointer(tmp_path, keep=1, asynchronous=True)
    saving.save(3, model, optimizer, {"at": 3})
    advance(model, optimizer)
    saving.finish()
    assert [p.name for p in tmp_path.iterdir()] == ["step-00003"]
    assert saving.load(model, optimizer) == (3, {"at": 3})
    assert torch.equal(model.weight, before)


def test_eight_bit_moments_are_saved_as_they_are(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="needs the package bitsandbytes")
    config = OptimizerConfig(learning_rate=0.1, eight_bit=True)
    models = [torch.nn.Linear(128, 64) for _ in range(2)]
    optimizers = [make_optimizer(model, config) for model in models]
    advance_by(models[0], optimizers[0], torch.randn(2, 128))
    saving = Checkpointer(tmp_path, keep=1)
    saving.save(1, models[0], optimizers[0], {})
    saving.load(models[1], optimizers[1])
    inputs = torch.randn(2, 128)
    for model, optimizer in zip(models, optimizers, strict=True):
        assert next(iter(optimizer.state.values()))["state1"].dtype == torch.uint8
        advance_by(model, optimizer, inputs)
    assert torch.equal(models[0].weight, models[1].weight)
