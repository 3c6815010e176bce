"""Load that is all of an account's life, and a ledger of what it was answered.

Each worker has people of its own, whom it registers, confirms, logs in, rotates, logs out, robs,
resets, changes and deletes, one request at a time, in an order that a seed decides. What was
answered is certain. What was under way when the server died is in doubt, and may have happened or
not; but it has happened whole or not at all.
"""

from __future__ import annotations

import collections
import random
import threading
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

import httpx

from latchkey import Server, refresh, wait_until
from letters import parse, reset_token, token_in
from wire import CONFIRM

PEOPLE_OF_A_WORKER = 6
# Bounded, should nobody ever end it.
MOST_REQUESTS = 5000


class Post:
    """The letters of the file transport. Each file is read once, however often one asks."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.to: dict[str, list[EmailMessage]] = collections.defaultdict(list)
        self._read: set[str] = set()
        self._lock = threading.Lock()

    def letters(self, address: str, subject: str) -> list[EmailMessage]:
        with self._lock:
            for path in self.directory.glob("[!.]*.eml"):
                if path.name not in self._read:
                    self._read.add(path.name)
                    letter = parse(path.read_bytes())
                    self.to[letter["To"]].append(letter)
            return [letter for letter in self.to[address] if subject in letter["Subject"]]

    def wait_for(self, address: str, subject: str, seconds: float = 60) -> EmailMessage:
        what = f"a letter to {address}: {subject}"
        return wait_until(lambda: self.letters(address, subject), seconds, what)[0]


@dataclass
class Session:
    """A session, by the tokens that it gave so far, and whether it lives."""

    tokens: list[str]
    is_alive: bool = True
    access: str = ""


@dataclass
class Somebody:
    """What is certain of one account, and the one thing that is not."""

    email: str
    password: str
    exists: bool = False
    is_verified: bool = False
    # Whether the links that were mailed to them are good.
    has_links: bool = True
    sessions: list[Session] = field(default_factory=list)
    # The subjects of letters that must have come, or come yet.
    letters: list[str] = field(default_factory=list)
    reset_token: str = ""
    # What was asked and not answered: the name of the operation, and what goes with it.
    doubt: str = ""
    next_password: str = ""
    acting: Session | None = None

    @property
    def living(self) -> list[Session]:
        return [session for session in self.sessions if session.is_alive]

    def got_password(self, how: str, but: Session | None = None) -> None:
        """Another password ends all sessions but the one that acts, and voids all links."""
        self.password = self.next_password
        self.is_verified = self.is_verified or how == "reset"
        self.has_links = False
        self.letters = ["was reset" if how == "reset" else "was changed"]
        self.end_all(but)

    def end_all(self, but: Session | None = None) -> None:
        for session in self.sessions:
            session.is_alive = session.is_alive and session is but


class Unanswered(Exception):
    """An answer that leaves open what has happened, or none."""


class Worker:
    """One thread of the load."""

    def __init__(self, server: Server, post: Post, name: str, seed: str) -> None:
        self.server = server
        self.post = post
        self.name = name
        self.luck = random.Random(seed)
        self.people: list[Somebody] = []
        self.left: list[Somebody] = []
        self.done: collections.Counter[str] = collections.Counter()
        self.problem: BaseException | None = None
        self._count = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def wait(self) -> None:
        self._is_over.set()
        self._thread.join(90)
        assert not self._thread.is_alive()
        if self.problem is not None:
            raise AssertionError(f"the load went wrong before the kill: {self.problem!r}") from self.problem

    @property
    def everybody(self) -> list[Somebody]:
        return self.people + self.left

    def _work(self) -> None:
        try:
            with self.server.client(timeout=10) as client:
                for _ in range(MOST_REQUESTS):
                    try:
                        self._step(client)
                    except (httpx.TransportError, Unanswered):
                        return
                    if self._is_over.is_set():
                        return
        except BaseException as problem:
            self.problem = problem

    def _step(self, client: httpx.Client) -> None:
        if len(self.people) < PEOPLE_OF_A_WORKER:
            return self._register(client)
        somebody = self.luck.choice(self.people)
        if not somebody.living:
            return self._log_in(client, somebody)
        act = self.luck.choice(
            [self._log_in, self._rotate, self._rotate, self._rotate, self._confirm, self._log_out]
            + [self._be_robbed, self._reset, self._change, self._delete]
        )
        return act(client, somebody)

    def _ask(
        self, client: httpx.Client, somebody: Somebody, doing: str, expected: int, **request: object
    ) -> httpx.Response:
        """Asks for a change. Until the answer is here, whether it was made is in doubt."""
        somebody.doubt = doing
        answer = client.request(**request)  # type: ignore[arg-type]
        if answer.status_code == 503:
            raise Unanswered
        assert answer.status_code == expected, (doing, answer.status_code, answer.text)
        somebody.doubt = ""
        self.done[doing] += 1
        return answer

    def _register(self, client: httpx.Client) -> None:
        self._count += 1
        somebody = Somebody(f"{self.name}-{self._count}@example.org", f"first Lamp {self.luck.random()}")
        self.people.append(somebody)
        sent = {
            "email": somebody.email,
            "password": somebody.password,
            "password_confirm": somebody.password,
        }
        self._ask(client, somebody, "register", 201, method="POST", url="/api/register/", json=sent)
        somebody.exists = True
        somebody.letters.append("Confirm your email")

    def _log_in(self, client: httpx.Client, somebody: Somebody) -> None:
        sent = {"email": somebody.email, "password": somebody.password}
        answer = self._ask(client, somebody, "log in", 200, method="POST", url="/api/login/", json=sent)
        body = answer.json()
        somebody.sessions.append(Session([body["refresh"]], access=body["access"]))

    def _rotate(self, client: httpx.Client, somebody: Somebody) -> None:
        session = self.luck.choice(somebody.living)
        sent = {"refresh": session.tokens[-1]}
        answer = self._ask(
            client, somebody, "rotate", 200, method="POST", url="/api/token/refresh/", json=sent
        )
        session.tokens.append(answer.json()["refresh"])
        session.access = answer.json()["access"]

    def _confirm(self, client: httpx.Client, somebody: Somebody) -> None:
        found = self.post.letters(somebody.email, "Confirm your email")
        if somebody.is_verified or not somebody.has_links or not found:
            return self._rotate(client, somebody)
        sent = {"token": token_in(found[0])}
        self._ask(client, somebody, "confirm", 200, method="POST", url=CONFIRM, json=sent)
        somebody.is_verified = True

    def _log_out(self, client: httpx.Client, somebody: Somebody) -> None:
        session = self.luck.choice(somebody.living)
        somebody.acting = session
        sent = {"refresh": session.tokens[-1]}
        self._ask(client, somebody, "log out", 204, method="POST", url="/api/logout/", json=sent)
        session.is_alive = False

    def _be_robbed(self, client: httpx.Client, somebody: Somebody) -> None:
        """A token is shown whose successor was used: the session ends before the 401 leaves."""
        session = self.luck.choice(somebody.living)
        if len(session.tokens) < 3:
            return self._rotate(client, somebody)
        somebody.acting = session
        sent = {"refresh": self.luck.choice(session.tokens[:-2])}
        self._ask(client, somebody, "steal", 401, method="POST", url="/api/token/refresh/", json=sent)
        session.is_alive = False

    def _reset(self, client: httpx.Client, somebody: Somebody) -> None:
        if somebody.reset_token or not somebody.has_links or "Choose a new password" in somebody.letters:
            return self._rotate(client, somebody)
        self._ask(
            client, somebody, "ask for a reset", 200,
            method="POST", url="/api/forgot-password/", json={"email": somebody.email},
        )  # fmt: skip
        somebody.letters.append("Choose a new password")
        # The server may be killed before the letter is out, which then comes after the restart.
        found: list[EmailMessage] = []
        while not found and not self._is_over.is_set():
            found = self.post.letters(somebody.email, "Choose a new password")
            if not self.server.is_running:
                raise Unanswered
        if not found:
            raise Unanswered
        somebody.reset_token = reset_token(found[0])
        somebody.next_password = f"reset Lamp {self.luck.random()}"
        sent = {
            "token": somebody.reset_token,
            "new_password": somebody.next_password,
            "confirm_password": somebody.next_password,
        }
        self._ask(client, somebody, "reset", 200, method="POST", url="/api/reset-password/", json=sent)
        somebody.got_password("reset")

    def _change(self, client: httpx.Client, somebody: Somebody) -> None:
        session = self.luck.choice(somebody.living)
        somebody.acting, somebody.next_password = session, f"changed Lamp {self.luck.random()}"
        sent = {
            "current_password": somebody.password,
            "new_password": somebody.next_password,
            "confirm_password": somebody.next_password,
        }
        bearer = {"Authorization": f"Bearer {session.access}"}
        self._ask(
            client, somebody, "change", 200,
            method="POST", url="/api/change-password/", json=sent, headers=bearer,
        )  # fmt: skip
        somebody.got_password("change", but=session)

    def _delete(self, client: httpx.Client, somebody: Somebody) -> None:
        session = self.luck.choice(somebody.living)
        bearer = {"Authorization": f"Bearer {session.access}"}
        self._ask(
            client, somebody, "delete", 204,
            method="DELETE", url="/api/profile/", json={"password": somebody.password}, headers=bearer,
        )  # fmt: skip
        somebody.exists = False
        somebody.end_all()
        # What waited for the address went with the account; only the notice must come.
        somebody.letters = ["was deleted"]
        self.people.remove(somebody)
        self.left.append(somebody)


class Audit:
    """Holds the ledger against a server that was started again, and settles every doubt."""

    def __init__(self, client: httpx.Client, post: Post) -> None:
        self.client = client
        self.post = post
        self.settled: collections.Counter[str] = collections.Counter()

    def check(self, somebody: Somebody) -> None:
        doubt, somebody.doubt = somebody.doubt, ""
        if doubt == "register":
            somebody.exists = self._logs_in(somebody.email, somebody.password)
            # An account is there whole, or its address is free.
            assert self._register_again(somebody) == (400 if somebody.exists else 201)
            if not somebody.exists:
                somebody.exists = True
            somebody.letters = ["Confirm your email"]
        elif doubt in ("reset", "change"):
            self._settle_password(somebody, doubt)
        elif doubt == "delete":
            somebody.exists = self._logs_in(somebody.email, somebody.password)
            if not somebody.exists:
                somebody.end_all()
                somebody.letters = ["was deleted"]
        elif doubt in ("log out", "steal"):
            session = somebody.acting
            assert session is not None
            session.is_alive = refresh(self.client, session.tokens[-1]).status_code == 200
            if session.is_alive:
                # That was a rotation, or the same answer again.
                session.tokens.append(self._successor(session))
        if doubt:
            self.settled[doubt] += 1
        self._check_certain(somebody)

    def _successor(self, session: Session) -> str:
        answer = refresh(self.client, session.tokens[-1])
        assert answer.status_code == 200, answer.text
        return str(answer.json()["refresh"])

    def _settle_password(self, somebody: Somebody, doubt: str) -> None:
        has_old = self._logs_in(somebody.email, somebody.password)
        has_new = self._logs_in(somebody.email, somebody.next_password)
        assert has_old != has_new, f"{somebody.email} has both passwords, or none, after {doubt}"
        if has_old:
            if doubt == "reset":
                fields = dict.fromkeys(("new_password", "confirm_password"), somebody.next_password)
                sent = {"token": somebody.reset_token} | fields
                # What was not done can be done.
                assert self.client.post("/api/reset-password/", json=sent).status_code == 200
            else:
                return
        somebody.got_password(doubt, but=somebody.acting if doubt == "change" else None)

    def _check_certain(self, somebody: Somebody) -> None:
        if not somebody.exists:
            assert not self._logs_in(somebody.email, somebody.password), f"{somebody.email} is back"
        else:
            answer = self._log_in(somebody.email, somebody.password)
            assert answer.status_code == 200, f"{somebody.email} is lost: {answer.text}"
            if somebody.is_verified:
                assert answer.json()["user"]["is_email_verified"] is True, f"{somebody.email} is unconfirmed"
        for session in somebody.sessions:
            # Within its grace a token leads to the same successor, whether or not a rotation that
            # was never answered had happened.
            answer = refresh(self.client, session.tokens[-1])
            expected = 200 if session.is_alive else 401
            assert answer.status_code == expected, (somebody.email, session.is_alive, answer.text)
            if session.is_alive:
                session.tokens.append(answer.json()["refresh"])

    def check_letters(self, somebody: Somebody) -> None:
        for subject in somebody.letters:
            self.post.wait_for(somebody.email, subject)

    def _register_again(self, somebody: Somebody) -> int:
        sent = {
            "email": somebody.email,
            "password": somebody.password,
            "password_confirm": somebody.password,
        }
        return self.client.post("/api/register/", json=sent).status_code

    def _log_in(self, email: str, password: str) -> httpx.Response:
        return self.client.post("/api/login/", json={"email": email, "password": password})

    def _logs_in(self, email: str, password: str) -> bool:
        answer = self._log_in(email, password)
        assert answer.status_code in (200, 401), answer.text
        return answer.status_code == 200
