"""What clients are told, word for word."""

from __future__ import annotations

from typing import Any

import httpx

CONFIRM = "/api/verify-email/confirm/"
REGISTERED = {
    "message": "Registration successful. Please check your email to verify your account.",
    "email_status": "sent",
}
INVALID_TICKET = {"non_field_errors": ["Invalid or expired verification token"]}
WRONG_CREDENTIALS = {"detail": "Invalid email or password"}
INVALID_TOKEN = {"detail": "Token is invalid or expired", "code": "token_not_valid"}
FRONTEND = "http://localhost:5173"

REQUIRED = ["This field is required."]
NULL = ["This field may not be null."]
BLANK = ["This field may not be blank."]
NO_STRING = ["Not a valid string."]
NUL = ["Null characters are not allowed."]
NO_EMAIL = ["Enter a valid email address."]
NO_USERNAME = [
    "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters."
]

NO_CREDENTIALS = {"detail": "Authentication credentials were not provided."}
BAD_HEADER = {
    "detail": "Authorization header must contain two space-delimited values",
    "code": "bad_authorization_header",
}


def not_valid(message: str) -> dict[str, Any]:
    return {
        "detail": "Given token not valid for any token type",
        "code": "token_not_valid",
        "messages": [{"token_class": "AccessToken", "token_type": "access", "message": message}],
    }


def body_of(answer: httpx.Response) -> tuple[int, Any]:
    """What tells most of an answer: its status and what is in it."""
    return answer.status_code, answer.json()
