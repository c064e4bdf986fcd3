"""Our evaluation in this process, with its parts timed: eval_ours.py SPEC.json.

It runs what `python -m hpt_core.evaluation.sample` runs, and imports first what that would import, as the peers do. The
engine is wrapped to know when it was there, and for nothing else. Grading is a process of its own, as in a pipeline,
and its start counts.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import machine
import pyarrow as pa
import transformers.models.auto.tokenization_auto  # noqa: F401

from hpt_core.evaluation import sample
from hpt_core.evaluation.shards import read_samples
from hpt_core.evaluation.spec import SampleSpec
from hpt_core.files import write_json
from hpt_core.rollout.base import RolloutEngine


class Watch:
    """Stands in for an engine's config, and takes the times at which its engine opens and closes."""

    def __init__(self, config: Any) -> None:
        self._config = config
        self.starting = self.closing = 0.0
        self.opened_at = self.closed_at = 0.0
        self.cpu = 0.0
        """Seconds of all threads from the one to the other."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)

    def open(self, *arguments: Any, **options: Any) -> RolloutEngine:
        begun = time.perf_counter()
        engine: RolloutEngine = self._config.open(*arguments, **options)
        self.opened_at = time.perf_counter()
        used = time.process_time()
        self.starting = self.opened_at - begun
        close = engine.close

        def timed() -> None:
            self.closed_at = time.perf_counter()
            self.cpu = time.process_time() - used
            close()
            self.closing = time.perf_counter() - self.closed_at

        engine.close = timed  # type: ignore[method-assign]
        return engine


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sampling = SampleSpec.model_validate(spec["sample"])
    grading = Path(spec["result"]).with_name("grade.json")
    write_json(grading, spec["grade"])
    watch = Watch(sampling.engine)
    begun = time.perf_counter()
    sample.run(sampling.model_copy(update={"engine": watch}))
    sampled = time.perf_counter()
    subprocess.run([sys.executable, "-m", "hpt_core.evaluation.grade", str(grading)], check=True, cwd=machine.ROOT)
    graded = time.perf_counter()
    samples = pa.concat_tables([read_samples(unit.output / "samples") for unit in sampling.units])
    facts = {
        "cpu": watch.cpu,
        "generation": watch.closed_at - watch.opened_at,
        "sampling": sampled - begun - watch.starting - watch.closing,
        "grading": graded - sampled,
        "evaluation": graded - begun - watch.starting - watch.closing,
        "responses": samples.num_rows,
        "tokens": sum(samples.column("tokens").to_pylist()),
        "prompt_tokens": sum(samples.column("prompt_tokens").to_pylist()),
    }
    Path(spec["result"]).write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
