"""Mail as its receiver sees it: a mail server that keeps what it gets, letters and their links."""

from __future__ import annotations

import email
import email.policy
import re
import socket
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP as Protocol
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from latchkey import wait_until


def parse(data: bytes) -> EmailMessage:
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def letters_in(directory: Path) -> list[EmailMessage]:
    """The letters of the file transport, as far as there are any."""
    return [parse(path.read_bytes()) for path in sorted(directory.glob("[!.]*.eml"))]


def letter_to(directory: Path, address: str, seconds: float = 20.0) -> EmailMessage:
    """Waits for the file transport's letter to `address`."""

    def found() -> list[EmailMessage]:
        return [letter for letter in letters_in(directory) if letter["To"] == address]

    return wait_until(found, seconds, f"a letter to {address}")[0]


def letter_about(directory: Path, address: str, subject: str) -> EmailMessage:
    """Waits for the file transport's letter to `address` whose subject contains `subject`."""

    def found() -> list[EmailMessage]:
        return [one for one in letters_in(directory) if one["To"] == address and subject in one["Subject"]]

    return wait_until(found, what=f"a letter to {address}: {subject}")[0]


def text_of(letter: EmailMessage) -> str:
    part = letter.get_body(("plain",))
    assert part is not None, "the letter has no text part"
    return part.get_content()


def html_of(letter: EmailMessage) -> str:
    part = letter.get_body(("html",))
    assert part is not None, "the letter has no HTML part"
    return part.get_content()


class _References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def references(html: str) -> list[str]:
    """Whatever a page or letter points to."""
    parser = _References()
    parser.feed(html)
    return parser.found


def link_in(letter: EmailMessage) -> str:
    """The one link a letter is about: the same in its text and in its HTML."""
    links = set(re.findall(r"https?://[^\s<>\"]+[?&]token=[A-Za-z0-9_-]+", text_of(letter)))
    assert len(links) == 1, f"one link is expected in the text, not {links}"
    link = links.pop()
    assert link in references(html_of(letter)), "the HTML leads elsewhere"
    return link


def token_in(letter: EmailMessage) -> str:
    return parse_qs(urlsplit(link_in(letter)).query)["token"][0]


def reset_token(letter: EmailMessage) -> str:
    """The token of the mailed reset link, which has it in its path."""
    (link,) = set(re.findall(r"https?://\S+/reset-password/[A-Za-z0-9_-]+", text_of(letter)))
    assert link in references(html_of(letter)), "the HTML leads elsewhere"
    return link.rsplit("/", 1)[1]


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "form":
            self.forms.append({"action": "", "method": "get"} | values | {"fields": [], "buttons": []})
        elif self.forms and tag in ("input", "button"):
            is_button = tag == "button" or values.get("type") == "submit"
            pair = (values.get("name"), values.get("value") or "")
            self.forms[-1]["buttons" if is_button else "fields"].append(pair)


def press(client: httpx.Client, page: httpx.Response, action: str) -> httpx.Response:
    """Presses the button of a page that says `action`, as a browser would."""
    parser = _Forms()
    parser.feed(page.text)
    for form in parser.forms:
        fields = [pair for pair in form["fields"] if pair[0]]
        for button in form["buttons"]:
            sent = dict(fields + ([button] if button[0] else []))
            if sent.get("action") == action:
                assert form["method"].lower() == "post", "a change is made by POST alone"
                return client.post(urljoin(str(page.url), form["action"]), data=sent)
    raise AssertionError(f"the page has no button for {action}: {parser.forms}")


class MailServer:
    """aiosmtpd on a port that is kept from others from the beginning, also while it is down.

    `answers` are given to the first letters in their order, then every letter is taken;
    `at_recipient` does the same one command earlier.
    """

    def __init__(
        self, answers: list[str] | None = None, at_recipient: list[str] | None = None, **options: Any
    ) -> None:
        self.answers = list(answers or [])
        self.at_recipient = list(at_recipient or [])
        self.options = options
        self.attempts: list[EmailMessage] = []
        self.taken: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.greeted = 0
        self.refused_recipients: list[str] = []
        self.were_over_tls: list[bool] = []
        self.logins: list[Any] = []
        self._controller: Controller | None = None
        self._reservation: socket.socket | None = socket.socket()
        # Bound but not listening: whoever connects is refused, and nobody else gets the port.
        self._reservation.bind(("127.0.0.1", 0))
        self.port: int = self._reservation.getsockname()[1]

    def start(self) -> MailServer:
        if self._reservation is not None:
            self._reservation.close()
            self._reservation = None
        self._controller = Controller(
            self, hostname="127.0.0.1", port=self.port, ready_timeout=20, **self.options
        )
        self._controller.start()
        # The controller knocks once by itself to see whether the server is up.
        self.greeted = 0
        return self

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None
        if self._reservation is not None:
            self._reservation.close()
            self._reservation = None

    def __enter__(self) -> MailServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_for(self, address: str, seconds: float = 20.0) -> EmailMessage:
        def found() -> list[EmailMessage]:
            return [letter for letter in list(self.taken) if letter["To"] == address]

        return wait_until(found, seconds, f"a letter to {address}")[0]

    # What aiosmtpd calls.

    async def handle_EHLO(
        self, server: Protocol, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.greeted += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(
        self, server: Protocol, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.at_recipient:
            self.refused_recipients.append(address)
            return self.at_recipient.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Protocol, session: Session, envelope: Envelope) -> str:
        data = envelope.original_content
        assert isinstance(data, bytes)
        letter = parse(data)
        self.attempts.append(letter)
        if self.answers:
            return self.answers.pop(0)
        self.envelopes.append(envelope)
        self.were_over_tls.append(isinstance(server.transport.get_extra_info("ssl_object"), ssl.SSLObject))
        self.taken.append(letter)
        return "250 OK"


def login_of(name: str, password: str, logins: list[Any]) -> Callable[..., AuthResult]:
    """An authenticator that knows one login and notes every try."""

    def authenticate(
        server: Protocol, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        is_right = (data.login, data.password) == (name.encode(), password.encode())
        logins.append((mechanism, is_right))
        return AuthResult(success=is_right)

    return authenticate


class Authority:
    """A certificate authority nobody knows but who is given its file."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._authority = trustme.CA()
        self.file = directory / f"{name}.pem"
        self._authority.cert_pem.write_to_path(str(self.file))

    def context(self, host: str = "localhost") -> ssl.SSLContext:
        """What a server that is `host` needs to speak TLS."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._authority.issue_cert(host).configure_cert(context)
        return context
