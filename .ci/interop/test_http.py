"""What all endpoints have in common: paths, methods, bodies, limits, headers."""

from __future__ import annotations

import re
import socket

import httpx
import pytest

from conftest import Install
from latchkey import Person, Server
from wire import CONFIRM, FRONTEND, NO_CREDENTIALS, NULL, body_of

ENDPOINTS = {
    "/api/register/": {"POST"},
    "/api/login/": {"POST"},
    "/api/token/refresh/": {"POST"},
    "/api/profile/": {"GET", "HEAD", "PATCH", "PUT", "DELETE"},
    CONFIRM: {"GET", "HEAD", "POST"},
    "/healthz": {"GET", "HEAD"},
    "/readyz": {"GET", "HEAD"},
}


def methods_in(header: str) -> set[str]:
    return {method.strip() for method in header.split(",")}


@pytest.mark.parametrize("path", ENDPOINTS)
def test_methods(path: str, client: httpx.Client) -> None:
    for variant in {path, path.rstrip("/"), path.rstrip("/") + "/"}:
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - ENDPOINTS[path]:
            answer = client.request(method, variant)
            assert body_of(answer) == (405, {"detail": f'Method "{method}" not allowed.'})
            assert ENDPOINTS[path] - {"HEAD"} <= methods_in(answer.headers["allow"])
            assert method not in methods_in(answer.headers["allow"])
        answer = client.options(variant)
        assert (answer.status_code, answer.content) == (204, b"")
        assert ENDPOINTS[path] - {"HEAD"} <= methods_in(answer.headers["allow"])
        for method in ENDPOINTS[path]:
            assert client.request(method, variant).status_code in (200, 400, 401), "no redirect, no 404"


def test_every_path_is_one_path_with_or_without_its_slash(client: httpx.Client) -> None:
    person = Person()
    assert client.post("/api/register", json=person.registration).status_code == 201
    tokens = client.post("/api/login", json=person.credentials).json()
    assert (
        client.get("/api/profile", headers={"Authorization": f"Bearer {tokens['access']}"}).status_code == 200
    )
    assert client.post("/api/token/refresh", json={"refresh": tokens["refresh"]}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/", "/api/login//", "/api/nothing/", "/API/LOGIN/", "/%00", "//"]
)
def test_unknown_paths(path: str, client: httpx.Client) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert body_of(client.request(method, client.base_url.join(path))) == (404, {"detail": "Not found."})


def test_head_answers_as_get_without_a_body(client: httpx.Client) -> None:
    person = Person().register(client).log_in(client)
    for path in ("/api/profile/", "/healthz", "/readyz", "/nowhere"):
        get, head = (client.request(method, path, headers=person.bearer) for method in ("GET", "HEAD"))
        assert head.status_code == get.status_code
        assert head.content == b""
        own = {"date", "x-request-id"}
        assert {k: v for k, v in head.headers.items() if k not in own} == {
            k: v for k, v in get.headers.items() if k not in own
        }


def test_what_a_client_would_rather_have_is_ignored(client: httpx.Client) -> None:
    answer = client.get("/api/profile/?format=api", headers={"Accept": "text/html"})
    assert body_of(answer) == (401, NO_CREDENTIALS)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "Invalid data. Expected a dictionary, but got list."),
        (b'"text"', "Invalid data. Expected a dictionary, but got str."),
        (b"7", "Invalid data. Expected a dictionary, but got int."),
        (b"7.5", "Invalid data. Expected a dictionary, but got float."),
        (b"true", "Invalid data. Expected a dictionary, but got bool."),
        (b"null", "No data provided"),
    ],
)
def test_json_that_is_no_object(body: bytes, message: str, client: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}
    for path in ("/api/register/", "/api/login/", "/api/token/refresh/", CONFIRM):
        assert body_of(client.post(path, content=body, headers=headers)) == (
            400,
            {"non_field_errors": [message]},
        )


@pytest.mark.parametrize(
    "body", [b"{", b'{"a": 1,}', b'{"a": NaN}', b'{"a": "\xff"}', b"{'a': 1}", b"{} {}", b"[" * 20000]
)
def test_unreadable_json(body: bytes, client: httpx.Client) -> None:
    for content_type in ("application/json", "application/json; charset=utf-8", "Application/JSON"):
        answer = client.post("/api/login/", content=body, headers={"Content-Type": content_type})
        assert answer.status_code == 400
        assert list(answer.json()) == ["detail"]
        assert answer.json()["detail"].startswith("JSON parse error - ")


def test_of_a_repeated_field_the_last_counts(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}
    body = b'{"refresh": "", "refresh": null}'
    assert body_of(client.post("/api/token/refresh/", content=body, headers=headers)) == (
        400,
        {"refresh": NULL},
    )


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ("text/plain; charset=utf-8", "text/plain"),
        ("multipart/form-data; boundary=x", "multipart/form-data"),
        ("application/xml", "application/xml"),
        (None, ""),
    ],
)
def test_other_media_types(sent: str | None, named: str, client: httpx.Client) -> None:
    answer = client.post("/api/login/", content=b"{}", headers={} if sent is None else {"Content-Type": sent})
    assert body_of(answer) == (415, {"detail": f'Unsupported media type "{named}" in request.'})
    assert (
        client.post("/api/login/", headers={} if sent is None else {"Content-Type": sent}).status_code == 400
    )


@pytest.mark.parametrize("has_length", [True, False])
def test_a_body_over_the_limit(has_length: bool, client: httpx.Client) -> None:
    body = b'{"email": "' + b"a" * 65536 + b'"}'
    content = body if has_length else iter([body[:40000], body[40000:]])
    answer = client.post("/api/login/", content=content, headers={"Content-Type": "application/json"})
    assert body_of(answer) == (413, {"detail": "Request body is too large."})


def exchange(server: Server, sent: bytes) -> bytes:
    """Sends bytes and reads until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def test_clients_that_are_too_slow(install: Install) -> None:
    limits = {"header_timeout": "1s", "request_timeout": "1s", "idle_timeout": "1s"}
    server = install({"server": limits}).start()
    body = b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"
    answer = exchange(server, body)
    assert (
        answer.startswith(b"HTTP/1.1 408 ")
        and answer.endswith(b'{"detail": "Request timed out."}')
        or (answer.startswith(b"HTTP/1.1 408 ") and answer.endswith(b'{"detail":"Request timed out."}'))
    )
    assert exchange(server, b"POST /api/login/ HTTP/1.1\r\nHost:") == b"", "a head too slow is not answered"
    idle = exchange(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert idle.startswith(b"HTTP/1.1 200 ") and idle.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "request_head",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        b"Content-Length: -1\r\n\r\n",
    ],
)
def test_a_request_of_two_meanings_smuggles_nothing(request_head: bytes, server: Server) -> None:
    head = b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + request_head
    answer = exchange(server, head + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert answer.startswith(b"HTTP/1.1 400 "), answer


def test_headers_of_every_json_answer(client: httpx.Client) -> None:
    person = Person().register(client).log_in(client)
    answers = {
        200: person.profile(client),
        400: client.post("/api/login/", json={}),
        401: client.get("/api/profile/"),
        404: client.get("/nowhere"),
        405: client.get("/api/login/"),
        415: client.post("/api/login/", content=b"x"),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["vary"] == "Accept, Origin"
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["x-request-id"])
        assert "server" not in answer.headers or not re.search(r"\d", answer.headers["server"])


def test_request_ids(client: httpx.Client, server: Server) -> None:
    for mine in ("abc-123_X.9", "a" * 64):
        assert client.get("/healthz", headers={"X-Request-Id": mine}).headers["x-request-id"] == mine
    for bad in ("a" * 65, "a b", "a\tb", '"', "a;b"):
        given = client.get("/healthz", headers={"X-Request-Id": bad}).headers["x-request-id"]
        assert given != bad and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given)
    ids = {client.get("/healthz").headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20
    client.get("/api/profile/", headers={"X-Request-Id": "find-me-in-the-log"})
    assert "find-me-in-the-log" in server.log_text()


def test_a_request_id_from_anywhere_else_is_replaced(install: Install) -> None:
    with install({"server": {"trusted_proxies": []}}).start().client() as client:
        assert client.get("/healthz", headers={"X-Request-Id": "mine"}).headers["x-request-id"] != "mine"


def test_cors_for_the_configured_origin(client: httpx.Client) -> None:
    preflight = {
        "Origin": FRONTEND,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    for path in ("/api/login/", "/api/login", "/api/profile/"):
        answer = client.options(path, headers=preflight)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == FRONTEND
        assert ENDPOINTS[path.rstrip("/") + "/"] - {"HEAD"} <= methods_in(
            answer.headers["access-control-allow-methods"]
        )
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert {"authorization", "content-type"} <= methods_in(allowed)
        assert answer.headers["access-control-max-age"] == "86400"
        assert "Origin" in answer.headers["vary"]
    for answer in (
        client.post("/api/login/", json={}, headers={"Origin": FRONTEND}),
        client.get("/api/profile/", headers={"Origin": FRONTEND}),
        client.get("/nowhere", headers={"Origin": FRONTEND}),
    ):
        assert answer.headers["access-control-allow-origin"] == FRONTEND


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:5174",
        "https://localhost:5173",
        "null",
        FRONTEND + ".example.com",
        "http://localhost",
    ],
)
def test_no_cors_for_any_other(origin: str, client: httpx.Client) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for answer in (
        client.options("/api/login/", headers=headers),
        client.post("/api/login/", json={}, headers={"Origin": origin}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-allow-")]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes(path: str, client: httpx.Client) -> None:
    assert body_of(client.get(path)) == (200, {"status": "ok"})
