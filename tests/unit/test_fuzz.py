# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever Halo, a store, a file or a proxy answers: an error of the collection's own comes of it, or a result.

`make fuzz` goes on for minutes, from another seed each time, and says how many examples there were; one that fails is
printed whole.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import json
import os
import random
import runpy
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import requests
import requests.adapters
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.haloops.halo.plugins.module_utils import client, http, rotation, run
from ansible_collections.haloops.halo.plugins.module_utils.auth import Token
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError, one_line, printable, redact
from ansible_collections.haloops.halo.plugins.module_utils.http import Transport
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.plugin_utils import report, report_action, report_forms
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import Place, _claim, command, open_store
from ansible_collections.haloops.halo.plugins.plugin_utils.tokens import TokenCache
from helpers import in_process
from helpers.memory import OWN_ID, OWN_SECRET, Halo
from helpers.memory import answer as memory_answer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict
from urllib3.response import HTTPResponse

URL = "http://127.0.0.1:9/acme"
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
SECRET = "s3cret/of the+run"
VAULT = VaultLib([("default", VaultSecret(b"open sesame"))])

# What can stand anywhere

words = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=12),
    st.sampled_from(["api-a", "App", "1", "7", "{{ 1/0 }}", "\x9b31m", "../..", "0", "", " ", "null", "1e999"]),
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 9),
    st.sampled_from([10**400, -(10**20), 2**63, float("nan"), float("inf"), 0.5]),
    words,
)
FIELDS = (
    *(
        "id",
        "name",
        "displayName",
        "isapiagent",
        "isdisabled",
        "roles",
        "teams",
        "team",
        "team_id",
        "team_name",
        "email",
    ),
    *("loginas_agent_id", "clientId", "clientSecret", "scopes", "claims", "type", "value", "record_count", "agents"),
    *("applications", "results", "access_token", "expires_in", "scope", "error", "error_description", "Message"),
    *(
        "_warning",
        "auth_url",
        "tenant_id",
        "loginas_halointegrator",
        "client_id_halointegrator",
        "role_list",
        "grant_type",
    ),
    *("hashostedintegrator", "inactive", "is_system", "id_int", "in_section", "loginas", "login_type", "allowagents"),
)
names = st.one_of(st.sampled_from(FIELDS), words)
anything = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=4)),
    max_leaves=8,
)


class Dice:
    """Decides what is spoilt, and how: each decision from a seed, since runs ask for as much as they like."""

    def __init__(self, seed: int, values: list[Any], keys: list[str], contents: list[bytes]) -> None:
        self._drawn = (seed, values, keys, contents)
        self._random = random.Random(seed)

    def __repr__(self) -> str:
        return f"Dice{self._drawn!r}"

    def one_in(self, number: int) -> bool:
        return self._random.randrange(number) == 0

    def of(self, choices: Sequence[Any]) -> Any:
        return self._random.choice(choices)

    @property
    def value(self) -> Any:
        return copy.deepcopy(self.of(self._drawn[1]))

    @property
    def key(self) -> str:
        return str(self.of(self._drawn[2]))

    @property
    def content(self) -> bytes:
        return bytes(self.of(self._drawn[3]))

    def spoilt(self, value: Any, rate: int = 12) -> Any:
        """``value`` with something else here and there."""
        if self.one_in(rate):
            return self.value
        if isinstance(value, dict):
            made = {key: self.spoilt(item, rate) for key, item in value.items() if not self.one_in(2 * rate)}
            return {**made, **({self.key: self.value} if self.one_in(rate) else {})}
        if isinstance(value, list):
            return [self.spoilt(item, rate) for item in value] * (2 if self.one_in(rate) else 1)
        return value


# How long

Test = Callable[..., None]


def fuzz(examples: int, *strategies: st.SearchStrategy[Any]) -> Callable[[Test], Test]:
    """A test of so many examples; with ``--fuzz-minutes`` of as many as fit into its share of the time."""

    def decorate(check: Test) -> Test:
        def test(request: pytest.FixtureRequest, tmp_path: Path) -> None:
            seconds = 60 * request.config.getoption("--fuzz-minutes") / len(TESTS)
            end, count = time.monotonic() + seconds, 0

            while True:

                def counted(drawn: tuple[Any, ...]) -> None:
                    nonlocal count
                    count += 1
                    check(tmp_path, *drawn)

                given(st.tuples(*strategies))(
                    settings(
                        max_examples=examples,
                        deadline=None,
                        derandomize=not seconds,
                        print_blob=True,
                        # each decision but the first comes from a seed, which does not get simpler
                        phases=(Phase.explicit, Phase.generate),
                        suppress_health_check=list(HealthCheck),
                    )(counted)
                )()
                if time.monotonic() >= end:
                    break
            if seconds:
                print(f"\n{check.__name__}: {count} examples")

        TESTS.append(check.__name__)
        test.__name__ = check.__name__
        test.__doc__ = check.__doc__
        return test

    return decorate


TESTS: list[str] = []


# HTTP: what comes over the wire


class Wire:
    """A server on 127.0.0.1 that answers each connection with given bytes, and then closes it."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.answer = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self._listening.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(1)
                    received = b""
                    while b"\r\n\r\n" not in received:
                        received += connection.recv(65536)
                    connection.sendall(self.answer)

    def close(self) -> None:
        # an accept that is under way would not notice a close
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@functools.cache
def wire() -> Wire:
    return Wire()


headers = st.lists(
    st.one_of(
        st.tuples(
            st.just("Content-Type"),
            st.sampled_from(
                [
                    "application/json",
                    "text/html",
                    "a;charset=\x00",
                    "x;charset=utf-7",
                    "a; charset=punycode",
                    "application/json; charset=utf-16",
                    "x;charset=rot13",
                    "x; charset=hex",
                    ";;;",
                    "",
                ]
            ),
        ),
        st.tuples(
            st.just("Content-Encoding"), st.sampled_from(["gzip", "deflate", "br", "zstd", "x", "gzip, gzip", ""])
        ),
        st.tuples(st.just("Content-Length"), st.sampled_from(["0", "3", "-1", "99999", "x", "1e3", "5, 5", "9" * 400])),
        st.tuples(st.just("Transfer-Encoding"), st.sampled_from(["chunked", "identity", "x"])),
        st.tuples(
            st.just("Retry-After"), st.sampled_from(["0", "-5", "soon", "1e999", "Fri, 99 Foo 0000 99:99:99", "\xff"])
        ),
        st.tuples(
            st.just("Location"),
            st.sampled_from(["http://[", "//x", "\x1b[31m", "ftp://x", "", "/" * 9, "http://x:99999"]),
        ),
        st.tuples(
            st.sampled_from(["Set-Cookie", "Connection", "Upgrade", "X\x00", "", " ", "WWW-Authenticate"]), words
        ),
    ),
    max_size=4,
)
bodies = st.one_of(
    st.binary(max_size=60),
    anything.map(lambda value: json.dumps(value).encode()),
    anything.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [
            b"[" * 20000,
            b'{"a":' * 5000,
            b"1" * 5000,
            b"<title>" * 50,
            b"\x1f\x8b\x08\x00",
            b"5\r\nabc",
            b"\xef\xbb\xbf{}",
        ]
    ),
)
heads = st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b"ICY", b"", b"\x15\x03\x03"])
dice = st.builds(
    Dice,
    st.integers(0, 2**32),
    st.lists(anything, min_size=2, max_size=4),
    st.lists(names, min_size=2, max_size=2),
    st.lists(bodies, min_size=2, max_size=2),
)
statuses = st.sampled_from(
    [200, 200, 200, 201, 204, 100, 101, 302, 304, 400, 401, 403, 404, 429, 500, 502, 599, 0, -1, "x"]
)


@fuzz(150, heads, statuses, headers, bodies, st.sampled_from(["GET", "POST", "form"]))
def test_what_comes_over_the_wire(unused: Path, head: bytes, status: Any, more: Any, body: bytes, method: str) -> None:
    lines = [head + f" {status} X".encode(), *(f"{name}: {value}".encode("utf-8", "replace") for name, value in more)]
    wire().answer = b"\r\n".join(lines) + b"\r\n\r\n" + body
    transport = Transport(wire().url, verify=True, timeout=1, retry_seconds=0)
    what: dict[str, Any] = {"GET": {}, "POST": {"body": [{}]}, "form": {"form": {"client_secret": SECRET}}}[method]
    try:
        found = transport.send("GET" if method == "GET" else "POST", f"{wire().url}/x", path="/x", **what)
        assert isinstance(found.text, str)
    except HaloError as error:
        str(error)
    finally:
        transport.close()


# Halo: answers that are JSON, to all modules


def _received(status: int, content: bytes, location: str = "") -> Any:
    kept = CaseInsensitiveDict({"Content-Type": "application/json", "Location": location})
    return http._response(SimpleNamespace(status_code=status, headers=kept, encoding="utf-8"), content)


class Spoiler:
    """Halo in memory, whose answers are spoilt here and there."""

    def __init__(self, dice: Dice) -> None:
        self._halo = Halo()
        self._halo.agent(8, "api-a")
        self._halo.application("5", "App", loginas_agent_id=8)
        self._dice = dice
        self._left = 60

    def send(self, method: str, url: str, *, path: str, body: Any = None, **_more: Any) -> http.Response:
        self._left -= 1
        if self._left < 0:
            raise HaloError("enough of it")
        try:
            found = self._halo.send(method, url, path=path, body=body)
        except (LookupError, TypeError, StopIteration):
            # what was sent is spoilt by now, too
            found = memory_answer({"Message": "not found"}, 404)
        value, status = found.data, found.status
        if self._dice.one_in(3):
            value = self._dice.spoilt(value)
        if self._dice.one_in(25):
            status = self._dice.of([200, 201, 204, 302, 400, 401, 403, 404, 409, 429, 500, 504])
        if self._dice.one_in(30):
            return _received(status, self._dice.content, "http://x/\x1b[31m?y")
        return _received(status, b"" if value is None else json.dumps(value).encode())


CONNECTION = {"halo_url": URL, "halo_client_id": OWN_ID, "halo_client_secret": OWN_SECRET, "halo_retry_seconds": 0}
BINDING = {
    "name": "App",
    "agent": {"name": "api-a", "roles": ["Admin"], "teams": ["Support"]},
    "application": {"scopes": ["all"]},
}
MODULES: list[tuple[str, dict[str, Any]]] = [
    ("halo_api_agent", {"name": "api-a", "roles": ["Admin"], "teams": ["Support"], "default_team": "Support"}),
    ("halo_api_agent", {"name": "api-a", "state": "absent", "force": False}),
    ("halo_api_agent_info", {}),
    ("halo_application", {"name": "App", "scopes": ["all"], "login_agent": "api-a", "regenerate_secret": "always"}),
    ("halo_application", {"name": "App", "state": "absent"}),
    ("halo_application_info", {"include_system": True}),
    ("halo_integrator", {"login_agent": "api-a"}),
    ("halo_role", {"name": "Reader", "permissions": {"tickets": "modify"}, "other_claims": []}),
    ("halo_role_info", {}),
    ("halo_login_info", {}),
    ("halo_binding", {"bindings": [BINDING]}),
    ("halo_binding", {"bindings": [{**BINDING, "adopt": "rotate", "previous_agent": "delete"}]}),
    ("halo_binding", {"bindings": [{"name": "Halo Integrator", "kind": "integrator", "agent": {"name": "api-a"}}]}),
    ("halo_binding", {"bindings": [BINDING], "state": "absent"}),
]


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Without waits."""
    with contextlib.ExitStack() as patches:
        for module in (http, run, client, rotation):
            for name in ("sleep", "TEST_PAUSE"):
                if hasattr(module, name):
                    made = (lambda _seconds: None) if name == "sleep" else 0
                    patches.enter_context(mock.patch.object(module, name, made))
        patches.enter_context(mock.patch("os.fsync"))
        patches.enter_context(mock.patch.object(client.Client, "pause", staticmethod(lambda _seconds: None)))
        yield


@fuzz(100, st.sampled_from(range(len(MODULES))), st.booleans(), dice)
def test_what_halo_answers(folder: Path, number: int, check_mode: bool, dice: Dice) -> None:
    module, args = MODULES[number]
    halo = Spoiler(dice)
    shutil.rmtree(folder / "halo_credentials", ignore_errors=True)
    with mock.patch.object(Transport, "send", lambda _self, *where, **what: halo.send(*where, **what)), hurried():
        result = in_process.task(
            module, {**CONNECTION, **args}, {"halo_integration_store": "file"}, folder, check_mode=check_mode
        )
    assert "Unexpected" not in str(result.get("msg")), result["msg"]
    errors = [one.get("error") for one in (result.get("bindings") or {}).values()] if module == "halo_binding" else []
    assert "Unexpected" not in str(errors), errors
    assert printable(str(result.get("msg") or "")) == str(result.get("msg") or "")


# Stores

PLACE = {"instance": URL, "vault": lambda: VAULT}
LABEL = {
    "client_id": "c",
    "client_secret": SECRET,
    "application_id": 3,
    "agent_id": 7,
    "agent_name": "a",
    "scope": "s",
    "made_at": "2026-01-31T12:00:00+00:00",
}
ENTRY = {
    "tenant": URL,
    **entry({"current": LABEL, "pending": LABEL, "previous": None}),
    "binding": "App",
    "instance": URL,
    "end": True,
}
CLAIM = {
    "tenant": URL,
    "holder": {"id": "x", "host": "h", "pid": 3},
    "since": "2026-01-31T12:00:00+00:00",
    "until": "2026-01-31T12:00:00+00:00",
    "end": True,
}


def used(store: Any, *, writes: bool = True) -> None:
    """What runs do with a store, each of which may end with an error of the collection's own."""
    with contextlib.suppress(HaloError):
        found, version = store.read("App")
        assert found.keys() >= {"current", "pending", "previous"}
        if writes:
            store.write("App", found, version)
    with contextlib.suppress(HaloError):
        assert all(isinstance(name, str) for name in store.others(["Other"]))
    with contextlib.suppress(HaloError), store.hold():
        pass


TAGS = (
    "!!python/object/apply:os.system ['touch pwned']",
    "!vault x",
    "!unsafe {{ 1/0 }}",
    "&a [*a]",
    "!!timestamp 9999",
    "<<: [1]",
    "2026-13-45",
    "!!binary x",
    "? {}",
)


@fuzz(60, dice, st.sampled_from(["file", "vault_file"]), st.integers(0, 3))
def test_what_a_file_of_a_store_holds(folder: Path, dice: Dice, name: str, how: int) -> None:
    place = Place(folder=str(folder / "store"), **PLACE)
    store: Any = open_store(name, place)
    path = Path(store.path("App"))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = json.dumps(dice.spoilt(ENTRY)).encode()
    if how == 1:
        # YAML takes its time for a thousand brackets
        content = dice.content[:300]
    if how == 2:
        content = content.replace(b'"App"', dice.of(TAGS).encode())
    if how == 3:
        content = b"$ANSIBLE_VAULT;1.1;AES256\n" + (dice.content if dice.one_in(2) else dice.content.hex().encode())
    path.write_bytes(content)
    path.chmod(0o600)
    # to encrypt takes long, and reads nothing
    with mock.patch("os.fsync"):
        used(store, writes=name == "file")
    assert not (folder / "pwned").exists()
    shutil.rmtree(folder / "store")


class Hostile(_claim.SharedStore):
    """A shared store whose backend gives whatever there is."""

    name = "hostile"

    def __init__(self, dice: Dice) -> None:
        super().__init__(Place(**PLACE))
        self._dice = dice

    def _get(self, key: str) -> Any:
        return self._dice.spoilt(CLAIM if key == ".claim" else ENTRY), self._dice.value

    def _put(self, key: str, value: Any, version: Any) -> Any:
        return self._dice.value

    def _list(self) -> Any:
        found = self._dice.spoilt(["App", ".claim"])
        return found if isinstance(found, list) else []

    def _where(self, key: str) -> str:
        return key


@fuzz(60, dice)
def test_what_a_shared_store_holds(unused: Path, dice: Dice) -> None:
    used(Hostile(dice))


@fuzz(60, dice)
def test_what_a_program_answers(unused: Path, dice: Dice) -> None:
    store = command.Store(Place(options={"command": ["true"]}, **PLACE))

    def ran(arguments: list[str], _given: Any) -> tuple[int, bytes, bytes]:
        kept = CLAIM if arguments[-1] == ".claim" else ENTRY
        whole = {"entry": kept, "version": "1", "bindings": ["App"]}
        output = dice.content if dice.one_in(5) else json.dumps(dice.spoilt(whole)).encode()
        return dice.of([0, 0, 0, 3, 1, -9]), output, dice.content

    with mock.patch.object(store, "_run", ran):
        used(store)


def _web(url: str, dice: Dice) -> tuple[int, bytes]:
    """What a server of secrets answers."""
    if "mounts/" in url:
        value: Any = {"data": {"type": "kv", "options": {"version": "2"}}}
    elif "/hosts/4/" in url:
        sealed = VAULT_OF_ENTRY()
        stored = {"127.0.0.1_9_acme-0000000000": {"App": {"version": "1", "sealed": sealed}}}
        value = {"id": 4, "variables": json.dumps({"halo_integration_stored": dice.spoilt(stored)})}
    elif "/hosts/" in url or "/inventories/" in url:
        value = {"results": [{"id": 4, "name": "h"}]}
    else:
        value = {"data": {"data": CLAIM if ".claim" in url else ENTRY, "metadata": {"version": 3}, "keys": ["App"]}}
        value["auth"] = {"client_token": "t"}
    content = dice.content if dice.one_in(10) else json.dumps(dice.spoilt(value)).encode()
    return dice.of([200, 200, 200, 200, 200, 204, 302, 400, 403, 404, 429, 500, 502, 503]), content


@functools.cache
def VAULT_OF_ENTRY() -> str:
    return str(VAULT.encrypt(json.dumps(ENTRY)).decode())


def _needs(store: str) -> None:
    if store == "hashi_vault":
        pytest.importorskip("hvac")


SERVERS: list[tuple[str, dict[str, Any]]] = [
    ("hashi_vault", {"url": URL, "token": "t"}),
    ("hashi_vault", {"url": URL, "auth_method": "approle", "role_id": "r", "secret_id": "s"}),
    ("controller_host", {"url": URL, "token": "t", "inventory": "i", "host": "h", "settle_seconds": 0}),
]


@fuzz(50, st.sampled_from(SERVERS), dice)
def test_what_a_server_of_secrets_answers(unused: Path, which: tuple[str, dict[str, Any]], dice: Dice) -> None:
    def send(_adapter: Any, request: Any, **_how: Any) -> requests.Response:
        status, content = _web(request.url, dice)
        raw = HTTPResponse(io.BytesIO(content), status=status, preload_content=False, headers={"Date": dice.key})
        made: requests.Response = requests.adapters.HTTPAdapter().build_response(request, raw)
        return made

    name, options = which
    _needs(name)
    with (
        mock.patch.object(requests.adapters.HTTPAdapter, "send", send),
        mock.patch("time.sleep"),
        contextlib.suppress(HaloError),
    ):
        used(open_store(name, Place(options=options, **PLACE)))


def _boto() -> tuple[Any, Any]:
    # the environments of the other versions of ansible-core have no libraries of stores
    return tuple(pytest.importorskip(f"botocore.{name}") for name in ("awsrequest", "httpsession"))  # type: ignore[return-value]


@functools.cache
def _aws() -> Any:
    given_keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_MAX_ATTEMPTS": "1"}
    with mock.patch.dict(os.environ, given_keys):
        return open_store("aws_secrets_manager", Place(options={"region": "eu-west-2", "endpoint_url": URL}, **PLACE))


@fuzz(40, dice)
def test_what_aws_answers(unused: Path, dice: Dice) -> None:
    awsrequest, httpsession = _boto()

    def send(_session: Any, request: Any) -> Any:
        value = {
            "SecretString": json.dumps(dice.spoilt(ENTRY)),
            "VersionId": "v" * 32,
            "SecretList": [{"Name": "halo/x/App"}],
        }
        value |= {"__type": "ResourceNotFoundException", "message": "m"}
        content = dice.content if dice.one_in(6) else json.dumps(dice.spoilt(value)).encode()
        status = dice.of([200, 200, 200, 400, 403, 500])
        raw = SimpleNamespace(stream=lambda **_how: [content], close=lambda: None)
        return awsrequest.AWSResponse(request.url, status, CaseInsensitiveDict({"date": dice.key}), raw)

    with (
        mock.patch.object(httpsession.URLLib3Session, "send", send),
        mock.patch("time.sleep"),
    ):
        used(_aws())


# What lies in files


@fuzz(100, st.one_of(st.binary(max_size=60), st.none()))
def test_what_the_folder_of_tokens_holds(folder: Path, content: bytes | None) -> None:
    cache = TokenCache(str(folder))
    cache.put("key", Token("t", None, 3600))
    path = folder / "halo-token-key"
    whole = path.read_bytes()
    if content is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(content if len(content) % 2 else whole[: len(content)] + content)
    assert cache.get("key") is None
    cache.drop("key", "t")
    if content is None:
        path.rmdir()


RUN = {
    "title": "T",
    "kind": "provision",
    "check_mode": False,
    "started": "2026-01-31T12:00:00+00:00",
    "ended": "2026-01-31T12:00:00+00:00",
    "collection_version": "1",
}
ROW = {
    **dict.fromkeys(report.ROW_KEYS),
    "tenant": "acme",
    "url": URL,
    "state": "failed",
    "binding": "App",
    "drift": ["x"],
    "warnings": [],
    "due_at": "2026-01-31T12:00:00+00:00",
    "error": "e",
    "hint": "h",
}


@fuzz(40, dice)
def test_reports_that_are_merged(folder: Path, dice: Dice) -> None:
    for number in range(2):
        whole = {"schema_version": 1, "run": RUN, "rows": [ROW, ROW], "summary": {}}
        content = dice.content if dice.one_in(10) else json.dumps(dice.spoilt(whole, 40)).encode()
        (folder / f"{number}.json").write_bytes(content)
    with contextlib.suppress(HaloError):
        parts = [report_action._read(str(folder / f"{number}.json")) for number in range(2)]
        made = report.merge(parts, {"collection_version": None})
        text = "\n".join(report.lines(made["rows"]))
        assert printable(text.replace("\n", " ")) == text.replace("\n", " ")
        report_forms.write(made, str(folder / "whole.html"))


cells = st.one_of(
    words, st.sampled_from(["acme", "https://x.example.com", "{{ 1/0 }}", '"', "\0", "\r", "\ufeff", "a,b"])
)


@fuzz(60, st.one_of(st.binary(max_size=60), st.lists(st.lists(cells, max_size=5), max_size=4)), st.booleans())
def test_the_inventory_from_a_table(folder: Path, table: Any, headed: bool) -> None:
    script = folder / "tenants.py"
    shutil.copy(EXAMPLES / "inventory" / "tenants.py", script)
    content = (
        table
        if isinstance(table, bytes)
        else "\n".join(",".join(row) for row in table).encode("utf-8", "surrogatepass")
    )
    (folder / "tenants.csv").write_bytes((b"name,url,tenant,client_id\n" if headed else b"") + content)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        runpy.run_path(str(script))
    # of a table that is none it says why on standard error
    hosts = json.loads(printed.getvalue() or '{"_meta": {"hostvars": {}}}')["_meta"]["hostvars"]
    assert all(set(value) == {"__ansible_unsafe"} for host in hosts.values() for value in host.values())


# Words


@fuzz(150, st.text(st.characters(exclude_categories=()), max_size=60), st.lists(words, max_size=3))
def test_words_for_a_person(unused: Path, text: str, secrets: list[str]) -> None:
    said = one_line(redact(text, secrets))
    assert printable(said) == said
    assert "\n" not in said
    str(HaloError(text, instance=text, subject=text, answer=text, hint=text))


# What was found once


def test_a_date_that_is_none_in_a_file_of_a_store(tmp_path: Path) -> None:
    store = open_store("file", Place(folder=str(tmp_path / "store"), **PLACE))
    store.write("App", entry({"current": LABEL}), None)
    path = Path(store.path("App"))
    path.write_text(path.read_text().replace("binding: App", "binding: !!timestamp 9999"))
    with pytest.raises(HaloError, match="is not what this store writes"):
        store.read("App")


@pytest.mark.parametrize("secret", [["a"], {"a": 1}, 5, True], ids=str)
def test_a_secret_that_is_no_text(secret: Any) -> None:
    assert entry({"current": {**LABEL, "client_secret": secret}})["current"] is None
    store = Hostile(None)
    with (
        mock.patch.object(store, "_get", return_value=({**ENTRY, "current": {**LABEL, "client_secret": secret}}, "1")),
        pytest.raises(HaloError, match="is not what this store writes"),
    ):
        store.read("App")


@pytest.mark.parametrize("answer", [{"version": "1", "more": 1}, {"entry": {}, "version": None}, {"more": 1}], ids=str)
def test_a_program_that_leaves_something_out(answer: dict[str, Any]) -> None:
    store = command.Store(Place(options={"command": ["true"]}, **PLACE))
    with (
        mock.patch.object(store, "_run", return_value=(0, json.dumps(answer).encode(), b"")),
        pytest.raises(HaloError, match="did not print what it must"),
    ):
        store.read("App")


def test_keys_that_are_no_texts() -> None:
    store = Hostile(None)
    with (
        mock.patch.object(store, "_list", return_value=[{}, 5]),
        mock.patch.object(store, "_get", return_value=(None, None)),
    ):
        assert store.names() == []


@pytest.mark.parametrize("which", SERVERS, ids=str)
def test_brackets_without_end(which: tuple[str, dict[str, Any]]) -> None:
    _needs(which[0])

    def send(_adapter: Any, request: Any, **_how: Any) -> requests.Response:
        raw = HTTPResponse(io.BytesIO(b"[" * 100_000), status=200, preload_content=False)
        made: requests.Response = requests.adapters.HTTPAdapter().build_response(request, raw)
        return made

    with (
        mock.patch.object(requests.adapters.HTTPAdapter, "send", send),
        pytest.raises(HaloError, match="answers, and not as"),
    ):
        open_store(which[0], Place(options=which[1], **PLACE))


@pytest.mark.parametrize("answer", [{"SecretString": "{}"}, None, [], "x"], ids=str)
def test_aws_without_a_version(answer: Any) -> None:
    awsrequest, httpsession = _boto()

    def send(_session: Any, request: Any) -> Any:
        raw = SimpleNamespace(stream=lambda **_how: [json.dumps(answer).encode()], close=lambda: None)
        return awsrequest.AWSResponse(request.url, 200, {}, raw)

    with (
        mock.patch.object(httpsession.URLLib3Session, "send", send),
        pytest.raises(HaloError, match=r"in which version|not as AWS"),
    ):
        _aws().read("App")


@pytest.mark.parametrize("content", [b"name,url\n\xff,x", b"nom,url\nacme,x", b"name\n" + b"a" * 200_000], ids=len)
def test_a_table_that_is_none(tmp_path: Path, content: bytes) -> None:
    script = Path(shutil.copy(EXAMPLES / "inventory" / "tenants.py", tmp_path))
    (tmp_path / "tenants.csv").write_bytes(content)
    with pytest.raises(SystemExit, match=r"tenants\.csv"):
        runpy.run_path(str(script))
