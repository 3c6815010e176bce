"""Fixtures of all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from latchkey import BINARY, Config, Installation, Server
from letters import Authority
from wire import FRONTEND


def pytest_configure() -> None:
    if not os.access(BINARY, os.X_OK) or not BINARY.is_file():
        raise pytest.UsageError("LATCHKEY_BIN names no executable; start these tests with .ci/interop/run")


Install = Callable[..., Installation]


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Makes installations; what runs on them at the end of the test is stopped, and must stop well."""
    made: list[Installation] = []

    def make(config: Config | None = None, name: str = "latchkey") -> Installation:
        root = tmp_path / name
        root.mkdir()
        made.append(Installation(root, config))
        return made[-1]

    yield make
    for installation in made:
        installation.close()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One installation for all tests of a module that leave its server as it was, but for some accounts."""
    made = Installation(
        tmp_path_factory.mktemp("api"),
        {"server": {"allowed_origins": [FRONTEND]}, "login": {"max_failures_per_email": 0}},
    )
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(installation: Installation) -> Server:
    return installation.servers[0]


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as made:
        yield made


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints what was measured, also when all is well."""

    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n    {text}", flush=True)

    return say
