"""No byte of a gated benchmark's text is published, whatever the target and whatever is asked for.

Unlikely words are planted in the questions, gold answers, responses and extracted answers of two benchmarks, one gated:
in those that a report is made of, and in a store whose site is published with the report. What is published is searched
for them: as it is, and Parquet files, gzip files, git objects and messages decoded. They have letters only, which no
format escapes. The words of the other benchmark must be found, or the search would prove nothing.
"""

import gzip
import io
import subprocess
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.stores import MadeUp, question_ids
from benchmarks.publishers.base import Occasion, PublisherConfig
from benchmarks.report.build import build
from benchmarks.report.inputs import BenchmarkResult, ModelResult, Protocol, ReportInputs, Rules, SuiteInfo
from benchmarks.site.build import Site
from benchmarks.suite import get_suite, suite_names
from hpt_core.plugins import KINDS
from hpt_core.rollout.base import Sampling
from hpt_core.schemas import QUESTIONS, SAMPLES, VERDICTS
from tasks.execution.catalog import fill
from tests.benchmarks.publishers.hub import Hub

WORDS = {"gpqa_diamond": "zyxgluon", "math500": "qvpolygon"}
"""Benchmark -> what every planted text of it contains."""
IN_REPORT, IN_SITE = "inreport", "insite"
"""What the planted texts of each of the two have in addition."""


def planted(folder: Path, benchmark: str, where: str) -> tuple[Path, Path, Path]:
    """Samples, verdicts and questions."""
    word = f"{WORDS[benchmark]}{where}"
    texts = {what: f"{word}-{what}" for what in ("question", "gold", "response", "extracted")}
    (question_id,) = question_ids(1)
    key = {"benchmark": benchmark, "question_id": question_id, "sample_index": 0}
    sample = {"seed": 1, "response": texts["response"], "tokens": 5, "prompt_tokens": 5, "finish_reason": "stop"}
    verdict = {"outcome": "correct", "extracted": texts["extracted"]}
    front = {"question_id": question_id, "kind": "choice", "family": "physics-1"}
    question = {**front, "question": texts["question"], "gold": texts["gold"]}
    (folder / "samples").mkdir(parents=True)
    tables = [("samples/part-00000.parquet", key | sample, SAMPLES), ("verdicts.parquet", key | verdict, VERDICTS)]
    for name, row, schema in [*tables, ("questions.parquet", question, QUESTIONS)]:
        pq.write_table(pa.Table.from_pylist([row], schema), folder / name)
    return folder / "samples", folder / "verdicts.parquet", folder / "questions.parquet"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    sampling, results, suites = Sampling(temperature=0.6, top_p=0.95, max_tokens=64), {}, []
    for name in WORDS:
        suite = get_suite(name)
        samples, verdicts, questions = planted(tmp_path / "store" / name, name, IN_REPORT)
        rules = Rules(protocol="benchmark", prompt="plain", sampling=sampling, k=1)
        fields = {"name": name, "title": suite.title, "group": suite.group, "rows": 1, "gated": suite.gated}
        suites.append(SuiteInfo(**fields, rules=rules, questions=questions))
        hashes = {"model_hash": "sha256:1", "benchmark_hash": "sha256:2", "prompt_hash": "sha256:3"}
        engine = {"engine_version": "vllm 1", "engine": "{}", "dtype": "float32", "grader_version": "choice 1"}
        protocol = Protocol(prompt="plain", sampling=sampling, k=1, grade_timeout_s=5.0, seed=1, **hashes, **engine)
        results[name] = BenchmarkResult(samples=samples, verdicts=verdicts, protocol=protocol)
    models = [ModelResult(name=name, label=name.split(".")[1], results=results) for name in ("model.a", "train.b")]
    inputs = ReportInputs(
        title="t",
        pipeline="p",
        models=models,
        suites=suites,
        measured_until=datetime.now(UTC),
        output=tmp_path / "report",
    )
    build(inputs)
    return inputs.output


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The site of a store, with all texts that it may have."""
    made = MadeUp(tmp_path / "runs")
    made.run("p", {"a": {name: np.ones((1, 1), bool) for name in WORDS}})
    for name in WORDS:
        sources = planted(tmp_path / "texts" / name, name, IN_SITE)
        stages = (f"evaluate.a/samples/{name}", f"evaluate.a/verdicts/{name}", f"benchmark.{name}")
        places = ("samples/part-00000.parquet", "verdicts.parquet", "asked.parquet")
        for source, stage, place in zip(sources, stages, places, strict=True):
            (slot,) = [slot for slot in made.store.slots() if (m := slot.manifest()) and m.stage == stage]
            file = source / "part-00000.parquet" if source.is_dir() else source
            (slot.output / place).write_bytes(file.read_bytes())
    Site(made.store, fill(made.store)).build(tmp_path / "site", responses=True)
    return tmp_path / "site"


def decoded(content: bytes) -> bytes:
    """A file's bytes, what was compressed in it, and the values of a Parquet file."""
    if content.startswith(b"\x1f\x8b"):
        content += decoded(gzip.decompress(content))
    if content.startswith(b"PAR1"):
        content += repr(pq.read_table(io.BytesIO(content)).to_pylist()).encode()
    return content


def files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def test_the_benchmarks_that_ask_for_it_are_gated() -> None:
    assert [name for name in suite_names() if get_suite(name).gated] == ["gpqa_diamond"]


@pytest.mark.parametrize("name", KINDS["publishers"].names)
def test_planted_text_of_a_gated_benchmark_is_in_no_target(
    report: Path, site: Path, tmp_path: Path, hub: Hub, name: str
) -> None:
    at_hub = {"name": name, "repo": "lab/board", "endpoint": hub.url, "token_env": "HPT_TEST_TOKEN", "samples": True}
    url, remote = f"memory://gated-{uuid.uuid4().hex}/board", tmp_path / "board.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(remote)], check=True)
    configs: dict[str, list[dict[str, Any]]] = {
        "static_site": [{"name": name, "path": str(tmp_path / "board"), "samples": True}],
        "s3": [{"name": name, "url": url, "samples": True}],
        "git_branch": [{"name": name, "remote": str(remote), "samples": True}],
        "huggingface": [at_hub | {"kind": "space"}, at_hub | {"kind": "dataset"}],
        "model_card": [at_hub | {"model": "train.b"}],
    }
    system, root = fsspec.core.url_to_fs(url)

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", *arguments], cwd=remote, capture_output=True, check=True).stdout

    def objects() -> list[bytes]:
        names = git("rev-list", "--objects", "--all").split(b"\n")
        ids = [line.split()[0].decode() for line in names if line]
        return [git("cat-file", git("cat-file", "-t", i).decode().strip(), i) for i in ids]

    targets: dict[str, Callable[[], list[bytes]]] = {
        "static_site": lambda: files(tmp_path / "board"),
        "s3": lambda: [system.cat_file(path) for path in system.find(root)],
        "git_branch": objects,
        "huggingface": lambda: [*hub.files.values(), repr(hub.requests).encode()],
        "model_card": lambda: [*hub.files.values(), repr(hub.requests).encode()],
    }
    for table in configs[name]:
        config: Any = PublisherConfig.from_value(table)
        receipt = config.publish(report, Occasion(pipeline="p", site=site))
    text = b"".join(decoded(content) for content in [*targets[name](), receipt.model_dump_json().encode()])
    assert len(text) > 500
    assert WORDS["gpqa_diamond"].encode() not in text
    for where in (IN_REPORT, IN_SITE):
        for what in ("question", "response") if where == IN_SITE else ("response",):
            word = f"{WORDS['math500']}{where}-{what}".encode()
            assert (word in text) == (name != "model_card"), "the search finds what is there"
    assert b"GPQA-Diamond" in text, "the score is published"
