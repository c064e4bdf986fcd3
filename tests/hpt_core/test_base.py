from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from hpt_core.base import Frozen, as_list, idle_settings


class Inner(Frozen):
    """A table with a setting that changes nothing."""

    size: int = 1

    def without_effect(self) -> Iterator[str]:
        if self.size == 0:
            yield "size is 0; raise it"


class Outer(Frozen):
    """Lists of every form."""

    one: Inner = Inner()
    many: tuple[Inner, ...] = ()
    named: dict[str, Inner] = {}
    words: tuple[str, ...] | None = None
    pair: tuple[int, int] = (1, 2)
    either: str | tuple[str, ...] = "all"


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"many": {"size": 3}}, "many", (Inner(size=3),)),
        ({"many": Inner(size=3)}, "many", (Inner(size=3),)),
        ({"many": [{"size": 3}]}, "many", (Inner(size=3),)),
        ({"many": ()}, "many", ()),
        ({"words": "a"}, "words", ("a",)),
        ({"words": None}, "words", None),
        ({"words": {"a": 1}.keys()}, "words", ("a",)),
        ({"either": "a"}, "either", "a"),
        ({"either": ["a"]}, "either", ("a",)),
    ],
)
def test_a_field_that_is_a_list_takes_a_single_value(given: dict[str, Any], field: str, value: Any) -> None:
    assert getattr(Outer.model_validate(given), field) == value


@pytest.mark.parametrize("given", [{"pair": 1}, {"named": [{"size": 1}]}, {"words": 3}, {"many": "a"}])
def test_no_other_field_takes_a_value_of_another_shape(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Outer.model_validate(given)


@pytest.mark.parametrize(("value", "found"), [(None, None), ("a", ["a"]), ([1], [1]), ((1,), (1,)), ({1: 2}, [{1: 2}])])
def test_as_list(value: Any, found: Any) -> None:
    assert as_list(value) == found


def test_settings_without_effect_are_found_in_every_table() -> None:
    idle = {"size": 0}
    config = Outer.model_validate({"one": idle, "many": [{}, idle], "named": {"x": idle}})
    assert list(idle_settings(config)) == [
        "one.size is 0; raise it",
        "many.1.size is 0; raise it",
        "named.x.size is 0; raise it",
    ]
    assert list(idle_settings(Outer())) == []
