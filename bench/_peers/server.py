"""`vllm serve` for the contestants that share a server, on the loopback interface with the vllm engine's settings."""

import contextlib
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hpt_core.rollout import _serve
from hpt_core.rollout.vllm import VLLM

HOST = "127.0.0.1"
NAME = "model"
"""The model's name on the server."""
COUNTERS = {"tokens": "vllm:generation_tokens_total", "prompt_tokens": "vllm:prompt_tokens_total"}
START_S = 600.0


class Server(NamedTuple):
    """A server that is ready."""

    url: str
    """Root URL, without /v1."""
    key: str

    def reset(self) -> None:
        """Clear the prefix cache."""
        request = urllib.request.Request(f"{self.url}/reset_prefix_cache", method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()

    def counters(self) -> dict[str, int]:
        """Prompt tokens and new tokens since the server's start."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        return {
            name: int(sum(float(value) for value in re.findall(rf"^{counter}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)))
            for name, counter in COUNTERS.items()
        }


@contextlib.contextmanager
def serve(
    config: VLLM, model: Path, max_model_len: int, dtype: str, log: Path, environment: dict[str, str]
) -> Iterator[Server]:
    """Start a server of `model`. Unlike the engine's own server, it keeps statistics, which give the token counts."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    server = Server(f"http://{HOST}:{port}", secrets.token_urlsafe(32))
    arguments = _serve.serve_arguments(config, model, max_model_len, dtype, 0, on_gpu=False)
    arguments[arguments.index("--served-model-name") + 1] = NAME
    arguments.remove("--disable-log-stats")
    own = _serve._environment(config, server.key) | environment | {"VLLM_SERVER_DEV_MODE": "1"}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*_serve.supervised(), *_serve._program(), *arguments, "--host", HOST, "--port", str(port)],
            stdin=subprocess.PIPE, stdout=stream, stderr=subprocess.STDOUT, env=own, start_new_session=True,
        )  # fmt: skip
    try:
        _wait(server, process, log)
        yield server
    finally:
        assert process.stdin is not None
        process.stdin.close()  # this makes the supervisor end the server
        try:
            process.wait(3 * _serve.GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            sys.exit(f"vllm serve ended with code {process.returncode}; {log}")
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(f"{server.url}/health", timeout=5).close()
            return
        time.sleep(0.2)
    sys.exit(f"vllm serve does not answer after {START_S:g} s; {log}")
