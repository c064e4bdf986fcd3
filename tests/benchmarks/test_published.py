import pytest

from benchmarks.protocols.paper import Paper
from benchmarks.published import get_published, published_names
from benchmarks.suite import get_suite
from hpt_core.errors import ConfigError


def test_the_three_tables_exist() -> None:
    assert published_names() == ("llama-3.1-8b", "qwen2.5-math-1.5b", "qwen2.5-math-7b")
    counts = {name: [row.label for row in get_published(name).rows] for name in published_names()}
    assert counts["qwen2.5-math-7b"] == ["base", "SFT", "GRPO", "SFT → GRPO", "LUFFY", "SRFT", "HPT"]
    assert counts["llama-3.1-8b"] == counts["qwen2.5-math-1.5b"] == ["base", "SFT", "GRPO", "LUFFY", "HPT"]


@pytest.mark.parametrize("name", published_names())
def test_benchmarks_exist_in_their_group(name: str) -> None:
    table = get_published(name)
    assert sorted(table.benchmarks) == sorted(b for group in table.groups.values() for b in group)
    for group, members in table.groups.items():
        assert all(get_suite(benchmark).group == group for benchmark in members)


@pytest.mark.parametrize("name", published_names())
def test_printed_averages_agree_with_the_printed_scores(name: str) -> None:
    """The source averages unrounded scores, so its averages can differ from those of the rounded ones by 0.1."""
    table = get_published(name)
    for row in table.rows:
        scores = dict(zip(table.benchmarks, row.scores, strict=True))
        for group, members in table.groups.items():
            mean = sum(scores[b] for b in members) / len(members)
            assert abs(mean - row.averages[group]) < 0.11, (row.label, group, mean)


@pytest.mark.parametrize("name", published_names())
def test_a_table_says_how_its_numbers_were_measured(name: str) -> None:
    table = get_published(name)
    assert table.protocol.name == "paper"
    assert "Math-Verify on the whole response" in table.protocol.grader
    assert set(table.protocol.data) == set(table.benchmarks) <= set(Paper().benchmarks)
    # AMC was measured on 83 questions, not on the 40 of amc23.
    assert table.protocol.data["amc"] == "AI-MO/aimo-validation-amc"
    same = {benchmark for benchmark, data in table.protocol.data.items() if data == get_suite(benchmark).source.origin}
    assert same == {"aime25", "amc"}


def test_spot_checks_against_the_source() -> None:
    rows = {row.label: row for row in get_published("qwen2.5-math-7b").rows}
    assert rows["HPT"].scores == (33.0, 21.9, 69.4, 89.2, 46.0, 56.9, 81.6, 42.9)
    assert get_published("llama-3.1-8b").rows[-1].averages == {"in": 18.2}


def test_an_unknown_table_lists_near_matches() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'qwen2\.5-math-7b'"):
        get_published("qwen2.5-7b")
