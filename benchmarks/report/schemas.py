"""Schemas of the report's tables, one constant each. docs/reference/schemas.md explains them.

Shares, scores and intervals are fractions of 1; the leaderboard shows percent.
"""

import json
from typing import Any

import pyarrow as pa

from hpt_core import schemas
from hpt_core.rollout.base import Sampling

Row = dict[str, Any]
"""One row of a table, by column."""

_TEXT = pa.string()
_I32 = pa.int32()
_I64 = pa.int64()
_F64 = pa.float64()


def _required(*fields: tuple[str, pa.DataType]) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=False) for name, kind in fields]


def _optional(*fields: tuple[str, pa.DataType]) -> list[pa.Field]:
    return [pa.field(name, kind) for name, kind in fields]


SCORES = pa.schema(
    [
        *_required(
            ("kind", _TEXT),  # "benchmark", or "average" over a group's benchmarks
            ("source", _TEXT),  # "measured" by this pipeline or "published" elsewhere
            ("source_note", _TEXT),  # the pipeline's name, or where the number is printed
            ("row", _I32),  # place of the model in the leaderboard, from 0
            ("column", _I32),  # place of the benchmark or average in the leaderboard, from 0
            ("model", _TEXT),  # key of the stage, such as "train.hpt", or "published.LABEL"
            ("label", _TEXT),  # what tables show
            ("benchmark", _TEXT),  # name of the benchmark, or the group of an average
            ("title", _TEXT),  # what tables show
            ("group", _TEXT),  # "in" or "out" of the training data's distribution, or "other"
            ("deviations", pa.list_(_TEXT)),  # of the settings from the chosen protocol; empty if there are none
            ("differences", pa.list_(_TEXT)),  # of the protocol from that of most models in this column
            ("warnings", pa.list_(_TEXT)),  # of responses that are all alike; empty if there are none
            ("published_differences", pa.list_(_TEXT)),  # of the protocol from the column's published numbers'
        ),
        *_optional(
            ("algorithm", _TEXT),  # that trained the model; null for a starting model
            ("questions", _I32),  # answered; for an average, in all its benchmarks
            ("samples", _I64),
            ("k", _I32),  # samples per question; null in averages unless all members agree
            ("avg_at_k", _F64),  # mean over questions of the share of correct samples; what the leaderboard shows
            ("best", pa.bool_()),  # highest of its column, or not distinguishable from that; null if published
            ("pass_at_1", _F64),  # unbiased; equals avg_at_k, because every question has exactly k samples
            ("pass_at_k", _F64),  # unbiased estimate
            ("pass_curve", pa.list_(pa.struct([("k", _I32), ("value", _F64)]))),  # unbiased pass@j, j = 1 to k
            ("maj_at_k", _F64),  # share of questions whose most frequent answer is correct
            ("g_pass_curve", pa.list_(pa.struct([("share", _F64), ("value", _F64)]))),  # G-pass@k by share of correct
            ("mg_pass_at_k", _F64),  # twice the integral of G-pass@k over shares from 1/2 to 1
            ("standard_error", _F64),  # of avg_at_k, clustered by question; null with one question
            ("standard_error_questions", _F64),  # its part from the choice of questions; null if k is 1
            ("standard_error_samples", _F64),  # its part from the randomness of sampling; estimated separately
            ("interval_low", _F64),  # 95 % interval of avg_at_k
            ("interval_high", _F64),
            ("bootstrap_low", _F64),  # the same interval by a percentile bootstrap over questions, as a check
            ("bootstrap_high", _F64),
            ("overlapping_questions", _I32),  # with training questions or demonstrations; null if unchecked
            ("overlapping_in_demonstrations", _I32),  # of them, those with demonstrations
            ("overlap_share", _F64),  # minimum share of a question's n-grams in the data for it to overlap
            ("overlap_ngram", _I32),  # words of an n-gram
            ("avg_at_k_clean", _F64),  # avg_at_k without overlapping_questions; null if unknown
            ("clean_low", _F64),  # 95 % interval of avg_at_k_clean
            ("clean_high", _F64),
            ("truncated_share", _F64),  # samples cut at max_tokens; for an average, the largest of its benchmarks
            ("repetition_share", _F64),  # samples stopped for repetition
            ("no_answer_share", _F64),  # samples without an answer
            ("timeout_share", _F64),  # samples whose comparison exceeded its time limit
            ("crash_share", _F64),  # samples whose comparison ended its process or ran out of memory
            ("gold_error_share", _F64),  # samples whose gold answer cannot be read, a data error
            ("mean_tokens", _F64),  # generated tokens per sample
            (
                "other_scores",  # avg_at_k by each further grader, then by any of all graders; null without
                pa.list_(pa.struct([("grader", _TEXT), ("avg_at_k", _F64), ("low", _F64), ("high", _F64)])),
            ),
            ("protocol", _TEXT),  # name of the protocol; from here on, null in averages whose members differ
            ("data", _TEXT),  # the data set of the questions; null if it has no name
            ("prompt", _TEXT),  # the prompt component
            ("prompt_hash", _TEXT),  # of the first question's rendered prompt; null if not recorded
            ("temperature", _F64),
            ("top_p", _F64),
            ("max_tokens", _I32),  # maximum new tokens
            ("max_total_tokens", _I32),  # maximum tokens of prompt and response together; null without a limit
            ("stop_repetition", _TEXT),  # the rule for stopping repetition, as JSON; null without one
            ("sampling_options", _TEXT),  # all other sampling options that have an effect, as JSON; null without any
            ("from_model", pa.bool_()),  # whether options of the model's generation_config.json count
            ("engine_version", _TEXT),
            ("engine", _TEXT),  # the engine's config as JSON, without settings that cannot change a sample
            ("dtype", _TEXT),  # the engine's compute precision
            ("model_hash", _TEXT),
            ("benchmark_hash", _TEXT),
            ("grader_version", _TEXT),
            ("grade_timeout_s", _F64),  # time limit of one comparison, in seconds
            ("seed", _I64),
            ("seeds", _TEXT),  # "derived" from the seed, or "counted": seed + i for sample i
            ("limit", _I32),  # maximum questions; null if the whole benchmark was asked
        ),
    ]
)
"""Scores: one row per model and benchmark, and one per model and group average."""

COMPARISONS = pa.schema(
    [
        *_required(
            ("kind", _TEXT),  # "benchmark" or "average"
            ("row", _I32),  # place of the model in the leaderboard
            ("column", _I32),  # place of the benchmark or average in the leaderboard
            ("model", _TEXT),
            ("label", _TEXT),
            ("baseline", _TEXT),  # the model that is subtracted
            ("baseline_label", _TEXT),
            ("benchmark", _TEXT),  # name of the benchmark, or the group of an average
            ("title", _TEXT),
            ("questions", _I32),  # that both answered
            ("better", _I32),  # questions on which the model's mean is higher
            ("worse", _I32),  # questions on which it is lower
            ("difference", _F64),  # model minus baseline in avg_at_k
            ("interval_low", _F64),  # 95 % interval of the difference, bootstrap over questions
            ("interval_high", _F64),
            ("p_value", _F64),  # two-sided sign-flip test on per-question means
            ("p_holm", _F64),  # Holm-corrected within the rows of the same kind
            ("protocol_differences", pa.list_(_TEXT)),  # protocol fields that differ; empty if comparable
        ),
        *_optional(("overlapping_questions", _I32)),  # with either's training data; null if neither was checked
    ]
)
"""Paired comparisons with the baseline: one row per model and benchmark, and one per model and group average."""

EXCLUSIVE = pa.schema(
    [
        *_required(
            ("column", _I32),  # place of the benchmark in the leaderboard
            ("benchmark", _TEXT),
            ("title", _TEXT),
            ("row", _I32),  # place of the model in the leaderboard
            ("model", _TEXT),
            ("label", _TEXT),
            ("other_row", _I32),
            ("other", _TEXT),
            ("other_label", _TEXT),
            ("difficulty_by", _TEXT),  # "level", "other models" or "none"
            ("difficulty", _TEXT),  # "level 3"; "easy", "medium", "hard"; "all"
            ("place", _I32),  # of the difficulty, from easy to hard, from 0
            ("questions", _I32),  # of this difficulty that both answered
            ("solved", _I32),  # by the model: more than half of its samples are correct
            ("exclusive", _I32),  # solved by the model and not by the other
            ("question_ids", pa.list_(_TEXT)),  # of these
            ("protocol_differences", pa.list_(_TEXT)),  # protocol fields that differ; empty if comparable
        ),
        *_optional(("overlapping_questions", _I32)),  # with either's training data; null if neither was checked
    ]
)
"""Questions that one model solves and another does not: one row per benchmark, ordered model pair and difficulty."""

CONTAMINATION = pa.schema(
    [
        *_required(("data", _TEXT), ("benchmark", _TEXT)),  # "data.NAME"
        *schemas.CONTAMINATION,
    ]
)
"""Overlap of training data with benchmarks: one row per data set and benchmark question."""

SAMPLES = pa.schema(
    [
        pa.field("model", _TEXT, nullable=False),
        *schemas.SAMPLES,
        pa.field("outcome", _TEXT, nullable=False),
        pa.field("extracted", _TEXT),
    ]
)
"""Samples with their verdicts: one row per sample, by model, benchmark, question and sample index."""

TRAINING_LOG = pa.schema([*_required(("stage", _TEXT), ("label", _TEXT), ("algorithm", _TEXT)), *schemas.TRAIN_LOG])
"""Training logs of all stages: one row per stage and step."""


def sampling_columns(sampling: Sampling) -> Row:
    """The columns of SCORES for sampling options. Those without a column of their own share `sampling_options`."""
    rule = sampling.stop_repetition
    own = {"temperature": sampling.temperature, "top_p": sampling.top_p, "max_tokens": sampling.max_tokens}
    others = {name: value for name, value in sampling.options.items() if name not in (*own, "stop_repetition")}
    return {
        **own,
        "stop_repetition": None if rule is None else json.dumps(rule.model_dump(mode="json")),
        "sampling_options": json.dumps(others, ensure_ascii=False) if others else None,
    }
