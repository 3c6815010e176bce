"""A Django REST framework service that knows nothing but a key: SimpleJWT's stateless authentication.

Speaks as `verifiers.py` says. The settings are `{"algorithm", "issuer"}` and either `"key_file"` or
`"jwk_url"` and `"max_age"`, in seconds; the answer to a token is what a protected view answers to it. A process of its own,
because Django is configured once a process.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import django
from django.conf import settings

asked = json.loads(sys.stdin.readline())
simple_jwt = {"ALGORITHM": asked["algorithm"], "ISSUER": asked["issuer"]}
if "jwk_url" in asked:
    simple_jwt["JWK_URL"] = asked["jwk_url"]
else:
    key = Path(asked["key_file"]).read_text(encoding="ascii").strip()
    if asked["algorithm"] == "HS256":
        # A secret's file holds its bytes as base64url without padding.
        simple_jwt["SIGNING_KEY"] = base64.urlsafe_b64decode(key + "==")
    else:
        simple_jwt["VERIFYING_KEY"] = key
settings.configure(
    SECRET_KEY="this service signs nothing, and nothing it verifies is signed with this",
    ALLOWED_HOSTS=["testserver"],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"],
    SIMPLE_JWT=simple_jwt,
)
django.setup()

from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication
from rest_framework_simplejwt.state import token_backend


if "jwk_url" in asked:
    # SimpleJWT keeps a key set for five minutes and has no setting for that. A test whose keys take
    # over within seconds needs it kept for no longer than the set itself says.
    assert token_backend.jwks_client is not None
    token_backend.jwks_client.jwk_set_cache.lifespan = asked["max_age"]


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


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
