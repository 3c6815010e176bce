"""What the page of another origin can do, in a real browser: calls, refusals that it can read, and the cookie."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser

from conftest import Install
from latchkey import Person
from test_pages import browser, playwright

__all__ = ["browser", "playwright"]

FETCH = """async ([url, method, headers, body]) => {
    try {
        const answer = await fetch(url, { method, headers, body, credentials: "include" });
        return [answer.status, await answer.text(), answer.headers.get("x-request-id")];
    } catch (error) {
        return [0, String(error), null];
    }
}"""
# Answers status and body; 0 for a network error, which is all that a script learns of a refused call.
Fetch = Callable[..., tuple[int, Any]]


class EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def frontend() -> Iterator[str]:
    """The origin of an app on this machine. Chromium lets no page from elsewhere call a loopback address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


@pytest.fixture
def fetch_from(browser: Browser) -> Iterator[Callable[[str], Fetch]]:
    """Opens an empty page at an origin, and fetches from there."""
    context = browser.new_context()

    def open_at(origin: str) -> Fetch:
        page = context.new_page()
        page.goto(f"{origin}/")

        def fetch(url: str, method: str = "POST", body: Any = None, **headers: str) -> tuple[int, Any]:
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            if body is not None:
                headers["content-type"] = "application/json"
            sent = None if body is None else json.dumps(body)
            status, text, request_id = page.evaluate(FETCH, [url, method, headers, sent])
            assert (request_id is None) == (status == 0)
            return status, json.loads(text) if status and text else text

        return fetch

    yield open_at
    context.close()


def test_an_allowed_origin_calls_with_credentials_and_headers_and_reads_refusals(
    fetch_from: Callable[[str], Fetch], frontend: str, install: Install
) -> None:
    server = install({"server": {"allowed_origins": [frontend]}}).start()
    with server.client() as client:
        person = Person().register(client)
    fetch = fetch_from(frontend)
    extra = {"X_Requested_With": "XMLHttpRequest", "traceparent": "00-1-2-01", "X_CSRFToken": "x"}
    status, tokens = fetch(f"{server.url}/api/login/", body=person.credentials, **extra)
    assert status == 200
    bearer = {"Authorization": f"Bearer {tokens['access']}", "X_Requested_With": "XMLHttpRequest"}
    assert fetch(f"{server.url}/api/profile/", "GET", **bearer)[0] == 200
    for path, method, expected in [
        ("/api/profil/", "GET", 404),
        ("/api/nowhere", "PATCH", 404),
        ("/api/login/", "DELETE", 405),
        ("/api/profile/", "GET", 401),
    ]:
        assert fetch(f"{server.url}{path}", method, X_Requested_With="x")[0] == expected, path
    # Who may say for whom a call is made.
    assert fetch(f"{server.url}/api/profile/", "GET", X_Forwarded_For="192.0.2.1")[0] == 0
    # A page is for people alone, and scripts of other origins have nothing to ask outside the API.
    assert fetch(f"{server.url}/reset-password/", "GET")[0] == 0
    assert fetch(f"{server.url}/nowhere", "PATCH")[0] == 0
    stranger = fetch_from(frontend.replace("localhost", "127.0.0.1"))
    assert stranger(f"{server.url}/api/login/", body=person.credentials)[0] == 0
    assert stranger(f"{server.url}/healthz", "GET")[0] == 0


def test_the_cookie_is_for_pages_of_the_same_site(
    fetch_from: Callable[[str], Fetch], frontend: str, install: Install
) -> None:
    server = install({"server": {"allowed_origins": [frontend]}, "cookies": {"enabled": True}}).start()
    assert "can never use the refresh cookie" in server.log_text()
    with server.client() as client:
        login = Person().register(client).credentials | {"cookie": True}
    fetch = fetch_from(frontend)
    here, elsewhere = f"http://localhost:{server.port}", f"http://127.0.0.1:{server.port}"
    assert fetch(f"{here}/api/token/refresh/", body={})[0] == 401
    status, told = fetch(f"{here}/api/login/", body=login)
    assert (status, set(told)) == (200, {"access", "user"})
    for body in ({}, {"refresh": None}):
        status, told = fetch(f"{here}/api/token/refresh/", body=body)
        assert (status, set(told)) == (200, {"access"})
    assert fetch(f"{here}/api/logout/", body={"refresh": None})[0] == 204
    assert fetch(f"{here}/api/token/refresh/", body={})[0] == 401
    # Chromium discards this cookie; nobody would hold the session's token.
    assert fetch(f"{elsewhere}/api/login/", body=login)[0] == 403
