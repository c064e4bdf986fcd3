"""mkdocs: pages for the documents at the top of the repository, and links that lead out of docs/."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
TOP = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "explanation/architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Document at the top of the repository -> its page."""
SOURCES = {page: document for document, page in TOP.items()}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
"""A Markdown link or image: its mark, text and target."""


def on_files(files: Files, config: Any) -> Files:
    """Add the documents at the top as pages."""
    for document, page in TOP.items():
        text = (ROOT / document).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Make every relative link one of the site; a link to a file that is no page becomes its text."""
    return LINK.sub(lambda found: _link(*found.groups(), page.file.src_uri), markdown)


def _link(mark: str, text: str, target: str, page: str) -> str:
    if re.match(r"[a-z]+:|#", target):
        return f"{mark}[{text}]({target})"
    path, _, anchor = target.partition("#")
    source = posixpath.dirname(SOURCES.get(page, f"docs/{page}"))
    document = posixpath.normpath(posixpath.join(source, path))
    found = TOP.get(document) or (document.removeprefix("docs/") if document.startswith("docs/") else None)
    if found is None:
        return text
    shown = posixpath.relpath(found, posixpath.dirname(page) or ".")
    return f"{mark}[{text}]({shown}{f'#{anchor}' if anchor else ''})"
