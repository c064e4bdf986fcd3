"""The options of a multiple-choice question, read from its text."""

import re
from functools import lru_cache

LETTERS = tuple("ABCDEFGHIJ")
DIGITS = (*"123456789", "10")
_LINE = re.compile(r"^(?:\(([A-J]|10|[1-9])\)|([A-J]|10|[1-9])[.)]) ", re.MULTILINE)

_EXCEPTION = re.compile(
    r"\b(?:NOT|EXCEPT|LEAST)\b|\b(?i:which|what)\b[^.?!]*(?:\b(?i:not|except|false|incorrect|wrong|untrue|inaccurate"
    r"|invalid|least|cannot|unlikely|error)\b|n't\b)|\b(?i:except):?\s*$"
)


@lru_cache(maxsize=4096)
def options(question: str) -> dict[str, str]:
    """Label -> option, for the options at the end of `question`, one per line as "A) ...", "A. ..." or "(A) ..."; {}
    if there are none. Do not modify the result, which is cached.

    Options may span several lines, which may be numbered themselves. So letters are tried before digits, and the
    options start at the last "A" (or "1"). Text after an empty line that follows the last option is not part of it.
    """
    lines = [(match.group(1) or match.group(2), match) for match in _LINE.finditer(question)]
    for alphabet in (LETTERS, DIGITS):
        run: list[tuple[str, re.Match[str]]] = []
        for label, match in lines:
            if label == alphabet[0]:
                run = [(label, match)]
            elif run and label == alphabet[len(run) % len(alphabet)]:
                run.append((label, match))
        if len(run) > 1:
            ends = [following.start() for _, following in run[1:]] + [len(question)]
            found = {label: question[match.end() : end].strip() for (label, match), end in zip(run, ends, strict=True)}
            last = run[-1][0]
            return {**found, last: found[last].split("\n\n")[0].strip()}
    return {}


def asks_for_exception(question: str) -> bool:
    """Whether the question asks which option is false or does not fit. Then an option called correct is not chosen."""
    stem = "\n".join(line for line in question.splitlines() if not _LINE.match(f"{line} "))
    return _EXCEPTION.search(stem) is not None
