# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports to look at: a fleet in which some tenants failed, results as the engine leaves them."""

from __future__ import annotations

from typing import Any

from ansible_collections.haloops.halo.plugins.plugin_utils.report import Report, Row, compose, not_tried, rows

RUN = {
    "title": "Halo integrations",
    "kind": "provision",
    "check_mode": False,
    "started": "2026-06-02T20:00:04+00:00",
    "ended": "2026-06-02T20:01:31+00:00",
    "collection_version": "1.0.0",
}
NO_SCOPE = "scope edit:tickets is not granted"
RIGHTS = [
    {"name": "read tickets", "state": "granted", "reason": None},
    {"name": "edit tickets", "state": "refused", "reason": NO_SCOPE},
    {"name": "read customers", "state": "empty", "reason": "there may be none"},
]
LOGIN = "Halo refused the login. Halo said: invalid_client: The specified client credentials are invalid."
HANDOVER = (
    "Please reconnect the Halo Integrator that you host for https://umbrella.example.com (client ID "
    '7d1c0b9e-3f02-4be5-9d0c-60f1c3f2a9b4). It now logs in as the agent "api-integrator", and its client secret has '
    "been re-generated. We will hand the new secret over in the way that you prefer."
)


def binding(**more: Any) -> dict[str, Any]:
    """What ``halo_binding`` returns of a binding; as declared unless something else is given."""
    return {
        "kind": "application",
        "agent_id": 31,
        "agent_name": "api-tickets",
        "application_id": "6f1d2f0e-8a77-4f0c-9d53-0c7a52b4f1aa",
        "client_id": "0b1e7a52-0c59-49b5-8f2c-0f2f4c2c7d11",
        "hosted": False,
        "changed": False,
        "rotated": False,
        "reason": "none",
        "verified": True,
        "made_at": "2026-05-11T09:14:07.120431+00:00",
        "due_at": "2026-07-24T02:51:40+00:00",
        "rights": [],
        "drift": [],
        "previous_agent_id": None,
        "previous_agent": None,
        "warnings": [],
        "error": None,
        "hint": None,
        "handover": None,
        **more,
    }


def rotated(reason: str = "agent_changed", **more: Any) -> dict[str, Any]:
    new = {"made_at": "2026-06-02T20:00:51.003+00:00", "due_at": "2026-08-15T12:00:00+00:00"}
    return binding(changed=True, rotated=True, reason=reason, **{**new, **more})


def failed(error: str, hint: str | None = None, **more: Any) -> dict[str, Any]:
    text = f"binding 'Ticket integration': {error}"
    return binding(error=f"{text} {hint}" if hint else text, hint=hint, verified=None, **more)


def result(bindings: dict[str, Any], *, check_mode: bool = False, **more: Any) -> dict[str, Any]:
    """What ``halo_binding`` returns of a tenant."""
    changed = any(one["changed"] for one in bindings.values())
    diff: dict[str, Any] = {"before": {}, "after": {}}
    return {"changed": changed, "check_mode": check_mode, "bindings": bindings, "diff": diff, **more}


def bound_before(name: str, agent: str) -> dict[str, Any]:
    """The diff of a binding whose application logged in as another agent."""
    return {"before": {name: {"application": {"login_agent": {"id": 9, "name": agent}}}}, "after": {name: {}}}


def _of(tenant: str, *given: Any, **more: Any) -> list[Row]:
    return rows(tenant, f"https://{tenant}.example.com", *given, **more)


def failed_fleet(converged: int = 20) -> Report:
    """A run of which all that can be in a report became: failures of several kinds first of all."""
    ticket, reporting = "Ticket integration", "Reporting"
    hint = "Check client ID and secret, and that the application is active."
    found = [
        *_of("globex", {"failed": True, "error": {"hint": hint}}, f"https://globex.example.com: {LOGIN} {hint}"),
        *_of(
            "initech",
            result(
                {
                    ticket: failed(
                        "there is no role 'API Integraton'; did you mean API Integration?",
                        "Correct roles of the agent, or make the role in Halo first.",
                    ),
                    reporting: binding(agent_name="api-reporting"),
                }
            ),
        ),
        *_of(
            "stark-industries",
            None,
            "https://stark-industries.example.com: the certificate is not trusted: self-signed certificate in "
            "certificate chain. Set halo_ca_path to the certificate of your own authority.",
        ),
        *_of("hooli", result({ticket: failed("two agents are called 'api-tickets' (ids 31, 57).", "Rename one.")})),
        *not_tried("tyrell", "https://tyrell.example.com"),
        *not_tried("wonka", "https://wonka.example.com"),
        *_of("acme", result({ticket: rotated(previous_agent="disabled")}, diff=bound_before(ticket, "Claire Temp"))),
        *_of(
            "umbrella",
            result(
                {
                    ticket: binding(),
                    "Halo Integrator": rotated(
                        kind="integrator",
                        agent_name="api-integrator",
                        client_id="7d1c0b9e-3f02-4be5-9d0c-60f1c3f2a9b4",
                        handover=HANDOVER,
                    ),
                }
            ),
        ),
        *_of("soylent", result({ticket: rotated("expired")})),
        *_of(
            "vandelay-industries",
            result(
                {
                    ticket: binding(
                        changed=True,
                        drift=["roles: API Integration is missing", "teams: 1st Line Support is missing"],
                        warnings=["the agent's licence is one that Halo counts"],
                    ),
                    reporting: binding(due_at="2026-05-30T08:00:00+00:00", agent_name="api-reporting"),
                },
                orphans=["Ticket integration (old)"],
            ),
        ),
    ]
    for number in range(converged):
        found += _of(f"customer{number + 1}", result({ticket: binding(), reporting: binding(max_age=90, due_at=None)}))
    return compose(found, RUN)


def audited_fleet() -> Report:
    """An audit that found drift of every kind."""
    name = "Ticket integration"
    found = [
        *_of(
            "acme",
            result(
                {
                    name: binding(
                        changed=True,
                        rotated=True,
                        reason="agent_changed",
                        drift=[
                            "enabled: false instead of true",
                            "roles: API Integration is missing",
                            "login agent: rogue-agent instead of api-tickets",
                        ],
                    )
                },
                check_mode=True,
                diff=bound_before(name, "rogue-agent"),
            ),
        ),
        *_of(
            "globex",
            result({name: binding(changed=True, rotated=True, reason="expired", verified=False)}, check_mode=True),
        ),
        *_of("initech", result({name: binding()}, check_mode=True, orphans=["Old integration"])),
        *_of(
            "umbrella",
            result(
                {name: binding(rights=RIGHTS, drift=[f"right: edit tickets is refused, {NO_SCOPE}"])}, check_mode=True
            ),
        ),
    ]
    return compose(found, {**RUN, "kind": "audit", "check_mode": True})


def large_fleet(size: int = 1000) -> Report:
    """One binding for each of so many tenants; every seventh was rotated, every fiftieth failed."""
    found = []
    for number in range(size):
        made = f"2026-0{1 + number % 5}-{1 + number % 28:02}T09:14:07+00:00"
        one = rotated(drift=["roles: API Integration is missing"]) if number % 7 == 0 else binding(made_at=made)
        if number % 50 == 0:
            one = failed("Halo refused it. Halo said: Invalid scope", "Check the scopes.")
        found += _of(f"tenant{number}", result({"Ticket integration": one}))
    return compose(found, RUN)
