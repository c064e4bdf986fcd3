"""Find stores and stored outputs by the names that users give them."""

import re
from pathlib import Path

from flows.load import ENDINGS, load_config
from hpt_core.artifacts import Manifest, Slot, Store
from hpt_core.errors import ConfigError, StoreError, near

DEFAULT = "runs"
"""The store of a config that names none."""
PREFIX = re.compile("[0-9a-f]{4,64}")


def open_store(where: str | None) -> Store:
    """The store in a folder, or of a config; without either, the one in ./runs or the only one below it.

    Raises StoreError for a folder that is not a store, and ConfigError if there are several.
    """
    if where is not None and where.endswith(ENDINGS):
        return _existing(load_config(Path(where)).store)
    if where is not None:
        return _existing(where)
    below = [str(path) for path in sorted(Path(DEFAULT).glob("*")) if path.is_dir() and Store(path).is_used]
    if not below or Store(DEFAULT).is_used:
        return _existing(DEFAULT)
    if len(below) > 1:
        raise ConfigError(f"there are several stores: {', '.join(below)}", f"choose one: --store {below[0]}")
    return _existing(below[0])


def find(store: Store, text: str) -> list[Slot]:
    """The finished outputs that `text` names.

    It is a folder, a fingerprint's beginning with or without the kind ("train/3f2a", "3f2a91"), or the name of a stage
    or an artifact ("train.hpt", "evaluate.hpt/verdicts"), which stands for those used last. Raises StoreError.
    """
    if (folder := Path(text)).is_dir() and (folder / "manifest.json").is_file():
        folder = folder.resolve()
        kind, fingerprint = folder.parts[-2:]
        is_of_store = folder.parent.parent == store.root
        return [store.slot(kind, fingerprint) if is_of_store else Slot(folder, kind, fingerprint)]
    kind, _, prefix = text.rpartition("/")
    if PREFIX.fullmatch(prefix):
        found = [s for s in store.slots(kind or "*") if s.fingerprint.startswith(prefix) and s.manifest()]
        if len(found) > 1:
            raise StoreError(f"{text} is the beginning of {', '.join(map(str, found))}", "give more of the fingerprint")
        if found:
            return found
    names = store.names()
    slots = [slot for name, slot in names.items() if (name == text or name.startswith(f"{text}/")) and slot.manifest()]
    if not slots:
        raise StoreError(
            f"{store.address} holds no output {text!r}", near(text, tuple(names)) if names else "run it first"
        )
    return slots


def find_one(store: Store, text: str) -> tuple[Slot, Manifest]:
    """The one finished output that `text` names. Raises StoreError if there is none, or more than one."""
    found = find(store, text)
    manifest = found[0].manifest()
    if len(found) > 1 or manifest is None:
        names = ", ".join(f"{slot} ({m.stage})" for slot in found if (m := slot.manifest()))
        raise StoreError(f"{text} names {len(found)} outputs: {names}", "name one of them")
    return found[0], manifest


def _existing(where: str) -> Store:
    store = Store(where)
    store.refresh()
    if not store.is_used:
        raise StoreError(
            f"{store.address} is not a store, or nothing has run on it", "give one: --store FOLDER, URL or CONFIG"
        )
    return store
