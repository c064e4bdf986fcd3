"""How much a demonstration's token weighs against a rollout's, in each form of HPT's loss, by gate share.

Nothing is measured: the weights follow from the counts of an update.
"""

from bench import machine, options, records
from bench.records import Record
from hpt_core.algorithms.hpt import AGGREGATIONS, HPT
from hpt_core.upge.base import Group
from hpt_core.upge.estimator import Estimator

QUESTIONS = 64
"""Questions of an update."""
ROLLOUTS = 8
ROLLOUT_TOKENS = 2000
DEMONSTRATION_TOKENS = 4000
MAX_LENGTH = 8192
GATED = (1, 4, 8, 16, 32, 48, 60)
"""Questions that learn from their demonstration."""
OUT = records.latest("balance")


def main(out: options.Out = OUT) -> None:
    """Compute the weight of a demonstration's token relative to a rollout's (1 second)."""
    rows = [{"gated": gated, **{form: relative(form, gated) for form in AGGREGATIONS}} for gated in GATED]
    settings = {
        "questions": QUESTIONS,
        "rollouts": ROLLOUTS,
        "rollout_tokens": ROLLOUT_TOKENS,
        "demonstration_tokens": DEMONSTRATION_TOKENS,
        "max_length": MAX_LENGTH,
    }
    summary = {form: [row[form] for row in rows] for form in AGGREGATIONS}
    source = "Computed from the counts; no measurement."
    records.finish(out, Record("balance", machine.describe(1), settings, summary, rows, source), table)


def relative(form: str, gated: int) -> float:
    """Weight of an SFT token over that of an RL token in an update with so many gated questions, with c = 1."""
    estimator = Estimator(HPT.model_validate({"normalization": form}), max_length=MAX_LENGTH)
    lengths = (ROLLOUT_TOKENS,) * ROLLOUTS
    failed = [Group(f"f{i}", (0.0,) * ROLLOUTS, lengths, DEMONSTRATION_TOKENS) for i in range(gated)]
    some = (1.0, *(0.0,) * (ROLLOUTS - 1))
    solved = [Group(f"s{i}", some, lengths, DEMONSTRATION_TOKENS) for i in range(QUESTIONS - gated)]
    update = estimator.update([row for group in (*failed, *solved) for row in estimator.rows(group)])
    return update.token_weight("sft") / update.token_weight("rl")


def table(record: Record) -> str:
    """One line per share of gated questions."""
    forms = tuple(AGGREGATIONS)
    rows = [
        (f"{row['gated']} of {record.settings['questions']}", *(f"{row[form]:.3g}" for form in forms))
        for row in record.rows
    ]
    return records.markdown(("questions on their demonstration", *(f"`{form}`" for form in forms)), rows)
