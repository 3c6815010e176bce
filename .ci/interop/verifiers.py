"""Services in processes of their own that verify access tokens, each with a library of its own.

They read JSON from stdin, a line each: first their settings, then one token after another, and
write what they make of it, a line as well. So one that has cached a key set meets what comes later.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).parent


class Verifier:
    """One such service."""

    def __init__(
        self,
        command: Sequence[str],
        settings: dict[str, Any],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            command,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._send(settings)

    def ask(self, question: Any) -> dict[str, Any]:
        self._send(question)
        assert self._process.stdout is not None and self._process.stderr is not None
        line = self._process.stdout.readline()
        assert line, f"the service has ended:\n{self._process.stderr.read()}"
        return json.loads(line)

    def _send(self, value: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> Verifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # Closing its input ends it.
            _, complaints = self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        assert error is not None or self._process.returncode == 0, complaints


def simplejwt(settings: dict[str, Any]) -> Verifier:
    """Django REST framework with SimpleJWT."""
    return Verifier([sys.executable, str(HERE / "stateless_service.py")], settings)


def jose(settings: dict[str, Any]) -> Verifier:
    """jose on Node.js."""
    return Verifier([os.environ["LATCHKEY_TEST_NODE"], str(HERE / "jose_service.mjs")], settings)
