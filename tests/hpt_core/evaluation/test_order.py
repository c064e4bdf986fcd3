"""The order of sampling."""

from hypothesis import given
from hypothesis import strategies as st

from hpt_core.evaluation.order import Ask, Lengths, Queue

LIMIT = 1000


def queue(*questions, k=2, finished=()):
    """A queue over units with so many questions; `finished`: tokens of a response each unit has already."""
    lengths = [Lengths(LIMIT) for _ in questions]
    for unit, tokens in enumerate(finished):
        lengths[unit].add(tokens)
    return Queue([[(q, tuple(range(k))) for q in range(count)] for count in questions], lengths)


@given(st.lists(st.integers(0, 5), max_size=5), st.integers(1, 3), st.randoms(use_true_random=False))
def test_everything_is_sampled_once_with_a_questions_samples_together(questions, k, random):
    asked = []
    waiting = []
    q = queue(*questions, k=k)
    for ask in q:
        asked.append(ask)
        waiting.append(ask)
        while waiting and random.random() < 0.5:
            q.finished(waiting.pop(random.randrange(len(waiting))), random.randint(1, LIMIT))
    everything = {Ask(u, n, i) for u, count in enumerate(questions) for n in range(count) for i in range(k)}
    assert len(asked) == len(everything)
    assert set(asked) == everything
    for start in range(0, len(asked), k):
        assert len({(a.unit, a.question) for a in asked[start : start + k]}) == 1


def test_one_question_of_each_comes_first():
    assert [ask.unit for ask in queue(3, 3, 3, k=1)][:3] == [0, 1, 2]


def test_the_longest_expected_responses_come_next():
    order = [ask.unit for ask in queue(4, 4, 4, k=1, finished=(10, 900, 300))]
    assert order == [0, 1, 2, 1, 1, 1, 2, 2, 2, 0, 0, 0]


def test_finished_responses_change_the_order():
    q = queue(10, 10, k=1)
    iterator = iter(q)
    seen = []
    for _ in range(20):
        ask = next(iterator)
        seen.append(ask.unit)
        q.finished(ask, 900 if ask.unit == 1 else 10)
    assert (
        seen.index(0, 1) > 10
    )  # of the shorter benchmark only the first question is drawn before the longer is through
    assert q.tokens_left == 0


def test_remaining_tokens_use_the_mean_of_finished_responses():
    q = queue(2, 1, k=2, finished=(100,))
    assert q.tokens_left == 4 * 100 + 2 * LIMIT
    q.finished(Ask(0, 0, 0), 300)
    assert q.tokens_left == 3 * 200 + 2 * LIMIT


def test_benchmarks_with_few_responses_count_as_long():
    lengths = Lengths(LIMIT)
    assert lengths.expected == LIMIT
    lengths.add(100)
    assert lengths.expected == 550
    assert lengths.mean == 100
