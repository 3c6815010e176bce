"""The server's description of itself, and whether an answer is what it says.

Schemathesis loads this module too (SCHEMATHESIS_HOOKS): it then learns who asks, and which texts
it could not guess are worth sending.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

import httpx
import schemathesis
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from latchkey import Person

CHECKS: list[Any] = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

# Whose password it is in the description's examples.
EXAMPLE_PASSWORD = "correct horse battery staple"

Schema = dict[str, Any]


def closed(description: Schema) -> Schema:
    """`description` with answers that hold nothing but what is described.

    Clients must bear new fields; here a field that nobody described is to show.
    """
    seen: set[int] = set()

    def close(schema: Any) -> None:
        if isinstance(schema, list):
            for each in schema:
                close(each)
        if not isinstance(schema, dict) or id(schema) in seen:
            return
        seen.add(id(schema))
        if "$ref" in schema:
            close(resolved(description, schema["$ref"]))
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for key, part in schema.items():
            for each in part.values() if key == "properties" else [part]:
                close(each)

    operations = [operation for item in description["paths"].values() for operation in item.values()]
    for operation in operations:
        for response in operation["responses"].values() if isinstance(operation, dict) else []:
            response = resolved(description, response["$ref"]) if "$ref" in response else response
            for content in response.get("content", {}).values():
                close(content["schema"])
    return description


def resolved(description: Schema, reference: str) -> Schema:
    part: Any = description
    for key in reference.removeprefix("#/").split("/"):
        part = part[key]
    assert isinstance(part, dict), reference
    return part


class Description:
    """What the server says of itself, and what of it has been seen."""

    def __init__(self, document: Schema) -> None:
        self.schema = schemathesis.openapi.from_dict(closed(document))
        self.seen: set[tuple[str, int]] = set()
        self.statuses = {
            (f"{method.upper()} {path}", int(status))
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if method != "parameters"
            for status in operation["responses"]
        }

    def check(self, answer: httpx.Response) -> None:
        """Holds an answer to what is said of its operation; for httpx's event hooks."""
        answer.read()
        request = answer.request
        operation = self.schema.find_operation_by_path(request.method, request.url.path)
        assert operation, f"{request.method} {request.url.path} is not described"
        pairs = zip(operation.path.split("/"), request.url.path.split("/"))
        parameters = {name[1:-1]: value for name, value in pairs if name.startswith("{")}
        operation.Case(path_parameters=parameters).validate_response(answer, checks=CHECKS)
        self.seen.add((operation.label, answer.status_code))

    def watch(self, client: httpx.Client) -> httpx.Client:
        """Has every answer that `client` gets checked."""
        client.event_hooks["response"] = [self.check]
        return client


# Schemathesis takes `application/jwt` for a kind of JSON, which it is not (RFC 7519, section 10.3.1).
@schemathesis.deserializer("text/html", "application/json")
def read(_context: Any, response: schemathesis.Response) -> Any:
    is_json = response.headers["content-type"][0] == "application/json"
    return response.json() if is_json else response.text


# What follows is for schemathesis's own run, which names the server and a file to fill.

URL = os.environ.get("LATCHKEY_URL", "")
SEEN = os.environ.get("LATCHKEY_SEEN", "")
TURNS = itertools.count()

# Where a token has to be a real one to come to anything, and which field it is in.
TOKEN_FIELDS = {
    "POST /api/token/refresh/": "refresh",
    "POST /api/token/verify/": "token",
    "POST /api/token/blacklist/": "refresh",
    "POST /api/logout/": "refresh",
}
# Fields that are to repeat another one.
REPETITIONS = {"password_confirm": "password", "confirm_password": "new_password"}


# What ends the session that asks, or changes its owner's password.
ENDING = {
    "POST /api/logout/",
    "POST /api/logout/all/",
    "POST /api/change-password/",
    "DELETE /api/profile/",
    "DELETE /api/sessions/{id}/",
}

if URL:
    client = httpx.Client(base_url=URL, timeout=20, trust_env=False)

    def newcomer() -> Person:
        return Person(password=EXAMPLE_PASSWORD).register(client).log_in(client)

    regular = newcomer()

    @schemathesis.hook
    def before_load_schema(_context: Any, raw_schema: Schema) -> None:
        closed(raw_schema)
        # Described as texts, for clients; read only if they mean something, so other types pass.
        schemas = raw_schema["components"]["schemas"]
        for ignored in (schemas["CurrentPassword"], schemas["Login"]["properties"]["refresh"]):
            del ignored["type"]

    class Bearer:
        """Sends someone new where an earlier request would have ended what a later one needs."""

        def get(self, case: Any, _context: Any) -> str:
            return (newcomer() if case.operation.label in ENDING else regular).access

        def set(self, case: Any, data: str, _context: Any) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    register: Callable[..., Any] = schemathesis.auth(refresh_interval=None)
    register(Bearer)

    @schemathesis.hook
    def before_call(_context: Any, case: Any, _kwargs: dict[str, Any]) -> None:
        """Makes of a good body one that could succeed, and of every second one with a token a real one."""
        body = case.body
        if not isinstance(body, dict) or case.meta is None or case.meta.generation.mode.is_negative:
            return
        for name, of in REPETITIONS.items():
            if name in body and of in body:
                body[name] = body[of]
        field = TOKEN_FIELDS.get(case.operation.label)
        if field in body and next(TURNS) % 2 == 0:
            body[field] = newcomer().refresh

    @schemathesis.hook
    def after_call(_context: Any, case: Any, response: schemathesis.Response) -> None:
        with open(SEEN, "a", encoding="utf-8") as seen:
            seen.write(f"{response.request.method} {case.operation.path} {response.status_code}\n")
