"""Notifications, sent to servers of this machine."""

import email
import email.policy
import json
import logging
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.notifiers import base
from tasks.notifiers.base import Event, NotifierConfig, tell
from tasks.notifiers.email import Email
from tasks.notifiers.webhook import Webhook
from tests.ports import free_port

# apprise imports it, where there still is one.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
SECRET = "T0KEN/s3cret"
EVENT = Event(what="failed", subject="demo: failed", lines=("a < b & {{c}}", "second"))


class Hook(ThreadingHTTPServer):
    """Keeps what is posted."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HookHandler)
        self.posted: list[tuple[str, str, bytes]] = []
        self.status = 200
        self.release = threading.Event()
        self.release.set()


class HookHandler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.release.wait()
        self.server.posted.append((self.path, self.headers["Content-Type"], body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


class Mail(socketserver.ThreadingTCPServer):
    """An SMTP server that keeps what it is given."""

    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MailHandler)
        self.taken: list[tuple[list[str], bytes]] = []
        self.refuse = False


class MailHandler(socketserver.StreamRequestHandler):
    server: Mail

    def handle(self) -> None:
        to: list[str] = []
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline().decode().strip():
            verb = line.upper()
            if verb.startswith("RCPT"):
                to.append(line.partition("<")[2].rstrip(">"))
            if verb.startswith("DATA"):
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.taken.append((to, b"".join(lines)))
                to = []
            bye = verb.startswith("QUIT")
            refused = self.server.refuse and verb.startswith("RCPT")
            self.wfile.write(b"550 no\r\n" if refused else b"221 bye\r\n" if bye else b"250 ok\r\n")
            if bye:
                return


def served(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    server = Hook()
    monkeypatch.setenv("HPT_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/services/{SECRET}")
    yield from served(server)


@pytest.fixture
def mail() -> Iterator[Mail]:
    yield from served(Mail())


def mail_to(port: int, **more: Any) -> Email:
    return Email(to=["a@example.org", "b@example.org"], sender="hpt@example.org", host="127.0.0.1", port=port, **more)


def test_a_webhook_gets_text_as_slack_wants_it(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tell([Webhook()], EVENT)
    ((path, kind, body),) = hook.posted
    assert path == f"/services/{SECRET}"
    assert kind == "application/json"
    assert json.loads(body) == {"text": "*demo: failed*\na &lt; b &amp; {{c}}\nsecond"}
    assert SECRET not in caplog.text


def test_an_email_reaches_every_address(mail: Mail) -> None:
    tell([mail_to(mail.server_address[1], security="insecure")], EVENT)
    assert sorted(to for taken, _ in mail.taken for to in taken) == ["a@example.org", "b@example.org"]
    message = email.message_from_bytes(mail.taken[0][1], policy=email.policy.default)
    assert message["Subject"] == "demo: failed"
    assert "hpt@example.org" in message["From"]
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().split() == ["a", "<", "b", "&", "{{c}}", "second"]


def test_only_what_was_asked_for_is_told(hook: Hook) -> None:
    tell([Webhook(on=["finished"]), Webhook(on="regressed")], EVENT)
    assert hook.posted == []


def test_a_failure_is_told_without_the_secret_and_does_not_stop_the_others(
    hook: Hook, mail: Mail, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPT_CLOSED", f"http://127.0.0.1:{free_port()}/{SECRET}")
    monkeypatch.delenv("HPT_UNSET", raising=False)
    hook.status, mail.refuse = 404, True
    port = mail.server_address[1]
    caplog.set_level(logging.DEBUG)
    tell([Webhook(), Webhook(url_env="HPT_CLOSED"), Webhook(url_env="HPT_UNSET")], EVENT)
    closed = free_port()
    refused = [mail_to(port, security="insecure"), mail_to(closed, security="insecure"), mail_to(port, user="me")]
    tell(refused, EVENT)
    hook.status = 200
    tell([Webhook()], EVENT)
    told = [record.getMessage() for record in caplog.records if record.name == "hpt.notify"]
    assert [text.removeprefix("not notified by ") for text in told] == [
        "webhook that demo: failed: HTTP status 404",
        "webhook that demo: failed: ConnectError",
        "webhook that demo: failed: HPT_UNSET is not set. Remedy: set it where the pipeline runs.",
        *(
            f"email that demo: failed: the SMTP server 127.0.0.1:{number} did not take the message. "
            "Remedy: check host, port, security and account."
            for number in (port, closed)
        ),
        "email that demo: failed: HPT_SMTP_PASSWORD is not set. Remedy: set it where the pipeline runs.",
    ]
    assert len(hook.posted) == 2
    assert SECRET not in caplog.text


def test_a_server_that_does_not_answer_is_left_behind(
    hook: Hook, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "LIMIT_S", 0.2)
    hook.release.clear()
    tell([Webhook()], EVENT)
    hook.release.set()
    assert caplog.messages == ["not notified by webhook that demo: failed: no answer in 0.2 s"]


@pytest.mark.parametrize(
    "table",
    [
        {"name": "email", "to": [], "sender": "a@b.c", "host": "h"},
        {"name": "email", "to": "a@b.c", "sender": "a@b.c", "host": "h", "password": "secret"},
        {"name": "webhook", "url": "https://hooks.slack.com/x"},
        {"name": "webhook", "on": "started"},
        {"name": "block", "block": "alerts"},
    ],
)
def test_wrong_tables_and_secrets_in_them_are_refused(table: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, ValueError)):
        NotifierConfig.from_value(table)
