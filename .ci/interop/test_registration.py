"""Becoming a user: registration, and the click that confirms an address."""

from __future__ import annotations

import asyncio
import re
import secrets
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from conftest import Install
from latchkey import Installation, Person, Server, refresh
from letters import letter_to, letters_in, link_in, press, token_in
from wire import (
    BLANK,
    CONFIRM,
    FRONTEND,
    INVALID_TICKET,
    NO_EMAIL,
    NO_STRING,
    NO_USERNAME,
    NUL,
    NULL,
    REGISTERED,
    REQUIRED,
    WRONG_CREDENTIALS,
    body_of,
)

# Registration


def test_a_first_session_from_registration_to_profile(
    client: httpx.Client, installation: Installation
) -> None:
    before = datetime.now(UTC).timestamp()
    person = Person(username=f"jo-{secrets.token_hex(4)}")
    assert body_of(client.post("/api/register/", json=person.registration)) == (201, REGISTERED)

    answer = client.post("/api/login/", json=person.credentials)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert list(answer.json()) == ["refresh", "access", "user"]
    user = answer.json()["user"]
    assert list(user) == ["id", "email", "username", "is_email_verified", "created_at"]
    assert type(user["id"]) is int and user["id"] >= 1
    assert (user["email"], user["username"], user["is_email_verified"]) == (
        person.email,
        person.username,
        False,
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", user["created_at"])
    assert before - 1 <= datetime.fromisoformat(user["created_at"]).timestamp() <= before + 20

    person.log_in(client)
    answer = person.profile(client)
    assert body_of(answer) == (200, user)
    assert answer.headers["cache-control"] == "no-store"

    answer = refresh(client, person.refresh)
    assert answer.status_code == 200
    assert list(answer.json()) == ["access", "refresh"]
    assert answer.headers["cache-control"] == "no-store"


def test_the_first_user_is_number_one(install: Install) -> None:
    with install().start().client() as client:
        assert [Person().register(client).log_in(client).user["id"] for _ in range(3)] == [1, 2, 3]


GOOD_PASSWORD = "correct horse 7"
REGISTRATION_CASES: list[tuple[str, dict[str, Any], dict[str, list[str]]]] = [
    ("null", {"email": None, "password": None, "password_confirm": None}, {"email": NULL, "password": NULL, "password_confirm": NULL}),
    ("empty", {"email": "", "password": "", "password_confirm": ""}, {"email": BLANK, "password": BLANK, "password_confirm": BLANK}),
    ("blanks", {"email": " ", "password": "         ", "password_confirm": "\t"}, {"email": BLANK, "password": BLANK, "password_confirm": BLANK}),
    ("a bool, a number, a list", {"email": True, "password": 12345678901234567890, "password_confirm": ["x"]}, {"email": NO_STRING, "password": NO_STRING, "password_confirm": NO_STRING}),
    ("an object, a float", {"email": {}, "username": 1.5}, {"email": NO_STRING, "username": NO_STRING}),
    ("NUL", {"email": "a\0@example.org", "username": "a\0", "password": "abc\0defghi", "password_confirm": "abc\0defghi"}, {"email": NUL, "username": NUL, "password": NUL, "password_confirm": NUL}),
    ("no email address", {"email": "nobody"}, {"email": NO_EMAIL}),
    ("a quoted local part", {"email": '"a b"@example.org'}, {"email": NO_EMAIL}),
    ("a local part beyond ASCII", {"email": "jürgen@example.org"}, {"email": NO_EMAIL}),
    ("an email too long", {"email": "a@" + "b." * 130 + "org"}, {"email": ["Ensure this field has no more than 254 characters."]}),
    ("a username too long", {"username": "u" * 151}, {"username": ["Ensure this field has no more than 150 characters."]}),
    ("a username with a blank", {"username": "a b"}, {"username": NO_USERNAME}),
    ("too short, counted in characters", {"password": "äöüßäöü"}, {"password": ["Ensure this field has at least 8 characters."]}),
    ("too long, counted in bytes", {"password": "ä1" * 342}, {"password": ["Ensure this field has no more than 1024 bytes."]}),
    ("too common", {"password": "Password1"}, {"password": ["This password is too common."]}),
    ("all digits", {"password": "8305617294650"}, {"password": ["This password is entirely numeric."]}),
    ("all digits and common", {"password": "1234567890"}, {"password": ["This password is too common.", "This password is entirely numeric."]}),
    ("similar to the email", {"email": "willow@example.org", "password": "xx-WILLOW-xx"}, {"password": ["The password is too similar to the email."]}),
    ("similar to the username", {"username": "marigold", "password": "marigold-77"}, {"password": ["The password is too similar to the username."]}),
    ("two passwords that differ", {"password_confirm": GOOD_PASSWORD + " "}, {"non_field_errors": ["Passwords don't match"]}),
    ("fields first, then the rest", {"email": "nobody", "password_confirm": "another one 7"}, {"email": NO_EMAIL}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "errors"),
    [case[1:] for case in REGISTRATION_CASES],
    ids=[case[0] for case in REGISTRATION_CASES],
)
def test_registration_says_all_that_is_wrong(
    fields: dict[str, Any], errors: dict[str, list[str]], client: httpx.Client, installation: Installation
) -> None:
    sent = {"email": f"{secrets.token_hex(8)}@example.net", "password": GOOD_PASSWORD} | fields
    sent = {"password_confirm": sent["password"]} | sent
    answer = client.post("/api/register/", json=sent)
    # A password's own errors may be told of its repetition too, or not: it is the same text.
    told = {
        field: messages
        for field, messages in answer.json().items()
        if field in errors or field != "password_confirm"
    }
    assert (answer.status_code, told) == (400, errors)
    if isinstance(sent["email"], str) and isinstance(sent["password"], str):
        login = client.post("/api/login/", json={"email": sent["email"], "password": sent["password"]})
        assert login.status_code in (400, 401), "a refusal makes no account"
        assert sent["email"] not in [letter["To"] for letter in letters_in(installation.mail)]


def test_registration_without_anything(client: httpx.Client) -> None:
    errors = {"email": REQUIRED, "password": REQUIRED, "password_confirm": REQUIRED}
    for options in ({"json": {}}, {"data": {}}, {}, {"json": {"unknown": 1}}):
        assert body_of(client.post("/api/register/", **options)) == (400, errors)


@pytest.mark.parametrize("username", ["", None, "absent"])
def test_a_username_is_optional(username: str | None, client: httpx.Client) -> None:
    person = Person()
    fields: dict[str, Any] = person.registration | {"username": username}
    if username == "absent":
        del fields["username"]
    assert client.post("/api/register/", json=fields).status_code == 201
    assert person.log_in(client).user["username"] == ""


def test_an_address_and_a_name_are_taken_in_any_letter_case(client: httpx.Client) -> None:
    tag = secrets.token_hex(4)
    Person(f"Mixed.{tag}@Example.org", username=f"Nämé-{tag}").register(client)
    again = Person(f"mixed.{tag}@eXAMPLE.ORG", username=f"NÄMÉ-{tag}")
    assert body_of(client.post("/api/register/", json=again.registration)) == (
        400,
        {
            "email": ["user with this email already exists."],
            "username": ["A user with that username already exists."],
        },
    )
    another = Person(username=f"nämé-{tag}")
    assert body_of(client.post("/api/register/", json=another.registration)) == (
        400,
        {"username": ["A user with that username already exists."]},
    )
    assert client.post("/api/login/", json=another.credentials).status_code == 401


def test_two_people_at_once_with_one_address_make_one_account(
    server: Server, installation: Installation
) -> None:
    person = Person()

    async def race() -> list[httpx.Response]:
        async with server.async_client() as client:
            return await asyncio.gather(
                *(client.post("/api/register/", json=person.registration) for _ in range(16))
            )

    answers = asyncio.run(race())
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 15
    letter_to(installation.mail, person.email)
    with server.client() as client:
        person.log_in(client)


def test_registration_can_be_closed(install: Install) -> None:
    with install({"registration": {"enabled": False}}).start().client() as client:
        answer = client.post("/api/register/", json=Person().registration)
        assert body_of(answer) == (403, {"detail": "Registration is closed."})


def test_what_is_trimmed_and_what_is_not(client: httpx.Client) -> None:
    person = Person(password="  blanks on both sides  ")
    fields = person.registration | {"email": f"  {person.email}\n", "username": f" {secrets.token_hex(4)} "}
    assert client.post("/api/register/", json=fields).status_code == 201
    assert person.log_in(client).user["username"] == fields["username"].strip()
    trimmed = {"email": person.email, "password": person.password.strip()}
    assert body_of(client.post("/api/login/", json=trimmed)) == (401, WRONG_CREDENTIALS)


def test_forms_do_what_json_does(client: httpx.Client) -> None:
    person = Person()
    assert body_of(client.post("/api/register/", data=person.registration)) == (201, REGISTERED)
    answer = client.post("/api/login/", data=person.credentials)
    assert answer.status_code == 200
    assert client.post("/api/token/refresh/", data={"refresh": answer.json()["refresh"]}).status_code == 200


def test_a_stale_authorization_header_hurts_no_public_endpoint(client: httpx.Client) -> None:
    person = Person()
    stale = {"Authorization": "Bearer " + "x" * 40}
    assert client.post("/api/register/", json=person.registration, headers=stale).status_code == 201
    answer = client.post("/api/login/", json=person.credentials, headers=stale)
    assert answer.status_code == 200
    sent = {"refresh": answer.json()["refresh"]}
    assert client.post("/api/token/refresh/", json=sent, headers=stale).status_code == 200


# Confirmation


def registered(client: httpx.Client, installation: Installation) -> tuple[Person, str, str]:
    """Someone who has a letter, with its link and the token in it."""
    person = Person().register(client)
    letter = letter_to(installation.mail, person.email)
    return person.log_in(client), link_in(letter), token_in(letter)


def is_verified(client: httpx.Client, person: Person) -> bool:
    return person.profile(client).json()["is_email_verified"]


def test_only_a_click_confirms(client: httpx.Client, installation: Installation) -> None:
    person, link, _ = registered(client, installation)
    for method in ("GET", "HEAD", "OPTIONS", "GET"):
        assert client.request(method, link).status_code in (200, 204)
        assert not is_verified(client, person)
    page = client.get(link)
    assert person.email in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "form-action 'self'" in policy
    assert "<script" not in page.text.lower()
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    answer = press(client, page, "confirm")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert is_verified(client, person)
    # The second click finds no error, and the link shows no button that would do nothing.
    assert press(client, page, "confirm").status_code == 200
    assert client.get(link).status_code == 200


def test_json_confirms(client: httpx.Client, installation: Installation) -> None:
    person, _, token = registered(client, installation)
    answer = client.post(CONFIRM, json={"token": f" {token} "})
    assert body_of(answer) == (200, {"message": "Email verified successfully"})
    assert is_verified(client, person)


def test_a_token_that_was_made_up_confirms_nothing(client: httpx.Client, installation: Installation) -> None:
    person, _, token = registered(client, installation)
    swapped = "A" if token[-2] != "A" else "B"
    for wrong in (
        token[:-2] + swapped + token[-1],
        token[:-1],
        token + "A",
        "x",
        "ä",
        "A" * 64,
        person.access,
    ):
        assert body_of(client.post(CONFIRM, json={"token": wrong})) == (400, INVALID_TICKET)
        page = client.get(CONFIRM, params={"token": wrong})
        assert page.status_code == 400 and page.headers["content-type"].startswith("text/html")
    assert client.get(CONFIRM).status_code == 400
    assert body_of(client.post(CONFIRM, json={})) == (400, {"token": REQUIRED})
    assert not is_verified(client, person)


def test_confirm_by_link_confirms_at_the_get_but_not_at_a_head(install: Install) -> None:
    installation = install({"registration": {"confirm": "link"}})
    with installation.start().client() as client:
        person, link, _ = registered(client, installation)
        assert client.head(link).status_code == 200
        assert not is_verified(client, person)
        assert client.get(link).status_code == 200
        assert is_verified(client, person)


@pytest.mark.parametrize("confirm", ["click", "link"])
def test_a_front_end_is_where_confirming_leads(confirm: str, install: Install) -> None:
    installation = install({"registration": {"confirm": confirm}, "server": {"frontend_url": FRONTEND}})

    def leads_to(answer: httpx.Response) -> str:
        assert answer.status_code == 303
        return answer.headers["location"]

    with installation.start().client() as client:
        person, link, _ = registered(client, installation)
        if confirm == "click":
            page = client.get(link)
            assert page.status_code == 200
            assert FRONTEND in page.headers["content-security-policy"]
            assert leads_to(press(client, page, "confirm")) == f"{FRONTEND}/verification/success"
            assert leads_to(press(client, page, "confirm")) == f"{FRONTEND}/verification/already-verified"
        else:
            assert leads_to(client.get(link)) == f"{FRONTEND}/verification/success"
            assert leads_to(client.get(link)) == f"{FRONTEND}/verification/already-verified"
        assert is_verified(client, person)
        for query in ("", "?token=", "?token=made-up"):
            assert leads_to(client.get(CONFIRM + query)) == f"{FRONTEND}/verification/error"


def test_whoever_did_not_register_can_say_so(client: httpx.Client, installation: Installation) -> None:
    person, link, token = registered(client, installation)
    sure = press(client, client.get(link), "disown")
    assert sure.status_code == 200
    assert person.profile(client).status_code == 200, "it takes a second, confirming click"
    assert press(client, sure, "keep").status_code == 200
    assert person.profile(client).status_code == 200
    assert press(client, sure, "disown_confirmed").status_code == 200
    assert person.profile(client).status_code == 401
    assert client.post("/api/login/", json=person.credentials).status_code == 401
    assert body_of(client.post(CONFIRM, json={"token": token})) == (400, INVALID_TICKET)


def test_an_unconfirmed_address_can_be_kept_out(install: Install) -> None:
    installation = install({"login": {"require_verified_email": True}})
    with installation.start().client() as client:
        person = Person().register(client)
        assert body_of(client.post("/api/login/", json=person.credentials)) == (
            403,
            {"detail": "Email address is not verified.", "code": "email_not_verified"},
        )
        wrong = person.credentials | {"password": "another one 7"}
        assert body_of(client.post("/api/login/", json=wrong)) == (401, WRONG_CREDENTIALS)
        token = token_in(letter_to(installation.mail, person.email))
        assert client.post(CONFIRM, json={"token": token}).status_code == 200
        person.log_in(client)
