# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every store does, against the real thing: OpenBao, AWS's stand-in, the file system.

A further store joins with a :class:`Kit` in ``KITS``.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import importlib
import json
import os
import subprocess
import sys
import threading
import time
import unicodedata
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import botocore.loaders
import botocore.session
import certifi
import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError, StaleEntry, TenantBusy
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place, _claim, open_store
from ansible_collections.haloops.halo.plugins.plugin_utils.stores._files import safe
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from halo_sandbox.testing import Sandbox
from helpers import in_process
from helpers.store_servers import AWS_KEYS, Proxy, Server, free_port, moto, openbao

INSTANCE = "https://acme.example.com"
SECRET = "5a37c9c2-0d5e-4b0e-9a3e-7c1f0b8d2e11-9e0c7f64-2a55-4d7b-8f0a-1b2c3d4e5f60"
BINDING = "Ticket integration"
ODD = [
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a b",
    "a  b",
    "a\nb",
    "Jörg Müller",
    "日本語",
    "x" * 200,
    "x" * 199 + "y",
    ".claim",
    "claim",
    "-rf",
    "yes",
]


def label(secret: str = SECRET, **more: Any) -> dict[str, Any]:
    return {"client_secret": secret, "client_id": "c", "made_at": "2026-01-02T03:04:05.000006+00:00", **more}


def made(secret: str, **more: Any) -> dict[str, Any]:
    return entry({"current": label(secret), **more})


FULL = entry(
    {
        "pending": label("pending", in_flight=True, replaces=["3"]),
        "current": label(agent_id=7, agent_name="Jörg", scope="read:tickets edit:tickets"),
        "previous": label("previous"),
        "outstanding": {"deliver": "2026-01-02T03:04:05+00:00", "retire": [{"agent_id": "3", "made_at": None}]},
        "origin": "adopted",
        "attempt": 3,
    }
)


def current(store: Any, name: str = BINDING) -> str | None:
    found = store.read(name)[0]["current"]
    return found and found["client_secret"]


# What a script needs to open the store of a kit.
OPEN = """
import importlib, json, multiprocessing, os, signal, sys, time
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.haloops.halo.plugins.module_utils.errors import StaleEntry, TenantBusy
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place, _claim, open_store
kit = json.loads(sys.argv[1])
_claim.SharedStore.claim_seconds, _claim.SharedStore.extend_seconds = kit["claim"]
secrets = [("default", VaultSecret(kit["password"].encode()))]
exec(kit["prelude"])
def open_again():
    return open_store(kit["name"], Place(**kit["place"], vault=lambda: VaultLib(secrets)))
def made(secret, **more):
    return entry({"current": {"client_secret": secret}, **more})
"""


@dataclasses.dataclass
class Kit:
    """One kind of store to test, with a tenant that has nothing in it.

    :param place: where it is, without its vault
    :param environment: what a process that opens it needs in its environment
    :param calls: by what it touches the outside; a writer is killed before and after each
    :param proxy: what stands between it and its server, if it has one; ``place`` leads through it
    :param writes: what is in the head of each request of a write over an entry, in their order
    :param claim: how many seconds a claim lasts, and after how many it is extended; None with a kernel's lock
    :param direct: options that lead past the proxy
    :param prelude: Python that makes it faster to open in a script
    """

    name: str
    place: dict[str, Any]
    calls: list[str]
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    proxy: Proxy | None = None
    writes: list[bytes] = dataclasses.field(default_factory=list)
    claim: tuple[float, float] | None = None
    prelude: str = ""
    direct: dict[str, str] = dataclasses.field(default_factory=dict)

    def open(self, **changes: Any) -> Any:
        secrets = [("default", VaultSecret(b"open sesame"))]
        options = {**self.place.get("options", {}), **changes.pop("options", {})}
        return open_store(
            self.name, Place(**{**self.place, **changes, "options": options}, vault=lambda: VaultLib(secrets))
        )

    def start(self, script: str, *arguments: Any) -> subprocess.Popen[str]:
        """Run a script in a process of its own."""
        told = {
            "name": self.name,
            "place": self.place,
            "claim": self.claim or (120, 30),
            "password": "open sesame",
            "prelude": self.prelude,
        }
        quiet = ("-W", "ignore::DeprecationWarning")
        return subprocess.Popen(
            [sys.executable, *quiet, "-c", OPEN + script, json.dumps(told), *map(str, arguments)],
            env={**os.environ, **self.environment, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *arguments: Any) -> str:
        """Give what it printed."""
        process = self.start(script, *arguments)
        printed, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        return printed

    @property
    def owner(self) -> str:
        return safe(f"{self.place['instance']} {self.place['tenant']}")

    def raw(self, name: str = BINDING) -> Any:
        """What is stored, as the store's own means show it."""
        raise NotImplementedError

    def replace(self, found: Any, name: str = BINDING) -> None:
        """Put something else there, by the store's own means."""
        raise NotImplementedError


class Files(Kit):
    def raw(self, name: str = BINDING) -> Any:
        return Path(self.open().path(name)).read_bytes()

    def replace(self, found: Any, name: str = BINDING) -> None:
        Path(self.open().path(name)).write_bytes(found if isinstance(found, bytes) else str(found).encode())


def bao(server: Server, method: str, path: str, body: Any = None, token: str = "root") -> Any:
    request = urllib.request.Request(
        f"{server.url}/v1/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"X-Vault-Token": token},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        raise OSError(f"{method} {path}: {error.read().decode()}") from None


@dataclasses.dataclass
class Vault(Kit):
    server: Server | None = None

    def _path(self, name: str) -> str:
        return f"secret/data/halo/{self.owner}/{safe(name)}"

    def bao(self, method: str, path: str, body: Any = None) -> Any:
        assert self.server
        return bao(self.server, method, path, body)

    def raw(self, name: str = BINDING) -> Any:
        return self.bao("GET", self._path(name))["data"]["data"]

    def replace(self, found: Any, name: str = BINDING) -> None:
        self.bao("POST", self._path(name), {"data": found if isinstance(found, dict) else {"value": found}})


@dataclasses.dataclass
class Aws(Kit):
    server: Server | None = None

    @property
    def client(self) -> Any:
        assert self.server
        return boto3.session.Session().client("secretsmanager", endpoint_url=self.server.url)

    def secret(self, name: str = BINDING) -> str:
        return f"halo/{self.owner}/{safe(name)}"

    def raw(self, name: str = BINDING) -> Any:
        # without a stage the stand-in gives an old one
        found = self.client.get_secret_value(SecretId=self.secret(name), VersionStage="AWSCURRENT")
        return json.loads(found["SecretString"])

    def replace(self, found: Any, name: str = BINDING) -> None:
        self.put(self.secret(name), found if isinstance(found, str) else json.dumps(found))

    def put(self, secret: str, text: str) -> None:
        client = self.client
        now = client.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")["VersionId"]
        new = client.put_secret_value(SecretId=secret, SecretString=text, VersionStages=["AWSPENDING"])["VersionId"]
        # put at once as AWSCURRENT, the stand-in would have two of them
        stages = {"VersionStage": "AWSCURRENT", "RemoveFromVersionId": now, "MoveToVersionId": new}
        client.update_secret_version_stage(SecretId=secret, **stages)


# The servers


@pytest.fixture(scope="module")
def bao_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with openbao(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture(scope="module")
def aws_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


Make = Callable[[pytest.FixtureRequest, Path, str], Kit]
HTTP_CALLS = ["urllib3.connection.HTTPConnection.request", "urllib3.connection.HTTPConnection.getresponse"]
FILE_CALLS = [f"os.{call}" for call in ("open", "fsync", "replace", "unlink", "mkdir", "close")]


def make_files(request: pytest.FixtureRequest, folder: Path, tenant: str) -> Kit:
    place = {"instance": INSTANCE, "tenant": tenant, "folder": str(folder / "store")}
    return Files(request.param, place, FILE_CALLS)


def make_vault(request: pytest.FixtureRequest, folder: Path, tenant: str) -> Kit:
    server = request.getfixturevalue("bao_server")
    proxy = Proxy(server.port)
    request.addfinalizer(proxy.close)
    return Vault(
        "hashi_vault",
        {"instance": INSTANCE, "tenant": tenant, "options": {"url": proxy.url, "token": "root"}},
        HTTP_CALLS,
        proxy=proxy,
        writes=[b"POST /v1/secret/data/"],
        claim=(1.5, 0.3),
        direct={"url": server.url},
        server=server,
    )


def make_aws(request: pytest.FixtureRequest, folder: Path, tenant: str) -> Kit:
    server = request.getfixturevalue("aws_server")
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setattr(botocore.session, "create_loader", lambda _path: LOADER)
    # what boto3 sends again by itself would hide what the store does
    environment = {**AWS_KEYS, "AWS_MAX_ATTEMPTS": "1"}
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    proxy = Proxy(server.port)
    request.addfinalizer(proxy.close)
    return Aws(
        "aws_secrets_manager",
        {"instance": INSTANCE, "tenant": tenant, "options": {"endpoint_url": proxy.url}},
        HTTP_CALLS,
        environment,
        proxy=proxy,
        writes=[b"secretsmanager.PutSecretValue", b"secretsmanager.UpdateSecretVersionStage"],
        claim=(1.5, 0.3),
        direct={"endpoint_url": server.url},
        prelude=ONE_LOADER,
        server=server,
    )


# Reading boto3's descriptions of AWS takes most of the time of a test.
LOADER = botocore.loaders.create_loader()
ONE_LOADER = """
import botocore.loaders, botocore.session
loader = botocore.loaders.create_loader()
botocore.session.create_loader = lambda _path: loader
"""

KITS: dict[str, Make] = {
    "aws_secrets_manager": make_aws,
    "file": make_files,
    "hashi_vault": make_vault,
    "vault_file": make_files,
}
SHARED = ("aws_secrets_manager", "hashi_vault")


@pytest.fixture(params=sorted(KITS))
def kit(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kit:
    for variable in [name for name in os.environ if name.startswith(("VAULT_", "AWS_", "BAO_"))]:
        monkeypatch.delenv(variable)
    found = KITS[request.param](request, tmp_path, f"t-{uuid.uuid4()}")
    if found.claim:
        monkeypatch.setattr(_claim.SharedStore, "claim_seconds", found.claim[0])
        monkeypatch.setattr(_claim.SharedStore, "extend_seconds", found.claim[1])
    return found


shared = pytest.mark.parametrize("kit", SHARED, indirect=True)
vault = pytest.mark.parametrize("kit", ["hashi_vault"], indirect=True)
aws = pytest.mark.parametrize("kit", ["aws_secrets_manager"], indirect=True)


# Entries


def test_what_was_written_is_read_whole_by_another_process(kit: Kit) -> None:
    assert kit.open().read(BINDING) == (entry(None), None)
    version = kit.open().write(BINDING, FULL, None)
    printed = kit.run(f"print(json.dumps(open_again().read({BINDING!r})))")
    assert json.loads(printed) == [{**FULL, "instance": INSTANCE, "binding": BINDING}, version]
    assert kit.open().read("Another") == (entry(None), None)


def test_a_stale_write_is_refused(kit: Kit) -> None:
    one, other = kit.open(), kit.open()
    first = one.write(BINDING, FULL, None)
    second = other.write(BINDING, made("newer"), first)
    assert second != first
    for version in (first, None, "0"):
        with pytest.raises(StaleEntry, match=f"binding '{BINDING}'.*Nothing was written"):
            one.write(BINDING, made("stale"), version)
    assert current(kit.open()) == "newer"
    one.write(BINDING, made("newest"), second)
    assert current(other) == "newest"


# Each adds its part to a count, and reads again whenever it was too late.
WRITERS = """
def add():
    store = open_again()
    for _unused in range(5):
        while True:
            found, version = store.read("one")
            try:
                store.write("one", made("s", attempt=found["attempt"] + 1), version)
                break
            except StaleEntry:
                pass
open_again()
writers = [multiprocessing.get_context("fork").Process(target=add) for _unused in range(3)]
for writer in writers:
    writer.start()
for writer in writers:
    writer.join()
print(open_again().read("one")[0]["attempt"])
"""


def test_writers_at_once_lose_nothing(kit: Kit) -> None:
    assert kit.run(WRITERS) == "15\n"


def test_tenants_do_not_get_into_each_others_way(kit: Kit) -> None:
    store = kit.open()
    tenants = [{}, {"tenant": None}, {"tenant": store._place.tenant + "b"}, {"key": "k" + str(uuid.uuid4())}]
    for changes in tenants:
        kit.open(**changes).write("one", made(str(changes)), kit.open(**changes).read("one")[1])
    for changes in tenants:
        assert kit.open(**changes).names() == ["one"]
        assert current(kit.open(**changes), "one") == str(changes)


def test_names_of_any_kind_are_entries_of_their_own(kit: Kit) -> None:
    store = kit.open()
    with store.hold():
        for number, name in enumerate(ODD):
            store.write(name, made(str(number)), None)
    again = kit.open()
    assert [current(again, name) for name in ODD] == [str(number) for number in range(len(ODD))]
    assert again.names() == sorted(ODD)


def test_spellings_that_are_one_name_to_halo_are_one_entry(kit: Kit) -> None:
    version = kit.open().write("Jörg Müller", FULL, None)
    for other in ("jörg müller", " JÖRG MÜLLER ", unicodedata.normalize("NFD", "Jörg Müller")):
        assert kit.open().read(other)[1] == version
        version = kit.open().write(other, made(other), version)
        assert current(kit.open(), "Jörg Müller") == other
    assert len(kit.open().names()) == 1


@shared
def test_half_a_character_in_a_name_is_refused_before_anything_is_stored(kit: Kit) -> None:
    for work in (lambda: kit.open().read("a\udc80"), lambda: kit.open().write("a\udc80", FULL, None)):
        with pytest.raises(HaloError, match="its name is no text"):
            work()


def test_what_the_store_did_not_write_is_not_read(kit: Kit) -> None:
    def refused(match: str) -> str:
        for ask in (lambda: kit.open().read(BINDING), lambda: kit.open().names()):
            with pytest.raises(HaloError, match=match) as caught:
                ask()
            assert SECRET not in str(caught.value)
        return str(caught.value)

    kit.open().write("Another", FULL, None)
    kit.open().write(BINDING, FULL, None)
    whole = kit.raw()
    kit.replace("garbage")
    refused(f"^{INSTANCE}: .*(is not what this store writes, or not all of it|is not encrypted).*")
    if isinstance(whole, dict):
        for missing in ("end", "tenant", "binding", "current"):
            kit.replace({key: value for key, value in whole.items() if key != missing})
            assert "adopt: rotate" in refused("is not what this store writes, or not all of it")
    kit.replace(kit.raw("Another"))
    with pytest.raises(HaloError, match=f"binding '{BINDING}': .*holds another entry, that of 'Another' of"):
        kit.open().read(BINDING)
    stranger = kit.open(tenant="stranger")
    _found, version = stranger.read(BINDING)
    stranger.write(BINDING, made("theirs"), version)
    kit.place["tenant"], own = "stranger", kit.place["tenant"]
    theirs = kit.raw()
    kit.place["tenant"] = own
    kit.replace(theirs)
    refused(f"holds another entry, that of '{BINDING}' of {INSTANCE} stranger")


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
        parts = name.split(".")
        place = next(
            importlib.import_module(".".join(parts[:n])) for n in (-1, -2) if ".".join(parts[:n]).islower()
        )
        for part in parts[1 + place.__name__.count("."):-1]:
            place = getattr(place, part)
        setattr(place, parts[-1], deadly(getattr(place, parts[-1])))
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


def test_a_killed_writer_leaves_the_old_entry_or_the_new_one(kit: Kit) -> None:
    assert int(kit.run(KILLED, json.dumps(kit.calls))) >= 4


# Connections


@shared
def test_a_write_whose_connection_is_lost_is_carried_out_once(kit: Kit) -> None:
    assert kit.proxy
    assert kit.writes
    store = kit.open()
    version = store.write(BINDING, made("0"), None)
    for part in kit.writes:
        for after in (False, True):
            secret = str(uuid.uuid4())
            kit.proxy.lose(part, after=after)
            version = store.write(BINDING, made(secret), version)
            assert kit.proxy.lost()
            assert kit.open().read(BINDING)[1] == version
            assert current(store) == secret
    if isinstance(kit, Vault):
        assert version == 3
    kit.proxy.lose(kit.writes[0] if isinstance(kit, Vault) else b"secretsmanager.CreateSecret", after=True)
    store.write("new", made("new"), None)
    assert kit.proxy.lost()
    assert current(store, "new") == "new"


def response(status: int, said: Any) -> bytes:
    """An answer that is none of the server's."""
    body = json.dumps(said).encode()
    head = f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


@shared
def test_a_gateway_that_fails_after_the_write_is_a_lost_connection(kit: Kit) -> None:
    assert kit.proxy
    store = kit.open()
    version = store.write(BINDING, made("0"), None)
    for status in (500, 502, 504):
        kit.proxy.lose(kit.writes[-1], after=True, response=response(status, {"message": "No."}))
        version = store.write(BINDING, made(str(status)), version)
        assert kit.proxy.lost()
        assert kit.open().read(BINDING)[1] == version
        assert current(store) == str(status)


@shared
def test_a_lost_write_that_someone_else_overtook_is_stale(kit: Kit) -> None:
    assert kit.proxy
    store, other = kit.open(), kit.open()
    version = store.write(BINDING, made("0"), None)

    def overtake() -> None:
        found = other.read(BINDING)[1]
        other.write(BINDING, made("theirs"), found)

    for after in (False, True):
        kit.proxy.lose(kit.writes[-1], after=after, then=overtake)
        with pytest.raises(StaleEntry):
            store.write(BINDING, made("mine"), version)
        assert kit.proxy.lost()
        assert current(store) == "theirs"
        version = store.read(BINDING)[1]


@shared
def test_a_read_whose_connection_is_lost_is_done_again(kit: Kit) -> None:
    assert kit.proxy
    store = kit.open()
    store.write(BINDING, FULL, None)
    for head in (b"GET /v1/secret", b"secretsmanager.GetSecretValue"):
        kit.proxy.lose(head, after=True)
    assert current(store) == SECRET
    for head in (b"LIST /v1/secret", b"secretsmanager.ListSecrets"):
        kit.proxy.lose(head, after=False)
    assert store.names() == [BINDING]


@shared
def test_a_server_that_is_gone_is_named(kit: Kit) -> None:
    assert kit.proxy
    store = kit.open()
    version = store.write(BINDING, made("0"), None)
    kit.proxy.lose(b"", after=False, times=1 << 30)
    for work in (lambda: store.read(BINDING), lambda: store.write(BINDING, FULL, version), store.names):
        with pytest.raises(HaloError, match=f"^{INSTANCE}: .*no answer from") as caught:
            work()
        assert not isinstance(caught.value, StaleEntry)
        assert SECRET not in str(caught.value)
    with pytest.raises(HaloError, match="no answer from"), store.hold():
        raise AssertionError
    kit.proxy.behave()
    assert current(store) == "0"
    gone = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(HaloError, match=f"(no answer from {gone}|endpoint URL: .{gone})"):
        kit.open(options=dict.fromkeys(kit.direct, gone)).read(BINDING)


# As AWS answers; its stand-in takes any credentials.
AWS_REFUSALS = {
    "UnrecognizedClientException": "The security token included in the request is invalid.",
    "ExpiredTokenException": "The security token included in the request is expired",
    "InvalidSignatureException": "The request signature we calculated does not match the signature you provided.\n\n"
    "The Canonical String for this request should have been\n'POST\nx-amz-security-token:TheToken'",
    "AccessDeniedException": "User: arn:aws:iam::1:user/x is not authorized to perform: secretsmanager:GetSecretValue",
}


@aws
@pytest.mark.parametrize("code", AWS_REFUSALS)
def test_credentials_that_aws_refuses(kit: Aws, code: str) -> None:
    assert kit.proxy
    store = kit.open()
    version = store.write(BINDING, made("0"), None)
    kit.proxy.answer(b"secretsmanager.", response(400, {"__type": code, "message": AWS_REFUSALS[code]}))
    for work in (lambda: store.read(BINDING), lambda: store.write(BINDING, FULL, version), store.hold().__enter__):
        with pytest.raises(HaloError, match=f"says {code}: .*(boto3 finds the right cred|credentials need)") as caught:
            work()
        assert "TheToken" not in str(caught.value)
        assert SECRET not in str(caught.value)
    kit.proxy.behave()
    assert current(store) == "0"


@vault
def test_credentials_that_vault_refuses(kit: Vault) -> None:
    kit.open().write(BINDING, FULL, None)
    approle(kit)
    role = kit.bao("GET", "auth/approle/role/halo/role-id")["data"]["role_id"]
    for options in (
        {"token": "wrong-token"},
        {"auth_method": "approle", "role_id": role, "secret_id": "wrong-secret"},
        {"auth_method": "jwt", "role": "halo", "jwt": "wrong-jwt"},
    ):
        with pytest.raises(HaloError, match=f"^{INSTANCE}: .* did not do it: ") as caught:
            kit.open(options=options)
        assert "wrong-" not in str(caught.value)
    with pytest.raises(HaloError, match=r"has no token.*VAULT_TOKEN"):
        kit.open(options={"token": ""})
    with pytest.raises(HaloError, match=r"needs its option role_id.*VAULT_ROLE_ID"):
        kit.open(options={"auth_method": "approle"})


# The claim


def test_a_tenant_is_held_by_one_even_within_a_process(kit: Kit) -> None:
    until = r"claim ends at 20.+ UTC" if kit.claim else "its lock ends with it"
    with kit.open().hold():
        with (
            pytest.raises(
                TenantBusy,
                match=rf"^{INSTANCE}: another run is at work on this tenant \(process {os.getpid()} on .+, since 20.+ "
                rf"UTC\)\. Nothing was changed\..*{until}",
            ),
            kit.open().hold(),
        ):
            raise AssertionError
        with kit.open(tenant="other").hold():
            pass
    with kit.open().hold():
        pass


def test_an_error_in_the_work_comes_through_and_frees_the_tenant(kit: Kit) -> None:
    for error in (OSError("of the work"), HaloError("of the work"), KeyboardInterrupt("of the work")):
        with pytest.raises(type(error), match=r"^of the work$"), kit.open().hold():
            raise error
    with kit.open().hold():
        pass
    assert not [thread for thread in threading.enumerate() if thread.name == "halo-claim"]


HOLDER = """
with open_again().hold():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_holder_is_followed_when_its_time_is_up_and_no_earlier(kit: Kit) -> None:
    process = kit.start(HOLDER)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    # extended meanwhile, where that is needed
    time.sleep(1.5 * kit.claim[0] if kit.claim else 0)
    with pytest.raises(TenantBusy, match=f"process {process.pid} on"), kit.open().hold():
        raise AssertionError
    process.kill()
    process.wait()
    killed = time.monotonic()
    while True:
        try:
            with kit.open().hold():
                waited = time.monotonic() - killed
            break
        except TenantBusy:
            assert time.monotonic() < killed + 10
            time.sleep(0.05)
    assert not kit.claim or waited > kit.claim[1]


def works(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except HaloError:
        return False
    return True


def wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


@shared
def test_a_claim_that_cannot_be_extended_stops_the_work_before_another_takes_over(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kit.proxy
    assert kit.claim
    # times that do not depend on how busy this machine is
    monkeypatch.setattr(_claim.SharedStore, "_hear", lambda store, date: None)
    begin = time.time()
    store, other = kit.open(), kit.open(options=kit.direct)
    other.claim_seconds = 60
    with store.hold():
        version = store.write(BINDING, made("0"), None)
        kit.proxy.lose(b"", after=False, times=1 << 30)
        time.sleep(kit.claim[0] - kit.claim[1] + 0.05)
        with pytest.raises(StaleEntry, match="the claim on this tenant could not be extended in time"):
            store.write(BINDING, made("late"), version)
        other.clock = lambda: begin
        with pytest.raises(TenantBusy), other.hold():
            raise AssertionError
        other.clock = lambda: time.time() + kit.claim[0]  # type: ignore[index]
        with other.hold():
            kit.proxy.behave()

            def taken_over() -> bool:
                with pytest.raises(StaleEntry) as caught:
                    store.write(BINDING, made("late"), version)
                return "the claim on this tenant was taken over" in str(caught.value)

            wait(taken_over)
            other.write(BINDING, made("theirs"), version)
            with pytest.raises(TenantBusy), kit.open().hold():
                raise AssertionError
    assert current(store) == "theirs"


@shared
def test_who_lost_the_claim_before_its_time_writes_nothing_either(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_claim.SharedStore, "_hear", lambda store, date: None)
    store, other = kit.open(), kit.open()
    store.claim_seconds = 60
    other.clock = lambda: time.time() + 3600
    with store.hold():
        version = store.write(BINDING, made("0"), None)
        with other.hold():
            wait(lambda: not works(lambda: store.write("Another", made("0"), store.read("Another")[1])))
            with pytest.raises(StaleEntry, match="the claim on this tenant was taken over"):
                store.write(BINDING, made("late"), version)
    assert current(store) == "0"


@shared
def test_a_lost_connection_while_the_claim_is_extended_does_no_harm(kit: Kit) -> None:
    assert kit.proxy
    assert kit.claim
    store = kit.open()
    with store.hold():
        for after in (False, True):
            kit.proxy.lose(kit.writes[-1], after=after)
            wait(kit.proxy.lost)
        time.sleep(kit.claim[0])
        store.write(BINDING, FULL, None)
        with pytest.raises(TenantBusy), kit.open().hold():
            raise AssertionError
    with kit.open().hold():
        pass


@shared
def test_a_controller_whose_clock_is_wrong_waits_and_holds_as_long(kit: Kit) -> None:
    for seconds in (-3600, 3600):
        wrong = kit.open()
        wrong.clock = lambda ahead=seconds: time.time() + ahead
        with kit.open().hold(), pytest.raises(TenantBusy), wrong.hold():
            raise AssertionError
        with wrong.hold(), pytest.raises(TenantBusy), kit.open().hold():
            raise AssertionError


@shared
def test_a_claim_that_is_garbage_is_not_taken_for_free(kit: Kit) -> None:
    with kit.open().hold():
        pass
    if isinstance(kit, Vault):
        kit.bao("POST", f"secret/data/halo/{kit.owner}/.claim", {"data": {"until": "x"}})
    else:
        kit.put(f"halo/{kit.owner}/.claim", "x")  # type: ignore[attr-defined]
    with pytest.raises(HaloError, match=r"\.claim.*is not what this store writes.*remove it"), kit.open().hold():
        raise AssertionError


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
ROUNDS = 60


def test_of_two_that_provision_at_once_one_does(kit: Kit) -> None:
    kit.claim = kit.claim and (60, 20)
    *lines, count = kit.run(RACE, ROUNDS).splitlines()
    assert count == str(ROUNDS)
    words: dict[str, list[str]] = {}
    for line in lines:
        number, word = line.split()
        words.setdefault(number, []).append(word)
    assert all(sorted(both) in (["busy", "made"], ["found", "made"]) for both in words.values()), words
    assert sum("busy" in both for both in words.values()) > ROUNDS / 4


# The engine over a store


@shared
def test_provision_again_and_rotate(kit: Kit, tmp_path: Path) -> None:
    with Sandbox(tenants=1) as sandbox:
        tenant = sandbox.tenants["acme"]
        kit.place |= {"instance": tenant["url"], "tenant": "acme"}
        variables = {
            "halo_url": tenant["url"],
            "halo_tenant": "acme",
            "halo_client_id": tenant["client_id"],
            "halo_client_secret": tenant["client_secret"],
            "halo_integration_store": kit.name,
            "halo_integration_store_options": kit.place["options"],
        }
        binding = {"name": BINDING, "agent": {"name": "api-a"}, "application": {"scopes": ["read:tickets"]}}
        seen = []
        for more in ({}, {}, {"rotate": True}):
            arguments = {"bindings": [binding], **more}
            result = in_process.task("halo_binding", arguments, variables, tmp_path, environment=kit.environment)
            assert not result.get("failed"), result
            secret = in_process.lookup("credential", [BINDING], variables, tmp_path, environment=kit.environment)
            seen.append((result["bindings"][BINDING]["reason"], secret[0]["client_secret"]))
    assert [reason for reason, _secret in seen] == ["created", "none", "requested"]
    assert seen[0][1] == seen[1][1] != seen[2][1]
    assert kit.raw()["previous"]["client_secret"] == seen[0][1]


# What is missing


@shared
def test_a_missing_library_is_named_with_what_installs_it(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    library = {"hashi_vault": "hvac", "aws_secrets_manager": "boto3"}[kit.name]
    monkeypatch.setitem(sys.modules, library, None)
    command = f"{sys.executable} -m pip install {library}"
    with pytest.raises(HaloError, match=f"needs the Python library {library}.*{command}"):
        kit.open()


# Vault's own


def approle(kit: Vault, **role: Any) -> dict[str, str]:
    """A role that may do what the documentation says, and its login."""
    with contextlib.suppress(OSError):
        kit.bao("POST", "sys/auth/approle", {"type": "approle"})
    rules = (
        'path "secret/data/halo/*" { capabilities = ["create", "read", "update"] }\n'
        'path "secret/metadata/halo/*" { capabilities = ["list"] }'
    )
    kit.bao("PUT", "sys/policies/acl/halo", {"policy": rules})
    kit.bao("POST", "auth/approle/role/halo", {"token_policies": "halo", "token_no_default_policy": True, **role})
    return {
        "VAULT_ROLE_ID": kit.bao("GET", "auth/approle/role/halo/role-id")["data"]["role_id"],
        "VAULT_SECRET_ID": kit.bao("POST", "auth/approle/role/halo/secret-id", {})["data"]["secret_id"],
    }


@vault
def test_a_role_with_the_least_rights_suffices(kit: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in approle(kit).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("VAULT_TOKEN", "")
    store = kit.open(options={"auth_method": "approle", "token": None})
    with store.hold():
        version = store.write(BINDING, FULL, None)
        store.write(BINDING, FULL, version)
        assert store.names() == [BINDING]


@pytest.fixture
def signed() -> tuple[str, str]:
    """A public key, and a token of a service account for the audience ``halo``, signed with the private one."""
    key = ec.generate_private_key(ec.SECP256R1())

    def part(content: bytes) -> bytes:
        return base64.urlsafe_b64encode(content).rstrip(b"=")

    account = {"namespace": "automation", "serviceaccount": {"name": "halo", "uid": "u1"}}
    times = {"iat": int(time.time()) - 60, "nbf": int(time.time()) - 60, "exp": int(time.time()) + 600}
    claims = {"sub": "halo", "aud": ["halo"], **times, "kubernetes.io": account}
    text = b".".join(part(json.dumps(content).encode()) for content in ({"alg": "ES256", "typ": "JWT"}, claims))
    r, s = decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return public.decode(), b".".join((text, part(r.to_bytes(32) + s.to_bytes(32)))).decode()


@vault
def test_a_login_with_a_signed_token(kit: Vault, signed: tuple[str, str]) -> None:
    approle(kit)
    public, token = signed
    kit.bao("POST", f"sys/auth/jwt-{kit.owner}", {"type": "jwt"})
    kit.bao("POST", f"auth/jwt-{kit.owner}/config", {"jwt_validation_pubkeys": [public]})
    role = {"role_type": "jwt", "bound_audiences": ["halo"], "user_claim": "sub", "token_policies": "halo"}
    kit.bao("POST", f"auth/jwt-{kit.owner}/role/halo", role)
    options = {"auth_method": "jwt", "auth_mount": f"jwt-{kit.owner}", "role": "halo", "jwt": token, "token": None}
    kit.open(options=options).write(BINDING, FULL, None)
    with pytest.raises(HaloError, match="did not do it") as caught:
        kit.open(options={**options, "jwt": token[:-8] + "AAAAAAAA"})
    assert token[:-8] not in str(caught.value)


class Kubernetes(BaseHTTPRequestHandler):
    """As much of a cluster as OpenBao asks: whose token that is."""

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        user = {"username": "system:serviceaccount:automation:halo", "uid": "u1", "groups": []}
        body = json.dumps({**review, "status": {"authenticated": True, "user": user, "audiences": ["halo"]}}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        pass


@vault
def test_a_login_from_a_pod(
    kit: Vault, signed: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    approle(kit)
    options = {"auth_method": "kubernetes", "auth_mount": f"k-{kit.owner}", "role": "halo", "token": None}
    with pytest.raises(HaloError, match="needs the token of a pod, and there is no /var/run/secrets"):
        kit.open(options=options)
    file = tmp_path / "token"
    file.write_text(signed[1] + "\n")
    monkeypatch.setattr(importlib.import_module(type(kit.open()).__module__), "POD_TOKEN", str(file))
    with ThreadingHTTPServer(("127.0.0.1", 0), Kubernetes) as cluster:
        threading.Thread(target=cluster.serve_forever, daemon=True).start()
        host = f"http://127.0.0.1:{cluster.server_address[1]}"
        kit.bao("POST", f"sys/auth/k-{kit.owner}", {"type": "kubernetes"})
        # asked for, and not used without TLS
        config = {"kubernetes_ca_cert": certifi.contents().partition("\n\n")[0], "disable_local_ca_jwt": True}
        reviewer = {"kubernetes_host": host, "token_reviewer_jwt": signed[1]}
        kit.bao("POST", f"auth/k-{kit.owner}/config", {**config, **reviewer})
        bound = {"bound_service_account_names": "halo", "bound_service_account_namespaces": "automation"}
        kit.bao("POST", f"auth/k-{kit.owner}/role/halo", {**bound, "audience": "halo", "token_policies": "halo"})
        kit.open(options=options).write(BINDING, FULL, None)
        cluster.shutdown()


@vault
def test_options_may_stand_in_the_environment(kit: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    options = kit.place.pop("options")
    with pytest.raises(HaloError, match=r"needs its option url.*VAULT_ADDR"):
        kit.open()
    monkeypatch.setenv("VAULT_ADDR", options["url"])
    monkeypatch.setenv("VAULT_TOKEN", options["token"])
    kit.open().write(BINDING, FULL, None)
    assert current(kit.open(options=options)) == SECRET
    monkeypatch.setenv("VAULT_NAMESPACE", "nowhere")
    with pytest.raises(HaloError):
        kit.open()


@vault
def test_a_token_that_ran_out_is_named_and_that_of_a_login_is_renewed(kit: Vault) -> None:
    token = kit.bao("POST", "auth/token/create", {"ttl": "1s", "policies": ["root"]})["auth"]["client_token"]
    login = {name.removeprefix("VAULT_").lower(): value for name, value in approle(kit, token_ttl="1s").items()}
    by_token, by_login = (
        kit.open(options=options) for options in ({"token": token}, {"auth_method": "approle", **login})
    )
    version = by_token.write(BINDING, FULL, None)
    time.sleep(1.3)
    for work in (lambda: by_token.read(BINDING), lambda: by_token.write(BINDING, FULL, version)):
        with pytest.raises(HaloError, match=r"permission denied.*have expired") as caught:
            work()
        assert token not in str(caught.value)
    assert current(by_login) == SECRET


@vault
def test_engines_that_do_not_check_are_refused(kit: Vault) -> None:
    kit.bao("POST", f"sys/mounts/one-{kit.owner}", {"type": "kv", "options": {"version": "1"}})
    with pytest.raises(HaloError, match=r"is not KV of version 2.*enable-versioning"):
        kit.open(options={"mount": f"one-{kit.owner}"})
    with pytest.raises(HaloError, match=r"did not do it: .*there is no such engine \(option mount\)"):
        kit.open(options={"mount": "nowhere"})


@vault
def test_a_mount_and_a_path_of_ones_own(kit: Vault) -> None:
    mount = f"two-{kit.owner}"
    kit.bao("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})
    store = kit.open(options={"mount": mount, "path": "/a/b/"})
    # a new engine upgrades itself first
    wait(lambda: works(lambda: store.write(BINDING, FULL, None)))
    assert kit.bao("GET", f"{mount}/data/a/b/{kit.owner}/{safe(BINDING)}")["data"]["data"]["binding"] == BINDING
    kit.open(options={"mount": mount, "path": ""}).write(BINDING, FULL, None)
    assert kit.bao("GET", f"{mount}/data/{kit.owner}/{safe(BINDING)}")["data"]["data"]["binding"] == BINDING


@vault
def test_a_sealed_server_is_named(kit: Vault) -> None:
    assert kit.server
    store = kit.open()
    version = store.write(BINDING, FULL, None)
    kit.bao("PUT", "sys/seal")
    try:
        for work in (lambda: store.read(BINDING), lambda: store.write(BINDING, FULL, version), kit.open):
            with pytest.raises(HaloError, match=r"sealed.*unseal it"):
                work()
    finally:
        kit.bao("PUT", "sys/unseal", {"key": kit.server.unseal_key})
    wait(lambda: works(lambda: store.read(BINDING)))
    assert current(store) == SECRET


@vault
def test_an_entry_that_was_deleted_can_be_written_again(kit: Vault) -> None:
    kit.open().write(BINDING, FULL, None)
    kit.bao("DELETE", f"secret/data/halo/{kit.owner}/{safe(BINDING)}")
    store = kit.open()
    found, version = store.read(BINDING)
    assert found == entry(None)
    assert store.names() == []
    store.write(BINDING, made("again"), version)
    assert current(store) == "again"


@vault
def test_what_is_no_vault_is_named(kit: Vault) -> None:
    assert kit.proxy
    kit.proxy.answer(b"GET /v1/sys/internal", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    with pytest.raises(HaloError, match=r"answers, and not as Vault does.*option url"):
        kit.open()


@vault
def test_what_vault_says_is_not_passed_on_with_the_token_in_it(kit: Vault) -> None:
    assert kit.proxy
    login = {name.removeprefix("VAULT_").lower(): value for name, value in approle(kit).items()}
    store = kit.open(options={"auth_method": "approle", **login})
    token = store._client.token
    said = {"errors": [f"bad {token}, {login['secret_id']}, {SECRET}"]}
    kit.proxy.answer(b"POST /v1/secret", response(400, said))
    with pytest.raises(HaloError, match=r"did not do it: bad \*+, \*+, \*+\."):
        store.write(BINDING, FULL, None)


# AWS's own


@aws
def test_labels_are_where_people_look_for_them(kit: Aws) -> None:
    def labels() -> dict[str, Any]:
        found = {}
        for version in kit.client.list_secret_version_ids(SecretId=kit.secret(), IncludeDeprecated=True)["Versions"]:
            value = kit.client.get_secret_value(SecretId=kit.secret(), VersionId=version["VersionId"])
            for name in version.get("VersionStages", []):
                assert name not in found
                found[name] = json.loads(value["SecretString"])["current"]["client_secret"]
        return found

    store = kit.open()
    version = store.write(BINDING, made("1"), None)
    assert labels() == {"AWSCURRENT": "1"}
    version = store.write(BINDING, made("1", pending=label("2")), version)
    assert labels() == {"AWSCURRENT": "1", "AWSPENDING": "1", "AWSPREVIOUS": "1"}
    version = store.write(BINDING, made("2", previous=label("1")), version)
    assert labels() == {"AWSCURRENT": "2", "AWSPREVIOUS": "1"}


@aws
def test_what_boto3_sends_again_is_carried_out_once(kit: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kit.proxy
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    store = kit.open()
    kit.proxy.lose(b"secretsmanager.CreateSecret", after=True)
    version = store.write(BINDING, made("0"), None)
    for part in kit.writes:
        kit.proxy.lose(part, after=True)
        version = store.write(BINDING, made(str(part)), version)
        assert kit.proxy.lost()
        assert store.read(BINDING)[1] == version
        assert current(store) == str(part)


@aws
def test_a_write_that_aws_refuses_is_not_taken_for_done(kit: Aws) -> None:
    assert kit.proxy
    store = kit.open()
    version = store.write(BINDING, made("0"), None)
    refusal = {"__type": "LimitExceededException", "message": "Too many versions."}
    for part in kit.writes:
        kit.proxy.lose(part, after=False, response=response(400, refusal))
        with pytest.raises(HaloError, match=r"says LimitExceededException: .*run less often") as caught:
            store.write(BINDING, made("1"), version)
        assert not isinstance(caught.value, StaleEntry)
        assert store.read(BINDING)[1] == version


@aws
def test_a_secret_that_someone_made_or_deletes_is_named(kit: Aws) -> None:
    kit.client.create_secret(Name=kit.secret())
    store = kit.open()
    found, version = store.read(BINDING)
    assert (found, version) == (entry(None), None)
    with pytest.raises(HaloError, match=f"the secret {kit.secret()} is there and has no value. Delete it"):
        store.write(BINDING, FULL, None)
    store.write("other", FULL, None)
    kit.client.delete_secret(SecretId=kit.secret("other"))
    with pytest.raises(HaloError, match="restore-secret"):
        store.read("other")


@aws
def test_prefix_and_key(kit: Aws) -> None:
    kit.open(options={"prefix": "team/halo-", "kms_key_id": "alias/halo"}).write(BINDING, FULL, None)
    name = f"team/halo-{kit.owner}/{safe(BINDING)}"
    assert kit.client.describe_secret(SecretId=name)["KmsKeyId"] == "alias/halo"
    assert kit.open(options={"prefix": "team/halo-"}).names() == [BINDING]
    assert kit.open().names() == []


@aws
def test_what_boto3_misses_is_named(kit: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(HaloError, match=r"You must specify a region.*Set region in"):
        kit.open()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nowhere")
    with pytest.raises(HaloError, match=r"Unable to locate credentials.*boto3 finds the right credentials"):
        kit.open(options={"region": "eu-west-2"}).read(BINDING)
