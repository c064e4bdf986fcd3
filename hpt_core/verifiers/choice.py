"""Multiple choice: the gold answer is a label, A-J or 1-10. A response may give the option's text instead."""

import re
from collections.abc import Mapping
from typing import ClassVar

from hpt_core.verifiers._denial import denied
from hpt_core.verifiers._extract import after_thinking, last_boxed
from hpt_core.verifiers._plain import bare, plain, prose, unwrapped
from hpt_core.verifiers._statements import lists, stated
from hpt_core.verifiers.base import Judgment, Outcome, Verifier
from hpt_core.verifiers.options import asks_for_exception, options

_ANY = "[A-J]|10|[1-9]"
_GOLD = re.compile(rf"\(?({_ANY})\)?", re.IGNORECASE)
_QUOTE = "[\"'“”‘’]?"
_LABEL = re.compile(
    rf"(?:the )?(?:(?:correct |final )?(?:answer|option|choice)(?: is)?)? ?[:(\[]? ?{_QUOTE}({_ANY}){_QUOTE} ?"
    r"([)\].:](?!\d|[A-Z]\.).*|[-–—]\s.*)?",
    re.IGNORECASE | re.DOTALL,
)
"""A whole text that is a label, with the text after it: C, (C), C., C) and its option, Option C."""
_ASIDE = re.compile(rf"({_ANY}) ?[(,] ?(?=[^\W\d]{{2}})", re.IGNORECASE)
"""A label followed by its option, in brackets or after a comma. A sentence may also begin so ("I, for one")."""
_ALSO = re.compile(
    r"^[)\].:]? ?(?:,|;|/|&|,? ?\b(?:or|and)\b) ?(?:(?:option|choice) )?(?:\(([A-J]|10|[1-9])\)|([A-J])(?![\w'’-]))"
    r"(?= ?(?:[.,;:)\n&/]|$|or\b|and\b))"
)
"""Another label given together with the first, in the text after the first: "A or B", "(A), (C)"."""
_BEGINNING = re.compile(rf"(?:(?:option|choice) (?=\w\W*$))?[(\[]?[\"']?({_ANY})(?!\w)", re.IGNORECASE)
_FIRST = re.compile(r"[(\[]?([A-J])(?![a-z'])")
_AMONG = re.compile(r"(?:^|[\s,;/&])(?:\(([A-J])\)|([A-J])[):])(?!\w)")
"""A label that heads an option, anywhere in the text after the first label: "A: wrong, B: right"."""
_TAIL = 4000
"""Only this many characters at the response's end are searched for a sentence that gives the answer."""


class Choice(Verifier):
    """The answer is the content of the last \\boxed{} after the thinking. Without a box, or if the box gives neither a
    label nor an option's text, it is what the sentences give (`_statements`).

    It is the option's label or, if the question is known, its text: equal except for case, white space, LaTeX markup
    and a final period, and matching exactly one option. An answer that is both a label and an option's text counts as
    the label. So "3" is the third of options 1 to 4, but with options A to D it is the option whose text is 3. A label
    that the question does not offer is incorrect.
    """

    version: ClassVar[str] = "choice-4"
    reads_question: ClassVar[bool] = True
    example: ClassVar[tuple[str, str] | None] = ("A", "A")
    references: ClassVar[tuple[str, ...]] = ("string",)

    def extract(self, response: str, question: str = "") -> str | None:
        """The label in capitals. Without one, the box's content; None if there is no box either."""
        text, offered = after_thinking(response), options(question)
        boxed = last_boxed(text)
        if boxed is not None and len(boxed) > _TAIL:
            return boxed
        if boxed:
            label = _boxed(boxed, offered)
            if label and (label in offered or label.isalpha() or not offered):
                return label
            if _gives_several(boxed):
                return boxed
        said = stated(_end(text), offered, asks_for_exception(question))
        if said is None and boxed is None and len(text) <= _TAIL:
            said = _whole(text, offered)
        return said or boxed or None

    def check_gold(self, gold: str, question: str) -> None:
        """It must be the label of an option of the question."""
        offered = options(question)
        if gold not in offered:
            raise ValueError(f"answer {gold!r} is not among the options {', '.join(offered) or '(none found)'}")

    def judge(self, gold: str, answer: str | None, question: str = "") -> Outcome | Judgment:
        """GOLD_ERROR if the gold answer is not a label or is not offered by the question, whatever the answer."""
        match, offered = _GOLD.fullmatch(unwrapped(gold.removeprefix("\\boxed")).strip()), options(question)
        truth = match.group(1).upper() if match else None
        if truth is None:
            return self.gold_error("no option's label")
        if offered and truth not in offered:
            return self.gold_error(f"not among the options {', '.join(offered)}")
        if answer is None:
            return Outcome.NO_ANSWER
        return Outcome.CORRECT if answer == truth else Outcome.INCORRECT


def _end(text: str) -> str:
    """The end of `text`, from the beginning of a sentence."""
    tail = text[-_TAIL:]
    start = None if len(tail) == len(text) else re.search(r"[.!?;]\s|\n", tail)
    return tail[start.end() :] if start else tail


def _whole(text: str, offered: Mapping[str, str]) -> str | None:
    """The label that a response without sentences about the answer begins with, or whose option it is."""
    short = prose(text)
    first = _BEGINNING.match(short)
    line = short[first.end() :].partition("\n")[0] if first else ""
    if first is None or denied("", re.split(r"(?<=[.!?]) ", line)[0]) or _runs_on(first.group(1), line):
        return _meant(text, offered)
    return _chosen(text, offered)


def _runs_on(label: str, line: str) -> bool:
    """Whether the rest of a line holds the option after `label`: "A. 1 B. 2"."""
    following = str(int(label) + 1) if label.isdecimal() else chr(ord(label) + 1)
    return re.search(rf"[ ,;]\(?{following}[.):]", line) is not None


def _boxed(text: str, offered: Mapping[str, str]) -> str | None:
    """The label that a box's `text` gives or describes; None if it gives none or several."""
    chosen, short = _chosen(text, offered), bare(text)
    if chosen is None and (aside := _ASIDE.match(short)):
        return _chosen(f"{aside.group(1)}. {short[aside.end() :]}", offered)
    return chosen


def _gives_several(text: str) -> bool:
    """Whether a box's `text` gives several labels: "A, B", "AB"."""
    short = bare(text)
    first = _FIRST.match(short)
    return first is not None and (_several(first.group(1), short[first.end() :]) or not short[1:].strip("ABCDEFGHIJ"))


def _chosen(text: str, offered: Mapping[str, str]) -> str | None:
    """The label that `text` gives or describes; None if it gives several.

    An offered label on its own comes first, then an option's text, then a label followed by more text. With options A
    to E, "E. coli" is the option with that text; it is the label E only if no option has it.
    """
    short = bare(text)
    match = None if lists(short) else _LABEL.fullmatch(short)
    if match is None:
        return _meant(text, offered)
    label, behind = match.group(1).upper(), match.group(2) or ""
    if label in offered and not behind.strip(")].: "):
        return label
    said = plain(behind.lstrip(")].:,(-–— "))
    if said and label in offered and said.rstrip(") ").casefold() == plain(offered[label]).rstrip(") ").casefold():
        return label
    return _meant(text, offered) or (None if _several(label, behind) else label)


def _several(label: str, behind: str) -> bool:
    """Whether the text `behind` a label names or lists another option."""
    also = _ALSO.match(behind)
    others = [also.group(1) or also.group(2)] if also else []
    if label.isalpha():
        others += [match.group(1) or match.group(2) for match in _AMONG.finditer(behind)]
    return any(other.upper() != label for other in others)


def _meant(text: str, offered: Mapping[str, str]) -> str | None:
    """The label of the only option whose text is `text`. Case is ignored unless it distinguishes options."""
    said = plain(text)
    for fold in (str, str.casefold):
        found = [label for label, option in offered.items() if fold(plain(option)) == fold(said)]
        if said and len(found) == 1:
            return found[0]
    return None
