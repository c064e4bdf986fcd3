"""What differs between two artifacts: fields of the config, inputs, versions, and code."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from hpt_core.artifacts import Manifest
from hpt_core.code import source_file
from hpt_core.redact import redacted

HASH_LENGTH = 64
"""Hexadecimal digits of a SHA-256."""
ABSENT = "(none)"
"""Stands for a field, an input or a version that one of the two artifacts lacks."""


class Identity(Protocol):
    """What a fingerprint is computed from: a target's, or a manifest's."""

    @property
    def config(self) -> Any: ...
    @property
    def versions(self) -> Mapping[str, str]: ...
    @property
    def inputs(self) -> Mapping[str, str]: ...


class ArtifactDifference(NamedTuple):
    """One thing that differs, with its value before and now."""

    what: Literal["version", "code", "input", "field"]
    name: str
    """Path of a field, name of a component, role of an input, or module of a plug-in."""
    before: Any
    now: Any

    def __str__(self) -> str:
        if self.what == "code":
            return shown_file(self.name)
        if self.what == "version":
            return f"{self.name}: {short(self.before)} -> {short(self.now)}"
        return f"input {self.name}" if self.what == "input" else self.name

    @property
    def line(self) -> str:
        """What differs, with both values."""
        if self.what == "code":
            return f"{shown_file(self.name)} has changed"
        return f"{self.name}: {short(self.before)} -> {short(self.now)}"


def differences(before: Identity, now: Identity) -> list[ArtifactDifference]:
    """All that differs: versions and code first, then inputs, then fields."""
    found = []
    for name in sorted({*before.versions, *now.versions}):
        old, new = before.versions.get(name), now.versions.get(name)
        if old != new:
            is_code = bool(old and new and len(new) == HASH_LENGTH and source_file(name))
            found.append(ArtifactDifference("code" if is_code else "version", name, old, new))
    for role in dict.fromkeys([*now.inputs, *before.inputs]):
        hashes = before.inputs.get(role), now.inputs.get(role)
        if hashes[0] != hashes[1]:
            found.append(ArtifactDifference("input", role, *hashes))
    return found + list(fields(before.config, now.config))


def nearest(target: Identity, stored: Iterable[Manifest], name: str = "") -> Manifest | None:
    """The stored artifact with the fewest differences; None if there is none.

    Of several, one that was made under this name, and then the latest.
    """
    config = redacted(target.config)  # once: a manifest holds no secrets

    def count(before: Manifest) -> int:
        pairs = ((before.versions, target.versions), (before.inputs, target.inputs))
        tables = sum(old.get(key) != new.get(key) for old, new in pairs for key in {*old, *new})
        return tables + sum(1 for _ in _leaves(before.config, config))

    found = ((count(m), m.stage != name, -m.end.timestamp(), m) for m in stored)
    return min(found, key=lambda item: item[:3], default=(None,))[-1]


def summary(found: list[ArtifactDifference], most: int = 3) -> str:
    """The first differences in one line; "" if there are none."""
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return f"changed: {', '.join(map(str, found[:most]))}{more}" if found else ""


def short(value: Any) -> str:
    """A value in a few characters; hashes are cut."""
    if value is None:
        return "none"
    text = str(value)
    if text.startswith("to come: "):
        return "to come"
    return text[:12] if len(text) == HASH_LENGTH and text.isalnum() else text


def shown_file(module: str) -> str:
    """The file of a plug-in's module, relative to the current folder if it lies below it."""
    file = source_file(module)
    if file is None:
        return module
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)


def fields(before: Any, now: Any) -> Iterator[ArtifactDifference]:
    """The fields that differ between two configs, inside tables and lists of the same length."""
    for where, *values in _leaves(before, now):
        shown = [redacted(value) for value in values]
        if shown[0] != shown[1]:  # a manifest holds no secrets, and nobody may see those of a config
            yield ArtifactDifference("field", where, *shown)


def _leaves(before: Any, now: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(field, before, now)."""
    pairs: list[tuple[Any, Any, Any]] = []
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        pairs = [(name, before.get(name, ABSENT), now.get(name, ABSENT)) for name in sorted({*before, *now})]
    elif isinstance(before, list | tuple) and isinstance(now, list | tuple) and len(before) == len(now):
        pairs = [(place, *items) for place, items in enumerate(zip(before, now, strict=True))]
    elif before != now:
        yield where, before, now
    for name, old, new in pairs:
        yield from _leaves(old, new, f"{where}.{name}".removeprefix("."))
