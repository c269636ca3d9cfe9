# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stored secrets on the controller: files, plain or encrypted with Ansible Vault, and one run at a time a tenant."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import socket
import time
import typing as t

import yaml
from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.common.yaml import yaml_load
from ansible.parsing.vault import VaultLib, match_encrypt_secret

from ..module_utils.errors import HaloError
from ..module_utils.lifecycle import Entry, entry
from ..module_utils.spec import fold

STORES = ("vault_file", "file")
LEASE_SECONDS = 3600


def safe(name: str) -> str:
    """A file name for any text: readable as far as it is harmless, and different for texts that Halo tells apart."""
    name = fold(name)
    readable = re.sub(r"[^a-z0-9.-]+", "_", name).strip("._-")[:60]
    return f"{readable or 'x'}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:10]}"


class FileStore:
    """One file for each tenant and binding: mode 0600 in folders of mode 0700, replaced atomically and durably.

    :param folder: of the store
    :param tenant: the tenant's address and name; any text
    :param vault: the run's Ansible Vault where files shall be encrypted, None where they are plain
    :raises HaloError: there is no vault secret to encrypt with
    """

    def __init__(self, folder: str, tenant: str, vault: VaultLib | None) -> None:
        self._folder = os.path.join(os.path.expanduser(folder), safe(re.sub(r"^https?://", "", tenant)))
        self._tenant = tenant
        self._vault = vault
        self._secret: t.Any = None
        if vault is not None:
            try:
                wanted = C.config.get_config_value("DEFAULT_VAULT_ENCRYPT_IDENTITY")
                found = match_encrypt_secret(vault.secrets or [], wanted)
            except AnsibleError:
                found = None
            if not found:
                raise HaloError(
                    "the store vault_file needs a vault secret and this run has none.",
                    instance=tenant,
                    hint="Run with --vault-password-file or --vault-id, or choose halo_integration_store: file or a "
                    "folder with read.yml and write.yml of your own.",
                )
            self._secret = found

    def path(self, binding: str) -> str:
        return os.path.join(self._folder, safe(binding) + ".yml")

    def read(self, binding: str) -> Entry:
        """The entry of a binding; an empty one where there is no file.

        :raises HaloError: the file cannot be read or decrypted
        """
        path = self.path(binding)
        try:
            with open(path, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            return entry(None)
        except OSError as error:
            raise self._failed("read", path, error) from None
        try:
            if VaultLib.is_encrypted(content):
                if self._vault is None:
                    raise HaloError(
                        f"{path} is encrypted and the store is 'file'.", hint="Set halo_integration_store: vault_file."
                    )
                content = self._vault.decrypt(content)
            found = _parsed(content)
        except AnsibleError:
            raise HaloError(
                f"{path} cannot be decrypted with the vault secrets of this run.", instance=self._tenant
            ) from None
        except (yaml.YAMLError, UnicodeError):
            found = None
        if not isinstance(found, dict):
            # taken for an empty entry, it would cost the secret that someone may yet restore
            raise HaloError(
                f"{path} is not what this store writes.",
                instance=self._tenant,
                hint="Restore it, or remove it to have a new secret made.",
            )
        return entry(found)

    def write(self, binding: str, new: Entry) -> None:
        """Replace the entry of a binding.

        :raises HaloError: it could not be written; the old one is still there
        """
        path = self.path(binding)
        content = yaml.safe_dump({"tenant": self._tenant, "binding": binding, **new}, allow_unicode=True).encode()
        if self._vault is not None:
            vault_id, secret = self._secret
            content = self._vault.encrypt(content, secret, vault_id if vault_id != "default" else None)
        try:
            _make_private(self._folder)
            # always the same name: what a killed run left of it is overwritten by the next
            draft = os.path.join(self._folder, f".{os.path.basename(path)}.draft")
            try:
                with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft)
                raise
            _sync_folder(self._folder)
        except OSError as error:
            raise self._failed("write", path, error) from None

    def _failed(self, verb: str, path: str, error: OSError) -> HaloError:
        return HaloError(f"the store could not {verb} {path}: {error.strerror}.", instance=self._tenant)


def _parsed(content: bytes) -> t.Any:
    try:
        return yaml_load(content)
    except yaml.YAMLError:
        # libyaml, ten times faster, refuses half a surrogate pair in a name; the dumper writes one
        return yaml.safe_load(content)


def _make_private(folder: str) -> None:
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
            _sync_folder(os.path.dirname(folder))


def _sync_folder(folder: str) -> None:
    handle = os.open(folder or ".", os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Lock:
    """One run at a time over one tenant.

    The holder is the run, not the worker that a task happens to use. A lock whose run is dead, or that is an hour old
    on another host, is taken over.

    :param folder: where locks are kept
    :param tenant: the tenant's address and name
    """

    def __init__(self, folder: str, tenant: str) -> None:
        self._folder = os.path.expanduser(folder)
        self._tenant = tenant
        self._path = os.path.join(self._folder, "." + safe(re.sub(r"^https?://", "", tenant)) + ".lock")

    def take(self) -> None:
        """Take the lock, or find that this run holds it.

        :raises HaloError: another run is at work on this tenant
        """
        try:
            _make_private(self._folder)
            with self._held() as (file, holder, age):
                if holder == _this_run():
                    return
                if holder and not _is_dead(holder, age):
                    raise HaloError(
                        f"another run is at work on this tenant (process {holder.get('pid')} on {holder.get('host')}).",
                        instance=self._tenant,
                        hint="Nothing was changed. Wait until it has ended and run again.",
                    )
                file.seek(0)
                file.truncate()
                json.dump(_this_run(), file)
                file.flush()
        except OSError as error:
            raise HaloError(
                f"the store's folder {self._folder} is not writable: {error.strerror}.", instance=self._tenant
            ) from None

    def release(self) -> None:
        """Give the lock back, if this run holds it."""
        with contextlib.suppress(OSError), self._held() as (_file, holder, _age):
            if holder in ({}, _this_run()):
                os.unlink(self._path)

    @contextlib.contextmanager
    def _held(self) -> t.Iterator[tuple[t.TextIO, dict[str, t.Any], float]]:
        """The lock file, for this process alone, with the run that it names and its age in seconds."""
        while True:
            with open(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if _is_at(self._path, file):
                    age = time.time() - os.fstat(file.fileno()).st_mtime
                    yield file, _named_in(file), age
                    return


def _is_at(path: str, file: t.TextIO) -> bool:
    """Whether this open file is still the one at ``path``: it may be gone since this process began to wait."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _this_run() -> dict[str, t.Any]:
    return {"host": socket.gethostname(), "pid": os.getppid(), "started": _started(os.getppid())}


def _named_in(file: t.TextIO) -> dict[str, t.Any]:
    try:
        found = json.load(file)
    except ValueError:
        # its run died while it was written
        return {}
    return found if isinstance(found, dict) else {}


def _is_dead(holder: dict[str, t.Any], age: float) -> bool:
    if holder.get("host") != socket.gethostname():
        return age > LEASE_SECONDS
    started = _started(int(holder.get("pid") or 0))
    return started is None or (holder.get("started") not in (None, "") and started != holder["started"])


def _started(pid: int) -> str | None:
    """When a process began, in the system's own units; empty where the system does not tell; None for a dead one."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        pass
    if os.path.isdir("/proc/self"):
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""
