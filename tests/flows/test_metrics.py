"""Metrics of stores, read by Prometheus' own parser."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows import metrics
from hpt_core.artifacts import Cost, KnownFiles, Manifest, StageRecord, Store, describe_files, outputs_hash

Found = dict[tuple[str, ...], float]
ORDER = ("pipeline", "kind", "use", "state", "outcome")
START = datetime(2026, 1, 1, tzinfo=UTC)


def parsed(text: str) -> Found:
    """(name, values of the labels in ORDER) -> value."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.type in ("gauge", "summary")
        for sample in family.samples:
            found[sample.name, *(sample.labels[name] for name in ORDER if name in sample.labels)] = sample.value
    return found


def of(*stores: Path) -> Found:
    return parsed(metrics.text(lambda: stores, server=False))


def make(store: Store, kind: str, number: int, facts: dict[str, Any], **cost: Any) -> None:
    slot = store.slot(kind, f"{number:064x}")
    slot.output.mkdir(parents=True)
    (slot.output / "file").write_text("x" * 10)
    files = describe_files(slot.folder, KnownFiles(store.root / "known.json"))
    manifest = Manifest(
        stage=f"{kind}.x",
        kind=kind,
        fingerprint=slot.fingerprint,
        inputs={},
        config={},
        versions={},
        files=files,
        outputs={"x": outputs_hash(files, "")},
        facts=facts,
        start=START,
        end=START + timedelta(seconds=10),
        cost=Cost(**cost),
    )
    slot.commit(manifest)


def test_what_a_store_holds_is_counted(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    make(store, "train", 1, {"tokens": {"policy": 7, "demonstrations": 5}}, seconds=3.5, device_hours=2, money=4.5)
    make(store, "train", 2, {"tokens": {"policy": 3}}, seconds=1, device_hours=None)
    make(store, "samples", 3, {"tokens": 100, "prompt_tokens": 40}, seconds=2, device_hours=1, energy_kwh=0.25)
    store.slot("train", "f" * 64).output.mkdir(parents=True)
    log = store.history.begin("p", {})
    log.note("train.a", StageRecord(what="made", seconds=4))
    log.note("train.b", StageRecord(what="made", seconds=6))
    log.note("evaluate.a", StageRecord(what="failed", seconds=1))
    log.end("failed")
    log = store.history.begin("p", {})
    log.note("train.a", StageRecord(what="started"))
    found = of(store.root)
    assert found["hpt_artifacts", "train"] == 2 and found["hpt_artifacts", "samples"] == 1
    assert found["hpt_artifact_bytes", "train"] == 20
    assert found["hpt_artifact_seconds", "train"] == 4.5
    assert found["hpt_device_hours", "train"] == 2 and found["hpt_artifacts_without_device_hours", "train"] == 1
    assert found["hpt_cost", "train"] == 4.5 and ("hpt_cost", "samples") not in found, "an unknown cost is not 0"
    assert found["hpt_energy_kwh", "samples"] == 0.25
    assert found["hpt_tokens", "train", "policy"] == 10 and found["hpt_tokens", "train", "demonstrations"] == 5
    assert found["hpt_tokens", "samples", "sampled"] == 100 and found["hpt_tokens", "samples", "prompt"] == 40
    assert found["hpt_runs", "p", "failed"] == 1 and found["hpt_runs", "p", "running"] == 1
    assert found["hpt_stages", "p", "train", "made"] == 2 and found["hpt_stages", "p", "evaluate", "failed"] == 1
    assert found["hpt_stages", "p", "train", "running"] == 1
    assert found["hpt_stage_seconds_count", "p", "train"] == 2 and found["hpt_stage_seconds_sum", "p", "train"] == 10
    log.end("interrupted")
    assert of(store.root)["hpt_stages", "p", "train", "interrupted"] == 1


def test_a_store_that_changes_is_read_again(tmp_path: Path) -> None:
    store, other = Store(tmp_path / "store"), Store(tmp_path / "other")
    make(store, "train", 1, {}, seconds=1)
    log = store.history.begin("p", {})
    collector = metrics.StoreCollector(lambda: (store.root, other.root, store.root))

    def seconds() -> list[float]:
        (family,) = (f for f in collector.collect() if f.name == "hpt_artifact_seconds")
        return [sample.value for sample in family.samples]

    def outcomes() -> list[str]:
        (family,) = (f for f in collector.collect() if f.name == "hpt_runs")
        return [sample.labels["outcome"] for sample in family.samples]

    assert seconds() == [1] and outcomes() == ["running"]
    make(store, "train", 2, {}, seconds=2)
    make(other, "train", 1, {}, seconds=5)
    log.end("done")
    assert seconds() == [5, 3] and outcomes() == ["done"], "the stores are ordered by name"
    store.slot("train", f"{1:064x}").manifest_file.unlink()
    store.history.forget(log.record)
    assert seconds() == [5, 2] and outcomes() == []


def test_an_empty_store_has_no_metrics(tmp_path: Path) -> None:
    assert of(tmp_path / "nothing") == {}


def test_the_metrics_of_a_real_run_equal_its_records(finished: Any) -> None:
    found = parsed(finished("metrics", str(finished.store)).stdout)
    manifests = [json.loads(file.read_text()) for file in finished.store.glob(f"*/{'?' * 64}/manifest.json")]
    for kind in {m["kind"] for m in manifests}:
        every = [m for m in manifests if m["kind"] == kind]
        assert found["hpt_artifacts", kind] == len(every)
        assert found["hpt_artifact_bytes", kind] == sum(f["size"] for m in every for f in m["files"])
        assert found["hpt_artifact_seconds", kind] == pytest.approx(sum(m["cost"]["seconds"] for m in every))
    assert found["hpt_tokens", "samples", "sampled"] == sum(
        m["facts"]["tokens"] for m in manifests if m["kind"] == "samples"
    )
    runs = json.loads(finished.look("runs", "--store", str(finished.store), "--json").stdout)
    assert found["hpt_runs", "tiny", "done"] == len(runs)
    assert found["hpt_prefect_up",] == 1
