"""Time our evaluation by part: `python -m bench.speed._ours SPEC.json`.

It runs the code of `python -m hpt_core.evaluation.sample`. As with the other packages, imports are done before the
clock starts. Grading is a separate process, as in a pipeline, and its start counts.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import transformers.models.auto.tokenization_auto  # noqa: F401

from bench.engines import Watched
from bench.machine import ROOT
from hpt_core.evaluation import sample
from hpt_core.evaluation.shards import read_samples
from hpt_core.evaluation.spec import SampleSpec
from hpt_core.files import write_json


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sampling = SampleSpec.model_validate(spec["sample"])
    grading = Path(spec["result"]).with_name("grade.json")
    write_json(grading, spec["grade"])
    engine = Watched(engine=sampling.engine)
    begun = time.perf_counter()
    sample.run(sampling.model_copy(update={"engine": engine}))
    sampled = time.perf_counter()
    subprocess.run([sys.executable, "-m", "hpt_core.evaluation.grade", str(grading)], check=True, cwd=ROOT)
    graded = time.perf_counter()
    samples = pa.concat_tables([read_samples(unit.output / "samples") for unit in sampling.units])
    idle = engine.times["starting"] + engine.times["closing"]
    facts = {
        "cpu": engine.times["cpu"],
        "generation": engine.times["generation"],
        "sampling": sampled - begun - idle,
        "grading": graded - sampled,
        "evaluation": graded - begun - idle,
        "responses": samples.num_rows,
        "tokens": sum(samples.column("tokens").to_pylist()),
        "prompt_tokens": sum(samples.column("prompt_tokens").to_pylist()),
    }
    Path(spec["result"]).write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
