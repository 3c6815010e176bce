"""The life of an account after the first login, as the programs of its owner drive it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import Install
from latchkey import Installation, Person, refresh, wait_until
from letters import html_of, letters_in, link_in, press, references, text_of, token_in
from wire import (
    BAD_HEADER,
    CONFIRM,
    FRONTEND,
    INVALID_TICKET,
    INVALID_TOKEN,
    NO_CREDENTIALS,
    NULL,
    REQUIRED,
    body_of,
    not_valid,
)

NEW_PASSWORD = 'a new pässword \\"7/'
ENDED = not_valid("Token is invalid or expired")
REQUESTED = {
    "message": "Password reset instructions have been sent to your email if an account exists with "
    "this email address."
}
RESENT = {"message": "If the address needs verification, a mail is on its way."}
BAD_RESET = {"non_field_errors": ["Invalid or expired reset token"]}
CROSS_SITE = {"detail": "Cross-site request refused."}
COOKIE = "__Host-latchkey_refresh"


@pytest.fixture
def mail(installation: Installation) -> Path:
    return installation.mail


@pytest.fixture
def person(client: httpx.Client) -> Person:
    return Person(username=f"u{secrets.token_hex(6)}").register(client).log_in(client)


def letter_about(mail: Path, address: str, subject: str) -> EmailMessage:
    """Waits for a letter to `address` whose subject contains `subject`."""
    return letters_about(mail, address, subject, 1)[0]


def letters_about(mail: Path, address: str, subject: str, count: int) -> list[EmailMessage]:
    """Waits until there are `count` such letters. Their order tells nothing."""

    def found() -> list[EmailMessage]:
        letters = [one for one in letters_in(mail) if one["To"] == address and subject in one["Subject"]]
        return letters if len(letters) >= count else []

    return wait_until(found, 20, f"{count} letters to {address}: {subject}")


def reset_token(letter: EmailMessage) -> str:
    """The token of the mailed reset link, which has it in its path."""
    (link,) = set(re.findall(r"https?://\S+/reset-password/[A-Za-z0-9_-]+", text_of(letter)))
    assert link in references(html_of(letter)), "the HTML leads elsewhere"
    return link.rsplit("/", 1)[1]


def forget(client: httpx.Client, mail: Path, address: str) -> str:
    assert body_of(client.post("/api/forgot-password/", json={"email": address})) == (200, REQUESTED)
    return reset_token(letter_about(mail, address, "Choose a new password"))


def reset(client: httpx.Client, token: str, password: str = NEW_PASSWORD) -> httpx.Response:
    fields = {"token": token, "new_password": password, "confirm_password": password}
    return client.post("/api/reset-password/", json=fields)


def change(client: httpx.Client, person: Person, **fields: Any) -> httpx.Response:
    sent = {
        "current_password": person.password,
        "new_password": NEW_PASSWORD,
        "confirm_password": NEW_PASSWORD,
    }
    return client.post("/api/change-password/", json=sent | fields, headers=person.bearer)


def delete(client: httpx.Client, person: Person, **fields: Any) -> httpx.Response:
    return client.request("DELETE", "/api/profile/", json=fields, headers=person.bearer)


def move(client: httpx.Client, person: Person, address: str) -> httpx.Response:
    fields = {"email": address, "current_password": person.password}
    return client.patch("/api/profile/", json=fields, headers=person.bearer)


def login_status(client: httpx.Client, person: Person, password: str) -> int:
    return client.post("/api/login/", json={"email": person.email, "password": password}).status_code


# Who asks


PROTECTED = [
    ("PATCH", "/api/profile/"),
    ("PUT", "/api/profile/"),
    ("DELETE", "/api/profile/"),
    ("POST", "/api/change-password/"),
    ("GET", "/api/sessions/"),
    ("DELETE", "/api/sessions/" + "0" * 32 + "/"),
    ("POST", "/api/logout/"),
    ("POST", "/api/logout/all/"),
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_nobody_acts_without_a_token(method: str, path: str, client: httpx.Client, person: Person) -> None:
    for headers, body in (
        ({}, NO_CREDENTIALS),
        ({"Authorization": "Bearer"}, BAD_HEADER),
        ({"Authorization": "Bearer garbage"}, ENDED),
        ({"Authorization": f"Bearer {person.refresh}"}, not_valid("Token has wrong type")),
    ):
        answer = client.request(method, path, headers=headers)
        assert body_of(answer) == (401, body)
        assert answer.headers["www-authenticate"] == 'Bearer realm="api"'
    assert person.profile(client).status_code == 200


# Profile


def test_a_name_and_the_spelling_of_an_address_change_at_once(client: httpx.Client, person: Person) -> None:
    name, spelling = f"n{secrets.token_hex(5)}", person.email.upper()
    answer = client.patch("/api/profile/", json={"username": name}, headers=person.bearer)
    assert body_of(answer) == (200, person.user | {"username": name})
    answer = client.patch("/api/profile/", json={"email": spelling}, headers=person.bearer)
    assert body_of(answer) == (200, person.user | {"username": name, "email": spelling})
    assert person.profile(client).json() == answer.json()
    # PUT says all, so what it leaves out is nothing.
    answer = client.put("/api/profile/", json={"email": person.email}, headers=person.bearer)
    assert body_of(answer) == (200, person.user | {"username": ""})
    answer = client.put("/api/profile/", json={"username": name}, headers=person.bearer)
    assert body_of(answer) == (400, {"email": REQUIRED})


def test_what_others_have_is_refused(client: httpx.Client, person: Person) -> None:
    other = Person(username=f"o{secrets.token_hex(5)}").register(client)
    answer = client.patch("/api/profile/", json={"username": other.username.upper()}, headers=person.bearer)
    assert body_of(answer) == (400, {"username": ["A user with that username already exists."]})
    assert body_of(move(client, person, other.email.upper())) == (
        400,
        {"email": ["user with this email already exists."]},
    )
    assert person.profile(client).json() == person.user


# Another address


def test_another_address_counts_once_it_is_confirmed(
    client: httpx.Client, person: Person, mail: Path
) -> None:
    new = Person().email
    for fields, problem in (
        ({"email": new}, REQUIRED),
        ({"email": new, "current_password": None}, NULL),
        ({"email": new, "current_password": "wrong"}, ["Incorrect current password"]),
    ):
        answer = client.patch("/api/profile/", json=fields, headers=person.bearer)
        assert body_of(answer) == (400, {"current_password": problem})
    assert body_of(move(client, person, new)) == (200, person.user | {"pending_email": new})
    assert person.profile(client).json() == person.user | {"pending_email": new}
    assert login_status(client, Person(new), person.password) == 401

    notice = letter_about(mail, person.email, "about to change")
    assert new in text_of(notice)
    letter = letter_about(mail, new, "Confirm your new email address")
    assert person.email not in letter.as_string(), "whoever mistypes shows a stranger nothing"
    page = client.get(link_in(letter))
    assert page.status_code == 200 and new in page.text
    assert person.profile(client).json()["email"] == person.email, "opening the link does nothing"
    assert press(client, page, "confirm").status_code == 200
    assert person.profile(client).json() == person.user | {"email": new, "is_email_verified": True}
    assert new in text_of(letter_about(mail, person.email, "was changed"))

    # Neither link does anything any more.
    assert client.get(link_in(notice)).status_code == 400
    assert login_status(client, Person(person.email), person.password) == 401
    Person(new, person.password).log_in(client)
    Person(person.email).register(client)


@pytest.mark.parametrize("whose", ["old", "new"])
def test_either_address_calls_the_change_off(
    whose: str, client: httpx.Client, person: Person, mail: Path
) -> None:
    new = Person().email
    assert move(client, person, new).status_code == 200
    letters = {
        "old": letter_about(mail, person.email, "about to change"),
        "new": letter_about(mail, new, "Confirm your new email address"),
    }
    page = client.get(link_in(letters[whose]))
    assert press(client, page, "cancel").status_code == 200
    assert person.profile(client).json() == person.user, "and nothing else has changed"
    assert client.post(CONFIRM, json={"token": token_in(letters["new"])}).status_code == 400
    assert client.get(link_in(letters["old"])).status_code == 400
    assert person.rotate(client).profile(client).json() == person.user


def test_a_change_to_what_was_taken_meanwhile_is_refused(
    client: httpx.Client, person: Person, mail: Path
) -> None:
    new = Person()
    assert move(client, person, new.email).status_code == 200
    letter = letter_about(mail, new.email, "Confirm your new email address")
    new.register(client)
    assert body_of(client.post(CONFIRM, json={"token": token_in(letter)})) == (
        400,
        {"non_field_errors": ["user with this email already exists."]},
    )
    assert person.profile(client).json()["email"] == person.email


def test_a_reset_voids_a_change_under_way(client: httpx.Client, person: Person, mail: Path) -> None:
    new = Person().email
    assert move(client, person, new).status_code == 200
    token = token_in(letter_about(mail, new, "Confirm your new email address"))
    assert reset(client, forget(client, mail, person.email)).status_code == 200
    assert body_of(client.post(CONFIRM, json={"token": token})) == (400, INVALID_TICKET)
    again = Person(person.email, NEW_PASSWORD).log_in(client)
    assert "pending_email" not in again.user and again.user["email"] == person.email


# Passwords


def test_a_forgotten_password_is_reset_once(client: httpx.Client, person: Person, mail: Path) -> None:
    devices = [person, *(person.in_another_session().log_in(client) for _ in range(2))]
    first = forget(client, mail, person.email)
    for fields, problems in (
        ({}, {"token": REQUIRED, "new_password": REQUIRED, "confirm_password": REQUIRED}),
        (
            {"token": first, "new_password": "12345678", "confirm_password": "12345678"},
            {"new_password": ["This password is too common.", "This password is entirely numeric."]},
        ),
        (
            {"token": first, "new_password": NEW_PASSWORD, "confirm_password": NEW_PASSWORD + " "},
            {"non_field_errors": ["Passwords don't match"]},
        ),
        ({"token": first[:-1], "new_password": NEW_PASSWORD, "confirm_password": NEW_PASSWORD}, BAD_RESET),
    ):
        assert body_of(client.post("/api/reset-password/", json=fields)) == (400, problems)
    assert devices[1].profile(client).status_code == 200, "a refusal changes nothing"

    done = (200, {"message": "Password has been reset successfully."})
    assert body_of(reset(client, first)) == done
    assert body_of(reset(client, first)) == (400, BAD_RESET)
    for device in devices:
        assert body_of(device.profile(client)) == (401, ENDED)
        assert body_of(refresh(client, device.refresh)) == (401, INVALID_TOKEN)
    assert login_status(client, person, person.password) == 401
    again = Person(person.email, NEW_PASSWORD).log_in(client)
    assert again.user["is_email_verified"] is True
    letter_about(mail, person.email, "was reset")


def test_a_link_that_is_asked_for_again_is_the_same_and_good_once(client: httpx.Client, person: Person, mail: Path) -> None:
    first = forget(client, mail, person.email)
    assert client.post("/api/forgot-password/", json={"email": person.email}).status_code == 200
    both = letters_about(mail, person.email, "Choose a new password", 2)
    assert {reset_token(letter) for letter in both} == {first}
    assert reset(client, first).status_code == 200
    assert body_of(reset(client, first)) == (400, BAD_RESET)


def test_nobody_learns_who_has_an_account(client: httpx.Client, person: Person, mail: Path) -> None:
    nobody = Person().email
    for path, answer in (("/api/forgot-password/", REQUESTED), ("/api/resend-verification/", RESENT)):
        for address in (person.email, nobody):
            assert body_of(client.post(path, json={"email": address})) == (200, answer)
        assert body_of(client.post(path, json={"email": "nonsense"})) == (
            400,
            {"email": ["Enter a valid email address."]},
        )
    letter_about(mail, person.email, "Choose a new password")
    assert nobody not in {letter["To"] for letter in letters_in(mail)}


def test_a_reset_lets_in_who_was_locked_out(install: Install) -> None:
    installation = install()
    with installation.start().client() as client:
        person = Person().register(client)
        for _ in range(5):
            assert login_status(client, person, "wrong every time") == 401
        assert login_status(client, person, person.password) == 429
        assert reset(client, forget(client, installation.mail, person.email)).status_code == 200
        Person(person.email, NEW_PASSWORD).log_in(client)


def test_a_changed_password_ends_all_other_sessions(
    client: httpx.Client, person: Person, mail: Path
) -> None:
    other = person.in_another_session().log_in(client)
    link = forget(client, mail, person.email)
    for fields, problems in (
        ({"current_password": "wrong"}, {"current_password": ["Incorrect current password"]}),
        ({"confirm_password": "x"}, {"confirm_password": ["New passwords don't match."]}),
        (
            {"new_password": person.password, "confirm_password": person.password},
            {"new_password": ["New password must be different from current password."]},
        ),
    ):
        assert body_of(change(client, person, **fields)) == (400, problems)
    assert other.profile(client).status_code == 200, "a refusal changes nothing"

    done = {"message": "Password successfully changed"}
    assert body_of(change(client, person)) == (200, done)
    assert body_of(other.profile(client)) == (401, ENDED)
    assert refresh(client, other.refresh).status_code == 401
    assert person.rotate(client).profile(client).status_code == 200
    assert login_status(client, person, person.password) == 401
    Person(person.email, NEW_PASSWORD).log_in(client)
    assert body_of(reset(client, link)) == (400, BAD_RESET)
    letter_about(mail, person.email, "was changed")


def test_the_verification_mail_comes_again(client: httpx.Client, person: Person, mail: Path) -> None:
    letter_about(mail, person.email, "Confirm your email")
    assert body_of(client.post("/api/resend-verification/", json={"email": person.email})) == (200, RESENT)
    (token,) = {token_in(one) for one in letters_about(mail, person.email, "Confirm your email", 2)}
    assert client.post(CONFIRM, json={"token": token}).status_code == 200
    assert person.profile(client).json()["is_email_verified"] is True


# Sessions


def test_sessions_are_listed_and_ended(client: httpx.Client, person: Person) -> None:
    firefox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
    other, stranger = person.in_another_session(), Person().register(client).log_in(client)
    answer = client.post("/api/login/", json=person.credentials, headers={"User-Agent": firefox})
    other.access, other.refresh = answer.json()["access"], answer.json()["refresh"]

    newest, oldest = client.get("/api/sessions/", headers=person.bearer).json()
    assert (newest["device"], newest["user_agent"], newest["current"]) == (
        "Firefox on Windows",
        firefox,
        False,
    )
    assert oldest["current"] is True and newest["opened_at"] > oldest["opened_at"]
    assert newest["address"] == "127.0.0.1"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", newest["last_used"])

    (foreign,) = client.get("/api/sessions/", headers=stranger.bearer).json()
    for unknown in (foreign["id"], "0" * 32, "x", newest["id"][:-1]):
        answer = client.delete(f"/api/sessions/{unknown}/", headers=person.bearer)
        assert body_of(answer) == (404, {"detail": "Not found."})
    assert stranger.profile(client).status_code == 200

    answer = client.delete(f"/api/sessions/{newest['id']}/", headers=person.bearer)
    assert (answer.status_code, answer.content) == (204, b"")
    assert body_of(other.profile(client)) == (401, ENDED)
    assert refresh(client, other.refresh).status_code == 401
    answer = client.delete(f"/api/sessions/{newest['id']}/", headers=person.bearer)
    assert answer.status_code == 404, "what has ended is not there"
    assert len(client.get("/api/sessions/", headers=person.bearer).json()) == 1


def log_out(client: httpx.Client, how: str, person: Person) -> httpx.Response:
    if how == "bearer":
        return client.post("/api/logout/", headers=person.bearer)
    if how == "superseded":
        old = person.refresh
        person.rotate(client).rotate(client)
        return client.post("/api/logout/", json={"refresh": old})
    if how == "blacklist":
        return client.post("/api/token/blacklist/", json={"refresh": person.refresh})
    return client.post("/api/logout/", json={"refresh": person.refresh})


@pytest.mark.parametrize("how", ["bearer", "refresh", "superseded"])
def test_a_logout_ends_this_session_and_no_other(how: str, client: httpx.Client, person: Person) -> None:
    other = person.in_another_session().log_in(client)
    answer = log_out(client, how, person)
    assert (answer.status_code, answer.content) == (204, b"")
    assert body_of(person.profile(client)) == (401, ENDED)
    assert body_of(refresh(client, person.refresh)) == (401, INVALID_TOKEN)
    assert other.rotate(client).profile(client).status_code == 200
    for again in ("bearer", "refresh"):
        assert log_out(client, again, person).status_code == 204, "ending what is ended is success"
    for garbage in ("x", person.refresh[:-4] + "AAAA", person.access):
        assert client.post("/api/logout/", json={"refresh": garbage}).status_code == 401


def test_an_expired_refresh_token_logs_out_too(install: Install) -> None:
    lifetimes = {"access_lifetime": "1s", "refresh_lifetime": "1s"}
    with install({"tokens": lifetimes}).start().client() as client:
        person = Person().register(client).log_in(client)
        sent = {"token": person.refresh}
        verify = "/api/token/verify/"
        wait_until(lambda: client.post(verify, json=sent).status_code == 401, what="it to expire")
        assert refresh(client, person.refresh).status_code == 401
        assert log_out(client, "refresh", person).status_code == 204


def test_an_expired_access_token_logs_out_and_does_nothing_else(install: Install) -> None:
    with install({"tokens": {"access_lifetime": "1s"}}).start().client() as client:
        person = Person().register(client).log_in(client)
        wait_until(lambda: person.profile(client).status_code == 401, what="it to expire")
        for method, path in PROTECTED:
            if path != "/api/logout/":
                answer = client.request(method, path, headers=person.bearer)
                assert body_of(answer) == (401, ENDED), (method, path)
        for _ in range(2):
            answer = log_out(client, "bearer", person)
            assert (answer.status_code, answer.content) == (204, b"")
            assert body_of(refresh(client, person.refresh)) == (401, INVALID_TOKEN)


def test_a_logout_everywhere(client: httpx.Client, person: Person) -> None:
    devices = [person, person.in_another_session().log_in(client)]
    stranger = Person().register(client).log_in(client)
    answer = client.post("/api/logout/all/", headers=person.bearer)
    assert (answer.status_code, answer.content) == (204, b"")
    for device in devices:
        assert device.profile(client).status_code == 401
        assert refresh(client, device.refresh).status_code == 401
    assert stranger.profile(client).status_code == 200
    person.log_in(client)


# SimpleJWT's other endpoints


def test_tokens_are_verified_as_simplejwt_does(client: httpx.Client, person: Person) -> None:
    def verified(token: Any) -> tuple[int, Any]:
        return body_of(client.post("/api/token/verify/", json={"token": token}))

    assert body_of(client.post("/api/token/verify/", json={})) == (400, {"token": REQUIRED})
    assert verified(None) == (400, {"token": NULL})
    assert verified(person.access) == verified(person.refresh) == (200, {})
    assert verified("garbage") == verified(person.access[:-4] + "AAAA") == (401, INVALID_TOKEN)
    old = person.refresh
    person.rotate(client).rotate(client)
    for _ in range(3):
        assert verified(old) == (401, INVALID_TOKEN)
    assert person.rotate(client).profile(client).status_code == 200, "looking is no reuse"
    assert body_of(log_out(client, "blacklist", person)) == (200, {})
    assert verified(person.access) == verified(person.refresh) == (401, INVALID_TOKEN)
    assert refresh(client, person.refresh).status_code == 401
    assert body_of(client.post("/api/token/blacklist/", json={"refresh": "x"})) == (401, INVALID_TOKEN)


# Deletion


def test_a_deleted_account_leaves_its_address_free(client: httpx.Client, person: Person, mail: Path) -> None:
    other = person.in_another_session().log_in(client)
    link = forget(client, mail, person.email)
    assert body_of(delete(client, person)) == (400, {"password": REQUIRED})
    assert body_of(delete(client, person, password="wrong")) == (400, {"password": ["Incorrect password"]})
    assert other.profile(client).status_code == 200, "a refusal changes nothing"

    answer = delete(client, person, password=person.password)
    assert (answer.status_code, answer.content) == (204, b"")
    for device in (person, other):
        assert body_of(device.profile(client)) == (
            401,
            {"detail": "User not found", "code": "user_not_found"},
        )
        assert refresh(client, device.refresh).status_code == 401
    assert login_status(client, person, person.password) == 401
    assert body_of(reset(client, link)) == (400, BAD_RESET)
    letter_about(mail, person.email, "was deleted")

    again = Person(person.email, NEW_PASSWORD, person.username).register(client).log_in(client)
    assert again.user["id"] != person.user["id"]
    assert person.profile(client).status_code == 401


# Cookies


def cookie_of(answer: httpx.Response) -> tuple[str, set[str]]:
    """The value of the cookie that is set, and its attributes but for its age."""
    (header,) = answer.headers.get_list("set-cookie")
    pair, *attributes = header.split("; ")
    name, value = pair.split("=", 1)
    assert name == COOKIE
    return value, {one for one in attributes if not one.startswith("Max-Age=")}


def with_cookie(value: str, origin: str | None) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={value}"} | ({"Origin": origin} if origin is not None else {})


def test_cookies_keep_the_refresh_token_from_scripts(install: Install) -> None:
    config = {"cookies": {"enabled": True}, "server": {"allowed_origins": [FRONTEND]}}
    server = install(config).start()
    with server.client() as client:
        person = Person().register(client)
        answer = client.post(
            "/api/login/", json=person.credentials | {"cookie": True}, headers={"Origin": FRONTEND}
        )
        assert answer.status_code == 200 and set(answer.json()) == {"access", "user"}
        assert answer.headers["access-control-allow-credentials"] == "true"
        token, attributes = cookie_of(answer)
        assert attributes == {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"}
        client.cookies.clear()

        for origin in (None, "null", "http://evil.example", FRONTEND + ".evil.example"):
            host = {"Host": "evil.example"} if origin == "http://evil.example" else {}
            for path in ("/api/token/refresh/", "/api/logout/"):
                answer = client.post(path, headers=with_cookie(token, origin) | host)
                assert body_of(answer) == (403, CROSS_SITE), (path, origin)
                assert "set-cookie" not in answer.headers
                assert "access-control-allow-credentials" not in answer.headers

        # Both the app's origin and our own may rely on it; nothing above has used the token up.
        for origin in (FRONTEND, server.url):
            answer = client.post("/api/token/refresh/", headers=with_cookie(token, origin))
            assert answer.status_code == 200 and set(answer.json()) == {"access"}
            client.cookies.clear()
            token = cookie_of(answer)[0]
        person.access = answer.json()["access"]
        assert person.profile(client).status_code == 200

        answer = client.post("/api/logout/", headers=with_cookie(token, FRONTEND))
        assert answer.status_code == 204
        assert cookie_of(answer)[0] == "" and "Max-Age=0" in answer.headers["set-cookie"]
        assert person.profile(client).status_code == 401
        answer = client.post("/api/token/refresh/", headers=with_cookie(token, FRONTEND))
        assert body_of(answer) == (401, INVALID_TOKEN) and cookie_of(answer)[0] == ""
        # Without the wish for a cookie there is none.
        answer = client.post("/api/login/", json=person.credentials)
        assert "refresh" in answer.json() and "set-cookie" not in answer.headers


def test_cookies_are_off_unless_switched_on(client: httpx.Client, person: Person) -> None:
    answer = client.post("/api/login/", json=person.credentials | {"cookie": True})
    assert answer.status_code == 400 and list(answer.json()) == ["cookie"]
    answer = client.post("/api/token/refresh/", headers=with_cookie(person.refresh, FRONTEND))
    assert body_of(answer) == (400, {"refresh": REQUIRED})
    answer = client.get("/api/profile/", headers={"Origin": FRONTEND})
    assert "access-control-allow-credentials" not in answer.headers


# kill -9


class Killed:
    """An account whose server is killed straight after it has answered to a change."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        with installation.start().client() as client:
            self.person = Person().register(client).log_in(client)
            self.other = self.person.in_another_session().log_in(client)
            self.token = forget(client, installation.mail, self.person.email)

    def after(self, act: Callable[[httpx.Client], httpx.Response]) -> httpx.Client:
        server = self.installation.servers[-1]
        with server.client() as client:
            answer = act(client)
            server.kill()
        assert answer.status_code in (200, 204), answer.text
        return self.installation.start().client()


@pytest.fixture
def killed(install: Install) -> Killed:
    # An issuer of its own: access tokens are to be good after the restart on another port.
    return Killed(install({"tokens": {"issuer": "https://accounts.example.org"}}))


def test_kill_9_after_a_reset(killed: Killed) -> None:
    person = killed.person
    with killed.after(lambda client: reset(client, killed.token)) as client:
        assert login_status(client, person, person.password) == 401
        for device in (person, killed.other):
            assert device.profile(client).status_code == 401
            assert refresh(client, device.refresh).status_code == 401
        assert body_of(reset(client, killed.token, "another one 8")) == (400, BAD_RESET)
        Person(person.email, NEW_PASSWORD).log_in(client)
        letter_about(killed.installation.mail, person.email, "was reset")


def test_kill_9_after_a_change_of_password(killed: Killed) -> None:
    person = killed.person
    with killed.after(lambda client: change(client, person)) as client:
        assert login_status(client, person, person.password) == 401
        assert killed.other.profile(client).status_code == 401
        assert refresh(client, killed.other.refresh).status_code == 401
        assert person.rotate(client).profile(client).status_code == 200
        assert body_of(reset(client, killed.token)) == (400, BAD_RESET)
        Person(person.email, NEW_PASSWORD).log_in(client)
        letter_about(killed.installation.mail, person.email, "was changed")


@pytest.mark.parametrize("how", ["bearer", "refresh", "blacklist"])
def test_kill_9_after_a_logout(how: str, killed: Killed) -> None:
    with killed.after(lambda client: log_out(client, how, killed.person)) as client:
        assert killed.person.profile(client).status_code == 401
        assert refresh(client, killed.person.refresh).status_code == 401
        assert killed.other.rotate(client).profile(client).status_code == 200


def test_kill_9_after_a_deletion(killed: Killed) -> None:
    person = killed.person
    with killed.after(lambda client: delete(client, person, password=person.password)) as client:
        assert login_status(client, person, person.password) == 401
        for device in (person, killed.other):
            assert device.profile(client).status_code == 401
            assert refresh(client, device.refresh).status_code == 401
        assert body_of(reset(client, killed.token)) == (400, BAD_RESET)
        letter_about(killed.installation.mail, person.email, "was deleted")
        again = Person(person.email).register(client).log_in(client)
        assert again.user["id"] != person.user["id"]


def test_kill_9_after_a_change_of_address_is_asked_for(killed: Killed) -> None:
    person, new = killed.person, Person().email
    with killed.after(lambda client: move(client, person, new)) as client:
        assert body_of(person.profile(client)) == (200, person.user | {"pending_email": new})
        token = token_in(letter_about(killed.installation.mail, new, "Confirm your new email address"))
        assert client.post(CONFIRM, json={"token": token}).status_code == 200
        assert person.profile(client).json()["email"] == new
