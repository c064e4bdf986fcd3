"""Brackets of LaTeX: whether they match, and what separates the text outside them."""

import re

RELATION = re.compile(r"\\(?:le|ge|ne|approx|equiv)(?![a-z])|[<>=]")
"""An operator between the sides of a relation."""
_BRACKET = re.compile(r"\\[{}]|\\(?:begin|end)\{[a-zA-Z]+\*?\}|\\\\|\\[a-zA-Z]+|[(){}\[\]]|.", re.DOTALL)


def _levels(text: str) -> list[tuple[str, int, int]]:
    """Tokens of `text` as (token, start, depth outside the token). Depth is negative if brackets do not match."""
    depth, found = 0, []
    for match in _BRACKET.finditer(text):
        token = match.group()
        closes = token in (")", "]", "}", "\\}") or token.startswith("\\end{")
        opens = token in ("(", "[", "{", "\\{") or token.startswith("\\begin{")
        depth -= closes
        found.append((token, match.start(), depth))
        depth += opens
    return found


def balanced(text: str) -> bool:
    """Whether every bracket is matched. "(" may end with "]", as in intervals; braces are strict."""
    stack: list[str] = []
    for token, _, _ in _levels(text):
        if token in ("(", "["):
            stack.append("round")
        elif token in ("{", "\\{"):
            stack.append(token)
        elif token.startswith("\\begin{"):
            stack.append(token[6:])
        elif token in (")", "]"):
            if not stack or stack.pop() != "round":
                return False
        elif token in ("}", "\\}"):
            if not stack or stack.pop() != token.replace("}", "{"):
                return False
        elif token.startswith("\\end{") and (not stack or stack.pop() != token[4:]):
            return False
    return not stack


def split(text: str, separators: tuple[str, ...]) -> list[str]:
    """Parts of `text` between separators that are outside all brackets."""
    parts, last = [], 0
    for token, start, depth in _levels(text):
        if depth == 0 and token in separators:
            parts.append(text[last:start])
            last = start + len(token)
    return [*parts, text[last:]]


def split_relations(text: str) -> list[str]:
    """Sides and operators in turn: ["1", "<", "x", "\\le", "2"]. Operators inside brackets do not count."""
    pieces, last = [], 0
    for token, start, depth in _levels(text):
        if depth == 0 and RELATION.fullmatch(token):
            pieces += [text[last:start], token]
            last = start + len(token)
    return [*pieces, text[last:]]
