"""Fingerprints. An artifact is identified by its resolved config, its component versions and its input hashes."""

from collections.abc import Mapping
from typing import Any

from hpt_core.files import sha256_json


def fingerprint(kind: str, version: str, config: Any, versions: Mapping[str, str], inputs: Mapping[str, str]) -> str:
    """SHA-256 (64 hexadecimal digits) that identifies an artifact.

    `kind` is the first folder in the store, `version` the version of its schema. `config` is the resolved config as
    JSON, without devices, slices, logging, checkpoint cadence, paths and names. `versions` maps components (trainer,
    prompts) to versions, and plug-in modules to hashes of their code. `inputs` maps a role ("model", "questions") to a
    hash. Key order does not matter.
    """
    return sha256_json(
        {"kind": kind, "version": version, "config": config, "versions": dict(versions), "inputs": dict(inputs)}
    )
