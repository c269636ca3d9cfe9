# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of real runs: what the playbooks write, slices merged by their playbook, and hosts that took no part."""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from halo_sandbox.testing import Sandbox
from role_runner import NAME, Fleet, Play, leaks

SCHEMA = json.loads((Path(__file__).resolve().parent.parent.parent / "docs" / "report.schema.json").read_text())


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="halo-") as name, Sandbox(tenants=9) as sandbox:
        yield Fleet(sandbox, Path(name))


def read(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(report)
    return report


def test_a_run_and_the_merge_of_its_slices(fleet: Fleet) -> None:
    tenants = [fleet.tenant() for _unused in range(4)]
    for tenant in tenants:
        tenant.bind()
    tenants[1].bindings[0]["agent"]["roles"] = ["Chief"]
    tenants[2].bind("api-reports", "Reporting")
    folder = fleet.folder / "reports"
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    done = fleet.play(tenants, Play("provision", ("-e", f"halo_report_path={folder / 'made.html'}")))
    assert done.status != 0
    made = read(folder / "made.json")
    run = made["run"]
    assert (run["kind"], run["check_mode"], run["title"]) == ("provision", False, "Halo integrations")
    ended = datetime.datetime.fromisoformat(run["ended"])
    assert before <= ended <= datetime.datetime.now(datetime.UTC)
    if run["started"] is not None:
        # the clock since boot is read at another moment
        assert before - datetime.timedelta(seconds=1) <= datetime.datetime.fromisoformat(run["started"]) <= ended
    assert [(row["tenant"], row["binding"], row["state"]) for row in made["rows"]] == [
        (tenants[1].name, NAME, "failed"),
        (tenants[0].name, NAME, "rotated"),
        (tenants[2].name, NAME, "rotated"),
        (tenants[2].name, "Reporting", "rotated"),
        (tenants[3].name, NAME, "rotated"),
    ]
    wrong = made["rows"][0]
    assert "Chief" in wrong["error"]
    assert tenants[1].url not in wrong["error"]
    assert wrong["hint"]
    for row in made["rows"][1:]:
        assert row["client_id"]
        assert row["verified"] is True
        assert row["agent_found"] is None
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(files) == ["made.html", "made.json", "made.prom", "made.retry", "made.xml"]
    assert leaks(tenants, files) == []

    # someone else's agent, to be seen by the audit
    application = tenants[0].application()
    tenants[0].post("Application", {"id": application["id"], "clientSecret": "another", "loginas_agent_id": 4})
    names = [tenant.name for tenant in tenants]
    for name, limit in (("whole", names), ("part-1", names[::2]), ("part-2", names[1::2])):
        path = f"halo_report_path={folder / name}"
        fleet.play(tenants, Play("audit", ("-e", path, "--limit", ",".join(limit))))
    parts, path = f"halo_report_parts={folder}/part-*.json", f"halo_report_path={folder / 'all'}"
    done = fleet.play(tenants, Play("report_merge", ("-e", parts, "-e", path)))
    assert done.status == 0, done.stdout
    whole, merged = read(folder / "whole.json"), read(folder / "all.json")
    assert merged["rows"] == whole["rows"]
    assert merged["summary"] == whole["summary"] == done.custom["halo_integration_summary"]
    assert (whole["summary"]["failed"], whole["summary"]["drifted"], whole["summary"]["unchanged"]) == (1, 1, 3)
    assert (merged["run"]["kind"], merged["run"]["check_mode"]) == ("audit", True)
    (drifted,) = [row for row in whole["rows"] if row["state"] == "drifted"]
    assert drifted["agent_found"] not in (None, drifted["agent"])
    agents = f"{drifted['agent_found']} (a human agent) instead of api-ansible"
    assert f"{names[0]}: {NAME} drifted: login agent: {agents}" in done.stdout
    assert "3 bindings of 2 tenants as declared" in done.stdout
