"""Mail reaches a mail server other people wrote, whatever becomes of either in between."""

from __future__ import annotations

import json
import re
import socket
import stat
import time
from typing import Any

import pytest

from conftest import Install
from latchkey import Person, wait_until
from letters import (
    Authority,
    MailServer,
    html_of,
    letter_to,
    link_in,
    login_of,
    press,
    references,
    text_of,
    token_in,
)
from wire import CONFIRM


def smtp(server: MailServer, **keys: Any) -> dict[str, dict[str, Any]]:
    """A configuration that delivers to `server`, without TLS unless `keys` say so."""
    return {
        "mail": {
            "transport": "smtp",
            "smtp_host": "localhost",
            "smtp_port": server.port,
            "smtp_security": "none",
        }
        | keys
    }


def test_a_plain_letter_is_what_a_mail_program_expects(install: Install) -> None:
    with MailServer().start() as post:
        server = install(smtp(post)).start()
        with server.client() as client:
            person = Person().register(client)
            letter = post.wait_for(person.email)

    envelope = post.envelopes[0]
    assert envelope.mail_from == "accounts@example.org"
    assert envelope.rcpt_tos == [person.email]
    raw = envelope.original_content
    assert isinstance(raw, bytes)
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", raw), "lines end in CR LF"
    assert max(map(len, raw.split(b"\r\n"))) <= 998, "RFC 5322, section 2.1.1"
    assert raw.isascii() or envelope.mail_options == ["BODY=8BITMIME"]

    assert [part.get_content_type() for part in letter.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    assert all(not part.defects for part in letter.walk())
    for name in ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version"):
        assert len(letter.get_all(name, [])) == 1, name
        assert not letter[name].defects, name
    assert letter["From"].addresses[0].addr_spec == "accounts@example.org"
    assert letter["From"].addresses[0].display_name == "Latchkey"
    assert re.fullmatch(r"<[^<>@\s]+@[^<>@\s]+>", letter["Message-ID"])
    assert abs(letter["Date"].datetime.timestamp() - time.time()) < 120
    assert letter["Subject"].strip()
    assert person.password not in text_of(letter) + html_of(letter)
    # Nothing is fetched when the letter is opened, so that opening it tells nobody.
    assert all(url.startswith(server.url) for url in references(html_of(letter)))


def test_the_link_in_the_letter_confirms_the_address(install: Install) -> None:
    with MailServer().start() as post:
        server = install(smtp(post)).start()
        with server.client() as client:
            by_click, by_json = Person().register(client), Person().register(client)

            link = link_in(post.wait_for(by_click.email))
            assert link.startswith(f"{server.url}{CONFIRM}?token=")
            page = client.get(link)
            assert page.status_code == 200
            assert page.headers["content-type"].startswith("text/html")
            assert by_click.log_in(client).user["is_email_verified"] is False
            assert press(client, page, "confirm").status_code == 200
            assert by_click.profile(client).json()["is_email_verified"] is True

            token = token_in(post.wait_for(by_json.email))
            answer = client.post(CONFIRM, json={"token": token})
            assert (answer.status_code, answer.json()) == (200, {"message": "Email verified successfully"})
            assert by_json.log_in(client).user["is_email_verified"] is True


def test_an_international_domain_is_written_as_mail_servers_know_it(install: Install) -> None:
    with MailServer().start() as post:
        server = install(smtp(post)).start()
        with server.client() as client:
            Person("Jo@bücher.example").register(client)
            wait_until(lambda: post.taken, what="the letter")
            assert post.envelopes[0].rcpt_tos == ["Jo@xn--bcher-kva.example"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_over_tls_with_a_login(security: str, install: Install, authority: Authority) -> None:
    logins: list[Any] = []
    options: dict[str, Any] = {
        "auth_required": True,
        "authenticator": login_of("latchkey", "the mail password", logins),
    }
    if security == "starttls":
        options |= {"tls_context": authority.context(), "require_starttls": True}
    else:
        # aiosmtpd counts only STARTTLS as TLS here, though the whole connection is.
        options |= {"ssl_context": authority.context(), "auth_require_tls": False}
    with MailServer(**options).start() as post:
        server = install(
            smtp(
                post,
                smtp_security=security,
                smtp_ca_file=str(authority.file),
                smtp_username="latchkey",
                smtp_password="the mail password",
            )
        ).start()
        with server.client() as client:
            person = Person().register(client)
            link_in(post.wait_for(person.email))
    assert post.were_over_tls == [True]
    assert [is_right for _, is_right in logins] == [True]
    assert "the mail password" not in server.log_text()


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("wrong", ["authority", "host"])
def test_a_mail_server_that_cannot_prove_who_it_is_gets_no_letter(
    security: str, wrong: str, install: Install, authority: Authority, tmp_path: Any
) -> None:
    handshakes = []
    context = (
        Authority(tmp_path, "somebody-else").context()
        if wrong == "authority"
        else authority.context("elsewhere.example")
    )
    context.sni_callback = lambda _socket, name, _context: handshakes.append(name)
    options: dict[str, Any] = (
        {"tls_context": context, "require_starttls": True}
        if security == "starttls"
        else {"ssl_context": context}
    )
    with MailServer(**options).start() as post:
        handshakes.clear()
        server = install(smtp(post, smtp_security=security, smtp_ca_file=str(authority.file))).start()
        with server.client() as client:
            Person().register(client)
            wait_until(lambda: handshakes.count("localhost") >= 2, what="a second try")
    assert post.attempts == []


def test_starttls_is_not_talked_away(install: Install, authority: Authority) -> None:
    """Somebody between us and the mail server takes STARTTLS off its list."""
    with MailServer().start() as post:
        server = install(smtp(post, smtp_security="starttls", smtp_ca_file=str(authority.file))).start()
        with server.client() as client:
            Person().register(client)
            wait_until(lambda: post.greeted >= 2, what="a second try")
    assert post.attempts == []


def test_mail_waits_for_a_mail_server_that_is_down(install: Install) -> None:
    with MailServer() as post:
        server = install(smtp(post)).start()
        with server.client() as client:
            started = time.monotonic()
            person = Person().register(client)
            assert time.monotonic() - started < 1, "registering waits for no mail server"
            assert client.get("/readyz").status_code == 200
            post.start()
            link_in(post.wait_for(person.email))


def test_mail_survives_kill_9(install: Install) -> None:
    with MailServer() as post:
        installation = install(smtp(post))
        server = installation.start()
        with server.client() as client:
            people = [Person().register(client) for _ in range(5)]
        server.kill()
        post.start()
        server = installation.start()
        with server.client() as client:
            # At once, not after what is left of some delay from before.
            tokens = {token_in(post.wait_for(person.email, 5)) for person in people}
            assert len(tokens) == 5
            for token in tokens:
                assert client.post(CONFIRM, json={"token": token}).status_code == 200
    assert len(post.taken) == 5


def test_a_refusal_for_now_is_tried_again_with_the_same_message_id(install: Install) -> None:
    with MailServer(answers=["451 try again later", "421 too busy"]).start() as post:
        server = install(smtp(post)).start()
        with server.client() as client:
            person = Person().register(client)
            post.wait_for(person.email)
    assert len(post.attempts) == 3
    assert len({letter["Message-ID"] for letter in post.attempts}) == 1
    assert len({letter["Date"] for letter in post.attempts}) == 1
    assert len({token_in(letter) for letter in post.attempts}) == 1


@pytest.mark.parametrize("where", ["recipient", "letter"])
def test_a_refusal_for_good_is_a_warning_and_the_end_of_it(where: str, install: Install) -> None:
    refusal = ["550 no such mailbox"]
    options = {"at_recipient": refusal} if where == "recipient" else {"answers": refusal}
    with MailServer(**options).start() as post:
        server = install(smtp(post) | {"log": {"format": "json"}}).start()

        def warnings() -> list[dict[str, Any]]:
            lines = [json.loads(line) for line in server.log_text().splitlines()]
            return [line for line in lines if line["level"] == "WARN" and "mail" in json.dumps(line)]

        with server.client() as client:
            refused = Person().register(client)
            wait_until(warnings, what="a warning")
            later = Person().register(client)
            post.wait_for(later.email)
            # A second try would come after a second, give or take.
            time.sleep(2.5)
    tries = post.refused_recipients + [letter["To"] for letter in post.attempts]
    assert tries.count(refused.email) == 1
    assert len(warnings()) == 1


def test_a_mail_server_that_says_nothing_holds_nothing_up(install: Install) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        config = {
            "mail": {
                "transport": "smtp",
                "smtp_host": "127.0.0.1",
                "smtp_port": mute.getsockname()[1],
                "smtp_security": "none",
            },
            "server": {"shutdown_timeout": "2s"},
        }
        server = install(config).start()
        with server.client() as client:
            started = time.monotonic()
            Person().register(client).log_in(client)
            assert time.monotonic() - started < 2
            mute.settimeout(10)
            connection, _ = mute.accept()
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 5
        connection.close()


def test_one_file_a_letter_for_nobody_else_to_read(install: Install) -> None:
    installation = install()
    server = installation.start()
    with server.client() as client:
        people = [Person().register(client) for _ in range(3)]
        for person in people:
            letter = letter_to(installation.mail, person.email)
            assert client.get(link_in(letter)).status_code == 200
            assert client.post(CONFIRM, json={"token": token_in(letter)}).status_code == 200
    server.stop()
    files = list(installation.mail.iterdir())
    assert len(files) == 3
    assert {path.suffix for path in files} == {".eml"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(installation.mail.stat().st_mode) == 0o700


def test_letters_in_the_log_for_trying_things_out(install: Install) -> None:
    """With nothing but the variable that picks a free port, in an empty directory."""
    installation = install()
    server = installation.start(env={"LATCHKEY_SERVER_LISTEN": "127.0.0.1:0"}, has_config=False)
    with server.client() as client:
        Person().register(client)
        pattern = re.compile(re.escape(server.url + CONFIRM) + r"\?token=([A-Za-z0-9_-]+)")
        found = wait_until(lambda: pattern.search(server.log_text()), what="the link in the log")
        assert client.post(CONFIRM, json={"token": found[1]}).status_code == 200


def test_mailed_links_lead_to_the_public_url(install: Install) -> None:
    installation = install({"server": {"public_url": "https://accounts.example.org/auth"}})
    with installation.start().client() as client:
        person = Person().register(client)
        link = link_in(letter_to(installation.mail, person.email))
    assert link.startswith(f"https://accounts.example.org/auth{CONFIRM}?token=")
