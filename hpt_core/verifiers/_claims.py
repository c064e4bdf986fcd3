"""Claims about the options of a multiple-choice question, and what they give together."""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple


class How(Enum):
    """What a claim says of its label."""

    NAMED = "the answer"
    AFFIRMED = "correct"
    """Two options that are affirmed leave the answer open."""
    MATCHED = "what a result belongs to"
    """As AFFIRMED, but it does not change an answer that was named."""
    EXCLUDED = "not the answer"
    RETRACTED = "what was said before is taken back"


class Claim(NamedTuple):
    """What a sentence says of an option."""

    at: int
    """Position in the text."""
    label: str
    """In capitals; "" for several."""
    how: How
    corrects: bool = False
    """Whether the sentence begins with a word such as "wait"."""


def decided(claims: Iterable[Claim]) -> str | None:
    """The label that claims in their order give, as `_statements.stated` returns it."""
    label: str | None = None
    how: How | None = None
    for claim in claims:
        if claim.how is How.RETRACTED or (claim.how is How.EXCLUDED and claim.label == label):
            label, how = None if label is None else "", None
        elif claim.how is How.NAMED or (claim.corrects and claim.how is How.AFFIRMED):
            label, how = claim.label, claim.how
        elif claim.how is How.AFFIRMED or (claim.how is How.MATCHED and how is not How.NAMED):
            differs = how in (How.AFFIRMED, How.MATCHED) and claim.label != label
            label, how = "" if differs else claim.label, claim.how
    return label
