# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is Ansible's own, in real plays: the role in all ways of use, the user's tasks, the playbooks, the environment.

What the engine itself does is in test_role.py, which needs no ansible-playbook.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.release import __version__
from halo_sandbox.testing import Sandbox
from role_runner import NAME, Fleet, Play, Tenant, leaks

INTEGRATOR = "Halo Integrator"
ROLE = "haloops.halo.halo_integration"
START = {"connection": "local", "gather_facts": False}
AFTER = {"name": "After the role", "ansible.builtin.debug": {"msg": "{{ halo_integration_result.bindings | length }}"}}
# ansible-core 2.16 and 2.17 cannot end a role
SKIPPED = ["Do what is outstanding"] if tuple(map(int, __version__.split(".")[:2])) < (2, 18) else []
WAYS: dict[str, dict[str, Any]] = {
    "roles": {"roles": [ROLE], "post_tasks": [AFTER]},
    "roles, and another role": {"roles": [ROLE, {"role": ROLE, "vars": {"halo_integration_verify": False}}, "after"]},
    "import_role": {"tasks": [{"ansible.builtin.import_role": {"name": ROLE}}, AFTER]},
    "include_role": {"tasks": [{"ansible.builtin.include_role": {"name": ROLE}}, AFTER]},
    "include_role in a block": {"tasks": [{"block": [{"ansible.builtin.include_role": {"name": ROLE}}, AFTER]}]},
    "strategy free": {"strategy": "free", "tasks": [{"ansible.builtin.include_role": {"name": ROLE}}, AFTER]},
}
# The user's own playbook: the role, a handler for the Integrator, and something that goes on with the run's own login.
SITE = [
    {
        "hosts": "halo_tenants",
        **START,
        "roles": [ROLE],
        "post_tasks": [
            {
                "name": "Go on with the login of the run",
                "haloops.halo.halo_login_info": {
                    name: f"{{{{ {name} }}}}" for name in ("halo_url", "halo_client_id", "halo_client_secret")
                }
                | {"require": True},
            }
        ],
        "handlers": [
            {
                "name": "Tell Halo's support",
                "ansible.builtin.debug": {
                    "msg": "{{ halo_integration_result.bindings.values() | map(attribute='handover') | join }}"
                },
                "listen": "halo integrator handover",
            }
        ],
    }
]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="halo-") as folder, Sandbox(tenants=40) as sandbox:
        yield Fleet(sandbox, Path(folder), shared=True)


def converged(fleet: Fleet, count: int = 1, **binding: Any) -> list[Tenant]:
    tenants = [fleet.tenant() for _unused in range(count)]
    for tenant in tenants:
        tenant.bind(**binding)
        assert not fleet.run(tenant).failed
    return tenants


def test_what_stands_after_the_role_runs_for_every_tenant_in_every_way_of_use(fleet: Fleet) -> None:
    after = fleet.inventory / "roles/after/tasks"
    after.mkdir(parents=True)
    (after / "main.yml").write_text(json.dumps([AFTER]))
    settled = converged(fleet, len(WAYS))
    fresh = [fleet.tenant() for _way in WAYS]
    for tenant in fresh:
        tenant.bind()
    plays = [
        {"hosts": f"{one.name},{other.name}", **START, **way}
        for one, other, way in zip(settled, fresh, WAYS.values(), strict=True)
    ]
    done = fleet.play([*settled, *fresh], Play(plays))
    for tenants, is_fresh in ((settled, False), (fresh, True)):
        for tenant, way in zip(tenants, WAYS, strict=True):
            host = done[tenant]
            assert not host.failed, (way, host.message)
            (last,) = [task for task in host.tasks if task["task"] == "After the role"]
            assert last["result"]["msg"] in (1, "1")
            assert tenant.proven()
            assert bool(host.writes) is is_fresh, way
            skipped = [task["task"] for task in host.tasks if task["outcome"] == "skipped"]
            assert set(skipped) == set(SKIPPED), "a skipped task has its price"
    assert done.status == 0


def test_the_role_and_what_it_leaves_to_do_run_under_a_tag(fleet: Fleet) -> None:
    tenant = fleet.tenant()
    tenant.bind(on_rotated="tasks/deliver.yml")
    other = {"name": "Not tagged", "ansible.builtin.debug": {"msg": "no"}}
    role = {"role": ROLE, "tags": ["halo"]}
    play = {"hosts": "all", **START, "pre_tasks": [other], "roles": [role], "post_tasks": [{**AFTER, "tags": ["halo"]}]}
    done = fleet.play([tenant], Play([play], ("--tags", "halo")))
    assert not done[tenant].failed, done[tenant].message
    assert done[tenant].names[0] != "Not tagged"
    assert done[tenant].names[-1] == "After the role"
    assert tenant.proven()
    assert (tenant.delivered() or {})["client_secret"] == tenant.secret()
    assert tenant.entry()["outstanding"]["deliver"] is None


def test_deliveries_the_hand_over_and_the_runs_own_login(fleet: Fleet) -> None:
    deliveries, mixed, hosted, own = tenants = [fleet.tenant() for _unused in range(4)]
    for name in ("One", "Two", "Three"):
        deliveries.bind(f"api-{name}", name=name, on_rotated="tasks/deliver.yml")
    deliveries.more["halo_test_away"] = "One"
    mixed.bind("api-bad", name="Bad", on_rotated="tasks/deliver.yml")["agent"]["roles"] = ["Chief"]
    mixed.bind(on_rotated="tasks/deliver.yml")
    fleet.sandbox.settings(hosted.name, hosted_integrator=True)
    hosted.bind("api-integrator", name=INTEGRATOR, kind="integrator", allow_hosted=True)
    own.bindings.append(
        {
            "name": "Automation",
            "agent": {"name": "api-automation"},
            "application": {},
            "allow_self": True,
            "adopt": "rotate",
        }
    )
    first = own.login["client_secret"]
    done = fleet.play(tenants, Play(SITE, ("-vvv", "--diff")))
    assert done.status != 0

    # one on_rotated that fails keeps nothing from the others
    host = done[deliveries]
    assert host.failed
    assert "One: on_rotated failed in the task Fail once it has them" in host.message
    for name in ("Two", "Three"):
        assert (deliveries.delivered(name) or {})["client_secret"] == deliveries.secret(name)
        assert deliveries.entry(name)["outstanding"]["deliver"] is None
    given = deliveries.delivered("One") or {}
    assert given == {
        "name": "One",
        "kind": "application",
        "url": deliveries.url,
        "tenant": None,
        "client_id": deliveries.application("One")["clientId"],
        "client_secret": deliveries.secret("One"),
        "agent_name": "api-One",
        "scope": "read:customers read:tickets",
        "made_at": deliveries.entry("One")["current"]["made_at"],
        "due_at": None,
    }
    assert deliveries.entry("One")["outstanding"]["deliver"] == given["made_at"]

    # nor does a binding that fails, and the host fails in the end
    assert done[mixed].failed
    assert "Bad: " in done[mixed].message
    assert "there is no role 'Chief'" in done[mixed].message
    assert (mixed.delivered() or {})["client_secret"] == mixed.secret()
    assert mixed.delivered("Bad") is None

    assert not done[hosted].failed, done[hosted].message
    (told,) = [task["result"]["msg"] for task in done[hosted].tasks if task["task"] == "Tell Halo's support"]
    assert told == done[hosted].bindings[INTEGRATOR]["handover"]
    assert hosted.url in told

    assert not done[own].failed, done[own].message
    assert done[own].names[-1] == "Go on with the login of the run"
    assert own.proven("Automation")
    assert own.logs_in(own.login["client_id"], first) is None

    # the next run delivers what was not, and nothing else
    del mixed.bindings[0]
    deliveries.more["halo_test_away"] = ""
    done = fleet.play(tenants, Play(SITE))
    for tenant in tenants:
        assert not done[tenant].failed, done[tenant].message
        assert not done[tenant].writes
    assert (deliveries.delivered("One") or {})["client_secret"] == given["client_secret"]
    assert deliveries.delivered("Two") is None
    assert deliveries.entry("One")["outstanding"]["deliver"] is None
    assert "Tell Halo's support" not in done[hosted].names
    assert done.status == 0


def test_the_collections_playbooks_over_a_fleet(fleet: Fleet) -> None:
    good, drifted, bad = tenants = [fleet.tenant() for _unused in range(3)]
    for tenant in tenants:
        tenant.more["halo_integration_store"] = None
        tenant.bind(on_rotated="tasks/deliver.yml")
    bad.bindings[0]["agent"]["roles"] = ["Chief"]
    done = fleet.play(tenants, Play("provision", ("-vvv", "--diff")))
    assert [done[tenant].failed for tenant in tenants] == [False, False, True]
    assert done.status != 0
    assert good.proven()
    assert drifted.proven()
    for line in (f"{good.name}: {NAME} rotated (created), verified", f"{bad.name}: {NAME} failed: "):
        assert line in done.stdout
    # without halo_report_path too, Controller gets its artifact
    assert done.custom["halo_integration_summary"]["failed"] == 1, done.custom
    assert all(path.read_bytes().startswith(b"$ANSIBLE_VAULT") for path in stored_files(good))

    bad.bindings[0]["agent"]["roles"] = []
    drifted.post("Agent", {"id": drifted.agent("api-ansible")["id"], "roles": []})
    before = [(tenant.state, tenant.stored) for tenant in tenants]
    done = fleet.play(tenants, Play("audit", ("-e", "halo_audit_fail=true")))
    assert [done[tenant].failed for tenant in tenants] == [False, True, True]
    assert "roles: API Integration is missing" in done.stdout
    assert [(tenant.state, tenant.stored) for tenant in tenants] == before
    assert not any(done[tenant].writes for tenant in tenants)
    assert done.custom["halo_integration_summary"] == {
        "failed": 0,
        "not_tried": 0,
        "drifted": 2,
        "orphan": 0,
        "rotated": 0,
        "changed": 0,
        "unchanged": 1,
    }

    # a survey's answer does not defeat what the playbook is for
    secrets = [good.secret(), drifted.secret()]
    done = fleet.play(tenants, Play("rotate", ("-e", "halo_integration_rotate=false")))
    assert done.status == 0, done.stdout
    assert [done[tenant].bindings[NAME]["reason"] for tenant in tenants] == ["requested", "requested", "created"]
    assert [good.secret(label="previous"), drifted.secret(label="previous")] == secrets
    assert all(tenant.proven() for tenant in tenants)
    assert (good.delivered() or {})["client_secret"] == good.secret()

    # nor does it make new secrets for who asks for the old ones, or for something else
    before = [(tenant.state, tenant.stored) for tenant in tenants]
    done = fleet.play(tenants, Play("rotate", ("-e", "halo_integration_rotate=rolback")))
    assert "rotate must be true, false or rollback, not the text 'rolback'; did you mean rollback?" in done.stdout
    assert [(tenant.state, tenant.stored) for tenant in tenants] == before
    current = [good.secret(), drifted.secret()]
    log = fleet.inventory / "trail.jsonl"
    back = ("-e", "halo_integration_rotate=rollback", "-e", f"halo_integration_log_path={log.name}")
    done = fleet.play(tenants, Play("rotate", back))
    assert [done[tenant].failed for tenant in tenants] == [False, False, True]
    assert "the store knows no previous secret of it" in done[bad].message
    assert f"{good.name}: {NAME} rotated (rollback), verified" in done.stdout
    assert [good.secret(), drifted.secret()] == secrets
    assert [good.secret(label="previous"), drifted.secret(label="previous")] == current
    noted = [json.loads(line) for line in log.read_text().splitlines()]
    assert len({one["run"] for one in noted}) == 1
    for tenant in (good, drifted):
        mine = [(one["action"], one["cause"], one["outcome"]) for one in noted if one["instance"] == tenant.url]
        assert mine == [(action, "rollback", "ok") for action in ("rollback", "set", "test", "finish")]
    assert len(noted) == 8
    assert not leaks(tenants, {"the trail": log.read_bytes()})

    done = fleet.play(tenants, Play("decommission", (*back, "-e", "halo_decommission_confirm=3")))
    assert done.status == 0, done.stdout
    assert log.read_text().count('"action": "delete"') == 3
    for tenant in tenants:
        assert tenant.applications(NAME) == []
        assert tenant.agent("api-ansible")["isdisabled"] is True


def stored_files(tenant: Tenant) -> list[Path]:
    found = [path for path, content in tenant._files() if content["tenant"] == tenant.url]
    assert found
    return found


def test_the_environment_alone_and_no_inventory(fleet: Fleet) -> None:
    tenant = fleet.tenant()
    tenant.bind(on_rotated=str(fleet.inventory / "tasks/deliver.yml"))
    elsewhere = fleet.folder / "elsewhere"
    environment = {
        "HALO_URL": tenant.url,
        "HALO_CLIENT_ID": tenant.login["client_id"],
        "HALO_CLIENT_SECRET": tenant.login["client_secret"],
    }
    plays = [
        {
            "hosts": "all",
            **START,
            "vars": {
                "halo_integration_bindings": tenant.bindings,
                "halo_integration_store": "file",
                "halo_test_folder": str(fleet.inventory),
            },
            "tasks": [
                {
                    "block": [{"ansible.builtin.include_role": {"name": ROLE}}],
                    "rescue": [
                        {"name": "Refused", "ansible.builtin.debug": {"msg": "{{ ansible_failed_result.msg }}"}},
                        {
                            "ansible.builtin.include_role": {"name": ROLE},
                            "vars": {"halo_integration_store_dir": str(elsewhere / "halo_credentials")},
                        },
                        AFTER,
                    ],
                }
            ],
        }
    ]
    done = fleet.play([tenant], Play(plays, environment=environment, inventory="solo,"))
    host = done["solo"]
    assert not host.failed, host.message
    (why,) = [task["result"]["msg"] for task in host.tasks if task["task"] == "Refused"]
    assert "halo_integration_store_dir is relative" in why
    assert host.names[-1] == "After the role"
    given = json.loads((fleet.inventory / "delivered" / f"solo {NAME}.json").read_text())
    assert given["url"] == tenant.url
    assert tenant.logs_in(given["client_id"], given["client_secret"]) == tenant.agent("api-ansible")["id"]
    assert len(tenant.applications(NAME)) == 1


def test_two_hosts_of_an_inventory_with_one_tenant(fleet: Fleet) -> None:
    tenant = fleet.tenant()
    tenant.bind()
    hosts = {name: {**tenant.variables, "halo_integration_bindings": tenant.bindings} for name in ("one", "two")}
    for path in ("Agent", "Application"):
        tenant.fault("delay", "POST", path, seconds=0.7)
    done = fleet.play([tenant], Play("provision", hosts=hosts))
    failed = [name for name in hosts if done[name].failed]
    assert len(failed) == 1, done.stdout
    assert "another run is at work on this tenant" in done[failed[0]].message
    assert "Nothing was changed" in done[failed[0]].message
    assert (len(tenant.agents("api-ansible")), len(tenant.applications(NAME))) == (1, 1)
    assert tenant.proven()
    assert tenant.entry()["attempt"] == 1


def test_the_private_folder_of_a_job(fleet: Fleet) -> None:
    lost, kept = tenants = [fleet.tenant() for _unused in range(2)]
    kept.more["halo_integration_store_dir"] = str(fleet.folder / "mounted" / "halo_credentials")
    for tenant in tenants:
        tenant.bind()
    before = lost.state
    done = fleet.play(tenants, Play("provision", environment={"AWX_PRIVATE_DATA_DIR": str(fleet.inventory)}))
    assert done[lost].failed
    assert "is gone when this job ends" in done[lost].message
    assert (lost.state, lost.stored) == (before, {})
    assert not done[kept].failed, done[kept].message
    # what a plain ansible-runner calls its private folder is one like any other: env/, inventory/, project/
    assert not fleet.run(lost).failed
    assert lost.proven()


def test_a_rotation_that_is_asked_for_in_the_inventory(fleet: Fleet) -> None:
    tenants = converged(fleet, 2)
    tenants[1].more["halo_integration_rotate"] = True
    done = fleet.play(tenants, Play())
    assert [done[tenant].bindings[NAME]["rotated"] for tenant in tenants] == [False, True]
    assert "1 as declared" in done.stdout
    # a rotation costs no further task; the report is the first host's
    ending = ("Say what became of the tenants", "Give the summary to Controller")
    names = [task["task"] for task in done[tenants[1]].tasks if task["task"] not in ending]
    assert names == ["Converge agents, applications and secrets", *SKIPPED]
