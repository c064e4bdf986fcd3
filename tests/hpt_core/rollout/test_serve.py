"""The child process of `vllm serve`: its arguments, its end, and that no process is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from hpt_core.errors import EngineError
from hpt_core.rollout import _serve
from hpt_core.rollout._serve import Server, serve_arguments
from hpt_core.rollout.vllm import VLLM

KEEPER = Path(_serve.__file__).with_name("_keeper.py")
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


def keep(*command: str, grace: float = 5.0) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", str(KEEPER), str(grace), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def family(keeper: int, size: int) -> list[int]:
    """Processes below the keeper, once all are there."""
    process = psutil.Process(keeper)
    assert eventually(lambda: len(process.children(recursive=True)) == size)
    return [child.pid for child in process.children(recursive=True)]


@pytest.mark.parametrize("how", ["pipe", "signal"])
def test_every_process_of_the_server_ends(how: str) -> None:
    with keep("sh", "-c", FAMILY) as keeper:
        below = family(keeper.pid, 3)
        assert keeper.stdin is not None
        keeper.stdin.close() if how == "pipe" else keeper.terminate()
        assert keeper.wait(10) == 128 + signal.SIGTERM
        assert not any(alive(pid) for pid in below)


def test_a_process_that_does_not_end_is_killed() -> None:
    with keep(sys.executable, "-c", STUBBORN, grace=0.2) as keeper:
        assert keeper.stdout is not None and keeper.stdin is not None
        assert keeper.stdout.readline() == b"up\n"
        keeper.stdin.close()
        assert keeper.wait(10) == 128 + signal.SIGKILL


def test_leftover_processes_end_with_the_server() -> None:
    with keep("sh", "-c", "sleep 1000 & echo $!; exit 3") as keeper:
        assert keeper.stdout is not None
        left = int(keeper.stdout.readline())
        assert keeper.wait(10) == 3
        assert not alive(left)


@pytest.mark.parametrize("victim", ["parent", "keeper"])
def test_the_server_ends_with_a_killed_parent(victim: str) -> None:
    script = f"""
import subprocess, sys, time
keeper = subprocess.Popen([sys.executable, "-I", {str(KEEPER)!r}, "5", "sleep", "1000"], stdin=subprocess.PIPE)
print(keeper.pid, flush=True)
time.sleep(1000)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        keeper = int(parent.stdout.readline())
        (server,) = family(keeper, 1)
        os.kill(parent.pid if victim == "parent" else keeper, signal.SIGKILL)
        assert eventually(lambda: not alive(keeper) and not alive(server))
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
