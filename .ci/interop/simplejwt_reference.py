"""djangorestframework-simplejwt itself: what it answers where Latchkey has to answer alike.

Speaks as `verifiers.py` says. The settings are `{"secret_key"}`; each line after them is one request,
`{"path", "body"?, "bearer"?}`, and the answer is `{"status", "body", "challenge"}`. Two paths more than SimpleJWT has
give what only the service itself can make: `/expired/` tokens that have expired, and `/disable/` nothing, but the
account is disabled from then on. PYTHONPATH says which release this is.
"""

from __future__ import annotations

import datetime
import json
import sys

import django
from django.conf import settings

settings.configure(
    SECRET_KEY=json.loads(sys.stdin.readline())["secret_key"],
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from django.http import HttpRequest, JsonResponse
from django.test import Client
from django.urls import path
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView, TokenVerifyView


class Profile(APIView):
    authentication_classes = [JWTStatelessUserAuthentication]
    permission_classes = [IsAuthenticated]

    def get(self, request: Request) -> Response:
        return Response({"user_id": request.user.id})


def expired(_: HttpRequest) -> JsonResponse:
    tokens = {"access": AccessToken.for_user(user), "refresh": RefreshToken.for_user(user)}
    for token in tokens.values():
        token.set_exp(lifetime=-datetime.timedelta(minutes=1))
    return JsonResponse({name: str(token) for name, token in tokens.items()})


def disable(_: HttpRequest) -> JsonResponse:
    user.is_active = False
    user.save()
    return JsonResponse({})


urlpatterns = [
    path("api/token/", TokenObtainPairView.as_view()),
    path("api/token/refresh/", TokenRefreshView.as_view()),
    path("api/token/verify/", TokenVerifyView.as_view()),
    path("api/profile/", Profile.as_view()),
    path("expired/", expired),
    path("disable/", disable),
]
call_command("migrate", verbosity=0)
user = User.objects.create_user("ann@example.org", password="correct horse")

for line in sys.stdin:
    asked = json.loads(line)
    headers = {"Authorization": f"Bearer {asked['bearer']}"} if "bearer" in asked else {}
    if "body" in asked:
        answer = Client().post(asked["path"], asked["body"], "application/json", headers=headers)
    else:
        answer = Client().get(asked["path"], headers=headers)
    told = {
        "status": answer.status_code,
        "body": answer.json(),
        "challenge": answer.headers.get("WWW-Authenticate"),
    }
    print(json.dumps(told), flush=True)
