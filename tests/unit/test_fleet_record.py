# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run over many tenants without Ansible's plays: what is recorded, when it stops, which hosts take part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible import constants, context
from ansible.errors import AnsibleError, AnsibleLookupError
from ansible.utils.context_objects import CLIArgs
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.plugin_utils import fleet
from ansible_collections.haloops.halo.plugins.plugin_utils.fleet import BEGUN, DRIFTED, FAILED, STOPPED, Record
from helpers import in_process

NAMES = [f"tenant{number}" for number in range(1, 21)]
GROUPS = {"all": [*NAMES, "web"], "halo_tenants": NAMES, "europe": ["tenant2", "tenant3", "web"]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    """The run's own temporary folder."""
    with mock.patch.object(constants, "DEFAULT_LOCAL_TMP", str(tmp_path)):
        yield tmp_path


@pytest.mark.parametrize(
    ("given", "most"),
    [
        (None, None), ("", None), (" ", None), ("0", 0), (3, 3), ("3", 3), ("0%", 0), ("5%", 10), ("5 %", 10),
        ("1%", 2), ("100%", 200),
    ],
)  # fmt: skip
def test_how_many_may_fail(given: Any, most: int | None) -> None:
    assert fleet.allowed(given, 200) == most


@pytest.mark.parametrize("given", ["many", "-1", "1.5", "101%", "5%%", "%", "٣"])
def test_what_is_no_number_of_failures_is_refused(given: str) -> None:
    with pytest.raises(HaloError, match="halo_max_failed must be a number, or per cent"):
        fleet.allowed(given, 200)


def test_per_cent_of_a_small_fleet_is_rounded_down() -> None:
    assert fleet.allowed("5%", 19) == 0
    assert fleet.allowed("5%", 20) == 1


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, ["100%"]), ("", ["100%"]), ([], ["100%"]), ([""], ["100%"]), (10, ["10"]), ("10", ["10"]),
        ("5 %", ["5%"]), ([1, "5%", "100%"], ["1", "5%", "100%"]), ([[1, "5%"]], ["1", "5%"]),
        ("1, 5%,100%", ["1", "5%", "100%"]), ("[1, '5%']", ["1", "5%"]), ('["5%"]', ["5%"]),
    ],
)  # fmt: skip
def test_how_many_at_a_time(given: Any, found: list[str]) -> None:
    assert fleet.batches(given) == found


@pytest.mark.parametrize("given", ["many", "0", "0%", "-1", "1.5", "101%", "5%%", "1 five", [1, "x"], {"a": 1}, "٣"])
def test_what_is_no_number_of_tenants_is_refused(given: Any) -> None:
    with pytest.raises(HaloError, match="halo_serial must be a number of tenants, or per cent"):
        fleet.batches(given)


# One tenant of many


def one(host: str, result: Any, check_mode: bool = False, **options: Any) -> tuple[dict[str, Any], bool]:
    """What the task of one tenant returns, and whether it was tried."""
    tried = False

    def work() -> dict[str, Any]:
        nonlocal tried
        tried = True
        if isinstance(result, Exception):
            raise result
        return dict(result)

    variables = {"inventory_hostname": host, "ansible_play_hosts_all": NAMES}
    return fleet.as_one_of_many(options, variables, check_mode, work), tried


FINE = {"changed": True, "pending_actions": [{"action": "deliver"}], "bindings": {"One": {}}}


def test_what_went_well_is_returned_as_it_is() -> None:
    assert one("tenant1", FINE) == (FINE, True)
    assert (list(Record().hosts(BEGUN)), Record().hosts(FAILED)) == (["tenant1"], {})


@pytest.mark.parametrize(
    "result",
    [
        {"failed": True, "msg": "no such role"},
        # the failure of one binding, where actions are pending for others
        {"failed": False, "msg": "no such role", "pending_actions": [{"action": "deliver"}]},
        AnsibleError("no such role"),
        HaloError("no such role"),
    ],
    ids=str,
)
def test_what_failed_is_noted_and_does_not_fail_the_host(result: Any) -> None:
    made, _tried = one("tenant1", result)
    assert made["failed"] is False
    assert made["failure"] == "no such role"
    assert "ansible_facts" not in made, "facts may be kept from run to run"
    # the role goes by these
    assert isinstance(made["pending_actions"], list)
    assert isinstance(made["bindings"], dict)
    assert Record().hosts(FAILED) == {"tenant1": "no such role"}


def test_a_run_stops_once_more_have_failed_than_may() -> None:
    for number, host in enumerate(NAMES[:3]):
        assert one(host, {"failed": True, "msg": "no"}, max_failed="2")[1] is True, number
    made, tried = one("tenant4", FINE, max_failed="2")
    assert not tried
    assert made["skipped"] is True
    assert made["changed"] is False
    assert "More than 2 tenants have failed (halo_max_failed)" in made["skip_reason"]
    assert made["pending_actions"] == []
    assert (list(Record().hosts(STOPPED)), len(Record().hosts(BEGUN))) == (["tenant4"], 3)
    # 10 % of 20 are 2 as well, and without a limit all are tried
    assert one("tenant5", FINE, max_failed="10%")[1] is False
    assert one("tenant5", FINE)[1] is True


def test_a_wrong_limit_fails_each_tenant_before_it_is_tried() -> None:
    made, tried = one("tenant1", FINE, max_failed="few")
    assert not tried
    assert made["failed"] is True
    assert "halo_max_failed must be" in made["msg"]


@pytest.mark.parametrize(
    ("check_mode", "changed", "asked", "noted"),
    [(True, True, True, True), (False, True, True, False), (True, False, True, False), (True, True, False, False)],
)
def test_drift_is_noted_where_it_is_to_fail(check_mode: bool, changed: bool, asked: bool, noted: bool) -> None:
    one("tenant1", {"changed": changed}, check_mode, fail_on_drift=asked)
    assert bool(Record().hosts(DRIFTED)) is noted
    assert Record().hosts(FAILED) == {}


@pytest.mark.parametrize(("state", "noted"), [("refused", True), ("empty", False), ("granted", False)])
def test_what_halo_refuses_is_drift(state: str, noted: bool) -> None:
    rights = [{"name": "read tickets", "state": state, "reason": None}]
    one("tenant1", {"changed": False, "bindings": {"Sync": {"rights": rights}}}, True, fail_on_drift=True)
    assert bool(Record().hosts(DRIFTED)) is noted


def test_a_record_that_was_closed_begins_anew() -> None:
    assert Record().close()[1] is False, "there was nothing"
    Record().note("tenant 1", FAILED, "first")
    Record().note("tenant 1", FAILED, "of two\nlines")
    closed, first = Record().close()
    assert first
    assert closed.hosts(FAILED) == {"tenant 1": "of two\nlines"}, "once, with what was said last"
    assert Record().hosts(FAILED) == {}
    again, first = Record().close()
    assert not first
    assert again.hosts(FAILED) == closed.hosts(FAILED)


# The hosts


def hosts(*terms: str, limit: str | None = None, check_mode: bool = False, **options: Any) -> list[str]:
    variables = {"groups": GROUPS, "ansible_limit": limit, "ansible_check_mode": check_mode}
    return in_process.lookup("tenants", list(terms), variables, Path.cwd(), **options)


def test_patterns_within_the_limit() -> None:
    assert hosts("halo_tenants") == NAMES
    assert hosts("halo_tenants:&europe") == ["tenant2", "tenant3"]
    assert hosts("halo_tenants", limit="europe") == ["tenant2", "tenant3"]
    assert hosts("tenant3", "tenant1") == ["tenant3", "tenant1"]


def test_the_limit_may_be_a_file(folder: Path) -> None:
    (folder / "report.retry").write_text("tenant3\ntenant9\n")
    assert hosts("halo_tenants", limit=f"@{folder / 'report.retry'}") == ["tenant3", "tenant9"]


def test_no_host_is_an_error_that_names_the_group() -> None:
    with pytest.raises(AnsibleLookupError, match=r"no host in halo_tenant\. .*halo_hosts"):
        hosts("halo_tenant")
    with pytest.raises(AnsibleLookupError, match=r"no host of halo_tenants \(halo_hosts\) is within --limit web"):
        hosts("halo_tenants", limit="web")


@pytest.mark.parametrize("option", ["syntax", "listhosts", "listtasks", "listtags"])
def test_where_nothing_is_run_nothing_is_refused(option: str) -> None:
    with mock.patch.object(context, "CLIARGS", CLIArgs({option: True})):
        assert hosts("no_such_group") == ["no_such_group"]
        assert hosts("halo_tenants", confirm="") == NAMES


def test_as_many_hosts_as_are_confirmed() -> None:
    assert hosts("halo_tenants", confirm="20") == NAMES
    assert hosts("halo_tenants", confirm=" 20 ") == NAMES
    assert hosts("halo_tenants", confirm="", limit="tenant4") == ["tenant4"], "one host that is named"
    assert hosts("halo_tenants", confirm="", check_mode=True) == NAMES
    for confirm, limit, said in (
        ("", None, "This would take the bindings of 20 tenants out of service: tenant1, .* and 15 more"),
        ("19", None, "halo_decommission_confirm is 19, and this would take the bindings of 20 tenants"),
        ("yes", None, "halo_decommission_confirm is yes"),
        ("20", "europe", "of 2 tenants out of service: tenant2, tenant3. .* to 2 if you mean all"),
        ("", "europe", "of 2 tenants"),
    ):
        with pytest.raises(AnsibleLookupError, match=said):
            hosts("halo_tenants", confirm=confirm, limit=limit)
    with pytest.raises(AnsibleLookupError, match="of 1 tenant out of service"):
        hosts("tenant4", confirm="")


def test_who_takes_part_in_the_end() -> None:
    assert hosts("halo_tenants", ending=True) == ["tenant1"], "nobody began: the tasks have other tags"
    for host in NAMES[:6]:
        Record().note(host, BEGUN)
    assert hosts("halo_tenants", ending=True) == ["tenant1"]
    Record().note("tenant5", FAILED)
    Record().note("tenant1", FAILED)
    Record().note("tenant3", DRIFTED)
    # the one that did not fail comes first, and reports
    assert hosts("halo_tenants", ending=True) == ["tenant2", "tenant1", "tenant3", "tenant5"]


def test_all_have_failed() -> None:
    for host in ("tenant2", "tenant3"):
        Record().note(host, BEGUN)
        Record().note(host, FAILED)
    assert hosts("tenant2:tenant3", ending=True) == ["tenant2", "tenant3"]
    # of those that were not tried, one reports
    assert hosts("halo_tenants", ending=True) == ["tenant1", "tenant2", "tenant3"]


def test_the_file_for_a_retry_lies_beside_the_report() -> None:
    assert fleet.retry_file(os.path.join("reports", "fleet.html")) == os.path.join("reports", "fleet.retry")
    assert fleet.retry_file("fleet") == "fleet.retry"
