"""Every relative link in the documents points to an existing file and heading."""

import re
from functools import cache
from pathlib import Path

import pytest
from pymdownx.slugs import slugify

from tests.docs.documents import DOCS, DOCUMENTS, name, split

LINK = re.compile(r"\]\(([^()\s]+)\)")
SLUG = slugify(case="lower")


@cache
def anchors(document: Path) -> frozenset[str]:
    """Anchors of a document's headings, as mkdocs and GitHub make them."""
    found: list[str] = []
    for title in re.findall(r"^#+ (.*)$", split(document)[1], re.MULTILINE):
        slug = SLUG(re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", title), "-")
        times = sum(other == slug or re.fullmatch(rf"{re.escape(slug)}_\d+", other) is not None for other in found)
        found.append(f"{slug}_{times}" if times else slug)
    return frozenset(found)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_link_has_a_target(document: Path) -> None:
    _, prose = split(document)
    for target in LINK.findall(re.sub(r"`[^`]*`", "", prose)):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), f"{name(document)}: {target} does not exist"
        # The API pages are made of docstrings: `mkdocs build --strict` checks their anchors.
        if anchor and not linked.is_relative_to(DOCS / "reference" / "api"):
            assert anchor in anchors(linked), f"{name(document)}: {target} names no heading of {name(linked)}"


def test_every_document_is_linked_from_another() -> None:
    linked = {
        (document.parent / target.partition("#")[0]).resolve()
        for document in DOCUMENTS
        for target in LINK.findall(split(document)[1])
        if not re.match(r"https?:", target)
    }
    assert [name(document) for document in DOCUMENTS if document not in linked and document.name != "README.md"] == []
