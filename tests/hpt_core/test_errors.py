import pytest

from hpt_core.errors import near


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("MATH500", ("math500", "aime24"), "did you mean 'math500'? known: math500, aime24"),
        ("hpt", ("HPT", "grpo"), "did you mean 'HPT'? known: HPT, grpo"),
        ("aa", ("Aa", "aA"), "did you mean 'Aa' or 'aA'? known: Aa, aA"),
        ("zzz", ("math500",), "known: math500"),
    ],
)
def test_near_matches_have_any_case(name: str, known: tuple[str, ...], said: str) -> None:
    assert near(name, known) == said
