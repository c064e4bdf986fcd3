import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpt_core.base import Frozen
from hpt_core.errors import ConfigError, DataError, WorkerError, WorkerLost, WorkerTimeout
from tasks.execution.process import Event, WorkerRun, launcher, run

Program = Callable[[str, str], str]


class Spec(Frozen):
    folder: Path


def job(tmp_path: Path, module: str, timeout_s: float | None = None) -> WorkerRun:
    spec = Spec(folder=tmp_path)
    return WorkerRun("train.hpt", module, spec, tmp_path / "spec.json", [tmp_path / "log.txt"], timeout_s)


NEST = """
    # A worker whose child and grandchild leave for sessions of their own and ignore SIGTERM.
    import json, os, signal, subprocess, sys, time
    folder = json.load(open(sys.argv[1]))["folder"]
    child = "import os,signal,subprocess,sys,time; signal.signal(signal.SIGTERM, signal.SIG_IGN);" \\
            "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)'], start_new_session=True);" \\
            "print(os.getpid(), p.pid, flush=True); time.sleep(120)"
    nested = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True, start_new_session=True)
    pids = [os.getpid(), nested.pid, *map(int, nested.stdout.readline().split())]
    open(folder + "/pids.tmp", "w").write(json.dumps(pids))
    os.rename(folder + "/pids.tmp", folder + "/pids")
    print(json.dumps({"event": "progress", "done": 1, "total": 2}), flush=True)
    time.sleep(120)
"""


def wait_for(what: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def pids_of(tmp_path: Path) -> list[int]:
    wait_for((tmp_path / "pids").exists)
    pids = json.loads((tmp_path / "pids").read_text())
    assert len(pids) == 4
    assert all(alive(pid) for pid in pids)
    return list(pids)


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_events_log_and_cost(tmp_path: Path, program: Program) -> None:
    module = program(
        "good",
        """
        import sys
        from hpt_core.worker import emit
        emit("progress", done=1, total=2, unit="steps", text="x")
        print("a library prints")
        print("2026-01-01 INFO hpt.train: a line", file=sys.stderr)
        bytearray(80_000_000)
        emit("progress", done=2, total=2, unit="steps", text="")
        """,
    )
    events: list[Event] = []
    cost = run(job(tmp_path, module), events.append)
    assert [e["done"] for e in events] == [1, 2]
    log = (tmp_path / "log.txt").read_text()
    assert "a library prints" in log
    assert "a line" in log
    assert cost.cpu_seconds > 0
    assert cost.peak_memory_bytes > 80_000_000


def test_the_log_is_appended_to(tmp_path: Path, program: Program) -> None:
    module = program("twice", "import sys; print('again', file=sys.stderr)")
    for _ in range(2):
        run(job(tmp_path, module), lambda _: None)
    assert (tmp_path / "log.txt").read_text().count("again\n") == 2


def test_the_workers_own_error_is_raised(tmp_path: Path, program: Program) -> None:
    module = program(
        "wrong",
        """
        from pathlib import Path
        from hpt_core.base import Frozen
        from hpt_core.errors import DataError
        from hpt_core.worker import main
        class Spec(Frozen):
            folder: Path
        def run(spec):
            raise DataError("row 17 has no answer", "correct it")
        main(Spec, run)
        """,
    )
    with pytest.raises(DataError) as caught:
        run(job(tmp_path, module), lambda _: None)
    assert str(caught.value) == "train.hpt: row 17 has no answer. Remedy: correct it."
    assert caught.value.exit_code == 2


def test_a_full_disk_is_an_error_with_a_remedy(tmp_path: Path, program: Program) -> None:
    module = program(
        "full",
        """
        from pathlib import Path
        from hpt_core.base import Frozen
        from hpt_core.worker import main
        class Spec(Frozen):
            folder: Path
        def run(spec):
            Path("/dev/full").write_text("a sample")
        main(Spec, run)
        """,
    )
    with pytest.raises(WorkerError, match=r"the disk is full. Remedy: free some space and rerun"):
        run(job(tmp_path, module), lambda _: None)
    assert "No space left on device" in (tmp_path / "log.txt").read_text()


def test_a_disk_that_fails_is_an_error_with_a_remedy(tmp_path: Path, program: Program) -> None:
    module = program(
        "broken",
        """
        import errno, os
        from pathlib import Path
        from hpt_core.base import Frozen
        from hpt_core.worker import main
        class Spec(Frozen):
            folder: Path
        def run(spec):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/store/samples")
        main(Spec, run)
        """,
    )
    with pytest.raises(WorkerError, match=r"cannot use /store/samples: Read-only file system. Remedy: check the disk"):
        run(job(tmp_path, module), lambda _: None)


def test_a_traceback_becomes_one_line_with_the_log(tmp_path: Path, program: Program) -> None:
    module = program("broken", "raise RuntimeError('boom')")
    with pytest.raises(WorkerError, match=r"ended with code 1: RuntimeError: boom.*log\.txt"):
        run(job(tmp_path, module), lambda _: None)
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_a_pydantic_error_of_a_worker_is_shown_with_its_cause(tmp_path: Path, program: Program) -> None:
    module = program("refused", "import pydantic\npydantic.TypeAdapter(dict[str, int]).validate_python({'size': 'x'})")
    with pytest.raises(WorkerError, match=r"code 1: .*ValidationError: 1 validation error .* size .* valid integer"):
        run(job(tmp_path, module), lambda _: None)


def test_a_killed_worker_is_reported_as_killed(tmp_path: Path, program: Program) -> None:
    module = program("killed", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(WorkerError, match=r"SIGKILL.*memory"):
        run(job(tmp_path, module), lambda _: None)


def test_a_killed_supervisor_is_a_lost_worker(tmp_path: Path, program: Program) -> None:
    module = program("orphaned", "import os, signal, time; os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)")
    with pytest.raises(WorkerLost, match="SIGKILL"):
        run(job(tmp_path, module), lambda _: None)


def test_a_log_that_cannot_be_written_hides_nothing(
    tmp_path: Path, program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    """The pipes are read to their end, and the error is the worker's own."""
    module = program(
        "loud",
        """
        import sys
        from pathlib import Path
        from hpt_core.base import Frozen
        from hpt_core.errors import DataError
        from hpt_core.worker import main
        class Spec(Frozen):
            folder: Path
        def run(spec):
            for _ in range(5000):
                print("a line of a log that fills a pipe", file=sys.stderr)
            raise DataError("row 17 has no answer", "correct it")
        main(Spec, run)
        """,
    )
    with pytest.raises(DataError, match="row 17 has no answer"):
        run(dataclasses.replace(job(tmp_path, module), logs=[Path("/dev/full"), Path("/proc/none/log.txt")]), print)
    warned = [r.getMessage() for r in caplog.records if r.getMessage().startswith("cannot write the log")]
    assert len(warned) == 2 and "No space left on device" in "".join(warned)


def test_an_observer_that_fails_does_not_stop_the_worker(tmp_path: Path, program: Program) -> None:
    module = program("steady", "from hpt_core.worker import emit\nfor i in range(3): emit('progress', done=i, total=3)")

    def observe(_: Event) -> None:
        raise RuntimeError("no terminal")

    run(job(tmp_path, module), observe)


@pytest.mark.slow
def test_a_limit_ends_every_descendant(tmp_path: Path, program: Program) -> None:
    module = program("nest", NEST)
    with pytest.raises(WorkerTimeout, match="limit of 4 s"):
        run(job(tmp_path, module, timeout_s=4), lambda _: None)
    assert not [pid for pid in json.loads((tmp_path / "pids").read_text()) if alive(pid)]


def test_leftover_processes_of_a_worker_are_ended(tmp_path: Path, program: Program) -> None:
    module = program(
        "leaver",
        """
        import json, subprocess, sys
        folder = json.load(open(sys.argv[1]))["folder"]
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"], start_new_session=True)
        open(folder + "/left", "w").write(str(left.pid))
        """,
    )
    run(job(tmp_path, module), lambda _: None)
    assert not alive(int((tmp_path / "left").read_text()))


@pytest.mark.slow
def test_cancelling_from_another_thread_ends_every_descendant(tmp_path: Path, program: Program) -> None:
    module = program("nest", NEST)
    cancelled = threading.Event()
    with pytest.raises(WorkerError, match="stopped"):
        run(job(tmp_path, module), lambda _: cancelled.set(), cancelled)
    assert not [pid for pid in json.loads((tmp_path / "pids").read_text()) if alive(pid)]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_parent(tmp_path: Path, program: Program, how: signal.Signals) -> None:
    """However the process of the task ends: kill -9, cancellation (SIGTERM, raised as an exception), Ctrl-C."""
    module = program("nest", NEST)
    parent = textwrap.dedent(f"""
        import signal, sys
        from pathlib import Path
        from hpt_core.base import Frozen
        from tasks.execution.process import WorkerRun, run
        class Spec(Frozen):
            folder: Path
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        folder = Path({str(tmp_path)!r})
        job = WorkerRun("train.hpt", {module!r}, Spec(folder=folder), folder / "spec.json", [folder / "log.txt"])
        run(job, lambda event: None)
    """)
    process = subprocess.Popen([sys.executable, "-c", parent], stderr=subprocess.DEVNULL, env=os.environ.copy())
    pids = pids_of(tmp_path)
    process.send_signal(how)
    process.wait(30)
    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_nothing_of_the_worker_program_outlives_a_killed_supervisor(tmp_path: Path, program: Program) -> None:
    module = program(
        "alone",
        """
        import json, os, sys, time
        folder = json.load(open(sys.argv[1]))["folder"]
        open(folder + "/worker", "w").write(f"{os.getpid()} {os.getppid()}")
        time.sleep(120)
        """,
    )
    file = tmp_path / "worker"

    def kill() -> None:
        wait_for(lambda: file.exists() and len(file.read_text().split()) == 2)
        os.kill(int(file.read_text().split()[1]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(WorkerError):
        run(job(tmp_path, module), lambda _: None)
    killer.join()
    wait_for(lambda: not alive(int(file.read_text().split()[0])))


RANKS = """
    # Each rank notes its process, rank 0 once both have; what becomes of them then is for the body to say.
    import os, sys, time
    from pathlib import Path
    from hpt_core.base import Frozen
    from hpt_core.errors import DataError, ModelError
    from hpt_core.worker import emit, main, progress
    RANK = int(os.environ["RANK"])
    class Spec(Frozen):
        folder: Path
    def run(spec):
        (spec.folder / f"rank{RANK}.tmp").write_text(f"{os.getpid()} {os.getsid(0)} {os.getppid()}")
        (spec.folder / f"rank{RANK}.tmp").rename(spec.folder / f"rank{RANK}")
        while not all((spec.folder / f"rank{r}").exists() for r in (0, 1)):
            time.sleep(0.02)
        body(spec)
    def body(spec):
    BODY
    main(Spec, run)
"""


def ranks(tmp_path: Path, program: Program, body: str, timeout_s: float | None = None) -> WorkerRun:
    """Two real processes of torchrun that do `body`."""
    indented = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    module = program("ranks", textwrap.dedent(RANKS).replace("BODY", indented))
    return dataclasses.replace(job(tmp_path, module, timeout_s), launcher=launcher(2))


def pids_of_ranks(tmp_path: Path) -> list[int]:
    """torchrun's process and its two, which it gives sessions of their own."""
    files = [tmp_path / f"rank{rank}" for rank in (0, 1)]
    wait_for(lambda: all(file.exists() for file in files), 60)
    (first, session, parent), (second, _, _) = (map(int, file.read_text().split()) for file in files)
    assert session == first, "the case that matters: out of reach of a signal to the group"
    assert first != second
    assert psutil.Process(parent).pid == parent
    return [first, second, parent]


@pytest.mark.slow
def test_only_rank_0_reports_and_all_ranks_write_the_log(tmp_path: Path, program: Program) -> None:
    body = """
        report = progress("steps")
        for step in (1, 2, 3):
            report(step, 3, f"from rank {RANK}")
        os.write(1, b"below Python, no end of line" if RANK else b"")
        print(f"printed by rank {RANK}")
        import logging
        logging.getLogger("hpt.test").info("logged")
    """
    events: list[Event] = []
    cost = run(ranks(tmp_path, program, body), events.append)
    assert [(e["done"], e["text"]) for e in events] == [(step, "from rank 0") for step in (1, 2, 3)]
    log = (tmp_path / "log.txt").read_text()
    for text in ("printed by rank 0", "printed by rank 1", "below Python", "(rank 0): logged", "(rank 1): logged"):
        assert text in log
    assert "torch.distributed.run --standalone --nproc-per-node 2 -m ranks" in log.splitlines()[0]
    assert cost.cpu_seconds > 0


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_any_rank_keeps_its_type_and_remedy(tmp_path: Path, program: Program, failing: int) -> None:
    body = f"""
        if RANK == {failing}:
            raise DataError("row 17 has no answer", "correct it")
        time.sleep(60)
    """
    with pytest.raises(DataError) as caught:
        run(ranks(tmp_path, program, body), lambda _: None)
    assert str(caught.value) == "train.hpt: row 17 has no answer. Remedy: correct it."
    assert caught.value.exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("if RANK: raise RuntimeError('boom')\ntime.sleep(60)", r"ended with code 1: RuntimeError: boom.*log"),
        ("if RANK: os.kill(os.getpid(), 9)\ntime.sleep(60)", r"was ended by SIGKILL.*memory may have run out"),
    ],
)
def test_the_cause_is_found_in_a_launchers_report(tmp_path: Path, program: Program, body: str, message: str) -> None:
    with pytest.raises(WorkerError, match=message):
        run(ranks(tmp_path, program, body), lambda _: None)


@pytest.mark.slow
def test_cancelling_ends_every_rank(tmp_path: Path, program: Program) -> None:
    cancelled, found = threading.Event(), []

    def cancel() -> None:
        found.extend(pids_of_ranks(tmp_path))
        cancelled.set()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    # A rank in a collective does not hear SIGTERM.
    body = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(120)"
    with pytest.raises(WorkerError, match="stopped"):
        run(ranks(tmp_path, program, body), lambda _: None, cancelled)
    canceller.join()
    assert not [pid for pid in found if alive(pid)]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_rank_outlives_the_parent(tmp_path: Path, program: Program, how: signal.Signals) -> None:
    of_ranks = ranks(tmp_path, program, "time.sleep(120)")
    parent = textwrap.dedent(f"""
        import signal, sys
        from pathlib import Path
        from hpt_core.base import Frozen
        from tasks.execution.process import WorkerRun, run
        class Spec(Frozen):
            folder: Path
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        folder = Path({str(tmp_path)!r})
        spec_file, logs = folder / "spec.json", [folder / "log.txt"]
        job = WorkerRun("train.hpt", "ranks", Spec(folder=folder), spec_file, logs, launcher={of_ranks.launcher!r})
        run(job, lambda event: None)
    """)
    process = subprocess.Popen([sys.executable, "-c", parent], stderr=subprocess.DEVNULL, env=os.environ.copy())
    pids = pids_of_ranks(tmp_path)
    process.send_signal(how)
    process.wait(30)
    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_an_event_is_read_after_a_launchers_prefix(tmp_path: Path, program: Program) -> None:
    body = """
    import json
    for prefix in ("[rank0]:", "[default0]:", "0: "):
        print(prefix + json.dumps({"event": "progress", "done": 1, "total": 2}))
    print('{"event": "progress", "done": 2, "total": 2} and more')
    """
    events: list[Event] = []
    run(job(tmp_path, program("prefixed", body)), events.append)
    assert [e["done"] for e in events] == [1, 1, 1]
    assert "and more" in (tmp_path / "log.txt").read_text()


def test_a_custom_launcher_starts_the_program(tmp_path: Path, program: Program, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOW", f"{sys.executable} -X utf8")
    module = program("mine", "import os, sys; print('utf8', sys.flags.utf8_mode, file=sys.stderr)")
    with_launcher = dataclasses.replace(job(tmp_path, module), launcher=launcher(8, "env SOME='a b' $HOW"))
    assert with_launcher.launcher == ("env", "SOME=a b", sys.executable, "-X", "utf8")
    run(with_launcher, lambda _: None)
    assert "utf8 1" in (tmp_path / "log.txt").read_text()


def test_one_process_needs_no_launcher() -> None:
    assert launcher(1) == ()
    assert launcher(4)[1:] == ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4")


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("torchrun --rdzv-endpoint=$HPT_NO_SUCH:29500", ["$HPT_NO_SUCH is not set", "set it in the environment"]),
        ("torchrun --rdzv-endpoint=${HPT_NO_SUCH}", ["${HPT_NO_SUCH} is not set"]),
        ("srun 'x", ["No closing quotation"]),
        ("hpt-no-such-command -n 2", ["there is no command 'hpt-no-such-command'", "install it"]),
        ("  ", ["names no command"]),
    ],
)
def test_a_wrong_launcher_is_named(command: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        launcher(2, command)
    for part in ["resources.launcher", *parts]:
        assert part in str(caught.value)
