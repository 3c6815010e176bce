"""No secret is written where it does not belong, whatever is done with it."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import scan
from conftest import Install
from latchkey import Installation, Person, from_base64url, refresh, wait_until
from letters import Authority, MailServer, link_in, login_of, press, text_of, token_in
from wire import CONFIRM, FRONTEND

# What the scan must find, to show that it would have found the rest. The address is in the database
# and the path is in the log because they belong there.
CANARY = f"canary-{secrets.token_hex(8)}@example.org"
CANARY_PATH = f"/canary-{secrets.token_hex(8)}"


class Used:
    """Every secret of a run, by what it is."""

    def __init__(self) -> None:
        self.all: list[tuple[str, bytes]] = []

    def password(self, what: str, text: str) -> str:
        self.all.append((what, text.encode()))
        return text

    def token(self, what: str, token: str) -> str:
        signature = token.rsplit(".", 1)[1]
        self.all += [
            (what, token.encode()),
            (f"the signature of {what}", signature.encode()),
            (f"the bytes of the signature of {what}", from_base64url(signature)),
        ]
        return token

    def tokens_of(self, who: str, person: Person) -> None:
        self.token(f"the access token of {who}", person.access)
        self.token(f"the refresh token of {who}", person.refresh)

    def link(self, link: str, token: str) -> None:
        # The first sixteen bytes name the ticket and are kept; what follows is the secret half. A
        # last "0" only keeps a link from ending in a sign that mail programs cut off.
        mac = from_base64url(token[:64])[16:]
        assert len(mac) >= 16
        self.all += [("a mailed link", link.encode()), ("its token", token.encode()), ("its MAC", mac)]

    def key(self, path: Path) -> None:
        text = path.read_text(encoding="ascii").strip()
        if text.startswith("-----BEGIN"):
            lines = text.splitlines()[1:-1]
            der = base64.b64decode("".join(lines))
            self.all += [(f"a line of {path.name}", line.encode()) for line in lines if len(line) > 16]
            self.all += [(path.name, der), (f"the number in {path.name}", private_number(path))]
        else:
            self.all += [(path.name, text.encode()), (f"the bytes of {path.name}", from_base64url(text))]


def use_the_account(
    client: httpx.Client, installation: Installation, post: MailServer, used: Used, person: Person
) -> None:
    """Everything that came after the first login: cookies, resets, changes, keys, and the feed."""

    def password(what: str) -> str:
        return used.password(what, f"{what} ä\"\\/ +&%<'{secrets.token_hex(8)}>")

    # A session in a cookie, used from where it may be and from where it may not.
    origin = {"Origin": FRONTEND}
    answer = client.post("/api/login/", json=person.credentials | {"cookie": True}, headers=origin)
    assert answer.status_code == 200, answer.text
    for number in range(2):
        cookie = answer.headers["set-cookie"].split(";")[0]
        used.token(f"cookie {number}", cookie.partition("=")[2])
        used.token(f"the access token beside cookie {number}", answer.json()["access"])
        client.cookies.clear()
        for wrong in ({}, {"Origin": "https://evil.example"}):
            refused = client.post("/api/token/refresh/", headers={"Cookie": cookie} | wrong)
            assert refused.status_code == 403
        answer = client.post("/api/token/refresh/", headers={"Cookie": cookie} | origin)
        assert answer.status_code == 200, answer.text
    cookie = answer.headers["set-cookie"].split(";")[0]
    used.token("the last cookie", cookie.partition("=")[2])
    used.token("the access token beside the last cookie", answer.json()["access"])
    client.cookies.clear()
    assert client.post("/api/logout/", headers={"Cookie": cookie} | origin).status_code == 204
    client.cookies.clear()

    # Another password, once with the old one and once with a mailed link, each refused first.
    person.log_in(client)
    used.tokens_of("before the change", person)
    for current, new, status in (
        (password("a wrong current password"), password("a new password that is not taken"), 400),
        (person.password, "12345678", 400),
        (person.password, password("the second password"), 200),
    ):
        sent = {"current_password": current, "new_password": new, "confirm_password": new}
        answer = client.post("/api/change-password/", json=sent, headers=person.bearer)
        assert answer.status_code == status, answer.text
    person.password = new
    assert client.post("/api/forgot-password/", json={"email": person.email}).status_code == 200
    # It has the token in its path, and not in a query.
    (link,) = set(re.findall(r"https?://\S+/reset-password/[A-Za-z0-9_-]+", text_of(wait_for(post, person.email, "Choose"))))
    token = link.rsplit("/", 1)[1]
    used.link(link, token)
    assert client.get(f"/reset-password/{token}").status_code == 200
    client.get(f"/reset-password/{token}/x")
    client.delete(f"/reset-password/{token}")
    new = password("the third password")
    for field, status in (("", 400), (token + "A", 400), (token, 200), (token, 200)):
        sent = {"token": field, "new_password": new, "confirm_password": new}
        assert client.post("/api/reset-password/", json=sent).status_code == status
    client.post("/reset-password/", data={"token": token, "new_password": new, "confirm_password": new})
    person.password = new
    person.log_in(client)
    used.tokens_of("after the reset", person)

    # Another address, called off once and confirmed once.
    for action, subject, to in (("cancel", "about to change", "old"), ("confirm", "Confirm your new", "new")):
        other = f"moved-{secrets.token_hex(8)}@example.org"
        sent = {"email": other, "current_password": password("a wrong password for a new address")}
        assert client.patch("/api/profile/", json=sent, headers=person.bearer).status_code == 400
        sent["current_password"] = person.password
        assert client.patch("/api/profile/", json=sent, headers=person.bearer).status_code == 200
        for address, about in ((person.email, "about to change"), (other, "Confirm your new")):
            mailed = wait_for(post, address, about, other)
            used.link(link_in(mailed), token_in(mailed))
        mailed = wait_for(post, person.email if to == "old" else other, subject, other)
        page = client.get(link_in(mailed))
        assert press(client, page, action).status_code == 200
    person.email = other

    # Sessions ended in every way, and the feed that tells of them.
    for end in ("/api/logout/", "/api/logout/all/"):
        person.log_in(client)
        used.tokens_of(f"ended by {end}", person)
        client.get("/api/sessions/", headers=person.bearer)
        assert client.post(end, headers=person.bearer).status_code == 204
    person.log_in(client)
    used.tokens_of("verified and ended", person)
    client.post("/api/token/verify/", json={"token": person.refresh})
    client.post("/api/token/blacklist/", json={"refresh": person.refresh})
    used.token("the feed of ended sessions", client.get("/.well-known/revoked-sessions").text)

    # Other keys while it runs; at last the account goes.
    person.log_in(client)
    used.tokens_of("before the keys", person)
    before = client.get("/.well-known/jwks.json").text
    rotated = installation.run("keys", "rotate", "--config", str(installation.config_file))
    assert rotated.returncode == 0, rotated.stderr
    wait_until(lambda: client.get("/.well-known/jwks.json").text != before, what="the new key")
    installation.run("keys", "list", "--config", str(installation.config_file))
    for guess, status in ((password("a wrong password to delete by"), 400), (person.password, 204)):
        answer = client.request("DELETE", "/api/profile/", json={"password": guess}, headers=person.bearer)
        assert answer.status_code == status, answer.text


def wait_for(post: MailServer, address: str, subject: str, text: str = "") -> EmailMessage:
    """Waits for a letter to `address` with these words in its subject and its text."""

    def found() -> list[EmailMessage]:
        letters = [letter for letter in list(post.taken) if letter["To"] == address]
        return [one for one in letters if subject in one["Subject"] and text in text_of(one)]

    return wait_until(found, 20, f"a letter to {address}: {subject}")[0]


def private_number(path: Path) -> bytes:
    key = load_pem_private_key(path.read_bytes(), None)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.private_bytes_raw()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value.to_bytes(32, "big")


def use_everything(client: httpx.Client, post: MailServer, used: Used) -> Person:
    """Sends every kind of secret everywhere, in good requests and in bad ones."""

    def password(what: str) -> str:
        return used.password(what, f"{what} ä\"\\/ +&%<'{secrets.token_hex(8)}>")

    person = Person(CANARY, password("the password")).register(client)
    letter = post.wait_for(person.email)
    link, token = link_in(letter), token_in(letter)
    used.link(link, token)

    # Registrations that are refused, for each of the reasons that come after reading the password.
    for fields in (
        {"email": "nobody"},
        {"email": person.email},
        {"password_confirm": password("a repetition that differs")},
        {"username": "a b"},
        {"password": [password("a password in a list")]},
        {"password": {password("a password as a key"): 1}},
    ):
        wanted = Person(password=password("a refused password"))
        assert client.post("/api/register/", json=wanted.registration | fields).status_code == 400

    # Bodies that are not what they claim to be.
    broken = json.dumps({"email": person.email, "password": password("a password in broken JSON")})[:-1]
    for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain"):
        client.post("/api/login/", content=broken, headers={"Content-Type": kind})
    client.post("/api/login/", data={"password": password("a password in a form")})
    client.post("/api/login/", data={password("a password as a field's name"): "x"})

    # Passwords that are wrong, and the place where people type them by mistake.
    wrong = password("a wrong password")
    assert client.post("/api/login/", json={"email": person.email, "password": wrong}).status_code == 401
    client.post("/api/login/", json={"email": password("a password for an address"), "password": wrong})
    client.post("/api/login/", json={"email": "unknown@example.org", "password": password("of nobody")})

    # Tokens: used, used again, stolen, sent where others are due, and in a query.
    person.log_in(client)
    used.tokens_of("the first login", person)
    assert person.profile(client).status_code == 200
    stolen = person.refresh
    for number in range(2):
        person.rotate(client)
        used.tokens_of(f"rotation {number}", person)
    elsewhere = person.in_another_session().log_in(client)
    used.tokens_of("another session", elsewhere)
    assert refresh(client, stolen).status_code == 401
    assert refresh(client, elsewhere.access).status_code == 401
    for scheme in ("Bearer", "Basic", "", "Bearer two"):
        for wrong_kind in (elsewhere.refresh, person.access):
            client.get("/api/profile/", headers={"Authorization": f"{scheme} {wrong_kind}".strip()})
    client.get("/api/profile/", params={"access_token": elsewhere.access, "password": wrong})
    client.get("/api/login/", params={"refresh": elsewhere.refresh})
    client.get(
        "/healthz", headers={"Cookie": f"refresh={elsewhere.refresh}", "Referer": link, "User-Agent": "x"}
    )
    client.post(CONFIRM, json={"token": elsewhere.access})

    # The link: looked at, spoilt, clicked, clicked again.
    page = client.get(link)
    client.head(link)
    client.delete(link)
    client.get(link + "A")
    client.post(CONFIRM, json={"token": token + "A"})
    assert press(client, page, "confirm").status_code == 200
    client.post(CONFIRM, json={"token": token})
    return person


@pytest.mark.parametrize(("level", "style"), [("info", "text"), ("trace", "text"), ("trace", "json")])
def test_no_secret_is_written_where_it_does_not_belong(
    level: str, style: str, install: Install, authority: Authority, tell: Callable[[str], None]
) -> None:
    used = Used()
    mail_password = used.password("the mail password", f"mail {secrets.token_hex(12)}")
    # The first letter is refused for now, so that a failed delivery is logged too.
    post = MailServer(
        answers=["451 try again later"],
        tls_context=authority.context(),
        require_starttls=True,
        auth_required=True,
        authenticator=login_of("latchkey", mail_password, []),
    )
    installation = install(
        {
            "mail": {
                "transport": "smtp",
                "smtp_host": "localhost",
                "smtp_port": post.port,
                "smtp_security": "starttls",
                "smtp_ca_file": str(authority.file),
                "smtp_username": "latchkey",
                "smtp_password": mail_password,
            },
            "log": {"level": level, "format": style},
            "login": {"max_failures": 1000, "per_address_per_minute": 0},
            "server": {"allowed_origins": [FRONTEND]},
            "cookies": {"enabled": True},
        }
    )
    with post.start():
        server = installation.start()
        with server.client() as client:
            person = use_everything(client, post, used)
            use_the_account(client, installation, post, used, person)
            # The account is gone by now, and its address with it. Somebody is to be found.
            Person(CANARY).register(client)
            client.get(CANARY_PATH, params={"token": person.access})
        wait_until(lambda: CANARY_PATH in server.log_text(), what="the log")
        # As the files are after a power cut, and as they are after a good end.
        server.kill()
        places = {f"{name}, killed": data for name, data in places_of(installation).items()}
        installation.start().stop()
        places |= places_of(installation)
    for path in installation.keys.iterdir():
        if not path.name.endswith(".pub.pem"):
            used.key(path)
    assert len(used.all) > 120

    assert list(scan.find(used.all, places)) == []

    in_database = list(scan.find([("the canary", CANARY.encode())], places))
    assert f"the canary, raw, in {installation.database}" in in_database
    in_log = list(scan.find([("the canary", CANARY_PATH.encode())], places))
    assert f"the canary, raw, in {server.log}" in in_log
    size = sum(map(len, places.values()))
    tell(f"{len(used.all)} secrets looked for in {len(places)} files, {size >> 10} KiB, at {level}, {style}")


def test_the_scan_finds_the_one_link_that_may_be_read(install: Install) -> None:
    """`transport = "log"` is there to show links: if the scan missed this one, it would miss all."""
    installation = install({"mail": {"transport": "log"}})
    server = installation.start()
    pattern = re.compile(re.escape(server.url + CONFIRM) + r"\?token=[A-Za-z0-9_-]+")
    with server.client() as client:
        Person().register(client)
        link = wait_until(lambda: pattern.findall(server.log_text()), what="the link")[0]
    server.stop()
    used = Used()
    used.link(link, link.rpartition("=")[2])
    found = set(scan.find(used.all, places_of(installation)))
    assert found >= {f"a mailed link, raw, in {server.log}", f"its token, raw, in {server.log}"}
    assert not [hit for hit in found if str(installation.data) in hit]


def places_of(installation: Installation) -> dict[str, bytes]:
    """All that the server wrote, but for the keys."""
    said = {str(path): path.read_bytes() for s in installation.servers for path in (s.output, s.log)}
    return said | scan.files_below(installation.data, installation.keys)


@pytest.mark.parametrize("length", range(12, 20))
@pytest.mark.parametrize("before", range(4))
def test_the_scan_finds_a_canary_in_every_form(length: int, before: int) -> None:
    canary = ("ä\"\\/ +&%<>'" + secrets.token_hex(16)).encode()[:length] + b"!"
    text = canary.decode()
    planted = {
        "raw": canary,
        "hex": canary.hex().encode(),
        "base64": base64.b64encode(canary),
        "base64url": base64.urlsafe_b64encode(canary),
        "base64 of more": base64.b64encode(bytes(range(before)) + canary + b"more"),
        "base64url of more": base64.urlsafe_b64encode(b"\xff" * before + canary + b"\xff\xff"),
        "JSON": json.dumps({"x": text}).encode(),
        "JSON beyond ASCII": json.dumps({"x": text}, ensure_ascii=False).encode(),
        "a query": str(httpx.QueryParams({"x": text})).encode(),
        "an URL": str(httpx.URL("http://x/", params={"x": text})).encode(),
        "numbers": str(list(canary)).encode(),
    }
    found = list(
        scan.find([("canary", canary)], {name: b"-- " + data + b" --" for name, data in planted.items()})
    )
    for name in planted:
        assert any(hit.endswith(f" in {name}") for hit in found), name
    assert list(scan.find([("canary", canary)], {"nowhere": secrets.token_bytes(1 << 16)})) == []
