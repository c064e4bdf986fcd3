"""In a process of its own: write a config with many stages, and a store in which all of them are finished."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench import child
from flows import graph as graphs
from flows.load import load_config
from flows.run import context_of
from hpt_core.artifacts import Cost, Manifest, describe_files, outputs_hash
from hpt_core.files import write_parquet
from hpt_core.models.scratch import ScratchModel
from tasks.execution import environment
from tasks.execution.artifact import Artifact, Artifacts, Step, Target
from tasks.execution.context import Context
from tasks.execution.keys import MODEL

HEAD = """
name = "many"
store = "{folder}/runs"
trackers = []

[model.base.source]
name = "scratch"

[data.d]
source = {{ name = "procedural", rows = 64, seed = 1 }}
model = "model.base"

[evaluate]
models = [{models}]
suites = ["procedural_double"]
limit = 8
k = 1

"""
TRAINING = """
[train.t{number}]
from = "model.base"
data = "data.d"
algorithm = "sft"
steps = {steps}
questions_per_step = 4
"""
OTHERS = 5
"""Stages that are no training and no evaluation: model, data, benchmark, contamination, report."""


def measure(folder: str, stages: int) -> dict[str, Any]:
    """Write FOLDER/many.toml and FOLDER/runs, with at least this number of stages."""
    count = (stages - OTHERS) // 2
    models = ", ".join(f'"train.t{number}"' for number in range(count))
    text = HEAD.format(folder=folder, models=models)
    text += "".join(TRAINING.format(number=number, steps=number + 1) for number in range(count))
    file = Path(folder) / "many.toml"
    file.write_text(text)
    config = load_config(file)
    tiny = ScratchModel(layers=1, hidden_size=32, intermediate_size=32, heads=1)
    tiny.materialize(Path(folder) / "tiny", lambda *_: None)
    context, graph, artifacts = context_of(config), graphs.build(config), Artifacts()
    for key, stage in graph.items():
        for step in stage.steps:
            for target in step.targets(artifacts, context):
                artifacts[target.key] = _finish(step, target, context, Path(folder) / "tiny")
        for artifact in artifacts.values():
            if artifact.key.stage == key:
                context.store.link(config.name, str(artifact.key), artifact.folder)
    context.known.save()
    return {"stages": len(graph)}


def _finish(step: Step, target: Target, context: Context, tiny: Path) -> Artifact:
    slot = context.store.slot(target.kind, target.fingerprint)
    places = dict.fromkeys(output.path or "file" for output in step.produces)
    for path in (slot.output / place for place in places):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name == MODEL.path:
            shutil.copytree(tiny, path)
        elif path.suffix == ".parquet":
            write_parquet(path, pa.table({"a": [1]}))
        else:
            path.write_text(json.dumps({"of": target.fingerprint}))
    # As after a run, which has hashed every file.
    entries = describe_files(slot.folder, context.known)
    now = datetime.now(UTC)
    outputs = {output.name: outputs_hash(entries, output.path) for output in step.produces}
    manifest = Manifest(
        stage=str(target.key),
        kind=target.kind,
        fingerprint=target.fingerprint,
        inputs=dict(target.inputs),
        config=target.config,
        versions=dict(target.versions),
        files=entries,
        outputs=outputs,
        packages=environment.packages(),
        hardware=environment.hardware(),
        start=now,
        end=now,
        cost=Cost(seconds=1.0),
    )
    slot.manifest_file.write_text(manifest.model_dump_json(indent=2))
    return Artifact(target.key, target.kind, target.fingerprint, slot.folder, outputs, reused=True)


if __name__ == "__main__":
    child.answer(measure)
