"""What clients are told, word for word."""

from __future__ import annotations

from typing import Any

import httpx

CONFIRM = "/api/verify-email/confirm/"
INVALID_TOKEN = {"detail": "Token is invalid or expired", "code": "token_not_valid"}
FRONTEND = "http://localhost:5173"


def not_valid(message: str) -> dict[str, Any]:
    return {
        "detail": "Given token not valid for any token type",
        "code": "token_not_valid",
        "messages": [{"token_class": "AccessToken", "token_type": "access", "message": message}],
    }


def body_of(answer: httpx.Response) -> tuple[int, Any]:
    """What tells most of an answer: its status and what is in it."""
    return answer.status_code, answer.json()
