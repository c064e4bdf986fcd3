"""In a process of its own: plan a pipeline."""

import time
from typing import Any

BEGUN, USED = time.perf_counter(), time.process_time()


def measure(config: str) -> dict[str, Any]:
    """Seconds from the first import to the plan, and of its parts. Fails if a stage is not finished."""
    from pathlib import Path

    from flows.load import load_config
    from flows.run import plan_run

    imported = time.perf_counter()
    loaded = load_config(Path(config))
    read = time.perf_counter()
    plan = plan_run(loaded).plan
    planned = time.perf_counter()
    if not plan.finished:
        raise SystemExit(f"not finished: {[str(p.target.key) for p in plan.planned if p.check.state != 'done'][:5]}")
    files = sum(len(m.files) for p in plan.planned if (m := _manifest(p)))
    return {
        "seconds": planned - BEGUN,
        "cpu": time.process_time() - USED,
        "imports": imported - BEGUN,
        "load": read - imported,
        "plan": planned - read,
        "stages": len(plan.graph),
        "files": files,
    }


def _manifest(planned: Any) -> Any:
    from hpt_core.artifacts import Slot

    artifact = planned.check.artifact
    return Slot(artifact.folder, artifact.kind, artifact.fingerprint).manifest()


if __name__ == "__main__":
    from bench import child

    child.answer(measure)
