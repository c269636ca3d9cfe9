# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HashiCorp Vault and OpenBao: a secret of a KV engine, version 2, for each tenant and binding."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ...module_utils.errors import HaloError, one_line, redact
from . import Place, options_of
from ._claim import NoAnswer, SharedStore, Value, Version, stale

OPTIONS: dict[str, dict[str, t.Any]] = {
    "url": {"type": "str"},
    "mount": {"type": "str", "default": "secret"},
    "path": {"type": "str", "default": "halo"},
    "namespace": {"type": "str"},
    "ca_path": {"type": "str"},
    "auth_method": {"type": "str", "choices": ["token", "approle", "kubernetes", "jwt"], "default": "token"},
    "auth_mount": {"type": "str"},
    "token": {"type": "str", "no_log": True},
    "role_id": {"type": "str"},
    "secret_id": {"type": "str", "no_log": True},
    "role": {"type": "str"},
    "jwt": {"type": "str", "no_log": True},
}
ENVIRONMENT = {
    "url": "VAULT_ADDR",
    "namespace": "VAULT_NAMESPACE",
    "ca_path": "VAULT_CACERT",
    "token": "VAULT_TOKEN",
    "role_id": "VAULT_ROLE_ID",
    "secret_id": "VAULT_SECRET_ID",
    "role": "VAULT_ROLE",
    "jwt": "VAULT_JWT",
}
REQUIRED = {"token": ["url"], "approle": ["url", "role_id"], "kubernetes": ["url", "role"], "jwt": ["url", "jwt"]}
POD_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
SECONDS = 15


class Store(SharedStore):
    """KV version 2, with check-and-set on every write.

    :raises HaloError: hvac is not there; an option is missing; the login is refused; there is no such engine
    """

    name = "hashi_vault"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        options = options_of(place, OPTIONS)
        for option, variable in ENVIRONMENT.items():
            options[option] = options[option] or os.environ.get(variable)
        self._options = options
        with self._failing(None):
            for option in REQUIRED[options["auth_method"]]:
                if not options[option]:
                    raise HaloError(
                        f"the store hashi_vault needs its option {option}.",
                        hint=f"Nothing was changed. Set it in halo_integration_store_options, or {ENVIRONMENT[option]} "
                        "in the environment.",
                    )
            self._errors = self._library("hvac").exceptions
            self._client = self._library("hvac").Client(
                url=options["url"],
                # with none given, hvac takes the file that `vault login` leaves
                token=options["token"] if options["auth_method"] == "token" else "",
                namespace=options["namespace"],
                verify=options["ca_path"] or True,
                timeout=SECONDS,
            )
            self._client.session.hooks["response"].append(lambda got, **_more: self._hear(got.headers.get("Date")))
            self._path = "/".join(part for part in (options["path"].strip("/"), self._tenant) if part)
            with self._asking():
                self._log_in()
                self._examine_mount()

    def _log_in(self) -> None:
        options, method = self._options, self._options["auth_method"]
        auth, mount = self._client.auth, options["auth_mount"] or method
        if method == "approle":
            auth.approle.login(options["role_id"], options["secret_id"], mount_point=mount)
        elif method == "jwt":
            auth.jwt.jwt_login(options["role"], options["jwt"], path=mount)
        elif method == "kubernetes":
            auth.kubernetes.login(options["role"], options["jwt"] or _pod_token(), mount_point=mount)
        elif not self._client.token:
            raise HaloError(
                "the store hashi_vault has no token.",
                hint="Nothing was changed. Set token in halo_integration_store_options, or VAULT_TOKEN in the "
                "environment; or choose another auth_method.",
            )

    def _examine_mount(self) -> None:
        """Version 1 takes a write for version 2 without a word, and does not check it."""
        mount = self._options["mount"].strip("/")
        found = self._client.read(f"sys/internal/ui/mounts/{mount}")["data"]
        if (found["type"], (found["options"] or {}).get("version")) != ("kv", "2"):
            raise HaloError(
                f"the secrets engine at '{mount}' is not KV of version 2.",
                hint="Nothing was changed. Name one with the option mount, or upgrade it: "
                f"vault kv enable-versioning {mount}",
            )

    @contextlib.contextmanager
    def _asking(self) -> t.Iterator[None]:
        """What goes wrong between here and the server, in words without a credential."""
        url, errors = self._options["url"], self._errors
        try:
            yield
        except errors.VaultError as error:
            said = ", ".join(error.errors) if isinstance(error.errors, list) else str(error.errors or error.text or "")
            said = one_line(redact(said, [self._client.token, *map(self._options.get, ("token", "secret_id", "jwt"))]))
            what = f"{url} did not do it: {said or type(error).__name__}."
            if isinstance(error, (errors.InternalServerError, errors.BadGateway, errors.UnexpectedError)):
                raise NoAnswer(what) from None
            raise HaloError(what, hint=HINTS.get(type(error).__name__)) from None
        except OSError as error:
            # what requests says is of this kind
            raise NoAnswer(f"no answer from {url}: {_reason(error)}.", hint="See that it runs.") from None
        except (LookupError, TypeError, AttributeError, ValueError, RecursionError):
            raise NoAnswer(f"{url} answers, and not as Vault does.", hint="See that the option url is right.") from None

    def _ask(self, call: t.Callable[..., t.Any], key: str, **more: t.Any) -> t.Any:
        where = {"path": self._path + key, "mount_point": self._options["mount"]}
        try:
            return call(**where, **more)
        except self._errors.Forbidden:
            if self._options["auth_method"] == "token":
                raise
            # the token of a login lives for minutes
            self._log_in()
            return call(**where, **more)

    @property
    def _kv(self) -> t.Any:
        return self._client.secrets.kv.v2

    def _where(self, key: str) -> str:
        return f"{self._options['mount']}/{self._path}/{key} at {self._options['url']}"

    def _get(self, key: str) -> tuple[t.Any, Version]:
        with self._asking():
            try:
                found = self._ask(self._kv.read_secret_version, f"/{key}", raise_on_deleted_version=False)["data"]
            except self._errors.InvalidPath:
                return None, None
            return found["data"], found["metadata"]["version"]

    def _put(self, key: str, value: Value, version: Version) -> Version:
        with self._asking():
            try:
                written = self._ask(self._kv.create_or_update_secret, f"/{key}", secret=value, cas=version or 0)
            except self._errors.InvalidRequest as error:
                if "check-and-set" in str(error):
                    raise stale() from None
                raise
            return written["data"]["version"]

    def _list(self) -> list[str]:
        with self._asking():
            try:
                return list(self._ask(self._kv.list_secrets, "")["data"]["keys"])
            except self._errors.InvalidPath:
                return []


HINTS = {
    "Forbidden": "The credentials are wrong or have expired, there is no such engine (option mount), or the policy "
    "does not allow it: it takes create, read and update on MOUNT/data/PATH/*, and list on MOUNT/metadata/PATH/*.",
    "InvalidRequest": "See that the options of the store are right.",
    "VaultDown": "It is sealed, or in maintenance: unseal it.",
}


def _pod_token() -> str:
    try:
        with open(POD_TOKEN, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        raise HaloError(
            f"the auth_method kubernetes needs the token of a pod, and there is no {POD_TOKEN}.",
            hint="Nothing was changed. Run in a pod with a service account, or give its token with the option jwt.",
        ) from None


def _reason(error: BaseException) -> str:
    """The innermost of errors that were wrapped in each other."""
    seen = error
    while True:
        parts = (getattr(seen, "reason", None), *seen.args, seen.__cause__, seen.__context__)
        inner = next((part for part in parts if isinstance(part, BaseException)), None)
        if inner is None:
            return one_line(getattr(seen, "strerror", None) or str(seen) or type(seen).__name__)
        seen = inner
