"""Every suite, the limit, and errors of benchmarks."""

import pytest

from benchmarks.suite import Question, QuestionSource, Suite, get_suite, questions_table, suite_names
from hpt_core.errors import ConfigError, DataError
from hpt_core.schemas import QUESTIONS


class Listed(QuestionSource):
    """Questions given as they are."""

    questions: tuple[Question, ...]

    def read(self, data_dir):
        return list(self.questions)


def listed(*ids: str, rows: int | None = None) -> Suite:
    questions = tuple(Question(question_id=i, question=f"Which is {i}?", gold=i, kind="math") for i in ids)
    return Suite(
        name="listed",
        title="Listed",
        group="in",
        rows=rows or len(ids),
        kind="math",
        k=4,
        source=Listed(questions=questions),
    )


@pytest.mark.parametrize("name", suite_names())
def test_suite_is_named_after_its_file(name):
    suite = get_suite(name)
    assert suite.name == name
    assert suite.title
    assert suite.kind == "math" or suite.instruction


@pytest.mark.parametrize("name", [name for name in suite_names() if not get_suite(name).source.needs(None)])
def test_suite_that_needs_nothing_loads_the_same_questions_every_time(name):
    suite = get_suite(name)
    questions = suite.load(None)
    assert len(questions) == suite.rows
    assert {question.kind for question in questions} == {suite.kind}
    assert questions == suite.load(None)
    few = suite.load(None, 3)
    assert len(few) == 3 and few == [q for q in questions if q in few]


@pytest.mark.parametrize("name", suite_names())
def test_identity_needs_no_network_and_is_stable(name):
    source = get_suite(name).source
    assert source.content(None) == source.content(None)
    assert source.content(None)


def test_a_source_that_refuses_a_row_is_an_error_of_the_benchmark():
    class Refusing(QuestionSource):
        def read(self, data_dir):
            raise ValueError("field 'a' is empty")

    suite = listed("a").model_copy(update={"source": Refusing()})
    with pytest.raises(DataError, match="the questions of benchmark listed cannot be read: field 'a' is empty"):
        suite.load(None)


def test_unknown_suite_names_near_matches():
    with pytest.raises(ConfigError, match=r"did you mean 'aime25' or 'aime24'"):
        get_suite("aime2")


def test_another_number_of_rows_names_both():
    with pytest.raises(DataError, match=r"listed has 3 rows where 30 are expected"):
        listed("a", "b", "c", rows=30).load(None)


def test_repeated_ids_are_an_error():
    with pytest.raises(DataError, match=r"1 repeated question ids"):
        listed("a", "b", "a").load(None)


def test_limits_are_nested_keep_the_order_and_ignore_the_rows_order():
    ids = [f"q{i}" for i in range(50)]
    taken = {n: [q.question_id for q in listed(*ids).load(None, n)] for n in (1, 7, 20, 50, 99)}
    assert [len(taken[n]) for n in (1, 7, 20, 50, 99)] == [1, 7, 20, 50, 50]
    assert set(taken[1]) < set(taken[7]) < set(taken[20]) < set(taken[50])
    assert taken[7] == [i for i in ids if i in taken[7]]
    assert taken[7] != ids[:7]
    assert {q.question_id for q in listed(*reversed(ids)).load(None, 7)} == set(taken[7])


def test_limit_always_takes_the_same_questions():
    assert [q.question_id for q in listed(*"abcdefghij").load(None, 3)] == ["a", "b", "e"]


def test_questions_table_has_the_schema_and_the_order():
    table = questions_table(listed("b", "a").load(None))
    assert table.schema == QUESTIONS
    assert table.column("question_id").to_pylist() == ["b", "a"]
    assert table.column("gold").to_pylist() == ["b", "a"]
