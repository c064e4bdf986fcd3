"""The nearest stored artifact is the one with the fewest differences, and secrets do not count as such."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core.redact import redacted
from tasks.execution.differences import differences, nearest

VALUES = st.recursive(
    st.sampled_from(["a", "b", 1, 2.5, None, "hidden-value-1", "https://user:hidden-value-1@host/x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(st.sampled_from("pqr"), st.sampled_from(["1", "2"]), max_size=3)


def identity(config: Any, tables: list[dict[str, str]], number: int = 0) -> Any:
    return SimpleNamespace(
        config=config, versions=tables[0], inputs=tables[1], stage="", end=datetime.fromtimestamp(number, UTC)
    )


@given(st.lists(st.tuples(VALUES, TABLES, TABLES), min_size=2, max_size=5))
def test_the_nearest_has_the_fewest_differences(drawn: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOME_TOKEN", "hidden-value-1")
        target, *others = [identity({"f": c}, [a, b], n) for n, (c, a, b) in enumerate(drawn)]
        stored = [identity(redacted(o.config), [o.versions, o.inputs], n) for n, o in enumerate(others)]
        found: Any = nearest(target, stored)
        assert len(differences(found, target)) == min(len(differences(one, target)) for one in stored)
    assert nearest(target, []) is None
