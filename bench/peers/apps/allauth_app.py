"""django-allauth, headless: its own `auth/session`, with Django's sessions in Redis and users in SQL."""

import json
import os

import django
from django.conf import settings

settings.configure(
    SECRET_KEY=os.environ["PEER_SECRET"],
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages",
        "allauth", "allauth.account", "allauth.headless",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware", "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware", "allauth.account.middleware.AccountMiddleware",
    ],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    AUTHENTICATION_BACKENDS=["allauth.account.auth_backends.AuthenticationBackend"],
    ACCOUNT_EMAIL_VERIFICATION="none",
    ACCOUNT_LOGIN_METHODS={"email"},
    HEADLESS_ONLY=True,
    HEADLESS_FRONTEND_URLS={"account_signup": "/signup"},
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["PEER_REDIS_URL"],
        }
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SESSION_COOKIE_NAME="session",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3", "NAME": f"{os.environ['PEER_FOLDER']}/peer.sqlite3",
            "CONN_MAX_AGE": None,
        }
    },
)  # fmt: skip
django.setup()

from django.contrib.auth import get_user_model, login  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse, JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


@csrf_exempt
def login_here(request):
    user = get_user_model().objects.get(email=json.loads(request.body)["email"])
    login(request, user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return JsonResponse({"done": True})


urlpatterns = [
    path("login-here", login_here),
    path("healthz", lambda _: HttpResponse("alive")),
    path("accounts/", include("allauth.urls")),
    path("_allauth/", include("allauth.headless.urls")),
]
app = get_wsgi_application()
call_command("migrate", verbosity=0)
if not get_user_model().objects.exists():
    get_user_model().objects.create_user("bench", "bench@example.org", "correct horse battery staple")
