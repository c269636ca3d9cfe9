# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PURE: why an application or the Integrator needs a new client secret, and whether to make it.

Source: Halo's guides. When the agent that an application logs in as is changed, its secret must be re-generated;
an application is created without one that works.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
import uuid

POLICIES = ("on_agent_change", "always", "never")
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# two UUIDs, or 32 bytes in base64url: neither a mask nor the hash that Halo stores looks like that
HALO_SECRET = re.compile(f"(?i:{_UUID}-{_UUID})|[A-Za-z0-9_-]{{43}}")


@dataclasses.dataclass(frozen=True)
class Rotation:
    """Whether a new secret is needed, and why: created, agent_changed, login_type_changed, requested, none."""

    reason: str = "none"
    performed: bool = False
    previous_agent_id: t.Any = None

    @property
    def required(self) -> bool:
        return self.reason != "none"

    def public(self) -> dict[str, t.Any]:
        """``{required, performed, reason, previous_agent_id}``"""
        return {
            "required": self.required,
            "performed": self.performed,
            "reason": self.reason,
            "previous_agent_id": self.previous_agent_id,
        }


def needs_new_secret(
    before: t.Mapping[str, t.Any] | None,
    after: t.Mapping[str, t.Any],
    policy: str,
    *,
    given: bool = False,
    deferred: bool = False,
) -> Rotation:
    """Decide over a new client secret.

    :param before: public view of the application or Integrator as it is, None where there is none
    :param after: the same as it shall be
    :param policy: on_agent_change, always, never
    :param given: the caller brings the new secret
    :param deferred: the caller wants to make the new secret in a step of its own
    """
    reason, previous = "none", None
    if before is None:
        reason = "created"
    else:
        was, will = ((view.get("login_agent") or {}).get("id") for view in (before, after))
        if before.get("login_type") != after.get("login_type"):
            reason = "login_type_changed"
        elif str(was or "") != str(will or ""):
            reason = "agent_changed"
        elif policy == "always":
            reason = "requested"
        if str(was or "") != str(will or ""):
            previous = was
    performed = reason != "none" and policy != "never" and (given or not deferred)
    return Rotation(reason, performed, previous)


def new_secret() -> str:
    """A new random secret in Halo's form: two version-4 UUIDs joined by a hyphen."""
    return f"{uuid.uuid4()}-{uuid.uuid4()}"


def secret_in_force(sent: str, answered: t.Any) -> str:
    """The secret that works after the server answered: its own, if it made one, else the one that was sent.

    An answer may also hold nothing, a mask or a hash; only the forms that Halo's secrets have count.
    """
    own = answered.strip() if isinstance(answered, str) else ""
    return own if HALO_SECRET.fullmatch(own) else sent
