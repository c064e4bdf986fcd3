"""What identifies an artifact: its own resolved config, its components' versions, its inputs' hashes."""

from collections.abc import Mapping
from typing import Any

from hpt_core.files import sha256_json


def fingerprint(kind: str, version: str, config: Any, versions: Mapping[str, str], inputs: Mapping[str, str]) -> str:
    """SHA-256 (64 hexadecimal digits) of what decides an artifact.

    `kind` is the first folder in the store and `version` that of its schema; `config` is the resolved config as JSON,
    without devices, slices, logging, checkpoint cadence, paths and names; `versions` maps components (trainer, prompts)
    to versions and modules of plug-ins to hashes of their code; `inputs` maps a role ("model", "questions") to a hash.
    The key order of none of them matters.
    """
    return sha256_json(
        {"kind": kind, "version": version, "config": config, "versions": dict(versions), "inputs": dict(inputs)}
    )
