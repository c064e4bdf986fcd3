"""A reader of a published site, who opens its index.html and follows it."""

import re
from collections.abc import Callable
from pathlib import Path

Read = Callable[[str], bytes]
"""A file of the site by its name."""


def folder(read: Read) -> str:
    """The folder of the report that readers see first."""
    (found,) = set(re.findall(r'"(?:1; url=)?(runs/[0-9a-f]{16})/site/index.html"', read("index.html").decode()))
    return str(found)


def site_folder(read: Read) -> str:
    """The folder of the site that readers see first."""
    (found,) = set(re.findall(r'"(?:1; url=)?(sites/[0-9a-f]{16})/index.html"', read("index.html").decode()))
    return str(found)


def shown(site: Path | Read) -> str:
    """The page that readers see first."""
    read: Read = site if callable(site) else lambda name: (site / name).read_bytes()
    return read(f"{folder(read)}/site/index.html").decode()
