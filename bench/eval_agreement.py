"""Our verdicts against those of lm-evaluation-harness and lighteval on the same responses, with every disagreement.

    python bench/eval_agreement.py --data DATA --model models/smollm2-135m [--questions 15] [--synthetic 30]

Responses are a model's own to the eight real benchmarks, and others made from gold answers (eval_synthetic.py). Each
peer's scorers run in its own environment. A scorer also judges the answer that we read, restated in the form that it
asks for: where the two then agree, they had read another part of the response; where not, they compare differently.
The table counts; every disagreement goes to a JSON file, which holds benchmark rows and stays on the machine.
"""

import argparse
import collections
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import eval_env
import eval_rewritten
import eval_synthetic
import eval_work
import machine
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.suite import Question
from hpt_core.evaluation.shards import read_samples
from hpt_core.files import write_json
from hpt_core.verifiers.base import Outcome
from hpt_core.verifiers.pool import VerifierPool

SCRIPTS = {eval_env.LM_EVAL: "eval_grade_lm_eval.py", eval_env.LIGHTEVAL: "eval_grade_lighteval.py"}
END = 400
"""Characters of a response's end that the JSON file shows."""
CAUSES = ("unboxed", "reading", "comparison")
"""They read an answer that stands in no box; they read another part of the response, or none; they take the same answer
for something else than we do."""
Row = dict[str, Any]


def main() -> None:
    options = _options()
    folder = options.work
    rows = [*_sampled(options, folder), *_synthetic(options)]
    _grade(rows, options.threads)
    eval_work.write_rows(folder / "rows.jsonl", rows)
    pythons = {peer: eval_env.python(options, peer) for peer in SCRIPTS}
    versions = [eval_env.version(python, peer) for peer, python in pythons.items()]
    with ThreadPoolExecutor(len(SCRIPTS)) as pool:
        judged = [pool.submit(_judge, peer, pythons[peer], script, folder) for peer, script in SCRIPTS.items()]
        for peer, verdicts in zip(SCRIPTS, judged, strict=True):
            found_by_id = verdicts.result()
            for row in rows:
                theirs = {f"{peer.name}: {name}": verdict for name, verdict in found_by_id[row["id"]].items()}
                row.setdefault("graders", {}).update(theirs)
    found = [entry for row in rows for entry in _compare(row)]
    differing = [entry for entry in found if entry["cause"]]
    write_json(options.out, {"versions": versions, "disagreements": differing})
    _report(found, versions, options)


def _sampled(options: argparse.Namespace, folder: Path) -> list[Row]:
    """The model's responses; what an earlier run drew into the folder is taken."""
    questions = eval_work.load(options.data, options.questions)
    eval_work.write_questions(folder / "questions", questions)
    decoding = eval_work.Decoding(options.max_tokens, options.temperature, options.top_p)
    engine = {"name": "vllm"}
    spec = eval_work.sample_spec(folder / "questions", folder / "ours", options.model, engine, decoding, options.dtype)
    _worker("hpt_core.evaluation.sample", spec, folder / "sample.json")
    graded = eval_work.grade_spec(folder / "questions", folder / "ours", options.threads)
    _worker("hpt_core.evaluation.grade", graded, folder / "grade.json")
    rows = []
    for name, ones in questions.items():
        responses = read_samples(folder / "ours" / name / "samples").column("response").to_pylist()
        outcomes = pq.read_table(folder / "ours" / name / "verdicts.parquet").column("outcome").to_pylist()
        for one, response, outcome in zip(ones, responses, outcomes, strict=True):
            rows.append({**_row("sampled", name, one, response), "stored": outcome})
    return rows


def _synthetic(options: argparse.Namespace) -> list[Row]:
    """Gold answers in a box, fewer of them in every other form of response, and those that can be written otherwise."""
    several = eval_work.load(options.data, options.synthetic) if options.synthetic else {}
    rows = [
        _row(made.form, name, made.question, made.response)
        for name, ones in eval_work.load(options.data, options.boxed).items()
        for made in eval_synthetic.responses(ones)
        if made.form == "boxed" and options.boxed
    ]
    known = {row["id"] for row in rows}
    for name, ones in several.items():
        made_rows = (_row(made.form, name, made.question, made.response) for made in eval_synthetic.responses(ones))
        rows += [row for row in made_rows if row["id"] not in known]
    for name, ones in (eval_work.load(options.data, options.rewritten) if options.rewritten else {}).items():
        rows += [_row(made.form, name, made.question, made.response) for made in eval_synthetic.rewritten(ones)]
    return rows


def _row(form: str, benchmark: str, one: Question, response: str) -> Row:
    gold = eval_synthetic.bare(one.gold)
    return {
        "id": f"{form}/{benchmark}/{one.question_id}",
        "form": form,
        "benchmark": benchmark,
        "kind": one.kind,
        "question": one.question,
        "gold": gold,
        "options": eval_work.options(one.question) if one.kind == "choice" else [],
        "response": response,
    }


def _grade(rows: list[Row], workers: int) -> None:
    """Our verdict on every row. It must be the one that the store holds, where it holds one."""
    with VerifierPool(workers, 5.0) as pool:
        verdicts = pool.verify([(row["kind"], row["gold"], row["response"], row["question"]) for row in rows])
    for row, verdict in zip(rows, verdicts, strict=True):
        row |= {"outcome": verdict.outcome.value, "extracted": verdict.extracted}
        if row.get("stored", row["outcome"]) != row["outcome"]:
            sys.exit(f"{row['id']}: {row['stored']} in the store, {row['outcome']} now")


def _judge(peer: eval_env.Peer, interpreter: Path, script: str, folder: Path) -> dict[str, Row]:
    """The peer's verdicts by the rows' id. Ends the run where its scorers fail."""
    output = folder / f"{peer.name}.jsonl"
    command = [str(interpreter), str(Path(__file__).with_name(script)), str(folder / "rows.jsonl"), str(output)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    log = folder / f"{peer.name}.log"
    with log.open("wb") as stream:
        ended = subprocess.run(command, check=False, stdout=stream, stderr=subprocess.STDOUT, env=environment)
    if ended.returncode:
        sys.exit(f"{peer.name}'s scorers failed; {log}")
    return {one["id"]: one["graders"] for one in eval_work.read_rows(output)}


def _compare(row: Row) -> list[Row]:
    """One entry a scorer, its cause "" where the two agree."""
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


def _worker(module: str, spec: Row, path: Path) -> None:
    write_json(path, spec)
    command = [sys.executable, "-m", module, str(path)]
    with path.with_suffix(".log").open("wb") as log:
        ended = subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT, cwd=machine.ROOT)
    if ended.returncode:
        sys.exit(f"{module} failed; {path.with_suffix('.log')}")


def _report(found: list[Row], versions: list[str], options: argparse.Namespace) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    sampled = [entry for entry in found if entry["form"] == "sampled"]
    title = f"{options.model.name}, {options.questions} questions a benchmark: responses taken for correct"
    console.print(_table(title, "benchmark", sampled))
    if len(sampled) < len(found):
        made = [entry for entry in found if entry["form"] != "sampled"]
        console.print(_table("Responses made from gold answers, all benchmarks", "form", made))
    counts = collections.Counter(entry["cause"] for entry in found if entry["cause"])
    console.print(
        f"{len(found)} pairs of verdicts, {sum(counts.values())} disagreements: "
        f"{', '.join(f'{counts[cause]} {cause}' for cause in CAUSES)}; {', '.join(versions)}; all of them in "
        f"{options.out}",
        highlight=False,
    )


def _table(title: str, by: str, entries: list[Row]) -> Table:
    table = Table(title=title)
    for column in (by, "scorer", "n", "ours", "theirs", *CAUSES):
        table.add_column(column, justify="left" if column in (by, "scorer") else "right")
    groups: dict[tuple[str, str], list[Row]] = {}
    for entry in entries:
        groups.setdefault((entry[by], entry["scorer"]), []).append(entry)
    previous = ""
    for (label, scorer), group in sorted(groups.items(), key=lambda item: _order(item[0][0])):
        causes = collections.Counter(entry["cause"] for entry in group)
        theirs = sum(entry["theirs"]["correct"] for entry in group)
        numbers = [len(group), sum(entry["correct"] for entry in group), theirs, *(causes[cause] for cause in CAUSES)]
        table.add_section() if label != previous else None
        table.add_row(label if label != previous else "", scorer, *map(str, numbers))
        previous = label
    return table


def _order(label: str) -> int:
    labels = [*eval_work.BENCHMARKS, *eval_synthetic.MATH, *eval_synthetic.CHOICE, *eval_rewritten.FORMS]
    return labels.index(label)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds benchmarks/NAME.json")
    parser.add_argument("--model", type=Path, default=machine.ROOT / "models" / "smollm2-135m")
    parser.add_argument("--questions", type=int, default=15, help="questions of each benchmark that the model answers")
    parser.add_argument("--boxed", type=int, default=700, help="gold answers of each benchmark that are put in a box")
    parser.add_argument("--synthetic", type=int, default=30, help="those that are put into every other form too")
    parser.add_argument("--rewritten", type=int, default=700, help="those that are written otherwise where they can be")
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--work", type=Path, default=machine.RESULTS / "eval_agreement", help="keeps the responses")
    parser.add_argument("--out", type=Path, default=machine.RESULTS / "eval_agreement.json")
    eval_env.add_options(parser)
    options = parser.parse_args()
    if not (options.model / "config.json").exists():
        parser.error(f"there is no model in {options.model}; make it: hpt models fetch smollm2-135m")
    return options


if __name__ == "__main__":
    main()
