"""The options of a multiple-choice question, read from its text."""

import re
from functools import lru_cache

LETTERS = tuple("ABCDEFGHIJ")
DIGITS = (*"123456789", "10")
_LINE = re.compile(r"^(?:\(([A-J]|10|[1-9])\)|([A-J]|10|[1-9])[.)]) ", re.MULTILINE)


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
