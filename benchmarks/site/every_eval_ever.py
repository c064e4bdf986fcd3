"""A model's scores in the format of Every Eval Ever (evalevalai.com), version 0.3.0: one file per model.

The format wants numbers, and everything else as text. Texts of questions and responses are not in it.
"""

import json
from functools import cache
from importlib.metadata import version
from typing import Any

from benchmarks.catalog.schemas import Row

VERSION = "0.3.0"
"""Version of the format's schema."""
ARGUMENTS = ("temperature", "top_p", "max_tokens")
COUNTS = ("questions", "rows", "samples", "solved", "truncated_share", "mean_tokens")


@cache
def _release() -> str:
    return version("hpt-pipelines")


def record(data: Row) -> Row:
    """The record of a model; `data` is the content of data/models/ID.json."""
    last = max(score["end"] for score in data["scores"])
    facts, stage = data["facts"] or {}, data["stage"] or {}
    details = {
        "deployment_type": _deployment(data["scores"]),
        "model_availability": "unknown",
        "content_hash": data["hash"],
        "lineage": json.dumps([each["name"] for each in data["lineage"]]),
        **{name: facts.get(name) for name in ("algorithm", "family", "parameters", "seed", "origin")},
        **{name: stage.get(name) for name in ("commit", "device_seconds", "trained_tokens")},
    }
    return {
        "schema_version": VERSION,
        "evaluation_id": f"hpt-pipelines/{data['name']}/{last}",
        "evaluation_timestamp": last,
        "retrieved_timestamp": last,
        "source_metadata": {
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "hpt-pipelines", "version": _release()},
        "model_info": {"name": data["name"], "id": data["name"], "additional_details": _texts(details)},
        "evaluation_results": [_result(score) for score in data["scores"]],
    }


def _result(score: Row) -> Row:
    protocol = score["settings"]
    details = {name: score[name] for name in COUNTS}
    details |= {"questions_that_overlap_training_data": score["overlap"], "protocol": score["protocol"]}
    return {
        "evaluation_name": score["benchmark"],
        "source_data": {"dataset_name": score["title"], "source_type": "other"},
        "evaluation_timestamp": score["end"],
        "metric_config": {
            "evaluation_description": f"avg@{score['k']}: mean over questions of the share of correct samples",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
        },
        "score_details": {
            "score": score["avg_at_k"],
            "details": _texts(details),
            "uncertainty": {
                "confidence_interval": {
                    "lower": score["interval_low"],
                    "upper": score["interval_high"],
                    "confidence_level": 0.95,
                    "method": "over questions, with the samples of each as one cluster",
                },
                "num_samples": score["samples"],
            },
        },
        "generation_config": {
            "generation_args": {name: protocol[name] for name in ARGUMENTS},
            "additional_details": _texts({name: v for name, v in protocol.items() if name not in ARGUMENTS}),
        },
    }


def _deployment(scores: list[Row]) -> str:
    """Who ran the model. An endpoint may be anybody's."""
    own = all(str(score["settings"]["engine_version"]).startswith(("vllm ", "transformers ")) for score in scores)
    return "self_deployed" if own else "unknown"


def _texts(values: dict[str, Any]) -> dict[str, str]:
    """The values that are known, as texts."""
    return {name: v if isinstance(v, str) else json.dumps(v) for name, v in values.items() if v is not None}
