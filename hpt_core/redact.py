"""Keep secrets out of everything that is written: logs, errors, records, manifests, specs, and what Prefect stores.

A secret is the value of an environment variable whose name says so (HF_TOKEN, AWS_SECRET_ACCESS_KEY), or that a config
names as one; the user and password of an address; and what has the form of a known kind of token. The value of a
variable becomes `${NAME}`, which a config may also contain. Everything else becomes `***`.
"""

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
SHORTEST = 8
"""Shorter values are not hidden: they are placeholders ("none"), and hiding them would garble every text."""
VARIABLE = re.compile(r"PASSWORD|PASSWD|SECRET|CREDENTIAL|(?:^|_)(?:TOKEN|KEY|PASS|AUTH)(?:_|$)")
"""Matches the name of an environment variable that holds a secret."""
OTHERWISE = re.compile(r"_(?:PATH|FILE|DIR|HOME|ENV|MODE|SOCK|NAME|TYPE|TIMEOUT)$")
"""Matches such a name if the variable only says where the secret is, or how it is used."""
USER = re.compile(r"(?<=://)([^/\s\"'<>:]*(?::[^/\s\"'<>]*)?)@")
"""User and password in an address. A password may contain @."""
PASSWORD = re.compile(r"://[^/\s\"'<>:]*:([^/\s\"'<>]+)@")
"""The password in an address."""
FORMS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|(?:AKIA|ASIA)[0-9A-Z]{16})\b"
    r"|(?<=[Bb]earer )[\w.~+/=-]{8,}"
)
"""Matches tokens of Hugging Face, OpenAI, GitHub and AWS, and bearer tokens."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
REFERENCE = re.compile(r"\$\{\w+\}")
GIVEN = re.compile(r"\$\w+|\$\{\w+\}|\*+")
"""Matches a password that a config may contain: a variable, or one that is hidden already."""
_named: set[str] = set()


def is_secret(name: str) -> str:
    """Treat an environment variable as one that holds a secret, whatever its name. Returns the name.

    Raises ValueError if it is no variable's name; the error does not show it, because it may be the secret itself.
    """
    if not NAME.fullmatch(name):
        raise ValueError("it is not the name of an environment variable; put the secret into a variable")
    _named.add(name)
    return name


def redact(text: str) -> str:
    """`text` without secrets. Redacting it again changes nothing."""
    pattern, names = _values(_secrets())
    if pattern is not None:
        text = pattern.sub(lambda found: f"${{{names[found[0]]}}}", text)
    return FORMS.sub(HIDDEN, USER.sub(_without_user, text))


def redacted(value: Any) -> Any:
    """A JSON value without secrets in its texts. Keys are kept."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redacted(item) for key, item in value.items()}
    return [redacted(item) for item in value] if isinstance(value, list | tuple) else value


def written(value: Any, where: str = "") -> Iterator[str]:
    """The fields of a table that hold a token, or an address with a password, instead of a variable ($NAME)."""
    if isinstance(value, str):
        if FORMS.search(value) or any(not GIVEN.fullmatch(password) for password in PASSWORD.findall(value)):
            yield where
    elif isinstance(value, Mapping | list | tuple):
        items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from written(item, f"{where}.{key}".removeprefix("."))


def install() -> None:
    """Redact every log record of this process. May be called again."""
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return

    def factory(*arguments: Any, **options: Any) -> logging.LogRecord:
        return _without_secrets(make(*arguments, **options))

    factory.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(factory)


def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A program's `sys.excepthook`: the traceback of the error that ends it, without secrets."""
    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))


def _without_secrets(record: logging.LogRecord) -> logging.LogRecord:
    try:
        message = record.getMessage()
    except Exception:  # wrong arguments, which the handler reports
        return record
    if (clean := redact(message)) != message:
        record.msg, record.args = clean, ()
    if record.exc_info and record.exc_info[0] is not None:
        text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if (clean := redact(text)) != text:
            # Formatters take this text, and have no exception to format again.
            record.exc_info, record.exc_text = None, clean
    return record


def _secrets() -> tuple[tuple[str, str], ...]:
    """(name, value) of the variables that hold secrets, and of those that are the password of an address."""
    found = {}
    for name, value in os.environ.items():
        if name in _named or _is_secret_name(name):
            found[name] = value
            if name.endswith("AUTH_STRING"):
                found[f"{name}#"] = value.partition(":")[2]
        elif "://" in value and PASSWORD.search(value):
            found[name] = value
    return tuple((name, value) for name, value in found.items() if len(value) >= SHORTEST)


@lru_cache(maxsize=4096)
def _is_secret_name(name: str) -> bool:
    return bool(VARIABLE.search(name)) and not OTHERWISE.search(name)


@lru_cache(maxsize=8)
def _values(secrets: tuple[tuple[str, str], ...]) -> tuple[re.Pattern[str] | None, dict[str, str]]:
    """A pattern for every spelling of the secrets, and the name of the variable for each."""
    spellings: tuple[Callable[[str], str], ...] = (str, lambda v: json.dumps(v)[1:-1], lambda v: quote(v, safe=""))
    names = {spell(value): name.rstrip("#") for name, value in secrets for spell in spellings}
    longest_first = sorted(names, key=len, reverse=True)
    return (re.compile("|".join(map(re.escape, longest_first))) if names else None), names


def _without_user(found: re.Match[str]) -> str:
    """The user and password of an address; hidden unless the secret part of it is a variable."""
    user, colon, password = found[1].partition(":")
    secret = password if colon else user
    if not REFERENCE.fullmatch(secret):
        name = next((name for name, value in os.environ.items() if value == secret and value), None)
        if name is None:
            return f"{HIDDEN}@"
        secret = f"${{{name}}}"
    return f"{user}:{secret}@" if colon else f"{secret}@"
