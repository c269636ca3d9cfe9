# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The token endpoint, and what a token opens."""

from __future__ import annotations

import base64
import binascii
import urllib.parse
from collections.abc import Mapping

from .answers import Answer, Refused, as_json, oauth_error, page
from .tenant import CLIENT_CREDENTIALS, Tenant

_FORM = "application/x-www-form-urlencoded"
_ADMIN = frozenset({"all", "admin"})
_ONE_ANSWER = "The specified client credentials are invalid."


def wrong_tenant(name: str, given: str | None) -> bool:
    """Say whether a ``tenant`` parameter names another tenant. Empty counts as not given."""
    return bool(given) and given is not None and given.lower() != name


def _basic(header: str) -> dict[str, str]:
    """The credentials of HTTP Basic, each form-encoded as OAuth wants it (client_secret_basic); empty without them."""
    scheme, _space, value = header.partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        pair = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return {}
    client_id, _colon, secret = pair.partition(":")
    return {"client_id": urllib.parse.unquote_plus(client_id), "client_secret": urllib.parse.unquote_plus(secret)}


def token(tenant: Tenant, headers: Mapping[str, str], body: bytes) -> Answer:
    """Answer ``POST {auth}/token``."""
    content_type = headers.get("Content-Type", "")
    if content_type.partition(";")[0].strip().lower() != _FORM:
        return oauth_error(400, "invalid_request", f"The body must have the content type {_FORM}.")
    form = dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    if tenant.settings["basic_auth"]:
        form = {**_basic(headers.get("Authorization", "")), **form}
    if wrong_tenant(tenant.name, form.get("tenant")):
        return page(500)
    grant = form.get("grant_type")
    if not grant or not form.get("client_id"):
        missing = "client_id" if grant else "grant_type"
        return oauth_error(400, "invalid_request", f"The mandatory '{missing}' parameter is missing.")
    if grant != CLIENT_CREDENTIALS:
        return oauth_error(400, "unsupported_grant_type", "The specified 'grant_type' is not supported.")
    found = tenant.login(form["client_id"], form.get("client_secret", ""))
    if found is None:
        # One text for every cause: it gives away neither which clients exist nor why one is refused.
        return oauth_error(401, "invalid_client", _ONE_ANSWER)
    application, agent = found
    if application["grant_type"].lower() not in ("", CLIENT_CREDENTIALS):
        return oauth_error(400, "unauthorized_client", "This client application may not use the specified grant type.")
    asked = list(dict.fromkeys(form.get("scope", "").split()))
    granted = {scope["name"] for scope in application["scopes"]}
    if tenant.settings["unknown_scope"] == "drop":
        asked = [name for name in asked if name in granted]
    if not granted.issuperset(asked):
        # one that is not granted, or that does not exist, refuses all of them
        return oauth_error(400, "invalid_scope", "The specified 'scope' parameter is not valid.")
    scope = " ".join(asked)
    seconds, prefix = tenant.settings["token_seconds"], tenant.settings["token_prefix"]
    answer = {
        "access_token": tenant.store.add_token(
            tenant.name, agent["id"], scope, seconds, prefix, jwt=tenant.settings["token_form"] == "jwt"
        ),
        "token_type": "Bearer",
        "expires_in": seconds,
    }
    if scope:
        answer["scope"] = scope
    return as_json(200, answer, {"Cache-Control": "no-store"})


def login_of(tenant: Tenant, headers: Mapping[str, str]) -> tuple[int, frozenset[str]]:
    """Id of the agent whose token came with a request, and the token's scopes.

    Raises Refused (401, with an empty body) without a token in force or with one without scope.
    """
    scheme, _space, value = headers.get("Authorization", "").partition(" ")
    found = tenant.store.token(tenant.name, value.strip()) if scheme.lower() == "bearer" else None
    if found is None or not found[1]:
        raise Refused(401)
    return found


def agent_of(tenant: Tenant, headers: Mapping[str, str], administers: bool) -> int:
    """Id of the agent whose token came with a request.

    Raises Refused: 401 as in login_of; 403 if the token lacks the scope to administer and *administers* asks for it,
    with an empty body.
    """
    agent, scopes = login_of(tenant, headers)
    if administers and not scopes & _ADMIN:
        raise Refused(403)
    return agent
