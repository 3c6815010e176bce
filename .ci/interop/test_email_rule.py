"""The rule for email addresses beside that of a browser: the table that the tests hold ours against."""

from __future__ import annotations

import os

import pytest
from playwright.sync_api import sync_playwright

from latchkey import REPOSITORY
from test_pages import ARGUMENTS

# Address, whether HTML's rule takes it, whether ours does, and why not the same.
Row = tuple[str, str, str, str]


def rows() -> list[Row]:
    text = (REPOSITORY / "tests/it/email_rule.tsv").read_text()
    lines = [line for line in text.split("\n") if line and not line.startswith("# ")]
    return [(address, html, ours, why) for address, html, ours, why in (line.split("\t") for line in lines)]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, bool]:
    """What `<input type=email>` says of each address of the table, typed into it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ["LATCHKEY_TEST_CHROMIUM"], args=ARGUMENTS
        )
        page = browser.new_page()
        page.set_content("<input type=email required>")
        answers = {}
        for address, *_ in rows():
            # Typed as people do: a browser puts the ASCII form of a domain into what is typed, and
            # leaves alone what a script sets.
            page.locator("input").fill("")
            page.keyboard.insert_text(address)
            answers[address] = page.locator("input").evaluate("input => input.validity.valid")
        browser.close()
    return answers


def test_the_browser_holds_to_the_rule_that_ours_is_held_against(verdicts: dict[str, bool]) -> None:
    for address, html, _, _ in rows():
        # Browsers put the ASCII form of a domain in its place before they look.
        assert verdicts[address] == (html != "no"), address
    assert {True, False} == set(verdicts.values())


def test_whatever_the_browser_takes_we_take_but_for_what_is_named(verdicts: dict[str, bool]) -> None:
    for address, _, ours, why in rows():
        assert verdicts[address] == (ours == "yes") or why != "same", address
