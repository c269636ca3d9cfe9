# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests in their exact order: login, retries, list shapes, answers, lost connections, errors."""

from __future__ import annotations

import base64
import gzip
import io
import json
import socket
import ssl
import stat
import threading
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import requests
from ansible_collections.haloops.halo.plugins.module_utils import http
from ansible_collections.haloops.halo.plugins.module_utils.auth import Connection, Login, Token
from ansible_collections.haloops.halo.plugins.module_utils.client import Client
from ansible_collections.haloops.halo.plugins.module_utils.errors import AmbiguousWrite, HaloError, LoginError
from ansible_collections.haloops.halo.plugins.module_utils.http import Transport
from ansible_collections.haloops.halo.plugins.module_utils.run import try_login
from ansible_collections.haloops.halo.plugins.plugin_utils import tokens as tokens_module
from ansible_collections.haloops.halo.plugins.plugin_utils.tokens import TokenCache
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from halo_sandbox.tls import server_context
from helpers.scripted import Script

SECRET = "p@ss w/ord+&=%\"'ü"
TOKEN = {"access_token": "t0ken-1", "token_type": "Bearer", "expires_in": 3600, "scope": "all"}
NEXT_TOKEN = {**TOKEN, "access_token": "t0ken-2"}
FORM = {"grant_type": "client_credentials", "client_id": "an-id", "client_secret": SECRET, "scope": "all"}
RATE_LIMIT = {"error": "Rate Limit Reached - 300 Requests per rolling 5 minute window"}
PAGE = "<!DOCTYPE html><html><head><title>502 - Bad &amp; gateway.</title></head><body>trace</body></html>"

Build = Callable[..., Client]


@pytest.fixture
def script() -> Iterator[Script]:
    with Script() as running:
        yield running


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """All waiting, which then takes no time."""
    waits: list[float] = []
    monkeypatch.setattr(http.time, "sleep", waits.append)
    monkeypatch.setattr(http.random, "uniform", lambda _low, _high: 1.0)
    monkeypatch.setattr(Client, "pause", staticmethod(waits.append))
    return waits


@pytest.fixture
def build(script: Script) -> Iterator[Build]:
    """Makes clients for the script; with an access token unless an option says otherwise."""
    opened: list[Transport] = []

    def made(tokens: Any = None, say: Any = http.nobody, **options: Any) -> Client:
        given = {
            "url": script.url,
            "tenant": None,
            "client_id": "an-id",
            "client_secret": SECRET,
            "access_token": "given",
            "auth_url": None,
            "scope": "all",
            "validate_certs": True,
            "ca_path": None,
            "timeout": 10,
            "retry_seconds": 330,
            **options,
        }
        connection = Connection.from_params({f"halo_{name}": value for name, value in given.items()})
        transport = Transport(
            connection.url,
            verify=connection.verify,
            timeout=connection.timeout,
            retry_seconds=connection.retry_seconds,
            say=say,
        )
        opened.append(transport)
        return Client(transport, Login(connection, transport, tokens))

    yield made
    for transport in opened:
        transport.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    context, ca_path = server_context(tmp_path_factory.mktemp("tls"))
    return context, str(ca_path)


@pytest.fixture
def tls(certificate: tuple[ssl.SSLContext, str]) -> Iterator[tuple[Script, str]]:
    """A script that speaks https, and the file of the CA to trust."""
    context, ca_path = certificate
    with Script(context) as running:
        yield running, ca_path


@pytest.fixture
def login(build: Build) -> Build:
    """Makes clients that have to log in."""
    return lambda tokens=None, **options: build(tokens, **{"access_token": None, **options})


# Login


def test_a_token_is_asked_for_with_a_form_and_used_for_all_that_follows(script: Script, login: Build) -> None:
    script.expect("POST /auth/token", form=FORM, token=None, answer=TOKEN)
    script.expect("GET /api/Agent/3", token="t0ken-1", answer={"id": 3})
    script.expect("GET /api/Agent/4", token="t0ken-1", answer={"id": 4})
    client = login()
    assert client.get("/Agent/3") == {"id": 3}
    assert client.get("/Agent/4") == {"id": 4}


@pytest.mark.parametrize("scope", ["all", "read:tickets edit:tickets"])
def test_the_scope_is_always_sent(script: Script, login: Build, scope: str) -> None:
    script.expect("POST /auth/token", form={**FORM, "scope": scope}, answer={**TOKEN, "scope": scope})
    assert login(scope=scope).login.request_token() == ("t0ken-1", scope, 3600)


def test_an_empty_scope_is_asked_for_as_all(script: Script, login: Build) -> None:
    script.expect("POST /auth/token", form=FORM, answer=TOKEN)
    login(scope="").login.request_token()


@pytest.mark.parametrize(
    ("tenant", "query"), [("acme", {"tenant": "acme"}), ("a&b c", {"tenant": "a&b c"}), (None, {}), ("", {})]
)
def test_the_tenant_is_in_the_query_of_the_token_request_alone(
    script: Script, login: Build, tenant: str | None, query: dict[str, str]
) -> None:
    script.expect("POST /auth/token", query=query, form=FORM, answer=TOKEN)
    script.expect("GET /api/Agent/3", query={}, answer={"id": 3})
    login(tenant=tenant).get("/Agent/3")


def test_a_path_in_the_address_is_kept(script: Script, login: Build) -> None:
    script.expect("POST /halo/auth/token", answer=TOKEN)
    script.expect("GET /halo/api/Agent/3", answer={"id": 3})
    login(url=f"{script.url}/halo/api/").get("/Agent/3")


def test_a_given_access_token_is_used_as_it_is(script: Script, build: Build) -> None:
    script.expect("GET /api/Agent/3", token="given", answer={"id": 3})
    build().get("/Agent/3")


@pytest.mark.parametrize("key", ["auth_url", "AUTH_URL"])
def test_authinfo_is_asked_where_the_usual_server_is_not_there(script: Script, login: Build, key: str) -> None:
    script.expect("POST /auth/token", status=404, text="<html>", token=None)
    script.expect("GET /api/AuthInfo", token=None, answer={key: f"{script.url}/elsewhere/", "tenant_id": "theirs"})
    script.expect("POST /elsewhere/token", query={"tenant": "theirs"}, form=FORM, answer=TOKEN)
    login().login.request_token()


def test_the_users_tenant_goes_before_that_of_authinfo(script: Script, login: Build) -> None:
    script.expect("POST /auth/token", query={"tenant": "mine"}, status=404)
    script.expect("GET /api/AuthInfo", answer={"auth_url": f"{script.url}/elsewhere", "tenant_id": "theirs"})
    script.expect("POST /elsewhere/token", query={"tenant": "mine"}, answer=TOKEN)
    login(tenant="mine").login.request_token()


def test_a_given_authorisation_server_is_the_only_one_asked(script: Script, login: Build) -> None:
    script.expect("POST /own/token", form=FORM, status=404, text="<html>")
    with pytest.raises(HaloError, match="POST /token answered 404") as caught:
        login(auth_url=f"{script.url}/own").login.request_token()
    assert "halo_auth_url" in str(caught.value)


@pytest.mark.parametrize("status", [401, 500])
def test_authinfo_is_asked_after_a_404_alone(script: Script, login: Build, status: int) -> None:
    script.expect("POST /auth/token", status=status, text="<html>")
    with pytest.raises(HaloError):
        login().login.request_token()


@pytest.mark.parametrize(
    "info",
    [
        {"status": 404},
        {"status": 200, "text": "<html>"},
        {"answer": {"auth_url": None}},
        {"answer": {"auth_url": " "}},
        {"answer": []},
    ],
)
def test_authinfo_that_says_nothing(script: Script, login: Build, info: dict[str, Any]) -> None:
    script.expect("POST /auth/token", status=404, text="<html>")
    script.expect("GET /api/AuthInfo", **info)
    with pytest.raises(HaloError, match="POST /token answered 404"):
        login().login.request_token()


def test_authinfo_that_gives_no_address(script: Script, login: Build) -> None:
    script.expect("POST /auth/token", status=404)
    script.expect("GET /api/AuthInfo", answer={"auth_url": "javascript:alert(1)"})
    with pytest.raises(HaloError, match="auth_url of AuthInfo is not an address"):
        login().login.request_token()


def test_authinfo_that_leads_to_another_machine_without_https_is_warned_of(
    script: Script, login: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where halo_url itself is a tunnel, for one."""
    script.expect("POST /auth/token", status=404)
    script.expect("GET /api/AuthInfo", answer={"auth_url": "http://login.example.com/auth"})
    script.expect("POST /auth/token", answer=TOKEN)
    client = login()
    client.login.warnings.append("an earlier one")
    monkeypatch.setenv("http_proxy", script.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    client.login.token()
    assert client.warnings == [
        "an earlier one",
        "http://login.example.com/auth: secrets and tokens travel unencrypted over http.",
    ]


def test_authinfo_does_not_lead_the_secret_out_of_https(
    monkeypatch: pytest.MonkeyPatch, build: Build, tls: tuple[Script, str]
) -> None:
    script, ca_path = tls
    script.expect("POST /auth/token", status=404)
    script.expect("GET /api/AuthInfo", answer={"auth_url": "HTTP://127.0.0.1:9/auth\x1b[2J"})
    with pytest.raises(HaloError, match="AuthInfo names an authorisation server without https: http://127") as caught:
        build(url=script.url, ca_path=ca_path, access_token=None).login.token()
    assert "\x1b" not in str(caught.value)
    assert caught.value.subject == "login"


@pytest.mark.parametrize(
    ("status", "answer", "message"),
    [
        (
            401,
            {"error": "invalid_client", "error_description": "Wrong."},
            "(invalid_client). Halo said: Wrong. Check client ID",
        ),
        (401, None, "(401)."),
        (400, {"error": "invalid_scope", "error_description": "No."}, "were the scopes all, and one that"),
        (403, {"error": "access_denied"}, "(access_denied)"),
        (200, {**TOKEN, "scope": ""}, "the token opens nothing: it has no scope. Check halo_scope."),
    ],
)
def test_refused_credentials(script: Script, login: Build, status: int, answer: Any, message: str) -> None:
    script.expect("POST /auth/token", status=status, answer=answer)
    with pytest.raises(LoginError) as caught:
        login().get("/Agent/3")
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{script.url}: login: ")
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("status", "what", "message"),
    [
        (200, {"answer": {"token_type": "Bearer"}}, "gave no token"),
        (200, {"answer": {"access_token": ""}}, "gave no token"),
        (200, {"answer": [1]}, "gave no token"),
        (200, {"text": "<html>"}, "gave no token"),
        (200, {}, "gave no token"),
        (500, {"text": PAGE}, "halo_tenant: an unknown host or tenant answers like this"),
        (400, {}, "POST /token answered 400"),
    ],
)
def test_no_token(script: Script, login: Build, status: int, what: dict[str, Any], message: str) -> None:
    script.expect("POST /auth/token", status=status, **what)
    with pytest.raises(HaloError) as caught:
        login().login.request_token()
    assert message in str(caught.value)
    assert not isinstance(caught.value, LoginError)


@pytest.mark.parametrize(
    ("more", "seconds"),
    [
        ("", 3600),
        ("60", 60),
        ('"60"', 60),
        ("59.9", 59),
        ('"soon"', 3600),
        ("null", 3600),
        ("[]", 3600),
        ("NaN", 3600),
        ("0", 0),
        ("-5", 0),
        ("-Infinity", 0),
        ("86401", 86400),
        ("1e999", 86400),
        ('"1e999"', 86400),
        pytest.param("9" * 400, 86400, id="400 digits"),
        pytest.param("-" + "9" * 400, 0, id="minus 400 digits"),
        pytest.param('"' + "9" * 400 + '"', 86400, id="400 digits as text"),
    ],
)
def test_how_long_a_token_lasts(script: Script, login: Build, tmp_path: Path, more: str, seconds: int) -> None:
    text = '{"access_token": "t"' + (f', "expires_in": {more}' if more else "") + "}"
    script.expect("POST /auth/token", status=201, text=text)
    asked = login().login
    token = asked.request_token()
    assert token == ("t", None, seconds)
    TokenCache(str(tmp_path)).put("key", token)
    assert TokenCache(str(tmp_path)).get("key") == ("t" if seconds > 60 else None)


BAD_TOKENS = [
    "s3cret\ntoken",
    "s3cret\r\nX-Header: 1",
    "s3cret token",
    " s3cret",
    "s3cret\x00",
    "s3cret\x7f",
    "s3cretü",
    "s3cret☃",
]


@pytest.mark.parametrize("token", BAD_TOKENS)
def test_what_no_header_can_hold_is_no_token(script: Script, login: Build, token: str) -> None:
    script.expect("POST /auth/token", answer={"access_token": token})
    with pytest.raises(HaloError, match="a token that cannot be one: it holds a line break") as caught:
        login().get("/Roles/3")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("token", BAD_TOKENS)
def test_an_option_that_can_be_no_token_is_refused(build: Build, token: str) -> None:
    with pytest.raises(HaloError, match="halo_access_token cannot be one: it holds a line break") as caught:
        build(access_token=token)
    assert "s3cret" not in str(caught.value)


def test_a_rate_limit_that_keeps_a_token_back(script: Script, login: Build) -> None:
    script.expect("POST /auth/token", status=429, answer=RATE_LIMIT)
    with pytest.raises(HaloError, match="the rate limit lasted longer than halo_retry_seconds") as caught:
        login(retry_seconds=0).login.request_token()
    assert (caught.value.status, caught.value.path, caught.value.subject) == (429, "/token", "login")


def test_a_dead_token_is_renewed_once(script: Script, login: Build) -> None:
    script.expect("POST /auth/token", answer=TOKEN)
    script.expect("GET /api/Agent/3", token="t0ken-1", answer={"id": 3})
    script.expect("POST /api/Agent", token="t0ken-1", status=401)
    script.expect("POST /auth/token", form=FORM, answer=NEXT_TOKEN)
    script.expect("POST /api/Agent", token="t0ken-2", sent=[{"name": "x"}], status=201, answer={"id": 9})
    client = login()
    client.get("/Agent/3")
    assert client.save("/Agent", {"name": "x"}) == {"id": 9}


def test_a_second_401_is_the_answer(script: Script, login: Build) -> None:
    script.expect("POST /auth/token", answer=TOKEN)
    script.expect("GET /api/Agent/3", token="t0ken-1", status=401)
    script.expect("POST /auth/token", answer=NEXT_TOKEN)
    script.expect("GET /api/Agent/3", token="t0ken-2", status=401)
    with pytest.raises(HaloError, match=r"GET /Agent/3 answered 401\..*token was refused"):
        login().get("/Agent/3")


def test_a_given_access_token_cannot_be_renewed(script: Script, build: Build) -> None:
    script.expect("GET /api/Agent/3", token="given", status=401)
    with pytest.raises(HaloError, match="answered 401"):
        build().get("/Agent/3")


# Tokens shared in a folder


def test_a_shared_token_saves_a_login(script: Script, login: Build, tmp_path: Path) -> None:
    script.expect("POST /auth/token", answer=TOKEN)
    script.expect("GET /api/Agent/3", token="t0ken-1", answer={"id": 3})
    script.expect("GET /api/Agent/4", token="t0ken-1", answer={"id": 4})
    login(TokenCache(str(tmp_path))).get("/Agent/3")
    login(TokenCache(str(tmp_path))).get("/Agent/4")
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = file.name + file.read_bytes().decode("latin-1")
    for text in ("t0ken-1", 'token"', SECRET, "an-id"):
        assert text not in content


def test_what_a_killed_run_leaves_opens_nothing(
    script: Script, login: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has another key, whatever it can read."""
    script.expect("POST /auth/token", answer=TOKEN)
    script.expect("POST /auth/token", answer=NEXT_TOKEN)
    login(TokenCache(str(tmp_path))).login.token()
    monkeypatch.setattr(tokens_module, "_CIPHER", AESGCM(AESGCM.generate_key(bit_length=256)))
    assert login(TokenCache(str(tmp_path))).login.token() == "t0ken-2"


def test_a_token_does_not_open_under_the_name_of_another(tmp_path: Path) -> None:
    tokens = TokenCache(str(tmp_path))
    tokens.put("one", Token("t0ken-1", None, 3600))
    (tmp_path / "halo-token-one").rename(tmp_path / "halo-token-other")
    assert tokens.get("other") is None


@pytest.mark.parametrize(
    "other",
    [
        {"client_id": "other"},
        {"client_secret": "other"},
        {"tenant": "other"},
        {"scope": "admin"},
        {"url": "/other"},
        {"auth_url": "/x"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_token_is_shared_only_by_the_same_login(
    script: Script, login: Build, tmp_path: Path, other: dict[str, str]
) -> None:
    other = {name: script.url + value if value.startswith("/") else value for name, value in other.items()}
    server = other.get("auth_url", other.get("url", script.url) + "/auth").removeprefix(script.url)
    query = {"tenant": other["tenant"]} if "tenant" in other else {}
    script.expect("POST /auth/token", answer=TOKEN)
    script.expect(f"POST {server}/token", query=query, answer=NEXT_TOKEN)
    assert login(TokenCache(str(tmp_path))).login.token() == "t0ken-1"
    assert login(TokenCache(str(tmp_path)), **other).login.token() == "t0ken-2"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_shared_token_that_died_is_dropped_and_replaced(script: Script, login: Build, tmp_path: Path) -> None:
    tokens = TokenCache(str(tmp_path))
    script.expect("POST /auth/token", answer=TOKEN)
    script.expect("GET /api/Agent/3", token="t0ken-1", status=401)
    script.expect("POST /auth/token", answer=NEXT_TOKEN)
    script.expect("GET /api/Agent/3", token="t0ken-2", answer={"id": 3})
    script.expect("GET /api/Agent/4", token="t0ken-2", answer={"id": 4})
    assert login(tokens).login.token() == "t0ken-1"
    login(tokens).get("/Agent/3")
    login(tokens).get("/Agent/4")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_token_that_another_task_has_renewed_meanwhile_is_not_dropped(
    script: Script, login: Build, tmp_path: Path
) -> None:
    tokens = TokenCache(str(tmp_path))
    script.expect("POST /auth/token", answer=TOKEN)
    script.expect("GET /api/Agent/3", token="t0ken-1", status=401)
    script.expect("POST /auth/token", answer=NEXT_TOKEN)
    script.expect("GET /api/Agent/3", token="t0ken-2", answer={"id": 3})
    script.expect("GET /api/Agent/4", token="t0ken-1", status=401)
    script.expect("GET /api/Agent/4", token="t0ken-2", answer={"id": 4})
    first, second = login(tokens), login(tokens)
    first.login.token()
    second.login.token()
    first.get("/Agent/3")
    second.get("/Agent/4")


@pytest.mark.parametrize("left", [59, 60])
def test_a_token_about_to_expire_is_not_shared(script: Script, login: Build, tmp_path: Path, left: int) -> None:
    script.expect("POST /auth/token", answer={**TOKEN, "expires_in": left})
    script.expect("POST /auth/token", answer=NEXT_TOKEN)
    assert login(TokenCache(str(tmp_path))).login.token() == "t0ken-1"
    assert login(TokenCache(str(tmp_path))).login.token() == "t0ken-2"


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:5], lambda content: content[:-1]])
def test_a_damaged_token_file_is_as_good_as_none(
    script: Script, login: Build, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    script.expect("POST /auth/token", answer=TOKEN)
    script.expect("POST /auth/token", answer=NEXT_TOKEN)
    login(TokenCache(str(tmp_path))).login.token()
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert login(TokenCache(str(tmp_path))).login.token() == "t0ken-2"


def test_a_folder_that_is_gone_costs_a_login_and_nothing_else(script: Script, login: Build, tmp_path: Path) -> None:
    script.expect("POST /auth/token", answer=TOKEN)
    assert login(TokenCache(str(tmp_path / "gone"))).login.token() == "t0ken-1"
    assert not (tmp_path / "gone").exists()


def test_a_check_of_credentials_neither_uses_nor_leaves_a_shared_token(
    script: Script, login: Build, tmp_path: Path
) -> None:
    tokens = TokenCache(str(tmp_path))
    script.expect("POST /auth/token", answer=TOKEN)
    script.expect("POST /auth/token", answer=NEXT_TOKEN)
    script.expect("GET /api/Agent/me", token="t0ken-2", answer={"id": 7, "name": "api", "isapiagent": True})
    login(tokens).login.token()
    found, refusal = try_login(login(tokens))
    assert refusal is None
    assert found["valid"] is True
    assert found["agent"] == {"id": 7, "name": "api", "api_only": True}
    assert [tokens.get(file.name.removeprefix("halo-token-")) for file in tmp_path.iterdir()] == ["t0ken-1"]


# Retries


@pytest.mark.parametrize(
    ("method", "status"),
    [("GET", 429), ("POST", 429), ("DELETE", 429), ("GET", 502), ("GET", 503), ("GET", 504)],
)
def test_what_is_waited_out(script: Script, build: Build, slept: list[float], method: str, status: int) -> None:
    for _time in range(3):
        script.expect(f"{method} /api/Agent/3", status=status, answer=RATE_LIMIT)
    script.expect(f"{method} /api/Agent/3", answer={"id": 3})
    client = build()
    assert {"GET": client.get, "POST": lambda path: client.save(path, {}), "DELETE": client.delete}[method](
        "/Agent/3"
    ) in (
        {"id": 3},
        None,
    )
    assert slept == [1.0, 2.0, 4.0]


def test_waits_grow_up_to_a_minute(script: Script, build: Build, slept: list[float]) -> None:
    for _time in range(8):
        script.expect("GET /api/Agent/3", status=429, answer=RATE_LIMIT)
    script.expect("GET /api/Agent/3", answer={"id": 3})
    build(retry_seconds=10_000).get("/Agent/3")
    assert slept == [1, 2, 4, 8, 16, 32, 60, 60]


def test_the_longest_wait(script: Script, build: Build, slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.random, "uniform", lambda _low, high: high)
    script.expect("GET /api/Agent/3", status=429, answer=RATE_LIMIT)
    script.expect("GET /api/Agent/3", status=429, answer=RATE_LIMIT, headers={"Retry-After": "10"})
    script.expect("GET /api/Agent/3", answer={"id": 3})
    build().get("/Agent/3")
    assert slept == pytest.approx([1.2, 12.0])


def test_waits_differ_from_tenant_to_tenant(script: Script, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(http.time, "sleep", waits.append)
    for _time in range(6):
        script.expect("GET /api/Agent/3", status=429)
    script.expect("GET /api/Agent/3", answer={"id": 3})
    build().get("/Agent/3")
    assert all(
        0.8 * expected <= wait <= 1.2 * expected for wait, expected in zip(waits, [1, 2, 4, 8, 16, 32], strict=True)
    )
    assert waits != [1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_halo_asks_for_is_waited(script: Script, build: Build, slept: list[float], method: str) -> None:
    script.expect(f"{method} /api/Roles", status=429, headers={"Retry-After": "17"})
    script.expect(f"{method} /api/Roles", answer=[])
    client = build()
    client.list("/Roles") if method == "GET" else client.save("/Roles", {"name": "x"})
    assert slept == [17]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("-5", 1),
        ("", 1),
        ("soon", 1),
        ("nan", 1),
        ("inf", 1),
        ("0", 1),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 1),
        ("Thu, 01 Jan 99999999999 00:00:00 GMT", 1),
        ("1.5", 1.5),
        (" 17 ", 17),
        ("61", 60),
        ("9" * 400, 1),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_whatever_halo_asks_to_wait_the_wait_is_sensible(
    script: Script, build: Build, slept: list[float], method: str, header: str, seconds: float
) -> None:
    script.expect(f"{method} /api/Roles/3", status=429, headers={"Retry-After": header})
    script.expect(f"{method} /api/Roles/3", answer={"id": 3})
    client = build()
    client.get("/Roles/3") if method == "GET" else client.save("/Roles/3", {"name": "x"})
    assert slept == [seconds]


def test_a_longer_wait_is_said_and_how_long_it_is(script: Script, build: Build, slept: list[float]) -> None:
    later = {"status": 429, "headers": {"Retry-After": "17"}}
    for what in ({"status": 429}, {"status": 503}, {"fault": "reset"}, later):
        script.expect("GET /api/Roles/3", **what)
    script.expect("GET /api/Roles/3", answer={"id": 3, "name": "Ann"}, fault="truncate")
    script.expect("GET /api/Roles/3", answer={"id": 3, "name": "Ann"}, fault="truncate")
    script.expect("GET /api/Roles/3", answer={"id": 3})
    said: list[str] = []
    build(say=said.append).get("/Roles/3")
    assert slept == [1, 2, 4, 17, 1, 2]
    assert said == [
        f"{script.url}: Halo answers 503; waiting 2 s, and 327 s more at most.",
        f"{script.url}: the connection was lost; waiting 4 s, and 323 s more at most.",
        f"{script.url}: the rate limit is reached; waiting 17 s, and 306 s more at most.",
        f"{script.url}: the connection was lost; waiting 2 s, and 303 s more at most.",
    ]


def test_what_halo_asks_for_again_and_again_is_waited_longer(script: Script, build: Build, slept: list[float]) -> None:
    """Or a Retry-After of a hundredth would send thousands of requests, each within the one before."""
    for _time in range(5):
        script.expect("GET /api/Roles/3", status=429, headers={"Retry-After": "0.01"})
    for _time in range(2):
        script.expect("GET /api/Roles/3", status=429, headers={"Retry-After": "50"})
    script.expect("GET /api/Roles/3", answer={"id": 3})
    build().get("/Roles/3")
    assert slept == [1, 2, 4, 8, 16, 50, 60]


def test_a_fleet_does_not_come_back_at_once(script: Script, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(http.time, "sleep", waits.append)
    for number in range(20):
        script.expect(f"GET /api/Roles/{number}", status=429, headers={"Retry-After": "10"})
        script.expect(f"GET /api/Roles/{number}", answer={"id": number})
        build().get(f"/Roles/{number}")
    assert len({round(wait, 1) for wait in waits}) > 5
    assert all(10 <= wait <= 12 for wait in waits)


def test_a_date_to_come_back_at_is_kept(
    script: Script, build: Build, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http.time, "time", lambda: 1_000_000_000.0)
    script.expect("GET /api/Roles/3", status=429, headers={"Retry-After": "Sun, 09 Sep 2001 01:46:49 GMT"})
    script.expect("GET /api/Roles/3", answer={"id": 3})
    build().get("/Roles/3")
    assert slept == [9]


def test_the_rate_limit_is_not_waited_out_beyond_the_budget(script: Script, build: Build, slept: list[float]) -> None:
    for _time in range(4):
        script.expect("GET /api/Agent/3", status=429, answer=RATE_LIMIT)
    with pytest.raises(HaloError, match="rate limit lasted longer than halo_retry_seconds") as caught:
        build(retry_seconds=5).get("/Agent/3")
    assert slept == [1, 2, 2]
    assert caught.value.status == 429
    assert caught.value.answer == RATE_LIMIT["error"]


def test_a_long_retry_after_does_not_go_beyond_the_budget(script: Script, build: Build, slept: list[float]) -> None:
    for _time in range(2):
        script.expect("GET /api/Agent/3", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(HaloError, match="halo_retry_seconds"):
        build(retry_seconds=30).get("/Agent/3")
    assert slept == [30]


def test_the_budget_is_for_all_requests_of_a_task_together(script: Script, build: Build, slept: list[float]) -> None:
    script.expect("GET /api/Agent/3", status=429)
    script.expect("GET /api/Agent/3", answer={"id": 3})
    script.expect("GET /api/Agent/4", status=503)
    script.expect("GET /api/Agent/4", status=503)
    script.expect("GET /api/Agent/4", status=503)
    client = build(retry_seconds=3)
    client.get("/Agent/3")
    with pytest.raises(HaloError, match="GET /Agent/4 answered 503"):
        client.get("/Agent/4")
    assert slept == [1, 1, 1]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_without_a_budget_nothing_is_waited_out(script: Script, build: Build, slept: list[float], status: int) -> None:
    script.expect("GET /api/Agent/3", status=status)
    with pytest.raises(HaloError):
        build(retry_seconds=0).get("/Agent/3")
    assert slept == []


@pytest.mark.parametrize("status", [400, 403, 409, 418, 500, 501])
def test_other_refusals_of_a_read_are_final(script: Script, build: Build, slept: list[float], status: int) -> None:
    script.expect("GET /api/Agent/3", status=status)
    with pytest.raises(HaloError, match=f"answered {status}"):
        build().get("/Agent/3")
    assert slept == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_token_request_changes_nothing_and_is_sent_again(
    script: Script, login: Build, slept: list[float], status: int
) -> None:
    script.expect("POST /auth/token", status=status)
    script.expect("POST /auth/token", form=FORM, answer=TOKEN)
    assert login().login.token() == "t0ken-1"
    assert slept == [1]


@pytest.mark.parametrize("fault", ["reset", "truncate"])
def test_a_read_that_was_lost_is_repeated(script: Script, build: Build, slept: list[float], fault: str) -> None:
    script.expect("GET /api/Agent/3", answer={"id": 3, "name": "Ann"}, fault=fault)
    script.expect("GET /api/Agent/3", answer={"id": 3})
    assert build().get("/Agent/3") == {"id": 3}
    assert slept == [1]


def test_a_token_request_that_was_lost_is_repeated(script: Script, login: Build, slept: list[float]) -> None:
    script.expect("POST /auth/token", fault="reset")
    script.expect("POST /auth/token", form=FORM, answer=TOKEN)
    assert login().login.token() == "t0ken-1"
    assert slept == [1]


@pytest.mark.parametrize("fault", ["reset", "truncate"])
def test_a_read_that_is_lost_each_time_is_an_error(
    script: Script, build: Build, slept: list[float], fault: str
) -> None:
    for _time in range(4):
        script.expect("GET /api/Agent/3", answer={"id": 3}, fault=fault)
    with pytest.raises(HaloError, match="the connection was lost during GET /Agent/3") as caught:
        build().get("/Agent/3")
    assert not isinstance(caught.value, AmbiguousWrite)
    assert slept == [1, 2, 4]


def test_a_reader_whose_time_is_over_waits_for_nothing() -> None:
    class Sock:
        def gettimeout(self) -> float:
            return 0.0

    raw = io.BytesIO(b"x")
    reader = http._LimitedReader(raw, Sock())
    with pytest.raises(TimeoutError):
        reader.readinto(bytearray(1))
    assert reader.readable()
    reader.close()
    assert raw.closed


def test_a_read_that_is_never_answered(script: Script, build: Build) -> None:
    script.expect("GET /api/Agent/3", fault="hang")
    with pytest.raises(HaloError, match=r"GET /Agent/3 got no answer within 0\.2 seconds"):
        build(timeout=0.2, retry_seconds=0).get("/Agent/3")


@pytest.mark.parametrize("fault", ["drip", "drip-head"])
def test_a_response_that_comes_byte_by_byte_is_ended_with_the_time(script: Script, build: Build, fault: str) -> None:
    script.expect("GET /api/Roles/3", fault=fault)
    script.expect("POST /api/Roles", fault=fault)
    client = build(timeout=0.3, retry_seconds=0)
    begin = time.monotonic()
    with pytest.raises(HaloError, match=r"GET /Roles/3 got no answer within 0\.3 seconds"):
        client.get("/Roles/3")
    with pytest.raises(AmbiguousWrite, match=r"POST /Roles got no answer within 0\.3 seconds") as caught:
        client._post("/Roles", {"name": "x"})
    assert caught.value.late
    assert 0.6 <= time.monotonic() - begin < 1.5


def test_a_proxy_does_not_give_more_time(script: Script, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", script.url)
    script.expect("GET /api/Roles/3", fault="drip-head")
    begin = time.monotonic()
    with pytest.raises(HaloError, match=r"got no answer within 0\.3 seconds"):
        build(url="http://halo.invalid", timeout=0.3, retry_seconds=0).get("/Roles/3")
    assert time.monotonic() - begin < 1.5


def test_the_time_includes_that_of_the_connection(
    script: Script, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[Any] = []
    send = requests.Session.send

    def noted(self: requests.Session, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        limits.append(how["timeout"])
        return send(self, request, **how)

    monkeypatch.setattr(requests.Session, "send", noted)
    script.expect("GET /api/Roles/3", answer={"id": 3})
    build(timeout=7).get("/Roles/3")
    assert [limit.total for limit in limits] == [7]


def test_the_time_is_for_each_request_anew(script: Script, build: Build) -> None:
    script.expect("GET /api/Roles/3", answer={"id": 3})
    script.expect("GET /api/Roles/4", answer={"id": 4})
    client = build(timeout=0.3)
    client.get("/Roles/3")
    time.sleep(0.4)
    assert client.get("/Roles/4") == {"id": 4}
    assert len({request["headers"]["Host"] for request in script.seen}) == 1


def test_a_response_has_a_limit(script: Script, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    assert http.LARGEST == 50 * 1024**2
    monkeypatch.setattr(http, "LARGEST", 1024**2)
    script.expect("GET /api/Roles/3", text='"' + "x" * (1024**2 - 2) + '"')
    script.expect("GET /api/Roles/4", text='"' + "x" * 1024**2 + '"')
    script.expect("POST /api/Roles", text='"' + "x" * 1024**2 + '"')
    client = build()
    with pytest.raises(HaloError, match="not Halo's API"):
        client.get("/Roles/3")
    with pytest.raises(HaloError, match=r"GET /Roles/4 was answered with more than 1 MB\."):
        client.get("/Roles/4")
    with pytest.raises(AmbiguousWrite, match=r"POST /Roles was answered with more than 1 MB\."):
        client._post("/Roles", {"name": "x"})


def test_a_limit_is_for_what_is_unpacked(script: Script, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST", 1024**2)
    packed = gzip.compress(b" " * (1024**2 + 1))
    assert len(packed) < 2000
    script.expect("GET /api/Roles/3", text=packed, headers={"Content-Encoding": "gzip"})
    with pytest.raises(HaloError, match="more than 1 MB"):
        build().get("/Roles/3")


@pytest.mark.parametrize("headers", [{"Content-Length": "1, 2"}, {"Transfer-Encoding": "chunked"}], ids=str)
def test_a_response_that_is_none_leaves_the_fate_of_a_write_open(
    script: Script, build: Build, headers: dict[str, str]
) -> None:
    script.expect("POST /api/Roles", text="nonsense\r\n", headers=headers)
    with pytest.raises(AmbiguousWrite, match="the connection was lost during POST /Roles") as caught:
        build()._post("/Roles", {"name": "x"})
    assert not caught.value.late


def test_a_run_that_was_killed_sends_nothing_more(
    script: Script, build: Build, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    script.expect("POST /api/Roles", status=429)
    parents = iter([4711, 1])
    monkeypatch.setattr(http.os, "getppid", lambda: next(parents))
    with pytest.raises(HaloError, match="the run that this request belongs to has ended"):
        build().save("/Roles", {"name": "x"})
    assert slept == [1]


@pytest.mark.parametrize("option", ["tenant", "client_id", "client_secret", "scope"])
def test_what_is_not_text_is_not_taken_for_a_bad_address(login: Build, option: str) -> None:
    with pytest.raises(HaloError, match="a connection option holds what is not text"):
        login(**{option: "s3cret\udcff"}).login.token()


def test_brackets_without_end_are_not_json(script: Script, build: Build) -> None:
    script.expect("GET /api/Roles/3", text="[" * 200_000)
    with pytest.raises(HaloError, match="not Halo's API"):
        build().get("/Roles/3")


@pytest.mark.parametrize("charset", ["", "; charset=utf-8", "; charset=nonsense", "; charset=base64", "; charset="])
def test_a_byte_order_mark_and_wrong_charsets_do_not_matter(script: Script, build: Build, charset: str) -> None:
    headers = {"Content-Type": "application/json" + charset}
    script.expect("GET /api/Roles/3", text='\ufeff{"id": 3, "name": "ü"}', headers=headers)
    assert build().get("/Roles/3") == {"id": 3, "name": "ü"}


def test_a_charset_that_is_named_counts(script: Script, build: Build) -> None:
    script.expect(
        "GET /api/Roles/3", text='{"id": 3, "name": "ü"}', headers={"Content-Type": "text/json; CHARSET=latin-1"}
    )
    assert build().get("/Roles/3") == {"id": 3, "name": "Ã¼"}


# TLS, and what is taken for it


def test_no_verification_is_one_warning_and_nothing_on_standard_error(
    tls: tuple[Script, str], build: Build, capfd: pytest.CaptureFixture[str]
) -> None:
    script, _ca_path = tls
    script.expect("GET /api/Roles/3", answer={"id": 3})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client = build(url=script.url, validate_certs=False)
        client.get("/Roles/3")
        # what the request changed must be undone: the next warning is recorded again
        warnings.warn("another's", UserWarning, stacklevel=1)
    # sockets of other tests may be collected meanwhile
    ours = [str(one.message) for one in caught if not issubclass(one.category, ResourceWarning)]
    assert ours == ["another's"]
    assert client.warnings == [
        f"{script.url}: the server's certificate is not verified (halo_validate_certs is false)."
    ]
    assert capfd.readouterr().err == ""


def test_a_trusted_certificate_draws_no_warning(tls: tuple[Script, str], build: Build) -> None:
    script, ca_path = tls
    script.expect("GET /api/Roles/3", answer={"id": 3})
    client = build(url=script.url, ca_path=ca_path)
    client.get("/Roles/3")
    assert client.warnings == []


@pytest.mark.parametrize(
    ("where", "reason"), [(requests.Session, "EOF occurred in violation of protocol"), (http, "bad record mac")]
)
def test_tls_that_breaks_when_a_write_may_have_been_sent(
    script: Script, build: Build, monkeypatch: pytest.MonkeyPatch, where: Any, reason: str
) -> None:
    def broken(*_args: Any, **_how: Any) -> Any:
        raise requests.exceptions.SSLError(reason)

    if where is http:
        script.expect("POST /api/Roles", answer={"id": 3})
    monkeypatch.setattr(where, "_content" if where is http else "send", broken)
    with pytest.raises(AmbiguousWrite, match="the connection was lost during POST /Roles"):
        build()._post("/Roles", {"name": "x"})


@pytest.mark.parametrize(
    ("hosts", "days", "trusted", "reason", "hint"),
    [
        (("127.0.0.1",), 30, False, "self.signed certificate", "halo_ca_path"),
        (("127.0.0.1",), -1, True, "certificate has expired", "the clock of this machine"),
        (("10.0.0.1", "halo.example.com"), 30, True, "mismatch, certificate is not valid for '127.0.0.1'", "halo_url"),
    ],
    ids=["self-signed", "expired", "another host's"],
)
@pytest.mark.parametrize("logs_in", [True, False], ids=["at login", "with a token"])
def test_a_certificate_is_refused_with_its_reason(
    build: Build, tmp_path: Path, hosts: tuple[str], days: int, trusted: bool, reason: str, hint: str, logs_in: bool
) -> None:
    context, ca_path = server_context(tmp_path, hosts, days)
    with Script(context) as script:
        more = {"ca_path": str(ca_path)} if trusted else {}
        client = build(url=script.url, **more, **({"access_token": None} if logs_in else {}))
        with pytest.raises(HaloError, match=rf"the server's certificate is refused: .*{reason}") as caught:
            client.save("/Roles", {"name": "x"})
        assert script.seen == []
    assert hint in str(caught.value)
    assert not isinstance(caught.value, AmbiguousWrite)


@pytest.mark.parametrize("proxy", ["http://{place}", "http://ann:s3cret@{place}"], ids=["open", "with a password"])
def test_a_proxy_that_https_goes_through_sees_neither_token_nor_secret(
    build: Build, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    heads: list[bytes] = []

    def refuse(listening: socket.socket) -> None:
        with listening.accept()[0] as connection:
            heads.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    for options in ({}, {"access_token": None}):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            monkeypatch.setenv("https_proxy", proxy.format(place=f"127.0.0.1:{listening.getsockname()[1]}"))
            thread = threading.Thread(target=refuse, args=(listening,), daemon=True)
            thread.start()
            with pytest.raises(HaloError, match="the proxy refused the connection") as caught:
                build(url="https://halo.invalid", retry_seconds=0, **options).get("/Roles/3")
            thread.join(5)
        assert "s3cret" not in str(caught.value)
    # Python 3.11 speaks HTTP/1.0 to a proxy
    assert [head.split(b" HTTP/")[0] for head in heads] == [b"CONNECT halo.invalid:443"] * 2
    for head in heads:
        assert b"\r\nAuthorization" not in head
        assert b"given" not in head
        assert SECRET.encode() not in head


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_bundle_that_requests_takes_from_the_environment(
    tls: tuple[Script, str], build: Build, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    script, ca_path = tls
    script.expect("GET /api/Roles/3", answer={"id": 3})
    for other in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, ca_path)
    build(url=script.url).get("/Roles/3")
    monkeypatch.setenv(name, "/no/such/bundle.pem")
    with pytest.raises(HaloError, match=rf"{name} /no/such/bundle\.pem does not exist"):
        build(url=script.url)
    build(url=script.url, ca_path=ca_path)
    build(url=script.url, validate_certs=False)


@pytest.mark.parametrize("option", ["halo_url", "halo_auth_url"])
def test_plain_http_to_a_port_with_tls(
    certificate: tuple[ssl.SSLContext, str], script: Script, build: Build, option: str
) -> None:
    with Script(certificate[0]) as secure:
        plain = secure.url.replace("https", "http")
        options = {"url": plain} if option == "halo_url" else {"auth_url": plain, "access_token": None}
        with pytest.raises(HaloError, match=rf"If the server speaks https, write https:// in {option}\."):
            build(**options, retry_seconds=0).get("/Roles/3")


def test_a_connection_that_was_lost_later_is_no_sign_of_https(script: Script, build: Build) -> None:
    script.expect("GET /api/Roles/3", answer={"id": 3})
    script.expect("GET /api/Roles/3", fault="reset")
    client = build(retry_seconds=0)
    client.get("/Roles/3")
    with pytest.raises(HaloError, match=r"lost during GET /Roles/3\.$"):
        client.get("/Roles/3")


@pytest.mark.parametrize(
    "text",
    [
        "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>",
        "<p>Reason: You're speaking plain HTTP to an SSL-enabled server port.<br /></p>",
        "Client sent an HTTP request to an HTTPS server.\n",
    ],
)
def test_a_server_that_says_that_it_speaks_https(script: Script, build: Build, login: Build, text: str) -> None:
    script.expect("POST /api/Roles", status=400, text=text)
    script.expect("POST /auth/token", status=400, text=text)
    for ask in (lambda: build().save("/Roles", {"name": "x"}), login().login.token):
        with pytest.raises(HaloError, match=r"the server speaks https\. Write https:// in halo_url\."):
            ask()


def test_a_server_that_answers_with_a_tls_alert(script: Script, build: Build) -> None:
    script.expect("POST /api/Roles", fault="tls-alert")
    with pytest.raises(HaloError, match=r"the server speaks https\. Write https://") as caught:
        build().save("/Roles", {"name": "x"})
    assert not isinstance(caught.value, AmbiguousWrite)


def test_https_to_a_port_without_tls(build: Build) -> None:
    with Script() as plain:
        client = build(url=plain.url.replace("http", "https"))
        with pytest.raises(HaloError, match=r"does not speak https at this address\. Check the port in halo_url"):
            client.save("/Roles", {"name": "x"})
        plain.seen.clear()
        plain.wrong.clear()


# Proxies


@pytest.fixture
def no_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS these ask the operating system, which ends a forked process."""

    def asked(*_args: Any, **_kwargs: Any) -> Any:
        raise AssertionError("the operating system was asked")

    for where in (urllib.request, requests.utils, requests.compat):
        for name in ("getproxies", "proxy_bypass"):
            monkeypatch.setattr(where, name, asked)


@pytest.mark.usefixtures("no_system")
@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", None])
def test_proxies_come_from_the_environment_alone(
    script: Script, build: Build, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    url = "http://halo.invalid" if name else script.url
    if name:
        monkeypatch.setenv(name, script.url)
    script.expect("GET /api/Roles/3", answer={"id": 3})
    assert build(url=url).get("/Roles/3") == {"id": 3}
    assert script.seen[0]["headers"]["Host"] == url.removeprefix("http://")


@pytest.mark.usefixtures("no_system")
@pytest.mark.parametrize(
    ("name", "value", "direct"),
    [
        ("no_proxy", "127.0.0.1", True),
        ("NO_PROXY", "127.0.0.1", True),
        ("no_proxy", "*", True),
        ("no_proxy", "example.com, 127.0.0.1:{port}", True),
        ("no_proxy", "10.0.0.0/8, 127.0.0.0/8", True),
        ("no_proxy", "10.0.0.0/8,nonsense/x", False),
        ("no_proxy", "example.com", False),
        ("no_proxy", "", False),
    ],
)
def test_no_proxy(
    script: Script, build: Build, monkeypatch: pytest.MonkeyPatch, name: str, value: str, direct: bool
) -> None:
    port = script.url.rpartition(":")[2]
    with Script() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv(name, value.format(port=port))
        (script if direct else proxy).expect("GET /api/Roles/3", answer={"id": 3})
        assert build().get("/Roles/3") == {"id": 3}


def test_a_proxy_that_is_not_there(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    with Script() as gone:
        pass
    monkeypatch.setenv("https_proxy", gone.url.replace("//", "//ann:s3cret@"))
    with pytest.raises(HaloError, match=r"the proxy refused the connection\. Check the proxy variables") as caught:
        build(url="https://halo.invalid", retry_seconds=0).save("/Roles", {"name": "x"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["ftp://ann:s3cret@127.0.0.1", "http://", "http://ann:s3cret@[::1"])
def test_a_proxy_that_can_be_none(build: Build, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(HaloError, match=r"not valid, or that of the proxy\. Check halo_url and the proxy") as caught:
        build(url="http://halo.invalid").save("/Roles", {"name": "x"})
    assert "s3cret" not in str(caught.value)
    assert not isinstance(caught.value, AmbiguousWrite)


# Where there is nobody


@pytest.mark.usefixtures("no_system")
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support."), "the proxy speaks SOCKS, which"),
        (requests.exceptions.InvalidSchema("No connection adapters"), "the address is not valid. Check halo_url."),
        (requests.exceptions.InvalidURL("no"), "the address is not valid. Check halo_url."),
        (requests.exceptions.SSLError("no  cipher"), "TLS failed: no cipher. Check the certificate, or name the CA"),
        (requests.exceptions.SSLError("EOF occurred"), "the connection was lost during GET /x."),
        (requests.exceptions.SSLError("certificate verify failed: odd (x)"), "refused: odd. Check the certificate."),
        (requests.ConnectTimeout("no"), "no connection could be made: no route to it. Check halo_url and the network"),
        (requests.ConnectTimeout("[Errno -2] No Such Thing"), "no connection could be made: no such thing. Check"),
        (requests.exceptions.ProxyError("no"), "the proxy refused the connection. Check the proxy variables."),
    ],
    ids=str,
)
def test_why_nothing_was_sent(build: Build, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def fail(*_given: Any, **_more: Any) -> None:
        raise error

    transport = build(retry_seconds=0)._transport
    monkeypatch.setattr(transport._session, "send", fail)
    with pytest.raises(HaloError) as caught:
        transport.send("GET", f"{transport.instance}/api/x", path="/x")
    assert message in str(caught.value)
    assert (caught.value.instance, caught.value.method, caught.value.path) == (transport.instance, "GET", "/x")
    assert not isinstance(caught.value, AmbiguousWrite)


def test_an_address_that_no_request_can_have(build: Build) -> None:
    transport = build()._transport
    with pytest.raises(HaloError, match=r"the address is not valid\. Check halo_auth_url\."):
        transport.send("GET", "https://*.example.com", path="/x")


def test_the_library_for_requests_may_be_missing(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUESTS_ERROR", "Traceback")
    with pytest.raises(HaloError, match="the Python library 'requests' is missing") as caught:
        build()
    assert caught.value.instance
    assert caught.value.hint


def test_a_port_that_nobody_listens_on(build: Build, slept: list[float]) -> None:
    with Script() as gone:
        pass
    with pytest.raises(HaloError, match="no connection could be made: connection refused") as caught:
        build(url=gone.url, retry_seconds=0).save("/Agent", {"name": "x"})
    assert not isinstance(caught.value, AmbiguousWrite)
    assert "halo_url" in str(caught.value)
    assert slept == []


def test_a_connection_that_could_not_be_opened_is_tried_again_for_writes_too(build: Build, slept: list[float]) -> None:
    with Script() as gone:
        pass
    with pytest.raises(HaloError, match="no connection could be made"):
        build(url=gone.url).save("/Agent", {"name": "x"})
    assert slept == [1, 2, 4]


def test_a_host_that_does_not_exist(build: Build) -> None:
    with pytest.raises(HaloError, match=r"the host name is unknown|name or service not known"):
        build(url="http://halo.invalid", retry_seconds=0).get("/Agent/3")


# Writes whose fate is unknown. The object is found by its name.

FOUND = {"id": 9, "name": "x"}
OTHERS = [{"id": 1, "name": "other"}]
LOST: list[dict[str, Any]] = [
    {"fault": "reset"},
    {"status": 500},
    {"status": 500, "text": PAGE},
    {"status": 502},
    {"status": 503},
    {"answer": {"id": 9, "name": "a long enough name"}, "fault": "truncate"},
    {"text": '{"id": 9, "na'},
    {"status": 201, "text": PAGE},
]


def finder(client: Client) -> Callable[[], dict[str, Any] | None]:
    return lambda: next((row for row in client.list("/Agent") if row["name"] == "x"), None)


@pytest.mark.parametrize("lost", LOST, ids=str)
def test_a_creation_that_was_carried_out_is_found_and_not_repeated(
    script: Script, build: Build, slept: list[float], lost: dict[str, Any]
) -> None:
    script.expect("POST /api/Agent", sent=[{"name": "x"}], **lost)
    script.expect("GET /api/Agent", answer=[FOUND])
    script.expect("POST /api/Agent", sent=[{"name": "x", "id": 9}], answer=FOUND)
    client = build()
    assert client.save("/Agent", {"name": "x"}, finder(client)) == FOUND
    assert slept == [0.3]


@pytest.mark.parametrize(
    ("lost", "timeout", "pauses"),
    [
        *((lost, 10, [0.3, 1, 3, 5.7]) for lost in LOST),
        ({"fault": "reset"}, 4, [0.3, 1, 3]),
        ({"status": 502}, 30, [0.3, 1, 3, 6, 12, 7.7]),
        # Halo itself says that it is over
        ({"status": 500, "answer": {"ClassName": "System.Exception", "Message": "Deadlock."}}, 30, [0.3, 1, 3]),
    ],
    ids=str,
)
def test_a_creation_that_was_not_carried_out_is_repeated_when_its_time_is_over(
    script: Script, build: Build, slept: list[float], lost: dict[str, Any], timeout: int, pauses: list[float]
) -> None:
    script.expect("POST /api/Agent", sent=[{"name": "x"}], **lost)
    for _look in pauses:
        script.expect("GET /api/Agent", answer=OTHERS)
    script.expect("POST /api/Agent", sent=[{"name": "x"}], status=201, answer=FOUND)
    client = build(timeout=timeout)
    assert client.save("/Agent", {"name": "x"}, finder(client)) == FOUND
    assert slept == pytest.approx(pauses)


@pytest.mark.parametrize("lost", [{"fault": "reset"}, {"status": 502}], ids=str)
def test_a_creation_that_is_carried_out_late_is_found_and_not_repeated(
    script: Script, build: Build, slept: list[float], lost: dict[str, Any]
) -> None:
    script.expect("POST /api/Agent", **lost)
    for _look in range(4):
        script.expect("GET /api/Agent", answer=OTHERS)
    script.expect("GET /api/Agent", answer=[FOUND])
    script.expect("POST /api/Agent", sent=[{"name": "x", "id": 9}], answer=FOUND)
    client = build(timeout=30)
    assert client.save("/Agent", {"name": "x"}, finder(client)) == FOUND


@pytest.mark.parametrize("lost", [{"fault": "hang"}, {"status": 504}], ids=str)
def test_a_creation_that_the_server_may_still_be_at_is_never_repeated(
    script: Script, build: Build, slept: list[float], lost: dict[str, Any]
) -> None:
    script.expect("POST /api/Agent", **lost)
    for _look in range(3):
        script.expect("GET /api/Agent", answer=OTHERS)
    client = build(timeout=0.3)
    with pytest.raises(AmbiguousWrite, match="Run again"):
        client.save("/Agent", {"name": "x"}, finder(client))


def test_a_creation_that_timed_out_and_turns_up_is_used(script: Script, build: Build, slept: list[float]) -> None:
    script.expect("POST /api/Agent", fault="hang")
    script.expect("GET /api/Agent", answer=OTHERS)
    script.expect("GET /api/Agent", answer=[FOUND])
    script.expect("POST /api/Agent", sent=[{"name": "x", "id": 9}], answer=FOUND)
    client = build(timeout=0.3)
    assert client.save("/Agent", {"name": "x"}, finder(client)) == FOUND


def test_what_was_found_may_be_lost_again_and_is_then_repeated(
    script: Script, build: Build, slept: list[float]
) -> None:
    script.expect("POST /api/Agent", fault="reset")
    script.expect("GET /api/Agent", answer=[FOUND])
    script.expect("POST /api/Agent", sent=[{"name": "x", "id": 9}], fault="reset")
    script.expect("POST /api/Agent", sent=[{"name": "x", "id": 9}], answer=FOUND)
    client = build()
    assert client.save("/Agent", {"name": "x"}, finder(client)) == FOUND


@pytest.mark.parametrize("lost", [*LOST, {"fault": "hang"}, {"status": 504}], ids=str)
def test_an_update_is_simply_sent_again(script: Script, build: Build, slept: list[float], lost: dict[str, Any]) -> None:
    script.expect("POST /api/Agent", sent=[{"id": 9, "name": "x"}], **lost)
    script.expect("POST /api/Agent", sent=[{"id": 9, "name": "x"}], answer=FOUND)
    assert build(timeout=0.3).save("/Agent", FOUND) == FOUND
    assert slept == [0.3]


def test_an_update_that_is_lost_twice_is_an_error(script: Script, build: Build, slept: list[float]) -> None:
    script.expect("POST /api/Agent", status=500, answer={"ClassName": "System.Exception", "Message": "Deadlock."})
    script.expect("POST /api/Agent", status=500, answer={"ClassName": "System.Exception", "Message": "Deadlock."})
    with pytest.raises(AmbiguousWrite, match=r"answered 500 .*Halo said: Deadlock\."):
        build().save("/Agent", FOUND)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 415, 418])
def test_a_refused_write_is_not_repeated(script: Script, build: Build, status: int) -> None:
    script.expect("POST /api/Agent", status=status, answer={"Message": "No."})
    client = build()
    with pytest.raises(HaloError, match=rf"POST /Agent answered {status}\. Halo said: No\.") as caught:
        client.save("/Agent", {"name": "x"}, finder(client))
    assert not isinstance(caught.value, AmbiguousWrite)


@pytest.mark.parametrize("lost", [{"fault": "reset"}, {"status": 500}, {"status": 503}], ids=str)
@pytest.mark.parametrize("second", [{"answer": FOUND}, {"status": 404}], ids=["done now", "was done"])
def test_a_removal_is_repeated(
    script: Script, build: Build, slept: list[float], lost: dict[str, Any], second: dict[str, Any]
) -> None:
    script.expect("DELETE /api/Agent/9", **lost)
    script.expect("DELETE /api/Agent/9", **second)
    build().delete("/Agent/9")
    assert slept == [0.3]


def test_a_removal_that_is_lost_twice_is_an_error(script: Script, build: Build, slept: list[float]) -> None:
    script.expect("DELETE /api/Agent/9", fault="reset")
    script.expect("DELETE /api/Agent/9", fault="reset")
    with pytest.raises(AmbiguousWrite, match="lost during DELETE /Agent/9"):
        build().delete("/Agent/9")


# Absent


def test_404_is_absent_for_get_and_delete_alone(script: Script, build: Build) -> None:
    script.expect("GET /api/Agent/9", status=404, answer={"Message": "not found"})
    script.expect("DELETE /api/Agent/9", status=404, answer={"Message": "not found"})
    script.expect("POST /api/Agent", status=404)
    script.expect("GET /api/Agent", status=404)
    client = build()
    assert client.get("/Agent/9") is None
    client.delete("/Agent/9")
    with pytest.raises(HaloError, match="POST /Agent answered 404"):
        client.save("/Agent", FOUND)
    with pytest.raises(HaloError, match=r"GET /Agent answered 404\. Check halo_url"):
        client.list("/Agent")


@pytest.mark.parametrize("status", [400, 403])
def test_other_refusals_of_a_removal_are_errors(script: Script, build: Build, status: int) -> None:
    script.expect("DELETE /api/Agent/9", status=status, answer={"Message": "In use."})
    with pytest.raises(HaloError, match=rf"DELETE /Agent/9 answered {status}\. Halo said: In use\."):
        build().delete("/Agent/9")


# Shapes of lists and answers

ROWS = [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(
    "answer",
    [
        ROWS,
        {"agents": ROWS},
        {"record_count": 2, "agents": ROWS},
        {"record_count": 2, "results": ROWS},
        {"page_no": 1, "agents": ROWS, "others": []},
    ],
    ids=str,
)
def test_lists(script: Script, build: Build, answer: Any) -> None:
    script.expect("GET /api/Agent", query={"includedisabled": "true"}, answer=answer)
    assert build().list("/Agent", {"includedisabled": "true"}) == ROWS


@pytest.mark.parametrize("empty", [[], {"record_count": 0, "roles": []}, {"results": []}], ids=str)
def test_empty_lists(script: Script, build: Build, empty: Any) -> None:
    script.expect("GET /api/Roles", answer=empty)
    assert build().list("/Roles") == []


@pytest.mark.parametrize("path", ["/Agent", "/Application"])
def test_a_list_that_every_login_is_in_is_never_empty(script: Script, build: Build, path: str) -> None:
    script.expect(f"GET /api{path}", answer=[])
    with pytest.raises(HaloError, match="an empty list, which cannot be"):
        build().list(path)


@pytest.mark.parametrize(
    "what",
    [{}, {"text": "null"}, {"status": 204}, {"answer": {}}, {"answer": {"errors": ["x"]}}, {"answer": [*ROWS, None]}],
    ids=str,
)
def test_what_is_no_list_is_not_taken_for_an_empty_one(script: Script, build: Build, what: dict[str, Any]) -> None:
    script.expect("GET /api/Roles", **what)
    with pytest.raises(HaloError, match="not with the list that was asked for"):
        build().list("/Roles")


def test_further_pages_are_fetched(script: Script, build: Build) -> None:
    rows = [{"id": number} for number in range(250)]
    page = {"q": "1", "pageinate": "true", "page_size": "100"}
    script.expect("GET /api/Agent", query={"q": "1"}, answer={"record_count": 250, "agents": rows[:100]})
    script.expect(
        "GET /api/Agent", query={**page, "page_no": "2"}, answer={"record_count": 250, "agents": rows[100:200]}
    )
    script.expect("GET /api/Agent", query={**page, "page_no": "3"}, answer={"record_count": 250, "agents": rows[200:]})
    assert build().list("/Agent", {"q": "1"}) == rows


def test_pages_of_another_size_leave_nothing_out(script: Script, build: Build) -> None:
    # the first page, which nobody asked for, had 30 rows; those that were asked for have 100
    rows = [{"id": number} for number in range(130)]
    script.expect("GET /api/Agent", answer={"record_count": 130, "agents": rows[:30]})
    paged = {"pageinate": "true", "page_size": "100"}
    script.expect("GET /api/Agent", query={**paged, "page_no": "1"}, answer={"record_count": 130, "agents": rows[:100]})
    script.expect("GET /api/Agent", query={**paged, "page_no": "2"}, answer={"record_count": 130, "agents": rows[100:]})
    assert build().list("/Agent") == rows


def test_a_count_that_is_never_reached_does_not_go_on_for_ever(script: Script, build: Build) -> None:
    page = {"pageinate": "true", "page_size": "100"}
    for _attempt in range(2):
        for query in ({}, {**page, "page_no": "1"}, {**page, "page_no": "2"}):
            rows = [] if query.get("page_no") == "2" else ROWS
            script.expect("GET /api/Agent", query=query, answer={"record_count": 5, "agents": rows})
    with pytest.raises(HaloError, match="the list that GET /Agent gave is not whole"):
        build().list("/Agent")


def test_what_others_refer_to_is_listed_once(script: Script, build: Build) -> None:
    script.expect("GET /api/Roles", answer=ROWS)
    client = build()
    assert client.cached("/Roles", {}) == client.cached("/Roles", {}) == ROWS


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize(
    ("what", "saved"),
    [
        ({"answer": FOUND}, FOUND),
        ({"answer": [FOUND]}, FOUND),
        ({"answer": []}, None),
        ({}, None),
        ({"answer": True}, None),
    ],
    ids=str,
)
def test_answers_to_a_write(script: Script, build: Build, status: int, what: dict[str, Any], saved: Any) -> None:
    script.expect("POST /api/Agent", sent=[{"name": "x"}], status=status, **what)
    assert build().save("/Agent", {"name": "x"}) == saved


def test_ids_that_were_read_as_texts_are_sent_as_numbers(script: Script, build: Build) -> None:
    sent = {"id": "9", "name": "12", "roles": [{"id": "0b1e7a52"}], "teams": [{"team_id": "3", "team_name": "4"}]}
    expected = {"id": 9, "name": "12", "roles": [{"id": "0b1e7a52"}], "teams": [{"team_id": 3, "team_name": "4"}]}
    script.expect("POST /api/Agent", sent=[expected], answer=FOUND)
    build().save("/Agent", sent)


def test_every_id_is_sent_as_a_number_and_nothing_else(script: Script, build: Build) -> None:
    ids = ("id", "id_int", "loginas_agent_id", "loginas_halointegrator", "team_id", "department_id", "workday_id")
    sent = {**dict.fromkeys(ids, "07"), "name": "7", "rows": [{"id": "8"}, {"id": "r-8"}, {"id": "8a"}]}
    expected = {**dict.fromkeys(ids, 7), "name": "7", "rows": [{"id": 8}, {"id": "r-8"}, {"id": "8a"}]}
    script.expect("POST /api/Agent", sent=[expected], answer={"id": 7})
    build().save("/Agent", sent)


def test_a_warning_of_halos_is_passed_on(script: Script, build: Build) -> None:
    script.expect("POST /api/Agent", answer={**FOUND, "_warning": f"Weak:\n {SECRET}"})
    client = build()
    client.save("/Agent", FOUND)
    assert client.warnings == ["Halo warns: Weak: ********"]


@pytest.mark.parametrize(("answer", "found"), [(FOUND, FOUND), ([FOUND], FOUND), (None, {})], ids=str)
def test_answers_to_a_read(script: Script, build: Build, answer: Any, found: Any) -> None:
    script.expect("GET /api/Agent/9", answer=answer)
    assert build().get("/Agent/9") == found


@pytest.mark.parametrize(
    "what", [{"text": "<html><p>Welcome"}, {"answer": 5}, {"answer": [1, 2]}, {"text": "{"}], ids=str
)
def test_what_is_not_halos_api(script: Script, build: Build, what: dict[str, Any]) -> None:
    script.expect("GET /api/Agent/9", **what)
    script.expect("GET /api/Agent", **{**what, **({"answer": 5} if "answer" in what else {})})
    client = build()
    for ask in (lambda: client.get("/Agent/9"), lambda: client.list("/Agent")):
        with pytest.raises(HaloError, match=r"gave something that is not Halo's API\..*Check halo_url"):
            ask()


# Redirects, netrc


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_refused(script: Script, build: Build, login: Build, status: int) -> None:
    headers = {"Location": f"https://new.example.com/x?secret={quote(SECRET)}"}
    script.expect("GET /api/Agent/9", status=status, headers=headers)
    script.expect("POST /api/Agent", status=status, headers=headers)
    script.expect("POST /auth/token", status=status, headers=headers)
    client = build()
    asked = login().login
    for ask in (lambda: client.get("/Agent/9"), lambda: client.save("/Agent", FOUND), asked.token):
        with pytest.raises(HaloError, match=r"redirected to https://new\.example\.com/x\.") as caught:
            ask()
        assert "secret=" not in str(caught.value)
        assert "Give th" in str(caught.value)


@pytest.mark.parametrize("location", ["http://[nowhere", "//", "http://a..b/", "\\"])
def test_a_redirect_to_nowhere_is_a_redirect(script: Script, build: Build, location: str) -> None:
    script.expect("POST /api/Roles", status=302, headers={"Location": location})
    with pytest.raises(HaloError, match="POST /Roles was redirected to ") as caught:
        build()._post("/Roles", {"name": "x"})
    assert not isinstance(caught.value, AmbiguousWrite)


@pytest.mark.parametrize("status", [201, 400, 404])
def test_an_address_in_another_answer_is_no_redirect(script: Script, build: Build, status: int) -> None:
    script.expect("GET /api/Agent/3", status=status, answer={"id": 3}, headers={"Location": "/elsewhere"})
    transport = build()._transport
    assert transport.send("GET", f"{script.url}/api/Agent/3", path="/Agent/3", token="given").location == ""


def test_a_netrc_is_ignored(script: Script, login: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password s3cret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    script.expect("POST /auth/token", token=None, answer=TOKEN)
    script.expect("GET /api/Agent/9", token="t0ken-1", answer=FOUND)
    login().get("/Agent/9")
    assert "Authorization" not in script.seen[0]["headers"]


def test_only_json_is_asked_for_and_no_more_is_sent_than_needed(script: Script, build: Build) -> None:
    script.expect("GET /api/Agent/9", answer=FOUND)
    build().get("/Agent/9")
    headers = script.seen[0]["headers"]
    assert headers["Accept"] == "application/json"
    assert set(headers) <= {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection", "Authorization"}


# What errors say

FORMS = {
    "raw": SECRET,
    "URL-encoded": quote(SECRET, safe=""),
    "form-encoded": quote_plus(SECRET),
    "base64": base64.b64encode(SECRET.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "shape",
    [
        lambda text: {"answer": {"Message": text}},
        lambda text: {"answer": {"error": text}},
        lambda text: {"answer": {"error": text, "error_description": text}},
        lambda text: {"answer": {"[0].clientSecret": [f"The value {text} is not valid."]}},
        lambda text: {"answer": text},
        lambda text: {"text": f"<html><title>{text}</title></html>"},
        lambda text: {"text": text},
        # the message is cut in the middle of the secret
        lambda text: {"answer": {"Message": "x" * 295 + text}},
        lambda text: {"answer": {"Message": f"sent:\n\n{text}"}},
        lambda text: {"headers": {"Location": f"https://x.example.com/{quote(text)}"}, "status": 302},
    ],
)
@pytest.mark.parametrize("where", ["token", "read", "write", "removal"])
def test_a_secret_that_the_server_sends_back_is_not_shown(
    script: Script,
    build: Build,
    login: Build,
    slept: list[float],
    where: str,
    shape: Callable[[str], dict[str, Any]],
    form: str,
) -> None:
    what = {"status": 400, **shape(FORMS[form])}
    request = {
        "token": "POST /auth/token",
        "read": "GET /api/Agent/9",
        "write": "POST /api/Agent",
        "removal": "DELETE /api/Agent/9",
    }
    script.expect(request[where], **what)
    client = login() if where == "token" else build()
    ask: Callable[[], Any] = {
        "token": client.login.request_token,
        "read": lambda: client.get("/Agent/9"),
        "write": lambda: client.save("/Agent", {"name": "x"}),
        "removal": lambda: client.delete("/Agent/9"),
    }[where]
    with pytest.raises(HaloError) as caught:
        ask()
    everything = (
        str(caught.value)
        + str(getattr(caught.value, "code", ""))
        + json.dumps(caught.value.failure(), ensure_ascii=False)
        + repr(caught.value)
    )
    for form in FORMS.values():
        assert form not in everything
    for start in ("p@ss", "p%40ss", FORMS["base64"][:6]):
        assert start not in everything, everything
    assert caught.value.__cause__ is None


def test_what_a_task_brings_as_a_secret_is_not_shown_either(script: Script, build: Build) -> None:
    script.expect("POST /api/Agent", status=400, answer={"Message": "Weak secret: n3w&s3cret, token given"})
    client = build()
    client.secrets.append("n3w&s3cret")
    with pytest.raises(HaloError) as caught:
        client.save("/Agent", {"name": "x"})
    assert caught.value.answer == "Weak secret: ********, token ********"


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ({"answer": {"Message": "Too long."}}, "Too long."),
        ({"answer": {"ClassName": "System.Exception", "Message": "Too long.", "Data": None}}, "Too long."),
        ({"answer": {"error": "oops", "error_description": "Too long."}}, "Too long."),
        ({"answer": {"error": "oops"}}, "oops"),
        ({"answer": {"title": "Bad Request", "status": 400}}, "Bad Request"),
        ({"answer": {"[0].name": ["Required.", "Unique."], "[0].id": []}}, "[0].name: Required., Unique."),
        ({"answer": {"code": 5}}, None),
        ({"answer": "Too  long.\r\n"}, "Too long."),
        ({"answer": [1]}, None),
        ({"text": "Too long."}, "Too long."),
        ({"text": PAGE}, "502 - Bad & gateway. (an HTML page)"),
        ({"text": "<p>no title</p>"}, "an HTML page"),
        ({}, None),
        ({"answer": {"Message": "y" * 400}}, "y" * 300 + "..."),
    ],
    ids=lambda value: str(value)[:40],
)
def test_halos_own_words(script: Script, build: Build, what: dict[str, Any], answer: str | None) -> None:
    script.expect("GET /api/Agent/9", status=400, **what)
    with pytest.raises(HaloError) as caught:
        build().get("/Agent/9")
    request = {"method": "GET", "path": "/Agent/9"}
    assert caught.value.failure() == {**request, "status": 400, "answer": answer, "hint": None}
    assert str(caught.value) == f"{script.url}: GET /Agent/9 answered 400." + (
        f" Halo said: {answer}" if answer else ""
    )


def test_403_says_what_is_needed(script: Script, build: Build) -> None:
    script.expect("GET /api/Application", status=403)
    with pytest.raises(HaloError, match="scope all or admin and an administrator"):
        build().list("/Application")
