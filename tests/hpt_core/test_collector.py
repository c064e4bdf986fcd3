"""The garbage collector of a program that imports much."""

import subprocess
import sys

PROGRAM = """
import atexit, gc
from hpt_core import collector

atexit.register(lambda: print("last", gc.get_freeze_count() > 0))
collector.spare()
atexit.register(lambda: print("first", gc.get_freeze_count()))
print(gc.get_threshold()[0])
"""


def test_nothing_is_scanned_after_the_last_function_at_exit() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["200000", "first", "0", "last", "True"]
