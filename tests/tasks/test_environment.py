"""What the machine is found to have."""

import pytest

from tasks.environment import visible_memory

TABLE = """0, GPU-aaaa, 81559
1, GPU-bbbb, 24564
2, GPU-cccc, [N/A]
"""
FIRST, SECOND = 81559 * 2**20, 24564 * 2**20


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, (FIRST, SECOND)),
        ("1,0", (SECOND, FIRST)),
        ("GPU-bbbb", (SECOND,)),
        ("", ()),
        ("7", ()),
    ],
)
def test_memory_is_that_of_the_devices_a_worker_sees(visible: str | None, expected: tuple[int, ...]) -> None:
    assert visible_memory(TABLE, visible) == expected
