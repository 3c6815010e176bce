"""The process: how it starts, refuses to start, and stops."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import httpx
import jwt
import pytest

from conftest import Install
from latchkey import BINARY, REPOSITORY, Installation, Person, Server, snapshot, wait_until
from letters import letter_to, link_in, token_in
from wire import CONFIRM

NOBODY = 65534

# A request that has begun and keeps the server waiting for its rest.
UNFINISHED = (
    b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
)


# Stopping


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(with_signal: signal.Signals, install: Install) -> None:
    server = install().start()
    with server.client() as client:
        Person().register(client)
        # The client's connection is still open, and idle.
        started = time.monotonic()
        server.stop(with_signal)
        assert time.monotonic() - started < 5, "an idle connection is not waited for"


def test_what_is_under_way_is_finished(install: Install) -> None:
    """The answers to requests that were sent before the signal arrive after it."""
    installation = install(
        {
            # Half a second of hashing, one after the other.
            "passwords": {"memory": "64MiB", "iterations": 2, "threads": 1, "max_wait": "60s"},
            "server": {"shutdown_timeout": "60s"},
        }
    )
    server = installation.start()
    people = [Person() for _ in range(8)]
    clients = [server.client() for _ in people]
    answers: list[int] = []

    def register(person: Person, client: httpx.Client) -> None:
        answers.append(client.post("/api/register/", json=person.registration).status_code)

    for client in clients:
        assert client.get("/healthz").status_code == 200
    threads = [threading.Thread(target=register, args=pair) for pair in zip(people, clients, strict=True)]
    for thread in threads:
        thread.start()
    wait_until(lambda: answers, what="the first answer")
    assert len(answers) < len(people), "this proves nothing: the machine is too fast for it"
    server.stop()
    for thread in threads:
        thread.join(20)
    assert answers == [201] * len(people)
    for client in clients:
        client.close()
    with installation.start().client() as client:
        for person in people:
            person.log_in(client)
            letter_to(installation.mail, person.email)


def test_a_second_signal_ends_it_at_once(install: Install) -> None:
    config = {"server": {"shutdown_timeout": "60s", "request_timeout": "60s"}}
    server = install(config).start()
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(UNFINISHED)
        with server.client() as client:
            assert client.get("/healthz").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not accepts(server), what="the server to close its door")
        assert server.is_running
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) != 0
        assert time.monotonic() - started < 1


def test_a_client_that_never_ends_is_waited_for_only_so_long(install: Install) -> None:
    server = install({"server": {"shutdown_timeout": "1s"}}).start()
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(UNFINISHED)
        with server.client() as client:
            assert client.get("/healthz").status_code == 200
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 4


def accepts(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), 5).close()
    except ConnectionError:
        return False
    return True


def test_all_is_there_after_a_restart(install: Install) -> None:
    installation = install()
    with installation.start().client() as client:
        person = Person().register(client).log_in(client)
        letter = letter_to(installation.mail, person.email)
    installation.servers[-1].stop()
    with installation.start().client() as client:
        person.rotate(client)
        assert person.profile(client).status_code == 200
        token = token_in(letter)
        assert client.post(CONFIRM, json={"token": token}).status_code == 200


# Commands


def test_version_and_help(install: Install) -> None:
    installation = install()
    version = installation.run("--version")
    assert (version.returncode, version.stdout, version.stderr) == (0, "latchkey 0.1.0\n", "")
    shown = installation.run("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    for word in ("serve", "check-config", "--config", "--help", "--version"):
        assert word in shown.stdout
    assert list(installation.root.iterdir()) == [], "neither leaves anything behind"


def test_check_config_says_what_serving_would(install: Install) -> None:
    installation = install()
    good = installation.run("check-config", "--config", str(installation.write_config()))
    assert good.returncode == 0, good.stderr
    bad = installation.write_config('[server]\nlistn = "127.0.0.1:0"\n\n[tokens]\naccess_lifetime = "soon"\n')
    answer = installation.run("check-config", "--config", str(bad))
    assert answer.returncode not in (0, 101)
    said = answer.stdout + answer.stderr
    for word in ("test.toml", "listn", "listen", "access_lifetime", "soon"):
        assert word in said, said
    assert not installation.data.exists(), "a check makes nothing"


def test_the_shipped_configuration_is_good(install: Install) -> None:
    installation = install()
    answer = installation.run("check-config", "--config", str(REPOSITORY / "config.toml"))
    assert answer.returncode == 0, answer.stderr


def test_an_unknown_variable_is_only_a_warning(install: Install) -> None:
    installation = install()
    server = installation.start(env={"LATCHKEY_SERVICE_PORT": "tcp://127.0.0.1:80"})
    assert "LATCHKEY_SERVICE_PORT" in server.log_text()


def test_variables_win_over_the_file_and_secrets_come_from_files(install: Install) -> None:
    installation = install({"tokens": {"access_lifetime": "7m"}})
    secret = installation.root / "secret.txt"
    secret.write_text("a mail password\n")
    env = {"LATCHKEY_TOKENS_ACCESS_LIFETIME": "9m", "LATCHKEY_MAIL_SMTP_PASSWORD_FILE": str(secret)}
    # A password without a name to go with it: whatever is said of it, the password is not.
    answer = installation.run("check-config", "--config", str(installation.write_config()), env=env)
    assert "a mail password" not in answer.stdout + answer.stderr
    env.pop("LATCHKEY_MAIL_SMTP_PASSWORD_FILE")
    with installation.start(env=env).client() as client:
        person = Person().register(client).log_in(client)
    claims = jwt.decode(person.access, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 9 * 60


# Starts that must fail


@pytest.fixture
def lived_in(install: Install) -> Installation:
    """An installation with someone in it, stopped; with the default hashing, so that nothing is warned of."""
    installation = install({"passwords": {"memory": "19MiB", "iterations": 2}})
    with installation.start().client() as client:
        person = Person().register(client).log_in(client)
        letter_to(installation.mail, person.email)
    installation.close()
    return installation


def assert_refused(answer: CompletedProcess[str], *words: str) -> None:
    """One clear message that has `words` in it, and an exit code that is neither 0 nor a panic's."""
    said = answer.stderr
    assert answer.returncode > 0 and answer.returncode != 101, (answer.returncode, said)
    assert answer.stdout == ""
    for word in words:
        assert word in said, said
    assert "panicked" not in said and "backtrace" not in said.lower()
    problems = [
        line for line in said.splitlines() if line.strip() and not line[0].isspace() and " INFO " not in line
    ]
    assert len(problems) == 1, said


BAD_CONFIGURATIONS: list[tuple[str, str, list[str]]] = [
    ("an unknown key", '[server]\nlistn = "127.0.0.1:0"\n', ["test.toml", "2", "listn", "listen"]),
    ("an unknown section", "[sever]\n", ["test.toml", "1", "sever", "server"]),
    ("a bad duration", '[tokens]\n\naccess_lifetime = "30 fortnights"\n', ["test.toml", "3", "access_lifetime"]),
    ("a bad size", '[server]\nmax_body = "64 bananas"\n', ["test.toml", "2", "max_body"]),
    ("a wrong type", '[passwords]\nmin_length = "eight"\n', ["test.toml", "2", "min_length"]),
    ("an unknown choice", '[tokens]\nalgorithm = "RS256"\n', ["test.toml", "2", "algorithm", "EdDSA", "ES256", "HS256"]),
    ("no TOML", "[server\n", ["test.toml", "1"]),
    ("an address that is none", '[server]\nlisten = "localhost"\n', ["test.toml", "2", "listen"]),
    ("no public URL off loopback", '[server]\nlisten = "0.0.0.0:0"\n[mail]\ntransport = "log"\n', ["public_url"]),
    ("SMTP without a host", '[mail]\ntransport = "smtp"\nfrom = "a@example.org"\n', ["smtp_host"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"), [case[1:] for case in BAD_CONFIGURATIONS], ids=[case[0] for case in BAD_CONFIGURATIONS]
)
def test_a_bad_configuration(text: str, words: list[str], lived_in: Installation) -> None:
    before = snapshot(lived_in.data)
    storage = f'[storage]\ndirectory = "{lived_in.data}"\n'
    assert_refused(lived_in.run("--config", str(lived_in.write_config(text + storage))), *words)
    assert snapshot(lived_in.data) == before


def test_all_problems_of_a_configuration_are_told_at_once(install: Install) -> None:
    installation = install()
    text = '[server]\nlistn = "127.0.0.1:0"\nmax_body = "64 bananas"\n\n[tokens]\naccess_lifetime = "soon"\n'
    answer = installation.run("--config", str(installation.write_config(text)))
    assert answer.returncode not in (0, 101)
    for word in ("listn", "max_body", "access_lifetime"):
        assert word in answer.stderr
    assert not installation.data.exists(), "nothing is made"


def test_a_bad_variable(lived_in: Installation) -> None:
    before = snapshot(lived_in.data)
    env = {"LATCHKEY_TOKENS_ACCESS_LIFETIME": "soon"}
    answer = lived_in.run("--config", str(lived_in.write_config()), env=env)
    assert_refused(answer, "LATCHKEY_TOKENS_ACCESS_LIFETIME", "soon")
    assert snapshot(lived_in.data) == before


def test_no_such_configuration_file(lived_in: Installation) -> None:
    assert_refused(lived_in.run("--config", "/nowhere/at/all.toml"), "/nowhere/at/all.toml")


@pytest.mark.parametrize("arguments", [["--confg", "x"], ["sevre"], ["--config"], ["serve", "extra"]])
def test_arguments_that_are_none(arguments: list[str], install: Install) -> None:
    installation = install()
    assert_refused(installation.run(*arguments))
    assert not installation.data.exists()


def test_a_port_in_use(lived_in: Installation) -> None:
    before = snapshot(lived_in.data)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        env = {"LATCHKEY_SERVER_LISTEN": address}
        assert_refused(lived_in.run("--config", str(lived_in.write_config()), env=env), address)
    assert snapshot(lived_in.data) == before


def test_a_second_process_on_the_same_directory(lived_in: Installation) -> None:
    first = lived_in.start()
    with first.client() as client:
        person = Person().register(client).log_in(client)
        files = set(snapshot(lived_in.data))
        assert_refused(lived_in.run("--config", str(lived_in.write_config())), str(lived_in.data))
        assert set(snapshot(lived_in.data)) == files
        person.rotate(client)
    first.stop()
    with lived_in.start().client() as client:
        person.rotate(client)


def test_a_directory_that_cannot_be(lived_in: Installation) -> None:
    """A file is in the way: not even root can make a directory there."""
    file = lived_in.root / "file"
    file.write_text("in the way")
    for directory in (file, file / "data"):
        env = {"LATCHKEY_STORAGE_DIRECTORY": str(directory)}
        assert_refused(lived_in.run("--config", str(lived_in.write_config()), env=env), str(directory))
    assert file.read_text() == "in the way"


@pytest.fixture
def for_all_to_see() -> Iterator[Path]:
    """A directory that other users can enter, unlike those of the tests."""
    directory = Path(tempfile.mkdtemp(prefix="latchkey-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def test_a_directory_one_may_not_write(for_all_to_see: Path) -> None:
    """Whoever runs the tests may be root, who may write anywhere: the server is then run as nobody."""
    user = NOBODY if os.geteuid() == 0 else None
    binary = shutil.copy(BINARY, for_all_to_see / "latchkey")
    config = {"passwords": {"memory": "19MiB", "iterations": 2}, "mail": {"transport": "log"}}
    installation = Installation(for_all_to_see, config, Path(binary))
    installation.write_config()

    # No data yet, and no permission to make the directory.
    for_all_to_see.chmod(0o555)
    answer = installation.run("--config", str(installation.config_file), user=user)
    assert_refused(answer, str(installation.data))
    assert not installation.data.exists()
    for_all_to_see.chmod(0o755)

    # Data of somebody else's.
    installation.start().stop()
    everything = [installation.data, *installation.data.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = snapshot(installation.data)
    answer = installation.run("--config", str(installation.config_file), user=user)
    assert_refused(answer, str(installation.data))
    assert snapshot(installation.data) == before
    for path in everything:
        path.chmod(0o755 if path.is_dir() else 0o644)


def with_a_line(template: str, line: str) -> tuple[str, int]:
    """The template with one more line where it is rendered, and the number of that line.

    That is at its end; but of one that fills the blocks of another, inside its longest block.
    """
    place = template.find("{% block content -%}\n")
    place = len(template) if place < 0 else place + len("{% block content -%}\n")
    return template[:place] + line + template[place:], template.count("\n", 0, place) + 1


def test_a_template_that_does_not_render(lived_in: Installation) -> None:
    shipped = sorted((REPOSITORY / "src/templates/mail").iterdir())
    assert shipped, "the templates have moved: say here where to"
    templates = lived_in.root / "templates"
    templates.mkdir()
    env = {"LATCHKEY_MAIL_TEMPLATES": str(templates)}
    config = str(lived_in.write_config())
    before = snapshot(lived_in.data)
    for path in shipped:
        copy = templates / path.name
        good = path.read_text()
        for broken in ("{% if %}\n", "{{ no_such_thing.at_all }}\n"):
            text, line = with_a_line(good, broken)
            copy.write_text(text)
            assert_refused(lived_in.run("--config", config, env=env), path.name, str(line))
        copy.unlink()
    assert snapshot(lived_in.data) == before

    # And with one of the operator's own that does render, it starts and is used.
    text = REPOSITORY / "src/templates/mail/verify_email.txt"
    (templates / text.name).write_text(text.read_text() + "Greetings from the cupboard.\n")
    with lived_in.start(env=env).client() as client:
        person = Person().register(client)
        letter = letter_to(lived_in.mail, person.email)
    assert "Greetings from the cupboard." in letter.as_string()
    link_in(letter)


def test_a_database_that_is_none(lived_in: Installation) -> None:
    """Never mistaken for a fresh start."""
    lived_in.database.write_bytes(b"not a database, but somebody's only copy of it" * 100)
    before = snapshot(lived_in.data)
    assert_refused(lived_in.run("--config", str(lived_in.write_config())), "latchkey.redb")
    assert snapshot(lived_in.data) == before


def test_a_key_that_is_none(lived_in: Installation) -> None:
    """Never replaced by a new one: that would log everybody out, for good."""
    for key in sorted(path for path in lived_in.keys.iterdir() if not path.name.endswith(".pub.pem")):
        good = key.read_bytes()
        key.write_bytes(b"")
        before = snapshot(lived_in.data)
        assert_refused(lived_in.run("--config", str(lived_in.write_config())), key.name)
        assert snapshot(lived_in.data) == before
        key.write_bytes(good)
