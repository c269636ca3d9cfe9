# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Login: where the authorisation server is, access tokens, and sharing one token within a run.

Sources: the client credentials grant of Halo's authorisation server (form-encoded POST to ``/token``, the tenant in
the query), and ``GET /api/AuthInfo``, which says without a token where that server is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import re
import typing as t
from urllib.parse import urlsplit, urlunsplit

from ansible.module_utils.parsing.convert_bool import boolean

from .errors import HaloError, LoginError, one_line, redact
from .http import Response, Transport

LOOPBACK = ("localhost", "127.0.0.1", "::1")
DEFAULTS: dict[str, t.Any] = {
    "halo_scope": "all",
    "halo_validate_certs": True,
    "halo_timeout": 30,
    "halo_retry_seconds": 330,
}
DAY = 86400
HOUR = 3600
_TOKEN = re.compile(r"[\x21-\x7e]+")
_API = re.compile(r"/api$", re.I)
_NO_TOKEN = "a line break, a blank or another character that no token has"


@dataclasses.dataclass(frozen=True)
class Connection:
    """How to reach one tenant, and as whom. Build it with :meth:`from_params`."""

    url: str
    tenant: str | None
    client_id: str | None
    client_secret: str | None = dataclasses.field(repr=False)
    access_token: str | None = dataclasses.field(repr=False)
    auth_url: str | None
    scope: str
    verify: bool | str
    timeout: float
    retry_seconds: float

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any]) -> Connection:
        """The connection options ``halo_*`` of a task.

        An option that is not set, or is the empty string, comes from its environment variable ``HALO_*``; where that
        is not set or empty either, from its default.

        :raises HaloError: an option is missing, or cannot be what it should be
        """
        given = {name: _given(name, params.get(name)) for name in _OPTIONS}
        url = address("halo_url", given["halo_url"])
        if not given["halo_access_token"]:
            for option in ("halo_client_id", "halo_client_secret"):
                if not given[option]:
                    raise HaloError(
                        f"{option} is missing.",
                        instance=url,
                        hint="Set halo_client_id and halo_client_secret, or halo_access_token.",
                    )
        elif not _is_token(given["halo_access_token"]):
            raise HaloError(f"halo_access_token cannot be one: it holds {_NO_TOKEN}.", instance=url)
        auth_url = given["halo_auth_url"]
        if auth_url:
            auth_url = re.sub(r"/token$", "", address("halo_auth_url", auth_url), flags=re.I)
        verify: bool | str = _boolean("halo_validate_certs", given["halo_validate_certs"])
        if verify and given["halo_ca_path"]:
            verify = os.path.expanduser(given["halo_ca_path"])
        return cls(
            url=url,
            tenant=given["halo_tenant"],
            client_id=given["halo_client_id"],
            client_secret=given["halo_client_secret"],
            access_token=given["halo_access_token"],
            auth_url=auth_url,
            scope=given["halo_scope"],
            verify=verify,
            timeout=_seconds("halo_timeout", given["halo_timeout"], zero=False),
            retry_seconds=_seconds("halo_retry_seconds", given["halo_retry_seconds"], zero=True),
        )

    def secrets(self) -> list[str]:
        """What must never be shown."""
        return [value for value in (self.client_secret, self.access_token) if value]

    def warnings(self) -> list[str]:
        """What the user should know about this connection."""
        servers = [server for server in (self.url, self.auth_url) if server]
        found = [text for server in dict.fromkeys(servers) for text in _unencrypted(server)]
        if self.verify is False and any(server.startswith("https:") for server in servers):
            found.append(f"{self.url}: the server's certificate is not verified (halo_validate_certs is false).")
        return found


def _unencrypted(server: str) -> list[str]:
    """The warning that plain http to another machine deserves."""
    parts = urlsplit(server)
    if parts.scheme != "http" or parts.hostname in LOOPBACK:
        return []
    return [f"{server}: secrets and tokens travel unencrypted over http."]


_OPTIONS = (
    "halo_url",
    "halo_tenant",
    "halo_client_id",
    "halo_client_secret",
    "halo_access_token",
    "halo_auth_url",
    "halo_scope",
    "halo_validate_certs",
    "halo_ca_path",
    "halo_timeout",
    "halo_retry_seconds",
)


def _given(name: str, value: t.Any) -> t.Any:
    for found in (value, os.environ.get(name.upper())):
        if found is not None and str(found).strip():
            return found
    return DEFAULTS.get(name)


def _boolean(option: str, value: t.Any) -> bool:
    try:
        return bool(boolean(value))
    except TypeError:
        raise HaloError(f"{option} must be true or false: {value}") from None


def _seconds(option: str, value: t.Any, zero: bool) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and not zero):
        raise HaloError(f"{option} must be a positive number of seconds.")
    return seconds


def _is_token(text: str) -> bool:
    """Whether a header can hold it as it is."""
    return _TOKEN.fullmatch(text) is not None


def address(option: str, value: t.Any) -> str:
    """A base URL without a trailing slash, and without the /api that Halo shows as its resource server."""
    if not value:
        raise HaloError(f"{option} is missing.", hint="Give the address of the instance: https://acme.halopsa.com")
    text = str(value).strip().rstrip("/")
    try:
        parts = urlsplit(text)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_valid = urlsplit(""), False
    if "@" in (parts.netloc or text):
        raise HaloError(f"{option} holds a user name or a password.", hint="Give the address alone.")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_valid:
        raise HaloError(
            f"{option} is not an address: {one_line(text.partition('?')[0])}",
            hint="It must read like https://acme.halopsa.com",
        )
    if parts.query or parts.fragment:
        raise HaloError(
            f"{option} must not have a query or a fragment.", hint="It must read like https://acme.halopsa.com"
        )
    return urlunsplit((parts.scheme, parts.netloc, _API.sub("", parts.path), "", ""))


class Token(t.NamedTuple):
    """An access token as the authorisation server gave it; ``expires_in`` in seconds."""

    value: str
    scope: str | None
    expires_in: int


class Info(t.NamedTuple):
    """What an instance says of where to log in: the authorisation server, and the tenant; None where it does not."""

    response: Response
    server: str | None
    tenant: str | None


class NullTokenCache:
    """Shares nothing: each task gets its own token. A run on the controller shares them encrypted (plugin_utils)."""

    def get(self, key: str) -> str | None:
        return None

    def put(self, key: str, token: Token) -> None:
        pass

    def drop(self, key: str, value: str) -> None:
        pass


class Login:
    """Access tokens for one connection; ``warnings`` is what the user should know about it.

    :param tokens: where tokens are shared with other tasks of the run
    """

    def __init__(self, connection: Connection, transport: Transport, tokens: NullTokenCache | None = None) -> None:
        self.connection = connection
        self.warnings = connection.warnings()
        self._transport = transport
        self._tokens = tokens or NullTokenCache()
        self._token = connection.access_token

    @property
    def _key(self) -> str:
        one = self.connection
        identity = (one.url, one.auth_url, one.tenant, one.scope, one.client_id, one.client_secret)
        return hashlib.sha256(repr(identity).encode()).hexdigest()

    def use(self, client_secret: str) -> None:
        """Log in with another secret of the same application from now on."""
        self.connection = dataclasses.replace(self.connection, client_secret=client_secret)
        self._token = None

    def secrets(self) -> list[str]:
        """What must never be shown, the token in use included."""
        return self.connection.secrets() + ([self._token] if self._token else [])

    def token(self) -> str:
        """The token to use now: the one in use, one of another task of the run, or a new one.

        :raises LoginError: Halo refuses the credentials
        """
        if not self._token:
            self._token = self._tokens.get(self._key)
        if not self._token:
            fresh = self.request_token()
            self._token = fresh.value
            self._tokens.put(self._key, fresh)
        return self._token

    def adopt(self, token: Token) -> Token:
        """Use this token for the requests that follow; it is not shared."""
        self._token = token.value
        return token

    def renew(self) -> bool:
        """Forget a token that Halo refused; False when there is no way to get another."""
        if self.connection.access_token or not self._token:
            return False
        self._tokens.drop(self._key, self._token)
        self._token = None
        return True

    def request_token(self) -> Token:
        """Ask the authorisation server for a new token (``POST {auth_url}/token``).

        The server is ``halo_auth_url`` or ``{halo_url}/auth``; when the latter answers 404, ``AuthInfo`` is asked.

        :raises LoginError: the server refuses the credentials or gives a token that opens nothing
        :raises HaloError: no response, or none that is of use
        """
        return self._read(self.ask())

    def ask(self, **form: str) -> Response:
        """What the authorisation server answers to a request for a token, whatever that is.

        :param form: what differs in it, as ``client_id``, ``client_secret``, ``scope`` or ``grant_type``
        :raises HaloError: no response
        """
        own = self.connection.auth_url
        response = self._ask(own or self.connection.url + "/auth", self.connection.tenant, form)
        if response.status == 404 and not own:
            server, tenant = self._discover()
            if server:
                response = self._ask(server, self.connection.tenant or tenant, form)
        return response

    def _ask(self, server: str, tenant: str | None, form: t.Mapping[str, str]) -> Response:
        connection = self.connection
        return self._transport.send(
            "POST",
            server + "/token",
            path="/token",
            query={"tenant": tenant} if tenant else None,
            form={
                "grant_type": "client_credentials",
                "client_id": connection.client_id or "",
                "client_secret": connection.client_secret or "",
                "scope": connection.scope,
                **form,
            },
        )

    def info(self) -> Info:
        """What the instance says without a token, ``GET /api/AuthInfo``.

        :raises HaloError: no response, or an authorisation server that is no address
        """
        response = self._transport.send("GET", self.connection.url + "/api/AuthInfo", path="/AuthInfo")
        info = response.data if response.status == 200 and isinstance(response.data, dict) else {}
        info = {str(key).lower(): value for key, value in info.items()}
        server, tenant = info.get("auth_url"), info.get("tenant_id")
        named = isinstance(server, str) and bool(server.strip())
        return Info(
            response,
            address("auth_url of AuthInfo", self._printable(str(server))) if named else None,
            self._printable(str(tenant)) if tenant else None,
        )

    def _discover(self) -> tuple[str | None, str | None]:
        response, server, tenant = self.info()
        if not server:
            return None, None
        if server.startswith("http:") and self.connection.url.startswith("https:"):
            raise HaloError(
                f"AuthInfo names an authorisation server without https: {server}. "
                "The client secret was not sent to it.",
                instance=self.connection.url,
                subject="login",
                method="GET",
                path="/AuthInfo",
                status=response.status,
                hint="Correct it in Halo, or set halo_auth_url.",
            )
        self.warnings += [text for text in _unencrypted(server) if text not in self.warnings]
        return server, tenant

    def _printable(self, text: str) -> str:
        return one_line(redact(text, self.secrets()))

    def _read(self, response: Response) -> Token:
        about: dict[str, t.Any] = {
            "instance": self.connection.url,
            "subject": "login",
            "method": "POST",
            "path": "/token",
            "status": response.status,
        }
        fields = response.data if isinstance(response.data, dict) else {}
        if response.status in (200, 201):
            value, scope = fields.get("access_token"), fields.get("scope")
            if not isinstance(value, str) or not value:
                raise HaloError("the authorisation server gave no token.", hint="Check halo_auth_url.", **about)
            if not _is_token(value):
                raise HaloError(
                    f"the authorisation server gave a token that cannot be one: it holds {_NO_TOKEN}.",
                    hint="Check halo_auth_url.",
                    **about,
                )
            if scope is not None and not str(scope).strip():
                raise LoginError("the token opens nothing: it has no scope.", hint="Check halo_scope.", **about)
            return Token(value, str(scope) if scope else None, _lifetime(fields.get("expires_in")))
        about["answer"] = self._printable(response.text) or None
        error = self._printable(str(fields["error"])) if fields.get("error") else None
        if response.status == 401 or (response.status in (400, 403) and fields):
            hints = {
                "invalid_scope": f"Asked for were the scopes {self.connection.scope}, and one that does not exist or "
                "that the application was not granted refuses the whole login. Grant them to it in Halo, or ask for "
                "fewer with halo_scope.",
                "invalid_client": "Check client ID and secret. If the agent that the application logs in as was "
                "changed, the secret must be re-generated; the application and that agent must be active.",
            }
            raise LoginError(
                f"the credentials were refused ({error or response.status}).",
                code=error,
                hint=hints.get(error or "", "Check the application in Halo."),
                **about,
            )
        if response.location:
            where = self._printable(response.location)
            raise HaloError(f"redirected to {where}.", hint="Give that address as halo_auth_url.", **about)
        if response.status == 429:
            raise HaloError("the rate limit lasted longer than halo_retry_seconds.", **about)
        raise HaloError(
            f"POST /token answered {response.status}.",
            hint="Check halo_url, halo_auth_url and halo_tenant: an unknown host or tenant answers like this."
            if response.status in (404, 500)
            else None,
            **about,
        )


def _lifetime(expires_in: t.Any) -> int:
    """Seconds, 0 to a day; an hour where the server does not say."""
    if not isinstance(expires_in, int):
        try:
            expires_in = float(expires_in)
        except (TypeError, ValueError):
            return HOUR
        if math.isnan(expires_in):
            return HOUR
    return int(min(max(expires_in, 0), DAY))
