"""`hpt plan`: what a run would do, how long it would take, and what keeps it from starting."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from flows import graph as graphs
from flows.commands import common
from flows.commands.common import ConfigFile, DataDir, Json, Set, StoreOption, Units, Verify
from flows.display import clock, styled, summed
from flows.durations import Duration, durations
from flows.run import Run, RunOptions, plan_run, problems, warn
from tasks.execution.keys import ArtifactKey, StageKey

app = typer.Typer()
Times = Mapping[ArtifactKey, Duration | None]
Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="WHAT", help="Plan only this, as in hpt run. Repeatable.")
]
From = Annotated[
    list[str] | None, typer.Option("--from", metavar="WHAT", help="Plan a rerun from here, as in hpt rerun.")
]


@app.command()
def plan(
    config: ConfigFile,
    only: Only = None,
    start: From = None,
    overrides: Set = None,
    store: StoreOption = None,
    data_dir: DataDir = None,
    verify: Verify = False,
    units: Units = False,
    as_json: Json = False,
) -> None:
    """Show what a run would reuse, continue and do, how long it would take, and what keeps it from starting."""
    resolved = common.read_config(config, overrides, store, data_dir)
    run = plan_run(resolved, RunOptions(only=tuple(only or ()), rerun_from=tuple(start or ()), verify=verify))
    times = durations(run.plan, run.context)
    found, warnings = list(map(str, problems(run))), [notice.text for notice in warn(run)]
    if as_json:
        facts = {"pipeline": resolved.name, "store": resolved.store, "finished": run.plan.finished}
        known = _known(times)
        money = [duration.money for duration in known if duration.money is not None]
        sums = {
            "seconds": sum(duration.seconds for duration in known),
            "device_hours": sum(duration.device_hours or 0.0 for duration in known),
            "money": sum(money) if money else None,
        }
        # Without prices, no cost is known.
        lacks = {
            "device_hours_unknown": _stages(key for key, d in times.items() if d and d.device_hours is None),
            "money_unknown": _stages(key for key, d in times.items() if d and money and d.money is None),
        }
        told = {"unknown": _unknown(times), **lacks, "warnings": warnings, "problems": found}
        common.print_json({**facts, **sums, **told, "stages": _as_json(run.plan, times)})
        return
    _print_stages(run.plan, times, units)
    _print_summary(run, times)
    for text in found:
        common.OUT.print(f"[red]problem:[/] {escape(text)}", soft_wrap=not common.OUT.is_terminal)


def _print_summary(run: Run, times: Times) -> None:
    found = run.plan
    words = Counter(found.state(key) for key in found.graph)
    common.OUT.print(f"\n{', '.join(f'{count} {word}' for word, count in words.items())}", end="")
    if times:
        known, unknown = _known(times), _unknown(times)
        stages = ", ".join(unknown) if len(unknown) <= 3 else f"{len(unknown)} stages"
        seconds = sum(duration.seconds for duration in known)
        told = [f"about {clock(seconds)} of work"] * bool(seconds) + [f"unknown for {stages}"] * bool(unknown)
        hours, money = summed(d.device_hours for d in known), summed(d.money for d in known)
        costs = f"{f'; {hours} device-hours' * bool(hours)}{f'; cost {money}' * bool(money)}"
        common.OUT.print(f"; time: {', '.join(told)}{costs}", end="")
    common.OUT.print(f"\nstore {run.config.store}", markup=False)
    if any(p.target.provisional for p in found.planned):
        common.OUT.print("~ marks a provisional fingerprint: it depends on an input that is not there yet")


def _known(times: Times) -> list[Duration]:
    return [found for found in times.values() if found]


def _unknown(times: Times) -> list[str]:
    """Stages of which the store holds nothing to estimate their time from."""
    return _stages(key for key, found in times.items() if found is None)


def _stages(keys: Iterable[ArtifactKey]) -> list[str]:
    return list(dict.fromkeys(str(key.stage) for key in keys))


def _print_stages(found: graphs.Plan, times: Times, units: bool) -> None:
    """Print a line for each stage, and with `units` for each artifact of a stage with several; remarks are below the
    lines."""
    rows: list[tuple[str, str, str, str, str]] = []
    for key in found.graph:
        planned, state = found.of(key), found.state(key)
        if state == "blocked":
            why = f"after {found.blocked[key]}" if key in found.blocked else "it cannot start; see below"
            rows.append((str(key), state, "", "", why))
        elif len(planned) == 1:
            rows.append((str(key), state, _time(planned, times), _short(planned[0]), _note(found, planned[0])))
        elif not units:
            told = "; ".join(filter(None, [*_summary(planned), _waits(found, key)]))
            rows.append((str(key), state, _time(planned, times), f"{len(planned)} artifacts", told))
        else:
            rows.append((str(key), state, _time(planned, times), "", _waits(found, key)))
            rows += [
                (f"  {'/'.join(filter(None, p.target.key[1:]))}", p.check.state, "", _short(p), p.check.text)
                for p in planned
            ]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:4]] if rows else []
    for *cells, note in rows:
        name, state, time, fingerprint = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        shown = styled(cells[1]) + " " * (len(state) - len(cells[1]))
        common.OUT.print(f"{escape(name)}  {shown}  {time}  {fingerprint}".rstrip())
        if note:
            common.print_note(note)


def _summary(planned: list[graphs.Planned]) -> Iterator[str]:
    """How many of a stage's artifacts are in which state, if that differs, and why the first ones are not done."""
    states = Counter(p.check.state for p in planned)
    if len(states) > 1:
        yield ", ".join(f"{count} {state}" for state, count in states.items())
    texts = list(dict.fromkeys(p.check.text for p in planned if p.check.text and p.check.state != "done"))
    yield from texts[:1]
    if len(texts) > 1:
        yield f"{len(texts) - 1} more remarks (--units)"


def _time(planned: list[graphs.Planned], times: Times) -> str:
    found = [times[p.target.key] for p in planned if p.target.key in times]
    if not found:
        return ""
    known = sum(f.seconds for f in found if f)
    if not any(found):
        return "unknown"
    continues = any(p.check.state in ("started", "running") for p in planned)
    mark = "over " if not all(found) else "at most " if continues else "about "
    return mark + clock(known)


def _short(planned: graphs.Planned) -> str:
    return ("~" if planned.target.provisional else "") + planned.target.fingerprint[:12]


def _note(found: graphs.Plan, planned: graphs.Planned) -> str:
    if planned.check.state == "done":
        return ""
    waits = _waits(found, planned.target.key.stage)
    return "; ".join(text for text in (planned.check.text, planned.needs, waits) if text)


def _waits(found: graphs.Plan, key: StageKey) -> str:
    waits = [need for need in dict.fromkeys(found.graph[key].after) if found.state(need) != "done"]
    if not waits or found.state(key) == "done":
        return ""
    by_kind: dict[str, list[StageKey]] = {}
    for need in waits:
        by_kind.setdefault(need.kind, []).append(need)
    shown = [
        f"{len(keys)} {kind} stages" if len(keys) > 3 else ", ".join(map(str, keys)) for kind, keys in by_kind.items()
    ]
    return f"after {', '.join(shown)}"


def _as_json(found: graphs.Plan, times: Times) -> list[dict[str, Any]]:
    return [
        {
            "stage": str(key),
            "state": found.state(key),
            "after": [str(need) for need in found.graph[key].after],
            "problem": str(found.problems[key]) if key in found.problems else None,
            "artifacts": [
                {
                    "key": str(p.target.key),
                    "kind": p.target.kind,
                    "fingerprint": p.target.fingerprint,
                    "provisional": p.target.provisional,
                    "state": p.check.state,
                    "text": p.check.text,
                    "needs": p.needs,
                    "seconds": estimate.seconds if (estimate := times.get(p.target.key)) else None,
                    "device_hours": estimate.device_hours if estimate else None,
                    "money": estimate.money if estimate else None,
                    "seconds_from": estimate.basis.stage if estimate else None,
                    "folder": str(found.artifacts[p.target.key].folder),
                }
                for p in found.of(key)
            ],
        }
        for key in found.graph
    ]
