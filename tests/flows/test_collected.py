"""Prefect's server with SQLite does not stop answering under load."""

import os

from bench.child import call
from bench.scale.prefect import load
from flows.collected import collect_in_thread
from tests.server import Server


def test_no_request_waits_for_the_busy_timeout(private_server: Server) -> None:
    """As `prefect server start` runs it, the server answers nothing for 60 s within the first seconds."""
    found = load(private_server.environment["PREFECT_API_URL"], clients=8, seconds=6)
    assert found["took_s"] < 40, found


def test_garbage_is_collected_in_a_thread() -> None:
    found = call("tests.flows.test_collected", {}, os.environ)
    assert found == {"enabled": False, "thread": "hpt-collect"}


def collected() -> dict[str, object]:
    """Whether the collector runs by itself, and the thread that frees an object in a cycle."""
    import gc
    import threading
    import time

    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            freed_in.append(threading.current_thread().name)

    freed_in: list[str] = []
    collect_in_thread()
    Cycle()
    give_up = time.monotonic() + 30
    while not freed_in and time.monotonic() < give_up:
        time.sleep(0.1)
    return {"enabled": gc.isenabled(), "thread": freed_in[0]}


if __name__ == "__main__":
    from bench.child import answer

    answer(collected)
