# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Any program that keeps entries. examples/stores/README.md says how it is called and what it answers."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import typing as t

from ...module_utils.errors import HaloError, one_line, redact
from ...module_utils.lifecycle import LABELS
from . import Place, options_of
from ._claim import NoAnswer, SharedStore, Value, Version, stale

STALE = 3
# of what a program complains, the end says most
LONGEST = 300
# the run's own, which are no business of the program
OWN_SECRETS = ("HALO_CLIENT_SECRET", "HALO_ACCESS_TOKEN")


class Store(SharedStore):
    """``COMMAND read|write|list TENANT BINDING``: JSON on standard input and output, and an exit status.

    :raises HaloError: there is no such program; an option is missing
    """

    name = "command"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        options = options_of(
            place,
            {
                "command": {"type": "list", "elements": "str", "required": True},
                "timeout": {"type": "int", "default": 60},
            },
        )
        self._timeout = options["timeout"]
        self._known: set[str] = set()
        with self._failing(None):
            self._command = [_program(options["command"]), *options["command"][1:]]
        self._shown = one_line(shlex.join(self._command))

    def _where(self, key: str) -> str:
        return f"{self._tenant}/{key} of {self._shown}"

    def _get(self, key: str) -> tuple[t.Any, Version]:
        answer = self._ask("read", key)
        if not answer.keys() >= {"entry", "version"} or (answer["entry"] is not None and answer["version"] is None):
            raise self._useless("read")
        return answer["entry"], answer["version"]

    def _put(self, key: str, value: Value, version: Version) -> Version:
        self._learn(value)
        answer = self._ask("write", key, given={"entry": value, "version": version})
        if answer.get("version") is None:
            # with the next write it would mean that there is nothing yet
            raise self._useless("write")
        return answer["version"]

    def _list(self) -> list[str]:
        keys = self._ask("list").get("bindings")
        if not isinstance(keys, list):
            raise self._useless("list")
        return [str(key) for key in keys]

    def _learn(self, value: t.Any) -> None:
        """Note what must not be shown of what the program complains."""
        for label in LABELS if isinstance(value, dict) else ():
            held = value.get(label)
            if isinstance(held, dict) and held.get("client_secret"):
                self._known.add(str(held["client_secret"]))

    def _ask(self, verb: str, *keys: str, given: Value | None = None) -> Value:
        """What the program answers."""
        status, output, complaint = self._run([verb, self._tenant, *keys], given)
        answer = None
        with contextlib.suppress(ValueError, RecursionError):
            answer = json.loads(output)
        if isinstance(answer, dict):
            self._learn(answer.get("entry"))
        if status == STALE and verb == "write":
            raise stale()
        if status:
            how = f"was killed by signal {-status}" if status < 0 else f"failed with exit status {status}"
            kind = NoAnswer if status < 0 else HaloError
            raise kind(f"{self._shown} {verb} {how}: {self._said(complaint)}.")
        if not isinstance(answer, dict):
            raise self._useless(verb)
        return answer

    def _run(self, arguments: list[str], given: Value | None) -> tuple[int, bytes, bytes]:
        environment = {name: value for name, value in os.environ.items() if name not in OWN_SECRETS}
        try:
            process = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                # without a terminal a question fails instead of being waited for, and children can be ended with it
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise HaloError(f"{self._shown} cannot be started: {reason}.", hint="Nothing was changed.") from None
        with process:
            try:
                content = None if given is None else json.dumps(given).encode()
                output, complaint = process.communicate(content, self._timeout)
            except subprocess.TimeoutExpired:
                raise NoAnswer(
                    f"{self._shown} did not end within {self._timeout} seconds.",
                    hint="It must not ask for anything. If it only needs longer, set timeout in "
                    "halo_integration_store_options.",
                ) from None
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, output, complaint

    def _useless(self, verb: str) -> NoAnswer:
        return NoAnswer(
            f"{self._shown} {verb} ended well, and did not print what it must.",
            hint="See examples/stores/README.md of the collection.",
        )

    def _said(self, complaint: bytes) -> str:
        text = redact(complaint.decode(errors="replace"), self._known)
        text = one_line(text, len(text) + 1).rstrip(".")
        return f"...{text[-LONGEST:]}" if len(text) > LONGEST else text or "it said nothing"


def _program(command: list[str]) -> str:
    """The absolute path of the program.

    :raises HaloError: there is none
    """
    name = os.path.expanduser(command[0]) if command else ""
    if os.path.dirname(name) and not os.path.isabs(name):
        raise HaloError(
            f"the program of the store command has a relative path: {one_line(name)}.",
            hint='Nothing was changed. Give an absolute one, such as "{{ inventory_dir }}/store.py", or the name of a '
            "program in PATH.",
        )
    found = shutil.which(name)
    if not found:
        raise HaloError(
            f"there is no program '{one_line(name)}' for the store command.",
            hint="Nothing was changed. The option command is a list: the program first, then its arguments.",
        )
    return found
