"""`python -m bench.speed.gpu`: check one GPU and write one record.

1. Run the tests marked `gpu`. Without vLLM, the tests that need it are left out.
2. Run one step for each recipe (shapes.py) and measure seconds by phase, tokens per second, peak memory and model
   FLOPs utilization (MFU).

The record is written after each part, so earlier results are kept if a later part fails or time runs out.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import child, machine, records
from bench.records import Record
from bench.speed.gpu import checks, wheels

NO_TESTS = 5
"""pytest's exit code if it ran no test."""
TESTS = 0.4
"""Maximum share of the time for the tests."""
MEASURED = ("qwen2.5-1.5b", "qwen2.5-1.5b-sft", "qwen2.5-7b")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check. Returns 1 if a test or a step failed, else 0."""
    options = _options(arguments)
    ends: float = time.monotonic() + 60 * options.minutes
    summary: dict[str, Any] = {"steps": {}}
    described = machine.describe()
    settings = {"recipes": options.recipes, "minutes": options.minutes}

    def left() -> float:
        return max(1.0, ends - time.monotonic())

    def keep() -> None:
        records.write(options.out, Record("gpu", described, settings, summary))

    with tempfile.TemporaryDirectory(prefix="gpu-") as temporary:
        folder = Path(temporary)
        environment = prepare(options.wheels, folder / "site")
        summary["tests"] = checks.run(folder / "tests.xml", environment, TESTS * left())
        keep()
        for name in settings["recipes"]:
            summary["steps"][name] = step(name, environment, left())
            keep()
    records.finish(options.out, Record("gpu", described, settings, summary), table)
    return int(failed(summary))


def prepare(carried: Path, site: Path) -> dict[str, str]:
    """Install missing packages into `site`, and return the environment variables of the measuring processes."""
    path = [str(machine.ROOT)]
    if wheels.missing():
        wheels.install(carried, site)
        path.append(str(site))
    path += filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    own = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": os.pathsep.join(path)}
    return {**os.environ, **own}


def step(name: str, environment: dict[str, str], timeout_s: float) -> dict[str, Any]:
    """The measurements of a recipe's step, or its error."""
    try:
        found: dict[str, Any] = child.call("bench.speed.gpu.step", {"name": name}, environment, timeout_s=timeout_s)
    except child.Failed as error:
        print(error, file=sys.stderr)
        return {"error": str(error)}
    return found


def failed(summary: dict[str, Any]) -> bool:
    """Whether a test or a step failed."""
    passed = summary["tests"].get("exit_code", NO_TESTS) in (0, NO_TESTS) and "error" not in summary["tests"]
    return not passed or any("error" in one for one in summary["steps"].values())


def table(record: Record) -> str:
    """One row per recipe."""
    columns = ("recipe", "trained", "rollout s", "verify s", "update s", "sync s", "tokens/s", "peak GiB", "MFU")
    return records.markdown(columns, [_row(name, found) for name, found in record.summary["steps"].items()], left=2)


def _row(name: str, found: dict[str, Any]) -> list[str]:
    if "error" in found:
        return [name, found["error"], *[""] * 7]
    lora, checkpointing = found["recipe"]["lora"], found["recipe"]["gradient_checkpointing"]
    trained = f"LoRA, rank {lora['rank']}" if lora else "every weight"
    trained += ", gradient checkpointing" if checkpointing else ""
    share = "" if found["utilization"] is None else f"{found['utilization']:.1%}".replace("%", " %")
    seconds = [f"{found['seconds'][phase]:.2f}" for phase in ("rollout", "verify", "update", "sync")]
    return [name, trained, *seconds, f"{found['tokens_per_second']:,.0f}", f"{found['peak_memory_gib']:.1f}", share]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    # argparse, because typer may need packages that are not installed yet.
    parser = argparse.ArgumentParser(
        prog="python -m bench.speed.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", nargs="+", default=list(MEASURED), help=f"recipes to run ({' '.join(MEASURED)})")
    parser.add_argument("--minutes", type=float, default=8.0, help="time limit; what still runs is stopped (8)")
    parser.add_argument("--wheels", type=Path, default=wheels.FOLDER, help="folder that bench.speed.gpu.wheels filled")
    parser.add_argument("--out", type=Path, default=records.latest("gpu"), help="file to write the record to")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
