"""What identifies a stage's output: its own resolved config, its components' versions, its inputs' output hashes."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from hpt_core.files import sha256_json

Kind = Literal["model", "benchmark", "data", "contamination", "train", "samples", "verdicts", "report", "publish"]
"""What a stage makes; the first folder in the store."""

KINDS: tuple[Kind, ...] = get_args(Kind)

VERSIONS: dict[Kind, str] = {
    "model": "1",
    "benchmark": "1",
    "data": "1",
    "contamination": "1",
    "train": "1",
    "samples": "1",
    "verdicts": "1",
    "report": "1",
    "publish": "1",
}
"""Schema version of each kind of stage: raised when the same config would no longer give the same output."""


def fingerprint(kind: Kind, config: Any, versions: Mapping[str, str], inputs: Mapping[str, str]) -> str:
    """SHA-256 (64 hexadecimal digits) of what decides a stage's output.

    `config` is the stage's own resolved config as JSON, without devices, slices, logging, checkpoint cadence, paths and
    names; `versions` maps components (algorithm, prompt, grader) to their versions; `inputs` maps a role ("model",
    "questions") to the input's output hash. The key order of none of them matters.
    """
    return sha256_json(
        {
            "kind": kind,
            "version": VERSIONS[kind],
            "config": config,
            "versions": dict(versions),
            "inputs": dict(inputs),
        }
    )
