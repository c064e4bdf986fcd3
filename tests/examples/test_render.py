"""The cluster examples render, are valid for their schedulers, and name existing commands, options and fields."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from flows import graph as graphs
from flows.cli import app
from flows.load import load_config, read_table
from hpt_core.errors import ConfigError
from tasks.execution.config import PipelineConfig
from tasks.execution.process import launcher

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SLURM = sorted((EXAMPLES / "slurm").glob("*.j2"))
KUBERNETES = sorted((EXAMPLES / "kubernetes").glob("*.j2"))
LARGER = ["nodes=4", "gpus=4", "port=29511", "slurm.partition=gpu", "slurm.account=x", "kubernetes.storage_class=fast"]
VALUES = [[], LARGER]

ELSEWHERE = """#!{python}
# Stands for what only a cluster has: notes how it was called, and runs what srun would run, here.
import os, sys
name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
with open({log!r}, "a") as log:
    log.write("\\t".join([name, *arguments]) + "\\n")
if name == "scontrol" and arguments[0] == "show":
    print("node1\\nnode2")
if name == "srun":
    while arguments[0].startswith("-"):
        arguments.pop(0)
    os.execvp(arguments[0], arguments)
"""


def _render() -> Callable[..., str]:
    spec = spec_from_file_location("render", EXAMPLES / "render.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[..., str] = module.render
    return found


render = _render()


def parsed(words: list[str]) -> tuple[str, dict[str, Any], PipelineConfig]:
    """A command line as `hpt` itself reads it: the command, its parameters, the config with its overrides."""
    command: Any = typer.main.get_command(app)
    name, subcommand, rest = command.resolve_command(command.make_context("hpt", [*words[1:]]), words[1:])
    parameters = subcommand.make_context(name, rest).params
    return name, parameters, load_config(ROOT / parameters["config"], parameters["overrides"] or ())


def torchrun(words: list[str]) -> Any:
    """Arguments of `python -m torch.distributed.run`, as it reads them itself."""
    from torch.distributed.run import get_args_parser

    assert words[:3] == ["python", "-m", "torch.distributed.run"]
    return get_args_parser().parse_args(words[3:])


def test_there_are_examples_of_both() -> None:
    assert {path.name for path in SLURM} == {"pipeline.sbatch.j2", "multinode.sbatch.j2", "sweep.sbatch.j2"}
    assert {path.name for path in KUBERNETES} == {"pipeline.yaml.j2", "multinode.yaml.j2", "worker.yaml.j2"}


def test_an_unknown_value_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match=r"there is no value 'node'.*did you mean 'nodes'"):
        render(SLURM[0], ["node=4"])
    with pytest.raises(ConfigError, match="cannot read"):
        render(EXAMPLES / "slurm" / "gone.j2")


def test_the_script_renders_on_the_command_line() -> None:
    command = [sys.executable, "examples/render.py", "examples/slurm/multinode.sbatch.j2", "nodes=3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == render(EXAMPLES / "slurm" / "multinode.sbatch.j2", ["nodes=3"])
    assert "#SBATCH --nodes=3\n" in done.stdout
    wrong = subprocess.run([*command[:3], "node=3"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert wrong.returncode == 1
    assert wrong.stdout == ""
    assert "did you mean 'nodes'" in wrong.stderr


# Options of sbatch, each with the form of its value.
DIRECTIVES = {
    "job-name": r"[\w-]+",
    "nodes": r"[1-9]\d*",
    "ntasks-per-node": "1",
    "gpus-per-node": r"[1-9]\d*",
    "cpus-per-task": r"[1-9]\d*",
    "mem": r"[1-9]\d*G",
    "time": r"\d+:00:00",
    "output": r"%x-%(j|A-%a)\.log",
    "open-mode": "append",
    "requeue": None,
    "signal": r"B:USR1@\d+",
    "array": r"0-\d+",
    "partition": r"\w+",
    "account": r"\w+",
}


@pytest.mark.parametrize("values", VALUES, ids=["default", "larger"])
@pytest.mark.parametrize("template", SLURM, ids=lambda p: p.name)
def test_a_batch_script_has_valid_directives(template: Path, values: list[str], tmp_path: Path) -> None:
    text = render(template, values)
    script = tmp_path / "job.sbatch"
    script.write_text(text)
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=20)
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    # sbatch reads directives up to the first command.
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert not [line for line in lines[first:] if line.startswith("#SBATCH")]
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    names = []
    for directive in directives:
        option, equals, value = directive.removeprefix("--").partition("=")
        form = DIRECTIVES[option]
        assert bool(equals) == (form is not None), directive
        assert form is None or re.fullmatch(form, value), directive
        names.append(option)
    assert len(names) == len(set(names))
    assert {"nodes", "gpus-per-node", "cpus-per-task", "time", "signal"} <= set(names)
    assert ("partition" in names) == bool(values)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which a batch script runs as on the first of two nodes. Cluster commands are recorded in `calls`."""
    bin_ = tmp_path / ".venv" / "bin"
    bin_.mkdir(parents=True)
    program = ELSEWHERE.format(python=sys.executable, log=str(tmp_path / "calls"))
    for name in ("srun", "scontrol"):
        (bin_ / name).write_text(program)
        (bin_ / name).chmod(0o755)
    (bin_ / "activate").write_text(f'export PATH="{bin_}:{Path(sys.executable).parent}:$PATH"\n')
    for name, value in {
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "71",
        "SLURM_ARRAY_JOB_ID": "71",
        "SLURM_ARRAY_TASK_ID": "2",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_PER_TASK": "64",
        "PATH": f"{bin_}:{os.environ['PATH']}",
    }.items():
        monkeypatch.setenv(name, value)
    yield tmp_path


def calls(cluster: Path) -> list[list[str]]:
    file = cluster / "calls"
    return [line.split("\t") for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize("values", VALUES, ids=["default", "larger"])
@pytest.mark.parametrize("template", SLURM, ids=lambda p: p.name)
def test_a_batch_script_calls_hpt_with_valid_options(template: Path, values: list[str], cluster: Path) -> None:
    (cluster / ".venv" / "bin" / "hpt").symlink_to(cluster / ".venv" / "bin" / "srun")
    text = (cluster / ".venv" / "bin" / "srun").read_text().replace('name == "srun"', "False")
    (cluster / ".venv" / "bin" / "srun").write_text(text)
    script = cluster / "job.sbatch"
    script.write_text(render(template, values))
    subprocess.run(["bash", str(script)], check=True, timeout=60)
    (words,) = (call for call in calls(cluster) if call[0] == "hpt")
    name, parameters, config = parsed(words)
    if template.name == "sweep.sbatch.j2":
        assert (name, parameters["names"]) == ("train", ["hpt_gamma_2_8"])
        assert graphs.match(graphs.build(config), "train.hpt_gamma_2_8")
        stages = re.search(r"^stages=\((.*)\)$", script.read_text(), re.M)
        assert stages is not None
        assert {f"train.{stage}" for stage in stages.group(1).split()} == {f"train.{n}" for n in config.train}
        assert f"#SBATCH --array=0-{len(config.train) - 1}\n" in script.read_text()
        return
    assert name == "run"
    if template.name == "pipeline.sbatch.j2":
        assert config.resources.launcher is None
        return
    srun, *options = launcher(1, config.resources.launcher)
    python = options.index("python")
    assert srun == "srun"
    assert options[:python] == ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=64", "--kill-on-bad-exit=1"]
    found = torchrun([*options[python:], "-m", "hpt_core.train", "SPEC"])
    gpus, port = (4, 29511) if values else (8, 29500)
    assert (found.nnodes, int(found.nproc_per_node), found.rdzv_backend) == ("2", gpus, "c10d")
    assert (found.rdzv_endpoint, found.rdzv_id) == (f"node1:{port}", "71")
    assert (found.module, found.training_script, found.training_script_args) == (True, "hpt_core.train", ["SPEC"])


def documents(template: Path, values: list[str]) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(render(template, values)))


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("values", VALUES, ids=["default", "larger"])
@pytest.mark.parametrize("template", KUBERNETES, ids=lambda p: p.name)
def test_a_manifest_matches_the_kubernetes_schemas(template: Path, values: list[str]) -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason="needs the package kubernetes-validate")
    for document in documents(template, values):
        for version in ("1.27", "1.31", "1.34"):
            schemas.validate(document, version, strict=True)
        broken = {**document, "spec": {**document["spec"], "replica": 1}}
        with pytest.raises(schemas.ValidationError):
            schemas.validate(broken, "1.34", strict=True)


@pytest.mark.parametrize("values", VALUES, ids=["default", "larger"])
@pytest.mark.parametrize("template", KUBERNETES, ids=lambda p: p.name)
def test_the_parts_of_a_manifest_fit_each_other(template: Path, values: list[str]) -> None:
    claims = {d["metadata"]["name"] for path in KUBERNETES for d in documents(path, values) if d["kind"].endswith("im")}
    for document in documents(template, values):
        assert document["metadata"]["namespace"] == "hpt"
        if document["kind"] not in ("Job", "Deployment"):
            continue
        template_ = document["spec"]["template"]
        pod = template_["spec"]
        volumes = {v["name"]: v for v in pod["volumes"]}
        assert {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "emptyDir" not in v} <= claims
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            mounts = container["volumeMounts"]
            assert {m["name"] for m in mounts} <= set(volumes)
            # Where the configs keep their store and their page, relative to the working folder.
            paths = {m["mountPath"] for m in mounts}
            assert {f"{container['workingDir']}/{folder}" for folder in ("runs", "site")} <= paths
            requests, limits = container["resources"]["requests"], container["resources"]["limits"]
            assert requests["memory"] == limits["memory"]
        if document["kind"] == "Job":
            assert pod["restartPolicy"] in ("Never", "OnFailure")
        else:
            assert document["spec"]["selector"]["matchLabels"].items() <= template_["metadata"]["labels"].items()


def test_the_pipelines_job_is_a_command_of_hpt() -> None:
    (job,) = (d for d in documents(EXAMPLES / "kubernetes" / "pipeline.yaml.j2", []) if d["kind"] == "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    name, _, config = parsed(container["command"])
    assert name == "run"
    assert config.store.startswith("runs/")
    assert all(str(p.model_dump()["path"]).startswith("site/") for p in config.publish)


@pytest.mark.parametrize("values", VALUES, ids=["default", "larger"])
def test_the_pods_of_a_training_find_each_other(values: list[str]) -> None:
    service, job = documents(EXAMPLES / "kubernetes" / "multinode.yaml.j2", values)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (train,), (init,) = pod["containers"], pod["initContainers"]
    found = torchrun(train["command"])
    nodes, gpus = (4, 4) if values else (2, 8)
    assert spec["completions"] == spec["parallelism"] == int(found.nnodes) == nodes
    assert int(found.nproc_per_node) == train["resources"]["limits"]["nvidia.com/gpu"] == gpus
    # An indexed job's first pod has this name in a service without an address.
    host, port = found.rdzv_endpoint.split(":")
    assert spec["completionMode"] == "Indexed"
    assert host == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    assert int(port) == service["spec"]["ports"][0]["port"]
    name, parameters, config = parsed(init["command"])
    assert (name, parameters["stage"] in map(str, graphs.build(config))) == ("spec", True)
    assert (found.training_script, found.training_script_args) == ("hpt_core.train", [str(parameters["out"])])


def test_the_worker_serves_the_pool_of_prefect_yaml() -> None:
    (worker,) = documents(EXAMPLES / "kubernetes" / "worker.yaml.j2", [])
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    command = container["command"]
    pools = {d["work_pool"]["name"] for d in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    assert {command[command.index("--pool") + 1]} == pools
    done = subprocess.run(
        [sys.executable, "-m", *command[:3], "--help"], capture_output=True, text=True, timeout=120, check=True
    )
    assert {option for option in command if option.startswith("--")} <= set(re.findall(r"--[a-z-]+", done.stdout))


DOCUMENT = (ROOT / "docs" / "guides" / "clusters.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", re.findall(r"^```toml\n(.*?)^```", DOCUMENT, re.M | re.S))
def test_configs_in_the_document_load(block: str) -> None:
    table = read_table(ROOT / "configs" / "demo.toml")
    config = PipelineConfig.model_validate(table | tomllib.loads(block))
    assert config.resources.launcher or [t.name for t in config.trackers] == ["tensorboard", "wandb", "mlflow"]


@pytest.mark.parametrize("line", re.findall(r"^    hpt [^#\n]*", DOCUMENT, re.M))
def test_commands_in_the_document_exist(line: str) -> None:
    words = shlex.split(line.replace("CONFIG", "configs/demo.toml"))
    assert parsed(words)[0] in ("run", "spec", "evaluate")


def test_the_document_names_every_example() -> None:
    for path in [*SLURM, *KUBERNETES]:
        assert f"`{path.relative_to(EXAMPLES)}`" in DOCUMENT
