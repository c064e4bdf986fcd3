"""The pipeline as users run it: real processes, a real server, real workers."""

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

# Half of the tests that need a server: in a process of their own, which starts one more.
pytestmark = pytest.mark.xdist_group("pipeline")
Outputs = Callable[[Path, str], list[Path]]
STAGES = [
    "model.base",
    "benchmark.procedural_double",
    "benchmark.procedural_mixed",
    "evaluate.base",
    "report",
    "publish.static_site",
]


def attempts(output: Path) -> int:
    """How often a worker was started for an output."""
    log = output / "log.txt"
    return log.read_text().count("\n--- ") + log.read_text().startswith("--- ") if log.exists() else 0


def workers_of(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def wait_until_gone(processes: list[psutil.Process]) -> None:
    _, left = psutil.wait_procs(processes, timeout=30)
    assert not [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def read_until(stream: Any, text: str) -> str:
    """Read lines up to one that holds `text`."""
    found = ""
    for line in stream:
        found += line
        if text in line:
            return found
    raise AssertionError(f"{text!r} did not come:\n{found}")


def test_a_run_produces_every_artifact_and_prints_the_leaderboard(finished: Any, outputs: Outputs) -> None:
    out, err = (finished.folder / "run.out").read_text(), (finished.folder / "run.err").read_text()
    assert "procedural" in out.lower() or "double" in out.lower()
    assert "In distribution average" in out
    page = next(line for line in out.splitlines() if line.startswith("page: ")).removeprefix("page: ")
    assert Path(page).is_file()
    assert (finished.published / "index.html").is_file()
    for stage in STAGES:
        assert f"{stage}: done" in err
    made = {
        kind: len(outputs(finished.store, kind)) for kind in ("model", "benchmark", "samples", "verdicts", "report")
    }
    # The model that nothing uses is left out, and so is its missing folder.
    assert made == {"model": 1, "benchmark": 2, "samples": 2, "verdicts": 2, "report": 1}
    assert not list(finished.store.glob("*/*/work"))


def test_prefect_shows_the_run(finished: Any) -> None:
    run = finished.flow_runs()[0]
    assert run["state"]["name"] == "Completed"
    assert run["name"].startswith("tiny ")
    assert run["parameters"]["config"]["model"]["base"]["source"]["layers"] == 1
    assert finished.task_states(run["id"]) == [dict.fromkeys(STAGES, "Completed")]
    found = finished.api("artifacts/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}, "limit": 200})
    kinds = {a["key"]: a["type"] for a in found}
    assert kinds["tiny-scores"] == "table"
    assert kinds["tiny-leaderboard"] == "markdown"
    assert kinds["progress-evaluate-base"] == "progress"
    (progress,) = (a for a in found if a["key"] == "progress-evaluate-base")
    assert progress["data"] == 100.0
    assert progress["description"].startswith("evaluate.base: ")


def test_a_finished_pipeline_is_skipped_in_seconds(again: Any) -> None:
    again("publish", "tiny.toml")
    start = time.monotonic()
    done = again("run", "tiny.toml")
    assert time.monotonic() - start < 10
    assert [line.split(" ", 1)[1] for line in done.stderr.splitlines()] == [f"{stage}: reused" for stage in STAGES]
    assert "In distribution average" in done.stdout
    assert len(again.flow_runs()) == 1, "of the publication"


def test_plan_and_status_as_json(finished: Any) -> None:
    plan = json.loads(finished.look("plan", "tiny.toml", "--json").stdout)
    assert plan["finished"]
    assert [s["stage"] for s in plan["stages"]] == STAGES
    rows = {row["key"]: row for row in json.loads(finished.look("status", "tiny.toml", "--json").stdout)}
    stages, every = (finished.look("status", "tiny.toml", *more).stdout.splitlines() for more in ((), ("--units",)))
    (line,) = [line.split() for line in stages if line.startswith("evaluate.base")]
    assert (line[1], line[-1]) == ("done", str(sum(r["rows"] for key, r in rows.items() if key.startswith("evaluate"))))
    assert len(every) == len(stages) + sum("/" in key for key in rows)
    assert rows["evaluate.base/samples/procedural_double"]["rows"] == 8
    assert rows["evaluate.base/verdicts/procedural_double"]["facts"]["outcomes"].keys() <= {"correct", "incorrect"}
    assert rows["model.base"]["cost"]["peak_memory_bytes"] > 50_000_000


def test_samples_are_shown_with_their_verdicts(finished: Any) -> None:
    every = json.loads(finished.look("samples", "tiny.toml", "--json", "--limit", "100").stdout)
    assert len(every) == 2 * 4 * 2
    assert {(s["model"], s["response"]) for s in every} == {("base", "The answer is \\boxed{3}.")}
    assert {s["extracted"] for s in every} == {"3"}
    wrong = json.loads(finished.look("samples", "tiny.toml", "--json", "--limit", "100", "--wrong").stdout)
    assert wrong == [s for s in every if s["outcome"] != "correct"] != []
    first = every[0]["question_id"]
    shown = finished.look(
        "samples", "tiny.toml", "--model", "base", "--benchmark", "procedural_double", "--question", first
    )
    assert shown.stdout.count("The answer is \\boxed{3}.") == 2
    assert f"gold {every[0]['gold']}" in shown.stdout and every[0]["question"] in shown.stdout
    assert "2 of 2 matching samples" in shown.stderr
    assert "did you mean 'procedural_" in finished.look("samples", "tiny.toml", "--benchmark", "double", code=2).stderr


def test_samples_can_be_read_while_sampling_continues(again: Any, outputs: Outputs) -> None:
    for kind in ("verdicts", "report"):
        for folder in outputs(again.store, kind):
            shutil.rmtree(folder)
    samples = outputs(again.store, "samples")
    (samples[0] / "manifest.json").unlink()
    shutil.rmtree(samples[1])
    found = json.loads(again.look("samples", "tiny.toml", "--json", "--limit", "100").stdout)
    assert [s["outcome"] for s in found] == [None] * 8
    shutil.rmtree(samples[0])
    assert "there are no samples yet" in again.look("samples", "tiny.toml", code=1).stderr


def test_a_renamed_pipeline_shares_the_artifacts(again: Any) -> None:
    again.config.write_text(again.config.read_text().replace("base", "other").replace('"tiny"', '"renamed"'))
    plan = json.loads(again.look("plan", "tiny.toml", "--json").stdout)
    states = {s["stage"]: s["state"] for s in plan["stages"]}
    assert states["model.other"] == states["evaluate.other"] == "done"
    assert states["report"] == "to do"


def test_a_label_is_shown_everywhere_and_makes_no_model_again(again: Any) -> None:
    labeled = '[model.base]\nlabel = "Tiny (ours)"\n[model.base.source]'
    again.write(again.config.read_text().replace("[model.base.source]", labeled))
    done = again("run", "tiny.toml")
    reused = {line.split(" ", 1)[1].removesuffix(": reused") for line in done.stderr.splitlines() if "reused" in line}
    assert reused == {stage for stage in STAGES if not stage.startswith(("report", "publish"))}
    assert "Tiny (ours)" in done.stdout
    assert "Tiny (ours)" in again.look("board", "runs").stdout
    (board,) = again.published.glob("sites/*/data/board.json")
    assert "Tiny (ours)" in board.read_text()


def test_only_a_damaged_artifact_is_named_and_produced_again(again: Any, outputs: Outputs) -> None:
    (verdicts, _) = outputs(again.store, "verdicts")
    file = verdicts / "output" / "verdicts.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    done = again("run", "tiny.toml")
    assert f"{file} has 100 bytes instead of {len(whole)}" in done.stderr.replace("\n", "")
    assert file.read_bytes() == whole
    assert "model.base: reused" in done.stderr
    assert "report: reused" in done.stderr
    assert [attempts(f) for f in outputs(again.store, "samples")] == [1, 1]
    assert attempts(verdicts) == 2


def test_only_a_damaged_shard_is_sampled_again(again: Any, outputs: Outputs) -> None:
    samples = outputs(again.store, "samples")[0]
    (shard,) = (samples / "output" / "samples").glob("part-*.parquet")
    whole = shard.read_bytes()
    shard.unlink()
    again("evaluate", "tiny.toml")
    assert shard.read_bytes() == whole
    assert [attempts(v) for v in outputs(again.store, "verdicts")] == [1, 1]


def test_only_a_failed_stage_is_rerun(again: Any) -> None:
    """From Prefect (`flow-run retry`) and from `hpt rerun`; the finished stages are skipped."""
    again.published.parent.mkdir()
    again.published.write_text("in the way")
    failed = again("run", "tiny.toml", code=1)
    assert "error: publish.static_site" in failed.stderr or "exists and is not a publication of ours" in failed.stderr
    assert "Traceback" not in failed.stderr
    (run,) = again.flow_runs()
    assert run["state"]["name"] == "Failed"

    again.published.unlink()
    again.prefect("flow-run", "retry", run["id"], "--entrypoint", "flows/pipeline.py:pipeline")
    states = again.task_states(run["id"])[-1]
    assert states.pop("publish.static_site") == "Completed"
    assert set(states.values()) == {"Reused"}
    assert (again.published / "index.html").is_file()

    shutil.rmtree(again.published)
    rerun = again("rerun", "tiny.toml", "--from", "publish")
    assert "publish.static_site: done" in rerun.stderr
    assert rerun.stderr.count(": reused") == len(STAGES) - 1


def test_rerun_from_a_stage_reruns_its_descendants(again: Any, outputs: Outputs) -> None:
    again("rerun", "tiny.toml", "--from", "report")
    assert attempts(outputs(again.store, "report")[0]) == 2
    assert attempts(outputs(again.store, "verdicts")[0]) == 1


def test_a_benchmark_is_rerun_alone_or_with_everything_after_it(again: Any, outputs: Outputs) -> None:
    def times(kind: str) -> dict[str, int]:
        """Attempts by benchmark, or by kind for a stage of one artifact."""
        found = {}
        for folder in outputs(again.store, kind):
            key = json.loads((folder / "manifest.json").read_text())["stage"]
            found[key.rpartition("_")[2]] = attempts(folder)
        return found

    again("rerun", "tiny.toml", "--only", "evaluate.base/procedural_double")
    assert times("samples") == times("verdicts") == {"double": 2, "mixed": 1}
    assert times("report") == {"report": 1}
    # The samples are the same as before, so all that is made from them is, too.
    after = again("run", "tiny.toml")
    assert after.stderr.count(": reused") == len(STAGES) - 1, "only the publication of the copied store is new"
    assert times("report") == {"report": 1}
    again("rerun", "tiny.toml", "--from", "base/samples/procedural_mixed")
    assert times("samples") == times("verdicts") == {"double": 2, "mixed": 2}
    assert times("report") == {"report": 2}
    failed = again("rerun", "tiny.toml", code=2)
    assert "either --from or --only" in failed.stderr
    # What is not asked for may be missing, and stays so.
    (mixed,) = (f for f in outputs(again.store, "samples") if "mixed" in (f / "manifest.json").read_text())
    shutil.rmtree(mixed)
    done = json.loads(again("run", "tiny.toml", "--only", "evaluate.base/procedural_double", "--json").stdout)
    parts = {artifact["key"] for artifact in done["artifacts"] if artifact["key"].startswith("evaluate.")}
    assert parts == {f"evaluate.base/{kind}/procedural_double" for kind in ("samples", "verdicts")}
    assert not mixed.exists()


def test_regrade_grades_the_stored_samples_again(again: Any, outputs: Outputs) -> None:
    before = [f.stat().st_mtime_ns for o in outputs(again.store, "samples") for f in o.rglob("part-*.parquet")]
    again("regrade", "tiny.toml", "base")
    assert [attempts(f) for f in outputs(again.store, "verdicts")] == [2, 2]
    assert [attempts(f) for f in outputs(again.store, "samples")] == [1, 1]
    assert before == [f.stat().st_mtime_ns for o in outputs(again.store, "samples") for f in o.rglob("part-*.parquet")]


def test_regrade_without_samples_is_refused(again: Any, outputs: Outputs) -> None:
    shutil.rmtree(outputs(again.store, "samples")[0])
    failed = again("regrade", "tiny.toml", code=1)
    assert "the store lacks evaluate.base/samples/procedural_" in failed.stderr
    assert "Remedy: run these stages first" in failed.stderr
    assert len(outputs(again.store, "samples")) == 1


def test_two_runs_at_once_do_the_work_once(again: Any, outputs: Outputs) -> None:
    for kind in ("verdicts", "report"):
        for folder in outputs(again.store, kind):
            (folder / "manifest.json").unlink()
            (folder / "log.txt").unlink()
    runs = [again.start("run", "tiny.toml") for _ in range(2)]
    texts = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], texts
    assert {attempts(f) for kind in ("verdicts", "report") for f in outputs(again.store, kind)} == {1}
    assert texts[0][0] == texts[1][0]


def test_a_killed_run_leaves_no_process_and_continues_from_its_checkpoint(again: Any, outputs: Outputs) -> None:
    again.train_too()
    process = again.start("train", "tiny.toml")
    work = again.store / "train"
    end = time.monotonic() + 200
    # A half-written checkpoint has a name with a leading dot.
    while not list(work.glob("*/work/checkpoints/step-*")):
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.1)
    workers = workers_of(process.pid)
    assert workers, "no worker was in flight"
    assert not outputs(again.store, "train")
    process.kill()
    process.communicate()
    wait_until_gone(workers)

    # A lease of a process that is gone does not hold up the next run.
    again("train", "tiny.toml", "--set", "train.sft.checkpoint_every=100")
    (made,) = outputs(again.store, "train")
    assert attempts(made) == 2
    assert not (made / "work").exists()
    log = (made / "log.txt").read_text().split("\n--- ")[-1]
    assert "resuming after step " in log


def test_ctrl_c_stops_cleanly_and_says_how_to_continue(again: Any) -> None:
    again.train_too()
    process = again.start("train", "tiny.toml")
    seen = read_until(process.stderr, "train.sft: ")
    workers = workers_of(process.pid)
    assert workers, seen
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "continue with `hpt train tiny.toml`" in err
    assert "Traceback" not in err
    wait_until_gone(workers)


def test_grade_version_changes_regrade_without_sampling(again: Any, outputs: Outputs) -> None:
    again("evaluate", "tiny.toml", "--set", "evaluate.grade_timeout_s=6")
    assert [attempts(f) for f in outputs(again.store, "samples")] == [1, 1]
    assert len(outputs(again.store, "verdicts")) == 4


def test_independent_stages_run_in_parallel(fresh: Any, outputs: Outputs) -> None:
    """Independent branches run at the same time, and go on when one fails."""
    fresh.train_too()
    done = fresh(
        "run",
        "tiny.toml",
        *("--set", "resources.parallel_stages=2"),
        *("--set", "train.sft.steps=2"),
        *("--set", "data.d.max_prompt_tokens=1"),
        code=2,
    )
    assert "data.d" in done.stderr
    assert "train.sft: skipped: needs data.d" in done.stderr
    assert len(outputs(fresh.store, "verdicts")) == 2


def test_one_stage_of_a_sweep_can_be_rerun(again: Any) -> None:
    again.train_too()
    text = again.config.read_text().replace("steps = 150", "steps = 1").replace(', "train.sft"]', "]")
    variants = '[[train.sft.variants]]\nname = "two"\nsteps = 2\n[[train.sft.variants]]\nname = "three"\nsteps = 3\n'
    again.config.write_text(text + variants)
    again("train", "tiny.toml", "sft_*")

    def attempts() -> dict[str, int]:
        rows = {row["key"]: row for row in json.loads(again.look("status", "tiny.toml", "--json").stdout)}
        stages = {key: row for key, row in rows.items() if key.startswith("train.")}
        assert {key: row["facts"]["steps"] for key, row in stages.items() if row["state"] == "done"} == {
            key: steps
            for key, steps in (("train.sft", 1), ("train.sft_two", 2), ("train.sft_three", 3))
            if stages[key]["log"]
        }
        return {key: Path(row["log"]).read_text().count("--- ") if row["log"] else 0 for key, row in stages.items()}

    assert attempts() == {"train.sft": 0, "train.sft_two": 1, "train.sft_three": 1}
    again("rerun", "tiny.toml", "--from", "train.sft_two")
    assert attempts() == {"train.sft": 1, "train.sft_two": 2, "train.sft_three": 1}


COUNTED = """
import sys
import flows.graph as graphs
plan, calls = graphs.plan, []
graphs.plan = lambda *arguments: (calls.append(arguments), plan(*arguments))[1]
from flows.cli import main
try:
    main(sys.argv[1:])
finally:
    print(f"plans: {len(calls)}", file=sys.stderr)
"""


def test_a_run_is_planned_once(again: Any) -> None:
    """Whether it has anything to do or not: the flow takes over the plan of the command."""
    again("run", "tiny.toml")
    for state, arguments in (("reused", ("run",)), ("done", ("rerun", "--from", "report"))):
        done = again.python(COUNTED, arguments[0], "tiny.toml", *arguments[1:])
        assert f"report: {state}" in done.stderr
        assert done.stderr.splitlines()[-1] == "plans: 1"


IN_A_NOTEBOOK = """
import asyncio
import hpt_core as hpt

async def cell():
    ended = {}
    again = hpt.RunOptions(rerun=("evaluate.base/verdicts",))
    results = hpt.run("tiny.toml", again, on_event=lambda event: ended.update({event.stage: event.what}))
    await asyncio.sleep(0)
    print(ended["evaluate.base"], results.scores().num_rows)
    hpt.run("tiny.toml")

asyncio.run(cell())
"""


def test_a_notebook_runs_a_pipeline_while_its_event_loop_runs(again: Any) -> None:
    done = again.python(IN_A_NOTEBOOK)
    assert done.stdout == "made 4\n"
    assert "evaluate.base: reused" in done.stderr and "Error" not in done.stderr


DEPLOYED = """
import json, sys, tomllib
from pathlib import Path
from flows.pipeline import pipeline
table = {**tomllib.loads(Path("tiny.toml").read_text()), "store": str(Path("runs").resolve())}
print(json.dumps(pipeline(config=table, options=json.loads(sys.argv[1]))))
"""


def test_the_flow_takes_plain_parameters(again: Any, outputs: Outputs) -> None:
    """As a deployment gives them: tables and lists, of the config as it was written."""
    done = again.python(DEPLOYED, json.dumps({"only": ["evaluate.base/verdicts"], "rerun": ["evaluate.base/verdicts"]}))
    found = {artifact["key"]: artifact for artifact in json.loads(done.stdout.splitlines()[-1])}
    assert set(found) == {
        *("model.base", "benchmark.procedural_double", "benchmark.procedural_mixed"),
        *(
            f"evaluate.base/{kind}/procedural_{name}"
            for kind in ("samples", "verdicts")
            for name in ("double", "mixed")
        ),
    }
    assert {key for key, artifact in found.items() if not artifact["reused"]} == {
        f"evaluate.base/verdicts/procedural_{name}" for name in ("double", "mixed")
    }
    assert [attempts(f) for f in outputs(again.store, "verdicts")] == [2, 2]
    (run,) = again.flow_runs()
    assert run["name"].startswith("tiny evaluate.base/verdicts ")
    shutil.rmtree(outputs(again.store, "samples")[0])
    failed = again.python(DEPLOYED, json.dumps({"only": ["report"], "only_ready": True}), code=1)
    assert "StoreError" in failed.stderr and "evaluate.base" in failed.stderr


def test_names_in_the_store_link_to_a_pipelines_artifacts(finished: Any) -> None:
    keys = {
        *STAGES,
        *(
            f"evaluate.base/{kind}/procedural_{name}"
            for kind in ("samples", "verdicts")
            for name in ("double", "mixed")
        ),
    } - {"evaluate.base"}
    (day,) = (finished.store / "by-date").iterdir()
    rows = {
        row["key"]: Path(row["folder"]) for row in json.loads(finished.look("status", "tiny.toml", "--json").stdout)
    }
    for place in ("by-name", "by-pipeline/tiny", f"by-date/{day.name}/tiny"):
        names = finished.store / place
        links = {str(path.relative_to(names)): path for path in names.rglob("*") if path.is_symlink()}
        assert set(links) == keys
        assert {key: link.resolve() for key, link in links.items()} == rows


def test_the_shipped_deployments(again: Any) -> None:
    """`prefect deploy --all` asks nothing and can be repeated; a worker runs what was deployed."""
    again.prefect("work-pool", "create", "hpt", "--type", "process")
    for _ in range(2):
        again.prefect("deploy", "--all")
    found = {d["name"]: d for d in again.api("deployments/filter", {})}
    assert {"nightly", "leaderboard"} <= set(found)
    assert [s["active"] for s in found["nightly"]["schedules"]] == [True]

    parameters = json.dumps({"config": str(again.config)})
    moved = again.config.read_text().replace('name = "tiny"', f'name = "tiny"\nstore = "{again.store}"', 1)
    again.config.write_text(moved)
    again.prefect("deployment", "run", "pipeline/leaderboard", "--params", parameters)
    # With the environment's commands on PATH, as the guide says.
    again.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{again.environment['PATH']}"
    again.prefect("worker", "start", "--pool", "hpt", "--run-once")
    body = {"deployments": {"name": {"any_": ["leaderboard"]}}, "limit": 50}
    runs = again.api("flow_runs/filter", body)
    (mine,) = (run for run in runs if run["parameters"].get("config") == str(again.config))
    assert mine["state"]["name"] == "Completed", mine
    states = again.task_states(mine["id"])[0]
    assert {states[stage] for stage in STAGES[:4]} == {"Reused"}


BROKEN = """
from hpt_core.upge.aggregation.token_mean import TokenMean


class Broken(TokenMean):
    def weights(self, rows):
        raise RuntimeError("a fault in the trainer")
"""


def test_a_failed_training_does_not_keep_the_others_from_being_published(fresh: Any) -> None:
    fresh.train_too()
    broken = 'algorithm = { name = "sft", sft = { aggregation = "broken:Broken" } }'
    fresh.config.write_text(fresh.config.read_text().replace('algorithm = "sft"', broken))
    (fresh.folder / "broken.py").write_text(BROKEN)
    whole = fresh("run", "tiny.toml", "--complete", code=1)
    assert "report: skipped" in whole.stderr and not fresh.published.exists()
    part = fresh("run", "tiny.toml", "--set", "train.sft.steps=7", code=1)
    assert "a fault in the trainer" in part.stderr
    assert "page: " in part.stdout, "the leaderboard is shown"
    (file,) = fresh.published.glob("runs/*/site/index.html")
    page = file.read_text()
    assert "Not measured, because a stage failed: train.sft." in page
    board = fresh.look("board", "runs").stdout
    assert "base" in board and "avg@2" in board
    told = " ".join(board.split())
    assert "failed tiny/train.sft: " in told and "a fault in the trainer" in told
    assert "skipped tiny/evaluate.sft: needs train.sft" in board
    assert max(map(len, board.splitlines())) <= 80
    runs = json.loads(fresh.look("runs", "--store", "runs", "--json").stdout)
    assert [run["options"] for run in runs] == [{"complete": True}, {"overrides": ["train.sft.steps=7"]}]
    stored = pq.read_table(fresh.store / "catalog" / "runs.parquet").column("overrides")
    assert stored.to_pylist() == [[], ["train.sft.steps=7"]]
