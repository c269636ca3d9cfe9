# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's playbooks over fleets: who fails, who goes on, when a run stops, and what it says in the end.

``--fleet N`` says of how many tenants the large ones are.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.release import __version__
from halo_sandbox.testing import Sandbox
from role_runner import NAME, Fleet, Play, Tenant, Watched

AGENT = "api-ansible"
# ansible-core 2.16 and 2.17 cannot end a role
SKIPS = tuple(map(int, __version__.split(".")[:2])) < (2, 18)


LAST: list[Any] = ["100%", [1, "20%", "100%"]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Fleets of many tenants in all sizes of batches; a small one in several at once."""
    large = metafunc.config.getoption("--fleet") >= 100
    if "serial" in metafunc.fixturenames:
        metafunc.parametrize("serial", [1, "5%", "100%"] if large else [LAST[1]], ids=str)
    if "max_failed" in metafunc.fixturenames:
        metafunc.parametrize("max_failed", [0, "10%"] if large else ["10%"], ids=str)


@pytest.fixture(scope="module")
def size(request: pytest.FixtureRequest) -> int:
    found: int = request.config.getoption("--fleet")
    return found


@pytest.fixture(scope="module")
def fleet(size: int, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="halo-") as folder, Sandbox(tenants=7 * size + 30) as sandbox:
        yield Fleet(sandbox, Path(folder), shared=True, forks=request.config.getoption("--forks"))


def tenants_of(fleet: Fleet, count: int) -> list[Tenant]:
    tenants = [fleet.tenant() for _unused in range(count)]
    for tenant in tenants:
        tenant.bind()
    return tenants


def work(fleet: Fleet) -> Path:
    """Where the runs are started."""
    return fleet.home / "work"


def stored(fleet: Fleet) -> list[Path]:
    return list(fleet.inventory.glob("halo_credentials/*/*.yml"))


def extra(**variables: Any) -> tuple[str, str]:
    return ("-e", json.dumps(variables))


def over(fleet: Fleet, tenants: list[Tenant], play: Play) -> subprocess.CompletedProcess[str]:
    """A run in which no task runs, and of which nothing is to be watched therefore."""
    command, environment = fleet.command(tenants, play)
    return subprocess.run(
        command, cwd=work(fleet), env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def refused(fleet: Fleet, tenants: list[Tenant], play: Play) -> str:
    """What a run says that ends before any task; its exit status is not 0."""
    done = over(fleet, tenants, play)
    assert done.returncode != 0
    assert "TASK" not in done.stdout
    return re.sub(r"\s+", " ", done.stdout + done.stderr)


def tasks(done: Watched) -> list[str]:
    """The task lines that a run printed."""
    return [name.rpartition(" : ")[2] for name in re.findall(r"^TASK \[(.*?)\] \*", done.stdout, re.MULTILINE)]


# Seven ways to fail, and what the report says of each


def unreachable(tenant: Tenant) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        tenant.more["halo_url"] = f"http://127.0.0.1:{free.getsockname()[1]}/{tenant.name}"


def bad_secret(tenant: Tenant) -> None:
    tenant.login["client_secret"] = "not the one"


def no_permission(tenant: Tenant) -> None:
    tenant.fault("empty", "GET", "Agent", status=403, times=None)


def rate_limited(tenant: Tenant) -> None:
    tenant.more["halo_retry_seconds"] = 0
    tenant.fault("status", "GET", "Agent", status=429, times=None)


def tls(tenant: Tenant) -> None:
    tenant.more["halo_url"] = tenant.url.replace("http:", "https:")


def unknown_role(tenant: Tenant) -> None:
    tenant.bindings[0]["agent"]["roles"] = ["Chief"]


def duplicate_agents(tenant: Tenant) -> None:
    for _unused in range(2):
        tenant.put_agent(AGENT)


WAYS: dict[Callable[[Tenant], None], str] = {
    unreachable: r"(?i)connect",
    bad_secret: r"credentials were refused \(invalid_client\)",
    no_permission: r"403",
    rate_limited: r"429|Rate Limit",
    tls: r"(?i)ssl|tls",
    unknown_role: r"there is no role 'Chief'",
    duplicate_agents: r"agent 'api-ansible': there are 2 of this name, with the ids",
}


def test_those_that_fail_stop_no_other(fleet: Fleet, size: int, serial: Any) -> None:
    tenants = tenants_of(fleet, size)
    # the first one too, and two in a row
    places = [0, 1, *(2 + number * (size - 3) // 5 for number in range(1, 6))]
    bad = {tenants[place]: way for place, way in zip(places, WAYS, strict=True)}
    assert len(bad) == len(WAYS)
    for tenant, way in bad.items():
        way(tenant)
    report = work(fleet) / "report.html"
    done = fleet.play(tenants, Play("provision", extra(halo_serial=serial, halo_report_path=str(report))))

    assert done.status != 0
    assert [tenant.name for tenant in tenants if done[tenant].failed] == [tenant.name for tenant in bad]
    rows = {row["tenant"]: row for row in json.loads(report.with_suffix(".json").read_text())["rows"]}
    assert sorted(rows) == sorted(tenant.name for tenant in tenants)
    for tenant in tenants:
        line = [text for text in done.stdout.splitlines() if text.startswith(f"{tenant.name}: ")]
        if tenant in bad:
            # once, and with the reason
            assert len(line) == 1, line
            assert "failed: " in line[0]
            assert re.search(WAYS[bad[tenant]], line[0]), (bad[tenant].__name__, line)
            assert rows[tenant.name]["state"] == "failed"
            assert NAME not in tenant.stored
            assert tenant.applications(NAME) == []
        else:
            assert line == [f"{tenant.name}: {NAME} rotated (created), verified"]
            assert rows[tenant.name]["state"] == "rotated"
            assert tenant.proven()
    assert done.stdout.count("there is no role 'Chief'") == 1, "an error is said once"
    assert report.with_suffix(".retry").read_text().split() == [tenant.name for tenant in bad]
    assert done.custom["halo_integration_summary"]["failed"] == len(bad)
    assert done.custom["halo_integration_summary"]["rotated"] == size - len(bad)

    if serial in LAST:
        # when the causes are gone, the retry touches these alone, and its file goes
        fleet.sandbox.control("DELETE", "faults")
        for tenant in bad:
            tenant.more.pop("halo_url", None)
            tenant.login = dict(fleet.sandbox.tenants[tenant.name])
            tenant.bindings[0]["agent"]["roles"] = ["API Integration"]
        double = next(tenant for tenant, way in bad.items() if way is duplicate_agents)
        double.delete(f"Agent/{double.agents(AGENT)[0]['id']}")
        arguments = ("--limit", f"@{report.with_suffix('.retry')}", *extra(halo_report_path=str(report)))
        done = fleet.play(tenants, Play("provision", arguments))
        assert done.status == 0, done.stdout
        assert all(tenant.proven() for tenant in tenants)
        assert [tenant.name for tenant in tenants if done[tenant].stats] == [tenant.name for tenant in bad]
        assert not report.with_suffix(".retry").exists()


def test_a_poisoned_change_stops(fleet: Fleet, size: int, max_failed: int | str) -> None:
    tenants = tenants_of(fleet, size)
    for tenant in tenants:
        unknown_role(tenant)
    # the canary; or one more than may fail, per cent rounded down, and what is under way by then
    most = 1 if max_failed == 0 else size // 10 + fleet.forks
    report = work(fleet) / "poisoned.html"
    # as a survey answers it
    batches = "1, 5%, 25%, 100%"
    arguments = extra(halo_serial=batches, halo_max_failed=max_failed, halo_report_path=str(report))
    done = fleet.play(tenants, Play("provision", arguments))
    assert done.status != 0
    failed = [tenant for tenant in tenants if done[tenant].failed]
    untried = [tenant for tenant in tenants if tenant not in failed]
    assert 1 <= len(failed) <= most
    assert not any(tenant.stored for tenant in tenants)
    for tenant in untried:
        # it is not taken for done, and Halo was not asked
        assert done[tenant].requests == []
        assert done[tenant].stats["skipped"] >= 1
        assert f"{tenant.name}: " not in done.stdout
    assert "Stopped, since more tenants failed than halo_max_failed allows." in done.stdout
    assert f"{len(untried)} not tried" in done.stdout
    assert report.with_suffix(".retry").read_text().split() == [tenant.name for tenant in tenants]
    rows = json.loads(report.with_suffix(".json").read_text())["rows"]
    assert {row["tenant"] for row in rows if row["state"] == "failed"} == {tenant.name for tenant in failed}
    assert not [row for row in rows if row["state"] in ("unchanged", "changed", "rotated")]


def test_a_run_that_was_killed_is_taken_up_and_repeats_nothing(fleet: Fleet, size: int) -> None:
    tenants = tenants_of(fleet, size)
    half = size // 2
    there = len(stored(fleet))
    run = fleet.start(tenants, Play("provision", extra(halo_serial="50%")))
    run.wait(lambda: len(stored(fleet)) >= there + half, seconds=300)
    run.kill()
    # what outlives it may still be at work on a tenant
    run.all_over()
    before = {tenant: tenant.entry() for tenant in tenants if tenant.stored}
    assert half <= len(before) < size, "it was to be killed in the middle"
    done = fleet.play(tenants, Play("provision"))
    assert done.status == 0, done.stdout
    for tenant in tenants:
        assert len(tenant.applications(NAME)) == len(tenant.agents(AGENT)) == 1
        assert tenant.proven()
    finished = [tenant for tenant, entry in before.items() if entry["current"]]
    assert finished
    assert not any(done[tenant].writes for tenant in finished)
    for tenant, entry in before.items():
        # a secret that was on its way is the one in force
        known = entry["current"] or entry["pending"]
        assert tenant.secret() == known["client_secret"]
        assert tenant.entry()["previous"] is None


@pytest.mark.skipif("config.getoption('--fleet') < 100", reason="make fleet runs it")
def test_two_runs_over_one_fleet_at_the_same_time(fleet: Fleet, size: int) -> None:
    tenants = tenants_of(fleet, size)
    runs = [fleet.start(tenants, Play("provision")) for _unused in range(2)]
    one, other = (run.finish(1200) for run in runs)
    met = 0
    for tenant in tenants:
        ends = [done[tenant] for done in (one, other)]
        # each is done by one of them; the other leaves it alone, or finds nothing to do
        assert not all(end.failed for end in ends), ends[0].message
        for end in ends:
            if end.failed:
                met += 1
                assert "another run is at work on this tenant" in end.message, end.message
        assert len(tenant.applications(NAME)) == len(tenant.agents(AGENT)) == 1
        assert tenant.proven()
        assert (tenant.entry()["attempt"], tenant.entry()["previous"]) == (1, None)
    print(f"\n{met} of {size} tenants were met by both runs at once")
    done = fleet.play(tenants, Play("provision"))
    assert done.status == 0, done.stdout
    assert not any(done[tenant].writes for tenant in tenants)


# What takes few tenants


def test_a_converged_run_says_little(fleet: Fleet) -> None:
    tenants = tenants_of(fleet, 3)
    assert fleet.play(tenants, Play()).status == 0
    done = fleet.play(tenants, Play("provision", environment={"ANSIBLE_STRATEGY": "free"}))
    assert done.status == 0
    own = ["Do what is outstanding"] if SKIPS else []
    converge = "Converge agents, applications and secrets"
    assert sorted(set(tasks(done))) == sorted(
        {converge, *own, "Say what became of the tenants", "Give the summary to Controller"}
    )
    if not SKIPS:
        assert len(tasks(done)) == 3, "one line for a step, however many tenants there are"
        assert "skipping" not in done.stdout
    assert "All 3 as declared." in done.stdout
    for tenant in tenants:
        names = [task["task"] for task in done[tenant].tasks]
        assert names[: 1 + len(own)] == [converge, *own]
    # the end costs the first tenant alone
    assert sum(len(done[tenant].tasks) for tenant in tenants) == 3 * (1 + len(own)) + 2


@pytest.mark.parametrize(
    ("playbook", "arguments", "said"),
    [
        ("provision", extra(halo_hosts="halo_tenant"), r"no host in halo_tenant\. "),
        ("audit", ("--limit", "elsewhere"), r"no host of halo_tenants \(halo_hosts\) is within --limit elsewhere"),
        ("provision", extra(halo_serial="ten"), "halo_serial must be a number of tenants, .* not ten"),
    ],
    ids=["group", "limit", "serial"],
)
def test_what_cannot_be_meant_is_an_error(fleet: Fleet, playbook: str, arguments: tuple[str, ...], said: str) -> None:
    hosts = fleet.inventory / "more.yml"
    hosts.write_text(json.dumps({"others": {"hosts": {"elsewhere": None}}}))
    tenants = tenants_of(fleet, 1)
    assert re.search(said, refused(fleet, tenants, Play(playbook, ("-i", str(hosts), *arguments))))


def test_failures_of_all_kinds_under_settings_that_would_stop_the_others(fleet: Fleet) -> None:
    undefined, undelivered, fine = tenants = tenants_of(fleet, 3)
    undefined.more["halo_integration_verify"] = "{{ no_such_variable }}"
    undelivered.bind(on_rotated="tasks/deliver.yml")
    undelivered.more["halo_test_away"] = NAME
    environment = {"ANSIBLE_ANY_ERRORS_FATAL": "true", "ANSIBLE_STRATEGY": "linear"}
    done = fleet.play(tenants, Play("provision", extra(halo_serial=1), environment=environment))
    assert done.status != 0
    assert [done[tenant].failed for tenant in tenants] == [True, True, False]
    assert re.search(rf"^{undefined.name}: failed: .*no_such_variable", done.stdout, re.MULTILINE)
    assert re.search(
        rf"^{undelivered.name}: {NAME} failed: .*on_rotated failed in the task Fail once", done.stdout, re.MULTILINE
    )
    assert fine.proven()
    assert undelivered.proven()
    assert undelivered.entry()["outstanding"]["deliver"]


def test_two_playbooks_in_one_run_and_tags(fleet: Fleet) -> None:
    bad, *others = tenants = tenants_of(fleet, 3)
    unknown_role(bad)
    site = [
        {"ansible.builtin.import_playbook": "haloops.halo.provision", "tags": ["halo"]},
        {"ansible.builtin.import_playbook": "haloops.halo.audit", "tags": ["halo"]},
    ]
    done = over(fleet, tenants, Play(site, ("--tags", "other")))
    assert done.returncode == 0
    assert "TASK" not in done.stdout
    # what failed in the first takes no part in the second, and does not count there
    done = fleet.play(tenants, Play(site, ("--tags", "halo", *extra(halo_max_failed=1))))
    assert done.status != 0
    assert done.stdout.count("Stopped") == 0
    assert all(tenant.proven() for tenant in others)
    assert done.stdout.count(f"{bad.name}: {NAME} failed: ") == 1, done.stdout
    assert "2 as declared" in done.stdout or "All 2 as declared" in done.stdout


def test_a_host_of_on_rotated_that_cannot_be_reached_is_a_failure_of_its_tenant(fleet: Fleet) -> None:
    """Ansible takes the tenant out of the run at once: no task of the role is left to say so."""
    away, fine = tenants = tenants_of(fleet, 2)
    inventory = fleet.inventory / "machines.yml"
    machine = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory.write_text(json.dumps({"machines": {"hosts": {"machine": machine}}}))
    (fleet.inventory / "machine.yml").write_text("- ansible.builtin.ping:\n  delegate_to: machine\n")
    away.bind(on_rotated="machine.yml")
    report = work(fleet) / "away.html"
    arguments = ("-i", str(inventory), *extra(halo_report_path=str(report)))
    done = fleet.play(tenants, Play("provision", arguments))
    assert done.status != 0
    assert re.search(rf"^{away.name}: {NAME} failed: .*on_rotated needs cannot be reached", done.stdout, re.MULTILINE)
    assert re.search(rf"^{fine.name}: {NAME} rotated", done.stdout, re.MULTILINE)
    assert report.with_suffix(".retry").read_text() == f"{away.name}\n"
    assert away.proven()
    assert away.entry()["outstanding"]["deliver"]
    # the next run delivers what is there, and makes no other secret
    machine["ansible_connection"] = "local"
    inventory.write_text(json.dumps({"machines": {"hosts": {"machine": machine}}}))
    done = fleet.play(tenants, Play("provision", arguments))
    assert done.status == 0, done.stdout
    assert away.entry()["outstanding"]["deliver"] is None
    assert away.entry()["attempt"] == 1


def test_bindings_of_a_group_and_of_one_tenant(fleet: Fleet) -> None:
    both, wrong = tenants = tenants_of(fleet, 2)
    more = {"name": "Reporting", "agent": {"name": "api-reporting"}, "application": {"scopes": ["all"]}}
    both.more["halo_integration_bindings_extra"] = [{**more, "on_rotated": "tasks/deliver.yml"}]
    wrong.more["halo_integration_bindings_extra"] = [{**more, "name": NAME.upper()}]
    done = fleet.play(tenants, Play())
    assert [done[tenant].failed for tenant in tenants] == [False, True]
    assert sorted(both.stored) == sorted([NAME, "Reporting"])
    assert both.entry("Reporting")["outstanding"]["deliver"] is None
    for text in (NAME.upper(), "halo_integration_bindings", "halo_integration_bindings_extra"):
        assert text in done[wrong].message
    assert wrong.stored == {}
    assert done[wrong].requests == []


def test_a_decommission_is_confirmed_and_checked(fleet: Fleet) -> None:
    tenants = tenants_of(fleet, 3)
    mixed, one, other = tenants
    mixed.sandbox.settings(mixed.name, hosted_integrator=False)
    mixed.bind("api-integrator", name="Halo Integrator", kind="integrator")
    assert fleet.play(tenants, Play()).status == 0
    before = [(tenant.state, tenant.stored) for tenant in tenants]
    said = refused(fleet, tenants, Play("decommission", ("--limit", f"{one.name},{other.name}")))
    assert "the bindings of 2 tenants out of service" in said
    assert [(tenant.state, tenant.stored) for tenant in tenants] == before

    report = work(fleet) / "gone.html"
    confirmed = extra(halo_decommission_confirm=3, halo_report_path=str(report))
    done = fleet.play(tenants, Play("decommission", confirmed))
    assert [done[tenant].failed for tenant in tenants] == [True, False, False]
    assert "the Halo Integrator cannot be deleted" in done[mixed].message
    # its other binding is as it was, although it comes first
    assert (mixed.state, mixed.stored) == before[0]
    for tenant in (one, other):
        assert tenant.applications(NAME) == []
    rows = json.loads(report.with_suffix(".json").read_text())["rows"]
    assert {row["tenant"]: row["state"] for row in rows} == {
        mixed.name: "failed",
        one.name: "changed",
        other.name: "changed",
    }
    assert report.with_suffix(".retry").read_text().split() == [mixed.name]

    mixed.bindings.pop()
    assert fleet.play(tenants, Play("decommission", ("--limit", mixed.name))).status == 0
    assert mixed.applications(NAME) == []
