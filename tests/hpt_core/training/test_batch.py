"""Micro-batches."""

from hypothesis import given
from hypothesis import strategies as st

from hpt_core.training.batch import Tokens, collate, split


@st.composite
def some_rows(draw: st.DrawFn) -> list[Tokens]:
    """Rows of a few prompts, as of rollouts."""
    prompts = draw(st.lists(st.integers(1, 30), min_size=1, max_size=5))
    rows = draw(st.lists(st.tuples(st.integers(0, len(prompts) - 1), st.integers(1, 40)), max_size=30))
    return [Tokens((p, *range(prompts[p])), tuple(range(length))) for p, length in rows]


@given(rows=some_rows(), budget=st.integers(1, 200), packed=st.booleans())
def test_split_keeps_every_row_and_the_budget(rows: list[Tokens], budget: int, packed: bool) -> None:
    groups = split(rows, budget, packed)
    assert sorted(i for group in groups for i in group) == list(range(len(rows)))
    sizes = [collate([rows[i] for i in group], packed=packed).input_ids.numel() for group in groups]
    for group, size in zip(groups, sizes, strict=True):
        assert len(group) == 1 or size <= budget


def test_rollouts_of_a_question_share_its_prompt() -> None:
    rows = [Tokens((1, 2, 3), (4, 5)), Tokens((7,), (8,)), Tokens((1, 2, 3), (6, 7, 8)), Tokens((1, 2, 3), (9,))]
    batch = collate(rows, packed=True)
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 6, 7, 7]]
    assert batch.position_ids is not None
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 3, 4, 0]]
    assert batch.targets.tolist() == [4, 5, 8, 6, 7, 8, 9]
    assert batch.row_ids.tolist() == [0, 0, 1, 2, 2, 2, 3]
    assert batch.temperatures is None
    assert batch.input_ids.flatten()[batch.positions].tolist() == [3, 4, 7, 3, 6, 7, 3]
    assert split(rows, 7, packed=True) == [[0, 2, 3, 1]]


def test_a_question_too_large_for_one_micro_batch_is_cut() -> None:
    rows = [Tokens((1, 2, 3), tuple(range(6)))] * 5
    assert split(rows, 13, packed=True) == [[0, 1], [2, 3], [4]]


def test_collate_pairs_each_response_token_with_the_position_that_predicts_it() -> None:
    rows = [Tokens((5, 6, 7), (8, 9)), Tokens((1,), (2, 3, 4), temperature=0.5)]
    batch = collate(rows)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8], [1, 2, 3, 0]]
    assert batch.targets.tolist() == [8, 9, 2, 3, 4]
    assert batch.input_ids.flatten()[batch.positions].tolist() == [7, 8, 1, 2, 3]
    assert batch.row_ids.tolist() == [0, 0, 1, 1, 1]
    assert batch.temperatures is not None
    assert batch.temperatures.tolist() == [1.0, 1.0, 0.5, 0.5, 0.5]
