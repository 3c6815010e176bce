"""A Django REST framework service that knows nothing but a key: SimpleJWT's stateless authentication.

Reads `{"algorithm", "key_file", "issuer", "tokens"}` from stdin and writes, for each token, what a
protected view answers to it. A process of its own, because Django is configured once a process.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import django
from django.conf import settings

asked = json.load(sys.stdin)
key: str | bytes = Path(asked["key_file"]).read_text(encoding="ascii").strip()
if asked["algorithm"] == "HS256":
    # A secret's file holds its bytes as base64url without padding.
    key_setting, key = "SIGNING_KEY", base64.urlsafe_b64decode(key + "==")
else:
    key_setting = "VERIFYING_KEY"
settings.configure(
    SECRET_KEY="this service signs nothing, and nothing it verifies is signed with this",
    ALLOWED_HOSTS=["testserver"],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"],
    SIMPLE_JWT={"ALGORITHM": asked["algorithm"], key_setting: key, "ISSUER": asked["issuer"]},
)
django.setup()

from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication


class WhoAmI(APIView):
    authentication_classes = [JWTStatelessUserAuthentication]
    permission_classes = [IsAuthenticated]

    def get(self, request: Request) -> Response:
        return Response({"id": request.user.id, "claims": request.auth.payload})


def answer(token: str) -> dict[str, object]:
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {token}")
    response = WhoAmI.as_view()(request)
    response.render()
    return {"status": response.status_code, "body": json.loads(response.content)}


json.dump([answer(token) for token in asked["tokens"]], sys.stdout)
