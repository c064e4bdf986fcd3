"""The store. Each artifact is in STORE/KIND/FINGERPRINT/ and exists once its manifest is written.

STORE/KIND/FINGERPRINT/manifest.json   written last; makes the artifact exist
                       output/         the artifact's files
                       work/           work in progress, removed when the manifest is written
                       log.txt         the stage's log, appended to by every attempt
                       attempts.jsonl  times of the attempts so far, removed when the manifest is written
STORE/history/                         a record of each run
      pins/                            artifacts to keep
      by-name/, by-pipeline/, by-date/ links to the artifacts used last, for people
      .leases/                         who is producing an artifact, and which runs are in progress
"""

from hpt_core.artifacts.fingerprint import fingerprint
from hpt_core.artifacts.history import History, RunLog, RunRecord, StageRecord
from hpt_core.artifacts.known import KnownFiles
from hpt_core.artifacts.lease import BaseLease, Lease
from hpt_core.artifacts.manifest import Cost, Damage, FileEntry, Manifest, describe_files, outputs_hash
from hpt_core.artifacts.mirror import REPORT
from hpt_core.artifacts.store import Slot, Store

__all__ = [
    "REPORT",
    "BaseLease",
    "Cost",
    "Damage",
    "FileEntry",
    "History",
    "KnownFiles",
    "Lease",
    "Manifest",
    "RunLog",
    "RunRecord",
    "Slot",
    "StageRecord",
    "Store",
    "describe_files",
    "fingerprint",
    "outputs_hash",
]
