"""Two models compared question by question, from the catalog's tables."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from benchmarks.catalog.labels import full_name
from benchmarks.catalog.records import Records
from benchmarks.catalog.schemas import Row
from benchmarks.catalog.tables import Tables
from benchmarks.significance import Counts, Difference, compare, compare_average, holm
from benchmarks.suite import GROUPS, Group
from hpt_core.errors import ConfigError, near
from hpt_core.evaluation.metrics import solves

NOT_SETTINGS = ("record", "protocol", "name", "benchmark")


class Side(NamedTuple):
    """One of the two models."""

    name: str
    """ "PIPELINE/LABEL", or the label alone without a run."""
    model: str
    """Content hash."""
    scores: dict[str, list[Row]]
    """Benchmark -> its rows of SCORES, the latest last."""


class Pair(NamedTuple):
    """The two models on one benchmark."""

    title: str
    benchmark: str
    found: Difference
    """A minus B."""
    p_holm: float
    """Corrected over all benchmarks of the comparison."""
    only_first: tuple[str, ...]
    """Ids of the questions that A solves and B does not."""
    only_second: tuple[str, ...]
    protocol_differences: tuple[str, ...]
    """Fields of the protocol that differ. If there are any, they may explain a part of the difference."""
    shares: tuple[float, float]
    """Score of each on the questions that both answered."""


class Average(NamedTuple):
    """The two models over the benchmarks of a group, if both have the same ones by the same protocols."""

    group: Group
    found: Difference
    p_holm: float
    """Corrected over the averages."""


class Comparison(NamedTuple):
    """What differs between two models, A and B."""

    first: Side
    second: Side
    pairs: tuple[Pair, ...]
    averages: tuple[Average, ...]


def compare_models(records: Records, tables: Tables, first: str, second: str) -> Comparison:
    """Compare two models, each named as `side` reads it. Raises ConfigError as `side` and `compare_sides` do."""
    return compare_sides(tables, side(tables, first), side(tables, second), partial(question_counts, records))


def compare_sides(tables: Tables, a: Side, b: Side, counts_of: Callable[[Row], Counts]) -> Comparison:
    """Compare two models. `counts_of` reads the questions of a row of SCORES, as `question_counts` does.

    Of each benchmark, the latest scores by one protocol are compared; without a common protocol, the latest of each.
    Raises ConfigError if the two share no question.
    """
    protocols = {row["protocol"]: row for row in tables.protocols.to_pylist()}
    found: list[tuple[Row, Row, Counts, Counts]] = []
    for benchmark in in_order(a.scores):
        if benchmark in b.scores:
            rows = _matched(a.scores[benchmark], b.scores[benchmark])
            ours, theirs = map(counts_of, rows)
            if ours.keys() & theirs.keys():
                found.append((*rows, ours, theirs))
    if not found:
        raise ConfigError(f"{a.name} and {b.name} have no question in common", "evaluate both on the same benchmark")
    differences = [compare(ours, theirs) for _, _, ours, theirs in found]
    adjusted = holm([difference.p_value for difference in differences])
    pairs = []
    for (row, other, ours, theirs), difference, p_holm in zip(found, differences, adjusted, strict=True):
        shared = sorted(ours.keys() & theirs.keys())
        one, two = protocols[row["protocol"]], protocols[other["protocol"]]
        pairs.append(
            Pair(
                row["title"],
                row["benchmark"],
                difference,
                p_holm,
                tuple(q for q in shared if solves(*ours[q]) and not solves(*theirs[q])),
                tuple(q for q in shared if solves(*theirs[q]) and not solves(*ours[q])),
                tuple(name for name in one if name not in NOT_SETTINGS and one[name] != two[name]),
                (_share(ours, shared), _share(theirs, shared)),
            )
        )
    return Comparison(a, b, tuple(pairs), tuple(_averages(found)))


def _averages(found: Sequence[tuple[Row, Row, Counts, Counts]]) -> Iterable[Average]:
    """Of each group in which both models have several benchmarks, all by the same protocols."""
    groups: dict[Group, list[tuple[Row, Row, Counts, Counts]]] = {}
    for each in found:
        if each[0]["group"] is not None:
            groups.setdefault(each[0]["group"], []).append(each)
    equal = {
        group: members
        for group, members in groups.items()
        if len(members) > 1 and all(row["protocol"] == other["protocol"] for row, other, _, _ in members)
    }
    differences = {g: compare_average([(ours, theirs) for _, _, ours, theirs in m]) for g, m in equal.items()}
    adjusted = holm([difference.p_value for difference in differences.values()])
    return [Average(g, d, p) for (g, d), p in zip(differences.items(), adjusted, strict=True)]


def side(tables: Tables, text: str) -> Side:
    """A model with its scores. `text` is its name or label ("hpt", "demo/hpt"), its stage ("train.hpt") or the
    beginning of its content hash; a name stands for the latest model that has it. Raises ConfigError."""
    rows = tables.scores.drop_columns("correct").to_pylist()
    stages: dict[str, set[str]] = {}
    for model, stage in zip(*(tables.models.column(c).to_pylist() for c in ("model", "stage")), strict=True):
        stages.setdefault(model, set()).add(stage)

    def names_of(row: Row) -> tuple[str, ...]:
        key = row["pipeline"], row["label"]
        return row["label"], _name(row), tables.labels.of(*key), tables.labels.full(*key)

    def fits(row: Row) -> bool:
        if text in names_of(row):
            return True
        return text in stages.get(row["model"], ()) or (len(text) >= 6 and row["model"].startswith(text))

    fitting = [row for row in rows if fits(row)]
    if not fitting:
        known = dict.fromkeys(name for row in rows for name in names_of(row))
        raise ConfigError(f"no model {text!r} has a score in the catalog", near(text, tuple(known)))
    names = dict.fromkeys(map(_name, fitting))
    if len(names) > 1:
        raise ConfigError(f"{text!r} names {len(names)} models: {', '.join(names)}", "give one of these names")
    newest = max(fitting, key=lambda row: (row["end"], row["record"]))
    scores: dict[str, list[Row]] = {}
    for row in sorted(fitting, key=lambda row: (row["end"], row["record"])):
        if row["model"] == newest["model"]:
            scores.setdefault(row["benchmark"], []).append(row)
    return Side(tables.labels.full(newest["pipeline"], newest["label"]), newest["model"], scores)


def in_order(scores: Mapping[str, Sequence[Row]]) -> list[str]:
    """The benchmarks of a model's scores, in the order of the board: by group, then as in its latest evaluation."""
    newest = max((rows[-1] for rows in scores.values()), key=lambda row: (row["end"], row["record"]))
    suites, groups = newest["suites"], list(GROUPS)

    def place(benchmark: str) -> tuple[int, int, str]:
        group = scores[benchmark][-1]["group"]
        return (
            groups.index(group) if group in groups else len(groups),
            suites.index(benchmark) if benchmark in suites else len(suites),
            benchmark,
        )

    return sorted(scores, key=place)


def question_counts(records: Records, score: Row) -> Counts:
    """Question id -> (correct samples, samples) of a row of SCORES. Raises StoreError."""
    table = records.questions(score["benchmark"], score["model"], score["record"])
    columns = (table.column(name).to_pylist() for name in ("question_id", "correct", "k"))
    return {question_id: (correct, k) for question_id, correct, k in zip(*columns, strict=True)}


def _name(row: Row) -> str:
    return full_name(row["pipeline"], row["label"])


def _matched(first: Sequence[Row], second: Sequence[Row]) -> tuple[Row, Row]:
    """The latest rows by one protocol; without a common one, the latest of each."""
    by_protocol = {row["protocol"]: row for row in second}
    for row in reversed(first):
        if row["protocol"] in by_protocol:
            return row, by_protocol[row["protocol"]]
    return first[-1], second[-1]


def _share(counts: Counts, questions: Sequence[str]) -> float:
    return sum(counts[q][0] / counts[q][1] for q in questions) / len(questions)
