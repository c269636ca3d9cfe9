# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control side below ``/_sandbox/``: for tests, without authentication, JSON."""

from __future__ import annotations

import json
from typing import Any

from .answers import Answer, Refused, as_json
from .faults import Faults
from .log import Log
from .settings import Settings
from .store import Store
from .tenant import AGENT, APPLICATION, Kind, Tenant


class Control:
    def __init__(self, store: Store, names: list[str], settings: Settings, faults: Faults, log: Log) -> None:
        self._store = store
        self._names = set(names)
        self._settings = settings
        self._faults = faults
        self._log = log

    def answer(self, method: str, parts: list[str], query: dict[str, str], body: bytes) -> Answer:
        """Answer a request for ``/_sandbox/`` and then *parts*: a mistake is a 400 or a 404 that says what."""
        name = parts[0] if parts else ""
        handler = getattr(self, f"_{method.lower()}_{name}", None)
        if handler is None or len(parts) > 2:
            return as_json(404, {"error": f"no such control: {method} /_sandbox/{'/'.join(parts)}"})
        try:
            sent = json.loads(body) if body else {}
            return as_json(200, handler(sent, query, *parts[1:]))
        except Refused as refused:
            return refused.answer
        except LookupError as error:
            return as_json(404, {"error": str(error.args[0])})
        except (TypeError, ValueError) as error:
            return as_json(400, {"error": str(error)})

    def _known(self, name: Any) -> str:
        if not isinstance(name, str) or name.lower() not in self._names:
            raise LookupError(f"no such tenant: {name!r}")
        return name.lower()

    def _maybe(self, name: Any) -> str | None:
        return None if name is None else self._known(name)

    def _tenant(self, name: Any) -> Tenant:
        known = self._known(name)
        return Tenant(self._store, known, self._settings.of(known))

    def _get_requests(self, _sent: Any, query: dict[str, str]) -> Any:
        return self._log.requests(self._maybe(query.get("tenant")))

    def _delete_requests(self, _sent: Any, _query: dict[str, str]) -> Any:
        self._log.clear()
        return {}

    def _get_counts(self, _sent: Any, _query: dict[str, str]) -> Any:
        return self._log.counts()

    def _get_faults(self, _sent: Any, _query: dict[str, str]) -> Any:
        return {"faults": self._faults.shown()}

    def _post_faults(self, sent: Any, _query: dict[str, str]) -> Any:
        spec = _object(sent)
        return {"id": self._faults.add({**spec, "tenant": self._maybe(spec.get("tenant"))})}

    def _delete_faults(self, _sent: Any, query: dict[str, str]) -> Any:
        self._faults.clear(self._maybe(query.get("tenant")))
        return {}

    def _get_settings(self, _sent: Any, query: dict[str, str]) -> Any:
        """All settings of one tenant, or what holds for all and what single tenants have of their own."""
        if "tenant" in query:
            return self._settings.of(self._known(query["tenant"]))
        return {"all": self._settings.common(), "tenants": self._settings.own()}

    def _put_settings(self, sent: Any, _query: dict[str, str]) -> Any:
        values = dict(_object(sent))
        tenant = self._maybe(values.pop("tenant", None))
        self._settings.change(tenant, values)
        return self._settings.common() if tenant is None else self._settings.of(tenant)

    def _post_reset(self, sent: Any, _query: dict[str, str]) -> Any:
        """Rows and settings of a tenant (of all) back to the start. Log and faults stay."""
        tenant = self._maybe(_object(sent).get("tenant"))
        self._store.reset(tenant)
        self._settings.reset(tenant)
        return {}

    def _get_state(self, _sent: Any, _query: dict[str, str], name: str) -> Any:
        return self._tenant(name).state()

    def _post_check(self, sent: Any, _query: dict[str, str]) -> Any:
        """Would the token endpoint accept these credentials now?"""
        spec = _object(sent)
        found = self._tenant(spec.get("tenant")).login(str(spec.get("client_id")), str(spec.get("client_secret")))
        return {"valid": found is not None, "agent_id": found[1]["id"] if found else None}

    def _post_agents(self, sent: Any, _query: dict[str, str], name: str) -> Any:
        return self._put_in(AGENT, sent, name)

    def _post_applications(self, sent: Any, _query: dict[str, str], name: str) -> Any:
        return self._put_in(APPLICATION, sent, name)

    def _put_in(self, kind: Kind, sent: Any, name: str) -> Any:
        if not isinstance(sent, list):
            raise ValueError("the body must be an array of objects")
        tenant = self._tenant(name)
        with self._store.transaction():
            return [tenant.save(kind, row, index, direct=True) for index, row in enumerate(sent)]

    def _post_expire(self, sent: Any, _query: dict[str, str]) -> Any:
        self._store.drop_tokens(self._maybe(_object(sent).get("tenant")))
        return {}


def _object(sent: Any) -> dict[str, Any]:
    if not isinstance(sent, dict):
        raise ValueError("the body must be an object")
    return sent
