"""Looks for secrets in files, in every form in which a program might have let them slip."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

# The shortest run of a base64 text that is looked for: what is shorter stands anywhere by chance.
SHORTEST = 8


def forms(secret: bytes) -> dict[str, bytes]:
    """The forms in which `secret` would still be readable, by name."""
    found = {
        "raw": secret,
        "hex": secret.hex().encode(),
        "upper-case hex": secret.hex().upper().encode(),
        "percent-encoded": quote(secret, safe="").encode(),
        "percent-encoded, in lower case": lower_escapes(quote(secret, safe="")).encode(),
        "percent-encoded throughout": "".join(f"%{byte:02X}" for byte in secret).encode(),
        "as a form": quote_plus(secret).encode(),
        "a list of numbers": ", ".join(map(str, secret)).encode(),
        "a JSON list of numbers": ",".join(map(str, secret)).encode(),
    }
    for name, alphabet in (("base64", b"+/"), ("base64url", b"-_")):
        for offset in range(3):
            # Within a longer text the encoding depends on how many bytes stand before. The first and
            # last letters also hold bits of the neighbours, and are left out.
            encoded = base64.b64encode(bytes(offset) + secret, alphabet).rstrip(b"=")
            tail = 1 if (offset + len(secret)) % 3 else 0
            run = encoded[(0, 2, 3)[offset] : len(encoded) - tail]
            if len(run) >= SHORTEST:
                found[f"{name}, {offset} bytes in"] = run
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return found
    escaped = json.dumps(text)[1:-1]
    found |= {
        "JSON": json.dumps(text, ensure_ascii=False)[1:-1].encode(),
        "JSON in ASCII": escaped.encode(),
        "JSON with escaped slashes": escaped.replace("/", "\\/").encode(),
        "Rust's Debug": json.dumps(text, ensure_ascii=False)[1:-1].replace("\\/", "/").encode(),
        "JSON within JSON": json.dumps(json.dumps(text, ensure_ascii=False)[1:-1], ensure_ascii=False)[
            1:-1
        ].encode(),
        "HTML": html_escaped(text).encode(),
        "UTF-16": text.encode("utf-16-le"),
    }
    return found


def lower_escapes(text: str) -> str:
    head, *parts = text.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in parts)


def html_escaped(text: str) -> str:
    for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#x27;")):
        text = text.replace(sign, name)
    return text


def find(secrets: Iterable[tuple[str, bytes]], places: dict[str, bytes]) -> Iterator[str]:
    """Says which of the named secrets stands in which of the named places, and how."""
    for what, secret in secrets:
        for form, needle in forms(secret).items():
            for place, data in places.items():
                if needle in data:
                    yield f"{what}, {form}, in {place}"


def files_below(directory: Path, but_not: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_relative_to(but_not)
    }
