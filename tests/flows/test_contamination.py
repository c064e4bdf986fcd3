"""Training data that contains benchmark questions, in a real pipeline."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.suite import get_suite

Outputs = Callable[[Path, str], list[Path]]


def leak(folder: Path) -> Path:
    """Training questions: the benchmark asks one, and the demonstration of another is a question of its too."""
    asked = get_suite("procedural_double").load(None, limit=4)
    rows = [{"question": f"own question {i}", "answer": "3", "demonstration": "\\boxed{3}"} for i in range(6)]
    rows[2] |= {"id": "leaked", "question": asked[0].question.upper()}
    rows[4] |= {"id": "quoting", "demonstration": asked[1].question}
    path = folder / "leak.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_what_training_data_share_with_a_benchmark_is_found_told_and_can_stop_a_publication(
    again: Any, outputs: Outputs
) -> None:
    again.train_too()
    text = again.config.read_text()
    source = '{ name = "procedural", rows = 64, seed = 1 }'
    assert source in text
    file = leak(again.folder)
    text = text.replace(source, f'{{ name = "jsonl", file = "{file}" }}\nunverified = "keep"')
    again.config.write_text(text.replace("steps = 150", "steps = 1"))

    gate = "report.max_overlap={}".format
    done = again("run", "tiny.toml", "--set", gate(0.2), code=1)
    assert "2 of 4 questions of procedural_double overlap data.d" in done.stderr
    assert done.stderr.index("nothing will be published") < done.stderr.index("train.sft: ")
    assert "2 of 4 questions of " in done.stderr and "training data of sft" in done.stderr
    assert "report.max_overlap is 0.2, so nothing was published" in done.stderr
    assert "Traceback" not in done.stderr
    assert not again.published.exists()

    # Everything else is there, and what was found stands in it.
    (report,) = (folder for folder in outputs(again.store, "report") if has_training(folder))
    rows = pq.read_table(report / "output" / "tables" / "scores.parquet").to_pylist()
    found = {(r["label"], r["benchmark"]): r for r in rows if r["kind"] == "benchmark"}
    counts = {key: (r["overlapping_questions"], r["overlapping_in_demonstrations"]) for key, r in found.items()}
    assert counts == {
        ("base", "procedural_double"): (None, None),
        ("base", "procedural_mixed"): (None, None),
        ("sft", "procedural_double"): (2, 1),
        ("sft", "procedural_mixed"): (0, 0),
    }
    clean = found["sft", "procedural_mixed"]
    assert clean["avg_at_k_clean"] == clean["avg_at_k"]
    # Both models have the same chat template, which the samples recorded.
    base = found["base", "procedural_mixed"]
    assert clean["prompt_hash"] == base["prompt_hash"] != found["base", "procedural_double"]["prompt_hash"]
    assert base["prompt_hash"].startswith("sha256:") and clean["differences"] == []
    table = pq.read_table(report / "output" / "tables" / "contamination.parquet").to_pylist()
    assert [(r["data"], r["question_match"]) for r in table if r["question_overlap"]] == [("data.d", "leaked")]
    assert [r["demonstration_match"] for r in table if r["demonstration_overlap"]] == ["quoting"]
    assert "§" in (report / "output" / "leaderboard.md").read_text()

    plan = {s["stage"]: s for s in json.loads(again.look("plan", "tiny.toml", "--json").stdout)["stages"]}
    assert plan["contamination.d"]["state"] == "done"
    assert [o["key"] for o in plan["contamination.d"]["artifacts"]] == [
        "contamination.d/procedural_double",
        "contamination.d/procedural_mixed",
    ]

    passed = again("run", "tiny.toml", "--set", gate(0.5))
    assert "contamination.d: reused" in passed.stderr and "report: reused" in passed.stderr
    assert (again.published / "index.html").is_file()
    (published,) = again.published.glob("runs/*/tables/contamination.parquet")
    assert published.read_bytes() == (report / "output" / "tables" / "contamination.parquet").read_bytes()


def has_training(report: Path) -> bool:
    """Whether a report is that of the pipeline with training."""
    return pq.read_metadata(report / "output" / "tables" / "training_log.parquet").num_rows > 0
