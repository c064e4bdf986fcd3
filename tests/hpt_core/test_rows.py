"""Values of data files: JSON keeps every digit, and what is no text or number is refused with the reason."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core.rows import answer_of, json_items, parse_json, parse_line, text_of

LONG = "9" * 5000


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("27", "27"),
        ("-0", "0"),
        ("27.0", "27"),
        ("-0.0", "0"),
        ("2.50", "2.5"),
        ("1e-7", "0.0000001"),
        ("1e22", "1" + "0" * 22),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        (LONG, LONG),
        (f"-{LONG}", f"-{LONG}"),
        (f"{LONG}.5", f"{LONG}.5"),
        ("1e5000", "1E+5000"),
        ('"x"', "x"),
        ('"\\ud83d\\ude00"', "😀"),
    ],
)
def test_a_number_is_its_decimal_text(written: str, text: str) -> None:
    assert text_of(parse_json(written)) == text
    assert answer_of(parse_json(f"[{written}]")) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, places=20))
def test_no_digit_of_a_number_is_lost(number: Decimal) -> None:
    assert Decimal(text_of(parse_json(format(number, "f")))) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_reads_back_as_itself(number: float) -> None:
    assert float(text_of(number)) == number
    assert "e" not in text_of(number).lower()


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("NaN", "is NaN, which is not a number"),
        ("-Infinity", "is -Infinity, which is not a number"),
        ("1e9999999999999999999999", "is Infinity, which is not a number"),
        ('"a\\ud83d"', r"contains an unpaired surrogate \(character 2\)"),
        ("true", "is a truth value where text is expected"),
        ("null", "is nothing where text is expected"),
        ("{}", "is an object where text is expected"),
        ("[]", "is a list of 0 answers where one is expected"),
        ('["2", "3"]', "is a list of 2 answers where one is expected"),
        ("[null]", "is nothing where text is expected"),
    ],
)
def test_what_is_no_answer_is_refused(written: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        answer_of(parse_json(written))


def test_bytes_are_text_if_they_are_utf8() -> None:
    assert text_of("é".encode()) == "é"
    with pytest.raises(ValueError, match="is not UTF-8 text: "):
        text_of(b"\xff")


def test_a_list_of_a_list_of_an_answer_is_that_answer() -> None:
    value: Any = "2"
    for _ in range(100_000):
        value = [value]
    assert answer_of(value) == "2"
    while isinstance(value, list):  # deleting a deep list at once would need as deep a stack
        value = value.pop()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"a": 1', "is not JSON: Expecting ',' delimiter at character 7"),
        (b'{"a": 1} 2', "is not JSON: Extra data at character 9"),
        (b"", "is not JSON: Expecting value at character 0"),
        (b"\xff", "is not UTF-8 text: invalid start byte"),
        (b"[" * 10_000 + b"]" * 10_000, "is nested too deeply to be read"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "is nested too deeply to be read"),
        (b'{"a": 1, "b": 2, "a": 3}', "has the field 'a' twice"),
    ],
)
def test_what_is_no_json_is_refused(line: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_line(line)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(rows=st.lists(_JSON, max_size=4), indent=st.sampled_from([None, 0, 2]), cut=st.integers(1, 30))
def test_a_list_is_read_item_by_item_as_json_reads_it(rows: list[Any], indent: int | None, cut: int) -> None:
    text = json.dumps(rows, indent=indent)
    assert list(json_items(f"\n{text} ")) == rows == parse_json(text)
    with pytest.raises(ValueError, match="is not JSON"):
        list(json_items(text[: max(0, len(text) - cut)]))


def test_items_before_a_wrong_one_are_read() -> None:
    items = json_items('[{"a": 1},\n{]')
    assert next(items) == {"a": 1}
    with pytest.raises(ValueError, match="is not JSON: line 2: Expecting property name"):
        next(items)
    for text in ("[1 2]", "[1] x", "[1,]", "[1"):
        with pytest.raises(ValueError, match="is not JSON"):
            list(json_items(text))
    with pytest.raises(ValueError, match="holds an object where a list of rows is expected"):
        json_items("{}")
