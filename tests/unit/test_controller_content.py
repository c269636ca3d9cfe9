# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What controller_setup loads, field by field: against the options of awx.awx 24.6.1, of which data/ has an excerpt."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

ROOT = Path(__file__).resolve().parent.parent.parent
PLAYBOOKS = ROOT / "playbooks"
PROJECT = ROOT / "examples" / "controller_project"
OPTIONS = json.loads((Path(__file__).resolve().parent / "data" / "awx_options.json").read_text())["modules"]
# The lists of the dispatch roles, and the module that takes one of their items.
LISTS = {
    "controller_labels": "label",
    "controller_credential_types": "credential_type",
    "controller_credentials": "credential",
    "controller_execution_environments": "execution_environment",
    "controller_projects": "project",
    "controller_inventories": "inventory",
    "controller_inventory_sources": "inventory_source",
    "controller_templates": "job_template",
    "controller_workflows": "workflow_job_template",
    "controller_schedules": "schedule",
}
NODES = "simplified_workflow_nodes"
CREDENTIALS = [
    {"name": "Acme", "credential_type": "Halo instance", "inputs": {"url": "https://acme.example.com"}},
    {"name": "Secrets of the inventory", "credential_type": "Vault", "inputs": {"vault_password": "example"}},
]
MINE = {
    "halo_controller_prefix": "Tickets",
    "halo_controller_organization": "Service desk",
    "halo_controller_label": "tickets",
    "halo_controller_image": "registry.example.com/halo:1.2",
    "halo_controller_scm_type": "manual",
    "halo_controller_local_path": "halo",
    "halo_controller_inventory_path": "tenants.yml",
    "halo_controller_credentials": CREDENTIALS,
    "halo_controller_update_secrets": True,
    "halo_controller_slices": 3,
    "halo_controller_forks": 50,
    "halo_controller_job_timeout": 3600,
    "halo_controller_extra_vars": {"halo_integration_store": "hashi_vault"},
    "halo_controller_store_to": {"store": "hashi_vault"},
    "halo_controller_command_variable": "BWS_ACCESS_TOKEN",
    "halo_controller_approval_seconds": 60,
    "halo_controller_audit_enabled": False,
}
Content = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Content]:
    """The lists as Ansible sees them: with nothing set, and with ``MINE``."""
    folder = tmp_path_factory.mktemp("content")
    plays = []
    for name, variables in (("plain", {}), ("mine", MINE)):
        task = {
            "ansible.builtin.copy": {
                "content": f"{{{{ {{{', '.join(f'{key!r}: {key}' for key in LISTS)}}} | to_json }}}}",
                "dest": str(folder / name),
            }
        }
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": [task]}
        plays.append({**play, "vars_files": [str(PLAYBOOKS / "vars" / "controller.yml")]})
    (folder / "play.yml").write_text(json.dumps(plays))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(folder / "play.yml")]
    variables = {"ansible_python_interpreter": sys.executable}
    done = subprocess.run(
        [*command, "-e", json.dumps(variables)],
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCAL_TEMP": str(folder / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return {name: json.loads((folder / name).read_text()) for name in ("plain", "mine")}


@pytest.fixture(params=["plain", "mine"])
def content(contents: dict[str, Content], request: pytest.FixtureRequest) -> Content:
    return contents[request.param]


def complaints(module: str, item: dict[str, Any]) -> list[str]:
    spec = {name: dict(option) for name, option in OPTIONS[module]["options"].items()}
    constraints = {name: value for name, value in OPTIONS[module].items() if name != "options"}
    constraints["required_if"] = [tuple(rule) for rule in constraints.pop("required_if", [])]
    return list(ArgumentSpecValidator(spec, **constraints).validate(item).error_messages)


def test_the_module_of_each_object_takes_all_its_fields(content: Content) -> None:
    for key, module in LISTS.items():
        for item in content[key]:
            given = {name: value for name, value in item.items() if name != NODES}
            assert complaints(module, given) == [], (key, item)
    for workflow in content["controller_workflows"]:
        for node in workflow[NODES]:
            assert complaints("workflow_job_template_node", {"workflow": workflow["name"], **node}) == [], node


def test_the_check_itself_finds_what_is_wrong() -> None:
    assert complaints("label", {"name": "a", "organization": "b", "colour": "red"})[0].startswith("colour")
    assert "required" in complaints("label", {"name": "a"})[0]
    assert complaints("schedule", {"name": "a", "enabled": "perhaps"})
    both = {"identifier": "a", "workflow": "b", "unified_job_template": "c", "approval_node": {"name": "d"}}
    assert "mutually exclusive" in complaints("workflow_job_template_node", both)[0]


def tasks(state: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((PLAYBOOKS / "tasks" / f"controller_{state}.yml").read_text())
    return found


def test_the_playbook_passes_on_every_field_and_no_other(content: Content) -> None:
    passed: dict[str, set[str]] = {}
    for task in tasks("present"):
        ((name, args),) = [(name, args) for name, args in task.items() if name.startswith("awx.awx.")]
        module = name.removeprefix("awx.awx.")
        assert set(args) <= set(OPTIONS[module]["options"]), name
        (key,) = re.findall(r"controller_\w+", task["loop"])
        item = "item.1" if NODES in task["loop"] else "item"
        of = NODES if NODES in task["loop"] else key
        for text in args.values():
            passed.setdefault(of, set()).update(re.findall(rf"{re.escape(item)}\.([a-z_]+)", str(text)))
    for key in LISTS:
        fields = {name for row in content[key] for name in row} - {NODES}
        assert fields <= passed[key], (key, fields - passed[key])
    nodes = {name for workflow in content["controller_workflows"] for node in workflow[NODES] for name in node}
    assert nodes <= passed[NODES]


def test_every_kind_of_object_is_loaded_and_removed() -> None:
    assert {task["loop"] for task in tasks("present")} >= {f"{{{{ {key} }}}}" for key in LISTS}
    # a source goes with its inventory, a label with the last that bears it; credentials are looked for first
    gone = {f"{{{{ {key} }}}}" for key in LISTS} - {"{{ controller_inventory_sources }}", "{{ controller_labels }}"}
    assert {task["loop"] for task in tasks("absent")} >= gone


def test_the_excerpt_has_the_modules_that_the_playbook_uses() -> None:
    text = "".join((PLAYBOOKS / "tasks" / f"controller_{state}.yml").read_text() for state in ("present", "absent"))
    assert set(re.findall(r"awx\.awx\.(\w+):", text)) == set(OPTIONS) == {*LISTS.values(), "workflow_job_template_node"}
    mocked = yaml.safe_load((ROOT / ".ansible-lint").read_text())["mock_modules"]
    assert mocked == [f"awx.awx.{name}" for name in sorted(OPTIONS)]


def test_everything_can_be_set_by_a_variable(contents: dict[str, Content]) -> None:
    mine = contents["mine"]
    assert "Halo" not in json.dumps([{key: item["name"]} for key in LISTS for item in mine[key]])
    owners = {item["organization"] for key in LISTS for item in mine[key] if "organization" in item}
    assert owners == {"Service desk"}
    used = (PLAYBOOKS / "vars" / "controller.yml").read_text()
    known = set(re.findall(r"halo_controller_\w+", used)) - {"halo_controller_secret_template"}
    described = (ROOT / "docs" / "docsite" / "rst" / "controller.rst").read_text()
    assert known - {"halo_controller_"} <= set(re.findall(r"halo_controller_\w+", described))
    assert mine["controller_projects"][0]["local_path"] == "halo"
    (command,) = [item for item in mine["controller_credential_types"] if "BWS_ACCESS_TOKEN" in json.dumps(item)]
    assert command["injectors"]["env"] == {"BWS_ACCESS_TOKEN": "{{ secret }}"}
    template = mine["controller_templates"][0]
    assert template["credentials"] == ["Acme", "Secrets of the inventory"]
    assert (int(template["forks"]), int(template["job_slice_count"]), int(template["timeout"])) == (50, 3, 3600)
    assert all(item["extra_vars"]["halo_integration_store"] == "hashi_vault" for item in mine["controller_templates"])
    assert [item["update_secrets"] for item in mine["controller_credentials"]] == [True, True]


# Controller's own rules


def test_credential_types_are_such_as_controller_accepts(content: Content) -> None:
    for item in content["controller_credential_types"]:
        fields = {field["id"]: field for field in item["inputs"]["fields"]}
        assert set(item["inputs"]["required"]) <= set(fields)
        used = set()
        for name, template in item["injectors"]["env"].items():
            assert re.fullmatch(r"[A-Z_]+", name)
            assert not name.startswith("ANSIBLE_")
            used.update(re.findall(r"\b(?!true|false|if|else|True)[a-z_]+", template))
        assert used == set(fields), "an input that goes nowhere, or a template of what is no input"
        for field in fields.values():
            assert field["type"] == "string" or (field["type"] == "boolean" and "secret" not in field)
            assert "default" not in field, "Controller does not apply it"
            assert field.get("secret", False) == (field["id"] in SECRET), field


SECRET = ("client_secret", "token", "secret_id", "jwt", "secret_key", "session_token", "secret")


def survey(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    assert template["survey_enabled"] is True
    yield from template["survey_spec"]["spec"]


def decided(playbook: str) -> set[str]:
    """The variables that a playbook, and those that it imports, decide on."""
    found: set[str] = set()
    for play in yaml.safe_load((PLAYBOOKS / playbook).read_text()):
        imported = play.get("ansible.builtin.import_playbook")
        found |= set(play.get("vars", {})) | (decided(imported) if imported else set())
    return found


def test_no_survey_defeats_its_playbook(content: Content) -> None:
    for template in content["controller_templates"]:
        asked = {question["variable"] for question in survey(template)}
        assert not asked & decided(template["playbook"])
        assert not asked & {"halo_integration_rotate", "halo_integration_rotate_all", "halo_integration_verify"}
        assert template["ask_variables_on_launch"] is False
        assert not set(template["extra_vars"]) & {"halo_integration_rotate", "halo_integration_rotate_all"}


def test_an_answer_that_nobody_gave_is_the_default(content: Content) -> None:
    """Controller has no default for a question that must be answered, and where a schedule does not ask it fails."""
    for template in content["controller_templates"]:
        for question in survey(template):
            if question["variable"] in ("halo_decommission_confirm", "halo_self_test_confirm"):
                assert question["required"]
                assert "default" not in question
            else:
                assert not question["required"]
                assert question["default"]
            assert question["type"] != "text" or question["min"] == 1
            assert question["type"] != "multiplechoice" or question["default"] in question["choices"]


def test_templates_do_not_run_beside_themselves_and_are_sliced_where_that_is_right(content: Content) -> None:
    for template in content["controller_templates"]:
        assert template["allow_simultaneous"] is False
        sliced = template["playbook"] not in ("decommission.yml", "self_test.yml")
        assert template.get("ask_job_slice_count_on_launch", False) is sliced
        assert sliced or template["job_slice_count"] == 1
    assert content["controller_workflows"][0]["allow_simultaneous"] is False


def test_the_workflow_asks_only_after_an_audit_that_found_something(content: Content) -> None:
    (workflow,) = content["controller_workflows"]
    nodes = {node["identifier"]: node for node in workflow[NODES]}
    of = {template["name"]: template for template in content["controller_templates"]}
    audit, approve, rotate = nodes["audit"], nodes["approve"], nodes["rotate"]
    assert of[audit["unified_job_template"]]["playbook"] == "audit.yml"
    assert of[rotate["unified_job_template"]]["playbook"] == "rotate.yml"
    # an audit that finds drift fails, by the answer to this question of its survey
    ((name, answer),) = audit["extra_data"].items()
    (question,) = [one for one in survey(of[audit["unified_job_template"]]) if one["variable"] == name]
    assert (name, question["default"]) == ("halo_audit_fail", "false")
    assert answer == "true"
    assert answer in question["choices"]
    assert (audit["failure_nodes"], approve["success_nodes"]) == (["approve"], ["rotate"])
    assert not {"success_nodes", "always_nodes"} & set(audit)
    assert not {"success_nodes", "failure_nodes", "always_nodes"} & set(rotate)
    assert int(approve["approval_node"]["timeout"]) > 0


def test_schedules_start_what_is_there(content: Content) -> None:
    templates = {item["name"] for key in ("controller_templates", "controller_workflows") for item in content[key]}
    rules = {item["unified_job_template"]: item["rrule"] for item in content["controller_schedules"]}
    assert set(rules) <= templates
    assert ["WEEKLY" in rule for rule in rules.values()] == [True, False]


# The project to copy


def test_every_template_has_a_playbook_in_the_project_that_controller_lists(content: Content) -> None:
    assert {template["playbook"] for template in content["controller_templates"]} == {
        path.name for path in PROJECT.glob("*.yml")
    }
    for path in PROJECT.glob("*.yml"):
        assert re.search(r"^- (hosts|import_playbook):", path.read_text(), re.MULTILINE), path
        (play,) = yaml.safe_load(path.read_text())
        name = play["import_playbook"].removeprefix("haloops.halo.")
        assert path.stem == name
        assert (PLAYBOOKS / f"{name}.yml").exists()


def test_the_project_has_the_inventory_that_is_its_source(contents: dict[str, Content]) -> None:
    (source,) = contents["plain"]["controller_inventory_sources"]
    inventory = yaml.safe_load((PROJECT / source["source_path"]).read_text())
    assert inventory["halo_tenants"]["hosts"]
    wanted = yaml.safe_load((PROJECT / "collections" / "requirements.yml").read_text())
    assert [Path(item["name"]).stem for item in wanted["collections"]] == ["haloops.halo"]
