"""Our wheel and a package with plug-ins of five kinds, named by its entry points, installed and run in a pipeline."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from hpt_core.artifacts import Manifest
from tasks.execution.scored import grader_version
from tests.checkout import copy_checkout

pytestmark = pytest.mark.xdist_group("plugins")

FILES = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "acme-plugins"
version = "1.0"

[tool.setuptools]
packages = ["acme"]

[project.entry-points."hpt_pipelines.algorithms"]
acme_grpo = "acme.algorithms:AcmeGRPO"
[project.entry-points."hpt_pipelines.advantages"]
leave_one_out = "acme.parts:LeaveOneOut"
[project.entry-points."hpt_pipelines.verifiers"]
contains = "acme.verifiers:Contains"
[project.entry-points."hpt_pipelines.benchmarks"]
acme_double = "acme.suites:DOUBLE"
[project.entry-points."hpt_pipelines.publishers"]
one_file = "acme.publishers:OneFile"
""",
    "acme/__init__.py": "",
    "acme/parts.py": '''
"""A = R minus the mean of the other members'."""

from acme.arithmetic import mean_of_others
from hpt_core.upge.parts import GroupAdvantage


class LeaveOneOut(GroupAdvantage):
    """Reward minus the mean of the others (Ahmadian 2024)."""

    scale: float = 1.0
    """Factor of the advantage."""

    def compare(self, rewards):
        return tuple(self.scale * (r - m) for r, m in zip(rewards, mean_of_others(rewards), strict=True))
''',
    "acme/arithmetic.py": """
def mean_of_others(values):
    n, total = len(values), sum(values)
    return [(total - value) / max(1, n - 1) for value in values]
""",
    "acme/algorithms.py": '''
"""GRPO with leave-one-out advantages."""

from pydantic import Field

from hpt_core.algorithms.grpo import GRPO, Rollouts
from hpt_core.upge.parts import Advantage


class LeaveOneOutRollouts(Rollouts):
    advantage: Advantage = Field(default="leave_one_out", validate_default=True)


class AcmeGRPO(GRPO):
    """GRPO, leave-one-out."""

    rl: LeaveOneOutRollouts = LeaveOneOutRollouts()
    """The only signal."""
''',
    "acme/verifiers.py": '''
"""Right where the gold answer stands anywhere in the response; a quarter for any digit."""

from hpt_core.verifiers.base import Judgment, Outcome, Verifier


class Contains(Verifier):
    version = "contains-1"

    def extract(self, response, question=""):
        return response or None

    def judge(self, gold, answer, question=""):
        if answer is None:
            return Outcome.NO_ANSWER
        if gold in answer:
            return Outcome.CORRECT
        return Judgment(Outcome.INCORRECT, 0.25 if any(c.isdigit() for c in answer) else 0.0)
''',
    "acme/suites.py": '''
"""Doubled digits, judged by what the response contains."""

from benchmarks.procedural import ProceduralQuestions
from benchmarks.suite import Suite

DOUBLE = Suite(
    name="acme_double",
    title="Acme double",
    group="out",
    rows=6,
    kind="contains",
    k=2,
    source=ProceduralQuestions(families=("double",), difficulties=(2,), rows=6),
)
''',
    "acme/publishers.py": '''
"""Publish the leaderboard's Markdown alone."""

from datetime import UTC, datetime
from pathlib import Path

from benchmarks.publishers.base import PublisherConfig, Receipt
from hpt_core.files import sha256_file, write_text


class OneFile(PublisherConfig):
    path: Path
    """File to write."""

    def publish(self, report, occasion):
        write_text(self.path, (report / "leaderboard.md").read_text())
        sha = sha256_file(self.path)
        return Receipt(target=str(self.path), files=(self.path.name,), sha256=sha, when=datetime.now(UTC), changed=True)
''',
}
PIPELINE = """
name = "acme"
store = "runs"
prompt = "plain"

[model.base]
source = { name = "scratch", layers = 1, hidden_size = 32, intermediate_size = 32, heads = 1, max_positions = 512 }

[data.d]
source = { name = "jsonl", file = "rows.jsonl" }
model = "model.base"

[train.acme]
from = "model.base"
data = "data.d"
algorithm = { name = "acme_grpo", rl = { advantage = { scale = 2.0 } } }
steps = 2
questions_per_step = 4
rollouts_per_question = 4
sampling = { max_tokens = 40 }
engine = { name = "scripted", responses = { "q1 " = ["yes 1", "2", "no"] }, otherwise = "7" }

[evaluate]
models = ["train.acme"]
suites = ["acme_double"]
engine = { name = "scripted", otherwise = "1 2 3 4 5 6 7 8 9" }
dtype = "float32"
max_tokens = 40

[[publish]]
name = "one_file"
path = "board.md"
"""


PLACES = "import benchmarks, flows, hpt_core, tasks; print(*(m.__path__ for m in (benchmarks, flows, hpt_core, tasks)))"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package's source."""
    for name, text in FILES.items():
        path = tmp_path / "acme-plugins" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "acme-plugins"


@pytest.fixture
def site(package: Path, tmp_path: Path) -> Path:
    """Where it and our own wheel are installed."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert uv is not None
    environment = os.environ | {"UV_OFFLINE": "1"}

    def run(*words: str) -> None:
        command = [uv, *words[:1], "--quiet", *words[1:]]
        subprocess.run(command, env=environment, check=True, timeout=300)

    checkout = copy_checkout(tmp_path / "checkout")
    common = ("--python", sys.executable, "--no-build-isolation")
    run("build", "--wheel", *common, "--out-dir", str(tmp_path), str(checkout))
    (wheel,) = tmp_path.glob("*.whl")
    run("pip", "install", *common, "--no-deps", "--target", str(tmp_path / "site"), str(wheel), str(package))
    shutil.rmtree(checkout)
    return tmp_path / "site"


def test_our_wheel_and_a_package_of_plug_ins_run_a_pipeline(
    prefect_environment: dict[str, str], site: Path, tmp_path: Path
) -> None:
    own = {"PYTHONPATH": str(site), "HPT_CACHE": str(tmp_path / "cache"), "COLUMNS": "200"}

    def hpt(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "flows.cli", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=prefect_environment | own, capture_output=True, text=True, timeout=400
        )

    rows = [{"question": f"q{i} ?", "answer": str(i), "demonstration": f"so {i}", "kind": "contains"} for i in range(8)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "acme.toml").write_text(PIPELINE)
    where = subprocess.run(
        [sys.executable, "-c", PLACES], cwd=tmp_path, env=os.environ | own, capture_output=True, text=True
    )
    assert where.stdout.count(str(site)) == 4, where
    listed = hpt("list", "advantages").stdout
    assert "leave_one_out  Reward minus the mean of the others (Ahmadian 2024)" in listed
    shown = hpt("show", "advantages", "leave_one_out").stdout
    assert "scale" in shown
    assert "Factor of the advantage." in shown

    done = hpt("run", "acme.toml", "--json")
    assert done.returncode == 0, done.stderr
    assert [receipt["target"] for receipt in json.loads(done.stdout)["published"]] == ["board.md"]
    assert "Acme double" in (tmp_path / "board.md").read_text()
    named = tmp_path / "runs" / "by-name"
    trained = rollouts(named / "train.acme" / "output")
    found = {(row["outcome"], row["reward"]) for row in trained}
    assert found <= {("correct", 1.0), ("incorrect", 0.25), ("incorrect", 0.0)}
    assert {row["outcome"] for row in trained} == {"correct", "incorrect"}
    manifest = json.loads((named / "train.acme" / "manifest.json").read_text())
    assert {"acme.algorithms", "acme.parts", "acme.arithmetic", "acme.verifiers"} <= set(manifest["versions"])
    graded = named / "evaluate.acme" / "verdicts" / "acme_double"
    assert pq.read_table(graded / "output" / "verdicts.parquet").num_rows == 12
    assert grader_version(Manifest.model_validate_json((graded / "manifest.json").read_text())) == "contains-1"

    # A new release of the package: what was made with the changed module is made again, and nothing else.
    changed = site / "acme" / "arithmetic.py"
    changed.write_text(changed.read_text().replace("max(1, n - 1)", "max(1, n - 1.0)"))
    plan = hpt("plan", "acme.toml", "--json")
    states = {stage["stage"]: stage["state"] for stage in json.loads(plan.stdout)["stages"]}
    assert {stage for stage, state in states.items() if state != "done"} == {
        "train.acme",
        "evaluate.acme",
        "report",
        "publish.one_file",
    }
    (training,) = [stage for stage in json.loads(plan.stdout)["stages"] if stage["stage"] == "train.acme"]
    assert training["artifacts"][0]["text"] == f"changed: {changed.relative_to(tmp_path)}"


def rollouts(output: Path) -> list[dict[str, Any]]:
    return [row for file in sorted((output / "rollouts").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
