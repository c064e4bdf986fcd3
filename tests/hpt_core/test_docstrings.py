from pydantic import BaseModel, Field

from hpt_core.base import Frozen
from hpt_core.docstrings import meaning


class Base(Frozen):
    own: int = 0
    """In the
    base."""
    without: int = 0


class Derived(Base):
    own: int = 1
    more: int = Field(0, description="Given.")
    """Not read."""

    class Inner(BaseModel):
        own: int = 0
        """Inside."""


def test_the_meaning_is_the_description_or_the_docstring_of_the_nearest_base() -> None:
    assert meaning(Derived, "own") == meaning(Base, "own") == "In the\nbase."
    assert meaning(Derived, "more") == "Given."
    assert meaning(Derived.Inner, "own") == "Inside."
    assert meaning(Base, "without") == meaning(Base, "no_such") == ""


def test_a_class_in_a_function_and_one_without_source() -> None:
    class Local(Frozen):
        one: int = 0
        """Local."""

    space: dict[str, type[BaseModel]] = {}
    exec("from hpt_core.base import Frozen\nclass Written(Frozen):\n    one: int = 0\n    'Unseen.'", space)
    assert meaning(Local, "one") == "Local."
    assert meaning(space["Written"], "one") == ""
