# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Halo's API as four verbs: get, list, save, delete.

Source: Halo's OpenAPI description. Objects are created and updated alike, by a POST of an array; there is no PUT.
What the description leaves open is accepted in every form that clients have seen: a list bare or wrapped in an object,
an answer that is an object or an array of one, 200 or 201. What is no list of what was asked for is never taken for an
empty one: whoever believes that nothing is there makes it a second time.
"""

from __future__ import annotations

import builtins
import dataclasses
import re
import typing as t

from .auth import Login
from .errors import AmbiguousWrite, HaloError, one_line, redact
from .http import Response, Transport, sleep

Raw = dict[str, t.Any]

PAGE = 100
SETTLE = (0.3, 1.0, 3.0)
NUMBERS = frozenset(
    {"id", "id_int", "loginas_agent_id", "loginas_halointegrator", "team_id", "department_id", "workday_id"}
)

# what every login is made of, so that there is always one that can be seen
AGENTS, APPLICATIONS = "/Agent", "/Application"


class Client:
    """One tenant's API.

    ``secrets`` are further values that must never be shown, ``warnings`` is what the user should know, ``made`` the
    ids of what this run has created, by path and folded name: a list may show it late.
    """

    def __init__(self, transport: Transport, login: Login) -> None:
        self.instance = login.connection.url
        self.login = login
        self.secrets: list[str] = []
        self.warnings: list[str] = login.warnings
        self.made: dict[tuple[str, str], t.Any] = {}
        self._transport = transport
        self._lists: dict[tuple[str, str], list[Raw]] = {}
        self._me: Raw | None = None
        self._warned = False

    def with_login(self, client_id: str, client_secret: str, scope: str) -> Client:
        """The same instance by another application's credentials; its token is not shared."""
        other = dataclasses.replace(
            self.login.connection, client_id=client_id, client_secret=client_secret, access_token=None, scope=scope
        )
        return Client(self._transport, Login(other, self._transport))

    def get(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> Raw | None:
        """``GET path``: the object; None where Halo answers 404, and ``{}`` where it answers nothing, which proves
        nothing."""
        response = self._call("GET", path, query=query)
        if response.status == 404:
            return None
        self._check(response, "GET", path)
        if response.data is None:
            return {}
        found = response.data[0] if isinstance(response.data, list) and len(response.data) == 1 else response.data
        if not isinstance(found, dict):
            raise self._useless(response, "GET", path)
        return found

    def me(self) -> Raw:
        """``GET /Agent/me``, asked once: the agent that the login belongs to; empty where Halo does not say."""
        if self._me is None:
            self._me = self.get("/Agent/me") or {}
        return self._me

    def cached(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> builtins.list[Raw]:
        """The same as :meth:`list`, read once, and again after a write to what it lists."""
        key = (path, repr(sorted((query or {}).items())))
        if key not in self._lists:
            self._lists[key] = self._read_list(path, query or {})
        return self._lists[key]

    def list(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> builtins.list[Raw]:
        """``GET path``: all rows as they are now, whatever the list is wrapped in, further pages included.

        :raises HaloError: the answer is no such list, cannot be the whole one, or is empty where it cannot be
        """
        self._forget(path)
        return self.cached(path, query)

    def has_rows(self, path: str) -> bool:
        """``GET path``, one row of it: whether there is any that this login may see.

        :raises HaloError: the answer is no list
        """
        response = self._call("GET", path, query={"pageinate": "true", "page_size": 1, "page_no": 1})
        self._check(response, "GET", path)
        # an empty body is one of Halo's ways to say that there is nothing
        return response.data is not None and bool(self._listed(response, path))

    def _forget(self, path: str) -> None:
        self._lists = {key: rows for key, rows in self._lists.items() if key[0] != path}

    def _read_list(self, path: str, query: t.Mapping[str, t.Any]) -> builtins.list[Raw]:
        # rows that come or go while a list is read shift its pages
        wrong = ""
        for _attempt in range(2):
            rows, wrong = self._pages(path, query)
            if not wrong:
                break
        if wrong:
            raise HaloError(
                f"the list that GET {path} gave is not whole: {wrong}.",
                instance=self.instance,
                hint="Nothing was changed on its word; run again.",
            )
        if not rows and path in (AGENTS, APPLICATIONS):
            raise HaloError(
                f"GET {path} gave an empty list, which cannot be: this run itself logs in by one.",
                instance=self.instance,
                hint="Check the scopes of the application and the roles of its login agent: what they do not cover, "
                "Halo leaves out without a word.",
            )
        own = self.login.connection
        if path == APPLICATIONS and own.client_id and not own.access_token:
            known = {str(row["clientId"]).strip().lower() for row in rows if row.get("clientId")}
            if known and own.client_id.strip().lower() not in known:
                text = (
                    "The list of applications lacks the one that this run logs in with, so more may be missing: an "
                    "application may be made twice. Check the roles of its login agent."
                )
                self.warnings += [text] if not self._warned else []
                self._warned = True
        return rows

    def _pages(self, path: str, query: t.Mapping[str, t.Any]) -> tuple[builtins.list[Raw], str]:
        """All rows by what one pass over the pages shows, and what is wrong with them."""
        found, total = self._page(path, query)
        # a first page of another size would leave a gap before the second of this one
        page = 1 if len(found) == PAGE else 0
        rows: dict[str, Raw] = {}
        while True:
            if any(row.get("id") is None for row in found):
                return [], "it has a row without an id"
            before = len(rows)
            rows.update({str(row["id"]).lower(): row for row in found})
            if total is None or len(rows) >= total:
                return list(rows.values()), ""
            if page > 1 and len(rows) == before:
                return [], f"it has {total} rows, and {len(rows)} could be read"
            page += 1
            found, now = self._page(path, {**query, "pageinate": "true", "page_size": PAGE, "page_no": page})
            if now not in (None, total):
                return [], "it changed while it was read"

    def _page(self, path: str, query: t.Mapping[str, t.Any]) -> tuple[builtins.list[Raw], int | None]:
        response = self._call("GET", path, query=query)
        self._check(response, "GET", path)
        data, rows = response.data, self._listed(response, path)
        total = data.get("record_count") if isinstance(data, dict) else None
        return rows, total if isinstance(total, int) else None

    def _listed(self, response: Response, path: str) -> builtins.list[Raw]:
        """The rows that an answer holds.

        :raises HaloError: it is no list
        """
        if response.data is not None and not isinstance(response.data, (list, dict)):
            raise self._useless(response, "GET", path)
        rows = _rows(response.data, path)
        if rows is None:
            raise HaloError(
                f"GET {path} answered {response.status}, and not with the list that was asked for.",
                hint="Nothing was changed on its word; run again.",
                **self._about(response, "GET", path),
            )
        return rows

    def save(self, path: str, payload: Raw, find: t.Callable[[], Raw | None] | None = None) -> Raw | None:
        """``POST path`` with ``[payload]``: creates without an id, updates with one.

        When no answer comes back the fate of the request is unknown. An update is then sent again: it names its
        object and its values, so twice is as good as once. A creation is not: ``find`` looks for the object, as long as
        the request may still be carried out, and what it finds is brought up to date by its id.

        :param find: for a creation: the object that it would have made, or None
        :returns: the saved object, or None where the answer is empty
        :raises AmbiguousWrite: nothing could be learned about it
        """
        self._forget(path)
        try:
            return self._post(path, payload)
        except AmbiguousWrite as lost:
            if find is None:
                self.pause(SETTLE[0])
                return self._post(path, payload)
            for seconds in SETTLE if lost.late or lost.over else self._looks():
                self.pause(seconds)
                try:
                    found = find()
                except HaloError as error:
                    lost.hint = f"It was not sent again, for what is there could not be seen ({error.message})"
                    raise lost from None
                if found:
                    return self.save(path, {**payload, "id": found["id"]}) or found
            if lost.late:
                lost.hint = "It was not sent again, so that nothing is made twice. Run again: what is there is found."
                raise
            return self._post(path, payload)

    def _looks(self) -> t.Iterator[float]:
        """Pauses before each look for what a request makes whose connection is gone, until its time-out is over.

        What answers in Halo's place (502, a reset) need not have stopped it.
        """
        left = self.login.connection.timeout
        for seconds in SETTLE:
            left -= seconds
            yield seconds
        while left > 0:
            seconds = min(2 * seconds, left)
            left -= seconds
            yield seconds

    def _post(self, path: str, payload: Raw) -> Raw | None:
        response = self._call("POST", path, body=[_with_numbers(payload)])
        if response.status >= 500 or (response.status in (200, 201) and not response.is_json):
            raise AmbiguousWrite(
                f"POST {path} answered {response.status} without saying what became of the object.",
                late=response.status == 504,
                over=response.status == 500 and _is_halos(response.data),
                **self._about(response, "POST", path),
            )
        self._check(response, "POST", path)
        saved = response.data[0] if isinstance(response.data, list) and response.data else response.data
        if not isinstance(saved, dict):
            return None
        if saved.get("_warning"):
            self.warnings.append("Halo warns: " + self._redact(str(saved["_warning"])))
        return saved

    def delete(self, path: str) -> None:
        """``DELETE path/id``; an object that is not there (404) is as good as deleted."""
        self._forget(path.rpartition("/")[0])
        for last in (False, True):
            try:
                response = self._call("DELETE", path)
                if response.status < 500 or last:
                    break
            except AmbiguousWrite:
                if last:
                    raise
            self.pause(SETTLE[0])
        if response.status != 404:
            self._check(response, "DELETE", path)

    pause = staticmethod(sleep)

    def ask(self, method: str, path: str, *, token: str | None = None, **what: t.Any) -> Response:
        """One request below ``/api``, and its answer whatever that is: for who wants to know how Halo answers.

        :param token: another one than the login's; an empty one means none
        :raises HaloError: no usable response came
        """
        if "body" in what:
            what["body"] = _with_numbers(what["body"])
        if token is None:
            return self._call(method, path, **what)
        return self._transport.send(method, f"{self.instance}/api{path}", path=path, token=token or None, **what)

    def _call(self, method: str, path: str, **what: t.Any) -> Response:
        """One request with a token; a token that died is renewed once (a 401 means that nothing was done)."""
        for renewed in (False, True):
            response = self._transport.send(
                method, f"{self.instance}/api{path}", path=path, token=self.login.token(), **what
            )
            if response.status != 401 or renewed or not self.login.renew():
                break
        return response

    def _redact(self, text: str) -> str:
        return one_line(redact(text, [*self.secrets, *self.login.secrets()]))

    def _about(self, response: Response, method: str, path: str) -> dict[str, t.Any]:
        return {
            "instance": self.instance,
            "method": method,
            "path": path,
            "status": response.status,
            # an object of Halo's is no message, and may hold what must not be shown
            "answer": None if _is_object(response.data) else self._redact(response.text) or None,
        }

    def _useless(self, response: Response, method: str, path: str) -> HaloError:
        about = self._about(response, method, path)
        return HaloError(
            f"{method} {path} gave something that is not Halo's API.",
            hint="Check halo_url: the address of the instance, without /api.",
            **{**about, "answer": None if response.is_json else about["answer"]},
        )

    def _check(self, response: Response, method: str, path: str) -> None:
        if response.status in (200, 201, 202, 204):
            if not response.is_json:
                raise self._useless(response, method, path)
            return
        hints = {
            401: "The token was refused: check halo_scope, and that the login agent is active.",
            403: "The application's scopes or its login agent's roles do not allow this: managing agents and "
            "applications takes the scope all or admin and an administrator.",
            404: "Check halo_url.",
        }
        if response.location:
            raise HaloError(
                f"{method} {path} was redirected to {self._redact(response.location)}.",
                hint="Give the address that it leads to as halo_url.",
                **self._about(response, method, path),
            )
        message = f"{method} {path} answered {response.status}."
        if response.status == 429:
            message = f"{method} {path}: the rate limit lasted longer than halo_retry_seconds."
        raise HaloError(message, hint=hints.get(response.status), **self._about(response, method, path))


def _with_numbers(value: t.Any) -> t.Any:
    """Ids as the numbers that they are in Halo's model: a version that answers them as texts need not take texts."""
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: int(item)
        if name in NUMBERS and isinstance(item, str) and re.fullmatch("[0-9]+", item)
        else _with_numbers(item)
        for name, item in value.items()
    }


def _is_halos(data: t.Any) -> bool:
    """Whether it is the form in which Halo itself reports a failure."""
    return isinstance(data, dict) and bool({"Message", "ClassName"} & set(data))


def _is_object(data: t.Any) -> bool:
    return isinstance(data, dict) and bool({"id", "clientId", "tokens", "authorizations"} & set(data))


def _rows(data: t.Any, path: str) -> list[Raw] | None:
    """The rows of a list, bare or in an object; None where it is none of what was asked for, such as errors."""
    if isinstance(data, dict):
        noun = path.rpartition("/")[2].lower()
        named = [rows for name, rows in data.items() if name.lower() in (noun, noun + "s", "results")]
        if "record_count" in data:
            # a page, under whatever name a version of Halo keeps its rows
            named += data.values()
        data = next((rows for rows in named if isinstance(rows, list)), None)
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        return None
    return data
