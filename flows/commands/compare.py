"""`hpt why`, `hpt diff` and `hpt uses`: what differs between outputs, and what refers to one."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from flows import graph as graphs
from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Set, StoreOption, Where
from flows.commands.history import one_run
from flows.display import styled
from flows.load import ENDINGS, load_config
from flows.outputs import find, find_one, open_store
from flows.run import Run, RunOptions, plan_run
from hpt_core.artifacts import Manifest, Store
from hpt_core.errors import StoreError
from tasks import evaluate
from tasks.execution.differences import ArtifactDifference, Identity, differences, fields, nearest
from tasks.execution.keys import ArtifactKey

app = typer.Typer()


@dataclass
class Reason:
    """One difference, with those that it follows from."""

    difference: ArtifactDifference
    source: str = ""
    """The artifact or the file that it comes from."""
    because: list["Reason"] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The difference with its reasons."""
        because = [reason.as_json() for reason in self.because]
        return {**self.difference._asdict(), "source": self.source or None, "because": because}

    def lines(self, depth: int = 1) -> Iterator[str]:
        """The difference and its reasons, indented."""
        source = f" ({self.source})" if self.source else ""
        yield f"{'  ' * depth}{self.difference.what} {self.difference.line}{source}"
        for reason in self.because:
            yield from reason.lines(depth + 1)


@app.command()
def why(
    config: ConfigFile,
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="train.hpt, hpt, evaluate.hpt/aime24, or a glob.")],
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show why a stage is not done: what differs from the nearest stored output, and where that comes from."""
    run = plan_run(common.read_config(config, overrides, store, data_dir), RunOptions(only=(stage,)))
    selected = graphs.select(run.graph, [stage])
    for blocked in selected.stages & {*run.plan.problems, *run.plan.blocked}:
        raise run.plan.problems[run.plan.blocked.get(blocked, blocked)]
    told = _Why(run)
    found = {p.target.key: told.reasons_of(p) for p in run.plan.planned if p.target.key in selected}
    states = {p.target.key: p.check for p in run.plan.planned}
    if as_json:
        rows = [
            {"key": str(key), "state": states[key].state, "text": states[key].text, "nearest": str(near and near.stage),
             "differences": [reason.as_json() for reason in reasons]}
            for key, (near, reasons) in found.items()
        ]  # fmt: skip
        common.print_json(rows)
        return
    for key, (near, reasons) in found.items():
        check = states[key]
        text = f": {escape(check.text)}" if check.text and check.state not in ("to do", "done") else ""
        common.OUT.print(f"[bold]{key}[/]: {styled(check.state)}{text}")
        if check.state == "done":
            common.OUT.print("  the store holds it; nothing differs")
        elif near is None:
            common.OUT.print("  the store holds nothing of this kind to compare with")
        elif check.state not in ("rerun", "damaged"):
            made = f"{near.end.astimezone():%Y-%m-%d %H:%M}"
            common.OUT.print(
                f"  compared with {near.stage} of {made}, {near.kind}/{near.fingerprint[:12]}:", markup=False
            )
            for line in (line for reason in reasons for line in reason.lines()):
                common.OUT.print(line, markup=False)


class _Why:
    """Follows differences of inputs to the artifacts that they come from."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._stored: dict[str, list[Manifest]] = {}
        self._planned = {p.target.key: p for p in run.plan.planned}
        self._hashes = {
            artifact.hash(output): key
            for key, artifact in run.plan.artifacts.items()
            if (p := self._planned.get(key))
            for output in p.step.produces
        }

    def reasons_of(self, planned: graphs.Planned) -> tuple[Manifest | None, list[Reason]]:
        """The nearest stored output of the kind, and what differs."""
        if planned.check.state == "done":
            return None, []
        near = nearest(planned.target, self._of_kind(planned.target.kind), str(planned.target.key))
        return near, [] if near is None else self._reasons(near, planned.target, planned.target.key)

    def _of_kind(self, kind: str) -> list[Manifest]:
        if kind not in self._stored:
            self._stored[kind] = self._run.context.store.outputs(kind)
        return self._stored[kind]

    def _reasons(self, before: Identity, now: Identity, key: ArtifactKey) -> list[Reason]:
        found = []
        for difference in differences(before, now):
            reason = Reason(difference)
            if difference.what == "input" and (source := self._hashes.get(difference.now)):
                reason.source = str(source)
                planned = self._planned[source]
                producers = (m for m in self._of_kind(planned.target.kind) if difference.before in m.outputs.values())
                if producer := next(producers, None):
                    reason.because = self._reasons(producer, planned.target, source)
            elif difference.what == "field":
                reason.source = self._file(key, difference.name)
            found.append(reason)
        return found

    def _file(self, key: ArtifactKey, name: str) -> str:
        """The file whose content a field holds; "" for other fields."""
        try:
            value = self._run.config.config_of(key.stage).model_dump(mode="json", by_alias=True)
        except (AttributeError, KeyError, TypeError):
            return ""
        for part in name.split(".")[:-1]:
            value = value.get(part) if isinstance(value, dict) else None
        return str(value.get("file") or value.get("path") or "") if isinstance(value, dict) else ""


@dataclass
class Side:
    """One side of a comparison."""

    label: str
    outputs: Mapping[str, Manifest]
    config: Any = None


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A run's id, a config, a store, a pipeline or an output.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The same, to compare with A.")],
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Show what differs between two runs, configs, stores or stored outputs: config, inputs, versions and scores."""
    a, b = _side(first, where), _side(second, where)
    keys = [key for key in dict.fromkeys([*a.outputs, *b.outputs]) if key in a.outputs and key in b.outputs]
    pairs = {key: (a.outputs[key], b.outputs[key]) for key in keys}
    if len(a.outputs) == len(b.outputs) == 1:
        ((left, right),) = zip(a.outputs, b.outputs, strict=True)
        pairs = {left if left == right else f"{left} / {right}": (a.outputs[left], b.outputs[right])}
    config = list(fields(a.config, b.config)) if a.config is not None and b.config is not None else []
    found = {key: differences(*pair) for key, pair in pairs.items()}
    scores = {key: (s, t) for key, pair in pairs.items() if (s := _score(pair[0])) and (t := _score(pair[1]))}
    only = [sorted(set(one.outputs) - set(other.outputs)) if len(pairs) != 1 else [] for one, other in ((a, b), (b, a))]
    if as_json:
        common.print_json(
            {
                "config": [d._asdict() for d in config],
                "outputs": {key: [d._asdict() for d in every] for key, every in found.items() if every},
                "only_first": only[0],
                "only_second": only[1],
                "scores": {key: {"first": s.share, "second": t.share} for key, (s, t) in scores.items()},
            }
        )
        return
    common.OUT.print(f"A {a.label}\nB {b.label}", markup=False)
    _section("config", [d.line for d in config])
    told = {d.line for d in config}
    for key, every in found.items():
        _section(key, [f"{d.what} {d.line}" for d in every if d.what != "field" or d.line not in told])
    for side, names in zip("AB", only, strict=True):
        _section(f"only in {side}", names)
    same = sum(not every for every in found.values())
    common.OUT.print(f"\n{same} of {len(found)} outputs are the same")
    if scores:
        _print_scores(scores)


def _section(title: str, lines: Iterable[str]) -> None:
    for number, line in enumerate(lines):
        if number == 0:
            common.OUT.print(f"\n[bold]{escape(title)}[/]")
        common.OUT.print(f"  {line}", markup=False)


@dataclass(frozen=True)
class Score:
    """Correct verdicts of one benchmark."""

    correct: int
    total: int

    @property
    def share(self) -> float:
        """Percent of the samples that are correct."""
        return 100 * self.correct / self.total


def _score(manifest: Manifest) -> Score | None:
    outcomes = manifest.facts.get("outcomes") if manifest.kind == evaluate.GradeStep.kind else None
    return Score(outcomes.get("correct", 0), sum(outcomes.values())) if outcomes else None


def _print_scores(scores: Mapping[str, tuple[Score, Score]]) -> None:
    table = Table("percent correct", "A", "B", "B - A", box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for key, (a, b) in scores.items():
        name = key.replace(f"/{evaluate.GradeStep.kind}/", " ")
        table.add_row(escape(name), f"{a.share:.2f}", f"{b.share:.2f}", f"{b.share - a.share:+.2f}")
    common.OUT.print()
    common.OUT.print(table)


def _side(text: str, where: str | None) -> Side:
    """A run, a config, a store, or an output, whichever `text` names. Raises HPTError."""
    if text.endswith(ENDINGS):
        config = load_config(Path(text))
        run = plan_run(config)
        slots = {str(a.key): run.context.store.slot(a.kind, a.fingerprint) for a in run.plan.artifacts.values()}
        manifests = {key: m for key, slot in slots.items() if (m := slot.manifest())}
        return Side(f"{text}: {len(manifests)} of {len(slots)} outputs are stored", manifests, _as_json(config))
    folder = Path(text)
    if "://" in text or (folder.is_dir() and not (folder / "manifest.json").is_file()):
        store = open_store(text)
        pipelines = store.pipelines()
        if len(pipelines) != 1:
            known = ", ".join(pipelines)
            raise StoreError(f"{text} holds the pipelines {known}", "compare two of them, with --store, or two runs")
        return _of_pipeline(store, pipelines[0], text)
    store = open_store(where) if not folder.is_dir() else Store(folder.resolve().parents[1])
    every = store.history.runs()
    if any(record.id == text or record.id.endswith(f"-{text}") for record in every):
        record = one_run(every, text)
        outputs = {key: store.slot(*place.split("/")).manifest() for key, place in record.artifacts.items()}
        stored = {key: m for key, m in outputs.items() if m}
        return Side(
            f"{record.id}: {record.outcome}, {len(stored)} of {len(outputs)} outputs are stored", stored, record.config
        )
    if text in store.pipelines():
        return _of_pipeline(store, text, text)
    found = [(slot, m) for slot in find(store, text) if (m := slot.manifest())]
    return Side(f"{text}: {', '.join(str(slot) for slot, _ in found)}", {m.stage: m for _, m in found})


def _of_pipeline(store: Store, pipeline: str, label: str) -> Side:
    """The outputs that a pipeline used last, and the config of its last run."""
    configs = [record.config for record in store.history.runs() if record.pipeline == pipeline]
    outputs = {name: m for name, slot in store.names(pipeline).items() if (m := slot.manifest())}
    return Side(f"{label}: {len(outputs)} outputs", outputs, configs[-1] if configs else None)


def _as_json(config: Any) -> Any:
    return config.model_dump(mode="json", by_alias=True)


@app.command()
def uses(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="train.hpt, train/3f2a, or a folder.")],
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Show what refers to a stored output: the outputs made from it, pipelines, runs and pins."""
    store = open_store(where)
    slot, manifest = find_one(store, output)
    users = _users(manifest, store.outputs())
    place = f"{slot.kind}/{slot.fingerprint}"
    names = [f"{pipeline}: {name}" for pipeline in store.pipelines() for name, s in store.names(pipeline).items()
             if s.fingerprint == slot.fingerprint]  # fmt: skip
    runs = [record.id for record in store.history.runs() if place in record.artifacts.values()]
    pins = [pin.note or "pinned" for pin in store.pins() if pin.place == place]
    if as_json:
        made = [{"key": m.stage, "place": f"{m.kind}/{m.fingerprint}"} for m in users]
        common.print_json({"output": place, "made_from_it": made, "pipelines": names, "runs": runs, "pins": pins})
        return
    common.OUT.print(f"[bold]{manifest.stage}[/]  {slot}")
    _section("made from it, directly or through others", (f"{m.kind}/{m.fingerprint[:12]}  {m.stage}" for m in users))
    _section("pipelines that used it last under this name", names)
    _section("runs", runs)
    _section("pins", pins)
    if not (users or names or runs or pins):
        common.OUT.print("  nothing refers to it")


def _users(manifest: Manifest, every: list[Manifest]) -> list[Manifest]:
    """The outputs that were made from this one, directly or through others; oldest first."""
    hashes, found = set(manifest.outputs.values()), dict[str, Manifest]()
    while new := {m.fingerprint: m for m in every if m.fingerprint not in found and hashes & set(m.inputs.values())}:
        found |= new
        hashes = {value for m in new.values() for value in m.outputs.values()}
    return [m for m in every if m.fingerprint in found]
