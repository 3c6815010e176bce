"""When a password is too similar to an address or a name, beside Django: the table that the tests hold ours against."""

from __future__ import annotations

from types import SimpleNamespace

from django.conf import settings
from django.contrib.auth.password_validation import UserAttributeSimilarityValidator
from django.core.exceptions import FieldDoesNotExist, ValidationError

from latchkey import REPOSITORY


class User(SimpleNamespace):
    """What Django's rule looks at: attributes, and what a form calls them."""

    class _meta:
        @staticmethod
        def get_field(name: str) -> None:
            raise FieldDoesNotExist(name)


def is_similar(password: str, **attributes: str) -> bool:
    try:
        UserAttributeSimilarityValidator(user_attributes=tuple(attributes)).validate(password, User(**attributes))
    except ValidationError:
        return True
    return False


def test_django_finds_the_same_passwords_too_similar() -> None:
    if not settings.configured:
        settings.configure(USE_I18N=False)
    lines = (REPOSITORY / "tests/it/password_similarity.tsv").read_text().split("\n")
    verdicts = set()
    for email, username, password, verdict in (line.split("\t") for line in lines if line and line[:2] != "# "):
        # The local part as a whole is not among Django's parts; ours holds it as an attribute of its own.
        similar = [
            kind
            for kind, attributes in (
                ("email", {"email": email, "local_part": email.rsplit("@")[0]}),
                ("username", {"username": username}),
            )
            if is_similar(password, **attributes)
        ]
        assert (" ".join(similar) or "nothing") == verdict, (email, username, password)
        verdicts.add(verdict)
    assert verdicts == {"email", "username", "nothing"}
