"""Text without markup, as the patterns of multiple choice expect it."""

import re

_WRAPPING = re.compile(
    r"\\(?:text(?:bf|rm|it|sf|tt|normal)?|mbox|math(?:rm|bf|sf)|boldsymbol|rm|bf|left|right)(?![a-zA-Z])\s*|\\?\$|[{}]"
    r"|\\[()\[\]]|\*\*|(?<![\w*])\*(?=\S)|(?<=\S)\*(?![\w*])"
)
"""LaTeX and Markdown markup around words. The star of a product is kept."""
_SPACING = re.compile(r"\\[,;:! ]|~")
_ARROWS = re.compile(r"\\(?:to|implies|(?:long)?(?:right|Right)arrow)(?![a-zA-Z])|[-=]>|[⇒⟹➡⟶]")
_PUNCTUATION = str.maketrans({**dict.fromkeys("‘’", "'"), **dict.fromkeys("“”", '"'), "：": ":", "（": "(", "）": ")"})


def unwrapped(text: str) -> str:
    """`text` without LaTeX and Markdown markup."""
    return _WRAPPING.sub("", text)


def bare(text: str) -> str:
    """`text` without markup and runs of white space, on which patterns would take quadratic time."""
    spaced = _SPACING.sub(" ", unwrapped(text))
    return re.sub(r" ?\n[ \n]*", "\n", re.sub(r"[^\S\n]+", " ", spaced)).strip()


def plain(text: str) -> str:
    """`text` in normal form for comparison, on one line, without final periods."""
    return " ".join(_SPACING.sub(" ", unwrapped(text)).replace("\\%", "%").split()).rstrip(". ")


def prose(text: str) -> str:
    """`text` as `bare` gives it, with one sign for each kind of quotation mark, dash and arrow, and answer tags as
    words."""
    tagged = re.sub(r"<(/?)answer>", lambda tag: "\n" if tag[1] else "\nanswer: ", text, flags=re.IGNORECASE)
    spelled = _ARROWS.sub(" → ", tagged.translate(_PUNCTUATION).replace("\\%", "%"))
    spelled = re.sub(r"\b(?i:ans)\.(?= )", "answer:", spelled)
    dashed = re.sub(
        r"([:.=*-])\1{2,}", lambda run: "**" if run[1] == "*" else f"{run[1]} ", re.sub("[—–―]", " - ", spelled)
    )
    return bare(re.sub(r"`|^ *#+ |(?<!\w)_+(?=\S)|(?<=\S)_+(?!\w)", "", dashed, flags=re.MULTILINE))
