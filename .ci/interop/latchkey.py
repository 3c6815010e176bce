"""Starts, watches and stops the server under test, and speaks to it as its clients do."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

BINARY = Path(os.environ.get("LATCHKEY_BIN", ""))
REPOSITORY = Path(__file__).resolve().parents[2]

# Far beyond what either takes, so that a slow machine fails no test.
START_SECONDS = 20.0
STOP_SECONDS = 30.0

READY = re.compile(
    r"^latchkey (?P<version>\d+\.\d+\.\d+\S*) listening on "
    r"(?P<url>http://127\.0\.0\.1:(?P<port>\d+)), data in (?P<data>.+)\n"
)

Config = Mapping[str, Mapping[str, Any]]
T = TypeVar("T")


def wait_until(probe: Callable[[], T], seconds: float = 20.0, what: str = "it") -> T:
    """Asks `probe` until its answer is true, and returns that answer."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}, in vain")
        time.sleep(0.01)


def snapshot(directory: Path) -> dict[str, str]:
    """Every file and directory below `directory`, with its mode and a hash of what is in it."""
    return {
        str(path.relative_to(directory)): f"{path.stat().st_mode:o} "
        + (hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        for path in sorted(directory.rglob("*"))
    }


def toml(config: Config) -> str:
    """`config` as a file. A JSON string, number, boolean or list of those is a TOML one too."""
    lines = []
    for section, keys in config.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def merged(*configs: Config | None) -> dict[str, dict[str, Any]]:
    """One configuration of several, of which the last to name a key is heard."""
    result: dict[str, dict[str, Any]] = {}
    for config in configs:
        for section, keys in (config or {}).items():
            result.setdefault(section, {}).update(deepcopy(dict(keys)))
    return result


class Installation:
    """A configuration and a data directory of its own, on which a server can run again and again."""

    def __init__(self, root: Path, config: Config | None = None, binary: Path = BINARY) -> None:
        self.root = root
        self.binary = binary
        self.data = root / "data"
        self.mail = root / "mail"
        self.config_file = root / "test.toml"
        self.config = merged(
            {
                "server": {"listen": "127.0.0.1:0"},
                "storage": {"directory": str(self.data)},
                # Cheap hashes and no limits by address: all the clients here share one.
                "passwords": {"memory": "256KiB", "iterations": 1},
                "login": {"per_address_per_minute": 0},
                "registration": {"per_address_per_hour": 0},
                "mail": {
                    "transport": "file",
                    "directory": str(self.mail),
                    "from": "Latchkey <accounts@example.org>",
                },
            },
            config,
        )
        self.servers: list[Server] = []
        self._names = itertools.count(1)

    @property
    def keys(self) -> Path:
        return self.data / "keys"

    @property
    def database(self) -> Path:
        return self.data / "latchkey.redb"

    def write_config(self, text: str | None = None) -> Path:
        self.config_file.write_text(toml(self.config) if text is None else text, encoding="utf-8")
        return self.config_file

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Nothing of ours but what a program needs: no LATCHKEY_ variable slips in."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TZ") if name in os.environ}
        return kept | dict(extra or {})

    def start(
        self,
        env: Mapping[str, str] | None = None,
        has_config: bool = True,
        restore_signals: bool = True,
    ) -> Server:
        """Starts the server and waits until it listens."""
        arguments = ["--config", str(self.write_config())] if has_config else []
        name = next(self._names)
        output, log = self.root / f"stdout-{name}.txt", self.root / f"log-{name}.txt"
        with output.open("wb") as out, log.open("wb") as err:
            process = subprocess.Popen(
                [str(self.binary), *arguments],
                cwd=self.root,
                env=self.environment(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                restore_signals=restore_signals,
            )
        server = Server(process, output, log)
        self.servers.append(server)
        server.wait_until_ready()
        return server

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        user: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs the executable to its end, for commands and for starts that fail."""
        return subprocess.run(
            [str(self.binary), *arguments],
            cwd=self.root,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )

    def close(self) -> None:
        """Stops what still runs; each must stop as it should."""
        try:
            for server in self.servers:
                if server.is_running:
                    server.stop()
        finally:
            for server in self.servers:
                server.kill()

    def everything_said(self) -> str:
        """All that all servers wrote to stdout and to the log."""
        return "".join(s.output.read_text() + s.log.read_text() for s in self.servers)


@dataclass
class Server:
    """One running process."""

    process: subprocess.Popen[bytes]
    output: Path
    log: Path
    url: str = ""
    version: str = ""
    data: str = ""

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not (ready := READY.match(self.output.read_text())):
            code = self.process.poll()
            if code is not None:
                raise AssertionError(f"the server ended with {code}:\n{self.log_text()}")
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the server did not start:\n{self.log_text()}")
            time.sleep(0.001)
        self.url, self.version, self.data = ready["url"], ready["version"], ready["data"]

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def client(self, timeout: float = 20) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """Asks the server to stop, which it must do in time and with exit code 0."""
        self.process.send_signal(with_signal)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{with_signal.name} did not stop it:\n{self.log_text()}") from None
        assert code == 0, f"{with_signal.name} ended it with {code}:\n{self.log_text()}"

    def kill(self) -> None:
        """kill -9."""
        if self.is_running:
            self.process.kill()
        self.process.wait(STOP_SECONDS)


@dataclass
class Person:
    """Someone with an account, and what they hold."""

    email: str = field(default_factory=lambda: f"p{secrets.token_hex(6)}@example.org")
    # Something in it for every escape to change: quotes, a backslash, blanks, signs, letters
    # beyond ASCII.
    password: str = field(default_factory=lambda: f'ä"\\/ +&%<{secrets.token_hex(8)}>')
    username: str = ""
    access: str = ""
    refresh: str = ""
    user: dict[str, Any] = field(default_factory=dict)

    @property
    def registration(self) -> dict[str, str]:
        return {
            "email": self.email,
            "password": self.password,
            "password_confirm": self.password,
            "username": self.username,
        }

    @property
    def credentials(self) -> dict[str, str]:
        return {"email": self.email, "password": self.password}

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}

    def register(self, client: httpx.Client) -> Person:
        answer = client.post("/api/register/", json=self.registration)
        assert answer.status_code == 201, answer.text
        return self

    def log_in(self, client: httpx.Client) -> Person:
        answer = client.post("/api/login/", json=self.credentials)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        self.access, self.refresh, self.user = body["access"], body["refresh"], body["user"]
        return self

    def rotate(self, client: httpx.Client) -> Person:
        answer = client.post("/api/token/refresh/", json={"refresh": self.refresh})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["refresh"] != self.refresh
        self.access, self.refresh = body["access"], body["refresh"]
        return self

    def profile(self, client: httpx.Client) -> httpx.Response:
        return client.get("/api/profile/", headers=self.bearer)

    def in_another_session(self) -> Person:
        """The same person, with another device and no token yet."""
        return Person(self.email, self.password, self.username)


def refresh(client: httpx.Client, token: str) -> httpx.Response:
    return client.post("/api/token/refresh/", json={"refresh": token})


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
