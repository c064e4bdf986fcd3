import os
import subprocess
import sys
import threading
import time

import pytest

from hpt_core.errors import ConfigError, VerifierError
from hpt_core.verifiers import Outcome, Verdict, kinds, version
from hpt_core.verifiers.math import Math
from hpt_core.verifiers.pool import Item, VerifierPool


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(workers=2, timeout_s=2.0) as pool:
        yield pool


def math(gold: str, answer: str) -> Item:
    return Item("math", gold, f"\\boxed{{{answer}}}")


def test_verdicts_keep_the_order_of_the_items(pool):
    items = [math("5", "5"), ("choice", "B", "\\boxed{A}"), ("math", "5", "five"), math("", "5"), math("5", "5.0")]
    assert pool.verify(items) == [
        Verdict(Outcome.CORRECT, "5", 1.0),
        Verdict(Outcome.INCORRECT, "A", 0.0),
        Verdict(Outcome.NO_ANSWER, None, 0.0),
        Verdict(Outcome.GOLD_ERROR, "5", 0.0, "empty"),
        Verdict(Outcome.CORRECT, "5.0", 1.0),
    ]
    assert pool.verify([]) == []


def test_submit_returns_before_the_verdicts_and_reports_progress(pool):
    seen = []
    pending = pool.submit([math(str(n), str(n % 7)) for n in range(100)])
    verdicts = pending.result(lambda done, total: seen.append((done, total)))
    assert pending.done()
    assert [n for n, v in enumerate(verdicts) if v.outcome is Outcome.CORRECT] == list(range(7))
    assert seen[-1] == (100, 100) and seen == sorted(seen)


@pytest.mark.slow
def test_an_endless_comparison_does_not_affect_others(pool):
    endless = math("5", "\\prod_{k=1}^{10^{9}} k")
    items = [math(str(n), str(n)) for n in range(20)]
    verdicts = pool.verify([*items[:10], endless, *items[10:]])
    assert verdicts[10].outcome is Outcome.TIMEOUT
    assert {v.outcome for v in verdicts[:10] + verdicts[11:]} == {Outcome.CORRECT}


def test_equal_answers_are_compared_once(pool):
    pending = pool.submit([math("5", "5")] * 500 + [("math", "5", "Since \\boxed{5}")])
    assert sum(len(chunk) for chunk in pending._chunks) == 1
    assert {v.outcome for v in pending.result()} == {Outcome.CORRECT}


def test_the_question_counts_if_the_verifier_reads_it(pool):
    one, other = "Which?\n\nA) iron\nB) gold", "Which?\n\nA) gold\nB) iron"
    items = [Item("choice", "A", "\\boxed{iron}", question) for question in (one, other, one)]
    items += [Item("math", "5", "\\boxed{5}", question) for question in (one, other)]
    pending = pool.submit(items)
    assert sum(len(chunk) for chunk in pending._chunks) == 3
    assert [v.reward for v in pending.result()] == [1.0, 0.0, 1.0, 1.0, 1.0]
    assert [v.extracted for v in pending.result()] == ["A", "B", "A", "5", "5"]


def test_an_exception_is_a_crash_verdict_and_the_pool_continues(pool):
    # A gold answer of another type than text breaks any verifier.
    broken = Item("math", None, "\\boxed{5}")  # type: ignore[arg-type]
    assert [v.outcome for v in pool.verify([broken, math("5", "5")])] == [Outcome.CRASH, Outcome.CORRECT]


def test_it_serves_several_threads_at_once(pool):
    results: dict[int, list[Outcome]] = {}

    def work(number: int) -> None:
        results[number] = [v.outcome for v in pool.verify([math(str(number), str(n)) for n in range(8)])]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = {n: [Outcome.CORRECT if i == n else Outcome.INCORRECT for i in range(8)] for n in range(6)}
    assert results == expected


def test_a_crashing_process_gives_a_crash_verdict(tmp_path):
    # Less address space than a comparison needs: the process fails or dies, whatever it is asked.
    with VerifierPool(workers=1, timeout_s=2.0, memory_mib=1) as small:
        assert small.verify([math("x^2", "x^{2}+\\sqrt{y}")])[0].outcome is Outcome.CRASH


@pytest.mark.slow
def test_workers_killed_from_outside_are_replaced(pool):
    import psutil

    pending = pool.submit([math("5", "\\prod_{k=1}^{10^{9}} k"), *(math(str(n), str(n)) for n in range(40))])
    time.sleep(0.3)
    victims = [process.pid for process in pool._pool._pool_manager.worker_manager.workers.values()]
    for victim in victims:
        if psutil.pid_exists(victim):
            os.kill(victim, 9)
    verdicts = pending.result()
    assert verdicts[0].outcome is Outcome.TIMEOUT
    assert {v.outcome for v in verdicts[1:]} == {Outcome.CORRECT}


def test_it_works_with_standard_input_closed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "from hpt_core.verifiers.pool import Item, VerifierPool\n"
        "if __name__ == '__main__':\n"
        "    with VerifierPool(1) as pool:\n"
        "        assert pool.verify([('math', '5', r'\\boxed{5}')])[0].reward == 1.0\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} {program} <&-"], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""


def test_unknown_kind_and_closed_pool_are_errors():
    with VerifierPool(workers=1) as pool, pytest.raises(ConfigError, match="did you mean 'math'"):
        pool.verify([("maths", "5", "\\boxed{5}")])
    with pytest.raises(VerifierError, match="closed"):
        pool.verify([math("5", "5")])


def test_a_verifier_that_the_processes_cannot_import_is_an_error(pool):
    class Local(Math):
        pass

    class Script(Math):
        pass

    Script.__module__, Script.__qualname__ = "__main__", "Script"
    for verifier in (Local(), Script()):
        with pytest.raises(ConfigError, match="cannot be imported by worker processes"):
            pool.verify([math("5", "5"), Item(verifier, "5", "\\boxed{5}")])
    assert pool.verify([Item(Math(), "5", "\\boxed{5}")])[0].correct


def test_kinds_are_the_shipped_verifiers():
    assert kinds() == ("choice", "math", "math_verify")
    assert version("choice") == "choice-4"


@pytest.mark.slow
def test_no_process_outlives_a_killed_caller(tmp_path):
    import psutil

    program = tmp_path / "program.py"
    program.write_text(
        "import time\n"
        "from hpt_core.verifiers.pool import Item, VerifierPool\n"
        "if __name__ == '__main__':\n"
        "    pool = VerifierPool(2, timeout_s=60.0)\n"
        "    pool.verify([('math', '5', r'\\boxed{5}')])\n"
        "    pending = pool.submit([('math', '5', r'\\boxed{\\prod_{k=1}^{10^{9}} k}')])\n"
        "    print('ready', flush=True)\n"
        "    pending.result()\n",
        encoding="utf-8",
    )
    caller = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert caller.stdout is not None and caller.stdout.readline() == b"ready\n"
    family = psutil.Process(caller.pid).children(recursive=True)
    assert len(family) >= 3  # the fork server and two workers
    caller.kill()
    caller.wait(10)
    caller.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=60)  # a process that is still importing ends after that
    assert [process.pid for process in alive] == []
