"""One model over the eight real benchmarks: ours against the bare engine, lm-evaluation-harness and lighteval.

Three contestants load vLLM in their own process: vllm.LLM with every prompt in one call, our sampling and grading, and
lm-evaluation-harness. Three use one `vllm serve`: ours, lm-evaluation-harness, and lighteval, whose pins exclude this
vLLM. All have the same prompts, threads, engine settings and greedy decoding in float32, so they generate the same
tokens. In each round, each contestant starts again, in rotating order. docs/benchmarks.md says which time counts.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bench import machine, options, records
from bench._peers import server
from bench._peers.environments import LIGHTEVAL, LM_EVAL, PEERS, make, version
from bench.records import Record
from bench.speed.contestants import ALONE, SERVED, Bench, Contestant, Facts, Settings
from hpt_core.files import write_json

RATIOS = {
    "bare": (Contestant.OURS, Contestant.BARE, "sampling"),
    "bare_cpu": (Contestant.OURS, Contestant.BARE, "cpu"),
    "lm-eval": (Contestant.LM_EVAL, Contestant.OURS, "evaluation"),
    "lm-eval-served": (Contestant.LM_EVAL_SERVED, Contestant.OURS_SERVED, "evaluation"),
    "lighteval-served": (Contestant.LIGHTEVAL_SERVED, Contestant.OURS_SERVED, "evaluation"),
}
"""Ratio -> (contestant, contestant, measured time): seconds per token of the first over those of the second."""


OUT = records.latest("evaluation")


def main(
    data: options.Data,
    model: options.Model = options.MODEL,
    rounds: int = 3,
    questions: Annotated[int, typer.Option(help="questions of each benchmark")] = 12,
    max_tokens: Annotated[int, typer.Option(help="maximum of new tokens per response")] = 192,
    temperature: Annotated[float, typer.Option(help="above 0, contestants sample different tokens")] = 0.0,
    top_p: float = 1.0,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    concurrency: Annotated[int, typer.Option(help="concurrent requests of each contestant that uses the server")] = 128,
    kv_cache_gib: Annotated[float, typer.Option(help="KV cache of every engine")] = 4.0,
    threads: options.Threads = options.THREADS,
    contestant: Annotated[list[Contestant] | None, typer.Option(help="run only this contestant; repeatable")] = None,
    lm_eval_python: options.LmEvalPython = None,
    lighteval_python: options.LightevalPython = None,
    out: options.Out = OUT,
) -> None:
    """Compare our evaluation with the bare engine and two harnesses (20 minutes per round)."""
    options.require_model(model)
    settings = Settings(
        data, model, questions, max_tokens, temperature, top_p, dtype, concurrency, kv_cache_gib, threads
    )
    given = {LM_EVAL.name: lm_eval_python, LIGHTEVAL.name: lighteval_python}
    pythons = {name: python or make(PEERS[name]) for name, python in given.items()}
    with tempfile.TemporaryDirectory(prefix="evaluation-") as temporary:
        bench = Bench(settings, Path(temporary), pythons)
        chosen = contestant or [*ALONE, *SERVED]
        rows = [row for number in range(1, rounds + 1) for row in _round(bench, number, rounds, chosen)]
        asked = len(bench.asked)
    versions = {name: version(python, PEERS[name]) for name, python in pythons.items()}
    facts = {**settings.facts(), "rounds": rounds, "asked": asked, "peers": versions}
    records.finish(out, Record("evaluation", machine.describe(threads), facts, summary(rows), rows), table)


def _round(bench: Bench, number: int, rounds: int, chosen: Sequence[Contestant]) -> Iterator[Facts]:
    """One row per contestant: first those with their own engine, then those that share the server."""

    def one(name: Contestant, served: server.Server | None) -> Facts:
        row = _run(bench, name, number, served)
        print(
            f"round {number}/{rounds}: {name}: {row['evaluation']:.1f} s, {row['tokens']} tokens, "
            f"{row['wall']:.1f} s with start",
            file=sys.stderr,
        )
        return row

    for name in _turned([name for name in ALONE if name in chosen], number):
        yield one(name, None)
    served = _turned([name for name in SERVED if name in chosen], number)
    if not served:
        return
    log, settings = bench.folder / f"server-{number}.log", bench.settings
    with server.serve(
        bench.engine, settings.model, bench.max_model_len, settings.dtype, log, bench.environment()
    ) as running:
        _warm(running)
        for name in served:
            yield one(name, running)


def _turned(names: list[Contestant], number: int) -> list[Contestant]:
    first = (number - 1) % max(len(names), 1)
    return names[first:] + names[:first]


def _run(bench: Bench, name: Contestant, number: int, served: server.Server | None) -> Facts:
    """Start the contestant's process and wait for it. Exits if it fails."""
    run = bench.folder / f"{number}-{name}"
    result = run / "result.json"
    program = bench.program(name, run, served)
    write_json(run / "spec.json", {**program.spec, "result": str(result)})
    environment = bench.environment()
    before: dict[str, int] = {}
    if served is None:
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    else:
        environment |= {"OPENAI_API_KEY": served.key}
        served.reset()
        before = served.counters()
    begun = time.perf_counter()
    with (run / "log").open("wb") as log:
        command = [str(program.python), "-m", program.module, str(run / "spec.json")]
        ended = subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT, env=environment)
    wall = time.perf_counter() - begun
    if ended.returncode:
        sys.exit(f"{name} failed:\n{_tail(run / 'log')}")
    facts: Facts = json.loads(result.read_text(encoding="utf-8"))
    if served is not None:
        facts |= {key: value - before[key] for key, value in served.counters().items()}
    row = {"round": number, "contestant": str(name), **facts, "wall": wall}
    if row["responses"] != len(bench.asked) or row["prompt_tokens"] != bench.prompt_tokens:
        sys.exit(
            f"{name} did different work: {row['responses']} responses to {row['prompt_tokens']} prompt tokens "
            f"instead of {len(bench.asked)} to {bench.prompt_tokens}"
        )
    return row


def _warm(served: server.Server) -> None:
    """Send a first request, so no contestant pays for the warm-up."""
    body = json.dumps({"model": server.NAME, "prompt": "1 + 1 =", "max_tokens": 8}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {served.key}"}
    request = urllib.request.Request(f"{served.url}/v1/completions", body, headers)
    with urllib.request.urlopen(request, timeout=600) as answer:
        answer.read()


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-40:])


def summary(rows: list[Facts]) -> dict[str, Any]:
    """The RATIOS of each round, and each contestant's median seconds of the whole evaluation."""
    by_round: dict[int, dict[str, Facts]] = {}
    for row in rows:
        by_round.setdefault(row["round"], {})[row["contestant"]] = row

    def each(row: Facts, key: str) -> float:
        # The bare engine only samples.
        return float(row.get(key, row["evaluation"]) / row["tokens"])

    ratios = {
        name: [each(of[one], key) / each(of[other], key) for of in by_round.values() if one in of and other in of]
        for name, (one, other, key) in RATIOS.items()
    }
    names = dict.fromkeys(row["contestant"] for row in rows)
    seconds = {name: statistics.median(r["evaluation"] for r in rows if r["contestant"] == name) for name in names}
    return {"ratios": ratios, "seconds": seconds, "tokens": rows[0]["tokens"]}


def table(record: Record) -> str:
    """The ratios of every round with their targets."""
    labels = {
        "bare": ("our sampling time / bare engine, per token", "at most 1.03"),
        "lm-eval": ("lm-evaluation-harness / ours, in process", "over 1"),
        "lm-eval-served": ("lm-evaluation-harness / ours, served", "over 1"),
        "lighteval-served": ("lighteval / ours, served", "over 1"),
    }
    ratios, seconds = record.summary["ratios"], record.summary["seconds"]
    rows = [(*label, ", ".join(f"{value:.2f}" for value in ratios.get(name, ()))) for name, label in labels.items()]
    for group, title in ((ALONE, "in process"), (SERVED, "served")):
        found = ", ".join(f"{name.removesuffix('-served')} {seconds[name]:.0f}" for name in group if name in seconds)
        rows.append((f"whole evaluation, {title}, median seconds", "", found))
    return records.markdown(("", "target", "measured"), rows, left=3)
