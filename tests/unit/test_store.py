# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stores in files, and the lock: names, modes, what a crash or a full disk leaves, and who may be at work."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.plugin_utils import store as stores
from ansible_collections.haloops.halo.plugins.plugin_utils.store import FileStore, Lock, safe

TENANT = "https://acme.example.com acme"
SECRET = "5a37c9c2-0d5e-4b0e-9a3e-7c1f0b8d2e11-9e0c7f64-2a55-4d7b-8f0a-1b2c3d4e5f60"
FULL = entry({"current": {"client_secret": SECRET, "client_id": "c"}, "origin": "created"})
ODD = [
    "",
    ".",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a b",
    "a  b",
    "a_b",
    "a\nb",
    "a\0b",
    "Jörg Müller",
    "Jorg Muller",
    "日本語",
    "\u202eevil",
    "x" * 300,
    "x" * 301,
    "-rf",
    "~",
    "$HOME",
    "con.yml",
    ".hidden",
]


def modes(folder: Path) -> set[tuple[str, int]]:
    return {
        ("folder" if path.is_dir() else "file", stat.S_IMODE(path.stat().st_mode))
        for path in [folder, *folder.rglob("*")]
    }


def python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own: one that forks, or is to be killed."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def plain(folder: Path, tenant: str = TENANT) -> FileStore:
    return FileStore(str(folder / "store"), tenant, None)


def vault(*secrets: tuple[str, str]) -> VaultLib:
    return VaultLib([(vault_id, VaultSecret(password.encode())) for vault_id, password in secrets])


def vaulted(folder: Path, *secrets: tuple[str, str]) -> FileStore:
    return FileStore(str(folder / "store"), TENANT, vault(*(secrets or [("default", "open sesame")])))


# Names


def test_every_text_has_a_file_name_of_its_own() -> None:
    assert len({safe(name).casefold() for name in ODD}) == len(ODD)


@pytest.mark.parametrize("number", range(len(ODD)))
def test_a_file_name_stays_in_its_folder(number: int, tmp_path: Path) -> None:
    name = ODD[number]
    found = safe(name)
    assert found.isascii()
    assert os.path.basename(found) == found
    assert not found.startswith((".", "-"))
    assert len(found) <= 100
    # whole names that differ from tenant to tenant, and names of bindings, alike
    store = plain(tmp_path, tenant=name)
    store.write(name, FULL)
    assert store.read(name) == FULL
    inside = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(inside) == 1
    assert inside[0].parent.parent == tmp_path / "store"


def test_a_text_that_cannot_be_encoded_has_a_file_name_too() -> None:
    assert safe("\udc80") != safe("\udc81")


def test_a_file_name_can_be_recognised() -> None:
    assert safe("Ansible integration").startswith("ansible_integration-")


def test_texts_that_are_one_name_to_halo_are_one_file() -> None:
    assert safe("Ansible Integration ") == safe("ansible integration")


def test_tenants_and_bindings_do_not_get_into_each_others_way(tmp_path: Path) -> None:
    for tenant in ("https://a.example.com", "https://a.example.com b"):
        for binding in ("one", "o ne", "two"):
            plain(tmp_path, tenant).write(binding, entry({"current": {"client_secret": f"{tenant} {binding}"}}))
    for tenant in ("https://a.example.com", "https://a.example.com b"):
        for binding in ("one", "o ne", "two"):
            assert plain(tmp_path, tenant).read(binding)["current"]["client_secret"] == f"{tenant} {binding}"
    assert plain(tmp_path, "https://b.example.com").read("one") == entry(None)


# Files


def test_what_is_written_is_read_and_only_its_owner_can(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        plain(tmp_path).write("Ansible integration", FULL)
    finally:
        os.umask(before)
    assert plain(tmp_path).read("Ansible integration") == FULL
    assert modes(tmp_path / "store") == {("folder", 0o700), ("file", 0o600)}


def test_a_file_says_whose_it_is(tmp_path: Path) -> None:
    plain(tmp_path).write("Jörg", FULL)
    told = yaml.safe_load(Path(plain(tmp_path).path("Jörg")).read_text(encoding="utf-8"))
    assert (told["tenant"], told["binding"]) == (TENANT, "Jörg")


def test_a_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    FileStore("~/store", TENANT, None).write("one", FULL)
    assert plain(tmp_path).read("one") == FULL


def test_a_file_that_is_there_is_replaced_never_changed(tmp_path: Path) -> None:
    store = plain(tmp_path)
    store.write("one", FULL)
    path = Path(store.path("one"))
    path.chmod(0o644)
    with path.open("rb") as before:
        store.write("one", entry({"current": {"client_secret": "new"}}))
        assert SECRET.encode() in before.read()
    assert modes(tmp_path / "store") == {("folder", 0o700), ("file", 0o600)}
    assert store.read("one")["current"]["client_secret"] == "new"


def calls(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    made: list[str] = []
    for name in names:
        real = getattr(os, name)

        def noted(*args: Any, name: str = name, real: Any = real, **more: Any) -> Any:
            kind = "folder" if name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode) else ""
            made.append(f"{name} {kind}".strip())
            return real(*args, **more)

        monkeypatch.setattr(stores.os, name, noted)
    return made


def test_the_new_file_is_on_the_disk_before_it_takes_the_place_of_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain(tmp_path).write("one", FULL)
    made = calls(monkeypatch, "fsync", "replace")
    plain(tmp_path).write("one", FULL)
    assert made == ["fsync", "replace", "fsync folder"]


def test_new_folders_are_on_the_disk_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = calls(monkeypatch, "mkdir", "fsync", "replace")
    plain(tmp_path).write("one", FULL)
    assert made == ["mkdir", "fsync folder"] * 2 + ["fsync", "replace", "fsync folder"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_stops_in_between_leaves_the_old_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    store = plain(tmp_path)
    store.write("one", FULL)

    def fails(*_args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(stores.os, step, fails)
        with pytest.raises(KeyboardInterrupt):
            store.write("one", entry({"current": {"client_secret": "new"}}))
    assert store.read("one") == FULL
    assert [path.name for path in Path(store.path("one")).parent.iterdir()] == [Path(store.path("one")).name]


# Dies between writing a draft and giving it its name.
DEATH = """
import os, signal, sys
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.plugin_utils.store import FileStore
os.replace = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
FileStore(sys.argv[1], sys.argv[2], None).write("one", entry({"current": {"client_secret": "new"}}))
"""


def test_drafts_of_killed_runs_do_not_pile_up(tmp_path: Path) -> None:
    store = plain(tmp_path)
    for _unused in range(3):
        assert python(DEATH, str(tmp_path / "store"), TENANT).returncode == -signal.SIGKILL
    left = list(Path(store.path("one")).parent.iterdir())
    assert len(left) == 1
    assert modes(tmp_path / "store") == {("folder", 0o700), ("file", 0o600)}
    assert store.read("one") == entry(None)
    store.write("one", FULL)
    assert [str(path) for path in Path(store.path("one")).parent.iterdir()] == [store.path("one")]


@pytest.mark.parametrize(
    "content",
    [b"", b"text", b"- a\n- b\n", b"a: [", b"\x00\x01\xff\xfe", b"\x80abc", b"$ANSIBLE_VAULT;1.1;AES256\nzz\n"],
)
@pytest.mark.parametrize("make", [plain, vaulted])
def test_what_this_store_did_not_write_is_an_error_not_an_empty_entry(
    tmp_path: Path, make: Any, content: bytes
) -> None:
    store = make(tmp_path)
    store.write("one", FULL)
    Path(store.path("one")).write_bytes(content)
    with pytest.raises(HaloError, match=r"is not what this store writes|cannot be decrypted|is encrypted") as caught:
        store.read("one")
    assert store.path("one") in str(caught.value)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    store = plain(tmp_path)
    os.makedirs(store.path("one"))
    with pytest.raises(HaloError, match=r"the store could not read .*: Is a directory"):
        store.read("one")


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing can be made; root needs more than a mode to be kept out."""
    folder = tmp_path / "store"
    folder.mkdir()
    if os.geteuid() == 0:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("root that may not mount")
        yield tmp_path
        subprocess.run(["umount", str(folder)], check=True)
    else:
        folder.chmod(0o500)
        yield tmp_path
        folder.chmod(0o700)


def test_a_folder_that_cannot_be_written_is_an_error(frozen: Path) -> None:
    store = plain(frozen)
    with pytest.raises(HaloError, match=r"the store could not write .*: (Read-only file system|Permission denied)"):
        store.write("one", FULL)
    with pytest.raises(HaloError, match=r"store is not writable: (Read-only file system|Permission denied)"):
        Lock(str(frozen / "store"), TENANT).take()


def test_a_full_disk_leaves_the_old_entry(tmp_path: Path) -> None:
    store = plain(tmp_path)
    store.write("one", FULL)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))
        with pytest.raises(HaloError, match=r"the store could not write .*: File too large") as caught:
            store.write("one", entry({"current": {"client_secret": "new"}}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "new" not in str(caught.value)
    assert store.read("one") == FULL


# Vault


def test_a_vault_file_holds_nothing_that_can_be_read(tmp_path: Path) -> None:
    store = vaulted(tmp_path)
    store.write("one", FULL)
    content = Path(store.path("one")).read_bytes()
    assert content.startswith(b"$ANSIBLE_VAULT;1.1;AES256\n")
    assert SECRET.encode() not in content
    assert store.read("one") == FULL
    assert modes(tmp_path / "store") == {("folder", 0o700), ("file", 0o600)}


def test_a_vault_id_is_noted_and_the_one_that_the_run_encrypts_with_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [("prod", "one"), ("dev", "two")]
    vaulted(tmp_path, *both).write("one", FULL)
    path = Path(vaulted(tmp_path, *both).path("one"))
    assert path.read_bytes().startswith(b"$ANSIBLE_VAULT;1.2;AES256;prod\n")
    assert vaulted(tmp_path, *reversed(both)).read("one") == FULL
    monkeypatch.setenv("ANSIBLE_VAULT_ENCRYPT_IDENTITY", "dev")
    vaulted(tmp_path, *both).write("one", FULL)
    assert path.read_bytes().startswith(b"$ANSIBLE_VAULT;1.2;AES256;dev\n")
    monkeypatch.setenv("ANSIBLE_VAULT_ENCRYPT_IDENTITY", "nobody")
    with pytest.raises(HaloError, match="needs a vault secret"):
        vaulted(tmp_path, *both)


def test_without_a_vault_secret_the_alternatives_are_named(tmp_path: Path) -> None:
    for empty in (VaultLib([]), VaultLib(None)):
        with pytest.raises(HaloError) as caught:
            FileStore(str(tmp_path), TENANT, empty)
        for way in ("--vault-password-file", "--vault-id", "halo_integration_store: file", "read.yml", TENANT):
            assert way in str(caught.value)


def test_another_vault_password_does_not_open_it(tmp_path: Path) -> None:
    vaulted(tmp_path).write("one", FULL)
    with pytest.raises(HaloError, match="cannot be decrypted with the vault secrets of this run") as caught:
        vaulted(tmp_path, ("default", "wrong")).read("one")
    assert "wrong" not in str(caught.value)


def test_an_encrypted_file_in_a_plain_store(tmp_path: Path) -> None:
    vaulted(tmp_path).write("one", FULL)
    with pytest.raises(HaloError, match="is encrypted and the store is 'file'"):
        plain(tmp_path).read("one")


def test_a_plain_file_is_taken_over_into_a_vault(tmp_path: Path) -> None:
    plain(tmp_path).write("one", FULL)
    store = vaulted(tmp_path)
    assert store.read("one") == FULL
    store.write("one", FULL)
    assert SECRET.encode() not in Path(store.path("one")).read_bytes()


# The lock


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    return Lock(str(tmp_path / "store"), TENANT)


def lock_file(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "store").iterdir()
    return found


def held_by(tmp_path: Path, **holder: Any) -> None:
    """A lock that some run holds."""
    Lock(str(tmp_path / "store"), TENANT).take()
    path = lock_file(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **holder}))


def test_a_run_holds_the_lock_until_it_gives_it_back(lock: Lock, tmp_path: Path) -> None:
    lock.take()
    Lock(str(tmp_path / "store"), TENANT).take()
    assert modes(tmp_path / "store") == {("folder", 0o700), ("file", 0o600)}
    lock.release()
    assert list((tmp_path / "store").iterdir()) == []
    lock.release()
    lock.take()


def test_each_tenant_has_a_lock_of_its_own(lock: Lock, tmp_path: Path) -> None:
    held_by(tmp_path, pid=1, started=stores._started(1))
    Lock(str(tmp_path / "store"), TENANT + "2").take()
    with pytest.raises(HaloError):
        lock.take()


def test_a_lock_that_is_held_by_a_living_run(lock: Lock, tmp_path: Path) -> None:
    held_by(tmp_path, pid=1, started=stores._started(1))
    with pytest.raises(
        HaloError, match=r"another run is at work on this tenant .process 1 on .* Nothing was changed"
    ) as caught:
        lock.take()
    assert TENANT in str(caught.value)
    lock.release()
    with pytest.raises(HaloError):
        lock.take()


def dead() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.parametrize(
    "holder",
    [
        {"pid": "dead"},
        # a number that another process has got since
        {"pid": 1, "started": "17"},
        {"host": "elsewhere.example.com", "age": 3700},
        {"pid": 0},
    ],
)
def test_a_dead_runs_lock_is_taken_over(lock: Lock, tmp_path: Path, holder: dict[str, Any]) -> None:
    age = holder.pop("age", 0)
    held_by(tmp_path, **{**holder, **({"pid": dead()} if holder.get("pid") == "dead" else {})})
    os.utime(lock_file(tmp_path), (time.time() - age,) * 2)
    lock.take()
    assert json.loads(lock_file(tmp_path).read_text())["pid"] == os.getppid()


def test_a_zombie_is_dead(lock: Lock, tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    held_by(tmp_path, pid=child.pid)
    lock.take()
    child.wait()


def test_a_run_on_another_host_is_believed_for_an_hour(lock: Lock, tmp_path: Path) -> None:
    held_by(tmp_path, host="elsewhere.example.com", pid=dead())
    os.utime(lock_file(tmp_path), (time.time() - 3500,) * 2)
    with pytest.raises(HaloError, match=r"on elsewhere\.example\.com"):
        lock.take()


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"', "\x00"])
def test_a_lock_that_names_nobody_is_free(lock: Lock, tmp_path: Path, content: str) -> None:
    held_by(tmp_path)
    lock_file(tmp_path).write_text(content)
    lock.take()
    assert json.loads(lock_file(tmp_path).read_text())["host"] == socket.gethostname()


# Runs that a worker each takes the lock for; each run lives until all have been answered. The next round finds the lock
# of a dead run. Prints for each round who got it.
RACE = """
import os, sys, time
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.plugin_utils.store import Lock
folder, rounds, runs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for _unused in range(rounds):
    together = time.time() + 0.2
    told, tell = os.pipe()
    over, end = os.pipe()
    for _unused in range(runs):
        if os.fork() == 0:
            os.close(end)
            if os.fork() == 0:
                time.sleep(max(0, together - time.time()))
                try:
                    Lock(folder, "https://acme.example.com").take()
                    os.write(tell, b"y")
                except HaloError as error:
                    os.write(tell, b"n" if "another run" in str(error) else b"?")
                os._exit(0)
            os.wait()
            os.read(over, 1)
            os._exit(0)
    answers = b""
    while len(answers) < runs:
        answers += os.read(told, runs)
    os.close(end)
    for _unused in range(runs):
        os.wait()
    print(answers.decode())
"""


def test_of_many_runs_at_once_one_gets_the_lock(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    done = python(RACE, str(folder), "5", "8")
    assert done.stderr == ""
    assert [sorted(answers) for answers in done.stdout.split()] == [["n"] * 7 + ["y"]] * 5
    assert len(list(folder.iterdir())) == 1
