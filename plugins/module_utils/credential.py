# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One step in the life of a stored secret: the options of ``halo_credential`` and what each step does to an entry."""

from __future__ import annotations

import datetime
import typing as t

from .binding import ENTRY
from .lifecycle import Entry, amend, begin, finish, settle, withdraw
from .rotation import new_secret
from .spec import Option, Spec

STEPS = ("read", "claim", "begin", "amend", "finish", "settle", "withdraw", "release")

_TEXT: Option = {"type": "str"}

CREDENTIAL = Spec(
    {
        "name": {"type": "str", "required": True},
        "step": {"type": "str", "choices": list(STEPS), "required": True},
        "store": {"type": "str", "required": True},
        "store_dir": {"type": "path"},
        "entry": {"type": "dict", "options": ENTRY},
        "reason": _TEXT,
        "application_id": _TEXT,
        "agent_id": _TEXT,
        "agent_name": _TEXT,
        "client_id": _TEXT,
        "client_secret": {"type": "str", "no_log": True},
        "deliver": {"type": "bool", "default": False},
        "retire": _TEXT,
        "done": {"type": "list", "elements": "str", "choices": ["deliver", "retire"], "default": []},
    }
)


def advance(now: Entry, params: t.Mapping[str, t.Any]) -> Entry:
    """The entry after one step; ``begin`` makes a new secret, or takes up the pending one. See :mod:`.lifecycle`."""
    step = params["step"]
    if step == "begin":
        return begin(
            now,
            {
                **{key: params[key] for key in ("reason", "application_id", "agent_id", "agent_name", "client_id")},
                # one that was begun before may still be on its way to Halo, sent by a run that was killed
                "client_secret": (now["pending"] or {}).get("client_secret") or new_secret(),
                "made_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            },
        )
    if step == "amend":
        return amend(now, {key: params[key] for key in ("application_id", "agent_id", "client_id", "client_secret")})
    if step == "finish":
        # a run that was killed before it had noted them leaves it to the next one
        ids = {key: params[key] for key in ("application_id", "client_id")}
        known = amend(now, ids) if now["pending"] else now
        return finish(known, {"deliver": params["deliver"], "retire": params["retire"]})
    if step == "settle":
        return settle(now, params["done"])
    if step == "withdraw":
        return withdraw(now)
    return now
