"""`python -m bench`: all commands under one name."""

import typer

from bench import tables
from bench._peers import __main__ as peers
from bench.failures import __main__ as failures
from bench.parity import __main__ as parity
from bench.scale import __main__ as scale
from bench.speed import __main__ as speed

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Measure agreement, speed and scale.")
app.add_typer(parity.app, name="parity")
app.add_typer(speed.app, name="speed")
app.add_typer(scale.app, name="scale")
app.command(name="failures")(failures.main)
app.command(name="tables")(tables.main)
app.command(name="peers")(peers.main)

if __name__ == "__main__":
    app()
