"""`python -m bench.speed MEASUREMENT`."""

import sys

import typer

from bench.speed import catalog, evaluation, grading, logprobs, phases, preparation, sharing, step
from bench.speed.gpu import __main__ as gpu_check

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Measure speed and memory, also against other packages."
)
COMMANDS = {
    "phases": phases,
    "step": step,
    "logprobs": logprobs,
    "grading": grading,
    "preparation": preparation,
    "evaluation": evaluation,
    "sharing": sharing,
    "catalog": catalog,
}
for name, module in COMMANDS.items():
    app.command(name=name)(module.main)

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=PASSED_ON)
def gpu(context: typer.Context) -> None:
    """Check one GPU without vLLM: GPU tests and one HPT step at 1.5B and 7B (8 minutes)."""
    sys.exit(gpu_check.main(context.args))


if __name__ == "__main__":
    app()
