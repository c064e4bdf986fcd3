"""TRL's own environment, for the comparisons with it: made once, from requirements/trl.txt, beside the project's.

    python bench/trl_env.py [--env bench/.trl-venv]     makes it, or does nothing where it is there already

Whatever both environments hold has the version of requirements/constraints.txt.
"""

import argparse
import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from machine import ROOT

DEFAULT = ROOT / "bench" / ".trl-venv"
REQUIREMENTS = ROOT / "requirements" / "trl.txt"
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where TRL is."""
    parser.add_argument("--trl-python", type=Path, help="interpreter of an environment that has TRL")
    parser.add_argument("--env", type=Path, default=DEFAULT, help="where else TRL's environment is, or is made")


def python(options: argparse.Namespace) -> Path:
    """The interpreter of TRL's environment, which is made where it is missing."""
    return options.trl_python or make(options.env)


def make(folder: Path) -> Path:
    """Make the environment in `folder` where it is not there already; its interpreter."""
    interpreter, stamp = folder / "bin" / "python", folder / "trl-environment.sha256"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + CONSTRAINTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return interpreter
    print(f"making TRL's environment in {folder} (a few minutes; 1.5 GB with the CPU build of torch)", file=sys.stderr)
    venv.EnvBuilder(with_pip=True, clear=True).create(folder)
    (folder / ".gitignore").write_text("*\n", encoding="ascii")
    wanted = ["--requirement", str(REQUIREMENTS), "--constraint", str(CONSTRAINTS)]
    command = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *wanted]
    if subprocess.run(command, check=False).returncode:
        sys.exit("TRL's environment could not be made (pip's messages are above)")
    stamp.write_text(digest, encoding="ascii")
    return interpreter


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--env", type=Path, default=DEFAULT)
    print(make(arguments.parse_args().env))
