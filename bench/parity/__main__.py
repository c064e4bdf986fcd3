"""`python -m bench.parity MEASUREMENT`."""

import typer

from bench.parity import graders, gradients

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Compare our code with TRL and with other graders.")
app.command(name="gradients")(gradients.main)
app.command(name="graders")(graders.main)

if __name__ == "__main__":
    app()
