# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the connection options to addresses; what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.auth import Connection
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.module_utils.http import Transport

OPTIONS: dict[str, Any] = {
    "halo_url": "https://acme.example.com",
    "halo_tenant": None,
    "halo_client_id": "id",
    "halo_client_secret": "s3cret",
    "halo_access_token": None,
    "halo_auth_url": None,
    "halo_scope": "all",
    "halo_validate_certs": True,
    "halo_ca_path": None,
    "halo_timeout": 30,
    "halo_retry_seconds": 330,
}


def connection(**options: Any) -> Connection:
    return Connection.from_params({**OPTIONS, **{f"halo_{name}": value for name, value in options.items()}})


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://acme.example.com", "https://acme.example.com"),
        ("https://acme.example.com/", "https://acme.example.com"),
        ("  https://acme.example.com//  ", "https://acme.example.com"),
        ("https://acme.example.com/api", "https://acme.example.com"),
        ("https://acme.example.com/API/", "https://acme.example.com"),
        ("https://it.example.org/halo", "https://it.example.org/halo"),
        ("https://it.example.org/halo/api/", "https://it.example.org/halo"),
        ("https://it.example.org/apiary", "https://it.example.org/apiary"),
        ("HTTPS://acme.example.com", "https://acme.example.com"),
        ("https://acme.example.com:8443", "https://acme.example.com:8443"),
        ("http://127.0.0.1:8765/acme", "http://127.0.0.1:8765/acme"),
        ("http://[::1]:8765/acme", "http://[::1]:8765/acme"),
        ("https://bücher.example.com", "https://bücher.example.com"),
    ],
)
def test_addresses(given: str, url: str) -> None:
    assert connection(url=given).url == url


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "halo_url is missing"),
        ("", "halo_url is missing"),
        ("acme.example.com", "not an address: acme.example.com"),
        ("ftp://acme.example.com", "not an address"),
        ("https://", "not an address"),
        ("https:///halo", "not an address"),
        ("https://acme.example.com:port", "not an address"),
        ("https://acme.example.com:99999", "not an address"),
        ("https://acme.example.com:0", "not an address"),
        ("https://[::1", "not an address"),
        ("https://acme.example.com?tenant=acme", "query"),
        ("https://acme.example.com/#top", "query or a fragment"),
        ("https://ann:s3cret@acme.example.com", "user name or a password"),
    ],
)
@pytest.mark.parametrize("option", ["url", "auth_url"])
def test_what_is_no_address(option: str, given: str | None, message: str) -> None:
    if option == "auth_url" and not given:
        assert connection(auth_url=given).auth_url is None
        return
    with pytest.raises(HaloError) as caught:
        connection(**{option: given})
    assert message.replace("halo_url", f"halo_{option}") in str(caught.value)
    assert f"halo_{option} " in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (None, None),
        ("", None),
        ("https://login.example.com", "https://login.example.com"),
        ("https://login.example.com/auth/", "https://login.example.com/auth"),
        ("https://login.example.com/auth/token", "https://login.example.com/auth"),
        ("https://login.example.com/auth/Token/", "https://login.example.com/auth"),
    ],
)
def test_authorisation_server(given: str | None, url: str | None) -> None:
    assert connection(auth_url=given).auth_url == url


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"client_id": None}, "halo_client_id"),
        ({"client_id": ""}, "halo_client_id"),
        ({"client_secret": None}, "halo_client_secret"),
        ({"client_secret": ""}, "halo_client_secret"),
        ({"client_id": "", "client_secret": "", "access_token": ""}, "halo_client_id"),
    ],
)
def test_missing_credentials(options: dict[str, Any], missing: str) -> None:
    with pytest.raises(HaloError, match=f"{missing} is missing") as caught:
        connection(**options)
    assert caught.value.instance == "https://acme.example.com"
    assert "halo_access_token" in str(caught.value)


def test_an_access_token_needs_no_credentials() -> None:
    given = connection(client_id=None, client_secret="", access_token="t0ken")
    assert (given.client_id, given.client_secret, given.access_token) == (None, None, "t0ken")


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ({"tenant": ""}, "tenant", None),
        ({"tenant": "acme"}, "tenant", "acme"),
        ({"scope": ""}, "scope", "all"),
        ({"scope": None}, "scope", "all"),
        ({"scope": "read:tickets edit:tickets"}, "scope", "read:tickets edit:tickets"),
        ({}, "verify", True),
        ({"validate_certs": False}, "verify", False),
        ({"ca_path": "/etc/ca.pem"}, "verify", "/etc/ca.pem"),
        ({"ca_path": ""}, "verify", True),
        ({"ca_path": "/etc/ca.pem", "validate_certs": False}, "verify", False),
        ({"timeout": 5}, "timeout", 5),
        ({"retry_seconds": 0}, "retry_seconds", 0),
    ],
)
def test_the_other_options(options: dict[str, Any], name: str, value: Any) -> None:
    assert getattr(connection(**options), name) == value


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": -1}, {"retry_seconds": -1}])
def test_seconds_must_be_positive(options: dict[str, Any]) -> None:
    with pytest.raises(HaloError, match="positive number of seconds"):
        connection(**options)


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("https://acme.example.com", False),
        ("http://acme.example.com", True),
        ("http://127.0.0.1:8765/acme", False),
        ("http://localhost/acme", False),
        ("http://[::1]/acme", False),
        ("http://127.0.0.1.example.com", True),
    ],
)
def test_plain_http_is_warned_of(url: str, warns: bool) -> None:
    warnings = connection(url=url).warnings()
    assert bool(warnings) is warns
    assert all(url in text and "unencrypted" in text for text in warnings)


def test_no_secret_in_what_a_debugger_shows() -> None:
    given = connection(access_token="t0ken")
    assert given.secrets() == ["s3cret", "t0ken"]
    assert "s3cret" not in repr(given)
    assert "t0ken" not in repr(given)


def test_a_ca_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HaloError, match=r"halo_ca_path .*ca\.pem does not exist"):
        Transport("https://acme.example.com", verify=str(tmp_path / "ca.pem"), timeout=1, retry_seconds=0)


SERVERS = "secrets and tokens travel unencrypted over http"


@pytest.mark.parametrize(
    ("url", "auth_url", "warned"),
    [
        ("https://acme.example.com", "http://login.example.com", ["http://login.example.com"]),
        ("https://acme.example.com", "http://localhost:8080", []),
        (
            "http://acme.example.com",
            "http://acme.example.com/auth",
            ["http://acme.example.com", "http://acme.example.com/auth"],
        ),
        ("http://acme.example.com", "https://login.example.com", ["http://acme.example.com"]),
        ("https://acme.example.com", "https://login.example.com", []),
    ],
)
def test_the_authorisation_server_gets_secrets_too(url: str, auth_url: str, warned: list[str]) -> None:
    assert connection(url=url, auth_url=auth_url).warnings() == [f"{server}: {SERVERS}." for server in warned]


@pytest.mark.parametrize(
    ("url", "auth_url", "verify", "warns"),
    [
        ("https://acme.example.com", None, False, True),
        ("https://acme.example.com", None, True, False),
        ("http://127.0.0.1:8765", None, False, False),
        ("http://127.0.0.1:8765", "https://login.example.com", False, True),
    ],
)
def test_a_certificate_that_is_not_verified_is_warned_of(
    url: str, auth_url: str | None, verify: bool, warns: bool
) -> None:
    warnings = connection(url=url, auth_url=auth_url, validate_certs=verify).warnings()
    assert warnings == ([f"{url}: the server's certificate is not verified (halo_validate_certs is false)."] * warns)


# Empty options and variables, as Controller makes them of a credential's empty fields

FALLBACKS = [
    ("halo_url", "https://env.example.com/api/", "url", "https://env.example.com", None),
    ("halo_tenant", "env", "tenant", "env", None),
    ("halo_auth_url", "https://login.example.com", "auth_url", "https://login.example.com", None),
    ("halo_client_id", "env", "client_id", "env", None),
    ("halo_client_secret", "env", "client_secret", "env", None),
    ("halo_access_token", "env", "access_token", "env", None),
    ("halo_scope", "admin", "scope", "admin", "all"),
    ("halo_validate_certs", "no", "verify", False, True),
    ("halo_validate_certs", "true", "verify", True, True),
    ("halo_ca_path", "/etc/env.pem", "verify", "/etc/env.pem", True),
    ("halo_timeout", "7", "timeout", 7, 30),
    ("halo_retry_seconds", "0", "retry_seconds", 0, 330),
]


@pytest.mark.parametrize(("option", "variable", "name", "value"), [row[:4] for row in FALLBACKS])
@pytest.mark.parametrize("empty", ["", "  ", None])
def test_an_empty_option_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
    empty: str | None,
    option: str,
    variable: str,
    name: str,
    value: Any,
) -> None:
    monkeypatch.setenv(option.upper(), variable)
    assert getattr(Connection.from_params({**OPTIONS, option: empty}), name) == value


def test_an_option_that_is_set_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {**OPTIONS, "halo_tenant": "own", "halo_ca_path": "/etc/own.pem", "halo_access_token": "own"}
    monkeypatch.setenv("HALO_VALIDATE_CERTS", "false")
    expected = Connection.from_params(own)
    for option, variable, *_rest in FALLBACKS:
        if option != "halo_auth_url":
            monkeypatch.setenv(option.upper(), variable)
    assert Connection.from_params(own) == expected


@pytest.mark.parametrize(("option", "name", "default"), [(row[0], row[2], row[4]) for row in FALLBACKS])
@pytest.mark.parametrize("variable", ["", " ", None])
def test_an_empty_variable_is_none(
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    option: str,
    name: str,
    default: Any,
) -> None:
    if variable is not None:
        monkeypatch.setenv(option.upper(), variable)
    if option in ("halo_url", "halo_client_id", "halo_client_secret"):
        with pytest.raises(HaloError, match=f"{option} is missing"):
            Connection.from_params({**OPTIONS, option: ""})
    else:
        assert getattr(Connection.from_params({**OPTIONS, option: ""}), name) == default


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALO_URL", "https://env.example.com")
    monkeypatch.setenv("HALO_ACCESS_TOKEN", "t0ken")
    given = Connection.from_params({})
    assert (given.url, given.access_token, given.verify, given.timeout, given.retry_seconds, given.scope) == (
        "https://env.example.com",
        "t0ken",
        True,
        30,
        330,
        "all",
    )


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("halo_validate_certs", "maybe", "halo_validate_certs must be true or false: maybe"),
        ("halo_timeout", "soon", "halo_timeout must be a positive number of seconds"),
        ("halo_timeout", "nan", "halo_timeout must be a positive number of seconds"),
        ("halo_retry_seconds", "inf", "halo_retry_seconds must be a positive number of seconds"),
    ],
)
def test_what_a_variable_cannot_be(monkeypatch: pytest.MonkeyPatch, option: str, value: str, message: str) -> None:
    monkeypatch.setenv(option.upper(), value)
    with pytest.raises(HaloError, match=message):
        Connection.from_params({**OPTIONS, option: ""})


def test_what_is_wrong_with_an_address_is_said_without_its_secrets() -> None:
    for given in ("https://ann:s3cret@[::1", "acme.example.com?token=s3cret", "ftp://x\x1b[2J.example.com"):
        with pytest.raises(HaloError) as caught:
            connection(url=given)
        assert "s3cret" not in str(caught.value)
        assert "\x1b" not in str(caught.value)
