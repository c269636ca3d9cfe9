# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the stores in files share: one file for each tenant and binding, and the kernel's lock on a tenant."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import hashlib
import json
import os
import re
import shlex
import stat
import typing as t

import yaml
from ansible.module_utils.common.yaml import yaml_load

from ...module_utils.errors import HaloError, StaleEntry, TenantBusy, one_line
from ...module_utils.lifecycle import LABELS, Entry, entry
from ...module_utils.spec import fold
from ..action import plain
from . import Place, options_of, store_class, store_names

Version = str | None

# Where ansible-runner mounts the private data directory of a job that runs in a container.
JOB_FOLDER = "/runner"
RUN_LOCK = ".run.lock"
WRITE_LOCK = ".write.lock"
_UNREADABLE = re.compile(r"[^a-z0-9.-]+")
_SCHEME = re.compile(r"^https?://")


def safe(name: str) -> str:
    """A file name for any text: readable as far as it is harmless, and different for texts that Halo tells apart."""
    name = _same(name)
    readable = _UNREADABLE.sub("_", name).strip("._-")[:60]
    return f"{readable or 'x'}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:10]}"


def _same(name: t.Any) -> str:
    """The same text for all spellings of a name that are one to Halo, and for an address with and without TLS."""
    return _SCHEME.sub("", fold(name))


class FileStore:
    """One file for each tenant and binding: mode 0600 in folders of mode 0700, replaced atomically and durably.

    Whatever else lies at the name of a file (a link, a pipe, a file that others can write) is neither read nor written.

    :raises HaloError: there is no folder, or it will be gone when this job ends; an option is not known
    """

    name: t.ClassVar[str]

    def __init__(self, place: Place) -> None:
        self._place = place
        options = options_of(place, {"ephemeral": {"type": "bool", "default": False}})
        if not place.folder or not os.path.isabs(place.folder):
            raise HaloError(
                f"the store {self.name} needs a folder, and there is no inventory folder to make one in.",
                instance=place.instance,
                hint="Nothing was changed. Set halo_integration_store_dir to an absolute path.",
            )
        if not options["ephemeral"]:
            self._refuse_ephemeral(place.folder)
        self._folder = os.path.join(place.folder, safe(place.owner))
        self._contents: dict[Version, t.Any] = {}

    def _seal(self, content: bytes) -> bytes:
        """What is written for ``content``."""
        raise NotImplementedError

    def _unseal(self, path: str, content: bytes) -> bytes:
        """What was written.

        :raises HaloError: this store did not write it, or cannot read it
        """
        raise NotImplementedError

    def _refuse_ephemeral(self, folder: str) -> None:
        for job_folder in filter(None, (os.environ.get("AWX_PRIVATE_DATA_DIR"), JOB_FOLDER)):
            if is_lost_with(job_folder, folder, is_mount):
                others = [name for name in store_names() if not issubclass(store_class(name), FileStore)]
                raise HaloError(
                    f"the store {self.name} would keep its files in {folder}, which is gone when this job ends.",
                    instance=self._place.instance,
                    hint="Nothing was changed. Set halo_integration_store_dir to a mounted folder"
                    + (f", or halo_integration_store to one of {', '.join(others)}" if others else "")
                    + ". If the secrets may be lost with the job: halo_integration_store_options: {ephemeral: true}.",
                )

    # The port

    def path(self, name: str) -> str:
        """The file of a binding."""
        return os.path.join(self._folder, safe(name) + ".yml")

    def read(self, name: str) -> tuple[Entry, Version]:
        path = self.path(name)
        with self._naming(name), self._failing("read", path):
            try:
                with self._opened() as folder:
                    content = self._bytes(folder, os.path.basename(path))
            except FileNotFoundError:
                content = None
            if content is None:
                return entry(None), None
            found = self._parsed(path, content)
            if _same(found["binding"]) != _same(name):
                raise self._foreign(path, found)
        return entry(found), _version(content)

    def write(self, name: str, new: Entry, version: Version) -> Version:
        path = self.path(name)
        whole = {"tenant": self._place.owner, **new, "binding": name, "end": True}
        whole["instance"] = whole.get("instance") or self._place.instance
        # slow where it is encrypted, and so before the lock
        content = self._seal(_dumped(plain(whole)))
        with self._naming(name), self._failing("write", path):
            _make_private(self._folder)
            with self._opened() as folder, self._locked(folder, WRITE_LOCK, wait=True):
                if _version(self._bytes(folder, os.path.basename(path))) != version:
                    raise StaleEntry(
                        "its stored entry was changed by someone else since it was read.",
                        hint="Nothing was written. Run again.",
                    )
                _replace(folder, os.path.basename(path), content)
        return _version(content)

    def names(self) -> list[str]:
        return sorted(self.others(()))

    def others(self, names: t.Iterable[str]) -> dict[str, Entry]:
        known = {os.path.basename(self.path(name)) for name in names}
        contents: dict[str, bytes | None] = {}
        with self._failing("list", self._folder):
            with contextlib.suppress(FileNotFoundError), self._opened() as folder:
                for file in os.listdir(folder):
                    if not file.startswith(".") and file.endswith(".yml") and file not in known:
                        contents[os.path.join(self._folder, file)] = self._bytes(folder, file)
            entries = [self._parsed(path, content) for path, content in contents.items() if content is not None]
        return {str(found["binding"]): entry(found) for found in entries}

    @contextlib.contextmanager
    def hold(self) -> t.Iterator[None]:
        # what fails in the caller's work is not a failure of the lock
        with contextlib.ExitStack() as held:
            with self._failing("lock", self._folder):
                _make_private(self._folder)
                folder = held.enter_context(self._opened())
                lock = held.enter_context(self._locked(folder, RUN_LOCK, wait=False))
            held.callback(_announce, lock, None)
            now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            _announce(lock, {"host": os.uname().nodename, "pid": os.getpid(), "since": now})
            yield

    # Content

    def _parsed(self, path: str, content: bytes) -> t.Any:
        """What a file says, whole and about this tenant. Nothing is decrypted twice."""
        version = _version(content)
        if version not in self._contents:
            found = _loaded(self._unseal(path, content)) if content.strip() else None
            if not _is_whole(found):
                # taken for an empty entry, it would cost the secret that someone may yet restore
                raise HaloError(
                    f"{path} is not what this store writes, or not all of it.",
                    hint="Restore it. If that cannot be done, remove it and set adopt: rotate for its binding, which "
                    "makes a new secret.",
                )
            self._contents[version] = found
        found = self._contents[version]
        if _same(found["tenant"]) != _same(self._place.owner):
            raise self._foreign(path, found)
        return found

    def _foreign(self, path: str, found: t.Any) -> HaloError:
        whose = one_line(f"'{found['binding']}' of {found['tenant']}")
        return HaloError(f"{path} holds another entry, that of {whose}.", hint="Restore the one that belongs there.")

    # Files

    @contextlib.contextmanager
    def _naming(self, name: str) -> t.Iterator[None]:
        try:
            yield
        except HaloError as error:
            raise error.about(subject=f"binding '{name}'") from None

    @contextlib.contextmanager
    def _failing(self, verb: str, path: str) -> t.Iterator[None]:
        try:
            yield
        except HaloError as error:
            raise error.about(instance=self._place.instance) from None
        except OSError as error:
            # a folder that is a link is "not a directory"
            is_link = error.errno == errno.ELOOP or os.path.islink(self._folder)
            reason = "there is a symbolic link in its place" if is_link else error.strerror
            raise HaloError(f"the store could not {verb} {path}: {reason}.", instance=self._place.instance) from None

    @contextlib.contextmanager
    def _opened(self) -> t.Iterator[int]:
        """The tenant's folder, open and examined.

        :raises FileNotFoundError: there is none
        """
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _trust(self._folder, os.fstat(folder))
            yield folder
        finally:
            os.close(folder)

    def _bytes(self, folder: int, file: str) -> bytes | None:
        """The content of a file in the tenant's folder; None where there is none."""

        def opener(name: str, flags: int) -> int:
            # a pipe would be waited for
            return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)

        try:
            with open(file, "rb", opener=opener) as opened:
                _trust(os.path.join(self._folder, file), os.fstat(opened.fileno()), is_file=True)
                return opened.read()
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _locked(self, folder: int, file: str, *, wait: bool) -> t.Iterator[int]:
        """A lock of the kernel's: it ends with the process, however that ends. The file stays.

        :raises TenantBusy: someone else has it, and ``wait`` is false
        """
        path = os.path.join(self._folder, file)
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=folder)
        try:
            _trust(path, os.fstat(lock), is_file=True)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TenantBusy(
                    f"another run is at work on this tenant{_holder(lock)}.",
                    hint="Nothing was changed. Wait until it has ended, then run again: its lock ends with it.",
                ) from None
            yield lock
        finally:
            # a child that inherited the file would go on to hold it
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)


def _version(content: bytes | None) -> Version:
    return None if content is None else hashlib.sha256(content).hexdigest()


def _dumped(whole: t.Any) -> bytes:
    """YAML with ``end`` as its last line."""
    try:
        return yaml.dump(whole, Dumper=_Dumper, allow_unicode=True, sort_keys=False).encode()
    except UnicodeError:
        # libyaml, five times faster, refuses half a surrogate pair in a name
        return yaml.safe_dump(whole, allow_unicode=True, sort_keys=False).encode()


_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _loaded(content: bytes) -> t.Any:
    """What YAML says, without tags of any effect; None for what is not YAML."""
    for load in (yaml_load, yaml.safe_load):
        # what makes a date or a number of a text raises whatever it stumbles over
        with contextlib.suppress(Exception):
            return load(content)
    return None


def _is_whole(found: t.Any) -> bool:
    """Whether this is all of what a store wrote: up to its end, and each label with its secret."""
    if not isinstance(found, dict) or found.get("end") is not True or not {"tenant", "binding"} <= found.keys():
        return False
    labels = entry(found)
    return all(label in found and bool(found[label]) == bool(labels[label]) for label in LABELS)


def _replace(folder: int, file: str, content: bytes) -> None:
    """Give ``file`` a new content: on return it is on the disk, and at any instant it is the old one or the new one."""
    # always the same name, so that what killed runs leave does not pile up; a link that was planted there is removed,
    # not followed
    draft = f".{file}.draft"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft, dir_fd=folder)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    try:
        with open(handle, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(handle)
        os.replace(draft, file, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft, dir_fd=folder)
        raise
    os.fsync(folder)


def _make_private(folder: str) -> None:
    """Make a folder, an absolute path, and those above it that are missing; all of them on the disk."""
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
            above = os.open(os.path.dirname(path), os.O_RDONLY)
            try:
                os.fsync(above)
            finally:
                os.close(above)


def _trust(path: str, found: os.stat_result, *, is_file: bool = False) -> None:
    """See that nobody else can have put this there.

    :raises HaloError: somebody may have
    """
    quoted = shlex.quote(path)
    if is_file and not stat.S_ISREG(found.st_mode):
        raise HaloError(f"{path} is not a file.", hint="See what it is and remove it.")
    if found.st_uid not in (os.geteuid(), 0):
        raise HaloError(
            f"{path} belongs to another user (number {found.st_uid}), and not to the one of this run.",
            hint=f"Run as that user; or, if the file is right: chown {os.geteuid()} {quoted}",
        )
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise HaloError(
            f"{path} can be written by other users (mode {stat.S_IMODE(found.st_mode):04o}).",
            hint=f"See that it is what you know, then: chmod go-w {quoted}",
        )
    if is_file and found.st_nlink > 1:
        raise HaloError(
            f"{path} is a hard link: the same file has another name elsewhere.",
            hint=f"If it is right, make it a file of its own: cp -p {quoted} {quoted}.new && mv {quoted}.new {quoted}",
        )


def _announce(lock: int, holder: dict[str, t.Any] | None) -> None:
    """Write who holds a lock into its file, for those who find it held: people read it, and nothing believes it."""
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
        if holder:
            os.pwrite(lock, json.dumps(holder).encode(), 0)


def _holder(lock: int) -> str:
    try:
        holder = json.loads(os.pread(lock, 1000, 0))
        return " " + one_line(f"(process {holder['pid']} on {holder['host']}, since {holder['since']})")
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def is_lost_with(job_folder: str, folder: str, mounted: t.Callable[[str], bool]) -> bool:
    """Whether ``folder`` is part of a job's private folder: below it, and on no mount of its own."""
    root, path = os.path.realpath(job_folder), os.path.realpath(folder)
    if os.path.commonpath((root, path)) != root:
        return False
    while path != root:
        if mounted(path):
            return False
        path = os.path.dirname(path)
    return True


def is_mount(path: str) -> bool:
    """Whether something is mounted at ``path``, an absolute path without links."""
    if os.path.ismount(path):
        return True
    # a folder of the same file system that is mounted there has the same device number: only the kernel's list tells
    try:
        with open("/proc/self/mountinfo", "rb") as mounts:
            points = [line.split()[4] for line in mounts]
    except (OSError, IndexError):
        return False
    return os.fsencode(path) in (re.sub(rb"\\(\d{3})", lambda code: bytes([int(code[1], 8)]), at) for at in points)
