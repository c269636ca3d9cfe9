# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is special to stores on servers, against a real OpenBao and AWS's stand-in: connections, claims, logins."""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import sys
import threading
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import certifi
import pytest
import yaml
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError, StaleEntry, TenantBusy
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import _claim
from ansible_collections.haloops.halo.plugins.plugin_utils.stores._files import safe
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from halo_sandbox.testing import Sandbox
from helpers import guide, in_process
from helpers.entries import BINDING, FULL, SECRET, current, label, made
from helpers.store_kits import AWS_REFUSALS, INSTANCE, Aws, ServerKit, Vault, response, wait
from helpers.store_servers import free_port

shared = pytest.mark.parametrize("kit", [Aws, Vault], indirect=True, ids=lambda kit: kit.title)
vault = pytest.mark.parametrize("kit", [Vault], indirect=True, ids=lambda kit: kit.title)
aws = pytest.mark.parametrize("kit", [Aws], indirect=True, ids=lambda kit: kit.title)


@pytest.fixture(autouse=True)
def _short_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_claim.SharedStore, "claim_seconds", ServerKit.claim[0])
    monkeypatch.setattr(_claim.SharedStore, "extend_seconds", ServerKit.claim[1])


# Entries


@shared
def test_the_others_are_found_by_one_list_and_what_is_known_is_not_read(
    kit: ServerKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("One", "two", "three"):
        kit.open().write(name, made(name), None)
    store = kit.open()
    with store.hold():
        pass
    lists, reads = [], []
    real_list, real_get = store._list, store._get
    monkeypatch.setattr(store, "_list", lambda: lists.append(1) or real_list())
    monkeypatch.setattr(store, "_get", lambda key: reads.append(key) or real_get(key))
    assert {name: now["current"]["client_secret"] for name, now in store.others([" one", "TWO"]).items()} == {
        "three": "three"
    }
    assert (len(lists), len(reads)) == (1, 1)
    assert store.others(["one", "two", "three"]) == {}
    assert (len(lists), len(reads)) == (2, 1)


@shared
def test_half_a_character_in_a_name_is_refused_before_anything_is_stored(kit: ServerKit) -> None:
    for work in (lambda: kit.open().read("a\udc80"), lambda: kit.open().write("a\udc80", FULL, None)):
        with pytest.raises(HaloError, match="its name is no text"):
            work()


# Connections


@shared
def test_a_write_whose_connection_is_lost_is_carried_out_once(kit: ServerKit) -> None:
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


@shared
def test_a_gateway_that_fails_after_the_write_is_a_lost_connection(kit: ServerKit) -> None:
    store = kit.open()
    version = store.write(BINDING, made("0"), None)
    for status in (500, 502, 504):
        kit.proxy.lose(kit.writes[-1], after=True, response=response(status, {"message": "No."}))
        version = store.write(BINDING, made(str(status)), version)
        assert kit.proxy.lost()
        assert kit.open().read(BINDING)[1] == version
        assert current(store) == str(status)


@shared
def test_a_lost_write_that_someone_else_overtook_is_stale(kit: ServerKit) -> None:
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
def test_a_read_whose_connection_is_lost_is_done_again(kit: ServerKit) -> None:
    store = kit.open()
    store.write(BINDING, FULL, None)
    for head in (b"GET /v1/secret", b"secretsmanager.GetSecretValue"):
        kit.proxy.lose(head, after=True)
    assert current(store) == SECRET
    for head in (b"LIST /v1/secret", b"secretsmanager.ListSecrets"):
        kit.proxy.lose(head, after=False)
    assert store.names() == [BINDING]


@shared
def test_a_server_that_is_gone_is_named(kit: ServerKit) -> None:
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


@aws
@pytest.mark.parametrize("code", AWS_REFUSALS)
def test_credentials_that_aws_refuses(kit: Aws, code: str) -> None:
    store = kit.open()
    version = store.write(BINDING, made("0"), None)
    with kit.refusing(code):
        for work in (lambda: store.read(BINDING), lambda: store.write(BINDING, FULL, version), store.hold().__enter__):
            with pytest.raises(
                HaloError, match=f"says {code}: .*(boto3 finds the right cred|credentials need)"
            ) as caught:
                work()
            assert "TheToken" not in str(caught.value)
            assert SECRET not in str(caught.value)
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


def works(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except HaloError:
        return False
    return True


@shared
def test_a_claim_that_cannot_be_extended_stops_the_work_before_another_takes_over(
    kit: ServerKit, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        other.clock = lambda: time.time() + kit.claim[0]
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
def test_who_lost_the_claim_before_its_time_writes_nothing_either(
    kit: ServerKit, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_a_lost_connection_while_the_claim_is_extended_does_no_harm(kit: ServerKit) -> None:
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
def test_a_controller_whose_clock_is_wrong_waits_and_holds_as_long(kit: ServerKit) -> None:
    for seconds in (-3600, 3600):
        wrong = kit.open()
        wrong.clock = lambda ahead=seconds: time.time() + ahead
        with kit.open().hold(), pytest.raises(TenantBusy), wrong.hold():
            raise AssertionError
        with wrong.hold(), pytest.raises(TenantBusy), kit.open().hold():
            raise AssertionError


@shared
def test_a_claim_that_is_garbage_is_not_taken_for_free(kit: ServerKit) -> None:
    with kit.open().hold():
        pass
    kit.replace_claim("x")
    with pytest.raises(HaloError, match=r"\.claim.*is not what this store writes.*remove it"), kit.open().hold():
        raise AssertionError


# The engine over a store


@shared
def test_provision_again_and_rotate(kit: ServerKit, tmp_path: Path) -> None:
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
def test_a_missing_library_is_named_with_what_installs_it(kit: ServerKit, monkeypatch: pytest.MonkeyPatch) -> None:
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
    rules = guide.block("# halo.hcl")
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
    options = yaml.safe_load(guide.block("# Kubernetes"))["halo_integration_store_options"]
    options |= {"url": kit.proxy.url, "auth_mount": f"k-{kit.owner}", "token": None}
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
    kit.proxy.answer(b"GET /v1/sys/internal", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    with pytest.raises(HaloError, match=r"answers, and not as Vault does.*option url"):
        kit.open()


@vault
def test_what_vault_says_is_not_passed_on_with_the_token_in_it(kit: Vault) -> None:
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
