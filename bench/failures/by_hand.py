"""Cases of `hpt run`: lost processes, damage, leases of other machines, a time limit, two runs at once."""

import fnmatch
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil

from bench.failures.bed import TRAINING, Bed, Row
from tests.flows.pipelines import until

STAGES = {
    "hpt_core.models.materialize": "model.*",
    "hpt_core.data.prepare": "data.*",
    "hpt_core.data.contamination": "contamination*",
    "hpt_core.train": TRAINING,
    "hpt_core.evaluation.sample": "evaluate.*/samples/*",
    "hpt_core.evaluation.grade": "evaluate.*/verdicts/*",
    "benchmarks.report.build": "report*",
}
"""Module of a worker process -> pattern of the names of what it makes."""
TRAIN = "hpt_core.train "
TIMEOUT_S = 40
"""Time limit of a stage. The stages before training end within it on a busy machine, too."""


def stages(bed: Bed) -> Iterator[Row]:
    """SIGKILL once to the worker process of every kind of stage, in one run that goes on by itself."""
    run = bed.start()
    rows = dict[str, Row]()
    end = time.monotonic() + 400
    while left := [module for module in STAGES if module not in rows]:
        assert run.poll() is None and time.monotonic() < end, f"{', '.join(left)} did not start; {bed.said[-3000:]}"
        module, process = next(((m, p) for m in left if (p := bed.process(f"{m} "))), (left[0], None))
        if process is None:
            time.sleep(0.05)
            continue
        if module == "hpt_core.train":
            bed.runs.checkpoint()
        before = bed.log.count("was ended by SIGKILL")
        bed.fail()
        process.kill()
        times = bed.watch(
            noticed_s=lambda n=before: bed.log.count("was ended by SIGKILL") > n,
            resumed_s=lambda m=module: bed.process(f"{m} ", new=True),
        )
        if module == "hpt_core.train":
            bed.hurry()
        rows[module] = Row(f"SIGKILL of the worker of `{module.rpartition('.')[2]}`", **times)
    bed.end(run)
    whole = bed.row("", "Completed", tuple(STAGES.values()))
    for module, row in rows.items():
        row.again = {name: count for name, count in whole.again.items() if fnmatch.fnmatch(name, STAGES[module])}
        row.equal, row.orphans, row.state, row.wrong = whole.equal, whole.orphans, whole.state, whole.wrong
        yield row


def publication(bed: Bed) -> Iterator[Row]:
    """SIGKILL of the command while it publishes, which it does in its own process."""
    bed.hurry()
    hold = bed.folder / "hold"
    hold.touch()
    run = bed.start()
    until("it publishes", lambda: list(bed.hpt.store.glob(".leases/publish-*.json")), 300)
    bed.fail()
    run.kill()
    times = bed.watch(noticed_s=lambda: run.poll() is not None, free_s=bed.is_free)
    assert not bed.hpt.published.exists()
    hold.unlink()
    resumed = _run_again(bed, lambda: bed.hpt.published.exists())
    yield bed.row("SIGKILL of `hpt run` while it publishes", "Completed", (), resumed_s=resumed, **times)


def command(bed: Bed, case: str, *signals: int) -> Iterator[Row]:
    """Signals to the command while it trains, one after the other."""
    run = bed.start()
    bed.runs.checkpoint()
    bed.fail()
    for number in signals:
        run.send_signal(number)
        time.sleep(0.3)
    times = bed.watch(noticed_s=lambda: run.poll() is not None, free_s=bed.is_free, gone=lambda: not bed.runs.find(""))
    gone = times.pop("gone")
    resumed = _run_again(bed, lambda: bed.process(TRAIN, new=True))
    row = bed.row(case, "Completed", resumed_s=resumed, note=f"no process left after {gone:g} s", **times)
    yield _resumed(bed, row)


def _run_again(bed: Bed, works: Callable[[], object]) -> float:
    """Run the command to its end. Returns the seconds until it was back at work."""
    bed.hurry()
    bed.fail()
    run = bed.start()
    found = bed.watch(resumed=works)
    bed.end(run)
    return found["resumed"]


def _resumed(bed: Bed, row: Row) -> Row:
    """The row; wrong if training did not go on from a checkpoint."""
    if "resuming after step" not in bed.train_log.split("\n--- ")[-1]:
        row.wrong.append("training began anew")
    return row


def _truncate(files: Iterable[Path]) -> None:
    """Cut off half of the largest file."""
    file = max(files, key=lambda file: file.stat().st_size)
    os.truncate(file, file.stat().st_size // 2)


def damaged_output(bed: Bed) -> Iterator[Row]:
    """A file of a finished model loses its second half."""
    bed.hurry()
    _truncate(bed.hpt.store.glob("train/*/output/**/*.safetensors"))
    bed.fail()
    run = bed.start()
    found = bed.watch(
        noticed_s=lambda: "it will be produced again" in bed.log, resumed_s=lambda: bed.process(TRAIN, new=True)
    )
    bed.end(run)
    yield bed.row("truncated file in a finished output", "Completed", **found)


def damaged_checkpoint(bed: Bed) -> Iterator[Row]:
    """The newest checkpoint of a training that was killed loses half of a file."""
    run = bed.start()
    step = bed.runs.checkpoint(bed.runs.checkpoint())
    run.kill()
    run.wait()
    until("its processes are gone", lambda: not bed.runs.find(""))
    step = max(step, bed.runs.checkpoint(step - 1))
    (folder,) = (f for f in bed.hpt.store.glob("train/*/work/checkpoints/step-*") if int(f.name[5:]) == step)
    _truncate(file for file in folder.rglob("*") if file.is_file())
    bed.hurry()
    bed.fail()
    run = bed.start()
    found = bed.watch(
        noticed_s=lambda: "a checkpoint is damaged and is set aside" in bed.train_log,
        resumed_s=lambda: "resuming after step" in bed.train_log,
    )
    bed.end(run)
    row = bed.row("truncated newest checkpoint", "Completed", **found)
    yield _resumed(bed, row)


def lease(bed: Bed, case: str, ahead_s: float) -> Iterator[Row]:
    """A lease of the training, held by a process of another machine that is gone, whose clock is ahead."""
    assert bed.calm is not None
    folder = bed.calm.folders[TRAINING].resolve()
    file = bed.hpt.store / ".leases" / f"train-{folder.name}.json"
    file.parent.mkdir(parents=True)
    record = {"token": "gone", "host": "elsewhere", "pid": 1, "kernel": "another", "device": 1}
    file.write_text(json.dumps(record), encoding="utf-8")
    os.utime(file, (time.time() + ahead_s,) * 2)
    bed.hurry()
    run = bed.start()
    until("it waits", lambda: "process 1 on elsewhere" in bed.said, 300)
    bed.fail()
    found = bed.watch(resumed_s=lambda: bed.process(TRAIN, new=True))
    bed.end(run)
    yield bed.row(case, "Completed", (), free_s=found["resumed_s"], **found)


def timeout(bed: Bed) -> Iterator[Row]:
    """A training exceeds the time limit of a stage."""
    run = bed.start("--set", f"resources.stage_timeout_s={TIMEOUT_S}")
    training = until("it trains", lambda: bed.process(TRAIN), 300)
    time.sleep(max(0.0, training.create_time() + TIMEOUT_S - time.time()))
    bed.fail()
    times = bed.watch(
        noticed_s=lambda: not bed.process(TRAIN), free_s=lambda: not list(bed.hpt.store.glob(".leases/train-*.json"))
    )
    said = bed.end(run, 1)
    assert f"ended after its time limit of {TIMEOUT_S} s" in said, said
    resumed = _run_again(bed, lambda: bed.process(TRAIN, new=True))
    yield _resumed(bed, bed.row("time limit of a stage", "Failed, then Completed", resumed_s=resumed, **times))


def two_at_once(bed: Bed) -> Iterator[Row]:
    """Two pipelines need the same training, and the one that trains is killed."""
    runs = {"tiny": bed.start(), "other": bed.start("--set", "name='other'", command="train")}
    training = until("one trains", lambda: bed.process(TRAIN), 300)
    bed.runs.checkpoint()
    first = _starter(training, runs)
    (second,) = set(runs) - {first}
    bed.fail()
    runs[first].kill()
    found = bed.watch(resumed_s=lambda: bed.process(TRAIN, new=True))
    bed.hurry()
    codes = {name: run.wait(300) for name, run in runs.items()}
    assert codes == {first: -signal.SIGKILL, second: 0}, f"{codes}: {bed.said[-3000:]}"
    bed.end(bed.start())
    row = bed.row("two pipelines need one stage, and its maker is killed", "Completed", **found)
    yield _resumed(bed, row)


def _starter(process: psutil.Process, runs: "dict[str, subprocess.Popen[bytes]]") -> str:
    """Which of the runs the process belongs to."""
    above = {parent.pid for parent in process.parents()}
    return next(name for name, run in runs.items() if run.pid in above)


CASES: dict[str, Callable[[Bed], Iterator[Row]]] = {
    "stages": stages,
    "publication": publication,
    "run-term": lambda bed: command(bed, "SIGTERM of `hpt run`", signal.SIGTERM),
    "run-kill": lambda bed: command(bed, "SIGKILL of `hpt run`", signal.SIGKILL),
    "run-twice": lambda bed: command(bed, "second SIGTERM to an ending `hpt run`", signal.SIGTERM, signal.SIGTERM),
    "output": damaged_output,
    "checkpoint": damaged_checkpoint,
    "lease": lambda bed: lease(bed, "lease of another machine that is gone", 0),
    "clock": lambda bed: lease(bed, "the same, its clock an hour ahead", 3600),
    "timeout": timeout,
    "two": two_at_once,
}
