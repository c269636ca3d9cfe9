# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Halo Integrator's login (part of Halo's model Control, ``/Control``: one object, no list)."""

from __future__ import annotations

import typing as t

from ..client import Client, Raw
from ..errors import Refused
from ..plan import Change
from ..secret import Rotation
from ..spec import OneRef, Resource, Secret
from .application import AGENTS, ROTATION_OPTIONS, guard_self


def guard(
    client: Client, params: t.Mapping[str, t.Any], current: Raw | None, change: Change, rotation: Rotation
) -> None:
    """The secret of an Integrator that Halo hosts is Halo's to enter.

    :raises Refused: see ``allow_hosted`` and ``allow_self``
    """
    if current is None or not rotation.required:
        return
    if current.get("hashostedintegrator") and not params["allow_hosted"]:
        raise Refused(
            "it is hosted by Halo; a new secret disconnects it until Halo's support has entered it.",
            hint="Agree on a time with them and set allow_hosted: true.",
        )
    client_id, agent_id = current.get("client_id_halointegrator"), current.get("loginas_halointegrator")
    guard_self(client, params, client_id, agent_id, change, rotation)


INTEGRATOR = Resource(
    noun="Halo Integrator",
    key="integrator",
    path="/Control",
    singleton=True,
    fields=(OneRef("login_agent", "loginas_halointegrator", {"type": "str"}, target=AGENTS),),
    computed={
        "client_id": lambda raw: raw.get("client_id_halointegrator") or None,
        "hosted": lambda raw: bool(raw.get("hashostedintegrator")),
    },
    guard=guard,
    extra={
        **ROTATION_OPTIONS,
        "allow_hosted": {"type": "bool", "default": False},
        "allow_self": {"type": "bool", "default": False},
    },
    secret=Secret("client_secret_halointegrator", "client_id_halointegrator"),
)
