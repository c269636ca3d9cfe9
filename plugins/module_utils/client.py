# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Halo's API as four verbs: get, list, save, delete.

Source: Halo's OpenAPI description. Objects are created and updated alike, by a POST of an array; there is no PUT.
What the description leaves open is accepted in every form that clients have seen: a list bare or wrapped in an object,
an answer that is an object or an array of one, 200 or 201.
"""

from __future__ import annotations

import builtins
import dataclasses
import typing as t

from .auth import Login
from .errors import HaloError, UnknownFate, one_line, redact
from .http import Answer, Transport, rest

Raw = dict[str, t.Any]

PAGE = 100
SETTLE = (0.3, 1.0, 3.0)


class Client:
    """One tenant's API.

    ``secrets`` are further values that must never be shown, ``warnings`` is what the user should be told.
    """

    def __init__(self, transport: Transport, login: Login) -> None:
        self.instance = login.connection.url
        self.login = login
        self.secrets: list[str] = []
        self.warnings: list[str] = login.connection.warnings()
        self._transport = transport
        self._lists: dict[str, list[Raw]] = {}

    def with_login(self, client_id: str, client_secret: str, scope: str) -> Client:
        """The same instance by another application's credentials; its token is not shared."""
        other = dataclasses.replace(
            self.login.connection, client_id=client_id, client_secret=client_secret, access_token=None, scope=scope
        )
        return Client(self._transport, Login(other, self._transport))

    def get(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> Raw | None:
        """``GET path``: the object, or None where Halo answers 404 or nothing at all."""
        answer = self._call("GET", path, query=query)
        if answer.status == 404:
            return None
        self._check(answer, "GET", path)
        if answer.data is None:
            return None
        found = answer.data[0] if isinstance(answer.data, list) and len(answer.data) == 1 else answer.data
        if not isinstance(found, dict):
            raise self._useless(answer, "GET", path)
        return found

    def list(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> builtins.list[Raw]:
        """``GET path``: all rows, whatever the list is wrapped in, further pages included."""
        rows, total = self._page(path, query or {})
        # a first page of another size would leave a gap before the second of this one
        page = 1 if len(rows) == PAGE else 0
        while total is not None and len(rows) < total:
            page += 1
            more, _same = self._page(path, {**(query or {}), "pageinate": "true", "page_size": PAGE, "page_no": page})
            known = {row.get("id") for row in rows}
            new = [row for row in more if row.get("id") not in known]
            if not more or (page > 1 and not new):
                break
            rows += new
        return rows

    def cached(self, path: str, query: t.Mapping[str, t.Any]) -> builtins.list[Raw]:
        """The same as :meth:`list`, asked once: for what others refer to by name."""
        if path not in self._lists:
            self._lists[path] = self.list(path, query)
        return self._lists[path]

    def _page(self, path: str, query: t.Mapping[str, t.Any]) -> tuple[builtins.list[Raw], int | None]:
        answer = self._call("GET", path, query=query)
        self._check(answer, "GET", path)
        rows, total = answer.data, None
        if isinstance(rows, dict):
            total = rows.get("record_count")
            rows = next((value for value in rows.values() if isinstance(value, list)), None)
        if rows is None:
            rows = []
        if not isinstance(rows, list):
            raise self._useless(answer, "GET", path)
        return [row for row in rows if isinstance(row, dict)], total if isinstance(total, int) else None

    def save(self, path: str, payload: Raw, find: t.Callable[[], Raw | None] | None = None) -> Raw | None:
        """``POST path`` with ``[payload]``: creates without an id, updates with one.

        When no answer comes back the fate of the request is unknown. An update is then sent again: it names its
        object and its values, so twice is as good as once. A creation is not: ``find`` looks for the object first, and
        what it finds is brought up to date by its id.

        :param find: for a creation: the object that it would have made, or None
        :returns: the saved object, or None where the answer is empty
        :raises UnknownFate: nothing could be learned about it
        """
        try:
            return self._post(path, payload)
        except UnknownFate as lost:
            if find is None:
                self.pause(SETTLE[0])
                return self._post(path, payload)
            for seconds in SETTLE:
                self.pause(seconds)
                found = find()
                if found:
                    return self.save(path, {**payload, "id": found["id"]}) or found
            if lost.late:
                lost.hint = "It was not sent again, so that nothing is made twice. Run again: what is there is found."
                raise
            return self._post(path, payload)

    def _post(self, path: str, payload: Raw) -> Raw | None:
        answer = self._call("POST", path, body=[payload])
        if answer.status >= 500 or (answer.status in (200, 201) and not answer.is_json):
            raise UnknownFate(
                f"POST {path} answered {answer.status} without saying what became of the object.",
                late=answer.status == 504,
                **self._about(answer, "POST", path),
            )
        self._check(answer, "POST", path)
        saved = answer.data[0] if isinstance(answer.data, list) and answer.data else answer.data
        if not isinstance(saved, dict):
            return None
        if saved.get("_warning"):
            self.warnings.append("Halo warns: " + self._redact(str(saved["_warning"])))
        return saved

    def delete(self, path: str) -> None:
        """``DELETE path``; an object that is not there (404) is as good as deleted."""
        for last in (False, True):
            try:
                answer = self._call("DELETE", path)
                if answer.status < 500 or last:
                    break
            except UnknownFate:
                if last:
                    raise
            self.pause(SETTLE[0])
        if answer.status != 404:
            self._check(answer, "DELETE", path)

    pause = staticmethod(rest)

    def _call(self, method: str, path: str, **what: t.Any) -> Answer:
        """One request with a token; a token that died is renewed once (a 401 means that nothing was done)."""
        for renewed in (False, True):
            answer = self._transport.send(
                method, f"{self.instance}/api{path}", path=path, token=self.login.token(), **what
            )
            if answer.status != 401 or renewed or not self.login.renew():
                break
        return answer

    def _redact(self, text: str) -> str:
        return one_line(redact(text, [*self.secrets, *self.login.secrets()]))

    def _about(self, answer: Answer, method: str, path: str) -> dict[str, t.Any]:
        return {
            "instance": self.instance,
            "method": method,
            "path": path,
            "status": answer.status,
            "answer": self._redact(answer.text) or None,
        }

    def _useless(self, answer: Answer, method: str, path: str) -> HaloError:
        about = {**self._about(answer, method, path), "answer": None if answer.is_json else self._redact(answer.text)}
        return HaloError(
            f"{method} {path} gave something that is not Halo's API.",
            hint="Check halo_url: the address of the instance, without /api.",
            **about,
        )

    def _check(self, answer: Answer, method: str, path: str) -> None:
        if answer.status in (200, 201, 202, 204):
            if not answer.is_json:
                raise self._useless(answer, method, path)
            return
        hints = {
            401: "The token was refused: check halo_scope, and that the login agent is active.",
            403: "The application's scopes or its login agent's roles do not allow this: managing agents and "
            "applications takes the scope all or admin and an administrator.",
            404: "Check halo_url.",
        }
        if answer.location:
            raise HaloError(
                f"{method} {path} was redirected to {self._redact(answer.location)}.",
                hint="Give the address that it leads to as halo_url.",
                **self._about(answer, method, path),
            )
        message = f"{method} {path} answered {answer.status}."
        if answer.status == 429:
            message = f"{method} {path}: the rate limit lasted longer than halo_retry_seconds."
        raise HaloError(message, hint=hints.get(answer.status), **self._about(answer, method, path))
