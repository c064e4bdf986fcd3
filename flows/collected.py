"""Run a program whose garbage is collected in a thread of its own: `python -m flows.collected prefect server start`.

Prefect's server with SQLite needs this. A statement that fails with "database is locked" leaves a cursor in a reference
cycle. When the collector frees the cursor, SQLite resets its statement, for which it needs the connection's mutex.
Another thread may hold that for 60 s, while it waits for the write lock of a second connection, whose transaction the
event loop has to finish. If the collector then runs in the event loop's thread, as it may at any allocation, the server
answers nothing for these 60 s. In a thread of its own, only that thread waits.
"""

import gc
import runpy
import sys
import threading
import time

EVERY_S = 1.0
"""Seconds between two collections of young objects. Cycles are rare, so there is little to collect."""
WHOLE = 30
"""Number of such collections after which all objects are examined, which takes about 0.1 s."""


def collect_in_thread() -> None:
    """Collect this process's garbage in a thread of its own from now on."""
    gc.disable()
    threading.Thread(target=_collect, name="hpt-collect", daemon=True).start()


def _collect() -> None:
    count = 0
    while True:
        time.sleep(EVERY_S)
        count += 1
        gc.collect(2 if count % WHOLE == 0 else 1)


def main(arguments: list[str]) -> None:
    """Run the module that the first argument names, as its main program, with the other arguments."""
    collect_in_thread()
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
