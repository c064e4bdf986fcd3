"""Texts that are shown to people."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import benchmarks.site
from hpt_core.texts import HIDDEN, harmless


@given(st.text())
def test_a_harmless_text_has_no_hidden_character_and_stays_as_it_is(text: str) -> None:
    found = harmless(text)
    assert not HIDDEN.search(found)
    assert harmless(found) == found
    assert found == text or HIDDEN.search(text)


def test_marks_of_direction_and_control_characters_are_shown_by_number() -> None:
    assert harmless("a\x1b[31m\u202egnp\r\n\tb") == "a\\u001b[31m\\u202egnp\\u000d\n\tb"


def test_the_site_hides_the_same_characters() -> None:
    script = (Path(benchmarks.site.__file__).parent / "static/site.js").read_text()
    assert re.findall(r"/(\[\\u0000.*\])/g", script) == [HIDDEN.pattern]
