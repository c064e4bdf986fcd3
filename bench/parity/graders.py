"""Our verdicts against those of lm-evaluation-harness and lighteval on the same responses.

The responses are a model's samples on the eight real benchmarks, and texts made from gold answers
(bench/parity/responses.py). Each package's scorers run in its own environment. If a scorer disagrees with us, the cause
is found with a second verdict: the scorer also grades the answer that we extracted, restated in the form that it
expects. If it now agrees, it had read another part of the response. If not, it compares answers differently.

The record holds counts. Every disagreement is written to a file in `--folder`, which holds benchmark rows and is never
committed.
"""

import collections
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import pyarrow.parquet as pq
import typer

from bench import machine, options, records
from bench._peers import work
from bench._peers.environments import LIGHTEVAL, LM_EVAL, PEERS, make, variables, version
from bench.parity import responses
from bench.records import Record
from benchmarks.suite import Question
from hpt_core.evaluation.shards import read_samples
from hpt_core.files import write_json
from hpt_core.verifiers.base import Outcome
from hpt_core.verifiers.pool import Item, VerifierPool

SCORERS = {
    LM_EVAL.name: "bench._peers.adapters.grade_lm_eval",
    LIGHTEVAL.name: "bench._peers.adapters.grade_lighteval",
}
END = 400
"""Characters from the end of a response that are kept with a disagreement."""
CAUSES = ("unboxed", "reading", "comparison")
"""Why a scorer disagrees: it extracts an answer outside a box; it reads another part of the response, or none; it
judges the same answer differently."""
Row = dict[str, Any]


OUT = records.latest("graders")
FOLDER = records.LATEST / "graders"


def main(
    data: options.Data,
    model: options.Model = options.MODEL,
    questions: Annotated[int, typer.Option(help="questions of each benchmark that the model answers; 0: none")] = 15,
    boxed: Annotated[int, typer.Option(help="gold answers of each benchmark to put in a box")] = 700,
    forms: Annotated[int, typer.Option(help="gold answers of each benchmark to put in every other form")] = 30,
    rewritten: Annotated[int, typer.Option(help="gold answers of each benchmark to write in other notations")] = 700,
    max_tokens: int = 512,
    temperature: float = 0.6,
    top_p: float = 0.95,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    threads: options.Threads = options.THREADS,
    lm_eval_python: options.LmEvalPython = None,
    lighteval_python: options.LightevalPython = None,
    folder: Annotated[Path, typer.Option(help="folder for the responses and every disagreement")] = FOLDER,
    out: options.Out = OUT,
) -> None:
    """Compare our verdicts with those of other graders (20 minutes; needs their environments)."""
    rows = made(data, boxed, forms, rewritten)
    if questions:
        options.require_model(model)
        decoding = work.Decoding(max_tokens, temperature, top_p)
        rows = [*sampled(data, questions, model, decoding, dtype, threads, folder), *rows]
    grade(rows, threads)
    work.write_rows(folder / "rows.jsonl", rows)
    given = {LM_EVAL.name: lm_eval_python, LIGHTEVAL.name: lighteval_python}
    pythons = {name: python or make(PEERS[name]) for name, python in given.items()}
    with ThreadPoolExecutor(len(SCORERS)) as pool:
        judged = [pool.submit(judge, name, pythons[name], folder) for name in SCORERS]
        for name, verdicts in zip(SCORERS, judged, strict=True):
            found_by_id = verdicts.result()
            for row in rows:
                theirs = {f"{name}: {scorer}": verdict for scorer, verdict in found_by_id[row["id"]].items()}
                row.setdefault("graders", {}).update(theirs)
    found = [entry for row in rows for entry in compare(row)]
    disagreements = folder / "disagreements.json"
    write_json(disagreements, [entry for entry in found if entry["cause"]])
    versions = {name: version(python, PEERS[name]) for name, python in pythons.items()}
    facts = {
        "model": model.name if questions else None,
        "questions": questions,
        "boxed": boxed,
        "forms": forms,
        "rewritten": rewritten,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "dtype": dtype,
        "peers": versions,
    }
    counts = count(found, "form") + count([one for one in found if one["form"] == "sampled"], "benchmark")
    record = Record("graders", machine.describe(threads), facts, {"scorers": count(found)}, counts)
    records.finish(out, record, table)
    print(f"every disagreement: {disagreements}")


def sampled(
    data: Path, limit: int, model: Path, decoding: work.Decoding, dtype: str, threads: int, folder: Path
) -> list[Row]:
    """Sample the model and grade with our workers. Samples of an earlier run in `folder` are reused."""
    questions = work.load(data, limit)
    work.write_questions(folder / "questions", questions)
    spec = work.sample_spec(folder / "questions", folder / "ours", model, {"name": "vllm"}, decoding, dtype)
    _worker("hpt_core.evaluation.sample", spec, folder / "sample.json")
    _worker(
        "hpt_core.evaluation.grade",
        work.grade_spec(folder / "questions", folder / "ours", threads),
        folder / "grade.json",
    )
    rows = []
    for name, ones in questions.items():
        texts = read_samples(folder / "ours" / name / "samples").column("response").to_pylist()
        outcomes = pq.read_table(folder / "ours" / name / "verdicts.parquet").column("outcome").to_pylist()
        for one, response, outcome in zip(ones, texts, outcomes, strict=True):
            rows.append({**_row("sampled", name, one, response), "stored": outcome})
    return rows


def made(data: Path, boxed: int, forms: int, rewritten: int) -> list[Row]:
    """Responses made from gold answers: in a box, in every other form of response, and in other notations."""
    rows: dict[str, Row] = {}
    for limit, make_responses, only in (
        (boxed, responses.responses, "boxed"),
        (forms, responses.responses, ""),
        (rewritten, responses.rewritten, ""),
    ):
        for name, ones in (work.load(data, limit) if limit else {}).items():
            for one in make_responses(ones):
                if not only or one.form == only:
                    row = _row(one.form, name, one.question, one.response)
                    rows.setdefault(row["id"], row)
    return list(rows.values())


def _row(form: str, benchmark: str, one: Question, response: str) -> Row:
    return {
        "id": f"{form}/{benchmark}/{one.question_id}",
        "form": form,
        "benchmark": benchmark,
        "kind": one.kind,
        "question": one.question,
        "gold": work.bare(one.gold),
        "options": work.options(one.question) if one.kind == "choice" else [],
        "response": response,
    }


def grade(rows: list[Row], workers: int) -> None:
    """Add our verdict to every row. Exits if it differs from the stored verdict of the row."""
    with VerifierPool(workers, 5.0) as pool:
        verdicts = pool.verify([Item(row["kind"], row["gold"], row["response"], row["question"]) for row in rows])
    for row, verdict in zip(rows, verdicts, strict=True):
        row |= {"outcome": verdict.outcome.value, "extracted": verdict.extracted}
        if row.get("stored", row["outcome"]) != row["outcome"]:
            sys.exit(f"{row['id']}: {row['stored']} in the store, {row['outcome']} now")


def judge(name: str, interpreter: Path, folder: Path) -> dict[str, Row]:
    """The peer's verdicts by row id. Exits if its scorers fail."""
    output, log = folder / f"{name}.jsonl", folder / f"{name}.log"
    command = [str(interpreter), "-m", SCORERS[name], str(folder / "rows.jsonl"), str(output)]
    with log.open("wb") as stream:
        environment = {**variables(), "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, check=False, stdout=stream, stderr=subprocess.STDOUT, env=environment)
    if ended.returncode:
        sys.exit(f"{name}'s scorers failed; {log}")
    return {one["id"]: one["graders"] for one in work.read_rows(output)}


def compare(row: Row) -> list[Row]:
    """One entry per scorer. The cause is "" if it agrees with us."""
    ours = row["outcome"] == Outcome.CORRECT
    entries = []
    for name, verdict in row["graders"].items():
        entry = {key: row[key] for key in ("id", "form", "benchmark", "gold", "outcome", "extracted")}
        entry |= {"end": row["response"][-END:], "scorer": name, "theirs": verdict, "correct": ours, "cause": ""}
        if verdict.get("restated", ours) != ours:
            entry["cause"] = "comparison"
        elif verdict["correct"] != ours:
            entry["cause"] = "reading" if "restated" in verdict else "unboxed"
        entries.append(entry)
    return entries


def count(entries: list[Row], by: str = "") -> list[Row]:
    """Count by scorer, and by the field `by` if given: responses, responses that we and they judge correct, and
    disagreements by cause."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for entry in entries:
        groups.setdefault((entry[by] if by else "", entry["scorer"]), []).append(entry)
    found = []
    for (label, scorer), group in groups.items():
        causes = collections.Counter(entry["cause"] for entry in group)
        row = {
            "scorer": scorer,
            "responses": len(group),
            "ours": sum(entry["correct"] for entry in group),
            "theirs": sum(entry["theirs"]["correct"] for entry in group),
            **{cause: causes[cause] for cause in CAUSES},
        }
        found.append({by: label, **row} if by else row)
    return found


def _worker(module: str, spec: Row, path: Path) -> None:
    write_json(path, spec)
    command = [sys.executable, "-m", module, str(path)]
    with path.with_suffix(".log").open("wb") as log:
        ended = subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT, cwd=machine.ROOT)
    if ended.returncode:
        sys.exit(f"{module} failed; {path.with_suffix('.log')}")


def table(record: Record) -> str:
    """Disagreements by scorer and cause. The record's rows also have them by form of response."""
    numbers = ("responses", "ours", "theirs", *CAUSES)
    rows = [(one["scorer"], *(f"{one[key]:,}" for key in numbers)) for one in record.summary["scorers"]]
    return records.markdown(("scorer", "responses", "correct by ours", "correct by theirs", *CAUSES), rows)
