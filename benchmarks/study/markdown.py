"""study.md: a study's result in words and tables."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import numpy as np

from benchmarks.effects import LEVEL, POWER, Effect
from benchmarks.markdown import escape
from benchmarks.study.inputs import Claim
from benchmarks.study.models import BUDGETS
from benchmarks.study.readings import MATCHED, VERDICTS, Measured, Reading
from benchmarks.suite import GROUPS
from hpt_core.evaluation.metrics import solves


def study(measured: Measured, readings: Sequence[Mapping[str, Reading]], figures: Mapping[str, str]) -> str:
    """The whole document. `figures` maps titles to files in figures/."""
    inputs = measured.inputs
    parts = [f"# {escape(inputs.title)}", *_declaration(measured)]
    parts += ["## Claims", _count(readings), *_claims(measured, readings)]
    parts += ["## Claims at equal budgets", *_matched(measured, readings)]
    parts += ["## Methods", *_methods(measured)]
    parts += ["## Which questions only one method solves", *_exclusive(measured)]
    if inputs.search:
        parts += ["## Search", *_search(measured)]
    parts += ["## Seeds", *_seeds(measured)]
    if figures:
        parts.append("## Figures")
        parts += [f"![{title}](figures/{name})" for title, name in figures.items()]
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table; the columns after the first `left` are numbers."""
    rule = ["---" if place < left else "---:" for place in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def percent(found: Effect | None, sign: bool = False) -> str:
    """A score or a difference with its interval, in percent."""
    if found is None:
        return "–"
    mean = f"{100 * found.mean:+.1f}" if sign else f"{100 * found.mean:.1f}"
    if found.seeds < 2:
        return f"{mean} (one seed)"
    if not found.variance:
        return mean  # an interval of zero width would claim more than is known
    low, high = (100 * end for end in found.interval())
    if sign:
        return f"{mean} [{low:+.1f}, {high:+.1f}]"
    return f"{mean} [{max(0.0, low):.1f}, {min(100.0, high):.1f}]"


def _declaration(measured: Measured) -> Iterator[str]:
    now = measured.declared[-1]
    begun = measured.begun
    before = sum(time < now.time for time in begun)
    declared = f"declared on {now.time:%Y-%m-%d %H:%M} UTC"
    if before == 0:
        yield f"The claims were {declared}, before any method was trained (SHA-256 `{now.fingerprint[:16]}`)."
    else:
        yield (
            f"**The claims were {declared}, after the trainings of {before} of {len(begun)} methods and seeds had "
            f"begun** (SHA-256 `{now.fingerprint[:16]}`). They are not independent of the results."
        )
    for earlier in measured.declared[:-1]:
        when = f"{earlier.time:%Y-%m-%d %H:%M} UTC (`{earlier.fingerprint[:16]}`)"
        if earlier.pipeline != now.pipeline:
            yield f"The same store has claims of {escape(earlier.pipeline)}, declared on {when}."
            continue
        gone = [claim.whole for claim in earlier.claims if claim not in now.claims]
        what = f"; it had: {escape(', '.join(gone))}" if gone else ""
        yield f"The claims replace those of {when}{what}."


def _count(readings: Sequence[Mapping[str, Reading]]) -> str:
    found = [by_budget[""].verdict for by_budget in readings]
    counts = ", ".join(f"{found.count(verdict)} {verdict}" for verdict in VERDICTS)
    return (
        f"{counts}. A difference is that of the models as trained, of the same seeds and questions, with its "
        f"{100 * LEVEL:.0f} % interval over seeds and questions (mixed model). p is Holm-corrected over "
        f"{len(found)} claims; a claim is decided below 0.05."
    )


def _metric(measured: Measured, metric: str) -> str:
    if metric in GROUPS:
        return f"mean {GROUPS[metric]}"
    return next((escape(b.title) for b in measured.inputs.benchmarks if b.name == metric), metric)


def _claims(measured: Measured, readings: Sequence[Mapping[str, Reading]]) -> Iterator[str]:
    rows = []
    for claim, by_budget in zip(measured.inputs.claims, readings, strict=True):
        reading = by_budget[""]
        rows.append(
            [
                claim.text,
                _metric(measured, claim.metric),
                percent(reading.found, sign=True),
                _p(reading),
                f"**{reading.verdict}**",
                _needs(claim, reading),
            ]
        )
    yield table(["claim", "metric", "difference", "p", "verdict", "what would decide it"], rows, left=6)
    yield (
        f'"What would decide it" is the size at which a true difference as large as the claim\'s smallest one of '
        f"interest is found with a probability of {POWER:.0%}."
    )


def _p(reading: Reading) -> str:
    return "–" if reading.found is None else "<0.001" if reading.p_holm < 0.001 else f"{reading.p_holm:.3f}"


def _needs(claim: Claim, reading: Reading) -> str:
    if reading.verdict != "undecided" or reading.found is None:
        return ""
    if reading.found.seeds < 2:
        return "at least a second seed"
    if not reading.found.variance:
        return "nothing tells them apart"
    seeds, factor = reading.needs
    size = f"{100 * claim.effect:g} points"
    if factor is not None and factor <= 1:
        return f"{size} would have been found; less takes more seeds or questions"
    parts = [f"{seeds} seeds"] if seeds is not None else []
    parts += [f"{factor:g} times the questions"] if factor is not None else []
    return f"{' or '.join(parts)} ({size})" if parts else f"no number considered ({size})"


def _matched(measured: Measured, readings: Sequence[Mapping[str, Reading]]) -> Iterator[str]:
    yield (
        "Both methods at the last validation that they reach within what the cheaper of the two spends in all: the "
        "difference in reward on the held-out training questions. Budgets count from the base on, over all stages."
    )
    rows = []
    for claim, by_budget in zip(measured.inputs.claims, readings, strict=True):
        cells = [f"{percent(by_budget[b].found, sign=True)} {_word(by_budget[b])}".strip() for b in MATCHED]
        rows.append([claim.text, *cells])
    yield table(["claim", *(f"equal {BUDGETS[b]}" for b in MATCHED)], rows)


def _word(reading: Reading) -> str:
    return "" if reading.found is None else reading.verdict


def _methods(measured: Measured) -> Iterator[str]:
    groups = [group for group in GROUPS if len(measured.benchmarks(group)) > 1]
    rows = []
    for method in measured.trained:
        scores = [percent(measured.score(method, group)) for group in groups]
        scores += [percent(measured.score(method, b.name)) for b in measured.inputs.benchmarks]
        rows.append([method, str(len(measured.trained[method])), *scores])
    titles = [f"mean {GROUPS[group]}" for group in groups] + [escape(b.title) for b in measured.inputs.benchmarks]
    yield table(["method", "seeds", *titles], rows)
    yield f"What a model took from {measured.inputs.base} on, in the mean over seeds:"
    rows = []
    for method, seeds in measured.trained.items():
        totals = [fmean(float(m.spent[b][-1]) if len(m.spent[b]) else 0.0 for m in seeds.values()) for b in BUDGETS]
        rows.append([method, *(f"{total:,.0f}" for total in totals)])
    yield table(["method", *BUDGETS.values()], rows)


def _exclusive(measured: Measured) -> Iterator[str]:
    yield "Questions that more than half of a method's samples over all seeds solve, and less than half of the other's."
    rows = []
    for claim in dict.fromkeys((c.method, c.than) for c in measured.inputs.claims):
        solved = [_solved(measured, name) for name in claim]
        one, other = solved
        rows.append([f"{claim[0]} and {claim[1]}", str(len(one - other)), str(len(other - one)), str(len(one & other))])
    yield table(["methods", "only the first", "only the second", "both"], rows)


def _solved(measured: Measured, method: str) -> set[tuple[str, int]]:
    """(benchmark, number of the question) of the questions that a method solves."""
    seeds = list(measured.trained.get(method, {}).values())
    found = set()
    for b in measured.inputs.benchmarks if seeds else ():
        correct = np.sum([model.correct[b.name] for model in seeds], axis=0)
        found |= {(b.name, q) for q, count in enumerate(correct) if solves(int(count), b.k * len(seeds))}
    return found


def _search(measured: Measured) -> Iterator[str]:
    search = measured.inputs.search
    counts, seeds = {len(trials) for trials in search.values()}, {t.seed for trials in search.values() for t in trials}
    number = f"{counts.pop()} for each method" if len(counts) == 1 else "**not as many for every method**"
    yield (
        f"Trials with seed {', '.join(map(str, sorted(seeds)))}, {number}, are judged by the reward of their last "
        "validation. The chosen one has the same settings as the method."
    )
    rows, wrong, alone = [], [], []
    for method, trials in search.items():
        rewards = {trial.stage: found.reward for trial in trials if (found := measured.trials.get(trial.stage))}
        for trial in trials:
            settings = ", ".join(f"{name} = {value}" for name, value in trial.settings.items())
            shown = f"{100 * rewards[trial.stage]:.1f}" if trial.stage in rewards else "missing"
            rows.append([method, escape(settings), shown, "chosen" if trial.chosen else ""])
        best = max(rewards.values(), default=None)
        if best is None:
            alone.append(method)
        elif not any(trial.chosen and rewards.get(trial.stage) == best for trial in trials):
            wrong.append(method)
    yield table(["method", "trial", "validation", ""], rows, left=2)
    if wrong:
        yield f"**Not trained with the settings of the best trial: {', '.join(wrong)}.**"
    if alone:
        yield f"**No trial has finished: {', '.join(alone)}.**"


def _seeds(measured: Measured) -> Iterator[str]:
    yield "Every seed of every method in the config."
    seeds = sorted({member.seed for member in measured.inputs.members})
    by_method: dict[str, dict[int, str]] = {}
    for member in measured.inputs.members:
        model = measured.trained.get(member.method, {}).get(member.seed)
        state = "**missing**" if model is None else "done, elsewhere" if model.where else "done"
        by_method.setdefault(member.method, {})[member.seed] = state
    rows = [[method, *(found.get(seed, "") for seed in seeds)] for method, found in by_method.items()]
    yield table(["method", *map(str, seeds)], rows)
    if len(measured.inputs.members) > sum(map(len, measured.trained.values())):
        yield "A missing one failed, or has not ended; `hpt status` says which."
