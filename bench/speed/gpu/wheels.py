"""Wheels for a machine without a network: `python -m bench.speed.gpu.wheels` downloads them into bench/.wheels, which
Git ignores. On that machine, the check installs them into a temporary folder.

They are the packages that hpt_core needs and that an environment with PyTorch, transformers, peft, pyarrow, psutil and
pytest usually lacks. Versions are those of requirements/constraints.txt, for CPython 3.12 on x86-64 Linux. Their
dependencies are not downloaded.
"""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

from bench.machine import ROOT

FOLDER = ROOT / "bench" / ".wheels"
LIMIT_MIB = 60
PACKAGES = {
    "annotated-types": "annotated_types",
    "antlr4-python3-runtime": "antlr4",
    "latex2sympy2-extended": "latex2sympy2_extended",
    "math-verify": "math_verify",
    "pebble": "pebble",
    "python-flint": "flint",
    "pydantic": "pydantic",
    "pydantic-core": "pydantic_core",
    "typing-extensions": "typing_extensions",
    "typing-inspection": "typing_inspection",
}
"""Distribution name -> module name."""
TARGET = (
    *("--python-version", "3.12", "--implementation", "cp", "--abi", "cp312", "--abi", "abi3", "--abi", "none"),
    *(part for number in ("2_28", "2_17") for part in ("--platform", f"manylinux_{number}_x86_64")),
    *("--platform", "manylinux2014_x86_64"),
)


def main(folder: Path = FOLDER) -> None:
    """Empty `folder` and download the wheels into it."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *TARGET]
    subprocess.run([*command, "--dest", str(folder), *pins()], check=True)
    files = sorted(folder.iterdir())
    total = sum(file.stat().st_size for file in files) / 2**20
    print(f"{len(files)} wheels, {total:.1f} MiB, in {folder}")
    if total > LIMIT_MIB or len(files) != len(PACKAGES):
        sys.exit(f"expected {len(PACKAGES)} wheels of at most {LIMIT_MIB} MiB in total")


def pins() -> list[str]:
    """NAME==VERSION of each package, from requirements/constraints.txt."""
    text = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8")
    versions = dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, re.MULTILINE))
    return [f"{name}=={versions[name]}" for name in PACKAGES]


def missing() -> list[str]:
    """Packages that this interpreter cannot import."""
    return [name for name, module in PACKAGES.items() if importlib.util.find_spec(module) is None]


def install(folder: Path, site: Path) -> None:
    """Install the wheels from `folder` into the new folder `site`. Exits if that fails."""
    wheels = [str(path) for path in sorted(folder.glob("*.whl"))]
    if not wheels:
        sys.exit(f"{', '.join(missing())} are missing; download them into {folder}: python -m {__spec__.name}")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    if subprocess.run([*command, "--target", str(site), *wheels], check=False).returncode:
        sys.exit("cannot install the wheels; see pip's messages above")


if __name__ == "__main__":
    main()
