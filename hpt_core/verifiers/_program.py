"""Rewrites the notation of programs as LaTeX: sqrt(7), 3*pi/4, x**(1/2), x >= 4, \\sqrt(2), \\frac \\pi6."""

import re
from collections.abc import Callable

_RELATIONS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<![<>=!:])(?:<=|=<)(?![=>])", r"\\le "),
        (r"(?<![<>=!:])>=(?!=)", r"\\ge "),
        (r"(?<!\d)\s*!=(?!=)|(?<=\d)\s+!=(?!=)|<>", r"\\ne "),
        (r"==", "="),
        (r"\+/-", r"\\pm "),
        (r"√(?=\s*\()", "sqrt"),
    )
]
"""A "!=" right behind a digit is a factorial with an equals sign: 5!=120."""
_ANALYTIC = [
    "sin",
    "cos",
    "tan",
    "cot",
    "sec",
    "csc",
    "sinh",
    "cosh",
    "tanh",
    "coth",
    "arcsin",
    "arccos",
    "arctan",
    "arccot",
    "ln",
]
_SAME_NAME = [*_ANALYTIC, "det", "gcd", "lcm", "max", "min"]
_OTHER_NAME = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh"}


def _named(name: str) -> Callable[[list[str]], str]:
    return lambda arguments: rf"\{name}({','.join(arguments)})"


_CALLS: dict[str, Callable[[list[str]], str]] = {
    "sqrt": lambda a: rf"\sqrt{{{a[0]}}}",
    "cbrt": lambda a: rf"\sqrt[3]{{{a[0]}}}",
    "exp": lambda a: f"e^{{{a[0]}}}",
    "abs": lambda a: f"|{a[0]}|",
    "floor": lambda a: rf"\lfloor {a[0]} \rfloor",
    "ceil": lambda a: rf"\lceil {a[0]} \rceil",
    "ceiling": lambda a: rf"\lceil {a[0]} \rceil",
    "log2": lambda a: rf"\log_{{2}}({a[0]})",
    "log10": lambda a: rf"\log_{{10}}({a[0]})",
    "factorial": lambda a: f"({a[0]})!",
    "binom": lambda a: rf"\binom{{{a[0]}}}{{{a[1]}}}",
    "binomial": lambda a: rf"\binom{{{a[0]}}}{{{a[1]}}}",
    "comb": lambda a: rf"\binom{{{a[0]}}}{{{a[1]}}}",
    "Rational": lambda a: rf"\frac{{{a[0]}}}{{{a[1]}}}",
    "Fraction": lambda a: rf"\frac{{{a[0]}}}{{{a[1]}}}",
    "log": lambda a: rf"\log({a[0]})" if len(a) == 1 else rf"\log_{{{a[1]}}}({a[0]})",
    **{name: _named(name) for name in _SAME_NAME},
    **{name: _named(latex) for name, latex in _OTHER_NAME.items()},
}
_ARITY = {"binom": 2, "binomial": 2, "comb": 2, "Rational": 2, "Fraction": 2}
_CALL = re.compile(rf"(?:(?<![A-Za-z\\])({'|'.join(sorted(_CALLS, key=len, reverse=True))})|\\(sqrt|exp))\s*\(")
_NAKED = re.compile(rf"(?<![A-Za-z\\{{])({'|'.join([*_ANALYTIC, 'log'])})(?=\s*[\d\\]|\s+[A-Za-z](?![A-Za-z]))")
"""A function's name without a backslash and without brackets: ln 5, sin x."""
_INDEXED = re.compile(rf"(?<![A-Za-z\\])({'|'.join([*_ANALYTIC, 'log'])})(?=\s*[_^])")
"""A function's name without a backslash before an index or exponent: log_3(5), sin^2(x)."""
_GLUED = re.compile(r"(?<![A-Za-z\\])([a-z])(ln|log|sin|cos|tan)(?=\()")
"""A variable right before a function: xln(x)."""
_ARGUMENT_BEFORE_A_BAR = re.compile(
    rf"(\\(?:{'|'.join([*_ANALYTIC, 'log'])})(?:_\{{[^{{}}]*\}}|_\w)?(?:\^\{{[^{{}}]*\}})?)\s*"
    r"(?:\{([^{}]*)\}|(\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z])|\\(?:pi|theta|alpha|beta|phi|omega)(?![a-z])))(?=\s*/)"
)
"""In \\ln 5/\\ln 2 the parser would take the fraction for the argument."""
_ROOT = re.compile(r"(?:(?<![A-Za-z\\])sqrt|√)\s*(\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z])|\\pi(?![a-z]))")
_PI = re.compile(r"(?<![A-Za-z\\])pi(?![A-Za-z])")
_INFINITY = re.compile(r"(?<![A-Za-z\\])(?:infinity|Infinity|infty|inf|oo)(?![A-Za-z])")
_GREEK = re.compile(
    r"(?<![A-Za-z\\])(alpha|beta|gamma|delta|epsilon|theta|lambda|mu|rho|sigma|tau|phi|omega)(?![A-Za-z])"
)
_EXPONENT = re.compile(r"\^\s*(?:\(|([-+]?\d+(?![\d.]))|([-+]\s*[A-Za-z]))")
_TEXT = re.compile(r"\\text\{[^{}]*\}")
"""Words, which stay as they are. A character for private use takes the place of each."""
_FIRST, _LAST = 0xE000, 0xF8FF
_PRIVATE = re.compile(f"[{chr(_FIRST)}-{chr(_LAST)}]")
_COMMAND = re.compile(r"\\(frac|binom|sqrt)(?![a-zA-Z])\s*")


def rewritten(text: str) -> str:
    """`text` in LaTeX. LaTeX stays as it is, except that arguments get braces: \\frac12 becomes \\frac{1}{2}."""
    words = _TEXT.findall(text)
    if len(words) > _LAST - _FIRST or _PRIVATE.search(text):
        return text
    left = iter(range(_FIRST, _LAST))
    rewritten = _rewritten(_TEXT.sub(lambda match: chr(next(left)), text))
    return _PRIVATE.sub(lambda match: words[ord(match.group()) - _FIRST], rewritten)


def _rewritten(text: str) -> str:
    for pattern, replacement in _RELATIONS:
        text = pattern.sub(replacement, text)
    text = _calls(text)
    text = _ROOT.sub(r"\\sqrt{\1}", text)
    text = _INDEXED.sub(r"\\\1", _GLUED.sub(r"\1\\\2", text))
    if re.search(r"[*/^=<>+()\d]|\b(?:sin|cos|tan) ", text):
        text = _GREEK.sub(r"\\\1 ", text)
    text = _NAKED.sub(r"\\\1 ", text)
    text = _PI.sub(r"\\pi ", text)
    text = _INFINITY.sub(r"\\infty ", text)
    text = _exponents(text.replace("**", "^"))
    text = re.sub(r"(?<![\^_{])\*(?!\})", r" \\cdot ", text)
    return _ARGUMENT_BEFORE_A_BAR.sub(lambda m: f"{m[1]}({m[2] or m[3]})", _arguments(text))


def closing(text: str, start: int) -> int | None:
    """Position of the bracket that closes the one at `start`, or None."""
    pair = {"(": ")", "{": "}", "[": "]"}[text[start]]
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] == text[start]) - (text[position] == pair)
        if depth == 0:
            return position
    return None


def _calls(text: str) -> str:
    parts, last = [], 0
    while match := _CALL.search(text, last):
        name, end = match.group(1) or match.group(2), closing(text, match.end() - 1)
        inside = None if end is None else _separated(text[match.end() : end])
        if end is None or inside is None or len(inside) != _ARITY.get(name, len(inside)):
            parts.append(text[last : match.end()])
            last = match.end()
            continue
        parts += [text[last : match.start()], _CALLS[name]([_calls(argument) for argument in inside])]
        last = end + 1
    return "".join([*parts, text[last:]])


def _separated(text: str) -> list[str]:
    """Arguments between commas outside brackets."""
    parts, depth, last = [], 0, 0
    for position, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append(text[last:position].strip())
            last = position + 1
    return [*parts, text[last:].strip()]


def _exponents(text: str) -> str:
    """Braces around exponents that LaTeX would end after one letter: x^(1/2), x^-2, 2^10."""
    parts, last = [], 0
    while match := _EXPONENT.search(text, last):
        parts.append(text[last : match.start()])
        exponent = match.group(1) or match.group(2)
        end = match.end() if exponent else (closing(text, match.end() - 1) or -1) + 1
        if not end:
            return "".join([*parts, text[match.start() :]])
        power = exponent or _exponents(text[match.end() : end - 1])
        # Powers of powers count from the right: 2^3^2 is 2^9.
        if above := _EXPONENT.match(text, end):
            last = above.end() if above.group(1) or above.group(2) else (closing(text, above.end() - 1) or -1) + 1
            power = _exponents(f"{{{power}}}{text[end:last]}") if last else power
        last = max(end, last)
        parts.append(f"^{{{power}}}")
    return "".join([*parts, text[last:]])


def _arguments(text: str) -> str:
    r"""Braces around the arguments of \frac, \binom and \sqrt."""
    parts, last = [], 0
    while match := _COMMAND.search(text, last):
        parts += [text[last : match.start()], f"\\{match.group(1)}"]
        last = match.end()
        if match.group(1) == "sqrt" and text[last : last + 1] == "[" and (end := closing(text, last)) is not None:
            parts.append(text[last : end + 1])
            last = end + 1
        for _ in range(1 if match.group(1) == "sqrt" else 2):
            argument, last = _argument(text, last, match.group(1) == "sqrt")
            parts.append(f"{{{_arguments(argument)}}}" if argument else "")
    return "".join([*parts, text[last:]])


def _argument(text: str, start: int, whole: bool = False) -> tuple[str, int]:
    """The argument at `start` without its braces, and where it ends. `whole`: a number with all its digits."""
    if whole and (number := re.compile(r"\s*(\d+)").match(text, start)):
        return number.group(1), number.end()
    while text[start : start + 1] == " ":
        start += 1
    if text[start : start + 1] == "{" and (end := closing(text, start)) is not None:
        return text[start + 1 : end], end + 1
    match = re.compile(r"\\(?:frac|sqrt|binom)(?![a-zA-Z])|\\[a-zA-Z]+|[^\s\\{}]").match(text, start)
    if match is None:
        return "", start
    if match.group() in ("\\frac", "\\sqrt", "\\binom"):
        end = match.end()
        for _ in range(1 if match.group() == "\\sqrt" else 2):
            _, end = _argument(text, end)
        return text[start:end], end
    return match.group(), match.end()
