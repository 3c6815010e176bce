"""The pages behind mailed links, in a browser that people have: by day and night, on phone and desk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from latchkey import Installation, Person
from letters import letter_about, letter_to, link_in, reset_token

NEW_PASSWORD = 'a new pässword \\"7/'

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"phone": {"width": 360, "height": 640}, "desktop": {"width": 1280, "height": 800}}
LOOKS = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]
# The least contrast of text, by WCAG 2.2.
CONTRAST = 4.5


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as made:
        yield made


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    made = playwright.chromium.launch(
        executable_path=os.environ["LATCHKEY_TEST_CHROMIUM"], args=ARGUMENTS
    )
    yield made
    made.close()


@pytest.fixture(params=LOOKS, ids=["-".join(look) for look in LOOKS])
def page(request: pytest.FixtureRequest, browser: Browser, installation: Installation) -> Iterator[Page]:
    """A page on which nothing may be complained of and nothing fetched from anywhere else."""
    size, scheme = request.param
    context = browser.new_context(
        viewport=SIZES[size], color_scheme=scheme, is_mobile=size == "phone", has_touch=size == "phone"
    )
    made = context.new_page()
    made.set_default_timeout(20_000)
    complaints: list[str] = []
    requested: list[str] = []
    # A refusal of the Content Security Policy is a message as well. An answer of 4xx is one too,
    # but only tells what the tests look at themselves.
    made.on("console", lambda message: complaints.append(message.text))
    made.on("pageerror", lambda error: complaints.append(str(error)))
    context.on("request", lambda sent: requested.append(sent.url))
    yield made
    context.close()
    expected = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d ")
    assert [one for one in complaints if not expected.match(one)] == []
    own = urlsplit(installation.servers[0].url).netloc
    assert {urlsplit(url).netloc for url in requested} == {own}


def looks_right(page: Page) -> None:
    """It fits its screen, fingers hit its buttons, and its text stands out from its ground."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    expect(page.locator("h1")).to_be_visible()
    for target in page.locator("button:visible, input:visible").all():
        box = target.bounding_box()
        assert box is not None and box["height"] >= 44
    for text in page.locator("h1, p, dd, dt, label, li, button").all():
        colours = text.evaluate(
            """element => {
                let ground = element;
                while (ground && /, 0\\)$|transparent/.test(getComputedStyle(ground).backgroundColor))
                    ground = ground.parentElement;
                return [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor];
            }"""
        )
        assert contrast(*colours) >= CONTRAST, (text.inner_text(), colours)
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    ground = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (ground < 0.2) == dark


def luminance(colour: str) -> float:
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def opened(page: Page, url: str, title: str) -> None:
    answer = page.goto(url)
    assert answer is not None and answer.status == 200
    arrived(page, title)


def arrived(page: Page, title: str) -> None:
    expect(page.locator("h1")).to_have_text(re.compile(title))
    looks_right(page)


def press(page: Page, button: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()


def choose(page: Page, password: str, repeated: str) -> None:
    page.get_by_label("New password", exact=True).fill(password)
    page.get_by_label("Repeat the new password", exact=True).fill(repeated)
    press(page, "Change the password")


@pytest.fixture
def person(client: httpx.Client) -> Person:
    return Person().register(client)


@pytest.fixture
def link(person: Person, installation: Installation) -> str:
    return link_in(letter_to(installation.mail, person.email))


def logged_in(client: httpx.Client, person: Person, password: str) -> Person:
    return Person(person.email, password).log_in(client)


def test_confirming(page: Page, link: str, person: Person, client: httpx.Client) -> None:
    opened(page, link, "[Cc]onfirm")
    expect(page.get_by_text(person.email)).to_be_visible()
    assert person.log_in(client).user["is_email_verified"] is False
    press(page, "Yes, confirm this address")
    arrived(page, "Your address is confirmed")
    assert person.log_in(client).user["is_email_verified"] is True
    opened(page, link, "Your address is already confirmed")


def test_i_did_not_choose_the_password(page: Page, link: str, person: Person, client: httpx.Client) -> None:
    """The mail goes to the owner of an address with which somebody else has registered."""
    person.log_in(client)
    opened(page, link, "[Cc]onfirm")
    press(page, "It is my address, but I did not choose the password")
    arrived(page, "password")
    assert page.get_by_label("Address of the account").input_value() == person.email
    choose(page, NEW_PASSWORD, NEW_PASSWORD)
    arrived(page, "Your new password is set")
    assert person.profile(client).status_code == 401
    assert client.post("/api/login/", json=person.credentials).status_code == 401
    assert logged_in(client, person, NEW_PASSWORD).user["is_email_verified"] is True


def test_a_reset_by_form(
    page: Page, person: Person, client: httpx.Client, installation: Installation
) -> None:
    assert client.post("/api/forgot-password/", json={"email": person.email}).status_code == 200
    token = reset_token(letter_about(installation.mail, person.email, "Choose a new password"))
    url = f"{installation.servers[0].url}/reset-password/{token}"
    opened(page, url, "password")
    new, repeated = (page.locator(name) for name in ("#new-password", "#confirm-password"))
    for field in (new, repeated):
        expect(field).to_have_attribute("autocomplete", "new-password")

    # What is too short the browser refuses by itself; it sends nothing.
    choose(page, "short", "short")
    assert page.url == url and new.evaluate("field => !field.validity.valid")

    for password, other, field, problem in (
        ("password123", "password123", "new-password", "one of the most common"),
        (NEW_PASSWORD, NEW_PASSWORD + "x", "confirm-password", "not the same"),
    ):
        choose(page, password, other)
        expect(page.locator(f"#{field}-problem")).to_contain_text(problem)
        looks_right(page)
        marked = page.locator(f"#{field}")
        expect(marked).to_have_attribute("aria-invalid", "true")
        expect(marked).to_be_focused()
        assert f"{field}-problem" in str(marked.get_attribute("aria-describedby")).split()
        expect(page.get_by_role("alert")).to_be_visible()
        assert new.input_value() == repeated.input_value() == "", "no password comes back"
        person.log_in(client)

    choose(page, NEW_PASSWORD, NEW_PASSWORD)
    arrived(page, "Your new password is set")
    assert person.profile(client).status_code == 401
    logged_in(client, person, NEW_PASSWORD)
    answer = page.goto(url)
    assert answer is not None and answer.status == 200
    arrived(page, "Your password has been changed already")


def test_this_was_not_me(page: Page, link: str, person: Person, client: httpx.Client) -> None:
    opened(page, link, "[Cc]onfirm")
    press(page, "This was not me")
    arrived(page, "Remove")
    person.log_in(client)
    press(page, "No, keep the account")
    arrived(page, "Nothing was changed")
    person.log_in(client)

    opened(page, link, "[Cc]onfirm")
    press(page, "This was not me")
    arrived(page, "Remove")
    press(page, "Yes, remove the account")
    arrived(page, "The account is removed")
    assert client.post("/api/login/", json=person.credentials).status_code == 401
    Person(person.email).register(client)


@pytest.mark.parametrize("whose", ["old", "new"])
def test_a_change_of_address_is_called_off(
    whose: str, page: Page, client: httpx.Client, installation: Installation
) -> None:
    person, new = Person().register(client).log_in(client), Person().email
    sent = {"email": new, "current_password": person.password}
    assert client.patch("/api/profile/", json=sent, headers=person.bearer).status_code == 200
    if whose == "old":
        opened(page, link_in(letter_about(installation.mail, person.email, "about to change")), "Cancel the change")
        press(page, "Cancel the change")
    else:
        opened(page, link_in(letter_about(installation.mail, new, "new email address")), "Confirm your new address")
        press(page, "This was not me")
    arrived(page, "The change is cancelled")
    assert person.profile(client).json() == person.user
