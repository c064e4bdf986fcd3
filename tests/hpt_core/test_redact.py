"""Secrets are hidden in texts, configs, logs and errors, and nothing else is."""

import logging
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import redact as redacting
from hpt_core.errors import ConfigError
from hpt_core.redact import redact, redacted, written

SECRET = 'k-9"\\/Zq planted'


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HF_TOKEN": "an-unusual-token",
        "JUDGE_API_KEY": SECRET,
        "PREFECT_API_AUTH_STRING": "hpt:string-of-hpt",
        "A_DATABASE": "postgresql://me:pass-of-db@host/db",
        "OF_PROXY": "pass-of-proxy",
        "SSH_AUTH_SOCK": "/tmp/ssh/agent.1",
        "HF_TOKEN_PATH": "/root/.cache/token",
        "SHORT_KEY": "none",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("token an-unusual-token.", "token ${HF_TOKEN}."),
        (f"key {SECRET}", "key ${JUDGE_API_KEY}"),
        ("only string-of-hpt", "only ${PREFECT_API_AUTH_STRING}"),
        ("at postgresql://me:pass-of-db@host/db", "at ${A_DATABASE}"),
        ("at http://me:pass-of-proxy@host:80/x", "at http://me:${OF_PROXY}@host:80/x"),
        ("at http://me:literal@host/x", "at http://***@host/x"),
        ("at http://me:with@and:colon@host/x", "at http://***@host/x"),
        ("at https://a-token@host", "at https://***@host"),
        ("at redis://:literal@host", "at redis://***@host"),
        ("Bearer abcdefgh.ijk", "Bearer ***"),
        ("hf_ABCDEFGHIJKLMNOPQRSTUV", "***"),
        ("AKIAABCDEFGHIJKLMNOP", "***"),
    ],
)
def test_secrets_are_hidden(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected


@pytest.mark.parametrize(
    "text",
    ["/tmp/ssh/agent.1 and /root/.cache/token", "none", "sqlite:///a@b", "http://host/a@b", "me@host", "sk-1", "${X}"],
)
def test_everything_else_is_kept(text: str) -> None:
    assert redact(text) == text


def test_every_spelling_is_hidden() -> None:
    import json
    from urllib.parse import quote

    assert SECRET not in redact(SECRET)
    assert redact(json.dumps({"a": SECRET})) == '{"a": "${JUDGE_API_KEY}"}'
    assert redact(f"http://host/?key={quote(SECRET, safe='')}") == "http://host/?key=${JUDGE_API_KEY}"


def test_tables_are_redacted_value_by_value() -> None:
    """In a text, an address and an @ of another field would be taken for one address."""
    table = {"url": "http://host", "mail": "me@host", "list": ["an-unusual-token", 3, None]}
    assert redacted(table) == table | {"list": ["${HF_TOKEN}", 3, None]}


@given(st.text())
def test_redacting_twice_changes_nothing(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_a_variable_becomes_secret_if_a_config_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redacting, "_named", set())
    monkeypatch.setenv("OF_THE_JUDGE", "a-judges-value")
    assert redact("a-judges-value") == "a-judges-value"
    redacting.is_secret("OF_THE_JUDGE")
    assert redact("a-judges-value") == "${OF_THE_JUDGE}"
    with pytest.raises(ValueError, match="not the name of an environment variable") as caught:
        redacting.is_secret("sk-the key itself")
    assert "sk-" not in str(caught.value)


def test_secrets_that_are_written_into_a_table_are_found() -> None:
    table = {
        "a": ["http://me:$PW@host", "http://me:${PW}@host", "http://me:pw@host"],
        "b": {"c": "hf_ABCDEFGHIJKLMNOPQRSTUV", "d": "http://host/x"},
    }
    assert list(written(table)) == ["a.2", "b.c"]


def test_errors_hold_no_secret() -> None:
    error = ConfigError(f"cannot use {SECRET}", "see http://me:literal@host")
    assert str(error) == "cannot use ${JUDGE_API_KEY}. Remedy: see http://***@host."
    assert SECRET not in error.cause


LOGGING = """
import logging, os, sys
from hpt_core import redact
redact.install()
redact.install()
sys.excepthook = redact.show
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
secret = os.environ["HF_TOKEN"]
logging.info("sends %s to %s", secret, "http://me:literal@host")
try:
    raise RuntimeError(f"refused {secret}")
except RuntimeError:
    logging.exception("failed")
logging.info("%d", "no number")
raise ValueError(secret)
"""


def test_logs_and_tracebacks_hold_no_secret() -> None:
    done = subprocess.run([sys.executable, "-c", LOGGING], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "an-unusual-token" not in done.stdout + done.stderr
    assert "sends ${HF_TOKEN} to http://***@host" in done.stdout
    assert "RuntimeError: refused ${HF_TOKEN}" in done.stdout
    assert "ValueError: ${HF_TOKEN}" in done.stderr and "Traceback" in done.stderr
    assert "--- Logging error ---" in done.stderr, "a wrong call is still reported"


def test_a_record_without_secrets_is_unchanged(caplog: pytest.LogCaptureFixture) -> None:
    redacting.install()
    with caplog.at_level(logging.INFO):
        logging.getLogger("x").info("%d of %s", 3, "a")
    assert caplog.records[0].args == (3, "a")
