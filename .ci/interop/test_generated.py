"""The description is good for programs that read it: a validator, and generators of clients whose
clients then work."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from openapi_spec_validator import validate

from latchkey import Person, Server

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    with server.client() as client:
        return client.get("/api/schema/").json()


@pytest.fixture
def document_file(document: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_the_document_and_its_examples_are_valid(document: dict[str, Any]) -> None:
    validate(document)
    checked = 0
    for where, schema, example in examples(document):
        root = {"components": document["components"], **schema}
        validator = OAS31Validator(root, format_checker=oas31_format_checker)
        assert not [error.message for error in validator.iter_errors(example)], where
        checked += 1
    assert checked > 50


def examples(part: Any, where: str = "") -> Any:
    """Every example, its schema, and where in the document it is."""
    if isinstance(part, list):
        for index, each in enumerate(part):
            yield from examples(each, f"{where}/{index}")
    if not isinstance(part, dict):
        return
    if "schema" in part:
        named = {"": {"value": part["example"]}} if "example" in part else part.get("examples", {})
        yield from ((f"{where}/{name}", part["schema"], each["value"]) for name, each in named.items())
    elif isinstance(part.get("examples"), list):
        yield from ((where, part, each) for each in part["examples"])
    for key, each in part.items():
        yield from examples(each, f"{where}/{key}")


def test_a_client_of_openapi_python_client(
    server: Server, document_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yml"
    # The generator does not know this type and would leave the answer out.
    config.write_text('content_type_overrides: {"application/jwt": "text/plain"}\n')
    programs = Path(sys.executable).parent
    run(
        [programs / "openapi-python-client", "generate", "--fail-on-warning", "--meta", "none"]
        + ["--path", document_file, "--config", config, "--output-path", tmp_path / "generated_client"],
        tmp_path,
    )
    monkeypatch.syspath_prepend(tmp_path)
    modules = imported("generated_client")
    models = modules["generated_client.models"]

    def call(name: str, access: str = "", **arguments: Any) -> Any:
        """The answer of an operation, read, and its status."""
        [operation] = [module for path, module in modules.items() if path.endswith(f".{name}")]
        client_module = modules["generated_client.client"]
        options = {"base_url": server.url, "httpx_args": {"trust_env": False}}
        client = (
            client_module.AuthenticatedClient(token=access, **options)
            if access
            else client_module.Client(**options)
        )
        with client as client:
            answer = operation.sync_detailed(client=client, **arguments)
        return answer.parsed, answer.status_code

    ann = Person()
    bad, status = call("register", body=models.Registration("ann", ann.password, ann.password))
    assert (status, bad.email) == (400, ["Enter a valid email address."])
    _, status = call("register", body=models.Registration(ann.email, ann.password, ann.password))
    assert status == 201
    tokens, status = call("log_in", body=models.Login(ann.email, ann.password))
    assert (status, tokens.user.email) == (200, ann.email)
    user, status = call("show_profile", access=tokens.access)
    assert (status, user) == (200, tokens.user)
    refreshed, status = call("refresh_tokens", body=models.RefreshOptional(tokens.refresh))
    assert status == 200
    _, status = call("log_out", body=models.RefreshOptional(refreshed.refresh))
    assert status == 204
    refused, status = call("show_profile", access=refreshed.access)
    assert (status, refused.code) == (401, "token_not_valid")


def imported(package: str) -> dict[str, ModuleType]:
    """Every module of `package`, by its full name."""
    root = importlib.import_module(package)
    names = [found.name for found in pkgutil.walk_packages(root.__path__, f"{package}.")]
    return {name: importlib.import_module(name) for name in names}


def test_a_client_of_openapi_typescript(server: Server, document_file: Path, tmp_path: Path) -> None:
    node = os.environ["LATCHKEY_TEST_NODE"]
    packages = Path(os.environ["LATCHKEY_TEST_NODE_DIRECTORY"]) / "node_modules"
    # The generated types, the compiler and Node.js look for packages beside the program.
    (tmp_path / "node_modules").symlink_to(packages)
    program = tmp_path / "openapi_client.mts"
    program.write_text((HERE / "openapi_client.mts").read_text(encoding="utf-8"), encoding="utf-8")
    run([node, packages / "openapi-typescript/bin/cli.js", document_file, "-o", tmp_path / "api.d.ts"], tmp_path)
    run(
        [node, packages / "typescript/bin/tsc", "--strict", "--noEmit", "--skipLibCheck", "false"]
        + ["--target", "esnext", "--module", "nodenext", "--allowImportingTsExtensions", program],
        tmp_path,
    )
    ann = Person()
    run([node, program, server.url, ann.email, ann.password, document_file], tmp_path)


def run(command: list[str | Path], directory: Path) -> None:
    """Runs a program, which must succeed."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(directory),
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
