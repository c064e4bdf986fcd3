"""`hpt catalog`, `hpt board` and `hpt compare`: what all runs on a store have measured."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from benchmarks.catalog.board import Board, Cell, Column, Failure, Section, make_board
from benchmarks.catalog.compare import Comparison, compare_models
from benchmarks.catalog.records import Records
from benchmarks.catalog.schemas import TABLES
from benchmarks.catalog.tables import Tables
from benchmarks.suite import GROUPS
from flows.commands import common
from flows.commands.common import Json, Where
from flows.commands.tables import GAP, print_scores
from flows.outputs import open_store
from hpt_core.artifacts import Store
from hpt_core.evaluation.metrics import CUT
from hpt_core.texts import harmless
from tasks.execution.catalog import fill

app = typer.Typer()
Place = Annotated[
    str | None,
    typer.Argument(
        metavar="[STORE]", help="A store's folder, or a config with one. Default: runs, or the one store below it."
    ),
]
Pipeline = Annotated[str | None, typer.Option("--pipeline", help="Only what this pipeline has measured.")]


@app.command()
def catalog(store: Place = None, as_json: Json = False) -> None:
    """Bring the tables in STORE/catalog/ up to date with everything that is stored, and count their rows.

    Stages add to the catalog as they finish. This adds what is older than the catalog, or could not be added.
    """
    found = open_store(store)
    tables = _tables(found)
    counts = {name: getattr(tables, name).num_rows for name in TABLES}
    folder = Records(found.root).folder
    if as_json:
        common.print_json({"catalog": str(folder), "rows": counts})
        return
    for name, count in counts.items():
        common.OUT.print(f"{count:>9,} rows  {folder / name}.parquet", markup=False)
    common.OUT.print(f"{'':>9} questions of each score: {folder / 'question_scores'}", markup=False)


def _tables(store: Store) -> Tables:
    def progress(done: int, total: int) -> None:
        if done % 500 == 0 and total > 500:
            common.ERR.print(f"[dim]reading the store: {done} of {total} artifacts[/]")

    return fill(store, progress)


@app.command()
def board(store: Place = None, pipeline: Pipeline = None, as_json: Json = False) -> None:
    """Show the latest scores of every model on a store, whichever pipeline measured them, and what has failed."""
    found = open_store(store)
    made = make_board(_tables(found), pipeline)
    if as_json:
        common.print_json(asdict(made))
        return
    if not made.sections:
        common.OUT.print(f"{found.root} holds no score yet", markup=False)
    for section in made.sections:
        _print_section(section)
    _print_failures(made)


def _print_section(section: Section) -> None:
    common.OUT.print(f"[bold]{escape(harmless(_heading(section)))}[/]")
    common.OUT.print()
    rows = [
        [f"{name}\n{line.end.astimezone():%Y-%m-%d}", *map(_shown, line.cells)]
        for name, line in zip(_names(section), section.lines, strict=True)
    ]
    print_scores(["model", *map(_header, section.columns)], rows)
    for note in _notes(section):
        common.OUT.print(note, markup=False, soft_wrap=False)
    common.OUT.print()


def _heading(section: Section) -> str:
    p = section.protocol
    parts = [f"protocol {p['name']}"] if p["name"] else []
    parts += [f"{p['engine_version']}, {p['dtype']}, seed {p['seed']}"]
    return "; ".join([", ".join(section.pipelines), *parts] if section.pipelines else parts)


def _names(section: Section) -> list[str]:
    """Labels of the lines, with the pipeline where two share a label."""
    labels = [line.label for line in section.lines]
    return [
        f"{line.pipeline}/{line.label}" if labels.count(line.label) > 1 and line.pipeline else line.label
        for line in section.lines
    ]


def _header(column: Column) -> str:
    if not column.benchmark:
        return f"average\n{column.group}"
    measure = "" if column.k is None else "pass@1" if column.k == 1 else f"avg@{column.k}"
    return f"{column.title}\n{measure}"


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    lines = [f"{'~' if cell.differs else ''}{100 * cell.value:.1f}{'*' if cell.best else ' '}"]
    lines.append(f"{100 * cell.low:.1f}-{100 * cell.high:.1f} ")
    if cell.partial:
        lines.append(f"{cell.partial[0]}/{cell.partial[1]} ")
    if cell.truncated >= CUT:
        lines.append(f"cut {100 * cell.truncated:.0f}% ")
    if cell.overlap:
        lines.append(f"overlap {100 * cell.overlap:.0f}% ")
    return "\n".join(lines)


def _notes(section: Section) -> Iterator[str]:
    cells = [cell for line in section.lines for cell in line.cells if cell]
    yield "Percent, with 95 % intervals."
    if any(cell.best for cell in cells):
        yield "* not distinguishable from the column's best (paired test, Holm-corrected, 5 %)"
    if any(cell.differs for cell in cells):
        yield "~ measured by another protocol than the column's: not ranked, in no average"
    if any(cell.partial for cell in cells):
        yield "6/30: only 6 of 30 questions were asked"
    if any(cell.truncated >= CUT for cell in cells):
        yield "cut: share of responses that ended at the token limit"
    if any(cell.overlap for cell in cells):
        yield "overlap: share of questions that overlap the model's training data; never the best"
    for name, line in zip(_names(section), section.lines, strict=True):
        pairs = list(zip(section.columns, line.cells, strict=True))
        missing = [column.title for column, cell in pairs if column.benchmark and cell is None]
        lacks = [f"no average {c.group}" for c, cell in pairs if not c.benchmark and cell is None]
        if missing or lacks:
            told = f"not measured on {', '.join(missing)}" if missing else ""
            yield harmless(f"{name}: {'; '.join(filter(None, [told, *lacks]))}")


def _print_failures(made: Board) -> None:
    """Print a line for each failed stage, and one for all stages that were skipped for the same reason."""
    alike: dict[tuple[str, ...], list[Failure]] = {}
    for failure in made.failures:
        own = failure.stage if failure.state == "failed" else ""
        alike.setdefault((failure.state, failure.pipeline, failure.run, failure.text, own), []).append(failure)
    for (state, *_), failures in alike.items():
        common.OUT.print(f"[red]{state}[/] {escape(_failure(failures))}", soft_wrap=False)


def _failure(failures: Sequence[Failure]) -> str:
    first = failures[0]
    what = f"{first.pipeline}/{first.stage}" if len(failures) == 1 else f"{first.pipeline}: {len(failures)} stages"
    text = f": {first.text}" if first.text else ""
    return harmless(f"{what}{text} (run {first.run})")


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A model: hpt, demo/hpt, train.hpt, or a model's hash.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The model to compare it with.")],
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Compare two models question by question: differences with intervals, and what one solves and the other does not.

    A question is solved if more than half of its samples are correct.
    """
    store = open_store(where)
    found = compare_models(Records(store.root), _tables(store), first, second)
    if as_json:
        common.print_json(_as_json(found))
        return
    for letter, side in zip("AB", (found.first, found.second), strict=True):
        common.OUT.print(f"{letter} {harmless(side.name)}  {side.model[:12]}", markup=False)
    for pair in found.pairs:
        if pair.protocol_differences:
            fields = ", ".join(pair.protocol_differences)
            common.OUT.print(f"[yellow]not comparable[/] on {escape(pair.title)}: {fields} differ")
    _print_differences(found)
    for letter, other in (("A", "B"), ("B", "A")):
        for pair in found.pairs:
            ids = pair.only_first if letter == "A" else pair.only_second
            title = escape(harmless(pair.title))
            common.OUT.print(f"\n[bold]{title}[/]: {letter} solves {len(ids)} that {other} does not")
            if ids:
                common.OUT.print(f"  {harmless(' '.join(ids))}", markup=False)


def _print_differences(found: Comparison) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    headers = ("benchmark", "A", "B", "A - B", "95 %", "p", "only A", "only B")
    for place, header in enumerate(headers):
        table.add_column(header, justify="right" if place else "left", overflow="fold")
    for pair in found.pairs:
        shares = (f"{100 * share:.1f}" for share in pair.shares)
        counts = (str(len(ids)) for ids in (pair.only_first, pair.only_second))
        table.add_row(Text(harmless(pair.title)), *shares, *_difference(pair.found, pair.p_holm), *counts)
    for average in found.averages:
        table.add_row(f"average {GROUPS[average.group]}", "", "", *_difference(average.found, average.p_holm), "", "")
    common.OUT.print()
    common.OUT.print(table, soft_wrap=False)
    common.OUT.print("Percent. p is of a paired test, Holm-corrected.")


def _difference(found: Any, p_holm: float) -> Sequence[str]:
    if not (found.better or found.worse):
        return "0.0", "none", "1"  # an interval of zero width would claim more than is known
    p = "<0.001" if p_holm < 0.001 else f"{p_holm:.3f}"
    return f"{100 * found.difference:+.1f}", f"{100 * found.low:+.1f} to {100 * found.high:+.1f}", p


def _as_json(found: Comparison) -> dict[str, Any]:
    sides = {letter: {"name": s.name, "model": s.model} for letter, s in zip("ab", found[:2], strict=True)}
    pairs = [{**pair._asdict(), "found": pair.found._asdict()} for pair in found.pairs]
    averages = [{**average._asdict(), "found": average.found._asdict()} for average in found.averages]
    return {**sides, "benchmarks": pairs, "averages": averages}
