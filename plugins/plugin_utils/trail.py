# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit trail in a file on the controller: one line of JSON for each step, from all forks of a run."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import hashlib
import json
import os
import pwd
import stat
import typing as t

from ..module_utils.errors import HaloError
from ..module_utils.trail import NullTrail, Step, Trail
from .action import plain
from .compat import run_folder
from .stores import Place

_REASONS = {
    errno.ELOOP: "it is a symbolic link",
    errno.ENOENT: "its folder does not exist",
    errno.ENXIO: "it is not a file",
}


def open_trail(path: str | None, place: Place, variables: t.Mapping[str, t.Any]) -> Trail:
    """The audit trail of one tenant; one that keeps nothing where no path is given.

    :param path: of the file; a relative one is relative to the inventory
    :param variables: of the host
    :raises HaloError: the path is relative to nothing
    """
    if not path:
        return NullTrail()
    inventory = str(plain(variables.get("inventory_dir")) or "")
    # for "-i host," Ansible says "None", as text
    whole = os.path.join(inventory, path) if os.path.isabs(inventory) else path
    if not os.path.isabs(whole):
        raise HaloError(
            f"log_path is relative ({path}), and there is no inventory folder to start from.",
            instance=place.instance,
            hint="Nothing was changed. Give an absolute path, or an inventory file with -i.",
        )
    known = {
        "run": _run(),
        "who": _given(variables, "user_name") or _user(),
        "job": _given(variables, "job_id"),
        "instance": place.instance,
        "tenant": place.tenant,
    }
    return FileTrail(whole, known)


class FileTrail:
    """Lines at the end of a file: each is one write, in one piece whoever else writes, and on the disk on return.

    :param path: an absolute path; the file is made with mode 0600, its folder is not
    :param known: what stands in every line
    """

    def __init__(self, path: str, known: t.Mapping[str, str | None]) -> None:
        self._path = path
        self._known = known

    def check(self) -> None:
        try:
            os.close(self._opened())
        except OSError as error:
            raise HaloError(
                f"the audit trail {self._path} cannot be written: {_why(error)}.",
                hint="Nothing was changed. See to it, or unset halo_integration_log_path.",
            ) from None

    def note(self, step: Step) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        # what is not ASCII is escaped: no name can break a line, or not be encoded
        line = json.dumps({"time": now, **self._known, **dataclasses.asdict(step)}).encode() + b"\n"
        try:
            handle = self._opened()
            try:
                if os.write(handle, line) < len(line):
                    with contextlib.suppress(OSError):
                        os.write(handle, b"\n")
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise HaloError(f"{self._path} cannot be written: {_why(error)}.") from None

    def _opened(self) -> int:
        # a pipe would be waited for
        how = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            handle = os.open(self._path, how)
        except FileNotFoundError:
            handle = os.open(self._path, how | os.O_CREAT, 0o600)
            folder = os.open(os.path.dirname(self._path), os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.ENXIO, "")
        return handle


def _why(error: OSError) -> str:
    return _REASONS.get(error.errno or 0) or str(error.strerror)


def _run() -> str:
    """What tells this run of Ansible from all others, the same in all its forks."""
    return hashlib.sha256(f"{os.uname().nodename} {run_folder()}".encode()).hexdigest()[:12]


def _given(variables: t.Mapping[str, t.Any], what: str) -> str | None:
    """What AWX or Automation Controller says of its job: in extra variables, or the environment."""
    for name in (f"awx_{what}", f"tower_{what}"):
        if found := plain(variables.get(name)) or os.environ.get(name.upper()):
            return str(found)
    return None


def _user() -> str:
    """The user of this process; a container may have none of that number."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
