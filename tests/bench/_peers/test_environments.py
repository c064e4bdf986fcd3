"""Environments of the packages that we compare with."""

import hashlib
from pathlib import Path

import pytest

from bench._peers import environments
from bench._peers.environments import PEERS, Peer
from bench.machine import ROOT


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_a_peer_has_pinned_requirements(peer: Peer) -> None:
    pins = [line for line in peer.requirements.read_text(encoding="utf-8").splitlines() if "==" in line]
    assert any(line.lower().startswith(peer.distribution.lower()) for line in pins)


def test_an_existing_environment_is_reused(tmp_path: Path) -> None:
    peer = PEERS["trl"]
    (tmp_path / "trl").mkdir()
    digest = hashlib.sha256(environments._identity(peer)).hexdigest()
    (tmp_path / "trl" / "environment.sha256").write_text(digest)
    assert environments.make(peer, tmp_path) == tmp_path / "trl" / "bin" / "python"
    assert not (tmp_path / "trl" / "bin").exists()


def test_a_peer_can_import_the_adapters() -> None:
    assert environments.variables()["PYTHONPATH"] == str(ROOT)
