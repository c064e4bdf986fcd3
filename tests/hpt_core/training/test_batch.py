"""Micro-batches."""

from hypothesis import given
from hypothesis import strategies as st

from hpt_core.training.batch import Tokens, collate, split


@given(lengths=st.lists(st.integers(1, 50), max_size=30), budget=st.integers(1, 200))
def test_split_keeps_every_row_and_the_budget(lengths: list[int], budget: int) -> None:
    groups = split(lengths, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= budget


def test_collate_places_each_response_token_behind_what_predicts_it() -> None:
    rows = [Tokens((5, 6, 7), (8, 9)), Tokens((1,), (2, 3, 4), temperature=0.5)]
    batch = collate(rows)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8], [1, 2, 3, 0]]
    assert batch.targets.tolist() == [8, 9, 2, 3, 4]
    assert batch.input_ids.flatten()[batch.positions].tolist() == [7, 8, 1, 2, 3]
    assert batch.row_ids.tolist() == [0, 0, 1, 1, 1]
    assert batch.temperatures.tolist() == [1.0, 1.0, 0.5, 0.5, 0.5]
