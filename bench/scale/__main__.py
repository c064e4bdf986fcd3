"""`python -m bench.scale MEASUREMENT`."""

import typer

from bench.scale import planning, prefect, simulation, slices, stages

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Measure how orchestration scales.")
COMMANDS = {
    "stages": stages,
    "planning": planning,
    "slices": slices,
    "prefect": prefect,
    "simulation": simulation,
}
for name, module in COMMANDS.items():
    app.command(name=name)(module.main)

if __name__ == "__main__":
    app()
