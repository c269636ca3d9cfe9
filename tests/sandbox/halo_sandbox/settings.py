# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test can change of a tenant's behaviour."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from .store import Store

DEFAULTS: dict[str, Any] = {
    "read_only": False,
    "rate_limit": None,
    "latency_ms": 0,
    "list_shape": "bare",
    "answer_shape": "object",
    "write_status": 201,
    "client_id_policy": "keep",
    "secret_policy": "keep",
    "secret_mask": None,
    "unique_names": False,
    "longest_name": None,
    "null_isapiagent": False,
    "role_claims": "replace",
    "refusal_shape": "string",
    "auth_path": "/auth",
    "token_seconds": 3600,
    "token_form": "reference",
    "token_arrays": True,
    "basic_auth": True,
    "unknown_scope": "refuse",
    "longest_page": 100,
    "token_prefix": "",
    "list_lag": 0,
    "read_lag": 0,
    "secret_form": "guids",
    "administration": "scope",
    "hidden_agents": True,
    "agent_needs_email": False,
    "unique_emails": False,
    "inner_lists": "replace",
    "member_switches": "off",
    "agent_delete": "hard",
    "agent_in_use": "delete",
    "bare_update": "keep",
    "agent_change": "kill",
    "old_secret": "dead",
    "tokens": "survive",
    "records": 1,
    "denied": "403",
    # None: as the seed has it, true for globex alone
    "hosted_integrator": None,
}


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _whole(value: Any) -> bool:
    return _number(value) and isinstance(value, int)


def _one_of(*allowed: Any) -> Callable[[Any], bool]:
    return lambda value: any(value is item or (value == item and type(value) is type(item)) for item in allowed)


def _rate_limit(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and set(value) <= {"requests", "seconds", "retry_after"}
        and _number(value.get("requests"))
        and _number(value.get("seconds"))
        and (value.get("retry_after") is None or _number(value["retry_after"]))
    )


_VALID: dict[str, Callable[[Any], bool]] = {
    "read_only": _one_of(True, False),
    "rate_limit": _rate_limit,
    "latency_ms": _number,
    "list_shape": _one_of("bare", "wrapped", "results", "paged"),
    "answer_shape": _one_of("object", "array"),
    "write_status": _one_of(200, 201),
    "client_id_policy": _one_of("keep", "replace"),
    "secret_policy": _one_of("keep", "replace"),
    "secret_mask": _one_of(None, "", "********"),
    "unique_names": _one_of(True, False),
    "longest_name": lambda value: value is None or (_whole(value) and value > 0),
    "null_isapiagent": _one_of(True, False),
    "role_claims": _one_of("replace", "merge"),
    "refusal_shape": _one_of("object", "string"),
    "auth_path": lambda value: isinstance(value, str) and value.startswith("/") and not value.endswith("/"),
    "token_seconds": _number,
    "token_form": _one_of("reference", "jwt"),
    "token_arrays": _one_of(True, False),
    "basic_auth": _one_of(True, False),
    "unknown_scope": _one_of("refuse", "drop"),
    "longest_page": lambda value: _whole(value) and value > 0,
    "list_lag": _whole,
    "read_lag": _whole,
    "secret_form": _one_of("guids", "base64url"),
    "administration": _one_of("scope", "any"),
    "hidden_agents": _one_of(True, False),
    "agent_needs_email": _one_of(True, False),
    "unique_emails": _one_of(True, False),
    "inner_lists": _one_of("replace", "merge"),
    "member_switches": _one_of("off", "on"),
    "agent_delete": _one_of("hard", "soft"),
    "agent_in_use": _one_of("delete", "refuse"),
    "bare_update": _one_of("keep", "kill"),
    "agent_change": _one_of("kill", "keep"),
    "old_secret": _one_of("dead", "alive"),
    "tokens": _one_of("survive", "end"),
    "records": _whole,
    "denied": _one_of("403", "empty"),
    "token_prefix": lambda value: isinstance(value, str) and re.fullmatch("[!-~]*", value) is not None,
    "hosted_integrator": _one_of(None, True, False),
}


class Settings:
    """The settings in force, per tenant. They belong to the state: a restart keeps them."""

    def __init__(self, store: Store, latency_ms: float | None = None) -> None:
        """*latency_ms*: the default of that setting for this run, which also undoes what was saved of it for all."""
        self._store = store
        self._defaults = DEFAULTS if latency_ms is None else {**DEFAULTS, "latency_ms": latency_ms}
        saved = json.loads(store.meta("settings") or "{}")
        self._all: dict[str, Any] = saved.get("all", {})
        self._tenants: dict[str, dict[str, Any]] = saved.get("tenants", {})
        if latency_ms is not None:
            self._all.pop("latency_ms", None)
        self._merged: dict[str, dict[str, Any]] = {}

    def of(self, tenant: str) -> dict[str, Any]:
        """All settings of a tenant. Not to be changed."""
        if tenant not in self._merged:
            merged = {**self._defaults, **self._all, **self._tenants.get(tenant, {})}
            if merged["hosted_integrator"] is None:
                merged["hosted_integrator"] = tenant == "globex"
            self._merged[tenant] = merged
        return self._merged[tenant]

    def common(self) -> dict[str, Any]:
        """What holds for every tenant that has no setting of its own."""
        return {**self._defaults, **self._all}

    def own(self) -> dict[str, dict[str, Any]]:
        """What was set for single tenants."""
        return self._tenants

    def change(self, tenant: str | None, values: dict[str, Any]) -> None:
        """Set *values* for one tenant, or for all: then what single tenants had of these is dropped.

        Raises ValueError for a name or a value that is not known; nothing is changed then.
        """
        for name, value in values.items():
            if name not in _VALID:
                raise ValueError(f"unknown setting {name!r}; known: {', '.join(DEFAULTS)}")
            if not _VALID[name](value):
                raise ValueError(f"bad value for {name}: {value!r}")
        if tenant is None:
            self._all.update(values)
            for own in self._tenants.values():
                for name in values:
                    own.pop(name, None)
        else:
            self._tenants.setdefault(tenant, {}).update(values)
        self._save()

    def reset(self, tenant: str | None) -> None:
        """Back to the defaults, for all or for one tenant (which then has what holds for all)."""
        if tenant is None:
            self._all.clear()
            self._tenants.clear()
        else:
            self._tenants.pop(tenant, None)
        self._save()

    def _save(self) -> None:
        self._merged.clear()
        self._store.set_meta("settings", json.dumps({"all": self._all, "tenants": self._tenants}))
