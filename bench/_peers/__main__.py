"""`python -m bench._peers`: create the missing environments of the packages that we compare with."""

from typing import Annotated

import typer

from bench._peers.environments import PEERS, make


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"some of {', '.join(PEERS)}; all by default")] = None,
) -> None:
    """Create the missing environments of the packages that we compare with."""
    for name in names or PEERS:
        if name not in PEERS:
            raise typer.BadParameter(f"unknown package {name}; choose from {', '.join(PEERS)}")
        print(make(PEERS[name]))


if __name__ == "__main__":
    typer.run(main)
