"""Multiple choice: the gold answer is a label, A-J or 1-10. A response may give the option's text instead."""

import re
from collections.abc import Mapping
from typing import ClassVar

from hpt_core.verifiers._extract import after_thinking, last_boxed
from hpt_core.verifiers.base import Outcome, Verifier
from hpt_core.verifiers.options import options

_ANY = "[A-J]|10|[1-9]"
_GOLD = re.compile(rf"\(?({_ANY})\)?", re.IGNORECASE)
_WRAPPING = re.compile(
    r"\\(?:text(?:bf|rm|it|sf|tt|normal)?|mbox|math(?:rm|bf|sf)|boldsymbol|rm|bf|left|right)(?![a-zA-Z])\s*|\\?\$|[{}]"
    r"|\\[()\[\]]|\*\*|(?<![\w*])\*(?=\S)|(?<=\S)\*(?![\w*])"
)
"""LaTeX and Markdown markup around words. The star of a product is kept."""
_QUOTE = "[\"'“”‘’]?"
_LABEL = re.compile(
    rf"(?:the )?(?:(?:correct |final )?(?:answer|option|choice)(?: is)?)? ?[:(\[]? ?{_QUOTE}({_ANY}){_QUOTE} ?"
    r"([)\].:](?!\d).*|[-–—]\s.*)?",
    re.IGNORECASE | re.DOTALL,
)
"""A whole text that is a label, with the text after it: C, (C), C., C) and its option, Option C."""
_ASIDE = re.compile(rf"({_ANY}) ?[(,] ?(?=[^\W\d]{{2}})", re.IGNORECASE)
"""A label followed by its option, in brackets or after a comma. A sentence may also begin so ("I, for one")."""
_LISTED = re.compile(rf"\(?({_ANY})[)\].:][^\n]*\n[-*]? ?\(?({_ANY})[)\].:]", re.IGNORECASE)
"""Two options on consecutive lines."""
_ALSO = re.compile(
    r"^[)\].:]? ?(?:,|;|/|&|,? ?\b(?:or|and)\b) ?(?:(?:option|choice) )?(?:\(([A-J]|10|[1-9])\)|([A-J])(?![\w'’-]))"
    r"(?= ?(?:[.,;:)\n&/]|$|or\b|and\b))"
)
"""Another label given together with the first, in the text after the first: "A or B", "(A), (C)"."""
_AMONG = re.compile(r"(?:^|[\s,;/&])(?:\(([A-J])\)|([A-J])[):])(?!\w)")
"""A label that heads an option, anywhere in the text after the first label: "A: wrong, B: right"."""
_BECAUSE = "because|since|as|for|due"
_STATED = re.compile(
    rf"\b(?i:answer)\s*(?:(?i:is|would\s+be|must\s+be)\b|[:=])[\s:]*(?i:option|choice)?\s*{_QUOTE}"
    rf"(?:\(([A-Ja-j]|10|[1-9])\)|([B-HJ]|10|[1-9])(?![\w'’%^/]|-\w|\.\d)"
    rf"|([AI])(?={_QUOTE}\s*(?:[.,;:)\n]|$)|\s+(?:{_BECAUSE})\b))"
    r"|\b(?i:answer)\s*\n\s*\(?([A-J])\)?(?=[.)]?\s*(?:\n|$))"
    rf"|\b(?i:correct|right|best)\s+(?i:option|choice)\s*(?:(?i:is)\b|:)\s*{_QUOTE}(?:\(([A-J]|10|[1-9])\)"
    r"|([A-J]|10|[1-9])(?=[\"'”’]?\s*(?:[.,;:)\n]|$)))"
    r"|\b(?i:option|choice)\s*\(?([A-J]|10|[1-9])\)?\s+is\s+(?:the\s+)?(?:correct|right|best)"
    r"|\(([A-J]|10|[1-9])\)\s+is\s+(?:the\s+)?(?:correct|right|best)"
    r"|\b(?i:actually|really|rather|correction)[,:]?\s+(?i:it\s+is|it['’]s|it\s+should\s+be)\s+\(?([A-J])\)?"
    r"(?=\s*(?:[.,;:\n]|$))"
    r"|\b(?i:it\s+is|it['’]s|it\s+should\s+be)\s+(?:actually|really|rather)\s+\(?([A-J])\)?(?=\s*(?:[.,;:\n]|$))",
)
"""A sentence that names the label. Bare A and I are also words, so they count only before a stop or a reason."""
_DENIED = re.compile(
    r"(?:(?:\b(?:not|never|cannot)|n['’]t)\s+(?:really\s+)?(?:think|believe|say|mean|agree|claim|know|sure|true|certain"
    r"|the\s+case)|\b(?:false|untrue|wrong|incorrect|unlikely|doubt)\s+that|\b(?:some|many|others)\s+(?:people\s+|would\s+"
    r"|might\s+|may\s+)*(?:say|think|believe)|\bneither)\b[^.,;:\n]*$|\b(?:if|whether|suppose|assume)\s+"
    r"(?:that\s+)?(?:the\s+)?(?:correct\s+|final\s+)?$",
    re.IGNORECASE,
)
"""Text that negates or questions the sentence after it: "I don't think the", "If the"."""
_BEFORE = 120
"""Characters before a sentence that are searched for a negation."""
_OPENING = re.compile(r"\banswer\s*(?:(?:is|would\s+be|must\s+be)\b|[:=])[\s:]*[\"'“‘]?", re.IGNORECASE)
"""Text that introduces an option's text in a sentence..."""
_END = r"[\"'”’]?[ \t]*(?:[.!;]+(?:\s|$)|\n|$)"
"""...and the text that must follow it."""
_TAIL = 4000
"""Only this many characters at the response's end are searched for a sentence that gives the answer."""


class Choice(Verifier):
    """The answer is the content of the last \\boxed{} after the thinking, or else what the last sentence that names an
    answer gives.

    It is the option's label or, if the question is known, its text: equal except for case, white space, LaTeX markup
    and a final period, and matching exactly one option. An answer that is both a label and an option's text counts as
    the label. So "3" is the third of options 1 to 4, but with options A to D it is the option whose text is 3. A label
    that the question does not offer is incorrect.
    """

    version: ClassVar[str] = "choice-4"
    reads_question: ClassVar[bool] = True
    references: ClassVar[tuple[str, ...]] = ("string",)

    def extract(self, response: str, question: str = "") -> str | None:
        """The label in capitals. Without one, the box's content; None if there is no box either."""
        text, offered = after_thinking(response), options(question)
        boxed = last_boxed(text)
        if boxed is not None:
            return (_boxed(boxed, offered) if len(boxed) <= _TAIL else None) or boxed or None
        stated = _stated(text[-_TAIL:], offered)
        if stated is None and len(text) <= _TAIL:
            return _chosen(text, offered)
        return stated or None

    def judge(self, gold: str, answer: str | None, question: str = "") -> Outcome:
        """GOLD_ERROR if the gold answer is not a label or is not offered by the question, whatever the answer."""
        match, offered = _GOLD.fullmatch(_WRAPPING.sub("", gold.removeprefix("\\boxed")).strip()), options(question)
        truth = match.group(1).upper() if match else None
        if truth is None or (offered and truth not in offered):
            return Outcome.GOLD_ERROR
        if answer is None:
            return Outcome.NO_ANSWER
        return Outcome.CORRECT if answer == truth else Outcome.INCORRECT


def _lists(text: str) -> bool:
    """Whether `text` begins with two consecutive labels on two lines. It then lists options and chooses none."""
    match = _LISTED.match(text)
    if match is None:
        return False
    first, second = match.group(1).upper(), match.group(2).upper()
    return second == (str(int(first) + 1) if first.isdecimal() else chr(ord(first) + 1))


def _boxed(text: str, offered: Mapping[str, str]) -> str | None:
    """The label that a box's `text` gives or describes; None if it gives several."""
    chosen, bare = _chosen(text, offered), _bare(text)
    if chosen is None and (aside := _ASIDE.match(bare)):
        return _chosen(f"{aside.group(1)}. {bare[aside.end() :]}", offered)
    return chosen


def _chosen(text: str, offered: Mapping[str, str]) -> str | None:
    """The label that `text` gives or describes; None if it gives several.

    An offered label on its own comes first, then an option's text, then a label followed by more text. With options A
    to E, "E. coli" is the option with that text; it is the label E only if no option has it.
    """
    bare = _bare(text)
    match = None if _lists(bare) else _LABEL.fullmatch(bare)
    if match is None:
        return _meant(text, offered)
    label, behind = match.group(1).upper(), match.group(2) or ""
    if label in offered and not behind.strip(")].: "):
        return label
    said = _plain(behind.lstrip(")].:,(-–— "))
    if said and label in offered and said.rstrip(") ").casefold() == _plain(offered[label]).rstrip(") ").casefold():
        return label
    return _meant(text, offered) or (None if _several(label, behind) else label)


def _several(label: str, behind: str) -> bool:
    """Whether the text `behind` a label names or lists another option."""
    also = _ALSO.match(behind)
    others = [also.group(1) or also.group(2)] if also else []
    if label.isalpha():
        others += [match.group(1) or match.group(2) for match in _AMONG.finditer(behind)]
    return any(other.upper() != label for other in others)


def _bare(text: str) -> str:
    """`text` without markup and runs of white space, on which the patterns below would take quadratic time."""
    unwrapped = re.sub(r"\\[,;:! ]|~", " ", _WRAPPING.sub("", text))
    return re.sub(r" ?\n[ \n]*", "\n", re.sub(r"[^\S\n]+", " ", unwrapped)).strip()


def _meant(text: str, offered: Mapping[str, str]) -> str | None:
    """The label of the only option whose text is `text`. Case is ignored unless it distinguishes options."""
    said = _plain(text)
    for fold in (str, str.casefold):
        found = [label for label, option in offered.items() if fold(_plain(option)) == fold(said)]
        if said and len(found) == 1:
            return found[0]
    return None


def _plain(text: str) -> str:
    """`text` in normal form, without markup, spacing commands and final periods."""
    spaced = re.sub(r"\\[,;:! ]|~", " ", _WRAPPING.sub("", text)).replace("\\%", "%")
    return " ".join(spaced.split()).rstrip(". ")


def _stated(text: str, offered: Mapping[str, str]) -> str | None:
    """What the last sentence that names an answer gives: a label, or an option's text up to the sentence's end.

    "" if it gives several labels, None if there is no such sentence.
    """
    bare = _bare(text)
    labels: dict[int, str] = {}
    for match in _STATED.finditer(bare):
        group = next(n for n in range(1, match.re.groups + 1) if match.group(n))
        label = match.group(group).upper()
        if not _denied(bare, match.start()) and not _lists(bare[match.start(group) :]):
            # A sentence with several labels names none, and cancels labels named before.
            labels[match.start()] = "" if _ALSO.match(bare[match.end() : match.end() + _BEFORE]) else label
    openings = [m for m in _OPENING.finditer(bare) if not _denied(bare, m.start())] if offered else []
    patterns = {label: _sentence(option) for label, option in offered.items()} if openings else {}
    texts = {}
    for opening in openings:
        told = [label for label, pattern in patterns.items() if pattern and pattern.match(bare, opening.end())]
        # One option's text may be a prefix of another's: "2. 5" does not mean "2".
        longest = max((len(_plain(offered[label])) for label in told), default=0)
        told = [label for label in told if len(_plain(offered[label])) == longest]
        if len(told) == 1:
            texts[opening.start()] = told[0]
    if not labels and not texts:
        return None
    last = max([*labels, *texts])
    named, told_last = labels.get(last), texts.get(last)
    if told_last is None or (named in offered and _plain(offered[told_last]).casefold() == str(named).casefold()):
        return named
    return told_last


def _denied(text: str, start: int) -> bool:
    return _DENIED.search(text[max(0, start - _BEFORE) : start]) is not None


def _sentence(option: str) -> re.Pattern[str] | None:
    """A pattern that finds the option's text at the end of a sentence."""
    words = _plain(option).split()
    return re.compile(r"\s+".join(map(re.escape, words)) + _END, re.IGNORECASE) if words else None
