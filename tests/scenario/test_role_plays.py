# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role in plays of the user's own: whatever stands after it runs, for tenants with and without something to do."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from halo_sandbox.testing import Sandbox
from role_runner import REAL, Fleet, Go

ROLE = "haloops.halo.halo_integration"
AFTER = {"name": "After the role", "ansible.builtin.debug": {"msg": "{{ halo_integration_result.bindings | length }}"}}
PLAYS: dict[str, dict[str, Any]] = {
    "roles": {"roles": [ROLE], "post_tasks": [AFTER]},
    "roles, and another role": {"roles": [ROLE, {"role": ROLE, "vars": {"halo_integration_rotate": False}}, "after"]},
    "import_role": {"tasks": [{"ansible.builtin.import_role": {"name": ROLE}}, AFTER]},
    "include_role": {"tasks": [{"ansible.builtin.include_role": {"name": ROLE}}, AFTER]},
    "include_role in a block": {"tasks": [{"block": [{"ansible.builtin.include_role": {"name": ROLE}}, AFTER]}]},
    "strategy free": {"strategy": "free", "tasks": [{"ansible.builtin.include_role": {"name": ROLE}}, AFTER]},
    "with a tag": {"roles": [{"role": ROLE, "tags": ["halo"]}], "post_tasks": [{**AFTER, "tags": ["halo"]}]},
}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="halo-") as folder, Sandbox(tenants=2 * len(PLAYS)) as sandbox:
        yield Fleet(sandbox, Path(folder))


@pytest.mark.parametrize("how", PLAYS)
def test_what_stands_after_the_role_runs_for_every_tenant(how: str, fleet: Fleet) -> None:
    after = fleet.inventory / "roles/after/tasks"
    after.mkdir(parents=True, exist_ok=True)
    (after / "main.yml").write_text(json.dumps([AFTER]))
    start = {"hosts": "halo_tenants", "connection": "local", "gather_facts": False}
    playbook = fleet.inventory / "play.yml"
    playbook.write_text(json.dumps([{**start, **PLAYS[how]}]))
    go = Go(playbook=str(playbook), arguments=("--tags", "halo") if "tag" in how else ())
    converged, fresh = tenants = [fleet.tenant(), fleet.tenant()]
    for tenant in tenants:
        tenant.bind()
    assert not fleet.run([converged], REAL)[converged.name].failed
    outcomes = fleet.run(tenants, go)
    for tenant in tenants:
        outcome = outcomes[tenant.name]
        assert not outcome.failed, outcome.message
        (last,) = [task for task in outcome.tasks if task["task"] == "After the role"]
        assert last["result"]["msg"] in (1, "1")
        assert tenant.proven()
    assert outcomes[converged.name].quiet
    assert not outcomes[fresh.name].quiet
