"""Clients that mean harm, or only the letter of HTTP: h11 and slowhttptest, which know nothing of us."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h11
import httpx
import pytest

from conftest import Install
from latchkey import Person, Server, wait_until

SLOWHTTPTEST = os.environ.get("LATCHKEY_TEST_SLOWHTTPTEST", "slowhttptest")

# What memory may come to however many connect, without what hashing holds.
MOST_MEMORY = 100 << 20

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]


class Wire:
    """One connection that h11 watches over: it refuses whatever RFC 9112 does not allow a server."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), 20)
        self.http = h11.Connection(h11.CLIENT)

    def ask(
        self, method: str, target: str, headers: list[tuple[str, str]] | None = None, body: bytes = b""
    ) -> tuple[h11.Response, bytes]:
        fields = [("Host", "x"), *(headers or [])]
        if body:
            fields.append(("Content-Length", str(len(body))))
        self.socket.sendall(self.http.send(h11.Request(method=method, target=target, headers=fields)))
        if body:
            self.socket.sendall(self.http.send(h11.Data(body)))
        self.http.send(h11.EndOfMessage())
        received = b""
        answer = None
        while True:
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                self.http.receive_data(self.socket.recv(65536))
            elif isinstance(event, h11.Response):
                answer = event
            elif isinstance(event, h11.Data):
                received += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
        assert answer is not None and self.http.trailing_data == (b"", False), "more came than was asked for"
        return answer, received

    def goes_on(self) -> None:
        """The connection can take the next request; h11 says so only if both sides are done."""
        self.http.start_next_cycle()

    def has_ended(self) -> None:
        assert self.http.their_state in (h11.MUST_CLOSE, h11.CLOSED)
        assert self.socket.recv(1) == b""


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    made = Wire(server)
    yield made
    made.socket.close()


def value(answer: h11.Response, name: str) -> bytes | None:
    values = [content for field, content in answer.headers if field == name.encode()]
    assert len(values) <= 1, f"{name} is there twice"
    return values[0] if values else None


def test_every_answer_is_one_that_a_strict_parser_takes(wire: Wire, client: httpx.Client) -> None:
    """All paths that there are, and some that are not, with all methods, over one connection."""
    paths = [*client.get("/api/schema/").json()["paths"], "/nothing", "/%00", "/api/login/?a=b&a=%ff"]
    count = 0
    for path in paths:
        path = path.replace("{", "").replace("}", "")
        lengths: dict[str, bytes | None] = {}
        for method in METHODS:
            for body in (b"", b"{}", b"{"):
                if body and method in ("GET", "HEAD", "OPTIONS", "TRACE"):
                    continue
                fields = [("Content-Type", "application/json")] if body else []
                answer, received = wire.ask(method, path, fields, body)
                wire.goes_on()
                count += 1
                what = (method, path, answer.status_code)
                # RFC 9110: a date (6.6.1), the methods of a 405 (15.5.6), a challenge with a 401
                # (15.5.2), nothing in a 204 or behind a HEAD (6.4.1).
                assert value(answer, "date") is not None, what
                assert (value(answer, "allow") is not None) == (
                    answer.status_code == 405 or (method == "OPTIONS" and answer.status_code == 204)
                ), what
                assert answer.status_code != 401 or value(answer, "www-authenticate") is not None, what
                assert answer.status_code < 500, what
                assert value(answer, "transfer-encoding") is None, what
                if method == "HEAD" or answer.status_code in (204, 304):
                    assert received == b"", what
                else:
                    assert value(answer, "content-length") == str(len(received)).encode(), what
                if method in ("GET", "HEAD") and answer.status_code == 200:
                    lengths[method] = value(answer, "content-length")
        assert lengths.get("HEAD") == lengths.get("GET"), path
    assert count > 300


@pytest.mark.parametrize("how", ["asked for", "a body ignored", "too large", "expected and refused"])
def test_an_answer_that_is_the_last_says_so(how: str, wire: Wire) -> None:
    if how == "asked for":
        answer, _ = wire.ask("GET", "/healthz", [("Connection", "close")])
    elif how == "a body ignored":
        answer, _ = wire.ask("OPTIONS", "/api/login/", [("Content-Type", "application/json")], b"{}")
    elif how == "too large":
        answer, _ = wire.ask("POST", "/api/login/", [("Content-Type", "application/json")], b"x" * 70_000)
    else:
        wire.socket.sendall(
            b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert wire.socket.recv(65536).startswith(b"HTTP/1.1 413 ")
        return
    assert value(answer, "connection") == b"close"
    wire.has_ended()


# Slow clients


class Honest:
    """A client that asks again and again from an address of its own, and must be served each time."""

    def __init__(self, server: Server, person: Person) -> None:
        self.took: list[float] = []
        self.problem: BaseException | None = None
        self._server = server
        self._person = person
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        try:
            while not self._is_over.is_set():
                # A connection of its own each time: who is connected already proves less.
                transport = httpx.HTTPTransport(local_address="127.0.0.2")
                with httpx.Client(base_url=self._server.url, transport=transport, timeout=10) as client:
                    begun = time.monotonic()
                    answer = self._person.profile(client)
                    self.took.append(time.monotonic() - begun)
                    assert answer.status_code == 200, answer.text
                self._is_over.wait(0.01)
        except BaseException as problem:
            self.problem = problem

    def wait(self) -> None:
        self._is_over.set()
        self._thread.join(20)
        if self.problem is not None:
            raise AssertionError("an honest client was not served") from self.problem

    @property
    def p99(self) -> float:
        return sorted(self.took)[int(len(self.took) * 0.99)]


@contextmanager
def honest(server: Server) -> Iterator[Honest]:
    with server.client() as client:
        made = Honest(server, Person().register(client).log_in(client))
    try:
        yield made
    finally:
        made.wait()


def peak_memory(server: Server) -> int:
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("the system does not say")


def open_files(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


MODES = {
    "slow heads": ["-H", "-u", "/api/login/", "-i", "1", "-x", "10"],
    "slow bodies": ["-B", "-u", "/api/login/", "-i", "1", "-s", "60000", "-f", "application/json"],
    "slow reading": ["-X", "-u", "/api/schema/", "-k", "10", "-n", "1", "-w", "1", "-y", "64", "-z", "8"],
    "ranges": ["-R", "-u", "/api/schema/", "-a", "1", "-b", "3000"],
}


@pytest.mark.parametrize("mode", MODES)
def test_slow_clients_keep_nobody_out(mode: str, install: Install, tell: Callable[[str], None]) -> None:
    """slowhttptest opens a thousand connections, of which the server closes each in its time."""
    limits = {"header_timeout": "2s", "request_timeout": "2s", "idle_timeout": "2s", "max_connections": 2000}
    installation = install({"server": limits})
    server = installation.start()
    options = [f"{server.url}{one}" if one.startswith("/api") else one for one in MODES[mode]]
    report = installation.root / "report"
    with honest(server) as client:
        before = open_files(server)
        ended = subprocess.run(
            [SLOWHTTPTEST, "-c", "1000", "-r", "500", "-l", "8", "-p", "3", "-g", "-o", str(report), *options],
            cwd=installation.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = list(csv.DictReader(report.with_suffix(".csv").read_text().splitlines()))
    most = max(int(row["Connected"]) for row in rows)
    closed = max(int(row["Closed"]) for row in rows)
    # It reports once a second and may be done in the middle of one, but never before all of its
    # connections are: those that were answered at once stand in the log.
    answered = server.log_text().count("/api/schema/")
    assert max(most + closed, answered) >= 700, f"it hardly tried: {answered} answered, {rows}"
    assert all(int(row["Service Available"]) > 0 for row in rows), f"the tool was kept out: {rows}"
    # Whoever is slow is not waited for: their connections are gone soon after.
    wait_until(lambda: open_files(server) <= before + 2, 20, "the slow ones to be gone")
    peak = peak_memory(server)
    assert peak < MOST_MEMORY
    tell(
        f"{mode}: {most} connections at a time, {closed} closed by the server; {len(client.took)} honest requests "
        f"served, p99 {client.p99 * 1000:.0f} ms (aim: 50 ms); {peak >> 20} MiB"
    )


def test_one_slow_address_has_only_its_share(install: Install, tell: Callable[[str], None]) -> None:
    """More slow connections than there may be at all: those of one address leave room for others."""
    limits = {"max_connections": 400, "max_connections_per_address": 256, "trusted_proxies": []}
    installation = install({"server": limits})
    server = installation.start()
    with honest(server) as client:
        crowd = []
        for _ in range(1000):
            slow = socket.create_connection(("127.0.0.1", server.port), 5)
            try:
                slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX:")
            except OSError:
                pass
            crowd.append(slow)
        count = len(client.took)
        wait_until(lambda: len(client.took) > count + 50 or client.problem, 20, "honest requests")
        assert open_files(server) < 256 + 64
        for slow in crowd:
            slow.close()
    tell(f"{len(client.took)} honest requests served beside a crowd, p99 {client.p99 * 1000:.0f} ms")
