"""The child process of `vllm serve`: its arguments, its end, and that no process is left."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from hpt_core import supervisor as guard
from hpt_core.errors import EngineError
from hpt_core.rollout import _serve
from hpt_core.rollout._serve import Server, serve_arguments, supervised
from hpt_core.rollout.vllm import VLLM

FAMILY = "sleep 1000 & sleep 1000 & wait"
"""A server with two processes of its own."""
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(1000)"
)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def supervise(*command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*supervised(), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def family(supervisor: int, size: int) -> list[int]:
    """Processes below the supervisor, once all are there."""
    process = psutil.Process(supervisor)
    assert eventually(lambda: len(process.children(recursive=True)) == size)
    return [child.pid for child in process.children(recursive=True)]


@pytest.mark.parametrize("how", ["pipe", "signal"])
def test_every_process_of_the_server_ends(how: str) -> None:
    with supervise("sh", "-c", FAMILY) as supervisor:
        below = family(supervisor.pid, 3)
        assert supervisor.stdin is not None
        supervisor.stdin.close() if how == "pipe" else supervisor.terminate()
        assert supervisor.wait(10) == 128 + signal.SIGTERM
        assert not any(alive(pid) for pid in below)


def test_a_process_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_serve, "GRACE_S", 0.2)
    with supervise(sys.executable, "-c", STUBBORN) as supervisor:
        assert supervisor.stdout is not None and supervisor.stdin is not None
        assert supervisor.stdout.readline() == b"up\n"
        (server,) = family(supervisor.pid, 1)
        supervisor.stdin.close()
        assert supervisor.wait(10) == 128 + signal.SIGTERM
        assert not alive(server)


def test_leftover_processes_end_with_the_server() -> None:
    with supervise("sh", "-c", "sleep 1000 & echo $!; exit 3") as supervisor:
        assert supervisor.stdout is not None
        left = int(supervisor.stdout.readline())
        assert supervisor.wait(10) == 3
        assert not alive(left)


@pytest.mark.parametrize("victim", ["parent", "supervisor"])
def test_the_server_ends_with_a_killed_parent(victim: str) -> None:
    script = f"""
import subprocess, time
supervisor = subprocess.Popen({[*supervised(), "sleep", "1000"]!r}, stdin=subprocess.PIPE)
print(supervisor.pid, flush=True)
time.sleep(1000)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        supervisor = int(parent.stdout.readline())
        (server,) = family(supervisor, 1)
        os.kill(parent.pid if victim == "parent" else supervisor, signal.SIGKILL)
        assert eventually(lambda: not alive(supervisor) and not alive(server))
        parent.kill()


def start(monkeypatch: pytest.MonkeyPatch, program: str) -> Server:
    monkeypatch.setattr(_serve, "_program", lambda: [sys.executable, "-c", program])
    return Server(VLLM(), Path("model"), 64, "float32", 0)


def test_a_failed_server_names_the_cause(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    server = start(
        monkeypatch, "import os; print('the key is', os.environ['VLLM_API_KEY']); raise MemoryError('no room')"
    )
    with pytest.raises(EngineError, match=r"ended with code 1: MemoryError: no room\. Remedy: .*serve.kv_cache_gib"):
        server.wait(60)
    assert "the key is ***" in caplog.text and server.key not in caplog.text
    folder = server._folder
    assert folder.exists()
    server.close()
    server.close()
    assert not folder.exists()


def test_a_server_that_does_not_answer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_serve, "TELL_EVERY_S", 0.2)
    server = start(monkeypatch, "import time; print('loading', flush=True); time.sleep(1000)")
    with pytest.raises(EngineError, match=r"does not answer after 1 s; .*startup_timeout_s"):
        server.wait(1)
    server.close()


def test_arguments_are_those_of_the_vllm_engine() -> None:
    on_cpu = serve_arguments(VLLM(max_num_seqs=8), Path("m"), 5000, "float32", 3, on_gpu=False)
    assert {"--enforce-eager", "--no-enable-chunked-prefill", "--enable-prefix-caching"} <= set(on_cpu)
    for name, value in {
        "--block-size": "32",
        "--max-num-batched-tokens": "5000",
        "--kv-cache-memory-bytes": str(2**30),
        "--max-num-seqs": "8",
        "--logprobs-mode": "processed_logprobs",
        "--dtype": "float32",
        "--seed": "3",
    }.items():
        assert on_cpu[on_cpu.index(name) + 1] == value
    on_gpu = serve_arguments(VLLM(prefix_caching=False), Path("m"), 64, "bfloat16", 0, on_gpu=True)
    assert "--no-enable-prefix-caching" in on_gpu
    assert {"--enforce-eager", "--block-size", "--kv-cache-memory-bytes"}.isdisjoint(on_gpu)


@pytest.mark.parametrize(
    ("ends", "reports", "code", "said"),
    [
        ("exit 3", "true", 3, ""),
        ("kill -9 $$", "true", 0, "9\n"),
        ("kill -9 $$", "false", 137, "9\n"),
        ("kill -9 $$", "kill -14 $$", 137, "9\n"),
    ],
)
def test_a_signal_that_ended_the_command_is_reported(ends: str, reports: str, code: int, said: str) -> None:
    report = shlex.join(["sh", "-c", f"echo $0; {reports}"])
    command = [*guard.command("--if-killed", report), "sh", "-c", ends]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.wait(10) == code
        assert process.stdout is not None and process.stdout.read() == said
