"""A model's card: Markdown with the front matter that the Hub reads."""

import json
from collections.abc import Iterator

from benchmarks.catalog.schemas import Row
from benchmarks.markdown import ScoreRow, escape, overlap_note, score_table, truncated_note
from hpt_core.texts import harmless


def card(data: Row) -> str:
    """The card of a model; `data` is the content of data/models/ID.json."""
    facts, stage = data["facts"] or {}, data["stage"] or {}
    repo = (facts.get("origin") or {}).get("repo")
    line = [*(each["name"] for each in data["lineage"]), data["name"]]
    told = [
        ("Algorithm", facts.get("algorithm")),
        ("Parameters", facts.get("parameters")),
        ("Seed", facts.get("seed")),
        ("Training data, content hash", ", ".join(facts.get("data") or ())),
        ("Tokens trained on", stage.get("trained_tokens")),
        ("Device hours", stage.get("device_seconds") and f"{stage['device_seconds'] / 3600:.3g}"),
        ("Code", stage.get("commit")),
        ("Content hash of the model", data["hash"]),
    ]
    lines = [
        "---",
        *([f"base_model: {json.dumps(repo)}"] if repo else []),  # a string of JSON is one of YAML, too
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags: [hpt-pipelines]",
        "---",
        "",
        f"# {escape(data['name'])}",
        "",
        f"Lineage: {' → '.join(map(escape, line))}",
        "",
        "## Evaluation",
        "",
        *score_table([_row(score) for score in data["scores"]]),
        "",
        "## How it was made",
        "",
        *(f"- {term}: {escape(str(value))}" for term, value in told if value not in (None, "")),
        *_config(stage),
    ]
    return harmless("\n".join(lines) + "\n")


def _row(score: Row) -> ScoreRow:
    notes = [] if score["complete"] else [f"{score['questions']} of {score['rows']} questions were asked"]
    settings = score["settings"]
    protocol = [settings["name"], settings["engine_version"], settings["dtype"], settings["grader_version"]]
    notes += truncated_note(score["truncated_share"]) + overlap_note(score["overlap"])
    return ScoreRow(
        score["title"],
        score["avg_at_k"],
        (score["interval_low"], score["interval_high"]),
        score["k"],
        score["questions"],
        [*notes, ", ".join(filter(None, protocol)), score["end"][:10]],
    )


def _config(stage: Row) -> Iterator[str]:
    if stage.get("config"):
        # Indented code has no end mark, which a text in the config could imitate.
        yield from ("", "Config of the stage:", "")
        yield from (f"    {line}" for line in json.dumps(stage["config"], indent=2, ensure_ascii=False).splitlines())
