"""The garbage collector of a program that imports much."""

import atexit
import gc

OBJECTS = 200_000
"""New objects between two collections."""


def spare() -> None:
    """Collect less often, and not at exit. Call it once, when a program starts.

    Importing torch, transformers, vLLM or Prefect makes up to a million objects that stay until the end. Scanning them
    again and again takes a tenth of the time until a worker has started. Python scans them several times more at exit,
    which takes up to two seconds.
    """
    gc.set_threshold(OBJECTS)
    # Registered first, so it runs after all other functions at exit. Frozen objects are not scanned.
    atexit.register(gc.freeze)
