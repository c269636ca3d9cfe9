# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit trail: what is noted of each step, and the port to where it is kept. No secret is in it."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from .errors import HaloError, one_line, redact


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of the work on a binding.

    :param action: create, rollback, set, test, finish, retire, adopt, move, delete
    :param cause: why, as the ``reason`` of a result
    :param agent: name of the agent that it logs in as; the id of one that is retired
    :param outcome: ``ok``, or what went wrong
    """

    binding: str
    action: str
    cause: str
    client_id: str | None
    agent: str | None
    outcome: str


class Trail(t.Protocol):
    """Where steps are noted."""

    def check(self) -> None:
        """See that a step can be noted.

        :raises HaloError: it cannot
        """

    def note(self, step: Step) -> None:
        """Add a line; it is durable on return.

        :raises HaloError: it could not be written
        """


class NullTrail:
    """Where the user wants no trail."""

    def check(self) -> None:
        pass

    def note(self, step: Step) -> None:
        pass


@dataclasses.dataclass
class Notes:
    """The lines of one binding. One that cannot be written is a warning: by then nothing may stop the work.

    :param secrets: gives what must not be in a line
    """

    trail: Trail
    binding: str
    warnings: list[str]
    secrets: t.Callable[[], t.Iterable[str | None]]

    def step(self, action: str, cause: str, about: t.Callable[[], tuple[t.Any, t.Any]]) -> t.ContextManager[None]:
        """Note how a step has ended.

        :param about: gives client ID and agent, once it has
        """
        # to look for secrets in what is not kept would be the dearest part of it
        return contextlib.nullcontext() if isinstance(self.trail, NullTrail) else self._step(action, cause, about)

    @contextlib.contextmanager
    def _step(self, action: str, cause: str, about: t.Callable[[], tuple[t.Any, t.Any]]) -> t.Iterator[None]:
        try:
            yield
        except HaloError as error:
            self._note(action, cause, about(), one_line(redact(str(error), self.secrets())))
            raise
        self._note(action, cause, about(), "ok")

    def _note(self, action: str, cause: str, about: tuple[t.Any, t.Any], outcome: str) -> None:
        client_id, agent = (None if one is None else str(one) for one in about)
        try:
            self.trail.note(Step(self.binding, action, cause, client_id, agent, outcome))
        except HaloError as error:
            self.warnings.append(f"the audit trail lacks the line of the step {action} ({outcome}): {error}")
