# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store ``command``: what it asks of a program, and what is special to the examples for pass and sops."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError, StaleEntry
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place, open_store
from ansible_collections.haloops.halo.plugins.plugin_utils.stores._claim import CLAIM, NoAnswer
from ansible_collections.haloops.halo.plugins.plugin_utils.stores._files import safe
from helpers.entries import BINDING, SECRET, current, made
from helpers.store_kits import INSTANCE, Command, Pass, Sops

TENANT, KEY = safe(INSTANCE), safe(BINDING)


FULL = made(
    pending={"client_secret": "pending", "made_at": "2026-01-02T03:04:05.000006+00:00", "in_flight": True},
    previous={"client_secret": "previous", "agent_id": 70000001, "agent_name": 'Jörg "=" \\ \n 日本語 \udc80'},
    outstanding={"deliver": "2026-01-02T03:04:05+00:00", "retire": [{"agent_id": "3", "made_at": None}]},
    origin="adopted",
    attempt=3,
)


def opened(command: list[str], tenant: str | None = None, **options: Any) -> Any:
    return open_store("command", Place(INSTANCE, tenant, options={"command": command, **options}))


# The program's side of it, by a program that does as it is told


@pytest.fixture
def program(tmp_path: Path) -> Any:
    """Makes a store whose program is this script; it has what it was called with in ``call``."""

    def make(script: str, **options: Any) -> Any:
        file = tmp_path / "program.py"
        file.write_text(
            "import json, os, signal, subprocess, sys, time\n"
            "verb, names = sys.argv[1], sys.argv[2:]\n"
            "given = json.load(sys.stdin) if verb == 'write' else sys.stdin.read()\n"
            f"json.dump([sys.argv, given, dict(os.environ)], open({str(tmp_path / 'call')!r}, 'w'))\n{script}\n"
        )
        return opened([sys.executable, "-S", str(file)], **options)

    return make


def called(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "call").read_text())


NOTHING = "print(json.dumps({'entry': None, 'version': None}))"


def test_how_the_program_is_called(program: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALO_CLIENT_SECRET", "own")
    monkeypatch.setenv("HALO_ACCESS_TOKEN", "own")
    monkeypatch.setenv("VAULT_OF_THE_USER", "kept")
    store = program("print(json.dumps({'entry': None, 'version': None, 'bindings': []}))")
    assert store.read(BINDING) == (entry(None), None)
    arguments, given, environment = called(tmp_path)
    assert arguments[1:] == ["read", TENANT, KEY]
    assert given == ""
    assert environment["VAULT_OF_THE_USER"] == "kept"
    assert not {"HALO_CLIENT_SECRET", "HALO_ACCESS_TOKEN"} & set(environment)
    assert store.names() == []
    assert called(tmp_path)[0][1:] == ["list", TENANT]
    store = program("print(json.dumps({'version': 'new'}))")
    assert store.write(BINDING, made(), "old") == "new"
    arguments, given, environment = called(tmp_path)
    assert arguments[1:] == ["write", TENANT, KEY]
    assert given["version"] == "old"
    assert given["entry"]["current"]["client_secret"] == SECRET
    assert (given["entry"]["binding"], given["entry"]["tenant"]) == (BINDING, INSTANCE)
    assert SECRET not in json.dumps([arguments, environment])


def test_no_shell_has_a_part_in_it(program: Any, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    program(NOTHING)
    harm = f"$(touch {tmp_path}/harm); `touch {tmp_path}/harm`"
    opened([sys.executable, str(file), harm], tenant=harm).read(harm)
    assert called(tmp_path)[0][1] == harm
    assert not (tmp_path / "harm").exists()


def test_exit_status_3_means_that_someone_else_wrote(program: Any) -> None:
    with pytest.raises(StaleEntry, match=f"binding '{BINDING}'.*Nothing was written"):
        program("sys.exit(3)").write(BINDING, made(), "old")
    with pytest.raises(HaloError, match="failed with exit status 3") as caught:
        program("sys.exit(3)").read(BINDING)
    assert not isinstance(caught.value, StaleEntry)


def test_what_the_program_complains_of_is_said_without_the_secret(program: Any) -> None:
    complaint = (
        "print('x' * 5000, file=sys.stderr); sys.exit('\\x1b[31mit is\\nlocked: ' + SAID + ' ' + SAID.upper() + '.')"
    )
    store = program(complaint.replace("SAID", "given['entry']['current']['client_secret']"))
    expected = r"write failed with exit status 1: \.\.\.x+ it is locked: \*+ \*+\.$"
    with pytest.raises(HaloError, match=expected) as caught:
        store.write(BINDING, made(), None)
    assert len(str(caught.value)) < 700
    assert str(caught.value).startswith(f"{INSTANCE}: binding '{BINDING}': ")
    assert not isinstance(caught.value, NoAnswer)
    whole = {"entry": {**made(), "tenant": INSTANCE, "binding": BINDING, "end": True}, "version": "1"}
    printed = f"print({json.dumps(whole)!r})\n"
    with pytest.raises(HaloError, match=r"locked: \*+ \*+\.$"):
        program(printed + complaint.replace("SAID", repr(SECRET))).read(BINDING)


def test_a_program_that_says_nothing(program: Any) -> None:
    with pytest.raises(HaloError, match="read failed with exit status 2: it said nothing"):
        program("sys.exit(2)").read(BINDING)


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "null",
        "[]",
        "yes",
        "\\xff",
        "[" * 99999,
        '{"entry": {}}',
        '{"entry": {}, "version": null}',
        '{"version": 1}',
    ],
)
def test_an_answer_that_is_none(program: Any, printed: str) -> None:
    with pytest.raises(HaloError, match="read ended well, and did not print what it must") as caught:
        program(f"os.write(1, {printed!r}.encode().decode('unicode_escape').encode('latin-1'))").read(BINDING)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("printed", ["{}", '{"version": null}', '{"bindings": {}}', '{"bindings": "ab"}'])
def test_answers_without_a_version_or_a_list(program: Any, printed: str) -> None:
    store = program(f"print({printed!r} if verb != 'read' else {json.dumps({'entry': None, 'version': None})!r})")
    with pytest.raises(HaloError, match="did not print what it must"):
        store.write(BINDING, made(), None)
    with pytest.raises(HaloError, match="did not print what it must"):
        store.names()


@pytest.mark.parametrize("content", [{}, {"current": None}, {**FULL, "tenant": INSTANCE, "binding": BINDING}, "a", 7])
def test_what_is_no_entry_is_not_taken_for_one(program: Any, content: Any) -> None:
    with pytest.raises(HaloError, match=f"{KEY} of .* is not what this store writes"):
        program(f"print({json.dumps({'entry': content, 'version': '1'})!r})").read(BINDING)


def test_an_entry_of_someone_else(program: Any) -> None:
    whole = {**FULL, "tenant": INSTANCE, "binding": "Other", "end": True}
    with pytest.raises(HaloError, match=f"holds another entry, that of 'Other' of {INSTANCE}"):
        program(f"print({json.dumps({'entry': whole, 'version': '1'})!r})").read(BINDING)


def test_a_program_that_does_not_end_is_ended_with_its_children(program: Any, tmp_path: Path) -> None:
    child = tmp_path / "child"
    store = program(
        f"child = subprocess.Popen(['sleep', '60']); open({str(child)!r}, 'w').write(str(child.pid)); time.sleep(60)",
        timeout=1,
    )
    started = time.monotonic()
    with pytest.raises(NoAnswer, match="did not end within 1 seconds"):
        store.names()
    assert time.monotonic() - started < 10
    end = time.monotonic() + 5
    while _runs(child.read_text()):
        assert time.monotonic() < end
        time.sleep(0.02)


def _runs(pid: str) -> bool:
    try:
        # whoever inherits it may not have noticed its end yet
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# It keeps one entry; the first time that it is asked to write, it ends in the way given, before or after it did so.
FORGETFUL = """
kept, first = KEPT, FIRST
content = open(kept).read() if os.path.exists(kept) else ''
now = json.loads(content or 'null')
if verb == 'read':
    print(json.dumps(now or {'entry': None, 'version': None}))
    sys.exit()
early = not os.path.exists(first)
open(first, 'w').close()
if early and WHEN == 'before':
    os.kill(os.getpid(), signal.SIGKILL)
if given['version'] != (now or {}).get('version'):
    sys.exit(3)
new = {'entry': given['entry'], 'version': str(int(given['version'] or 0) + 1)}
open(kept, 'w').write(json.dumps(new))
if early and WHEN == 'after':
    os.kill(os.getpid(), signal.SIGKILL)
print(json.dumps({'version': new['version']} if not (early and WHEN == 'mute') else []))
"""


@pytest.mark.parametrize("when", ["before", "after", "mute"])
def test_a_write_whose_answer_is_lost_is_looked_for(program: Any, tmp_path: Path, when: str) -> None:
    values = {"KEPT": str(tmp_path / "kept"), "FIRST": str(tmp_path / "first"), "WHEN": when}
    script = FORGETFUL
    for name, value in values.items():
        script = script.replace(name, repr(value))
    store = program(script)
    assert store.write(BINDING, made(), None) == "1"
    assert current(store) == SECRET


def test_a_program_that_kills_itself_each_time(program: Any) -> None:
    with pytest.raises(NoAnswer, match="read was killed by signal 9"):
        program("os.kill(os.getpid(), signal.SIGKILL)").read(BINDING)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["surely-not-here"], "there is no program 'surely-not-here'"),
        (["surely not here.py"], "The option command is a list"),
        (["stores/pass.py"], "has a relative path: stores/pass.py"),
        (["/surely/not/here"], "there is no program '/surely/not/here'"),
        (["/etc/passwd"], "there is no program '/etc/passwd'"),
        ([], "there is no program ''"),
    ],
)
def test_a_program_that_is_not_there(command: list[str], expected: str) -> None:
    with pytest.raises(HaloError, match=expected) as caught:
        opened(command)
    assert "Nothing was changed" in str(caught.value)


def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    file = tmp_path / "program"
    file.write_text("#!/surely/not/here\n")
    file.chmod(0o700)
    with pytest.raises(HaloError, match="program cannot be started: No such file"):
        opened([str(file)]).read(BINDING)


def test_options() -> None:
    with pytest.raises(HaloError, match="command"):
        open_store("command", Place(INSTANCE))
    with pytest.raises(HaloError, match=r"commands is not an option; did you mean command\?"):
        open_store("command", Place(INSTANCE, options={"commands": ["true"]}))
    with pytest.raises(HaloError, match="timeout must be a whole number"):
        opened(["true"], timeout="long")


# The examples

examples = pytest.mark.parametrize("kit", [Pass, Sops], indirect=True, ids=lambda kit: kit.title)


@examples
def test_a_folder_that_is_no_store(kit: Command, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    where = folder / "elsewhere"
    monkeypatch.setenv("PASSWORD_STORE_DIR", str(where))
    for _absent_then_empty in range(2):
        store = opened([part.replace(str(kit.folder), str(where)) for part in kit.command])
        with pytest.raises(HaloError, match=r"is no password store|has no \.sops\.yaml"):
            store.read(BINDING)
        where.mkdir(exist_ok=True)
        assert not list(where.iterdir())


@examples
def test_no_argument_no_environment_and_no_file_holds_a_secret(kit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = kit.spy(monkeypatch)
    store = kit.open()
    with store.hold():
        store.write(BINDING, FULL, None)
        assert store.read(BINDING)[0] == {**FULL, "instance": INSTANCE, "binding": BINDING}
    said = calls.read_text()
    assert KEY in said
    stored = b"".join(path.read_bytes() for path in kit.folder.rglob("*") if path.is_file())
    for text in (SECRET, "J\\u00f6rg"):
        assert text not in said
        assert text.encode() not in stored
    inserts = [call[0] for call in map(json.loads, said.splitlines()) if "insert" in call[0]]
    assert all(arguments[-1].endswith(".draft") for arguments in inserts), "pass writes in place"
    assert kit.title != "sops" or '"SOPS_DISABLE_VERSION_CHECK": "1"' in said
    assert CLAIM not in kit.open().names()
