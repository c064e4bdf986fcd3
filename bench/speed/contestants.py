"""The contestants of bench.speed.evaluation: the program, spec and environment of each."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from bench._peers import server, work
from bench._peers.environments import LIGHTEVAL, LM_EVAL, variables
from benchmarks.suite import get_suite
from hpt_core import worker
from hpt_core.rollout.vllm import VLLM, engine_settings
from hpt_core.seeds import derive
from hpt_core.verifiers.options import options as options_of

Facts = dict[str, Any]


class Contestant(StrEnum):
    """A contestant. It runs in a separate process, with its own engine or through a shared server."""

    BARE = "bare"
    """vllm.LLM.generate with every prompt in one call."""
    OURS = "ours"
    LM_EVAL = "lm-eval"
    OURS_SERVED = "ours-served"
    LM_EVAL_SERVED = "lm-eval-served"
    LIGHTEVAL_SERVED = "lighteval-served"


ALONE = (Contestant.BARE, Contestant.OURS, Contestant.LM_EVAL)
SERVED = (Contestant.OURS_SERVED, Contestant.LM_EVAL_SERVED, Contestant.LIGHTEVAL_SERVED)


class Settings(NamedTuple):
    """Settings of all contestants."""

    data: Path
    model: Path
    questions: int
    """Questions of each benchmark."""
    max_tokens: int
    temperature: float
    top_p: float
    dtype: str
    concurrency: int
    """Concurrent requests of each contestant that uses the server."""
    kv_cache_gib: float
    """KV cache of every engine, in GiB."""
    threads: int

    def facts(self) -> Facts:
        """The settings as JSON, without the data folder, with the model's name instead of its path."""
        return {**self._asdict(), "model": self.model.name, "data": None}


class Program(NamedTuple):
    """A process to start."""

    python: Path
    module: str
    spec: Facts


class Bench:
    """Everything that the contestants share."""

    def __init__(self, settings: Settings, folder: Path, pythons: dict[str, Path]) -> None:
        """`pythons`: the interpreter of each peer's environment, by name."""
        self.settings, self.folder, self.pythons = settings, folder, pythons
        self.decoding = work.Decoding(settings.max_tokens, settings.temperature, settings.top_p)
        questions = work.load(settings.data, settings.questions)
        work.write_questions(folder / "questions", questions)
        self.asked = work.ask(questions, settings.model)
        self.files = self._write_files()
        self.max_model_len = max(len(one.prompt_ids) for one in self.asked) + settings.max_tokens
        self.engine = VLLM(kv_cache_gib=settings.kv_cache_gib)

    @property
    def prompt_tokens(self) -> int:
        """Total tokens of all prompts."""
        return sum(len(one.prompt_ids) for one in self.asked)

    def program(self, name: Contestant, run: Path, served: server.Server | None) -> Program:
        """The interpreter, module and spec of a contestant. It works in the folder `run`."""
        shared = {
            "folder": str(run),
            "files": self.files,
            "choice": [name for name in work.BENCHMARKS if get_suite(name).kind == "choice"],
            "decoding": self.decoding._asdict(),
            "max_model_len": self.max_model_len,
        }
        if name is Contestant.BARE:
            return Program(Path(sys.executable), "bench.speed._bare", {**shared, **self._bare()})
        if name in (Contestant.OURS, Contestant.OURS_SERVED):
            return Program(Path(sys.executable), "bench.speed._ours", self._ours(run / "output", served))
        if name in (Contestant.LM_EVAL, Contestant.LM_EVAL_SERVED):
            kind, arguments = self._lm_eval(served)
            spec = {**shared, "kind": kind, "model_args": arguments}
            return Program(self.pythons[LM_EVAL.name], "bench._peers.adapters.run_lm_eval", spec)
        assert served is not None
        chat = {"served_model": server.NAME, "url": f"{served.url}/v1", "concurrency": self.settings.concurrency}
        return Program(self.pythons[LIGHTEVAL.name], "bench._peers.adapters.run_lighteval", {**shared, **chat})

    def environment(self) -> dict[str, str]:
        """Environment variables of every contestant and of the server: those of our workers, and no network."""
        threads = str(self.settings.threads)
        own = {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "HF_DATASETS_OFFLINE": "1",
            "HF_HOME": str(self.folder / "hub"),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "DO_NOT_TRACK": "1",
            # Even in eager mode, vLLM compiles a helper of its sampler.
            "TORCHDYNAMO_DISABLE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_LOGGING_LEVEL": "ERROR",
            "VLLM_NO_USAGE_STATS": "1",
        }
        return {**variables(), **worker.ENVIRONMENT, **own}

    def _write_files(self) -> dict[str, str]:
        """Write one file of rows per benchmark, each in its own folder."""
        files = {}
        for name in work.BENCHMARKS:
            path = self.folder / "rows" / name / "test.jsonl"
            work.write_rows(path, [_row(one) for one in self.asked if one.benchmark == name])
            files[name] = str(path)
        return files

    def _bare(self) -> Facts:
        return {
            "engine": self.engine.model_dump(),
            "model": str(self.settings.model.resolve()),
            "dtype": self.settings.dtype,
            "prompt_ids": [one.prompt_ids for one in self.asked],
            "seeds": [derive(0, "evaluation", one.benchmark, one.question.question_id, 0) for one in self.asked],
        }

    def _ours(self, output: Path, served: server.Server | None) -> Facts:
        settings, questions = self.settings, self.folder / "questions"
        engine = self.engine.model_dump()
        if served is not None:
            engine = {
                "name": "endpoint",
                "url": f"{served.url}/v1",
                "served_model": server.NAME,
                "concurrency": settings.concurrency,
            }
        sample = work.sample_spec(questions, output, settings.model, engine, self.decoding, settings.dtype)
        return {"sample": sample, "grade": work.grade_spec(questions, output, settings.threads)}

    def _lm_eval(self, served: server.Server | None) -> tuple[str, Facts]:
        """lm-evaluation-harness's model and its arguments: our vllm engine's settings, or the server."""
        settings, model = self.settings, str(self.settings.model.resolve())
        if served is not None:
            return "local-completions", {
                "base_url": f"{served.url}/v1/completions",
                "model": server.NAME,
                "tokenizer": model,
                "tokenizer_backend": "huggingface",
                "num_concurrent": settings.concurrency,
                "max_length": self.max_model_len + 1,
                "timeout": 3600,
            }
        alike = engine_settings(self.engine, self.max_model_len, settings.dtype, 0, on_gpu=False)
        return "vllm", {"pretrained": model, "batch_size": "auto", **alike}


def _row(one: work.Asked) -> Facts:
    """The question in the format of the peers' tasks."""
    gold = work.bare(one.question.gold)
    return {
        "prompt": one.prompt,
        "content": one.content,
        "problem": one.question.question,
        "solution": f"$\\boxed{{{gold}}}$",
        "answer": gold,
        "labels": list(options_of(one.question.question)) if one.question.kind == "choice" else [],
    }
