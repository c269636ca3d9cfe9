# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a binding is to be able to do, asked of the sandbox with the binding's own secret."""

from __future__ import annotations

import re
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.haloops.halo.plugins.module_utils import rotation
from halo_sandbox.testing import Sandbox
from helpers import in_process
from role_runner import CHECK, NAME, ROTATE, Fleet, Outcome, Tenant

GUIDE = Path(__file__).resolve().parent.parent.parent / "docs" / "docsite" / "rst" / "rights.rst"
CAN = ("read tickets", "edit tickets", "read customers")
SCOPES = ["read:tickets", "edit:tickets", "read:customers"]
AGENT = {"name": "api-ansible", "roles": ["Standard User"], "teams": ["1st Line Support"]}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="halo-") as folder, Sandbox(tenants=20) as sandbox:
        yield Fleet(sandbox, Path(folder))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "TEST_PAUSE", 0.0)


def bound(fleet: Fleet, can: Any = CAN, agent: Any = None, **more: Any) -> Tenant:
    tenant = fleet.tenant()
    tenant.bind(**{"agent": {**AGENT, **(agent or {})}, "application": {"scopes": SCOPES}, "can": can, **more})
    tenant.bindings[0]["agent"] = {**AGENT, **(agent or {})}
    return tenant


def states(outcome: Outcome) -> dict[str, str]:
    return {right["name"]: right["state"] for right in outcome[NAME]["rights"]}


def asked(outcome: Outcome) -> list[str]:
    return [one["path"] for one in outcome.requests if one["path"] in ("/api/Tickets", "/api/Client")]


def test_what_is_granted_is_proven_by_the_bindings_own_login(fleet: Fleet) -> None:
    tenant = bound(fleet)
    before = fleet.run(tenant, CHECK)
    assert (before[NAME]["rights"], asked(before)) == ([], [])
    first = fleet.run(tenant)
    assert not first.failed, first.message
    assert states(first) == dict.fromkeys(CAN, "granted")
    assert [right["reason"] for right in first[NAME]["rights"]] == [
        None, "by scope and role; no write was tried", None,
    ]  # fmt: skip
    for go in (CHECK, None):
        again = fleet.run(tenant, go) if go else fleet.run(tenant)
        assert again.quiet
        assert states(again) == dict.fromkeys(CAN, "granted")
        assert asked(again) == ["/api/Tickets", "/api/Client"]
    del tenant.bindings[0]["can"]
    without = fleet.run(tenant)
    assert (without[NAME]["rights"], len(again.requests) - len(without.requests)) == ([], 4)


def test_a_role_that_does_not_allow_it_fails_the_binding_and_is_drift_in_an_audit(fleet: Fleet) -> None:
    tenant = bound(fleet, agent={"roles": ["Read Only"]}, previous_agent="disable")
    first = fleet.run(tenant)
    assert states(first) == {"read tickets": "granted", "edit tickets": "refused", "read customers": "empty"}
    said = "edit tickets is refused, role permission tickets is read instead of modify"
    assert f"it logs in, and {said}." in first[NAME]["error"]
    assert (first.failed, first[NAME]["rotated"], first[NAME]["verified"]) == (True, True, True)
    assert tenant.proven()
    assert tenant.entry()["pending"] is None
    audit = fleet.run(tenant, CHECK)
    assert (audit.failed, audit.changed, audit[NAME]["error"]) == (False, False, None)
    assert audit[NAME]["drift"] == [f"right: {said}"]
    empty = "right: read customers gave no rows, role permission all_customers (Allow use of all Customers) is off"
    assert audit[NAME]["warnings"] == first[NAME]["warnings"] == [empty]
    # a further run makes no further secret
    again = fleet.run(tenant)
    assert (again.failed, again[NAME]["rotated"], again.writes) == (True, False, [])


def test_the_previous_agent_stays_until_nothing_is_refused(fleet: Fleet) -> None:
    """Of an application whose scopes the binding leaves alone."""
    tenant = bound(fleet, ["read tickets"], application=None, adopt="rotate", previous_agent="disable")
    before = tenant.put_agent("api-before")
    application = tenant.put_application("someone's", before["id"])
    tenant.sandbox.put_applications(tenant.name, {"id": application["id"], "scopes": [{"name": "read:customers"}]})
    first = fleet.run(tenant)
    assert "read tickets is refused, scope read:tickets is not granted." in first[NAME]["error"]
    assert (first[NAME]["reason"], first[NAME]["previous_agent"]) == ("agent_changed", None)
    assert tenant.proven()
    assert tenant.agent("api-before")["isdisabled"] is False
    assert [item["agent_id"] for item in tenant.entry()["outstanding"]["retire"]] == [str(before["id"])]
    # nor does a run that verifies nothing retire it
    tenant.more["halo_integration_verify"] = False
    assert fleet.run(tenant).failed
    assert tenant.agent("api-before")["isdisabled"] is False
    tenant.sandbox.put_applications(tenant.name, {"id": application["id"], "scopes": [{"name": "read:tickets"}]})
    done = fleet.run(tenant)
    assert (done.failed, done[NAME]["previous_agent"], states(done)) == (False, "disabled", {"read tickets": "granted"})
    assert tenant.agent("api-before")["isdisabled"] is True


def test_without_a_team_there_are_no_tickets_and_no_error(fleet: Fleet) -> None:
    tenant = bound(fleet, ["read tickets", "read users"], agent={"teams": []})
    done = fleet.run(tenant)
    assert (done.failed, states(done)) == (False, {"read tickets": "empty", "read users": "granted"})
    assert done[NAME]["warnings"] == ["right: read tickets gave no rows, the agent is in no team"]
    tenant.bindings[0]["agent"]["teams"] = [
        {"name": "1st Line Support", "sees_unassigned": False, "sees_others": False}
    ]
    blind = fleet.run(tenant)
    assert "sees neither unassigned tickets nor those of others" in blind[NAME]["warnings"][0]
    tenant.bindings[0]["agent"]["teams"] = [{"name": "1st Line Support", "sees_others": True}]
    assert states(fleet.run(tenant))["read tickets"] == "granted"


def test_halo_may_say_nothing_where_it_refuses(fleet: Fleet) -> None:
    tenant = bound(fleet, ["read assets"], agent={"roles": ["Standard User"]}, application={"scopes": ["read:assets"]})
    assert states(fleet.run(tenant)) == {"read assets": "refused"}
    tenant.sandbox.settings(tenant.name, denied="empty")
    done = fleet.run(tenant)
    assert (done.failed, states(done)) == (False, {"read assets": "empty"})
    assert "role permission assets is none instead of read" in done[NAME]["warnings"][0]


def test_roles_that_cannot_be_read_leave_the_scope_to_say_it(fleet: Fleet) -> None:
    tenant = bound(fleet, CAN)
    assert not fleet.run(tenant).failed
    tenant.fault("status", "GET", "Roles/.*", status=403, times=None)
    done = fleet.run(tenant)
    assert not done.failed, done.message
    assert [right["reason"] for right in done[NAME]["rights"]][1] == "by its scope alone; no write was tried"


def test_what_cannot_be_asked_fails_the_binding_with_its_secret_kept(fleet: Fleet) -> None:
    tenant = bound(fleet, CAN)
    tenant.more["halo_retry_seconds"] = 0
    tenant.fault("status", "GET", "Tickets", status=500, times=None)
    done = fleet.run(tenant)
    assert "GET /Tickets answered 500" in done[NAME]["error"]
    assert tenant.proven()
    # that the secret is in no result is seen to by the runner
    tenant.mend()
    tenant.fault("status", "GET", "Tickets", status=500, body=f"no tickets for {tenant.secret()}", times=None)
    assert "no tickets for ********" in fleet.run(tenant)[NAME]["error"]


def test_the_runs_own_new_secret_is_handed_on_although_something_is_refused(fleet: Fleet) -> None:
    tenant = bound(fleet, ["read tickets"], name="Automation", application=None, allow_self=True, adopt="rotate")
    tenant.bindings[0]["agent"] = {"name": "api-automation", "roles": ["Administrator"]}
    tenant.sandbox.settings(tenant.name, records=0)
    tenant.fault("status", "GET", "Tickets", status=403, times=None)
    done = fleet.run(tenant, ROTATE)
    assert done["Automation"]["rights"][0]["state"] == "refused"
    assert {"action": "own_login", "name": "Automation"} in done.pending_actions
    assert tenant.proven("Automation")


def _of_the_guide(start: str) -> Any:
    """The first item of the code block that begins so."""
    blocks = re.findall(r"^\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", GUIDE.read_text(encoding="utf-8"), re.M)
    (found,) = (text for text in map(textwrap.dedent, blocks) if text.startswith(start))
    return yaml.safe_load(found)[0]


def test_what_the_guide_gives_to_copy_is_enough_and_no_more(fleet: Fleet) -> None:
    tenant = fleet.tenant()
    role = _of_the_guide("- name: A role")["haloops.halo.halo_role"]
    made = in_process.task("halo_role", role, tenant.variables, tenant.inventory)
    assert made["changed"], made
    tenant.bindings = [_of_the_guide("- name: Ticket integration")]
    done = fleet.run(tenant)
    assert not done.failed, done.message
    rights = done["Ticket integration"]["rights"]
    assert {right["state"] for right in rights} == {"granted"}
    assert not any("scope all" in text for text in done.warnings)
    for name in role["permissions"]:
        less = {**role["permissions"], name: False if role["permissions"][name] is True else "none"}
        in_process.task("halo_role", {**role, "permissions": less}, tenant.variables, tenant.inventory)
        states = {right["state"] for right in fleet.run(tenant)["Ticket integration"]["rights"]}
        # of the others it is the writes that depend on them, which are not tried
        assert (states == {"granted"}) is (name in ("add_tickets", "view_unassigned_tickets", "all_ticket_types")), name


BAD: dict[str, tuple[Any, str]] = {
    "misspelt": (
        {"can": ["read tickets", "edit tikets"]},
        rf"bindings\[0\] '{NAME}': can\[1\] cannot be the text 'edit tikets'; did you mean edit tickets\?",
    ),
    "not a list": ({"can": {"read": "tickets"}}, "can must be a list, not a dictionary"),
    "no scope for it": (
        {"can": ["edit tickets", "read users"], "application": {"scopes": ["read:tickets", "admin"]}},
        f"binding '{NAME}': can holds what none of application.scopes grants; missing: edit:tickets for .*, read:cus",
    ),
}


@pytest.mark.parametrize(("more", "message"), BAD.values(), ids=BAD)
def test_what_could_never_be_is_refused_before_anything_is_asked(fleet: Fleet, more: Any, message: str) -> None:
    tenant = bound(fleet, **more)
    for outcome in (fleet.run(tenant, CHECK), fleet.run(tenant)):
        assert outcome.failed
        assert re.search(message, outcome.message), outcome.message
        assert outcome.requests == []
