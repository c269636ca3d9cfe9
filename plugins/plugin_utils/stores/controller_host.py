# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""AWX and Automation Controller with nothing beside them: a variable of the tenant's own host in their inventory.

The variable holds, by the tenant's key and the entry's, what is encrypted with the vault secret of the run::

    halo_integration_stored: {TENANT: {KEY: {version: a random one, sealed: "$ANSIBLE_VAULT;..."}}}

The API has no check-and-set. A write looks at the version, replaces all variables of the host, and looks again. The
claim alone makes that safe, and a new one waits in between, for longer than a request may take.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t
import uuid

from ansible.module_utils.common.yaml import yaml_load
from ansible.module_utils.parsing.convert_bool import boolean

from ...module_utils.errors import HaloError, TenantBusy, one_line, redact
from ...module_utils.http import _proxies
from ...module_utils.lifecycle import Entry
from . import Place, options_of
from ._claim import CLAIM, NoAnswer, SharedStore, Value, Version, stale
from ._vault import Cipher

VARIABLE = "halo_integration_stored"
OPTIONS: dict[str, dict[str, t.Any]] = {
    "url": {"type": "str"},
    "token": {"type": "str", "no_log": True},
    "inventory": {"type": "str"},
    "host": {"type": "str"},
    "ca_path": {"type": "str"},
    "api_path": {"type": "str", "default": "/api/v2"},
    # from the write of a new claim until it is looked at again
    "settle_seconds": {"type": "float", "default": 6.0},
}
ENVIRONMENT = {
    "url": "CONTROLLER_HOST",
    "token": "CONTROLLER_OAUTH_TOKEN",
    # a job has it in its environment
    "inventory": "INVENTORY_ID",
}
Entries = dict[str, dict[str, t.Any]]


class Store(SharedStore):
    """Host variables of Controller.

    :raises HaloError: an option is missing; the run has no vault secret; there is no such host
    """

    name = "controller_host"
    # for one request
    seconds: t.ClassVar[float] = 5.0
    sleep: t.Callable[[float], None] = staticmethod(time.sleep)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        options = options_of(place, OPTIONS)
        for option, variable in ENVIRONMENT.items():
            options[option] = options[option] or os.environ.get(variable)
        self._options = options
        with self._failing(None):
            for option in ("url", "token", "inventory", "host"):
                if not options[option]:
                    place_of = f", or {ENVIRONMENT[option]} in the environment" if option in ENVIRONMENT else ""
                    example = ' (as it is: "{{ inventory_hostname }}")' if option == "host" else ""
                    raise HaloError(
                        f"the store controller_host needs its option {option}.",
                        hint=f"Nothing was changed. Set it in halo_integration_store_options{example}{place_of}.",
                    )
            self._cipher = Cipher(place, self.name)
            self._url = options["url"].rstrip("/")
            if "://" not in self._url:
                self._url = f"https://{self._url}"
            self._session = self._connect()
            self._path = f"hosts/{self._find_host()}/"

    def _connect(self) -> t.Any:
        session = self._library("requests").Session()
        # no proxies of the operating system, and no ~/.netrc, which would replace the token
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {self._options['token']}"
        verified = boolean(os.environ.get("CONTROLLER_VERIFY_SSL") or True, strict=False)
        session.verify = (self._options["ca_path"] or True) if verified else False
        return session

    def _find_host(self) -> int:
        inventory = self._options["inventory"]
        if not inventory.isdigit():
            inventory = self._find("inventories", "inventory", name=inventory)
        return self._find("hosts", "host", name=self._options["host"], inventory=str(inventory))

    def _find(self, kind: str, noun: str, **query: str) -> int:
        found = self._ask("GET", f"{kind}/", params=query)
        with self._reading():
            ids = [int(row["id"]) for row in found["results"]]
        if len(ids) != 1:
            number = f"{len(ids)} of" if ids else "no"
            raise HaloError(
                f"{self._url} has {number} {noun} '{one_line(query['name'])}' that this token can see.",
                hint="Nothing was changed. See that the options host and inventory are right, and that the token's "
                "user may read and change the inventory.",
            )
        return ids[0]

    # Requests

    def _ask(self, method: str, path: str, **more: t.Any) -> t.Any:
        """What Controller answers.

        :raises NoAnswer: nothing, or something that says nothing of what became of the request
        """
        url = f"{self._url}/{self._options['api_path'].strip('/')}/{path}"
        try:
            got = self._session.request(
                method, url, timeout=self.seconds, allow_redirects=False, proxies=_proxies(url), **more
            )
        except OSError as error:
            # what requests says is of this kind
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise NoAnswer(f"no answer from {self._url}: {one_line(reason)}.", hint="See that it runs.") from None
        except ValueError:
            raise HaloError(f"{one_line(self._url)} is no address.", hint="See that the option url is right.") from None
        self._hear(got.headers.get("Date"))
        if got.status_code >= 500 or got.status_code == 429:
            raise NoAnswer(f"{self._url} answers with status {got.status_code}.", hint="See that it runs.")
        if got.status_code >= 300:
            said = one_line(redact(got.text, [self._options["token"]]))
            raise HaloError(
                f"{self._url} did not do it (status {got.status_code}): {said}.", hint=HINTS.get(got.status_code)
            )
        with self._reading():
            return got.json()

    @contextlib.contextmanager
    def _reading(self) -> t.Iterator[None]:
        try:
            yield
        except (LookupError, TypeError, AttributeError, ValueError, RecursionError):
            raise NoAnswer(
                f"{self._url} answers, and not as Controller does.",
                hint="See that the options url and api_path are right.",
            ) from None

    # Variables

    def _variables(self) -> dict[str, t.Any]:
        """All variables of the host."""
        with self._reading():
            text = str(self._ask("GET", self._path)["variables"])
        try:
            found = yaml_load(text)
        except Exception:
            # not YAML's errors alone: what makes a date or a number of a text raises whatever it stumbles over
            found = text
        if not isinstance(found or {}, dict):
            raise HaloError(
                f"the variables of the host {self._options['host']} at {self._url} are no dictionary.",
                hint="Nothing was written. See what someone put there.",
            )
        return found or {}

    def _entries(self, variables: dict[str, t.Any]) -> Entries:
        """Those of the tenant, which are part of the variables."""
        stored = variables.setdefault(VARIABLE, {})
        entries = stored.setdefault(self._tenant, {}) if isinstance(stored, dict) else None
        if not isinstance(entries, dict) or not all(isinstance(found, dict) for found in entries.values()):
            raise HaloError(
                f"{self._where('')} is not what this store writes.", hint="Restore it, or remove the variable."
            )
        return entries

    def _where(self, key: str) -> str:
        place = f"{VARIABLE} of the host {self._options['host']} at {self._url}"
        return f"{key} in {place}" if key else place

    def _unsealed(self, key: str, found: dict[str, t.Any]) -> t.Any:
        plain = self._cipher.unseal(str(found.get("sealed")).encode())
        if plain is None:
            raise HaloError(
                f"{self._where(key)} cannot be decrypted with the vault secrets of this run.",
                hint="Run with the vault password that it was written with.",
            )
        try:
            # null would be taken for an entry that is not there
            return json.loads(plain) or {}
        except (ValueError, RecursionError):
            return {}

    def write(self, name: str, new: Entry, version: Version) -> Version:
        if self._claim:
            return super().write(name, new, version)
        # without a claim, two writers might each find that of the other too late
        try:
            with self.hold():
                return super().write(name, new, version)
        except TenantBusy:
            raise stale().about(instance=self._place.instance, subject=f"binding '{name}'") from None

    # What SharedStore asks for

    def _get(self, key: str) -> tuple[t.Any, Version]:
        found = self._entries(self._variables()).get(key)
        return (self._unsealed(key, found), found.get("version")) if found else (None, None)

    def _put(self, key: str, value: Value, version: Version) -> Version:
        variables = self._variables()
        entries = self._entries(variables)
        if entries.get(key, {}).get("version") != version:
            raise stale()
        if key != CLAIM:
            self._see_own_claim(entries)
        new = str(uuid.uuid4())
        entries[key] = {"version": new, "sealed": self._cipher.seal(json.dumps(value).encode()).decode()}
        self._ask("PATCH", self._path, json={"variables": json.dumps(variables)})
        if key == CLAIM and value["holder"] and not self._claim:
            # whoever read the same version has written by then, and one of the two finds that of the other
            self.sleep(self._options["settle_seconds"])
        entries = self._entries(self._variables())
        if entries.get(key, {}).get("version") != new:
            raise stale()
        if key != CLAIM:
            self._see_own_claim(entries)
        return new

    def _see_own_claim(self, entries: Entries) -> None:
        """See that nobody took the tenant over, by what is there and not by what is remembered.

        :raises StaleEntry: somebody did
        """
        if self._claim:
            found = self._unsealed(CLAIM, entries[CLAIM]) if CLAIM in entries else None
            if not found or found.get("holder") != self._claim.holder:
                raise stale()

    def _list(self) -> list[str]:
        return list(self._entries(self._variables()))


HINTS = {
    401: "The token is wrong or has expired.",
    403: "The token's user may not do it: it takes the role Admin of the inventory, and a token with the scope Write.",
    404: "There is no such host any more, or no such API: see the option api_path.",
}
