"""Sentences that name an option of a multiple-choice question: "The answer is B", "I'd go with (B)", "So it must be B".

Each claim is read for itself: which option, and whether the text around it denies, conditions or only reports it. Then
all claims in their order decide. The last one counts, and a retraction cancels those before it.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from hpt_core.verifiers import _wording as words
from hpt_core.verifiers._claims import Claim, How, decided
from hpt_core.verifiers._denial import denied
from hpt_core.verifiers._plain import plain, prose

_ROOM = 160
"""Most characters between "the answer" and its verb, and of an option's text that is followed by its label."""


class Label(NamedTuple):
    """A label in the text."""

    name: str
    end: int


def stated(text: str, offered: Mapping[str, str], negative: bool) -> str | None:
    """The label that the sentences of `text` give: named, or by the text of its option.

    `negative` says that the question asks for what is not so. Then an option that is called correct is not the answer.
    "" if the sentences give several labels or take back what they gave, None if there is no such sentence.
    """
    return decided(sorted(_Reader(prose(text), offered, negative).claims(), key=lambda claim: claim.at))


def lists(text: str) -> bool:
    """Whether `text` begins with two consecutive labels on two lines. It then lists options and chooses none."""
    match = words.LISTED.match(text)
    if match is None:
        return False
    first, second = match.group(1).upper(), match.group(2).upper()
    return second == (str(int(first) + 1) if first.isdecimal() else chr(ord(first) + 1))


class _Reader:
    """The claims of one text."""

    def __init__(self, text: str, offered: Mapping[str, str], negative: bool) -> None:
        self.negative = negative
        self.offered = {label: _option(option) for label, option in offered.items()}
        self.text = text = self._without_options(text)
        self.starts = [0, *(match.end() for match in words.BOUNDARY.finditer(text))]

    def claims(self) -> Iterator[Claim]:
        """All claims, in any order."""
        readers = (self._answers, self._picks, self._pronouns, self._fits, self._matches, self._conclusions)
        found = list(chain.from_iterable(reader() for reader in readers))
        yield from found
        yield from self._retractions({self._start(claim.at) for claim in found})

    def _without_options(self, text: str) -> str:
        """`text` without the text of each option that follows its label: no sentence of an option makes a claim."""
        kept, end = [], 0
        for head in words.HEAD.finditer(text) if self.offered else ():
            option = self.offered.get(head["label"])
            if option and head.start() >= end and option.at(text, head.end()):
                kept.append(text[end : head.end("end")])
                end = head.end() + len(option.text)
        return "".join([*kept, text[end:]])

    def _answers(self) -> Iterator[Claim]:
        """ "The answer is B", "My choice: B", "The best option would be fire"."""
        patterns = [words.ANSWER, words.CHOICE, *([words.EXCEPTION] if self.negative else [])]
        for subject in chain.from_iterable(pattern.finditer(self.text) for pattern in patterns):
            start, end = subject.span()
            if not words.NOT_ANSWER.search(self.text[max(self._start(start), start - 60) : start]):
                yield from self._predicate(start, end)
        for start in self.starts:
            if heading := words.HEADING.match(self.text, start):
                yield from self._predicate(start, heading.end())

    def _predicate(self, start: int, end: int) -> Iterator[Claim]:
        """What the text from `end` says of the subject that begins at `start`."""
        if words.NEXT_LINE.match(self.text, end):
            if (label := self._label(end + 1)) and words.LINE_END.match(self.text, label.end):
                yield from self._claim(start, end + 1, label, How.NAMED)
            return
        for link in words.LINK.finditer(self.text, end, min(self._end(end), end + _ROOM)):
            gap = self.text[end : link.start()]
            if not words.GAP.fullmatch(gap) or (words.GAP_OTHER.search(gap) and not self.negative):
                return
            at = self._but(link.end())
            # An option may begin with a word that could also belong to the verb: "The answer is only the sun."
            whole = self._told(link.start("more")) if link["more"].strip(" :=→\n-") else None
            found = whole or self._object(at, signed=bool(link["sign"]))
            if found and not (link["asked"] and not words.LINE_END.match(self.text, found.end)):
                yield from self._claim(start, at, found, How.EXCLUDED if link["no"] and at == link.end() else How.NAMED)
                return

    def _object(self, at: int, signed: bool = False) -> Label | None:
        """The option at `at`, by its label, its text, or both. `signed` says that a colon or an arrow is before it."""
        label, told = self._label(at, signed=signed), self._told(at)
        if label and told and label.name in self.offered and not self.text[at : label.end].islower():
            told = None if self.offered[told.name].text == label.name.casefold() else told
        if told is None and words.BOTH.match(self.text, at):
            return Label("", at)
        if label and self.offered and label.name not in self.offered:
            return told or self._after_text(at) or label
        return told or label or self._after_text(at)

    def _picks(self) -> Iterator[Claim]:
        """ "I'd go with B", "We choose (B)", "Select B."."""
        for pick in words.PICK.finditer(self.text):
            label = self._label(pick.end(), weak=True)
            if label is None or words.AS_OTHER.match(self.text, label.end):
                continue
            if pick["opine"]:
                own = pick["self"] and words.STOP.match(self.text, label.end)
            else:
                own = pick["self"] or self._leads(self._start(pick.start()), pick.start())
            if own:
                yield from self._claim(pick.start(), pick.end(), label, How.EXCLUDED if pick["no"] else How.NAMED)

    def _pronouns(self) -> Iterator[Claim]:
        """ "It's B", "so it must be B"."""
        for pronoun in words.PRONOUN.finditer(self.text):
            start, at = pronoun.start(), self._but(pronoun.end())
            if not self._leads(self._clause(start), start):
                continue
            label = Label("", at) if words.BOTH.match(self.text, at) else self._label(at, weak=True)
            if label:
                how = How.EXCLUDED if pronoun["no"] and at == pronoun.end() else How.NAMED
                yield from self._claim(start, at, label, how)

    def _fits(self) -> Iterator[Claim]:
        """ "B is correct", "Option B is the best answer", "only B fits", "B is wrong"."""
        for match in words.SUBJECT.finditer(self.text):
            start, label = match.start(), Label(_name(match), match.end())
            if words.ENUMERATED.search(self.text, max(0, start - 12), start):
                continue
            if not match["noun"] and not self._leads(self._clause(start), start):
                continue
            if match["wrong"]:
                if match["answer_not"] or self._corrects(start) or not self.negative:
                    yield from self._claim(start, start, label, How.EXCLUDED)
            elif match["also"]:
                yield from self._claim(start, start, label._replace(name=""), How.AFFIRMED)
            elif match["answer"] or match["only"]:
                yield from self._claim(start, start, label, How.NAMED)
            elif not self.negative and not words.NOT_ONLY.match(self.text, match.end()):
                yield from self._claim(start, start, label, How.AFFIRMED)

    def _matches(self) -> Iterator[Claim]:
        """ "This corresponds to option B", "which leaves B"."""
        for match in words.MATCHES.finditer(self.text):
            if label := self._label(match.end(), weak=True):
                yield from self._claim(match.start(), match.end(), label, How.MATCHED)
        for match in words.PAIRED.finditer(self.text) if self.offered else ():
            option = self.offered.get(match["label"])
            start = match.start() - len(option.text) if option else -1
            if option and start >= 0 and option.at(self.text, start):
                yield from self._claim(start, start, Label(match["label"], match.end()), How.MATCHED)

    def _conclusions(self) -> Iterator[Claim]:
        """Whole sentences and last lines: "Therefore, B.", "No, B.", "Not B.", "B it is.", "(B) fire"."""
        for start in self.starts:
            lead = words.LEAD.match(self.text, start)
            assert lead is not None
            at = lead.end()
            excluded = words.NOT_THIS.match(self.text, at)
            label = self._label(excluded.end() if excluded else at, weak=True)
            if label is None:
                continue
            it_is = words.IT_IS.match(self.text, label.end)
            if it_is or (not words.NO_LEAD.fullmatch(lead.group()) and words.END.match(self.text, label.end)):
                how = How.EXCLUDED if excluded else How.NAMED
                yield from self._claim(start, at, label._replace(end=it_is.end() if it_is else label.end), how)
        for turn in words.TURN.finditer(self.text):
            label = self._label(turn.end(), weak=True)
            if label and words.END.match(self.text, label.end):
                yield from self._claim(turn.end(), turn.end(), label, How.NAMED)
        yield from self._last_line()

    def _last_line(self) -> Iterator[Claim]:
        """A last line that is a label. It names nothing in a list of options."""
        above, _, line = self.text.rpartition("\n")
        before = above.rpartition("\n")[2]
        match = words.ITEM.fullmatch(line)
        if match is None or (words.ITEM.fullmatch(before) and not words.ANSWER.search(before)):
            return
        label = _name(match)
        if label in self.offered if self.offered else not label.isdecimal():
            yield Claim(len(above) + 1, label, How.NAMED)

    def _retractions(self, claimed: set[int]) -> Iterator[Claim]:
        """ "Wait, that's wrong", "I made a mistake", "Or maybe C". `claimed` are the sentences that make claims: "that
        is wrong" takes something back only directly after one, or with a word such as "wait"."""
        near = False
        for start in self.starts:
            end = self._end(start)
            undone = words.UNDONE.match(self.text, start, end)
            if undone and (near or undone["mark"] or not undone["mild"]):
                yield Claim(start, "", How.RETRACTED)
            near = start in claimed or words.MARKS.fullmatch(self.text, start, end) is not None
            if (other := words.OR_ELSE.match(self.text, start, end)) and not denied("", self.text[other.end() : end]):
                yield Claim(start, "", How.RETRACTED)

    def _claim(self, start: int, at: int, label: Label, how: How) -> Iterator[Claim]:
        """The claim that begins at `start` and has its label at `at`, unless the text around it denies it."""
        before, after = self.text[self._start(start) : start], self.text[label.end : self._end(label.end - 1)]
        if not denied(before, after) and not lists(self.text[at:]):
            several = how is not How.EXCLUDED and words.ALSO.match(self.text, label.end)
            yield Claim(at, "" if several else label.name, how, self._corrects(start))

    def _label(self, at: int, signed: bool = False, weak: bool = False) -> Label | None:
        """The label at `at`. Outside brackets, quotation marks and nouns, only a capital or a digit counts, and only
        before a stop or a word that goes on. `weak` says that the text before it could also precede other letters."""
        match = words.LABEL.match(self.text, at)
        if match is None:
            return None
        name, shown, end = _name(match), match["label"], match.end()
        stops = words.STOP.match(self.text, end)
        if len(shown) == 1 or shown == "10":
            goes_on = words.WEAK_MORE if weak else words.MORE
            if not stops and (name == "I" or name.isdecimal() or not goes_on.match(self.text, end)):
                return None
            alone = words.LINE_END.match(self.text, end) and (signed or shown not in "ai") and not weak
            if shown.islower() and not (stops and (match["noun"] or alone or self.text[end : end + 1] == ")")):
                return None
            if weak and not match["noun"] and name.isdecimal() and name not in self.offered:
                return None
        if weak and self.offered and name not in self.offered:
            return None
        return Label(name, end)

    def _but(self, at: int) -> int:
        """Where the second half of "not A but B" begins at `at`; `at` if there is no such text."""
        instead = words.NOT_BUT.match(self.text, at)
        return instead.end() if instead else at

    def _told(self, at: int) -> Label | None:
        """The option whose text is at `at` and ends the sentence. One's text may be a prefix of another's: the longest
        counts."""
        found = [
            (name, match.end("text"))
            for name, option in self.offered.items()
            if option.text and (match := option.sentence.match(self.text, at))
        ]
        longest = max((end for _, end in found), default=0)
        told = [name for name, end in found if end == longest]
        return Label(told[0], longest) if len(told) == 1 else None

    def _after_text(self, at: int) -> Label | None:
        """A label after the text of its option: "fire (B)", "fire, which is option B"."""
        match = words.TEXT_LABEL.match(self.text, at, min(self._end(at), at + _ROOM))
        if match is None or words.GAP_OTHER.search(match["text"]):
            return None
        name, said = _name(match), plain(match["text"]).casefold()
        others = [option.text for label, option in self.offered.items() if label != name]
        foreign = bool(self.offered) and name not in self.offered
        return None if foreign or said in others else Label(name, match.end("label"))

    def _start(self, at: int) -> int:
        """Where the sentence around `at` begins."""
        return self.starts[bisect_right(self.starts, at) - 1]

    def _end(self, at: int) -> int:
        """Where the next sentence begins."""
        following = bisect_right(self.starts, at)
        return self.starts[following] if following < len(self.starts) else len(self.text)

    def _clause(self, at: int) -> int:
        """Where the clause that holds `at` begins."""
        start = max(self._start(at), at - _ROOM)
        return max((match.end() for match in words.BREAK.finditer(self.text, start, at)), default=start)

    def _leads(self, start: int, end: int) -> bool:
        """Whether the text from `start` to `end` only introduces what follows."""
        return words.LEAD.fullmatch(self.text, start, end) is not None

    def _corrects(self, at: int) -> bool:
        return words.MARK.match(self.text, self._start(at)) is not None


def _name(match: re.Match[str]) -> str:
    return match["label"].strip("()[]\"' ").upper()


class _Option(NamedTuple):
    """The text of an option."""

    text: str
    """In lower case and on one line, without markup."""
    sentence: re.Pattern[str]
    """Finds the text at the end of a sentence."""

    def at(self, text: str, at: int) -> bool:
        """Whether `text` has the option at `at`, as whole words."""
        end = at + len(self.text)
        edges = f"{text[max(0, at - 1) : at]} {text[end : end + 1]}"
        return (
            bool(self.text)
            and text[at:end].casefold().replace("\n", " ") == self.text
            and not any(edge.isalnum() for edge in edges)
        )


@lru_cache(maxsize=4096)
def _option(text: str) -> _Option:
    shown = plain(prose(text))
    parts = r"\s+".join(map(re.escape, shown.split()))
    return _Option(shown.casefold(), re.compile(rf" ?\"?(?P<text>{parts}){words.TEXT_END}", re.IGNORECASE))
