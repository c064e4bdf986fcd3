"""The card of an exported model: how it was made, and how it scores."""

import json
from collections.abc import Iterable, Iterator

from flows.display import clock
from hpt_core.artifacts import Manifest
from tasks import evaluate
from tasks.execution.keys import MODEL
from tasks.execution.scored import grader_version


def lineage(model: Manifest, every: Iterable[Manifest]) -> list[Manifest]:
    """All that a model was made from, directly or through others, and the model itself last."""
    stored = list(every)
    found, wanted = {model.fingerprint: model}, set(model.inputs.values())
    while new := {m.fingerprint: m for m in stored if m.fingerprint not in found and wanted & set(m.outputs.values())}:
        found |= new
        wanted = {value for m in new.values() for value in m.inputs.values()}
    return sorted(found.values(), key=lambda m: (m.fingerprint == model.fingerprint, m.end))


def card(name: str, model: Manifest, every: Iterable[Manifest]) -> str:
    """The card in Markdown, with the front matter that the Hub reads."""
    stored = list(every)
    steps = lineage(model, stored)
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            "tags: [hpt-pipelines]",
            "---",
            f"# {name}",
            "",
            f"Made by hpt-pipelines {model.packages.get('hpt-pipelines', '')} as `{model.stage}`, "
            f"finished {model.end:%Y-%m-%d %H:%M} UTC. SHA-256 of the model: `{model.outputs[MODEL.name]}`.",
            "",
            "## Scores",
            "",
            *_scores(model, stored),
            "",
            "## How it was made",
            "",
            *(line for step in steps for line in _step(step, steps)),
        ]
    )


def _scores(model: Manifest, stored: list[Manifest]) -> Iterator[str]:
    """A row for each benchmark and grader; the samples and their verdicts are those of this very model."""
    sampled = [
        m for m in stored if m.kind == evaluate.SampleStep.kind and m.inputs["model"] == model.outputs[MODEL.name]
    ]
    by_hash = {m.outputs[evaluate.SAMPLES.name]: m for m in sampled}
    # The latest verdicts of each grader, by name and version: with another time limit, samples are graded again.
    graded = {
        (m.inputs["samples"], next(iter(m.versions.items()), None)): m
        for m in sorted(stored, key=lambda m: m.end)
        if m.kind == evaluate.GradeStep.kind and m.inputs["samples"] in by_hash
    }
    rows = [_row(by_hash[hash_], verdicts) for (hash_, _), verdicts in graded.items()]
    if not rows:
        yield "The store holds no scores of this model."
        return
    yield "| Benchmark | Grader | Samples | Per question | Temperature | Max tokens | Correct (%) |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    yield from sorted(rows)
    yield ""
    yield "Correct is the share of all samples that the grader accepts (avg@k). Without an answer, a sample is wrong."


def _row(samples: Manifest, verdicts: Manifest) -> str:
    outcomes: dict[str, int] = verdicts.facts["outcomes"]
    total, config = sum(outcomes.values()), samples.config
    sampling = config["sampling"]
    cells = [
        config["benchmark"],
        grader_version(verdicts),
        total,
        config["k"],
        sampling.get("temperature"),
        sampling.get("max_tokens"),
    ]
    return f"| {' | '.join(map(str, cells))} | {100 * outcomes.get('correct', 0) / total:.2f} |"


def _step(step: Manifest, steps: list[Manifest]) -> Iterator[str]:
    makers = {value: m for m in steps for value in m.outputs.values()}
    inputs = [f"{role}: `{makers[v].stage}`" for role, v in step.inputs.items() if v in makers]
    gpus = step.hardware.get("gpus") or []
    machine = (
        ", ".join(gpus) if gpus else f"{step.hardware.get('cpus', '?')} cores, {step.hardware.get('processor', '')}"
    )
    packages = ", ".join(f"{name} {version}" for name, version in step.packages.items())
    cost = [f"{clock(step.cost.seconds)}"]
    if step.cost.device_hours:
        cost.append(f"{step.cost.device_hours:.2f} device-hours")
    if step.cost.energy_kwh is not None:
        cost.append(f"{step.cost.energy_kwh:.2f} kWh")
    if step.cost.money is not None:
        cost.append(f"cost {step.cost.money:,.2f}")
    yield f"### {step.stage}"
    yield ""
    yield f"- artifact `{step.kind}/{step.fingerprint}`, {step.end:%Y-%m-%d %H:%M} UTC, {', '.join(cost)}"
    if inputs:
        yield f"- made from {', '.join(inputs)}"
    yield f"- on {machine}; {packages}; commit {step.git_commit or 'unknown'}"
    yield ""
    yield "```json"
    yield json.dumps(step.config, indent=2, ensure_ascii=False)
    yield "```"
    yield ""
