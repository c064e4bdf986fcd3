"""In a process of its own: sample scripted responses in slices."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench import child
from bench.machine import CORES
from hpt_core.artifacts import KnownFiles, Store
from hpt_core.evaluation.spec import SampleSpec
from hpt_core.files import write_parquet
from hpt_core.loopback import HOST
from hpt_core.models.scratch import ScratchModel
from hpt_core.schemas import QUESTIONS
from tasks.execution import slices as sliced
from tasks.execution.context import Context
from tasks.execution.keys import StageKey
from tasks.execution.resources import ResourcesConfig

START_WITHIN_S = 90.0


def measure(folder: str, slices: int, way: str, rounds: int) -> list[dict[str, Any]]:
    """Seconds of each round with this number of slices, and with one."""
    root = Path(folder)
    ScratchModel(layers=1, hidden_size=32, intermediate_size=32, heads=1).materialize(root / "model", lambda *_: None)
    rows = [
        {"question_id": f"q{i}", "question": f"{i}?", "gold": "1", "kind": "math", "family": ""} for i in range(slices)
    ]
    write_parquet(root / "questions.parquet", pa.Table.from_pylist(rows, schema=QUESTIONS))
    with _cluster(root) if way == "ray" else contextlib.nullcontext(None) as address:
        return [
            {"seconds": _sample(root, slices, f"{number}", address), "one": _sample(root, 1, f"{number}-one", address)}
            for number in range(rounds)
        ]


def _sample(root: Path, slices: int, name: str, address: str | None) -> float:
    store = Store(root / "runs")
    slot = store.slot("samples", f"{abs(hash(name)):064x}")
    unit = {
        "benchmark": "b",
        "questions": root / "questions.parquet",
        "prompt": "chat",
        "seed": 1,
        "sampling": {"max_tokens": 8},
        "k": 1,
        "output": slot.output,
        "work": slot.work,
    }
    engine = {"name": "scripted", "otherwise": "1"}
    spec = SampleSpec.model_validate({"model": root / "model", "engine": engine, "dtype": "float32", "units": [unit]})
    resources = ResourcesConfig(slices=slices, ray=address)
    context = Context(store, KnownFiles(root / "known"), resources=resources)
    begun = time.perf_counter()
    sliced.sample(StageKey("evaluate", "m"), spec, [slot], context)
    took = time.perf_counter() - begun
    if not list(slot.output.glob("samples/part-*.parquet")):
        raise SystemExit("no shard was written")
    return took


@contextlib.contextmanager
def _cluster(root: Path) -> Iterator[str]:
    """A Ray cluster of one node, with a token."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(32).hex(), "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ["PYTHONPATH"] = os.getcwd()  # noqa: PTH109  (as the workers read it)
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        *(str(Path(sys.executable).parent / "ray"), "start", "--head", f"--port={port}", "--block"),
        *("--include-dashboard=false", f"--num-cpus={CORES}", f"--node-ip-address={HOST}"),
        *("--object-store-memory=100000000", f"--temp-dir={root}/ray"),
    ]
    null = subprocess.DEVNULL
    head = subprocess.Popen(command, stdout=null, stderr=null, start_new_session=True)
    try:
        until = time.monotonic() + START_WITHIN_S
        script = f"import ray; ray.init('{HOST}:{port}', log_to_driver=False)"
        while subprocess.run([sys.executable, "-c", script], stdout=null, stderr=null, check=False).returncode:
            if time.monotonic() > until:
                raise SystemExit("the Ray cluster does not start")
            time.sleep(1)
        yield f"{HOST}:{port}"
    finally:
        # Ray's node takes its time to end when it is asked, and nothing on it is needed any more.
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()


if __name__ == "__main__":
    child.answer(measure)
