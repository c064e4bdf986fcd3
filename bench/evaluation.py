"""One model over the eight real benchmarks: ours against the bare engine, lm-evaluation-harness and lighteval.

    python bench/evaluation.py --data DATA [--rounds 3] [--questions 12] [--max-tokens 192]

In a process of their own: vllm.LLM with every prompt in one call, our sampling and grading, and
lm-evaluation-harness on the same vLLM. Through one `vllm serve`: ours, lm-evaluation-harness and lighteval, whose pins
exclude this vLLM. All have the same prompts, threads, engine settings and greedy decoding in float32, and so the same
tokens. Each contestant of each round starts anew, in an order that turns; docs/evaluation.md says what is counted.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eval_env
import eval_server
import eval_synthetic
import eval_work
import machine
from rich.console import Console
from rich.table import Table

from benchmarks.sources.choices import offered
from benchmarks.suite import get_suite
from hpt_core import worker
from hpt_core.files import write_json
from hpt_core.rollout.vllm import CPU_BLOCK, CPU_STEP_TOKENS, GIB, VLLM
from hpt_core.seeds import derive

ALONE = ("bare engine", "ours", "lm-eval")
SERVED = ("ours, served", "lm-eval, served", "lighteval, served")
Facts = dict[str, Any]


class Bench:
    """What the contestants share."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.decoding = eval_work.Decoding(options.max_tokens, options.temperature, options.top_p)
        questions = eval_work.load(options.data, options.questions)
        eval_work.write_questions(folder / "questions", questions)
        self.asked = eval_work.ask(questions, options.model)
        self.files = self._write_files()
        self.max_model_len = max(len(one.prompt_ids) for one in self.asked) + options.max_tokens
        self.engine = VLLM(kv_cache_gib=options.kv_cache_gib)
        self.pythons = {peer: eval_env.python(options, peer) for peer in eval_env.PEERS}
        self.versions = [eval_env.version(python, peer) for peer, python in self.pythons.items()]

    @property
    def prompt_tokens(self) -> int:
        """Of all prompts."""
        return sum(len(one.prompt_ids) for one in self.asked)

    def _write_files(self) -> dict[str, str]:
        """A file of rows for each benchmark, alone in its folder."""
        files = {}
        for name in eval_work.BENCHMARKS:
            path = self.folder / "rows" / name / "test.jsonl"
            eval_work.write_rows(path, [_row(one) for one in self.asked if one.benchmark == name])
            files[name] = str(path)
        return files

    def spec(self, name: str, run: Path, server: eval_server.Server | None) -> tuple[Path, str, Facts]:
        """The interpreter, the script and the spec of a contestant."""
        options = self.options
        shared = {
            "folder": str(run),
            "files": self.files,
            "choice": [name for name in eval_work.BENCHMARKS if get_suite(name).kind == "choice"],
            "decoding": self.decoding._asdict(),
            "max_model_len": self.max_model_len,
        }
        if name == "bare engine":
            seeds = [derive(0, "evaluation", one.benchmark, one.question.question_id, 0) for one in self.asked]
            bare = {
                "engine": self.engine.model_dump(),
                "model": str(options.model.resolve()),
                "dtype": options.dtype,
                "prompt_ids": [one.prompt_ids for one in self.asked],
                "seeds": seeds,
            }
            return Path(sys.executable), "eval_bare.py", {**shared, **bare}
        if name.startswith("ours"):
            engine = self.engine.model_dump() if server is None else self._endpoint(server)
            questions = self.folder / "questions"
            sample = eval_work.sample_spec(
                questions, run / "output", options.model, engine, self.decoding, options.dtype
            )
            grade = eval_work.grade_spec(questions, run / "output", options.threads)
            return Path(sys.executable), "eval_ours.py", {"sample": sample, "grade": grade}
        if name.startswith("lm-eval"):
            kind, arguments = self._lm_eval(server)
            spec = {**shared, "kind": kind, "model_args": arguments}
            return self.pythons[eval_env.LM_EVAL], "eval_lm_eval.py", spec
        assert server is not None
        spec = {
            **shared,
            "served_model": eval_server.NAME,
            "url": f"{server.url}/v1",
            "concurrency": options.concurrency,
        }
        return self.pythons[eval_env.LIGHTEVAL], "eval_lighteval.py", spec

    def _endpoint(self, server: eval_server.Server) -> Facts:
        """Our endpoint engine."""
        return {
            "name": "endpoint",
            "url": f"{server.url}/v1",
            "served_model": eval_server.NAME,
            "concurrency": self.options.concurrency,
        }

    def _lm_eval(self, server: eval_server.Server | None) -> tuple[str, Facts]:
        """lm-evaluation-harness's model and its arguments: the settings of the vllm engine, or the server."""
        model = str(self.options.model.resolve())
        if server is not None:
            return "local-completions", {
                "base_url": f"{server.url}/v1/completions",
                "model": eval_server.NAME,
                "tokenizer": model,
                "tokenizer_backend": "huggingface",
                "num_concurrent": self.options.concurrency,
                "max_length": self.max_model_len + 1,
                "timeout": 3600,
            }
        return "vllm", {
            "pretrained": model,
            "dtype": self.options.dtype,
            "seed": 0,
            "max_model_len": self.max_model_len,
            "batch_size": "auto",
            "max_num_seqs": self.engine.max_num_seqs,
            "enforce_eager": True,
            "enable_prefix_caching": True,
            "enable_chunked_prefill": False,
            "block_size": CPU_BLOCK,
            "max_num_batched_tokens": max(CPU_STEP_TOKENS, self.max_model_len),
            "kv_cache_memory_bytes": int(self.options.kv_cache_gib * GIB),
            "disable_log_stats": True,
        }

    def environment(self) -> dict[str, str]:
        """Variables of every contestant, and of the server: what our workers are started with, and no network."""
        threads = str(self.options.threads)
        own = {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "HF_HOME": str(self.folder / "hub"),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "DO_NOT_TRACK": "1",
            # vLLM compiles a helper of its sampler even where it runs eagerly.
            "TORCHDYNAMO_DISABLE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_LOGGING_LEVEL": "ERROR",
            "VLLM_NO_USAGE_STATS": "1",
        }
        return {**os.environ, **worker.ENVIRONMENT, **own}


def _row(one: eval_work.Asked) -> Facts:
    """The question as the peers' tasks take it."""
    gold = eval_synthetic.bare(one.question.gold)
    return {
        "prompt": one.prompt,
        "content": one.content,
        "problem": one.question.question,
        "solution": f"$\\boxed{{{gold}}}$",
        "answer": gold,
        "labels": offered(one.question.question) if one.question.kind == "choice" else [],
    }


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="evaluation-") as temporary:
        bench = Bench(options, Path(temporary))
        rows = [row for number in range(1, options.rounds + 1) for row in _round(bench, number)]
        found = machine.describe(options.threads)
        columns = {key: None for row in rows for key in row}
        machine.write(options.out, [columns | row for row in rows], found)
        report(rows, found, bench)


def _round(bench: Bench, number: int) -> Iterator[Facts]:
    """One row a contestant: those with an engine of their own, then those that share a server."""
    chosen = bench.options.contestants
    for name in _turned([name for name in ALONE if name in chosen], number):
        yield _run(bench, name, number, None)
    served = _turned([name for name in SERVED if name in chosen], number)
    if not served:
        return
    log = bench.folder / f"server-{number}.log"
    options = bench.options
    with eval_server.serve(
        bench.engine, options.model, bench.max_model_len, options.dtype, log, bench.environment()
    ) as server:
        _warm(server)
        for name in served:
            yield _run(bench, name, number, server)


def _turned(names: list[str], number: int) -> list[str]:
    first = (number - 1) % max(len(names), 1)
    return names[first:] + names[:first]


def _run(bench: Bench, name: str, number: int, server: eval_server.Server | None) -> Facts:
    """Start the contestant's process and wait for it. A failure ends the bench."""
    run = bench.folder / f"{number}-{name.replace(', ', '-').replace(' ', '-')}"
    result = run / "result.json"
    python, script, spec = bench.spec(name, run, server)
    write_json(run / "spec.json", {**spec, "result": str(result)})
    environment = bench.environment()
    before: dict[str, int] = {}
    if server is None:
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    else:
        environment |= {"OPENAI_API_KEY": server.key}
        server.reset()
        before = server.counters()
    begun = time.perf_counter()
    with (run / "log").open("wb") as log:
        command = [str(python), str(Path(__file__).with_name(script)), str(run / "spec.json")]
        ended = subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT, env=environment)
    wall = time.perf_counter() - begun
    if ended.returncode:
        sys.exit(f"{name} failed:\n{_tail(run / 'log')}")
    facts: Facts = json.loads(result.read_text(encoding="utf-8"))
    if server is not None:
        facts |= {key: value - before[key] for key, value in server.counters().items()}
    row = {"round": number, "contestant": name, **facts, "wall": wall}
    _check(bench, row)
    print(
        f"round {number}/{bench.options.rounds}: {name}: {row['evaluation']:.1f} s, {row['tokens']} tokens, "
        f"{wall:.1f} s with start",
        file=sys.stderr,
    )
    return row


def _check(bench: Bench, row: Facts) -> None:
    """End the run where a contestant did not do the work that is compared."""
    if row["responses"] != len(bench.asked) or row["prompt_tokens"] != bench.prompt_tokens:
        sys.exit(
            f"{row['contestant']} did other work than was asked for: {row['responses']} responses to "
            f"{row['prompt_tokens']} tokens, not {len(bench.asked)} to {bench.prompt_tokens}"
        )


def _warm(server: eval_server.Server) -> None:
    """A first request, so that no contestant has it."""
    body = json.dumps({"model": eval_server.NAME, "prompt": "1 + 1 =", "max_tokens": 8}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {server.key}"}
    request = urllib.request.Request(f"{server.url}/v1/completions", body, headers)
    with urllib.request.urlopen(request, timeout=600) as answer:
        answer.read()


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-40:])


def report(rows: list[Facts], found: dict[str, Any], bench: Bench) -> None:
    """The table, and what is wanted."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    options = bench.options
    table = Table(
        title=f"{options.model.name}: {len(bench.asked)} questions of eight benchmarks, at most {options.max_tokens} "
        f"tokens, {options.threads} threads, {options.dtype}"
    )
    for column in ("contestant", "tokens", "cpu s", "generation s", "evaluation s", "range", "wall s", "per token, of"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    for group in (ALONE, SERVED):
        table.add_section()
        for name in group:
            if mine := [row for row in rows if row["contestant"] == name]:
                table.add_row(name, *_cells(mine, rows, group[0]))
    console.print(table)
    for other, one, key, wanted in (
        ("ours", "bare engine", "sampling", "wanted: under 1.03"),
        ("ours", "bare engine", "cpu", "in CPU seconds of generation, which a busy machine moves less"),
        ("ours", "bare engine", "evaluation", "with grading"),
        ("lm-eval", "ours", "evaluation", "wanted: over 1"),
        ("lm-eval, served", "ours, served", "evaluation", "wanted: over 1"),
        ("lighteval, served", "ours, served", "evaluation", "wanted: over 1"),
    ):
        if ratios := _ratios(rows, other, one, key):
            console.print(f"{other} / {one}, {key} per token: {_spread(ratios)} ({wanted})", highlight=False)
    console.print(
        f"{', '.join(bench.versions)}; {found['machine_cpu']}, {found['machine_cores']} cores, "
        f"{found['machine_memory_gib']} GiB; {found['machine_packages']}; results in {options.out}",
        highlight=False,
    )


def _cells(mine: list[Facts], rows: list[Facts], reference: str) -> list[str]:
    times = [row["evaluation"] for row in mine]
    ratios = _ratios(rows, mine[0]["contestant"], reference, "evaluation")
    return [
        f"{statistics.median(row['tokens'] for row in mine):,.0f}",
        f"{statistics.median(row['cpu'] for row in mine):.1f}" if reference == ALONE[0] else "",
        f"{statistics.median(row['generation'] for row in mine):.1f}",
        f"{statistics.median(times):.1f}",
        f"{min(times):.1f}-{max(times):.1f}",
        f"{statistics.median(row['wall'] for row in mine):.1f}",
        f"{reference}: {statistics.median(ratios):.3f}" if ratios else "",
    ]


def _ratios(rows: list[Facts], other: str, one: str, key: str) -> list[float]:
    """In each round, seconds a token of `other` over those of `one`. A contestant without `key` has "evaluation"."""
    by_round: dict[int, dict[str, Facts]] = {}
    for row in rows:
        by_round.setdefault(row["round"], {})[row["contestant"]] = row

    def each(row: Facts) -> float:
        return float(row.get(key, row["evaluation"]) / row["tokens"])

    return [each(found[other]) / each(found[one]) for found in by_round.values() if other in found and one in found]


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f}, {min(values):.3f} to {max(values):.3f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds benchmarks/NAME.json")
    parser.add_argument("--model", type=Path, default=machine.ROOT / "models" / "smollm2-135m")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=12, help="questions of each benchmark")
    parser.add_argument("--max-tokens", type=int, default=192, help="new tokens of a response at most")
    parser.add_argument("--temperature", type=float, default=0.0, help="over 0, servers and peers draw other tokens")
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--concurrency", type=int, default=128, help="requests under way of each contestant served")
    parser.add_argument("--kv-cache-gib", type=float, default=4.0, help="of every engine")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--contestants", nargs="+", choices=(*ALONE, *SERVED), default=(*ALONE, *SERVED))
    parser.add_argument("--out", type=Path, default=machine.RESULTS / "evaluation.parquet")
    eval_env.add_options(parser)
    options = parser.parse_args()
    if not (options.model / "config.json").exists():
        parser.error(f"there is no model in {options.model}; make it: hpt models fetch smollm2-135m")
    return options


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
