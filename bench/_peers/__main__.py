"""`python -m bench._peers`: make the environments of the packages that we compare with, where they are missing."""

from typing import Annotated

import typer

from bench._peers.environments import PEERS, make


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"of {', '.join(PEERS)}; all by default")] = None,
) -> None:
    """Make the environments of the packages that we compare with, where they are missing."""
    for name in names or PEERS:
        if name not in PEERS:
            raise typer.BadParameter(f"{name} is none of {', '.join(PEERS)}")
        print(make(PEERS[name]))


if __name__ == "__main__":
    typer.run(main)
