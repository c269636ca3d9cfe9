# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries of a store, as tests write them and read them back."""

from __future__ import annotations

from typing import Any

from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry

SECRET = "5a37c9c2-0d5e-4b0e-9a3e-7c1f0b8d2e11-9e0c7f64-2a55-4d7b-8f0a-1b2c3d4e5f60"
BINDING = "Ticket integration"


def label(secret: str = SECRET, **more: Any) -> dict[str, Any]:
    return {"client_secret": secret, "client_id": "c", "made_at": "2026-01-02T03:04:05.000006+00:00", **more}


def made(secret: str = SECRET, **more: Any) -> dict[str, Any]:
    return entry({"current": label(secret), **more})


FULL = entry(
    {
        "pending": label("pending", in_flight=True, replaces=["3"]),
        "current": label(agent_id=7, agent_name='Jörg "=" \\ \n 日本語', scope="read:tickets edit:tickets"),
        "previous": label("previous"),
        "outstanding": {
            "deliver": "2026-01-02T03:04:05+00:00",
            "retire": [{"agent_id": "3", "made_at": "2026-01-02T03:04:05+00:00"}],
        },
        "origin": "adopted",
        "attempt": 3,
    }
)


def current(store: Any, name: str = BINDING) -> str | None:
    found = store.read(name)[0]["current"]
    return found and found["client_secret"]
