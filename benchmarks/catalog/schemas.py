"""Schemas of the catalog's tables, one constant each. A field's metadata holds its meaning.

Scores, shares and intervals are fractions of 1. What is not known is null, never NaN.
"""

from typing import Any

import pyarrow as pa

from hpt_core.verifiers.base import Outcome

VERSION = 3
"""Version of these schemas, in the metadata of each file and in each record. Raise it with every change, and add the
step from the version before to `benchmarks.catalog.migrations`."""
VERSION_KEY = b"hpt_catalog_version"
MEANING = b"meaning"
"""Metadata of a field: what it means."""
DESCRIPTION = b"description"
"""Metadata of a schema: its file, and what a row is."""
TRIAL = " ("
"""Follows the name of a pipeline where a trial has changed it. No name contains it."""
Row = dict[str, Any]
"""One row of a table, by column."""

_TEXT = pa.string()
_TEXTS = pa.list_(_TEXT)
_BOOL = pa.bool_()
_I32 = pa.int32()
_I64 = pa.int64()
_F64 = pa.float64()
_TIME = pa.timestamp("us", tz="UTC")


def _column(name: str, kind: pa.DataType, meaning: str, null: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=null, metadata={MEANING: meaning.encode()})


def _key(name: str, kind: pa.DataType, meaning: str) -> pa.Field:
    return _column(name, kind, meaning, null=False)


def _table(description: str, *columns: pa.Field) -> pa.Schema:
    return pa.schema(columns, metadata={VERSION_KEY: str(VERSION).encode(), DESCRIPTION: description.encode()})


_RECORD = _key("record", _TEXT, "Name of the record with this row: `FINGERPRINT-TIME` of an artifact, or a run's id.")
_RUN = _column("run", _TEXT, "Id of the run that made it; null if no run is recorded that did.")
_PIPELINE = _column("pipeline", _TEXT, "Name of that run's pipeline; of a trial, with what it changed.")

RUNS = _table(
    "runs.parquet: one row per run.",
    _RECORD,
    _key("run", _TEXT, "Id of the run, as in `hpt runs`."),
    _key("pipeline", _TEXT, "Name of the pipeline; of a trial, with what it changed: `demo (train.hpt.steps=6)`."),
    _key("config_hash", _TEXT, "SHA-256 of the resolved config, without store, resources and schedule."),
    _key("config", _TEXT, "The resolved config, as JSON. Credentials in addresses are removed."),
    _key("overrides", _TEXTS, "Fields that were overridden on the command line or by the caller, as `A.B=C`."),
    _key("options", _TEXT, "What was asked of the run, as JSON: `only`, `rerun` and so on."),
    _column("commit", _TEXT, "Commit of the code, with `+changes` if files were modified."),
    _key("host", _TEXT, "Name of the machine."),
    _key("start", _TIME, "When it began."),
    _column("end", _TIME, "When it ended; null while it runs, and if it died."),
    _key("outcome", _TEXT, "`running`, `done`, `failed`, `interrupted` or `died`."),
    _column("error", _TEXT, "Why it failed."),
    _key(
        "stages",
        pa.list_(pa.struct([("stage", _TEXT), ("state", _TEXT), ("seconds", _F64), ("text", _TEXT)])),
        "Each stage: `started`, `made`, `reused`, `failed` or `skipped`, its seconds, and why it failed.",
    ),
    _key(
        "artifacts",
        pa.list_(pa.struct([("key", _TEXT), ("kind", _TEXT), ("fingerprint", _TEXT)])),
        "Each artifact that it made, used or began.",
    ),
)

STAGES = _table(
    "stages.parquet: one row per finished artifact, and one per stage that failed or was skipped in a run.",
    _RECORD,
    _RUN,
    _PIPELINE,
    _key("stage", _TEXT, "Key of the stage, such as `train.hpt`."),
    _key("state", _TEXT, "`made`, `failed` or `skipped`."),
    _column("text", _TEXT, "Why it failed or was skipped."),
    _column("artifact", _TEXT, "Key of the artifact, such as `evaluate.hpt/samples/aime24`; null unless made."),
    _column("kind", _TEXT, "Kind of the artifact, as in its folder; from here on null unless made."),
    _column("fingerprint", _TEXT, "Its fingerprint."),
    _column("start", _TIME, "When the last attempt began."),
    _column("end", _TIME, "When it was finished."),
    _column("seconds", _F64, "Wall-clock time of all attempts."),
    _column("device_seconds", _F64, "Seconds of GPUs, or of the machine without any; null if their number is unknown."),
    _column("cpu_seconds", _F64, "CPU time of the workers."),
    _column("peak_memory_bytes", _I64, "Largest resident size of a worker process."),
    _column("attempts", _I32, "Attempts that it took."),
    _column("energy_kwh", _F64, "Energy of the GPUs; null if not measured."),
    _column("money", _F64, "Cost in the currency of the configured prices; null without prices."),
    _column("tokens", _I64, "Tokens that were generated; null for stages that generate none."),
    _column("trained_tokens", _I64, "Tokens that were trained on; null for stages that train nothing."),
    _column("bytes", _I64, "Size of its files."),
    _column("processor", _TEXT, "The machine's processor."),
    _column("gpus", _TEXTS, "Names of the machine's GPUs."),
    _column("commit", _TEXT, "Commit of the code that made it."),
    _column("packages", _TEXT, "Versions of the packages that affect results, as JSON."),
    _column("versions", _TEXT, "Components and code that decide the result, as JSON."),
    _column("config", _TEXT, "The stage's resolved config, as JSON."),
    _column("inputs", pa.list_(pa.struct([("role", _TEXT), ("hash", _TEXT)])), "What it was made from."),
    _column("outputs", pa.list_(pa.struct([("name", _TEXT), ("hash", _TEXT)])), "What later stages take of it."),
)

MODELS = _table(
    "models.parquet: one row per model that a stage made.",
    _RECORD,
    _RUN,
    _PIPELINE,
    _key("model", _TEXT, "Content hash of the model; the scores name it."),
    _key("stage", _TEXT, "Key of the stage that made it, such as `train.hpt`."),
    _key("label", _TEXT, "Name of the stage, such as `hpt`."),
    _key("kind", _TEXT, "Kind of the stage: `model`, `train`, `average`."),
    _column("algorithm", _TEXT, "Algorithm that trained it; null if none did."),
    _key("parents", _TEXTS, "Content hashes of the models that it was made from; empty for a base model."),
    _key("data", _TEXTS, "Content hashes of the training data of its own stage."),
    _column("base", _TEXT, "Content hash of the base model of its line."),
    _column("family", _TEXT, "Architecture of that base model."),
    _column("parameters", _I64, "Parameters of that base model."),
    _column("origin", _TEXT, "Where that base model comes from, as JSON; null if from this machine."),
    _column("seed", _I64, "Seed of its training; null if none."),
    _key("method", _TEXT, "The label without the seed of a sweep: what models that differ only in their seed share."),
    _column("swept", _TEXT, "What the sweeps of the config set for it, as JSON; null without sweeps."),
    _key("end", _TIME, "When it was finished."),
)

PROTOCOLS = _table(
    "protocols.parquet: one row per way in which a benchmark was measured.",
    _RECORD,
    _key("protocol", _TEXT, "Hash of how a number was measured; numbers are comparable if it is equal."),
    _key("benchmark", _TEXT, "Name of the benchmark."),
    _column("name", _TEXT, "Name of the protocol in the config; null if no run is recorded."),
    _key("k", _I32, "Samples per question."),
    _key("rows", _I32, "Questions of the whole benchmark."),
    _key("asked", _I32, "Questions that were asked."),
    _key("prompt", _TEXT, "The prompt component, as JSON."),
    _column("instruction", _TEXT, "The benchmark's own instruction; null without one."),
    _column("prompt_hash", _TEXT, "SHA-256 of the first question as the model saw it; null if not recorded."),
    _column("temperature", _F64, "Softmax temperature."),
    _column("top_p", _F64, "Nucleus mass."),
    _column("max_tokens", _I32, "Maximum of new tokens."),
    _column("max_total_tokens", _I32, "Maximum of tokens of prompt and response together; null without a limit."),
    _key("sampling", _TEXT, "All sampling options, as JSON."),
    _key("from_model", _BOOL, "Whether options of the model's generation_config.json were used."),
    _key("engine", _TEXT, "The engine's config as JSON, without settings that cannot change a sample."),
    _key("engine_version", _TEXT, "Name and version of the engine."),
    _key("dtype", _TEXT, "Compute precision of the engine."),
    _key("seed", _I64, "Seed of the samples."),
    _key("seeds", _TEXT, "How the samples' seeds follow: `derived`, or `counted`."),
    _key("grader_version", _TEXT, "Name and version of the verifier."),
    _key("grade_timeout_s", _F64, "Time limit of one comparison, in seconds."),
    _key("benchmark_hash", _TEXT, "Content hash of the questions that were asked."),
)

SCORES = _table(
    "scores.parquet: one row per model and benchmark, each time it was graded.",
    _RECORD,
    _RUN,
    _PIPELINE,
    _key("model", _TEXT, "Content hash of the model."),
    _key("stage", _TEXT, "Key of the evaluation's stage: `evaluate.NAME`."),
    _key("label", _TEXT, "Name of the model's stage, such as `hpt`."),
    _key("benchmark", _TEXT, "Name of the benchmark."),
    _key("title", _TEXT, "Display name of the benchmark."),
    _column(
        "group",
        _TEXT,
        "`in` or `out` of the training data's distribution, or `other`; null if the benchmark is not installed.",
    ),
    _key("protocol", _TEXT, "How it was measured; see PROTOCOLS."),
    _key(
        "evaluation",
        _TEXT,
        "Hash of what one evaluation sets for all of its benchmarks: protocol, overrides, engine, precision, seed. "
        "Averages are taken within one.",
    ),
    _key("suites", _TEXTS, "The benchmarks of the run's evaluation, in its order; only this one without a record."),
    _key("rows", _I32, "Questions of the whole benchmark."),
    _key("questions", _I32, "Questions that were asked."),
    _key("complete", _BOOL, "Whether all questions of the benchmark were asked."),
    _key("k", _I32, "Samples per question."),
    _key("samples", _I64, "Samples."),
    _key("avg_at_k", _F64, "Mean over questions of the share of correct samples."),
    _key("interval_low", _F64, "Lower end of its 95 % interval."),
    _key("interval_high", _F64, "Its upper end."),
    _column("standard_error", _F64, "Its standard error, clustered by question; null with one question."),
    _key("solved", _I32, "Questions of which more than half of the samples are correct."),
    _key("truncated_share", _F64, "Share of samples cut at their limit."),
    _key("mean_tokens", _F64, "Generated tokens per sample."),
    _key("correct", pa.list_(_I32), "Correct samples of each question, in the order of the question ids."),
    _column(
        "lengths",
        pa.list_(_I32),
        "Samples by length: the first number counts those of at most 1 token, each next one those of up to twice as "
        "many. Null in records of earlier releases whose samples are gone.",
    ),
    _column(
        "outcomes",
        pa.struct([(str(outcome), _I64) for outcome in Outcome]),
        "Samples of each outcome. Null in records of earlier releases whose samples are gone.",
    ),
    _key("end", _TIME, "When the verdicts were finished."),
    _key("latest", _BOOL, "Whether no later row has the same model, benchmark and protocol."),
)

OVERLAPS = _table(
    "overlaps.parquet: one row per training data and benchmark whose overlap was measured.",
    _RECORD,
    _RUN,
    _PIPELINE,
    _key("data", _TEXT, "Content hash of the prepared training data; MODELS names it."),
    _key("benchmark", _TEXT, "Name of the benchmark."),
    _key("benchmark_hash", _TEXT, "Content hash of the questions that were asked; see PROTOCOLS."),
    _key("ngram", _I32, "Words per n-gram."),
    _key(
        "overlaps",
        pa.list_(_F64),
        "Share of each question's n-grams that training questions contain, or demonstrations if those contain more, "
        "in the order of the question ids.",
    ),
    _key("end", _TIME, "When it was measured."),
)

QUESTION_SCORES = _table(
    "question_scores/: one row per question, model and benchmark; `benchmark` and `model` are in the folders' names.",
    _key("record", _TEXT, "The record of the score; joins SCORES."),
    _key("protocol", _TEXT, "How it was measured; see PROTOCOLS."),
    _key("question_id", _TEXT, "Id of the question."),
    _key("correct", _I32, "Correct samples. The question is solved if they are more than half of k."),
    _key("k", _I32, "Samples."),
    _key("tokens", _I64, "Generated tokens of all of them."),
    _key("truncated", _I32, "Samples cut at their limit."),
)

QUESTIONS = _table(
    "questions.parquet: one row per question that was asked; the site writes it beside SCORES, which holds no ids.",
    _key("benchmark", _TEXT, "Name of the benchmark."),
    _key("benchmark_hash", _TEXT, "The questions that were asked together; joins PROTOCOLS."),
    _key("place", _I32, "Place of the question in `correct` of SCORES, from 0."),
    _key("question_id", _TEXT, "Id of the question."),
)

TABLES = {
    "runs": RUNS,
    "stages": STAGES,
    "models": MODELS,
    "protocols": PROTOCOLS,
    "scores": SCORES,
    "overlaps": OVERLAPS,
}
"""Tables of one file each, by name."""
