"""Questions that one model solves and another does not, by difficulty (paper, table 4).

A model solves a question if more than half of its samples are correct. The difficulty is the benchmark's own level if
every family ends in one ("algebra-5"). Otherwise it is the mean share of correct samples of the models that are not
compared. The two compared models are excluded, because questions on which they disagree would all fall in the middle.
Without other models, all questions form one class.

The work for a pair does not depend on the number of models: what the others reached is the sum over all models,
without the two.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.report.inputs import ReportInputs, SuiteInfo
from benchmarks.report.measured import Measured, columns, read_table
from benchmarks.report.overlaps import Checked
from benchmarks.report.protocols import protocol_differences
from benchmarks.report.schemas import EXCLUSIVE
from hpt_core import schemas
from hpt_core.evaluation.metrics import solves

LEVEL = re.compile(r"(?:^|[-_ ])(\d{1,2})$")
"""The level at the end of a family name."""
BANDS = ("easy", "medium", "hard")
"""Classes by the other models' mean share of correct samples: over 2/3, 1/3 to 2/3, under 1/3."""
ALL = "all"
"""The only class if the difficulty is unknown."""


class Classes(NamedTuple):
    """Difficulties of the questions that two models share."""

    by: str
    """ "level", "other models" or "none"."""
    names: tuple[str, ...]
    """From easy to hard."""
    of: npt.NDArray[np.int64]
    """[Q] place of each question's class in `names`; undefined for questions that are not shared."""


class Answers:
    """What all models answered on one benchmark, as arrays over the same questions."""

    def __init__(self, found: Sequence[Measured]) -> None:
        self.ids = sorted(set().union(*(m.counts for m in found)))
        places = {question_id: place for place, question_id in enumerate(self.ids)}
        scale = math.lcm(*(m.score.k for m in found))
        shape = len(found), len(self.ids)
        self.answered = np.zeros(shape, bool)
        """[M, Q] whether the model answered the question."""
        self.solved = np.zeros(shape, bool)
        """[M, Q] whether it solves it."""
        self.reached = np.zeros(shape, np.int64)
        """[M, Q] its correct samples, in parts of `scale`, so that models with another k can be added up."""
        self.scale = scale
        for row, m in enumerate(found):
            at = [places[question_id] for question_id in m.counts]
            self.answered[row, at] = True
            self.solved[row, at] = [solves(*counted) for counted in m.counts.values()]
            self.reached[row, at] = [correct * (scale // m.score.k) for correct, _ in m.counts.values()]
        self._judges: dict[bytes, tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]] = {}

    def shared(self, first: int, second: int) -> npt.NDArray[np.bool_]:
        """[Q] whether both models answered the question."""
        both: npt.NDArray[np.bool_] = self.answered[first] & self.answered[second]
        return both

    def bands(self, first: int, second: int, shared: npt.NDArray[np.bool_]) -> Classes:
        """Classes by the models that answered all shared questions, without the two."""
        key = shared.tobytes()
        if key not in self._judges:
            judges = ~(shared & ~self.answered).any(axis=1)
            self._judges[key] = judges, self.reached[judges].sum(axis=0)
        judges, total = self._judges[key]
        # Both have answered what they share.
        full = self.scale * (int(judges.sum()) - 2)
        if full == 0:
            return Classes("none", (ALL,), np.zeros(len(self.ids), np.int64))
        reached = total - self.reached[first] - self.reached[second]
        # Integers, so that the comparison with 1/3 and 2/3 is exact.
        return Classes("other models", BANDS, np.where(3 * reached > 2 * full, 0, np.where(3 * reached >= full, 1, 2)))


def exclusive_table(inputs: ReportInputs, measured: Sequence[Measured], checked: Checked) -> pa.Table:
    """The table EXCLUSIVE: one row per benchmark, ordered pair of models and difficulty. Raises DataError."""
    places = {model.name: place for place, model in enumerate(inputs.measured)}
    parts = [EXCLUSIVE.empty_table()]
    for column, (_, suite) in enumerate(columns(inputs)):
        found = [] if suite is None else [m for m in measured if m.suite.name == suite.name]
        if suite is not None and len(found) > 1:
            found.sort(key=lambda m: places[m.model.name])
            parts.append(_of_benchmark(suite, column, found, places, checked))
    return pa.concat_tables(parts)


def _of_benchmark(
    suite: SuiteInfo, column: int, found: Sequence[Measured], places: Mapping[str, int], checked: Checked
) -> pa.Table:
    answers, levels = Answers(found), read_levels(suite)
    by_level = _by_level(levels, answers.ids)
    own = [checked.of(m.model, suite.name) for m in found]
    overlaps = [
        None if o is None else np.array([question_id in o.either for question_id in answers.ids], bool) for o in own
    ]
    rows: dict[str, list[object]] = {name: [] for name in EXCLUSIVE.names}
    for i, model in enumerate(found):
        for j, other in enumerate(found):
            shared = answers.shared(i, j)
            if i == j or not shared.any():
                continue
            known = by_level is not None and not (shared & (by_level.of < 0)).any()
            classes = by_level if by_level is not None and known else answers.bands(i, j, shared)
            count = len(classes.names)
            alone = shared & answers.solved[i] & ~answers.solved[j]
            ids: list[list[str]] = [[] for _ in range(count)]
            for place in np.flatnonzero(alone):
                ids[classes.of[place]].append(answers.ids[place])
            overlapping: list[int | None] = [None] * count
            if any(each is not None for each in (overlaps[i], overlaps[j])):
                either = [each for each in (overlaps[i], overlaps[j]) if each is not None]
                overlapping = _counts(classes, shared & np.logical_or.reduce(either))
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
            for name, value in front.items():
                rows[name] += [value] * count
            rows["difficulty"] += classes.names
            rows["place"] += range(count)
            rows["questions"] += _counts(classes, shared)
            rows["solved"] += _counts(classes, shared & answers.solved[i])
            rows["exclusive"] += map(len, ids)
            rows["question_ids"] += ids
            rows["overlapping_questions"] += overlapping
    return pa.Table.from_pydict(rows, EXCLUSIVE)


def _counts(classes: Classes, chosen: npt.NDArray[np.bool_]) -> list[int | None]:
    """Number of chosen questions in each class."""
    return list(np.bincount(classes.of[chosen], minlength=len(classes.names)).tolist())


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


def _by_level(levels: Mapping[str, int], ids: Sequence[str]) -> Classes | None:
    """Classes by level; None without levels. A question without one has the place -1."""
    if not levels:
        return None
    every = sorted(set(levels.values()))
    places = {level: place for place, level in enumerate(every)}
    of = np.array([places[levels[question_id]] if question_id in levels else -1 for question_id in ids])
    return Classes("level", tuple(f"level {level}" for level in every), of)
