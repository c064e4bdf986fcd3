import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from benchmarks.publishers.base import Occasion
from benchmarks.publishers.model_card import ModelCard
from benchmarks.report.schemas import SCORES
from benchmarks.suite import get_suite
from hpt_core.errors import PublishError
from tests.benchmarks.publishers.hub import Hub

Make = Callable[[str], Path]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def score(title: str, value: float, **more: Any) -> dict[str, Any]:
    required = {f.name: 0 if f.type == pa.int32() else [] if pa.types.is_list(f.type) else "" for f in SCORES}
    front = {f.name: required[f.name] for f in SCORES if not f.nullable}
    front |= {"kind": "benchmark", "source": "measured", "model": "train.hpt", "label": "hpt", "protocol": "paper"}
    front |= {"k": 32, "questions": 30, "interval_low": value - 0.05, "interval_high": value + 0.05}
    return {**front, "title": title, "avg_at_k": value, **more}


@pytest.fixture
def report(make_report: Make) -> Path:
    folder = make_report("a")
    rows = [
        score("AIME 2024", 0.5, benchmark="aime24", column=0, truncated_share=0.27),
        score("GPQA-Diamond", 0.41234, benchmark="gpqa_diamond", column=2, k=1, questions=198, truncated_share=0.04),
        score("Average", 0.3, kind="average", column=3, truncated_share=0.27),
        score("A | B", 0.25, benchmark="mine", column=1, limit=6, deviations=["k is 2, not 32"]),
        score("AIME 2024", 0.1, benchmark="aime24", model="train.sft"),
    ]
    pq.write_table(pa.Table.from_pylist(rows, SCORES), folder / "tables" / "scores.parquet")
    return folder


@pytest.fixture
def config(hub: Hub) -> ModelCard:
    return ModelCard(repo="lab/model", model="train.hpt", endpoint=hub.url, token_env="HPT_TEST_TOKEN")


def test_a_card_keeps_what_its_author_wrote(hub: Hub, config: ModelCard, report: Path) -> None:
    hub.files["README.md"] = b"---\nlicense: mit\n---\n\n# Mine\n"
    occasion = Occasion(pipeline="demo", when=NOON)
    receipt = config.publish(report, occasion)
    assert receipt.changed
    assert receipt.target == f"{hub.url}/lab/model"
    card = hub.files["README.md"].decode()
    assert card.startswith("---\nlicense: mit\n---\n\n# Mine\n\n<!-- hpt-pipelines")
    table = [line for line in card.splitlines() if line.startswith("|")]
    assert table[2:] == [
        "| AIME 2024 | 50.0 | 45.0\u201355.0 | avg@32 | 30 | 27 % of the responses were cut |",
        "| A \\| B | 25.0 | 20.0\u201330.0 | avg@32 | 30 | at most 6 questions were asked; k is 2, not 32 |",
        "| GPQA-Diamond | 41.2 | 36.2\u201346.2 | pass@1 | 198 |  |",
        "| Average | 30.0 | 25.0\u201335.0 | mean | 30 | on one benchmark, 27 % of the responses were cut |",
    ]
    hub.files["README.md"] = card.replace("# Mine", "# Ours").encode() + b"\n## License\n"
    later = occasion.model_copy(update={"when": NOON + timedelta(days=1)})
    assert not config.publish(report, later).changed, "the scores are the same"
    rows = pq.read_table(report / "tables" / "scores.parquet").to_pylist()
    rows[0]["avg_at_k"] = 0.6
    pq.write_table(pa.Table.from_pylist(rows, SCORES), report / "tables" / "scores.parquet")
    assert config.publish(report, later).changed
    card = hub.files["README.md"].decode()
    assert "# Ours" in card
    assert card.count("## Evaluation") == 1
    assert "| AIME 2024 | 60.0" in card
    assert card.endswith("\n## License\n")
    assert hub.commits == 2


def test_scores_of_registered_benchmarks_become_evaluation_results(hub: Hub, config: ModelCard, report: Path) -> None:
    config.publish(report, Occasion(pipeline="demo", when=NOON))
    entries = yaml.safe_load(hub.files[".eval_results/demo.yaml"])
    source: Any = get_suite("gpqa_diamond").source
    assert entries == [
        {
            "dataset": {"id": source.hub, "task_id": "gpqa_diamond", "revision": source.revision},
            "value": 0.4123,
            "date": "2026-01-01",
            "notes": "avg@1, protocol paper",
        }
    ]
    assert parse_eval_result_entries(entries)[0].value == 0.4123
    created = next(lines[0] for _, path, _, lines in hub.requests if path == "/api/repos/create")
    assert json.dumps(created).count("private") == 1


def test_newer_scores_and_those_of_the_board_are_kept(hub: Hub, config: ModelCard, report: Path) -> None:
    config.publish(report, Occasion(pipeline="demo", when=NOON))
    card = hub.files["README.md"]
    pq.write_table(pa.Table.from_pylist([score("AIME 2024", 0.1)], SCORES), report / "tables" / "scores.parquet")
    assert not config.publish(report, Occasion(when=NOON - timedelta(seconds=1))).changed
    trial = config.publish(report, Occasion(board=False, overrides=("seed=1",)))
    assert not trial.changed
    assert hub.files["README.md"] == card


def test_a_model_without_scores_is_named(config: ModelCard, report: Path) -> None:
    with pytest.raises(PublishError, match=r"no scores of 'train\.hpq'.*did you mean 'train\.hpt'"):
        config.model_copy(update={"model": "train.hpq"}).publish(report)
