# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests in their exact order: login, retries, list shapes, answers, lost connections, errors."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from ansible_collections.haloops.halo.plugins.module_utils import http
from ansible_collections.haloops.halo.plugins.module_utils.auth import Connection, Login, SharedTokens
from ansible_collections.haloops.halo.plugins.module_utils.client import Client
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError, LoginError, UnknownFate
from ansible_collections.haloops.halo.plugins.module_utils.http import Transport
from ansible_collections.haloops.halo.plugins.module_utils.run import try_login
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
    """Makes clients for the script; with an access token unless told otherwise."""
    opened: list[Transport] = []

    def made(tokens: Any = None, **options: Any) -> Client:
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
            connection.url, verify=connection.verify, timeout=connection.timeout, retry_seconds=connection.retry_seconds
        )
        opened.append(transport)
        return Client(transport, Login(connection, transport, tokens))

    yield made
    for transport in opened:
        transport.close()


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
    script.expect("GET /api/AuthInfo", token=None, answer={key: f"{script.url}/elsewhere/", "tenant_id": "told"})
    script.expect("POST /elsewhere/token", query={"tenant": "told"}, form=FORM, answer=TOKEN)
    login().login.request_token()


def test_the_users_tenant_goes_before_that_of_authinfo(script: Script, login: Build) -> None:
    script.expect("POST /auth/token", query={"tenant": "mine"}, status=404)
    script.expect("GET /api/AuthInfo", answer={"auth_url": f"{script.url}/elsewhere", "tenant_id": "told"})
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
    "told",
    [
        {"status": 404},
        {"status": 200, "text": "<html>"},
        {"answer": {"auth_url": None}},
        {"answer": {"auth_url": " "}},
        {"answer": []},
    ],
)
def test_authinfo_that_tells_nothing(script: Script, login: Build, told: dict[str, Any]) -> None:
    script.expect("POST /auth/token", status=404, text="<html>")
    script.expect("GET /api/AuthInfo", **told)
    with pytest.raises(HaloError, match="POST /token answered 404"):
        login().login.request_token()


def test_authinfo_that_tells_no_address(script: Script, login: Build) -> None:
    script.expect("POST /auth/token", status=404)
    script.expect("GET /api/AuthInfo", answer={"auth_url": "javascript:alert(1)"})
    with pytest.raises(HaloError, match="auth_url of AuthInfo is not an address"):
        login().login.request_token()


@pytest.mark.parametrize(
    ("status", "answer", "told"),
    [
        (
            401,
            {"error": "invalid_client", "error_description": "Wrong."},
            "(invalid_client). Halo said: Wrong. Check client ID",
        ),
        (401, None, "(401)."),
        (400, {"error": "invalid_scope", "error_description": "No."}, "must have been granted halo_scope"),
        (403, {"error": "access_denied"}, "(access_denied)"),
        (200, {**TOKEN, "scope": ""}, "the token opens nothing: it has no scope. Check halo_scope."),
    ],
)
def test_refused_credentials(script: Script, login: Build, status: int, answer: Any, told: str) -> None:
    script.expect("POST /auth/token", status=status, answer=answer)
    with pytest.raises(LoginError) as caught:
        login().get("/Agent/3")
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"{script.url}: login: ")
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("status", "what", "told"),
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
def test_no_token(script: Script, login: Build, status: int, what: dict[str, Any], told: str) -> None:
    script.expect("POST /auth/token", status=status, **what)
    with pytest.raises(HaloError) as caught:
        login().login.request_token()
    assert told in str(caught.value)
    assert not isinstance(caught.value, LoginError)


@pytest.mark.parametrize(
    ("more", "seconds"),
    [({}, 3600), ({"expires_in": 60}, 60), ({"expires_in": "60"}, 60), ({"expires_in": "soon"}, 3600)],
)
def test_how_long_a_token_lasts(script: Script, login: Build, more: dict[str, Any], seconds: int) -> None:
    script.expect("POST /auth/token", status=201, answer={"access_token": "t", **more})
    assert login().login.request_token() == ("t", None, seconds)


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
    login(SharedTokens(str(tmp_path))).get("/Agent/3")
    login(SharedTokens(str(tmp_path))).get("/Agent/4")
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SECRET not in file.name + file.read_text()
    assert "an-id" not in file.name + file.read_text()


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
    assert login(SharedTokens(str(tmp_path))).login.token() == "t0ken-1"
    assert login(SharedTokens(str(tmp_path)), **other).login.token() == "t0ken-2"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_shared_token_that_died_is_dropped_and_replaced(script: Script, login: Build, tmp_path: Path) -> None:
    tokens = SharedTokens(str(tmp_path))
    script.expect("POST /auth/token", answer=TOKEN)
    script.expect("GET /api/Agent/3", token="t0ken-1", status=401)
    script.expect("POST /auth/token", answer=NEXT_TOKEN)
    script.expect("GET /api/Agent/3", token="t0ken-2", answer={"id": 3})
    script.expect("GET /api/Agent/4", token="t0ken-2", answer={"id": 4})
    assert login(tokens).login.token() == "t0ken-1"
    login(tokens).get("/Agent/3")
    login(tokens).get("/Agent/4")
    (file,) = tmp_path.iterdir()
    assert "t0ken-1" not in file.read_text()


def test_a_token_that_another_task_has_renewed_meanwhile_is_not_dropped(
    script: Script, login: Build, tmp_path: Path
) -> None:
    tokens = SharedTokens(str(tmp_path))
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
    assert login(SharedTokens(str(tmp_path))).login.token() == "t0ken-1"
    assert login(SharedTokens(str(tmp_path))).login.token() == "t0ken-2"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"token": "x"}', '{"token": "x", "until": "later"}', "null"])
def test_a_damaged_token_file_is_as_good_as_none(script: Script, login: Build, tmp_path: Path, content: str) -> None:
    script.expect("POST /auth/token", answer=TOKEN)
    script.expect("POST /auth/token", answer=NEXT_TOKEN)
    login(SharedTokens(str(tmp_path))).login.token()
    (file,) = tmp_path.iterdir()
    file.write_text(content)
    assert login(SharedTokens(str(tmp_path))).login.token() == "t0ken-2"


def test_a_folder_that_is_gone_costs_a_login_and_nothing_else(script: Script, login: Build, tmp_path: Path) -> None:
    script.expect("POST /auth/token", answer=TOKEN)
    assert login(SharedTokens(str(tmp_path / "gone"))).login.token() == "t0ken-1"
    assert not (tmp_path / "gone").exists()


def test_a_check_of_credentials_neither_uses_nor_leaves_a_shared_token(
    script: Script, login: Build, tmp_path: Path
) -> None:
    tokens = SharedTokens(str(tmp_path))
    script.expect("POST /auth/token", answer=TOKEN)
    script.expect("POST /auth/token", answer=NEXT_TOKEN)
    script.expect("GET /api/Agent/me", token="t0ken-2", answer={"id": 7, "name": "api", "isapiagent": True})
    login(tokens).login.token()
    told, refusal = try_login(login(tokens))
    assert refusal is None
    assert told["valid"] is True
    assert told["agent"] == {"id": 7, "name": "api", "api_only": True}
    assert "t0ken-2" not in "".join(file.read_text() for file in tmp_path.iterdir())


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
    script.expect(f"{method} /api/Agent", status=429, headers={"Retry-After": "17"})
    script.expect(f"{method} /api/Agent", answer=[])
    client = build()
    client.list("/Agent") if method == "GET" else client.save("/Agent", {"name": "x"})
    assert slept == [17]


def test_the_rate_limit_is_not_waited_out_beyond_the_budget(script: Script, build: Build, slept: list[float]) -> None:
    for _time in range(4):
        script.expect("GET /api/Agent/3", status=429, answer=RATE_LIMIT)
    with pytest.raises(HaloError, match="rate limit lasted longer than halo_retry_seconds") as caught:
        build(retry_seconds=5).get("/Agent/3")
    assert slept == [1, 2, 2]
    assert caught.value.status == 429
    assert caught.value.answer == RATE_LIMIT["error"]


def test_a_long_retry_after_does_not_go_beyond_the_budget(script: Script, build: Build, slept: list[float]) -> None:
    script.expect("GET /api/Agent/3", status=429, headers={"Retry-After": "3600"})
    script.expect("GET /api/Agent/3", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(HaloError, match="halo_retry_seconds"):
        build(retry_seconds=30).get("/Agent/3")
    assert sum(slept) == 30


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


def test_a_read_that_is_lost_each_time_is_an_error(script: Script, build: Build, slept: list[float]) -> None:
    for _time in range(4):
        script.expect("GET /api/Agent/3", fault="reset")
    with pytest.raises(HaloError, match="the connection was lost during GET /Agent/3") as caught:
        build().get("/Agent/3")
    assert not isinstance(caught.value, UnknownFate)
    assert len(slept) == 3


def test_a_read_that_is_never_answered(script: Script, build: Build) -> None:
    script.expect("GET /api/Agent/3", fault="hang")
    with pytest.raises(HaloError, match=r"GET /Agent/3 got no answer within 0\.2 seconds"):
        build(timeout=0.2, retry_seconds=0).get("/Agent/3")


# Where there is nobody


def test_a_port_that_nobody_listens_on(build: Build, slept: list[float]) -> None:
    with Script() as gone:
        pass
    with pytest.raises(HaloError, match="no connection could be made: connection refused") as caught:
        build(url=gone.url, retry_seconds=0).save("/Agent", {"name": "x"})
    assert not isinstance(caught.value, UnknownFate)
    assert "halo_url" in str(caught.value)
    assert slept == []


def test_a_connection_that_could_not_be_opened_is_tried_again_for_writes_too(build: Build, slept: list[float]) -> None:
    with Script() as gone:
        pass
    with pytest.raises(HaloError, match="no connection could be made"):
        build(url=gone.url).save("/Agent", {"name": "x"})
    assert slept == [1, 2, 4]


def test_a_host_that_does_not_exist(build: Build) -> None:
    with pytest.raises(HaloError, match="no connection could be made: the host name is unknown"):
        build(url="http://halo.invalid", retry_seconds=0).get("/Agent/3")


# Writes whose fate is unknown. The object is found by its name.

FOUND = {"id": 9, "name": "x"}
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
    return lambda: next(iter(client.list("/Agent")), None)


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


@pytest.mark.parametrize("lost", LOST, ids=str)
def test_a_creation_that_was_not_carried_out_is_repeated_after_three_looks(
    script: Script, build: Build, slept: list[float], lost: dict[str, Any]
) -> None:
    script.expect("POST /api/Agent", sent=[{"name": "x"}], **lost)
    for _look in range(3):
        script.expect("GET /api/Agent", answer=[])
    script.expect("POST /api/Agent", sent=[{"name": "x"}], status=201, answer=FOUND)
    client = build()
    assert client.save("/Agent", {"name": "x"}, finder(client)) == FOUND
    assert slept == [0.3, 1, 3]


@pytest.mark.parametrize("lost", [{"fault": "hang"}, {"status": 504}], ids=str)
def test_a_creation_that_the_server_may_still_be_at_is_never_repeated(
    script: Script, build: Build, slept: list[float], lost: dict[str, Any]
) -> None:
    script.expect("POST /api/Agent", **lost)
    for _look in range(3):
        script.expect("GET /api/Agent", answer=[])
    client = build(timeout=0.3)
    with pytest.raises(UnknownFate, match="Run again"):
        client.save("/Agent", {"name": "x"}, finder(client))


def test_a_creation_that_timed_out_and_turns_up_is_used(script: Script, build: Build, slept: list[float]) -> None:
    script.expect("POST /api/Agent", fault="hang")
    script.expect("GET /api/Agent", answer=[])
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
    with pytest.raises(UnknownFate, match=r"answered 500 .*Halo said: Deadlock\."):
        build().save("/Agent", FOUND)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 415, 418])
def test_a_refused_write_is_not_repeated(script: Script, build: Build, status: int) -> None:
    script.expect("POST /api/Agent", status=status, answer={"Message": "No."})
    client = build()
    with pytest.raises(HaloError, match=rf"POST /Agent answered {status}\. Halo said: No\.") as caught:
        client.save("/Agent", {"name": "x"}, finder(client))
    assert not isinstance(caught.value, UnknownFate)


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
    with pytest.raises(UnknownFate, match="lost during DELETE /Agent/9"):
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
        [*ROWS, None, "rubbish"],
    ],
    ids=str,
)
def test_lists(script: Script, build: Build, answer: Any) -> None:
    script.expect("GET /api/Agent", query={"includedisabled": "true"}, answer=answer)
    assert build().list("/Agent", {"includedisabled": "true"}) == ROWS


@pytest.mark.parametrize(
    "empty", [{"answer": []}, {"answer": {"record_count": 0, "agents": []}}, {"answer": {}}, {}], ids=str
)
def test_empty_lists(script: Script, build: Build, empty: dict[str, Any]) -> None:
    script.expect("GET /api/Agent", **empty)
    assert build().list("/Agent") == []


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
    script.expect("GET /api/Agent", answer={"record_count": 5, "agents": ROWS})
    script.expect(
        "GET /api/Agent",
        query={"pageinate": "true", "page_size": "100", "page_no": "1"},
        answer={"record_count": 5, "agents": ROWS},
    )
    script.expect(
        "GET /api/Agent",
        query={"pageinate": "true", "page_size": "100", "page_no": "2"},
        answer={"record_count": 5, "agents": []},
    )
    assert build().list("/Agent") == ROWS


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


def test_a_warning_of_halos_is_passed_on(script: Script, build: Build) -> None:
    script.expect("POST /api/Agent", answer={**FOUND, "_warning": f"Weak:\n {SECRET}"})
    client = build()
    client.save("/Agent", FOUND)
    assert client.warnings == ["Halo warns: Weak: ********"]


@pytest.mark.parametrize(("answer", "found"), [(FOUND, FOUND), ([FOUND], FOUND), (None, None)], ids=str)
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


def test_a_netrc_is_ignored(script: Script, login: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password s3cret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    script.expect("POST /auth/token", token=None, answer=TOKEN)
    script.expect("GET /api/Agent/9", token="t0ken-1", answer=FOUND)
    login().get("/Agent/9")
    assert "Authorization" not in script.seen[0]["headers"]


def test_only_json_is_asked_for_and_no_more_is_told_than_needed(script: Script, build: Build) -> None:
    script.expect("GET /api/Agent/9", answer=FOUND)
    build().get("/Agent/9")
    headers = script.seen[0]["headers"]
    assert headers["Accept"] == "application/json"
    assert set(headers) <= {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection", "Authorization"}


# What errors say

SHOWN = {
    "raw": SECRET,
    "URL-encoded": quote(SECRET, safe=""),
    "form-encoded": quote_plus(SECRET),
    "base64": base64.b64encode(SECRET.encode()).decode(),
}


@pytest.mark.parametrize("form", SHOWN)
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
    what = {"status": 400, **shape(SHOWN[form])}
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
    told = str(caught.value) + json.dumps(caught.value.failure(), ensure_ascii=False) + repr(caught.value)
    for shown in SHOWN.values():
        assert shown not in told
    for start in ("p@ss", "p%40ss", SHOWN["base64"][:6]):
        assert start not in told, told
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
        ({"answer": {"[0].name": ["Required.", "Unique."], "id": []}}, "[0].name: Required., Unique."),
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
    assert caught.value.failure() == {"method": "GET", "path": "/Agent/9", "status": 400, "answer": answer}
    assert str(caught.value) == f"{script.url}: GET /Agent/9 answered 400." + (
        f" Halo said: {answer}" if answer else ""
    )


def test_403_says_what_is_needed(script: Script, build: Build) -> None:
    script.expect("GET /api/Application", status=403)
    with pytest.raises(HaloError, match="scope all or admin and an administrator"):
        build().list("/Application")
