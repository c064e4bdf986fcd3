"""Stores and stored outputs by the names that users give them, and the cards of models."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.card import card, lineage
from flows.commands.store import age, size
from flows.outputs import find, find_one, open_store
from hpt_core.artifacts import Cost, Manifest, Slot, Store
from hpt_core.errors import ConfigError, HPTError, StoreError


def make(store: Store, kind: str, number: int, name: str, pipeline: str = "demo", **fields: Any) -> Manifest:
    """An artifact without files; its fingerprint begins with its number."""
    slot = store.slot(kind, f"{number:08x}" + "0" * 56)
    slot.output.mkdir(parents=True)
    moment = datetime(2026, 11, number % 28 + 1, tzinfo=UTC)
    facts: dict[str, Any] = {"config": {}, "inputs": {}, "outputs": {}, "versions": {}, **fields}
    manifest = Manifest(
        stage=name, kind=kind, fingerprint=slot.fingerprint, files=(), start=moment, end=moment, **facts
    )
    slot.commit(manifest)
    store.link(pipeline, name, slot.folder)
    return manifest


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A model, its training with other settings, and scores of both."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPT_CACHE", str(tmp_path / "cache"))
    found = Store(tmp_path / "runs" / "demo")
    make(found, "model", 0xAA01, "model.base", outputs={"model": "m0"}, config={"source": {"name": "scratch"}})
    for number, steps, correct in ((0xAB01, 10, 3), (0xAB02, 20, 6)):
        pipeline, model = f"of{steps}", f"m{steps}"
        cost = Cost(seconds=90, device_hours=2.5, energy_kwh=1.25, money=7.5)
        make(found, "train", number, "train.hpt", pipeline, inputs={"model": "m0"}, outputs={"model": model},
             config={"steps": steps}, cost=cost, packages={"torch": "2"}, hardware={"gpus": ["H100"]})  # fmt: skip
        sampled = {"benchmark": "aime24", "k": 2, "sampling": {"temperature": 0.6, "max_tokens": 64}}
        make(found, "samples", number + 16, "evaluate.hpt/samples/aime24", pipeline,
             inputs={"model": model}, outputs={"samples": f"s{steps}"}, config=sampled)  # fmt: skip
        make(found, "verdicts", number + 32, "evaluate.hpt/verdicts/aime24", pipeline, inputs={"samples": f"s{steps}"},
             versions={"math": "math-7", "pkg.code": "f" * 64}, outputs={"verdicts": f"v{steps}"},
             facts={"outcomes": {"correct": correct, "incorrect": 12 - correct}})  # fmt: skip
    return found


def names(slots: list[Slot]) -> list[str]:
    return [f"{slot.kind}/{slot.fingerprint[:8]}" for slot in slots]


def test_outputs_are_found_by_name_fingerprint_and_folder(store: Store) -> None:
    assert names(find(store, "train.hpt")) == ["train/0000ab02"], "the one used last"
    assert names(find(store, "train/0000ab01")) == names(find(store, "0000ab01")) == ["train/0000ab01"]
    assert names(find(store, str(store.root / "train" / ("0000ab01" + "0" * 56)))) == ["train/0000ab01"]
    assert names(find(store, "evaluate.hpt")) == ["samples/0000ab12", "verdicts/0000ab22"]
    with pytest.raises(StoreError, match=r"names 2 outputs: samples/0000ab120000 .*name one of them"):
        find_one(store, "evaluate.hpt")
    with pytest.raises(StoreError, match=r"holds no output 'train\.hpq'.*did you mean 'train\.hpt'"):
        find(store, "train.hpq")
    with pytest.raises(StoreError, match=r"0000ab0 is the beginning of train/.*, train/.*give more"):
        find(store, "0000ab0")


def test_a_store_is_found_where_configs_put_it(store: Store, tmp_path: Path) -> None:
    assert open_store(None).root == open_store("runs/demo").root == store.root
    (tmp_path / "mine.toml").write_text(
        'name = "x"\nstore = "runs/demo"\n[model.base]\nsource = { name = "scratch" }\n'
    )
    assert open_store("mine.toml").root == store.root
    make(Store(tmp_path / "runs" / "other"), "model", 1, "model.base")
    with pytest.raises(ConfigError, match=r"several stores: runs/demo, runs/other.*--store runs/demo"):
        open_store(None)
    make(Store(tmp_path / "runs"), "model", 1, "model.base")
    assert open_store(None).root == tmp_path / "runs"
    for gone in ("gone", str(tmp_path / "cache")):
        with pytest.raises(StoreError, match="is not a store"):
            open_store(gone)


def test_two_outputs_and_two_pipelines_are_compared(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.cli import main

    def diff(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as caught:
            main(["diff", *arguments])
        assert not caught.value.code
        return capsys.readouterr().out

    two = json.loads(diff("0000ab01", "0000ab02", "--json"))
    assert two["outputs"] == {"train.hpt": [{"what": "field", "name": "steps", "before": 10, "now": 20}]}
    shown = diff("of10", "of20")
    assert "field steps: 10 -> 20" in shown and "0 of 3 outputs are the same" in shown
    assert "evaluate.hpt aime24  25.00  50.00  +25.00" in shown


def test_a_card_says_how_a_model_was_made_and_how_it_scores(store: Store) -> None:
    _, model = find_one(store, "0000ab02")
    assert [m.stage for m in lineage(model, store.outputs())] == ["model.base", "train.hpt"]
    text = card("Mine", model, store.outputs())
    assert "| aime24 | math-7 | 12 | 2 | 0.6 | 64 | 50.00 |" in text and "25.00" not in text
    assert "1:30 min, 2.50 device-hours, 1.25 kWh, cost 7.50" in text
    assert "- made from model: `model.base`" in text and '"steps": 20' in text and "on H100; torch 2" in text
    _, base = find_one(store, "model.base")
    assert "holds no scores of this model" in card("Base", base, store.outputs())


def test_a_card_has_a_row_with_its_own_version_for_each_plug_in_grader(store: Store) -> None:
    for number, grader in ((0xAB90, "Contains"), (0xAB91, "Equals")):
        versions = {f"acme.verifiers:{grader}": "1", "acme": "e" * 64, "acme.verifiers": "f" * 64}
        make(store, "verdicts", number, "evaluate.hpt/verdicts/aime24", inputs={"samples": "s20"},
             versions=versions, outputs={"verdicts": "v"}, facts={"outcomes": {"correct": 3}})  # fmt: skip
    _, model = find_one(store, "0000ab02")
    assert card("Mine", model, store.outputs()).count("| aime24 | 1 | 3 |") == 2


@pytest.mark.parametrize(("text", "seconds"), [("12h", 43_200), ("30 d", 2_592_000), ("1.5w", 907_200), ("5m", 300)])
def test_ages(text: str, seconds: float) -> None:
    assert age(text).total_seconds() == seconds


@pytest.mark.parametrize(("text", "count"), [("500GB", 5e11), ("1.5 tb", 1.5e12), ("20MB", 2e7)])
def test_sizes(text: str, count: float) -> None:
    assert size(text) == count


@pytest.mark.parametrize(("read", "text"), [(age, "30"), (age, "d"), (age, "-3d"), (size, "500"), (size, "5 GiB")])
def test_wrong_ages_and_sizes_name_a_remedy(read: Callable[[str], Any], text: str) -> None:
    with pytest.raises(HPTError, match=r"is not a .*Remedy: write a number with"):
        read(text)
