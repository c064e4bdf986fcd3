"""`python -m bench.parity MEASUREMENT`."""

import typer

from bench.parity import alarms, balance, graders, gradients

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Compare us with TRL, other graders, and chance.")
app.command(name="gradients")(gradients.main)
app.command(name="alarms")(alarms.main)
app.command(name="balance")(balance.main)
app.command(name="graders")(graders.main)

if __name__ == "__main__":
    app()
