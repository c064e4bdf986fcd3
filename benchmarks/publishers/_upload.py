"""Publish to a target that takes files one by one: a folder, an object store."""

import logging
from collections.abc import Sequence
from typing import Protocol

from benchmarks.publishers._layout import INDEX, Content, Published, outdated, pages, read_entry, require_ours
from benchmarks.publishers.base import Occasion

LOG = logging.getLogger("hpt.publish")
ENTRIES = "records"
"""Folder with the entry of each report and site, KEY.json. An entry says that what it names is complete."""


class Files(Protocol):
    """The files of a target. A file appears whole or not at all."""

    def read_all(self, folder: str) -> dict[str, bytes]:
        """Name -> content of the files in a folder; none if there is no such folder."""

    def read(self, name: str) -> bytes | None:
        """A file's content; None if there is no such file."""

    def write(self, name: str, content: bytes) -> None:
        """Create or replace a file."""

    def lacks(self, content: Content) -> list[str]:
        """The content's files that are missing in its folder, or differ there."""

    def remove(self, name: str) -> None:
        """Remove a file or a folder, which may be gone already."""


def upload(files: Files, contents: Sequence[Content], occasion: Occasion, target: str) -> bool:
    """Publish, continuing an upload that was stopped. Returns whether anything changed. Raises PublishError.

    Several machines may publish at once, and any of them may stop anywhere. Each writes its files, then their entries,
    and then what follows from all entries that it finds; it repeats the last step until the entries are still the same
    afterwards. So whoever writes last has seen every entry. Sites that are outdated are removed at the end, their
    entries last, so that the next publication continues if this one is stopped.
    """
    require_ours(files.read(INDEX), target)
    changed = False
    for content in contents:
        for name in files.lacks(content):
            files.write(f"{content.folder}/{name}", content.files[name].read_bytes())
            changed = True
    runs = entries(files)
    for content in contents:
        if content.is_new(occasion, runs):
            entry = content.entry(occasion, runs)
            files.write(f"{ENTRIES}/{content.key}.json", entry.model_dump_json().encode())
            changed = True
    runs = entries(files)
    while True:
        for name, page in pages(runs).items():
            # Somebody may have removed a site meanwhile, to which this index would lead.
            if name == INDEX and (now := entries(files)) != runs:
                break
            if files.read(name) != page:
                files.write(name, page)
                changed = True
        else:
            now = entries(files)
        if now == runs:
            break
        runs = now
    for old in outdated(runs):
        try:
            files.remove(old.folder)
            files.remove(f"{ENTRIES}/{old.key}.json")
        except OSError as error:  # the next publication tries it again
            LOG.warning("an old site is left at %s/%s: %s", target, old.folder, error)
    return changed


def entries(files: Files) -> list[Published]:
    """The entries of all reports on a target, by key."""
    found = []
    for name, content in sorted(files.read_all(ENTRIES).items()):
        if entry := read_entry(content):
            found.append(entry)
        else:
            LOG.warning("%s of the published site cannot be read; the list of reports leaves its report out", name)
    return found
