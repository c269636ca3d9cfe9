# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every store must do, on the real thing: each case with each store, and the table of it in the documentation.

A case returns what it saw, in the words of the table. A run compares them with the page, and ``make conformance``
writes them there. A further store joins with a :class:`helpers.store_kits.Kit`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import unicodedata
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError, StaleEntry, TenantBusy
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import MARKER, entry
from ansible_collections.haloops.halo.plugins.plugin_utils import stores
from helpers import conformance
from helpers.entries import BINDING, FULL, SECRET, current, made
from helpers.store_kits import INSTANCE, KITS, Command, Controller, File, FileKit, Kit, Vault
from helpers.store_servers import durable_openbao

Case = Callable[[Kit, pytest.MonkeyPatch], str]
CASES: dict[str, Case] = {}
# What a store that calls a program for each thing has the time for.
FEW = 6
ODD = [
    "../../etc/passwd",
    " two  blanks ",
    "x" * 200,
    "Jörg Müller",
    ".claim",
    "-rf",
    "..",
    "",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a b",
    "a_b",
    "a\nb",
    "a\0b",
    "Jorg Muller",
    "日本語",
    "\u202eevil",
    "x" * 199 + "y",
    "$HOME",
    "con.yml",
    ".run.lock",
    "!!python/none",
    "yes",
    "2026-01-01",
]


def case(name: str) -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        CASES[name] = function
        return function

    return add


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case_name" in metafunc.fixturenames:
        metafunc.parametrize("kit", [pytest.param(kit, id=f"on-{title}") for title, kit in KITS.items()], indirect=True)
        metafunc.parametrize("case_name", CASES)


def test_conformance(
    kit: Kit,
    case_name: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    words = CASES[case_name](kit, monkeypatch)
    record_property("conformance", [case_name, kit.title, words])
    if not request.config.getoption("write_conformance"):
        cell = conformance.committed().get(case_name, {}).get(kit.title)
        assert cell == words, f"the page {conformance.PAGE.name} says otherwise: make conformance writes it anew"


def test_the_page_has_each_store_and_each_case_and_no_empty_cell(request: pytest.FixtureRequest) -> None:
    assert {kit_store(kit) for kit in KITS.values()} == set(stores.store_names())
    if request.config.getoption("write_conformance"):
        pytest.skip("it is written after the tests")
    page = conformance.PAGE.read_text(encoding="utf-8")
    table = conformance.parsed(page)
    assert conformance.rendered(table) == page
    assert list(table) == list(CASES)
    assert all(list(cells) == list(KITS) and all(cells.values()) for cells in table.values())


def kit_store(kit: type[Kit]) -> str:
    return "command" if issubclass(kit, Command) else kit.title


# The cases, in the order of the table


@case("What was written is read back whole, by another process")
def read_back(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> str:
    store = kit.open()
    assert store.read(BINDING) == (entry(None), None)
    version = store.write(BINDING, FULL, None)
    printed = kit.run(f"print(json.dumps(open_again().read({BINDING!r})))")
    assert json.loads(printed) == [{**FULL, "instance": INSTANCE, "binding": BINDING}, version]
    assert kit.open().read("Another") == (entry(None), None)
    # what was read can be changed without changing what is read next
    store.read(BINDING)[0]["current"]["client_secret"] = "changed"
    assert current(store) == SECRET
    # an entry keeps the instance that it comes from
    store.write(BINDING, {**FULL, "instance": "https://old.example.com", "binding": "Old"}, version)
    found = kit.open().read(BINDING)[0]
    assert (found["instance"], found["binding"]) == ("https://old.example.com", BINDING)
    # so does what a preflight leaves, which is no binding's
    store.write(MARKER, entry({"marker": "2026-06-01T10:00:00+00:00"}), None)
    assert kit.open().read(MARKER)[0]["marker"] == "2026-06-01T10:00:00+00:00"
    assert set(kit.open().others([MARKER])) == {BINDING}
    return "whole"


@case("A write is durable when it returns")
def durable(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> str:
    if isinstance(kit, FileKit):
        version = kit.open().write(BINDING, made(), None)
        done = [line for line in calls_of(kit, made("new"), version) if line in ("fsync", "replace", "fsync folder")]
        assert done == ["fsync", "replace", "fsync folder"]
        return "on the disk, file and folder"
    if isinstance(kit, Command):
        store, log = kit.traced()
        version = store.write(BINDING, made(), None)
        assert current(kit.open()) == SECRET
        log.unlink()
        store.write(BINDING, made("new"), version)
        steps = log.read_text().splitlines()
        writes = [number for number, step in enumerate(steps) if step in ("pass insert", "sops encrypt")]
        moves = [number for number, step in enumerate(steps) if step in ("pass mv", "replace")]
        assert writes < moves
        assert "fsync file" in steps[writes[0] : moves[0]]
        assert "fsync folder" in steps[moves[0] :]
        return "on the disk, file and folder"
    if isinstance(kit, Vault):
        with durable_openbao(kit.folder.parent) as server:
            options = {"url": server.url, "token": server.root_token}
            kit.open(options=options).write(BINDING, made(), None)
            server.kill_and_restart()
            assert current(kit.open(options=options)) == SECRET
        return "outlives a SIGKILL of the server"
    kit.open().write(BINDING, made(), None)
    assert current(kit.open()) == SECRET
    owner = "Controller" if isinstance(kit, Controller) else "AWS"
    return f"answered by the server; what {owner} does then is {owner}'s promise"


def calls_of(kit: Kit, new: Any, version: Any) -> list[str]:
    """What a write asks of the system, in a process of its own."""
    script = """
import stat
done = []
def noted(name):
    real = getattr(os, name)
    def call(*args, **more):
        is_folder = name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)
        done.append(f"{name} folder" if is_folder else name)
        return real(*args, **more)
    setattr(os, name, call)
store = open_again()
for name in ("fsync", "replace"):
    noted(name)
store.write(*json.loads(sys.argv[2]))
print("\\n".join(done))
"""
    return kit.run(script, json.dumps([BINDING, new, version])).splitlines()


@case("A stale write is refused")
def stale_write(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> str:
    one, other = kit.open(), kit.open()
    first = one.write(BINDING, FULL, None)
    with pytest.raises(StaleEntry):
        other.write(BINDING, FULL, None)
    second = other.write(BINDING, made("newer"), first)
    assert second != first
    for version in (first, None, "0"):
        with pytest.raises(StaleEntry, match=f"binding '{BINDING}'.*Nothing was written"):
            one.write(BINDING, made("stale"), version)
    assert current(kit.open()) == "newer"
    one.write(BINDING, made("newest"), second)
    assert current(other) == "newest"
    return "refused"


# Each adds its part to a count, and reads again whenever it was too late.
WRITERS = """
writers, times = map(int, sys.argv[2:])
def add():
    store = open_again()
    for _unused in range(times):
        while True:
            found, version = store.read("one")
            try:
                store.write("one", made("s", attempt=found["attempt"] + 1), version)
                break
            except StaleEntry:
                pass
open_again()
children = [multiprocessing.get_context("fork").Process(target=add) for _unused in range(writers)]
for child in children:
    child.start()
for child in children:
    child.join()
print(open_again().read("one")[0]["attempt"])
"""


@case("Two writers at once")
def writers(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> str:
    number, times = (2, 2) if kit.is_slow else (4, 5)
    assert kit.run(WRITERS, number, times) == f"{number * times}\n"
    return "one after the other, nothing lost"


# As at a first provisioning: what is not in the store is made, and its secret stored before and after.
RACE = """
rounds = int(sys.argv[2])
context = multiprocessing.get_context("fork")
barrier = context.Barrier(2)
def compete():
    store = open_again()
    for number in range(rounds):
        barrier.wait(30)
        try:
            with store.hold():
                found, version = store.read(f"b{number}")
                if found["current"]:
                    word = "found"
                else:
                    version = store.write(f"b{number}", entry({"pending": {"client_secret": "s"}}), version)
                    time.sleep(0.01)
                    store.write(f"b{number}", made(str(os.getpid())), version)
                    word = "made"
        except TenantBusy:
            word = "busy"
        print(number, word, flush=True)
        barrier.wait(30)
open_again()
runs = [context.Process(target=compete) for _unused in range(2)]
for run in runs:
    run.start()
for run in runs:
    run.join()
assert not any(run.exitcode for run in runs)
print(len(open_again().names()))
"""


@case("Two runs at once for one tenant")
def runs(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> str:
    until = "its lock ends with it" if isinstance(kit, FileKit) else r"claim ends at 20.+ UTC"
    who = rf"\(process {os.getpid()} on .+, since 20.+ UTC\)"
    with kit.open().hold():
        with (
            pytest.raises(TenantBusy, match=rf"^{INSTANCE}: another run .* {who}\. Nothing was changed\..*{until}"),
            kit.open().hold(),
        ):
            raise AssertionError
        with kit.open(tenant="other").hold():
            pass
    # an error in the work comes through and frees the tenant
    for error in (OSError("of the work"), HaloError("of the work"), KeyboardInterrupt("of the work")):
        with pytest.raises(type(error), match=r"^of the work$"), kit.open().hold():
            raise error
    rounds = 2 if kit.is_slow else 20
    *lines, count = kit.run(RACE, rounds).splitlines()
    assert count == str(rounds)
    words: dict[str, list[str]] = {}
    for line in lines:
        number, word = line.split()
        words.setdefault(number, []).append(word)
    assert all(sorted(both) in (["busy", "made"], ["found", "made"]) for both in words.values()), words
    assert any("busy" in both for both in words.values())
    return "one works, the other stops"


# Killed before and after each call to the outside, one after the other.
KILLED = """
number = calls = 0
def deadly(real):
    def call(*args, **more):
        global calls
        calls += 1
        if calls * 2 - 1 == number:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **more)
        if calls * 2 == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call
def write():
    store = open_again()
    version = store.read("one")[1]
    for name in json.loads(sys.argv[2]):
        module, _colon, path = name.partition(":")
        *parents, last = path.split(".")
        place = importlib.import_module(module)
        for parent in parents:
            place = getattr(place, parent)
        setattr(place, last, deadly(getattr(place, last)))
    # a lock ends with the process, a claim would have to be waited for
    with store.hold() if "file" in kit["name"] else contextlib.nullcontext():
        store.write("one", made(f"{number:04}" + "x" * 20000), version)
open_again()
old, killed = "", 0
while True:
    number += 1
    writer = multiprocessing.get_context("fork").Process(target=write)
    writer.start()
    writer.join()
    found = open_again().read("one")[0]["current"]
    new = found["client_secret"].rstrip("x") if found else ""
    assert not found or len(found["client_secret"]) == 20004
    assert new in (old, f"{number:04}")
    if not writer.exitcode:
        assert new == f"{number:04}"
        break
    assert writer.exitcode == -signal.SIGKILL
    old, killed = new, killed + 1
print(killed)
"""


@case("A writer is killed, at any instant")
def killed_writer(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> str:
    if isinstance(kit, Command):
        killed_program(kit, monkeypatch)
    elif not isinstance(kit, Controller):
        # that one takes a claim for each write, which would have to be waited for: test_store_controller.py kills it
        assert int(kit.run(KILLED, json.dumps(kit.calls))) >= 4
    return "the old entry or the new one, whole"


def killed_program(kit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before and after each call of the tool, one after the other."""
    tenant, key = kit.owner, stores._files.safe(BINDING)
    version = kit.open().write(BINDING, made("0"), None)
    kit.spy(monkeypatch)
    outcomes = ["0"]
    for number in range(1, 10):
        (kit.folder.parent / "log").unlink(missing_ok=True)
        with monkeypatch.context() as deadly:
            deadly.setenv("KILLED_AT", str(number))
            whole = {
                **made(str(number)),
                "tenant": f"{INSTANCE} {kit.place['tenant']}",
                "binding": BINDING,
                "end": True,
            }
            given = json.dumps({"entry": whole, "version": version}).encode()
            command = [*kit.command, "write", tenant, key]
            status = subprocess.run(command, input=given, check=False, capture_output=True).returncode
        found, version = kit.open().read(BINDING)
        assert found["current"]["client_secret"] in (str(number), outcomes[-1])
        outcomes.append(found["current"]["client_secret"])
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert status == 0
    assert kit.open().names() == [BINDING]
    # two calls of pass, one of sops
    assert len(outcomes) == {"pass": 6, "sops": 4}[kit.title]


HOLDER = """
with open_again().hold():
    print("held", flush=True)
    sys.stdin.read()
"""


@case("A run is killed while it holds the tenant")
def killed_run(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> str:
    process = kit.start(HOLDER)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    with pytest.raises(TenantBusy, match=f"process {process.pid} on"), kit.open().hold():
        raise AssertionError
    process.kill()
    process.communicate()
    if isinstance(kit, FileKit):
        with kit.open().hold():
            return "the next one works at once"
    with pytest.raises(TenantBusy, match=f"process {process.pid} on"), kit.open().hold():
        raise AssertionError
    for seconds, expected in ((115, pytest.raises(TenantBusy)), (125, contextlib.nullcontext())):
        later = kit.open()
        monkeypatch.setattr(later, "_hear", lambda date: None)
        monkeypatch.setattr(later, "clock", lambda ahead=seconds: time.time() + ahead)
        with expected, later.hold():
            pass
    return "the next one works two minutes later"


@case("The connection is lost before a write")
def lost_before(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> str:
    version = kit.open().write(BINDING, made("old"), None)
    with kit.losing(after=False) as store:
        if isinstance(kit, FileKit):
            with pytest.raises(HaloError, match=r"the store could not write .*: Input/output error"):
                store.write(BINDING, made("new"), version)
        else:
            version = store.write(BINDING, made("new"), version)
    found, now = kit.open().read(BINDING)
    assert now == version
    if isinstance(kit, FileKit):
        assert found["current"]["client_secret"] == "old"
        return "the disk fails: an error, the old entry stays"
    assert found["current"]["client_secret"] == "new"
    return "the program is killed: called again, done once" if isinstance(kit, Command) else "sent again, done once"


@case("The connection is lost after a write")
def lost_after(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> str:
    version = kit.open().write(BINDING, made("old"), None)
    with kit.losing(after=True) as store:
        if isinstance(kit, FileKit):
            with pytest.raises(HaloError, match=r"the store could not write .*: Input/output error"):
                store.write(BINDING, made("new"), version)
        else:
            version = store.write(BINDING, made("new"), version)
    found, now = kit.open().read(BINDING)
    assert found["current"]["client_secret"] == "new"
    if isinstance(kit, FileKit):
        return "the disk fails: an error, the new entry is whole"
    assert now == version
    return "the program is killed: looked up, done once" if isinstance(kit, Command) else "looked up, done once"


# It has loaded all that it needs by the time that it is someone else.
NOBODY = f"""
store = open_again()
with contextlib.suppress(HaloError):
    store.read("Another")
os.geteuid() or os.setuid(65534)
for work in (lambda: store.read({BINDING!r}), store.names, lambda: store.write({BINDING!r}, made("new"), None)):
    try:
        work()
    except HaloError as error:
        print(error)
"""


@case("Wrong credentials")
def wrong_credentials(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> str:
    kit.open().write(BINDING, FULL, None)
    if isinstance(kit, File):
        kit.folder.parent.chmod(0o755)
        if os.geteuid():
            kit.file().parent.chmod(0)
        lines = kit.run(NOBODY).splitlines()
        kit.file().parent.chmod(0o700)
        assert len(lines) == 3
        assert all("Permission denied" in line for line in lines), lines
        assert current(kit.open()) == SECRET
        return "no other user of the machine reads or writes it"
    refused(kit, kit.wrong_credentials())
    return "refused"


def refused(kit: Kit, credentials: contextlib.AbstractContextManager[Callable[[], Any]]) -> None:
    """Who has these reads nothing, or at least changes nothing; the others still do."""

    def work(open_it: Callable[[], Any]) -> None:
        store = open_it()
        with contextlib.nullcontext() if kit.is_slow else store.hold():
            store.write(BINDING, made("new"), store.read(BINDING)[1])

    with credentials as open_it:
        with pytest.raises(HaloError, match=f"^{INSTANCE}: .*{kit.refusal}") as caught:
            work(open_it)
        for secret in (SECRET, "open barley", "wrong-token", "TheToken"):
            assert secret not in str(caught.value)
    assert current(kit.open()) == SECRET
    with kit.open().hold():
        pass


@case("Expired credentials")
def expired_credentials(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> str:
    kit.open().write(BINDING, FULL, None)
    credentials = kit.expired_credentials()
    if credentials is None:
        return "there are none"
    refused(kit, credentials)
    return {
        "vault_file": "the password before ``ansible-vault rekey`` is refused",
        "sops": "the key before ``sops updatekeys`` is refused",
        "pass": "writes are refused, and GnuPG still reads",
    }.get(kit.title, "refused")


@case("Garbage in the store")
def garbage(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> str:
    store = kit.open()
    store.write(BINDING, FULL, None)
    whole = kit.raw()

    def is_refused(match: str) -> str:
        for ask in (lambda: kit.open().read(BINDING), lambda: kit.open().names()):
            with pytest.raises(HaloError, match=f"^{INSTANCE}: {match}") as caught:
                ask()
            assert SECRET not in str(caught.value)
        return str(caught.value)

    not_ours = r".*(is not what this store writes|not encrypted|cannot be decrypted|failed with exit status 1)"
    kit.replace("garbage")
    is_refused(not_ours)
    if isinstance(whole, bytes):
        for damaged in (b"", whole[: len(whole) // 2]):
            kit.replace(damaged)
            is_refused(not_ours)
    else:
        for missing in ("end", "tenant", "binding", "current"):
            kit.replace({key: value for key, value in whole.items() if key != missing})
            assert "adopt: rotate" in is_refused(".*is not what this store writes, or not all of it")
    # nor is the entry of another binding or tenant taken for this one
    store.write("Another", made("theirs"), None)
    kit.replace(kit.raw("Another"))
    with pytest.raises(HaloError, match=f"binding '{BINDING}': .*holds another entry, that of 'Another' of"):
        kit.open().read(BINDING)
    kit.replace(whole)
    assert current(kit.open()) == SECRET
    return "an error, never an empty entry"


@case("Names with ``../``, blanks, 200 characters, in NFC and NFD")
def names(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> str:
    odd = ODD[:FEW] if kit.is_slow else ODD
    before = outside(kit)
    store = kit.open()
    with ThreadPoolExecutor(2 if kit.is_slow else 1) as pool:
        list(pool.map(lambda name: store.write(name, made(name or "none"), None), odd))
    again = kit.open()
    assert again.names() == sorted(odd)
    assert [current(again, name) for name in odd] == [name or "none" for name in odd]
    # spellings that are one name to Halo are one entry
    for other in ("jörg müller", unicodedata.normalize("NFD", " JÖRG MÜLLER ")):
        found, version = again.read(other)
        assert found["current"]["client_secret"] == "Jörg Müller"
    kit.open(tenant=f"{kit.place['tenant'].upper()} ").write(other, made("new"), version)
    assert current(again, "Jörg Müller") == "new"
    # a tenant's name is as odd, and its entries are its own
    for changes in [{"tenant": f"../{kit.place['tenant']}"}, {"key": str(uuid.uuid4())}]:
        stranger = kit.open(**changes)
        stranger.write("-rf", made(str(changes)), None)
        assert (stranger.names(), current(stranger, "-rf")) == (["-rf"], str(changes))
    # a key stands for address and name
    assert current(kit.open(**changes, instance="https://new.example.com", tenant=None), "-rf") == str(changes)
    assert len(again.names()) == len(odd)
    assert outside(kit) == before
    return "an entry of its own each"


def outside(kit: Kit) -> list[Path]:
    """What lies beside the store."""
    return sorted(path for path in kit.folder.parent.iterdir() if path != kit.folder)
