"""Parquet schemas of everything that passes between stages, one constant each.

docs/reference/schemas.md explains the columns.
"""

import pyarrow as pa

_TEXT = pa.string()
_I32 = pa.int32()
_I64 = pa.int64()
_F64 = pa.float64()


def _required(*fields: tuple[str, pa.DataType]) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=False) for name, kind in fields]


PREPARED = pa.schema(
    [
        *_required(
            ("question_id", _TEXT),  # stable: the source's own id or a hash of the normalized question
            ("question", _TEXT),
            ("gold", _TEXT),
            ("kind", _TEXT),  # name of the verifier, such as "math"
            ("family", _TEXT),  # problem family or ability; "" if the source has none
            ("prompt_tokens", _I32),
        ),
        pa.field("demonstration", _TEXT),  # worked solution without EOS; null without one
        pa.field("demonstration_tokens", _I32),  # with EOS
        pa.field("demonstration_verdict", _TEXT),  # outcome of verifying the demonstration; null if unchecked
    ]
)
"""Training questions: one row per question."""

QUESTIONS = pa.schema(
    _required(
        ("question_id", _TEXT),
        ("question", _TEXT),
        ("gold", _TEXT),
        ("kind", _TEXT),
        ("family", _TEXT),  # subject, level or problem family; "" if unknown
    )
)
"""Benchmark questions: one row per question, in the benchmark's order."""

ROLLOUTS = pa.schema(
    [
        *_required(
            ("step", _I32),
            ("question_id", _TEXT),
            ("sample_index", _I32),
            ("response", _TEXT),
            ("token_ids", pa.list_(_I32)),
            ("rollout_logprobs", pa.list_(pa.float32())),
            ("finish_reason", _TEXT),  # "stop", "length" or "repetition"
            ("outcome", _TEXT),  # a verdict's outcome
            ("reward", _F64),
            ("success_rate", _F64),  # of the question's group
            ("signals", pa.list_(_TEXT)),  # what the gate chose for the question
        ),
        pa.field("extracted", _TEXT),
    ]
)
"""Training rollouts with their verdicts: one row a rollout, one file a step."""

SAMPLES = pa.schema(
    _required(
        ("benchmark", _TEXT),
        ("question_id", _TEXT),
        ("sample_index", _I32),
        ("seed", _I64),
        ("response", _TEXT),
        ("tokens", _I32),  # generated tokens
        ("prompt_tokens", _I32),
        ("finish_reason", _TEXT),  # "stop", "length" or "repetition"
    )
)
"""Evaluation samples: one row a sample, ordered by question then sample_index."""

VERDICTS = pa.schema(
    [
        *_required(
            ("benchmark", _TEXT),
            ("question_id", _TEXT),
            ("sample_index", _I32),
            ("outcome", _TEXT),  # correct, incorrect, no_answer, timeout, crash, gold_error
        ),
        pa.field("extracted", _TEXT),  # null if no answer was found
    ]
)
"""Verdicts on evaluation samples: one row a sample, in the samples' order."""

TRAIN_LOG = pa.schema(
    _required(
        ("step", _I32),
        ("reward", _F64),  # mean over the step's rollouts; NaN without rollouts
        ("success_rate", _F64),  # share of the step's rollouts that are correct; NaN without rollouts
        ("demonstration_share", _F64),  # share of questions gated to their demonstration
        ("entropy", _F64),  # mean over trained tokens, nats
        ("response_tokens", _F64),  # mean over the step's rollouts
        ("truncated_share", _F64),
        ("surrogate", _F64),  # surrogate loss, mean over updates; its gradient is meaningful, its value is not
        ("demonstration_nll", _F64),  # mean of -log pi over the step's demonstration tokens, nats; NaN without any
        (
            "signals",  # each signal: its part of the surrogate, its tokens, and those whose mask is not 1
            pa.list_(pa.struct([("signal", _TEXT), ("surrogate", _F64), ("tokens", _I64), ("clipped", _I64)])),
        ),
        ("gradient_norm", _F64),  # before clipping, mean over the step's updates
        ("clipped_share", _F64),  # tokens that the stabilization mask stops
        ("mismatch_kl", _F64),  # engine against trainer, mean over compared tokens
        ("validation_reward", _F64),  # mean over the held-out questions; NaN at steps without validation
        ("validation_rewards", pa.list_(_F64)),  # of each held-out question; empty without validation
        ("learning_rate", _F64),
        ("updates", _I32),
        ("skipped_updates", _I32),  # over the spike limit
        ("rollout_rows", _I32),  # rollouts trained on
        ("demonstration_rows", _I32),  # demonstrations trained on
        ("generated_tokens", _I64),
        ("trained_tokens", _I64),  # of rollouts and demonstrations
        ("demonstration_tokens", _I64),  # the part of demonstrations
        ("device_seconds", _F64),  # of the whole step without validation, times the processes
        ("seconds_rollout", _F64),
        ("seconds_verify", _F64),
        ("seconds_update", _F64),
        ("seconds_sync", _F64),
        ("tokens_per_second", _F64),  # generated and trained tokens of the step over its seconds
        ("peak_memory_gib", _F64),
    )
)
"""Training log: one row a step."""

CONTAMINATION = pa.schema(
    [
        *_required(
            ("question_id", _TEXT),
            ("ngrams", _I32),  # distinct n-grams of the question's words; 0 if it is compared only as a whole
            ("question_overlap", _F64),  # share of them that occur in training questions; 1 if one is identical
            ("demonstration_overlap", _F64),  # the same in demonstrations
        ),
        pa.field("question_match", _TEXT),  # training question that has most of them; null if none has any
        pa.field("demonstration_match", _TEXT),  # training question whose demonstration does
    ]
)
"""Overlap of one benchmark with one set of training data: one row a question, in the benchmark's order."""
