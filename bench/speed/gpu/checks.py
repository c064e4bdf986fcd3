"""Run the tests marked `gpu`. Without vLLM, tests that mention it are left out."""

import ast
import importlib.util
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench.machine import ROOT

MARK = "mark." + "gpu"
NEEDED = "vllm"


class Chosen(NamedTuple):
    """Tests to run."""

    files: list[str]
    left_out: list[str]
    """Node ids of tests that need vLLM, if it is not installed."""


def choose(root: Path = ROOT, have_vllm: bool | None = None) -> Chosen:
    """Find the files below `root` with tests marked `gpu`. Without vLLM, leave out the tests that need it."""
    if have_vllm is None:
        have_vllm = importlib.util.find_spec(NEEDED) is not None
    files, left_out = [], []
    for path in sorted((root / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if MARK not in text:
            continue
        name = path.relative_to(root).as_posix()
        tests = {test.name: ast.get_source_segment(text, test) or "" for test in _tests(text)}
        needing = [] if have_vllm else [test for test, source in tests.items() if NEEDED in source]
        left_out += [f"{name}::{test}" for test in needing]
        if len(needing) < len(tests):
            files.append(name)
    return Chosen(files, left_out)


def _tests(text: str) -> list[ast.FunctionDef]:
    return [
        node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def run(report: Path, environment: Mapping[str, str], timeout_s: float) -> dict[str, Any]:
    """Run the tests: counts by outcome, seconds, names of failed tests. pytest writes its XML to `report`."""
    chosen = choose()
    if not chosen.files:
        return {"run": 0, "left_out": chosen.left_out}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-W", "ignore", "-o", "filterwarnings="]
    command += ["-p", "no:cacheprovider", f"--junitxml={report}", *chosen.files]
    command += [part for node in chosen.left_out for part in ("--deselect", node)]
    begun = time.perf_counter()
    try:
        done = subprocess.run(
            command, check=False, stdout=sys.stderr, env=dict(environment), cwd=ROOT, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {timeout_s:.0f} s", "left_out": chosen.left_out}
    facts = {"exit_code": done.returncode, "seconds": time.perf_counter() - begun, "left_out": chosen.left_out}
    return {**facts, **(_outcomes(report) if report.exists() else {})}


def _outcomes(report: Path) -> dict[str, Any]:
    (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    failed = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    return {"run": int(suite.get("tests", 0)), "skipped": int(suite.get("skipped", 0)), "failed": failed}
