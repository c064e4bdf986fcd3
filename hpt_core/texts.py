"""Texts of models, data sets and configs, as they are shown to people."""

import re

HIDDEN = re.compile(
    r"[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
"""Control characters, marks of writing direction and marks without width."""


def harmless(text: str) -> str:
    """The text with such characters shown by their number instead of sent to a terminal or a page.

    They could move a terminal's cursor or change its title, and marks of direction reverse what follows.
    """
    return HIDDEN.sub(lambda mark: f"\\u{ord(mark[0]):04x}", text)
