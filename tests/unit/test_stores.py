# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stores in files, which store is taken, and where it is. What every store must do is in test_conformance.py."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.parsing import vault as ansible_vault
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError, StaleEntry, TenantBusy
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.plugin_utils import stores
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place, _files, from_variables, open_store
from ansible_collections.haloops.halo.plugins.plugin_utils.stores._files import is_lost_with, is_mount, safe
from helpers.entries import BINDING, FULL, SECRET, current, label

INSTANCE = "https://acme.example.com"
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
    "x" * 200,
    "x" * 199 + "y",
    "-rf",
    "~",
    "$HOME",
    "con.yml",
    ".run.lock",
    "a\udc80",
    "a\udc81",
    "!!python/none",
    "yes",
    "2026-01-01",
]


def python(script: str, *arguments: Any) -> str:
    """Run a script in a process of its own, for it forks and kills; gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# What a script needs to open the store of a kit: `open_again` and its arguments.
OPEN = """
import json, os, signal, sys
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place, open_store
name, place = sys.argv[1], json.loads(sys.argv[2])
secrets = [(key, VaultSecret(value.encode())) for key, value in place.pop("secrets")]
def open_again():
    return open_store(name, Place(**place, vault=lambda: VaultLib(secrets)))
def made(secret, **more):
    return entry({"current": {"client_secret": secret}, **more})
"""


@dataclasses.dataclass
class Kit:
    """One kind of store to test, with nothing in it.

    :param place: where it is, without its vault
    :param credentials: what is needed to open it: vault passwords by vault ID
    """

    name: str
    place: dict[str, Any]
    credentials: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def open(self, credentials: list[tuple[str, str]] | None = None, **changes: Any) -> Any:
        secrets = [(key, VaultSecret(value.encode())) for key, value in credentials or self.credentials]
        return open_store(self.name, Place(**{**self.place, **changes}, vault=lambda: VaultLib(secrets)))

    def run(self, script: str, *arguments: Any) -> str:
        return python(OPEN + script, self.name, json.dumps({**self.place, "secrets": self.credentials}), *arguments)

    @property
    def folder(self) -> Path:
        return Path(self.place["folder"])

    def file(self, name: str = BINDING) -> Path:
        return Path(self.open().path(name))


KITS: dict[str, Callable[[Path], Kit]] = {
    "file": lambda folder: Kit("file", {"instance": INSTANCE, "tenant": "acme", "folder": str(folder / "store")}),
    "vault_file": lambda folder: Kit(
        "vault_file",
        {"instance": INSTANCE, "tenant": "acme", "folder": str(folder / "store")},
        [("default", "open sesame")],
    ),
}
FILE_STORES = ("file", "vault_file")


@pytest.fixture(params=FILE_STORES)
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Kit:
    return KITS[request.param](tmp_path)


def test_every_store_in_files_is_tested() -> None:
    in_files = {name for name in stores.store_names() if issubclass(stores.store_class(name), _files.FileStore)}
    assert set(KITS) == in_files


def test_the_others(files: Kit) -> None:
    for name in ("One", "two", "three"):
        files.open().write(name, entry({"current": label(name)}), None)
    found = files.open().others([" one", "TWO ", "four"])
    assert found == {"three": files.open().read("three")[0]}
    assert files.open().others(["one", "two", "three"]) == {}


def test_an_entry_of_strings_that_are_more_than_strings(files: Kit) -> None:
    class Tagged(str):
        pass

    files.open().write(Tagged("one"), entry({"current": label(Tagged("tagged"))}), None)
    assert current(files.open(), "one") == "tagged"


def test_half_a_character_in_a_name_makes_a_name_of_its_own(files: Kit) -> None:
    for name in ("a\udc80", "a\udc81"):
        files.open().write(name, entry({"current": label(ascii(name))}), None)
    assert [current(files.open(), name) for name in files.open().names()] == ["'a\\udc80'", "'a\\udc81'"]


def test_a_child_that_a_holder_leaves_behind_does_not_hold(files: Kit) -> None:
    script = """
with open_again().hold():
    child = os.fork()
    if child == 0:
        signal.pause()
with open_again().hold():
    print("free")
os.kill(child, signal.SIGKILL)
"""
    assert files.run(script) == "free\n"


# Which store, and where


@pytest.mark.parametrize(
    ("name", "meant"), [("valt_file", "did you mean vault_file"), ("../x", ""), ("_files", ""), ("__init__", "")]
)
def test_a_misspelt_store_lists_those_that_there_are(name: str, meant: str) -> None:
    with pytest.raises(HaloError, match="halo_integration_store must be ") as caught:
        open_store(name, Place(INSTANCE))
    assert all(store in str(caught.value) for store in (*stores.store_names(), meant))


def test_an_option_that_the_store_does_not_know(files: Kit) -> None:
    with pytest.raises(HaloError, match=r"halo_integration_store_options\.surely_not_an_option is not an option"):
        files.open(options={"surely_not_an_option": SECRET})
    with pytest.raises(HaloError, match="halo_integration_store_options must be a dictionary"):
        files.open(options=["ephemeral"])


def test_a_place_does_not_show_what_is_secret() -> None:
    assert SECRET not in repr(Place(INSTANCE, options={"token": SECRET}))


class Templar:
    """Of templates as much as a test needs."""

    def template(self, value: Any) -> Any:
        return value.replace("{{ word }}", "acme") if isinstance(value, str) else value


def found(variables: dict[str, Any] | None = None, **given: Any) -> tuple[str, Place]:
    known = {"halo_url": INSTANCE, "inventory_dir": "/inventory", "omit": "__omit__", **(variables or {})}
    return from_variables(known, None, templar=Templar(), given=given)


def test_without_any_variable_the_store_lies_beside_the_inventory() -> None:
    name, place = found()
    assert name == "vault_file"
    assert dataclasses.replace(place, vault=None) == Place(
        INSTANCE, None, "/inventory/halo_credentials", {}, None, None
    )
    assert place.owner == INSTANCE


def test_an_option_goes_before_a_variable_and_that_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALO_URL", "https://environment.example.com")
    monkeypatch.setenv("HALO_TENANT", "environment")
    assert found({"halo_url": ""})[1].owner == "https://environment.example.com environment"
    variables = {
        "halo_tenant": "{{ word }}",
        "halo_integration_store": "file",
        "halo_integration_store_dir": "{{ word }}",
        "halo_integration_store_key": "{{ word }}",
        "halo_integration_store_options": {"ephemeral": True},
    }
    name, place = found(variables, store="", store_dir=None, store_options={})
    assert (name, place.instance, place.tenant) == ("file", INSTANCE, "acme")
    assert (place.folder, place.key, place.owner) == ("/inventory/acme", "acme", "acme")
    assert place.options == {"ephemeral": True}
    name, place = found(
        variables,
        store="vault_file",
        store_dir="/given",
        store_key="key",
        store_options={"ephemeral": False},
        halo_url="https://given.example.com/api/",
        halo_tenant="given",
    )
    assert (name, place.instance, place.tenant) == ("vault_file", "https://given.example.com", "given")
    assert (place.folder, place.owner, place.options) == ("/given", "key", {"ephemeral": False})


def test_what_is_empty_or_omitted_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALO_TENANT", "")
    empty = dict.fromkeys(stores.VARIABLES.values(), "  ") | {"halo_url": INSTANCE, "halo_tenant": "__omit__"}
    name, place = found(empty)
    assert (name, place.owner, place.folder) == ("vault_file", INSTANCE, "/inventory/halo_credentials")


def test_an_address_is_needed() -> None:
    with pytest.raises(HaloError, match="halo_url is missing"):
        found({"halo_url": None})


@pytest.mark.parametrize("inventory", [None, "", "None"])
def test_without_an_inventory_folder_the_store_needs_an_absolute_one(
    inventory: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"inventory_dir": inventory}
    monkeypatch.setenv("HOME", "/absolute/home")
    assert found(variables, store_dir="/absolute")[1].folder == "/absolute"
    assert found(variables, store_dir="~/store")[1].folder == "/absolute/home/store"
    with pytest.raises(HaloError, match="halo_integration_store_dir is relative"):
        found(variables, store_dir="relative")
    # a store that needs none is not disturbed
    assert found(variables)[1].folder is None


@pytest.mark.parametrize("name", FILE_STORES)
@pytest.mark.parametrize("folder", [None, "", "relative", "./relative"])
def test_a_file_store_without_a_folder_asks_for_one(name: str, folder: str | None) -> None:
    with pytest.raises(HaloError, match="halo_integration_store_dir"):
        open_store(name, Place(INSTANCE, folder=folder))


def test_the_vault_is_that_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = VaultLib([("default", VaultSecret(b"open sesame"))])
    monkeypatch.setattr(ansible_vault, "VaultSecretsContext", None, raising=False)
    context = SimpleNamespace(current=lambda optional: SimpleNamespace(secrets=vault.secrets))
    monkeypatch.setattr(ansible_vault, "VaultSecretsContext", context, raising=False)
    variables = {"halo_url": INSTANCE, "halo_integration_store_dir": str(tmp_path / "store")}
    loader = SimpleNamespace(_vault=vault)
    name, place = from_variables(variables, loader, templar=Templar(), given={})
    store: Any = open_store(name, place)
    store.write(BINDING, FULL, None)
    assert SECRET.encode() in vault.decrypt(Path(store.path(BINDING)).read_bytes())


# Files: names and modes


def modes(folder: Path) -> set[tuple[str, int]]:
    return {
        ("folder" if path.is_dir() else "file", stat.S_IMODE(path.stat().st_mode))
        for path in [folder, *folder.rglob("*")]
    }


def left_in(folder: Path) -> list[str]:
    """What lies there, apart from locks."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_every_text_has_a_file_name_of_its_own_that_stays_in_its_folder() -> None:
    names = [safe(name) for name in ODD]
    assert len({name.casefold() for name in names}) == len(ODD)
    for name in names:
        assert name.isascii()
        assert os.path.basename(name) == name
        assert not name.startswith((".", "-"))
        assert len(name) <= 80
    assert safe(BINDING).startswith("ticket_integration-")


def test_files_lie_in_their_tenants_folder_and_only_their_owner_can_read_them(files: Kit) -> None:
    before = os.umask(0o000)
    try:
        with files.open().hold():
            files.open().write("../../" + BINDING, FULL, None)
    finally:
        os.umask(before)
    (tenant,) = files.folder.iterdir()
    assert tenant.name == safe("acme.example.com acme")
    assert left_in(tenant) == [safe("../../" + BINDING) + ".yml"]
    assert modes(files.folder) == {("folder", 0o700), ("file", 0o600)}


def test_an_address_with_and_without_tls_is_one_tenant(files: Kit) -> None:
    files.open().write(BINDING, FULL, None)
    assert current(files.open(instance=INSTANCE.replace("https", "http"))) == SECRET


def test_reading_makes_nothing(files: Kit) -> None:
    files.open().read(BINDING)
    assert files.open().names() == []
    assert not files.folder.exists()


def test_a_plain_file_says_whose_it_is_and_ends_with_a_mark(tmp_path: Path) -> None:
    kit = KITS["file"](tmp_path)
    kit.open().write("Jörg", FULL, None)
    content = kit.file("Jörg").read_text(encoding="utf-8")
    written = yaml.safe_load(content)
    assert (written["tenant"], written["binding"]) == (f"{INSTANCE} acme", "Jörg")
    assert content.splitlines()[-1] == "end: true"


# Files: durable


def calls(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    made: list[str] = []
    for name in names:
        real = getattr(os, name)

        def noted(*args: Any, name: str = name, real: Any = real, **more: Any) -> Any:
            kind = "folder" if name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode) else ""
            made.append(f"{name} {kind}".strip())
            return real(*args, **more)

        monkeypatch.setattr(os, name, noted)
    return made


def test_what_is_new_is_on_the_disk_before_it_takes_the_place_of_the_old(
    files: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = calls(monkeypatch, "mkdir", "fsync", "replace")
    version = files.open().write(BINDING, FULL, None)
    once = ["fsync", "replace", "fsync folder"]
    assert made == ["mkdir", "fsync folder"] * 2 + once
    files.open().write(BINDING, FULL, version)
    assert made[4:] == once * 2


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(5, "Input/output error")])
def test_what_stops_in_between_leaves_the_old_entry(
    files: Kit, monkeypatch: pytest.MonkeyPatch, step: str, error: Any
) -> None:
    store = files.open()
    version = store.write(BINDING, FULL, None)

    def fails(*_args: Any, **_more: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fails)
        with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else HaloError):
            store.write(BINDING, entry({"current": label("new")}), version)
    assert store.read(BINDING)[1] == version
    assert left_in(files.file().parent) == [files.file().name]


def test_a_file_that_is_there_is_replaced_never_changed(files: Kit) -> None:
    version = files.open().write(BINDING, FULL, None)
    before = files.file().read_bytes()
    with files.file().open("rb") as opened:
        files.open().write(BINDING, entry({"current": label("new")}), version)
        assert opened.read() == before


def test_a_full_disk_leaves_the_old_entry(files: Kit) -> None:
    store = files.open()
    version = store.write(BINDING, FULL, None)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))
        with pytest.raises(HaloError, match=r"the store could not write .*: File too large") as caught:
            store.write(BINDING, entry({"current": label("brandnew")}), version)
        # who it is could not be noted, and that is no reason not to work
        with files.open().hold():
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "brandnew" not in str(caught.value)
    assert store.read(BINDING)[1] == version


# Killed before its draft gets its name.
DRAFT = """
os.replace = lambda *args, **more: os.kill(os.getpid(), signal.SIGKILL)
for _unused in range(3):
    if os.fork() == 0:
        open_again().write("one", made("new"), None)
    os.wait()
"""


def test_drafts_of_killed_runs_do_not_pile_up(files: Kit) -> None:
    files.run(DRAFT)
    tenant = files.file().parent
    assert len(left_in(tenant)) == 1
    assert modes(files.folder) == {("folder", 0o700), ("file", 0o600)}
    # what other systems leave in a shared folder is no entry either
    (tenant / "._one.yml").write_bytes(b"\0")
    assert files.open().names() == []
    (tenant / "._one.yml").unlink()
    files.open().write("one", FULL, None)
    assert left_in(tenant) == [files.file("one").name]


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing can be made; root needs more than a mode to be kept out."""
    folder = tmp_path / "store"
    folder.mkdir()
    if os.geteuid() == 0:
        _mount("-t", "tmpfs", "-o", "ro", "none", str(folder))
        yield tmp_path
        subprocess.run(["umount", str(folder)], check=True)
    else:
        folder.chmod(0o500)
        yield tmp_path
        folder.chmod(0o700)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("who runs the tests may not mount")


def test_a_folder_that_cannot_be_written_is_an_error(frozen: Path) -> None:
    store = KITS["file"](frozen).open()
    with pytest.raises(HaloError, match=r"the store could not write .*: (Read-only file system|Permission denied)"):
        store.write(BINDING, FULL, None)
    with (
        pytest.raises(HaloError, match=r"the store could not lock .*: (Read-only file system|Permission denied)"),
        store.hold(),
    ):
        pass


def test_a_file_where_a_folder_should_be_is_an_error(files: Kit) -> None:
    files.folder.write_text("")
    with pytest.raises(HaloError, match=r"the store could not write .*: Not a directory"):
        files.open().write(BINDING, FULL, None)
    with pytest.raises(HaloError, match=r"the store could not read .*: Not a directory"):
        files.open().read(BINDING)


# Files: what the store did not write

GARBAGE = [
    b"",
    b"\n",
    b"text",
    b"- a\n- b\n",
    b"a: [",
    b"[" * 1000,
    b"\x00\x01\xff\xfe",
    b"\x80abc",
    b"end: true\n",
    b"2026-99-99",
    b"!!python/object/apply:os.mkdir [PLANTED]\n",
    b"$ANSIBLE_VAULT;1.1;AES256\nzz\n",
    b"$ANSIBLE_VAULT;1.1;AES256\n",
    b"$ANSIBLE_VAULT\n",
]


@pytest.mark.parametrize("number", range(len(GARBAGE)))
def test_what_this_store_did_not_write_is_an_error_not_an_empty_entry(files: Kit, number: int) -> None:
    planted = files.folder.parent / "planted"
    content = GARBAGE[number].replace(b"PLANTED", str(planted).encode())
    version = files.open().write(BINDING, FULL, None)
    files.file().write_bytes(content)
    expected = r"is not what this store writes|cannot be decrypted|is encrypted, and|is not encrypted, and"
    for work in (lambda store: store.read(BINDING), lambda store: store.names()):
        with pytest.raises(HaloError, match=expected) as caught:
            work(files.open())
        assert str(files.file()) in str(caught.value)
        assert INSTANCE in str(caught.value)
    with pytest.raises(StaleEntry):
        files.open().write(BINDING, FULL, version)
    assert files.file().read_bytes() == content
    assert not planted.exists()


def plant(kit: Kit, content: bytes) -> None:
    """Put plain content into the file of a binding, as the store would."""
    kit.file().write_bytes(kit.open()._seal(content))


def plain_content(kit: Kit) -> bytes:
    content: bytes = kit.open()._unseal("", kit.file().read_bytes())
    return content


def test_a_truncated_file_is_an_error_wherever_it_ends(files: Kit) -> None:
    files.open().write(BINDING, FULL, None)
    stored, whole = files.file().read_bytes(), plain_content(files)
    for length in [*range(0, len(stored), 97), *range(len(stored) - 12, len(stored) - 1)]:
        files.file().write_bytes(stored[:length])
        with pytest.raises(HaloError, match=r"not what this store writes|cannot be decrypted|is not encrypted"):
            files.open().read(BINDING)
    for length in (len(whole) - 2, whole.index(b"outstanding"), whole.index(b"previous")):
        plant(files, whole[:length])
        with pytest.raises(HaloError, match="not what this store writes"):
            files.open().read(BINDING)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"client_secret: " + SECRET.encode(), b"client_secret:"),
        (b"end: true", b"end: false"),
        (b"end: true", b"end: 1"),
        (b"current:", b"curent:"),
        (b"tenant: ", b"tenants: "),
        (b"binding: ", b"bindings: "),
    ],
)
def test_an_entry_that_lacks_something_is_an_error(files: Kit, old: bytes, new: bytes) -> None:
    files.open().write(BINDING, FULL, None)
    whole = plain_content(files)
    plant(files, whole.replace(old, new))
    with pytest.raises(HaloError, match="not what this store writes") as caught:
        files.open().read(BINDING)
    assert "adopt: rotate" in str(caught.value)
    plant(files, whole)
    assert current(files.open()) == SECRET


def test_the_entry_of_another_binding_or_tenant_is_an_error(files: Kit) -> None:
    files.open().write(BINDING, FULL, None)
    files.file("Other").write_bytes(files.file().read_bytes())
    with pytest.raises(HaloError, match=rf"holds another entry, that of '{BINDING}' of {INSTANCE} acme") as caught:
        files.open().read("Other")
    assert "binding 'Other'" in str(caught.value)
    stranger = files.open(tenant="other")
    stranger.write(BINDING, FULL, None)
    Path(stranger.path(BINDING)).write_bytes(files.file().read_bytes())
    for work in (lambda: stranger.read(BINDING), stranger.names):
        with pytest.raises(HaloError, match="holds another entry"):
            work()


# Files: what others put there


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file of the user's that has nothing to do with it."""
    path = tmp_path / "target"
    path.write_text("mine")
    path.chmod(0o600)
    return path


def work_on(store: Any) -> list[Callable[[], Any]]:
    def hold() -> None:
        with store.hold():
            pass

    return [lambda: store.read(BINDING), lambda: store.write(BINDING, FULL, None), hold]


PLANTS: dict[str, Callable[[Path, Path], None]] = {
    "symbolic link": lambda at, target: at.symlink_to(target),
    "dangling link": lambda at, target: at.symlink_to(target.with_name("nowhere")),
    "hard link": lambda at, target: at.hardlink_to(target),
    "pipe": lambda at, target: os.mkfifo(at, 0o600),
    "folder": lambda at, target: at.mkdir(0o700),
}


@pytest.mark.parametrize("kind", PLANTS)
def test_what_is_planted_at_an_entrys_name_is_neither_read_nor_written(files: Kit, target: Path, kind: str) -> None:
    files.file().parent.mkdir(0o700, parents=True)
    PLANTS[kind](files.file(), target)
    read, write, _hold = work_on(files.open())
    for work in (read, write):
        with pytest.raises(HaloError, match=r"symbolic link|hard link|is not a file|Is a directory") as caught:
            work()
        assert str(files.file()) in str(caught.value)
    assert target.read_text() == "mine"
    assert not target.with_name("nowhere").exists()


@pytest.mark.parametrize("kind", sorted(set(PLANTS) - {"folder"}))
def test_what_is_planted_at_a_drafts_name_is_not_written(files: Kit, target: Path, kind: str) -> None:
    files.file().parent.mkdir(0o700, parents=True)
    PLANTS[kind](files.file().with_name(f".{files.file().name}.draft"), target)
    files.open().write(BINDING, FULL, None)
    assert current(files.open()) == SECRET
    assert left_in(files.file().parent) == [files.file().name]
    assert target.read_text() == "mine"
    assert not target.with_name("nowhere").exists()


def test_a_draft_whose_name_is_taken_meanwhile_is_not_written(
    files: Kit, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.file().parent.mkdir(0o700, parents=True)
    draft = files.file().with_name(f".{files.file().name}.draft")
    real = os.unlink
    for kind in ("symbolic link", "hard link"):

        def late(*args: Any, kind: str = kind, **more: Any) -> None:
            PLANTS[kind](draft, target)

        with monkeypatch.context() as patched:
            patched.setattr(os, "unlink", late)
            with pytest.raises(HaloError, match="File exists"):
                files.open().write(BINDING, FULL, None)
        real(draft)
    assert target.read_text() == "mine"
    assert left_in(files.file().parent) == []


@pytest.mark.parametrize("kind", PLANTS)
@pytest.mark.parametrize("lock", [_files.RUN_LOCK, _files.WRITE_LOCK])
def test_what_is_planted_at_a_locks_name_is_not_written(files: Kit, target: Path, kind: str, lock: str) -> None:
    files.file().parent.mkdir(0o700, parents=True)
    PLANTS[kind](files.file().with_name(lock), target)
    _read, write, hold = work_on(files.open())
    with pytest.raises(HaloError, match=r"symbolic link|hard link|is not a file|Is a directory"):
        (hold if lock == _files.RUN_LOCK else write)()
    assert target.read_text() == "mine"
    assert not target.with_name("nowhere").exists()


def test_a_tenants_folder_that_is_a_link_is_not_followed(files: Kit, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(0o700)
    files.folder.mkdir()
    files.file().parent.symlink_to(elsewhere)
    for work in work_on(files.open()):
        with pytest.raises(HaloError, match="symbolic link"):
            work()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o720, 0o702])
def test_a_folder_that_others_can_write_is_refused(files: Kit, mode: int) -> None:
    files.file().parent.mkdir(parents=True)
    files.file().parent.chmod(mode)
    for work in work_on(files.open()):
        with pytest.raises(HaloError, match=f"can be written by other users .mode 0{mode:o}.*chmod go-w /") as caught:
            work()
        assert str(files.file().parent) in str(caught.value)


def test_a_file_that_others_can_write_is_refused(files: Kit) -> None:
    version = files.open().write(BINDING, FULL, None)
    for mode in (0o620, 0o602):
        files.file().chmod(mode)
        for work in (lambda: files.open().read(BINDING), lambda: files.open().write(BINDING, FULL, version)):
            with pytest.raises(HaloError, match=rf"can be written by other users .mode 0{mode:o}.*chmod go-w /"):
                work()
    # a checkout of a repository has this mode, and nobody else can have changed it
    files.file().chmod(0o644)
    assert current(files.open()) == SECRET
    files.open().write(BINDING, FULL, version)
    assert stat.S_IMODE(files.file().stat().st_mode) == 0o600


def test_what_belongs_to_another_user_is_refused_unless_that_is_root(
    files: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.open().write(BINDING, FULL, None)
    real = os.fstat
    owner: dict[bool, int] = {}

    def owned(handle: int) -> Any:
        found = real(handle)
        number = owner.get(stat.S_ISDIR(found.st_mode), found.st_uid)
        return os.stat_result((*found[:4], number, *found[5:10]))

    monkeypatch.setattr(os, "fstat", owned)
    for is_folder, path in ((True, files.file().parent), (False, files.file())):
        owner.clear()
        owner[is_folder] = os.geteuid() + 4711
        with pytest.raises(HaloError, match=rf"belongs to another user .number \d+.*chown {os.geteuid()} /") as caught:
            files.open().read(BINDING)
        assert str(path) in str(caught.value)
        owner[is_folder] = 0
        assert current(files.open()) == SECRET


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '"text"', "\0", '{"pid": 1}', '{"pid": [], "host": 1, "since": {}}']
)
def test_what_a_lock_says_is_not_believed(files: Kit, content: str) -> None:
    with files.open().hold():
        pass
    lock = files.file().with_name(_files.RUN_LOCK)
    lock.write_text(content)
    with files.open().hold():
        lock.write_text(content)
        with pytest.raises(TenantBusy, match="at work on this tenant"), files.open().hold():
            pass


# Files in a job


def test_what_is_below_a_jobs_folder_is_lost_unless_it_is_mounted(tmp_path: Path) -> None:
    root = tmp_path / "job"
    mounts: set[str] = {str(root)}

    def lost(path: Path | str) -> bool:
        return is_lost_with(str(root), str(path), mounts.__contains__)

    assert lost(root)
    assert lost(root / "inventory" / "halo_credentials")
    assert lost(root / "a" / ".." / "b")
    for path in (tmp_path, tmp_path / "jobs", tmp_path / "other", root / ".." / "other"):
        assert not lost(path)
    mounts.add(str(root / "project"))
    assert not lost(root / "project" / "halo_credentials")
    assert not lost(root / "project")
    assert lost(root / "projects")


def test_links_do_not_hide_where_a_folder_is(tmp_path: Path) -> None:
    root = tmp_path / "job"
    root.mkdir()
    (tmp_path / "kept").mkdir()
    (root / "out").symlink_to(tmp_path / "kept")
    (tmp_path / "into").symlink_to(root)
    assert not is_lost_with(str(root), str(root / "out" / "store"), lambda path: False)
    assert is_lost_with(str(root), str(tmp_path / "into" / "store"), lambda path: False)
    assert is_lost_with(str(tmp_path / "into"), str(root / "store"), lambda path: False)


def test_a_mounted_folder_is_seen_even_one_of_the_same_file_system(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two with blank"
    one.mkdir()
    two.mkdir()
    assert is_mount("/")
    assert not is_mount(str(two))
    _mount("--bind", str(one), str(two))
    try:
        assert is_mount(str(two))
        assert not is_mount(str(two.parent))
    finally:
        subprocess.run(["umount", str(two)], check=True)


@pytest.mark.parametrize("where", ["AWX_PRIVATE_DATA_DIR", "JOB_FOLDER"])
def test_a_store_that_is_gone_when_the_job_ends_is_refused_before_any_change(
    files: Kit, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    job = str(files.folder.parent)
    if where == "JOB_FOLDER":
        monkeypatch.setattr(_files, "JOB_FOLDER", job)
    else:
        monkeypatch.setenv(where, job)
    with pytest.raises(HaloError, match="is gone when this job ends") as caught:
        files.open()
    text = str(caught.value)
    assert INSTANCE in text
    assert str(files.folder) in text
    assert "a mounted folder" in text
    assert "{ephemeral: true}" in text
    assert "halo_integration_store: file" not in text
    assert not files.folder.exists()
    files.open(options={"ephemeral": "yes"}).write(BINDING, FULL, None)
    with pytest.raises(HaloError):
        files.open(options={"ephemeral": False})
    monkeypatch.setattr(_files, "is_mount", lambda path: path == str(files.folder))
    assert current(files.open()) == SECRET


def test_other_stores_are_named_to_a_job_as_far_as_there_are_any(files: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWX_PRIVATE_DATA_DIR", str(files.folder))
    monkeypatch.setattr(_files, "store_names", lambda: [*FILE_STORES, "elsewhere"])
    monkeypatch.setattr(_files, "store_class", lambda name: object if name == "elsewhere" else _files.FileStore)
    with pytest.raises(HaloError, match=r"or halo_integration_store to one of elsewhere\."):
        files.open()


def test_a_private_folder_of_ansible_runner_that_stays_is_like_any_other(files: Kit) -> None:
    # env/, inventory/ and project/ of a runner on the host itself
    store = files.open(folder=str(files.folder / "inventory" / "halo_credentials"))
    store.write(BINDING, FULL, None)
    assert current(store) == SECRET


# Vault


@pytest.fixture
def vaulted(tmp_path: Path) -> Kit:
    return KITS["vault_file"](tmp_path)


def test_a_vault_file_holds_nothing_that_can_be_read(vaulted: Kit) -> None:
    vaulted.open().write(BINDING, FULL, None)
    content = vaulted.file().read_bytes()
    assert content.startswith(b"$ANSIBLE_VAULT;1.1;AES256\n")
    assert SECRET.encode() not in content
    assert SECRET.encode() in plain_content(vaulted)


def test_a_vault_id_is_noted_and_the_one_that_the_run_encrypts_with_is_used(
    vaulted: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [("prod", "one"), ("dev", "two")]
    version = vaulted.open(both).write(BINDING, FULL, None)
    file = vaulted.file()
    assert file.read_bytes().startswith(b"$ANSIBLE_VAULT;1.2;AES256;prod\n")
    assert current(vaulted.open([*reversed(both)])) == SECRET
    monkeypatch.setenv("ANSIBLE_VAULT_ENCRYPT_IDENTITY", "dev")
    vaulted.open(both).write(BINDING, FULL, version)
    assert file.read_bytes().startswith(b"$ANSIBLE_VAULT;1.2;AES256;dev\n")
    monkeypatch.setenv("ANSIBLE_VAULT_ENCRYPT_IDENTITY", "nobody")
    with pytest.raises(HaloError, match=r"no secret of the vault ID 'nobody'.*Nothing was changed.*--vault-id"):
        vaulted.open(both)


@pytest.mark.parametrize("vault", [None, lambda: None, lambda: VaultLib([]), lambda: VaultLib(None)])
def test_without_a_vault_secret_the_ways_to_give_one_are_named(vaulted: Kit, vault: Any) -> None:
    with pytest.raises(HaloError, match=rf"{INSTANCE}.*needs a vault secret") as caught:
        open_store("vault_file", Place(**vaulted.place, vault=vault))
    for way in ("--vault-password-file", "--vault-id", "Vault"):
        assert way in str(caught.value)
    assert "halo_integration_store" not in str(caught.value)


def test_nothing_is_decrypted_twice(vaulted: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    version = vaulted.open().write(BINDING, FULL, None)
    decrypted = []
    real = VaultLib.decrypt
    monkeypatch.setattr(
        VaultLib, "decrypt", lambda self, content, *args: decrypted.append(content) or real(self, content, *args)
    )
    store = vaulted.open()
    for _unused in range(3):
        assert current(store) == SECRET
        assert store.names() == [BINDING]
    assert len(decrypted) == 1
    vaulted.open().write(BINDING, entry({"current": label("new")}), version)
    assert current(store) == "new"


def test_what_is_declared_is_not_read_again_to_find_the_others(vaulted: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    vaulted.open().write(BINDING, FULL, None)
    monkeypatch.setattr(_files.FileStore, "_bytes", lambda store, folder, file: pytest.fail(f"{file} was read"))
    assert vaulted.open().others([BINDING]) == {}


def test_plain_and_encrypted_files_are_told_apart_and_moved_with_ansible_vault(tmp_path: Path) -> None:
    plain, vaulted = KITS["file"](tmp_path), KITS["vault_file"](tmp_path)
    plain.open().write(BINDING, FULL, None)
    with pytest.raises(
        HaloError,
        match=rf"{plain.file()} is not encrypted, and the store is 'vault_file'.* halo_integration_store: file, ",
    ) as caught:
        vaulted.open().read(BINDING)
    assert f"ansible-vault encrypt {plain.file()}" in str(caught.value)
    plant(vaulted, plain.file().read_bytes())
    assert current(vaulted.open()) == SECRET
    with pytest.raises(
        HaloError, match=rf"{plain.file()} is encrypted, and the store is 'file'.* halo_integration_store: vault_file, "
    ) as caught:
        plain.open().read(BINDING)
    assert f"ansible-vault decrypt {plain.file()}" in str(caught.value)
