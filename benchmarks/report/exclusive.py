"""Questions that one model solves and another does not, by difficulty (paper, table 4).

A model solves a question if more than half of its samples are correct. The difficulty is the benchmark's own level if
every family ends in one ("algebra-5"). Otherwise it is the mean share of correct samples of the models that are not
compared. The two compared models are excluded, because questions on which they disagree would all fall in the middle.
Without other models, all questions form one class.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from benchmarks.report.inputs import ReportInputs, SuiteInfo
from benchmarks.report.measured import Measured, columns, read_table
from benchmarks.report.overlaps import Checked
from benchmarks.report.protocols import protocol_differences
from benchmarks.report.schemas import Row
from hpt_core import schemas

LEVEL = re.compile(r"(?:^|[-_ ])(\d{1,2})$")
"""The level at the end of a family name."""
BANDS = ("easy", "medium", "hard")
"""Classes by the other models' mean share of correct samples: over 2/3, 1/3 to 2/3, under 1/3."""
ALL = "all"
"""The only class if the difficulty is unknown."""


class Classes(NamedTuple):
    """Difficulties of a benchmark's questions."""

    by: str
    """ "level", "other models" or "none"."""
    names: tuple[str, ...]
    """From easy to hard."""
    of: Callable[[str], str]
    """Question id -> name of its class."""


def solves(correct: int, samples: int) -> bool:
    """Whether more than half of the samples are correct."""
    return 2 * correct > samples


def exclusive_rows(inputs: ReportInputs, measured: Sequence[Measured], checked: Checked) -> list[Row]:
    """Rows of EXCLUSIVE: one per benchmark, ordered pair of models and difficulty. Raises DataError."""
    places = {model.name: place for place, model in enumerate(inputs.measured)}
    rows = []
    for column, (_, suite) in enumerate(columns(inputs)):
        if suite is None:
            continue
        found = [m for m in measured if m.suite.name == suite.name]
        levels = read_levels(suite)
        for first, second in combinations(found, 2):
            shared = sorted(set(first.counts) & set(second.counts))
            if not shared:
                continue
            classes = _by_level(levels, shared) or _by_others(found, first, second, shared)
            overlapping = checked.of_pair(first, second)
            for model, other in ((first, second), (second, first)):
                front = {
                    "column": column,
                    "benchmark": suite.name,
                    "title": suite.title,
                    "row": places[model.model.name],
                    "model": model.model.name,
                    "label": model.model.label,
                    "other_row": places[other.model.name],
                    "other": other.model.name,
                    "other_label": other.model.label,
                    "difficulty_by": classes.by,
                    "protocol_differences": protocol_differences(model.protocol, other.protocol),
                }
                rows += [{**front, **counted} for counted in _counted(model, other, shared, classes, overlapping)]
    return sorted(rows, key=lambda row: (row["column"], row["row"], row["other_row"], row["place"]))


def _counted(
    model: Measured, other: Measured, shared: Sequence[str], classes: Classes, overlapping: frozenset[str] | None
) -> Iterator[Row]:
    """For each class: number of questions, number that the model solves, number that only the model solves."""
    questions, solved, alone = Counter[str](), Counter[str](), Counter[str]()
    for question_id in shared:
        name = classes.of(question_id)
        questions[name] += 1
        if solves(*model.counts[question_id]):
            solved[name] += 1
            alone[name] += not solves(*other.counts[question_id])
    found = None if overlapping is None else Counter(classes.of(q) for q in shared if q in overlapping)
    for place, name in enumerate(classes.names):
        yield {
            "difficulty": name,
            "place": place,
            "questions": questions[name],
            "solved": solved[name],
            "exclusive": alone[name],
            "overlapping_questions": None if found is None else found[name],
        }


def read_levels(suite: SuiteInfo) -> dict[str, int]:
    """Question id -> level; empty unless every question's family ends in one. Raises DataError."""
    if suite.questions is None:
        return {}
    table = read_table(suite.questions, schemas.QUESTIONS)
    found = {}
    for question_id, family in zip(*(table.column(c).to_pylist() for c in ("question_id", "family")), strict=True):
        match = LEVEL.search(family)
        if match is None:
            return {}
        found[question_id] = int(match[1])
    return found


def _by_level(levels: Mapping[str, int], shared: Sequence[str]) -> Classes | None:
    if not all(question_id in levels for question_id in shared):
        return None
    every = sorted(set(levels.values()))
    return Classes("level", tuple(f"level {level}" for level in every), lambda q: f"level {levels[q]}")


def _by_others(found: Sequence[Measured], first: Measured, second: Measured, shared: Sequence[str]) -> Classes:
    others = [m for m in found if m is not first and m is not second and all(q in m.counts for q in shared)]
    if not others:
        return Classes("none", (ALL,), lambda question_id: ALL)
    scale = math.lcm(*(m.score.k for m in others))
    full = scale * len(others)

    def band(question_id: str) -> str:
        # Integers, so that the comparison with 1/3 and 2/3 is exact.
        reached = sum(m.counts[question_id][0] * (scale // m.score.k) for m in others)
        return BANDS[0] if 3 * reached > 2 * full else BANDS[1] if 3 * reached >= full else BANDS[2]

    return Classes("other models", BANDS, band)
