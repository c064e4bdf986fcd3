"""`hpt protocol`: how a config measures, and how that differs from another protocol."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.markup import escape

from benchmarks.protocols.base import ProtocolConfig
from benchmarks.report.inputs import Rules
from benchmarks.report.protocols import rule_differences
from benchmarks.report.rules import rules_of
from flows.commands import common
from flows.commands.common import ConfigFile, Json, Set
from hpt_core.errors import ConfigError
from tasks import evaluate

app = typer.Typer()


@app.command(name="protocol")
def protocol_command(
    config: ConfigFile,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", help="Another protocol: `hpt list protocols`. Default: the config's, not overridden."
        ),
    ] = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Show how each benchmark is measured, and the differences from a protocol. Runs nothing."""
    resolved = common.read_config(config, overrides, None, None)
    evaluation = evaluate.KIND.of(resolved)
    if evaluation is None:
        raise ConfigError("the config evaluates nothing", "add a table [evaluate]")
    own: ProtocolConfig = evaluation.protocol
    other = own if against is None else _named(against)
    used, beside, differences = {}, {}, {}
    for m in evaluate.EvaluationPlan.of(resolved, evaluation).measurements:
        name, dtype = m.suite.name, evaluation.dtype
        used[name] = rules_of(own, m.suite, m.settings).model_copy(update={"dtype": dtype})
        reference = rules_of(other, m.suite, other.settings(m.suite, resolved.prompt, resolved.seed))
        # A protocol may leave the precision open.
        reference = reference.model_copy(update={"dtype": reference.dtype or dtype})
        beside[name] = _beside_rules(m, evaluation.limit)
        differences[name] = [*beside[name], *rule_differences(used[name], reference)]
    if as_json:
        settings = {name: rules.model_dump(mode="json") | {"beside": beside[name]} for name, rules in used.items()}
        common.print_json({"protocol": own.title, "against": other.title, "used": settings, "differences": differences})
        return
    common.OUT.print(f"[bold]protocol {escape(own.title)}[/]")
    _print({name: [*beside[name], *_settings(rules)] for name, rules in used.items()})
    common.OUT.print(
        f"\n[bold]differences from {escape(other.title)}[/]" + ("" if any(differences.values()) else ": none")
    )
    _print(differences)


def _named(name: str) -> ProtocolConfig:
    try:
        return ProtocolConfig.from_value(name)
    except ValueError as error:
        raise ConfigError(f"--against {name}: {error}") from error


def _beside_rules(m: evaluate.Measurement, limit: int | None) -> list[str]:
    """What a config changes that no protocol says, one phrase each."""
    found = []
    if limit is not None and limit < m.suite.rows:
        found.append(f"{limit} of {m.suite.rows} questions")
    if m.from_model:
        found.append(f"{', '.join(m.from_model)} of the model's generation_config.json, if it has them")
    return found


def _settings(rules: Rules) -> list[str]:
    """The settings of one benchmark, one phrase each."""
    sampling = rules.sampling.numbers | rules.sampling.options
    shown = {name: value for name, value in sampling.items() if name in _ALWAYS or name in rules.sampling.options}
    return [
        f"k = {rules.k}",
        ", ".join(f"{name} {value}" for name, value in shown.items()),
        *([] if rules.max_total_tokens is None else [f"at most {rules.max_total_tokens} tokens with the prompt"]),
        "derived seeds" if rules.counted_from is None else f"seeds counted from {rules.counted_from}",
        *([] if rules.dtype is None else [f"precision {rules.dtype}"]),
        *(f"also graded by {grader}" for grader in rules.graders),
        f"prompt {rules.prompt}",
        *([] if rules.covers else ["not a benchmark of the protocol"]),
    ]


_ALWAYS = ("temperature", "top_p", "max_tokens")
"""Sampling options to show even if they have no effect."""


def _print(phrases: Mapping[str, Sequence[str]]) -> None:
    """Print each phrase once, with the benchmarks that it is about unless it is about all."""
    found: dict[str, list[str]] = {}
    for name, of_one in phrases.items():
        for phrase in of_one:
            found.setdefault(phrase, []).append(name)
    for phrase, names in found.items():
        where = "" if len(names) == len(phrases) else f" ({', '.join(names)})"
        common.OUT.print(f"  {phrase}{where}", markup=False)
