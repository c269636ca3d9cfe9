# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookups, as templates call them: what they return, where that comes from, and what they say where nothing is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar
from ansible_collections.haloops.halo.plugins.lookup import credential
from ansible_collections.haloops.halo.plugins.module_utils.lifecycle import entry
from ansible_collections.haloops.halo.plugins.plugin_utils.stores import VARIABLES, Place, open_store

URL = "https://acme.example.com"
SECRETS = [("default", VaultSecret(b"open sesame"))]


def label(word: str, **more: Any) -> dict[str, Any]:
    return {
        "client_id": f"{word} id",
        "client_secret": f"{word} secret",
        "application_id": 3,
        "agent_id": 7,
        "agent_name": "api-tickets",
        "scope": "read:tickets edit:tickets",
        "made_at": "2026-01-31T12:00:00.000000+00:00",
        **more,
    }


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, Any]:
    """Of a host with three stored bindings."""
    place = Place(URL, "acme", str(tmp_path / "halo_credentials"), vault=lambda: VaultLib(SECRETS))
    for name, labels in {
        "Ticket integration": ["current", "previous"],
        "Reporting": ["current"],
        "New": ["pending"],
    }.items():
        open_store("vault_file", place).write(name, entry({word: label(f"{name} {word}") for word in labels}), None)
    return {
        "inventory_dir": str(tmp_path),
        "halo_url": f"{URL}/",
        "halo_tenant": trusted("{{ customer }}"),
        "customer": "acme",
    }


def trusted(template: str) -> str:
    """A template as Ansible takes it from a file of the user's."""
    try:
        from ansible.template import trust_as_template
    except ImportError:
        # before core 2.19
        return template
    return trust_as_template(template)


def templar(variables: dict[str, Any], secrets: Any = None) -> tuple[DataLoader, Templar]:
    loader = DataLoader()
    loader.set_vault_secrets(SECRETS if secrets is None else secrets)
    return loader, Templar(loader, variables=variables)


@pytest.fixture(autouse=True)
def _vault_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        from ansible.parsing.vault import VaultSecretsContext
    except ImportError:
        return
    monkeypatch.setattr(VaultSecretsContext, "_current", VaultSecretsContext(SECRETS))


def look_up(variables: dict[str, Any], *terms: str, **options: Any) -> Any:
    loader, of_host = templar(variables)
    lookup = lookup_loader.get("haloops.halo.credential", loader=loader, templar=of_host)
    return lookup.run(list(terms), variables, **options)


def test_everything_that_a_program_needs_to_log_in(variables: dict[str, Any]) -> None:
    assert look_up(variables, "ticket integration") == [
        {
            "client_id": "Ticket integration current id",
            "client_secret": "Ticket integration current secret",
            "url": URL,
            "tenant": "acme",
            "agent_name": "api-tickets",
            "scope": "read:tickets edit:tickets",
            "made_at": "2026-01-31T12:00:00.000000+00:00",
            "due_at": None,
        }
    ]


def test_it_is_used_in_a_template(variables: dict[str, Any]) -> None:
    _loader, of_host = templar(variables)
    one = "{{ lookup('haloops.halo.credential', 'Ticket integration', label='previous').client_secret }}"
    assert of_host.template(trusted(one)) == "Ticket integration previous secret"
    two = "{{ query('haloops.halo.credential', 'Reporting', 'Ticket integration') | map(attribute='client_id') }}"
    assert list(of_host.template(trusted(two))) == ["Reporting current id", "Ticket integration current id"]


def test_labels(variables: dict[str, Any]) -> None:
    for name, word in (("Ticket integration", "current"), ("Ticket integration", "previous"), ("New", "pending")):
        assert look_up(variables, name, label=word)[0]["client_secret"] == f"{name} {word} secret"
    with pytest.raises(AnsibleError, match="later"):
        look_up(variables, "New", label="later")


def test_a_due_date_where_an_age_is_given(variables: dict[str, Any]) -> None:
    (found,) = look_up(variables, "Reporting", max_age_days="10", jitter=0)
    assert found["due_at"] == "2026-02-08T12:00:00+00:00"
    (spread,) = look_up(variables, "Reporting", max_age_days="10")
    assert "2026-02-07T12" <= spread["due_at"] <= "2026-02-09T13"
    assert spread["due_at"] != found["due_at"]


def test_options_go_before_variables(variables: dict[str, Any], tmp_path: Path) -> None:
    place = Place("https://other.example.com", None, str(tmp_path / "other"), key="key")
    open_store("file", place).write("Reporting", entry({"current": label("other")}), None)
    given = {"store": "file", "store_dir": "other", "store_key": "key", "halo_url": place.instance, "store_options": {}}
    (found,) = look_up(variables, "Reporting", **given)
    assert (found["client_secret"], found["url"], found["tenant"]) == ("other secret", place.instance, "acme")


def test_the_environment_serves_where_nothing_else_does(
    variables: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALO_URL", URL)
    monkeypatch.setenv("HALO_TENANT", "acme")
    found = look_up({"inventory_dir": variables["inventory_dir"], "halo_url": ""}, "Reporting")
    assert found[0]["client_secret"] == "Reporting current secret"


@pytest.mark.parametrize(
    ("term", "options", "message"),
    [
        (
            "Nothing",
            {},
            r"binding 'Nothing': the store vault_file \(/.*halo_credentials\) holds no current credentials",
        ),
        ("Nothing", {}, r"Run the role halo_integration for it first.* halo_url, halo_tenant"),
        ("New", {}, r"holds no current credentials of it, only pending ones\. Use label=pending"),
        ("Reporting", {"label": "previous"}, r"no previous credentials of it, only current ones\. Use label=current"),
        ("Reporting", {"halo_tenant": "acmee"}, rf"{URL} acmee: binding 'Reporting': the store"),
        ("Reporting", {"lable": "current"}, r"lable is not an option; did you mean label\?"),
        ("Reporting", {"store": "valt_file"}, r"did you mean vault_file\?"),
        ("Reporting", {"halo_url": "acme"}, "halo_url is not an address: acme"),
        ("Reporting", {"store": "file"}, "is encrypted, and the store is 'file'"),
    ],
)
def test_what_is_not_there_is_named_and_what_to_do(
    variables: dict[str, Any], term: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(AnsibleError, match=message) as caught:
        look_up(variables, term, **options)
    assert not re.search("(current|previous|pending) secret", str(caught.value))


def test_what_is_stored_is_no_template(variables: dict[str, Any], tmp_path: Path) -> None:
    place = Place(URL, "acme", str(tmp_path / "halo_credentials"), vault=lambda: VaultLib(SECRETS))
    evil = f"{{{{ lookup('pipe', 'touch {tmp_path}/evaluated') }}}}"
    open_store("vault_file", place).write("Evil", entry({"current": label("x", agent_name=evil, scope=evil)}), None)
    loader = DataLoader()
    loader.set_vault_secrets(SECRETS)
    found = Templar(loader, variables).template(trusted("{{ lookup('haloops.halo.credential', 'Evil').agent_name }}"))
    assert found == evil
    assert not (tmp_path / "evaluated").exists()


def test_a_variable_that_cannot_be_templated_is_named(variables: dict[str, Any]) -> None:
    del variables["customer"]
    with pytest.raises(AnsibleError, match=r"the variable halo_tenant cannot be templated: .*'customer' is undefined"):
        look_up(variables, "Reporting")


def test_the_options_are_those_that_are_documented() -> None:
    documented = yaml.safe_load(credential.DOCUMENTATION)["options"].keys() - {"_terms"}
    assert documented == credential.OPTIONS.keys()
    assert documented > VARIABLES.keys()
    returned = yaml.safe_load(credential.RETURN)["_raw"]["contains"].keys()
    store, place = "file", Place(URL)
    lookup = lookup_loader.get("haloops.halo.credential")
    lookup.set_options(direct={})
    assert lookup._credential(store, place, "one", entry({"current": label("a")})).keys() == returned


def test_a_new_secret_has_halos_form_and_is_new_each_time() -> None:
    lookup = lookup_loader.get("haloops.halo.new_client_secret")
    made = {lookup.run([])[0] for _unused in range(10)}
    assert len(made) == 10
    uuid = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert all(re.fullmatch(f"{uuid}-{uuid}", secret) for secret in made)
    for terms, options in ((["something"], {}), ([], {"length": 8})):
        with pytest.raises(AnsibleError, match="takes no terms and no options"):
            lookup.run(terms, **options)
