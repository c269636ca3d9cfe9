# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From one store to another, both in memory: what is proven, written, noted, refused, and said of it."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError, TenantBusy
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.module_utils.rotation import Proof
from ansible_collections.haloops.halo.plugins.module_utils.store_move import STORE_MOVE, Side, move
from helpers.kept import Kept, Lines, Row

INSTANCE = "https://acme.example.com"
MADE = "2026-06-20T12:00:00+00:00"


def label(secret: str, made_at: str = MADE) -> Row:
    known = {"client_id": "c-1", "client_secret": secret, "application_id": "a-1", "agent_id": 20}
    return {**known, "agent_name": "api-20", "scope": "all", "made_at": made_at, "reason": "created"}


class Move:
    """Two stores, and the secrets that log in."""

    def __init__(self) -> None:
        self.source, self.target, self.trail = Kept(), Kept(), Lines()
        self.valid = {"s-1"}
        self.proven: list[str] = []

    def prove(self, found: Row) -> Proof:
        self.proven.append(found["client_secret"])
        return Proof(found["client_secret"] in self.valid, reason="no" if found["client_secret"] == "s-0" else "")

    def keep(self, name: str = "Sync", **labels: Any) -> Row:
        self.source.entries[name] = entry({**labels, "instance": INSTANCE, "origin": "created", "binding": name})
        return self.source.entries[name]

    def __call__(self, check_mode: bool = False, trail: Any = None) -> Row:
        del self.source.wrote[:], self.target.wrote[:], self.proven[:]
        result: Row = move(
            Side("files", self.source),
            Side("vault", self.target),
            self.prove,
            instance=INSTANCE,
            check_mode=check_mode,
            trail=trail,
        )
        assert not self.source.wrote
        assert not (check_mode and self.target.wrote)
        return result


@pytest.fixture
def stores() -> Move:
    return Move()


ROW = {"client_id": "c-1", "agent_name": "api-20", "made_at": MADE, "verified": True, "error": None}


def test_an_entry_is_moved(stores: Move) -> None:
    found = stores.keep(current=label("s-1"), previous=label("s-0"))
    expected = {
        "changed": True,
        "instance": INSTANCE,
        "bindings": {"Sync": {**ROW, "changed": True, "drift": ["store: files instead of vault"]}},
        "diff": {
            "before": {"Sync": {"store": "files", "made_at": MADE}},
            "after": {"Sync": {"store": "vault", "made_at": MADE}},
        },
    }
    assert stores(check_mode=True, trail=stores.trail) == {**expected, "check_mode": True}
    assert (stores.source.held, stores.target.held, stores.trail.steps) == (0, 0, [])
    assert stores(trail=stores.trail) == {**expected, "check_mode": False}
    assert (stores.source.held, stores.target.held) == (1, 1)
    # what instance it is of, the target says
    assert stores.target.entries == {"Sync": {**found, "instance": None}}
    [line] = stores.trail.steps
    assert (line.binding, line.action, line.cause) == ("Sync", "move", "requested")
    assert (line.client_id, line.agent, line.outcome) == ("c-1", "api-20", "ok")
    again = stores()
    assert again["bindings"] == {"Sync": {**ROW, "changed": False, "drift": []}}
    assert (again["changed"], again["diff"], stores.target.wrote) == (False, {"before": {}, "after": {}}, [])
    assert "warnings" not in again
    assert "failed" not in again


def test_at_least_one_store_is_named() -> None:
    def said(**options: Any) -> list[str]:
        return list(
            ArgumentSpecValidator(STORE_MOVE.options, **STORE_MOVE.constraints).validate(options).error_messages
        )

    assert said(source={"store": "file"}) == said(target={"store": "file"}) == []
    assert said() == ["one of the following is required: source, target"]


def test_a_source_that_is_empty_is_not_made(stores: Move) -> None:
    assert stores() == {
        "changed": False,
        "instance": INSTANCE,
        "check_mode": False,
        "bindings": {},
        "diff": {"before": {}, "after": {}},
        "warnings": ["The source, files, holds nothing of this tenant."],
    }
    assert (stores.source.held, stores.target.held) == (0, 0)


def test_what_is_not_in_service_is_moved_unproven(stores: Move) -> None:
    stores.keep(previous=label("s-0"))
    row = stores()["bindings"]["Sync"]
    nothing = {"client_id": None, "agent_name": None, "made_at": None, "verified": None, "error": None}
    assert row == {**nothing, "changed": True, "drift": ["store: files instead of vault"]}
    assert (stores.proven, stores.target.entries["Sync"]["instance"]) == ([], INSTANCE)


@pytest.mark.parametrize(
    ("labels", "asked"),
    [
        ({"current": label("s-1"), "pending": label("s-0")}, ["s-1"]),
        ({"current": label("s-0"), "pending": label("s-1")}, ["s-0", "s-1"]),
        ({"pending": label("s-1")}, ["s-1"]),
    ],
)
def test_one_that_logs_in_is_enough(stores: Move, labels: Row, asked: list[str]) -> None:
    stores.keep(**labels)
    row = stores()["bindings"]["Sync"]
    assert (row["changed"], row["client_id"], stores.proven) == (True, "c-1", asked)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"current": label("s-2")}, "its current secret does not log in (refused). It was not moved."),
        (
            {"current": label("s-0"), "pending": label("s-2")},
            "its current secret does not log in (no) and its pending secret does not log in (refused). It was not",
        ),
    ],
)
def test_one_that_does_not_log_in_stays(stores: Move, labels: Row, said: str) -> None:
    stores.keep(**labels)
    result = stores()
    row = result["bindings"]["Sync"]
    assert row["error"].startswith(f"{INSTANCE}: binding 'Sync': {said}")
    assert (row["changed"], row["verified"], row["drift"], result["changed"]) == (False, None, [], False)
    assert (result["failed"], result["msg"], result["error"]["status"]) == (True, row["error"], None)
    assert not stores.target.entries


def test_the_others_are_moved_where_one_fails(stores: Move) -> None:
    for name, secret in (("One", "s-2"), ("Two", "s-1"), ("Three", "s-2")):
        stores.keep(name, current=label(secret))
    result = stores()
    assert [*stores.target.entries] == ["Two"]
    rows = result["bindings"]
    assert result["msg"] == f"2 of 3 bindings were not moved: {rows['One']['error']} / {rows['Three']['error']}"
    assert [*result["diff"]["after"]] == ["Two"]


@pytest.mark.parametrize(
    ("there", "age"),
    [
        ({"current": label("s-9", "2026-01-01")}, "2026-01-01"),
        ({"pending": label("s-9", "2026-01-02"), "previous": label("s-0")}, "2026-01-02"),
        ({"previous": label("s-0", "2026-01-03")}, "2026-01-03"),
    ],
)
def test_another_secret_in_the_target_is_not_overwritten(stores: Move, there: Row, age: str) -> None:
    stores.keep(current=label("s-1"))
    stores.target.entries["Sync"] = entry(there)
    row = stores()["bindings"]["Sync"]
    assert (
        f"the target holds another secret of it, made at {age}; that of the source was made at {MADE}." in row["error"]
    )
    assert (stores.target.wrote, stores.proven) == ([], [])


def test_what_the_target_did_not_keep(stores: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.keep(current=label("s-1"))
    write = stores.target.write

    def forget(name: str, new: Row, version: int) -> int:
        return write(name, {**new, "origin": None, "attempt": 9, "binding": "x"}, version)

    monkeypatch.setattr(stores.target, "write", forget)
    row = stores(trail=stores.trail)["bindings"]["Sync"]
    assert "the target did not keep what was written (attempt, origin)." in row["error"]
    assert not row["changed"]
    assert stores.trail.steps[0].outcome != "ok"


@pytest.mark.parametrize(("side", "role"), [("source", "source"), ("target", "target")])
def test_a_store_that_is_busy(stores: Move, monkeypatch: pytest.MonkeyPatch, side: str, role: str) -> None:
    def hold() -> NoReturn:
        raise TenantBusy("someone else is at work.")

    stores.keep(current=label("s-1"))
    monkeypatch.setattr(getattr(stores, side), "hold", hold)
    with pytest.raises(TenantBusy) as caught:
        stores()
    assert caught.value.message == f"someone else is at work, in the {role}."
    assert stores(check_mode=True)["changed"]


def test_a_trail_that_cannot_be_kept(stores: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_step: Any) -> None:
        raise HaloError("the disk is full.")

    stores.keep(current=label("s-1"))
    with monkeypatch.context() as patch:
        patch.setattr(stores.trail, "check", fail)
        assert "the disk is full." in stores(trail=stores.trail)["bindings"]["Sync"]["error"]
        assert not stores.target.wrote
    monkeypatch.setattr(stores.trail, "note", fail)
    result = stores(trail=stores.trail)
    assert result["warnings"] == ["the audit trail lacks the line of the step move (ok): the disk is full."]
    assert result["bindings"]["Sync"]["changed"]
