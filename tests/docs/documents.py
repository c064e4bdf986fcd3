"""The documents, their code blocks and their inline code, for the tests beside this file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"```(\w*)(?: title=\"([^\"]*)\")?")


class Block(NamedTuple):
    """A code block."""

    language: str
    """What the fence says; empty for an indented block."""
    title: str
    """Name of the file that the reader makes of it; empty for most."""
    text: str


def name(document: Path) -> str:
    """What a test calls a document."""
    return document.relative_to(ROOT).as_posix()


def split(document: Path) -> tuple[list[Block], str]:
    """The code blocks of a document, and its text without them."""
    blocks: list[Block] = []
    prose: list[str] = []
    lines = iter(document.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if fence := FENCE.fullmatch(line):
            inside = list(iter(lambda: next(lines), "```"))
            blocks.append(Block(fence[1], fence[2] or "", "\n".join(inside) + "\n"))
            prose.append("")
        elif line.startswith("    ") and prose and (not prose[-1] or prose[-1] == "\0"):
            blocks.append(Block("", "", line[4:] + "\n"))
            prose.append("\0")
        else:
            prose.append(line)
    return blocks, "\n".join(prose)


def inline(document: Path) -> Iterator[str]:
    """Inline code of a document."""
    _, prose = split(document)
    for found in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose):
        yield " ".join(found.split())
