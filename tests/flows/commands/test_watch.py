"""`hpt watch` evaluates and publishes each checkpoint once, and their scores are a line over the steps."""

import json
import os
import shutil
from typing import Any

from benchmarks.site.history import history_data
from hpt_core.artifacts import Store
from tasks.execution.catalog import fill
from tests.benchmarks.publishers.reader import shown

CHECKPOINTS = """
[model.checkpoint]
source.name = "folder"
grid.source.path = { glob = "ckpts/step-*" }
"""


def test_new_checkpoints_are_evaluated_and_published_once(fresh: Any, finished: Any) -> None:
    (model,) = (finished.store / "model").glob("*/output/model")
    text = fresh.config.read_text().replace('models = ["model.base"]', 'models = ["model.checkpoint"]')
    fresh.config.write_text(text + CHECKPOINTS)

    def appears(step: int) -> None:
        folder = fresh.folder / "ckpts" / f"step-{step}"
        shutil.copytree(model, folder)
        config = json.loads((folder / "config.json").read_text())
        # Another content: a copy of a known model would be known.
        (folder / "config.json").write_text(json.dumps(config | {"step": step}))
        for file in folder.iterdir():
            os.utime(file, (1e9, 1e9))

    def evaluated() -> set[str]:
        """Stages that the last look has run."""
        done = fresh("watch", "tiny.toml", "--once")
        return {line.split()[1][:-1] for line in done.stderr.splitlines() if ": done" in line}

    waiting = fresh("watch", "tiny.toml", "--once")
    assert "nothing complete matches ckpts/step-*" in waiting.stderr.replace("\n", " ")
    appears(5)
    assert {"model.checkpoint_step-5", "evaluate.checkpoint_step-5", "publish.static_site"} <= evaluated()
    appears(10)
    assert evaluated() == {"model.checkpoint_step-10", "evaluate.checkpoint_step-10", "report", "publish.static_site"}
    assert "checkpoint_step-10" in shown(fresh.published)
    assert "everything is done" in fresh("watch", "tiny.toml", "--once").stderr
    lines = history_data(fill(Store(fresh.store)))["lines"]
    assert [line["name"] for line in lines] == ["tiny/checkpoint_step-*"] * 2, "one for each benchmark"
    assert [[point["step"] for point in line["points"]] for line in lines] == [[5, 10]] * 2
