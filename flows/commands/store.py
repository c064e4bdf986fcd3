"""Commands on a store: `hpt store`, `hpt gc`, `hpt pin` and `hpt verify`."""

import logging
import re
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from flows.commands import common
from flows.commands.common import Json, Where
from flows.display import amount
from flows.outputs import find_one, open_store
from hpt_core.artifacts import KnownFiles, Store
from hpt_core.artifacts.cleanup import Contents, Policy, StoredSlot, clean
from hpt_core.errors import ConfigError
from tasks.execution.kind import StageKind

LOG = logging.getLogger("hpt.store")
app = typer.Typer()
AGES = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SIZES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
Pipeline = Annotated[str | None, typer.Option("--pipeline", help="Forget only runs of this pipeline.")]


@app.command(name="store")
def store_(where: Where = None, as_json: Json = False) -> None:
    """Show what a store holds: sizes by kind and by pipeline, and what nothing refers to."""
    store = open_store(where)
    contents = _contents(store)
    items = contents.items.values()
    unused = contents.cleanup(Policy())
    pipelines = {name: contents.of_pipeline(name) & contents.items.keys() for name in store.pipelines()}
    sizes = {name: sum(contents.items[place].size for place in places) for name, places in pipelines.items()}
    if as_json:
        facts = {"store": store.address, "bytes": unused.size, "free_bytes": store.free_bytes()}
        rest = {"kinds": _by_kind(items), "pipelines": sizes, "runs": len(contents.runs), "unused_bytes": unused.freed}
        common.print_json({**facts, **rest})
        return
    table = _table("kind", "finished", "begun", "size")
    for kind, row in _by_kind(items).items():
        table.add_row(kind, str(row["finished"]), str(row["begun"]) if row["begun"] else "", amount(row["bytes"]))
    common.OUT.print(table)
    table = _table("pipeline", "artifacts", "size")
    for name, places in pipelines.items():
        table.add_row(name, str(len(places)), amount(sizes[name]))
    common.OUT.print()
    common.OUT.print(table)
    free = amount(store.free_bytes())
    common.OUT.print(f"\n{store.address}: {amount(unused.size)}, {len(contents.runs)} runs, {free} free", markup=False)
    common.OUT.print(
        f"nothing refers to {amount(unused.freed)} of it; pipelines that share an artifact both count it"
        if unused.freed
        else "pipelines that share an artifact both count it"
    )


def _contents(store: Store) -> Contents:
    """What the store holds. A kind of stage that cannot be loaded is a warning: a run with it may be old."""
    configs = (run.config for run in store.history.runs() if isinstance(run.config, dict))
    paths = dict.fromkeys(key for config in configs for key in config if ":" in key)
    boards, forever = set[str](), set[str]()
    for name in (*StageKind.plugin_kind.names, *paths):
        try:
            kind: StageKind = StageKind.plugin_kind.load(name)
        except ConfigError as error:
            LOG.warning("%s; what stages of this kind keep is not known: add its folder to HPT_PLUGINS", error.cause)
        else:
            boards.update(kind.boards)
            forever.update(kind.forever)
    return Contents(store, boards, forever)


def _by_kind(items: Iterable[StoredSlot]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for item in items:
        row = found.setdefault(item.slot.kind, Counter(finished=0, begun=0, bytes=0))
        row["finished" if item.manifest else "begun"] += 1
        row["bytes"] += item.size
    return found


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    return table


@app.command()
def gc(
    where: Where = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="30d", help="Forget runs that ended longer ago: 12h, 30d, 8w.")
    ] = None,
    pipeline: Pipeline = None,
    most: Annotated[
        str | None, typer.Option("--to", metavar="500GB", help="Forget the oldest runs until the store is this small.")
    ] = None,
    keep_runs: Annotated[
        int, typer.Option("--keep-runs", min=0, help="Latest completed runs of each pipeline that are never forgotten.")
    ] = 1,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove it. Without this, only print what it would be.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Free space: forget old runs, and remove what no run, leaderboard or pin refers to. A dry run by default."""
    store = open_store(where)
    policy = Policy(
        older_than=None if older_than is None else age(older_than),
        pipeline=pipeline,
        most_bytes=None if most is None else size(most),
        keep_runs=keep_runs,
    )
    if pipeline is not None and pipeline not in {*store.pipelines(), *(r.pipeline for r in store.history.runs())}:
        raise ConfigError(
            f"no pipeline {pipeline!r} has run on {store.address}", f"known: {', '.join(store.pipelines())}"
        )
    found = _contents(store).cleanup(policy)
    removed = [item for item, gone in clean(store, found) if gone] if delete else found.remove
    freed = sum(item.size for item in removed)
    if as_json:
        rows = [{"place": i.place, "key": i.manifest.stage if i.manifest else None, "bytes": i.size} for i in removed]
        facts = {"deleted": delete, "freed_bytes": freed, "store_bytes": found.size}
        common.print_json({**facts, "forgotten_runs": [run.id for run in found.forget], "removed": rows})
        return
    for run in found.forget:
        common.OUT.print(f"{'forgot' if delete else 'would forget'} {run.id} ({run.outcome})", markup=False)
    table = _table("kind", "artifacts", "size")
    for kind, row in _by_kind(removed).items():
        table.add_row(kind, str(row["finished"] + row["begun"]), amount(row["bytes"]))
    if removed:
        common.OUT.print(table)
    word = "freed" if delete else "would free"
    common.OUT.print(f"{word} {amount(freed)} of {amount(found.size)}; {found.kept} artifacts stay", markup=False)
    if policy.most_bytes is not None and found.size - freed > policy.most_bytes:
        common.OUT.print(f"what stays is needed, and larger than {amount(policy.most_bytes)}")
    if kept := len(found.remove) - len(removed):
        common.OUT.print(f"{kept} artifacts are in use now and stay")
    if removed and not delete:
        common.OUT.print("nothing was removed; to remove it, add --delete")


def age(text: str) -> timedelta:
    """A time such as "30d". Raises ConfigError."""
    if not (found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mhdw])", text.strip())):
        raise ConfigError(f"--older-than {text!r} is not a time", "write a number with m, h, d or w, such as 30d")
    return timedelta(**{AGES[found[2]]: float(found[1])})


def size(text: str) -> int:
    """A size such as "500GB", in bytes. Raises ConfigError."""
    if not (found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB|TB)", text.strip(), re.IGNORECASE)):
        raise ConfigError(f"--to {text!r} is not a size", "write a number with MB, GB or TB, such as 500GB")
    return int(float(found[1]) * SIZES[found[2].upper()])


@app.command()
def pin(
    output: Annotated[
        str | None, typer.Argument(metavar="[OUTPUT]", help="train.hpt, train/3f2a, or a folder.")
    ] = None,
    where: Where = None,
    note: Annotated[str, typer.Option("--note", help="Why it is kept.")] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Remove the pin.")] = False,
    as_json: Json = False,
) -> None:
    """Pin a stored output, so that `hpt gc` keeps it and all that it was made from. Without OUTPUT, list the pins."""
    store = open_store(where)
    if output is not None:
        slot, manifest = find_one(store, output)
        if remove:
            was = store.unpin(slot)
            common.OUT.print(f"{slot} ({manifest.stage}) {'is not pinned any more' if was else 'was not pinned'}")
            return
        store.pin(slot, note)
        common.OUT.print(f"pinned {slot} ({manifest.stage})", markup=False)
        return
    if as_json:
        common.print_json([found.model_dump(mode="json") for found in store.pins()])
        return
    for found in store.pins():
        kind, _, fingerprint = found.place.partition("/")
        made = store.slot(kind, fingerprint).manifest()
        name = made.stage if made else "it is gone"
        common.OUT.print(f"{kind}/{fingerprint[:12]}  {name}  {found.note}".rstrip(), markup=False)


@app.command()
def verify(where: Where = None, as_json: Json = False) -> None:
    """Hash every stored file again and compare it with its manifest. Ends with code 1 if anything is damaged."""
    store, known = open_store(where), KnownFiles()
    damaged: dict[str, list[str]] = {}
    count = files = total = 0
    for slot in store.slots():
        if (manifest := slot.manifest()) is None:
            if slot.manifest_file.exists():
                damaged[str(slot.folder)] = [f"{slot.manifest_file} is not a manifest"]
            continue
        count, files, total = count + 1, files + len(manifest.files), total + manifest.size
        if found := slot.damage(known, verify=True):
            damaged[str(slot.folder)] = list(map(str, found))
    known.save()
    if as_json:
        common.print_json({"artifacts": count, "files": files, "bytes": total, "damaged": damaged})
    else:
        for folder, texts in damaged.items():
            common.OUT.print(f"[red]damaged[/] {folder}")
            for text in texts:
                common.OUT.print(f"  {text}", markup=False)
        common.OUT.print(f"{files} files of {count} artifacts, {amount(total)}: {len(damaged)} artifacts are damaged")
    if damaged:
        raise typer.Exit(1)
