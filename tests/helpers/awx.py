# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for the API of AWX 24.6.1: what the modules of awx.awx ask for, with the state in memory.

It refuses what AWX was seen, or is documented, to refuse, as far as this collection could come upon it. No job starts.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jinja2

Row = dict[str, Any]
TOKEN = "controller-token"
ENCRYPTED = "$encrypted$"
STEPS = ("success_nodes", "failure_nodes", "always_nodes")
NOTICES = ("notification_templates_started", "notification_templates_success", "notification_templates_error")

# fmt: off
# Fields with their defaults; what else is sent is ignored, as there. A type stands for a field that must be sent.
PROMPTS = {
    "extra_data": {}, "inventory": None, "scm_branch": None, "job_type": None, "job_tags": None, "skip_tags": None,
    "limit": None, "diff_mode": None, "verbosity": None, "execution_environment": None, "forks": None,
    "job_slice_count": None, "timeout": None,
}
ASKS = (
    *("scm_branch", "diff_mode", "variables", "limit", "tags", "skip_tags", "job_type", "verbosity", "inventory"),
    *("credential", "execution_environment", "labels", "forks", "job_slice_count", "timeout", "instance_groups"),
)
FIELDS: dict[str, Row] = {
    "organizations": {"name": str, "description": ""},
    "labels": {"name": str, "organization": int},
    "credential_types": {"name": str, "description": "", "kind": str, "inputs": {}, "injectors": {}, "managed": False},
    "credentials": {"name": str, "description": "", "organization": None, "credential_type": int, "inputs": {}},
    "execution_environments": {
        "name": str, "description": "", "organization": None, "image": str, "credential": None, "pull": "",
    },
    "projects": {
        "name": str, "description": "", "organization": None, "scm_type": "", "scm_url": "", "scm_branch": "",
        "scm_refspec": "", "scm_clean": False, "scm_track_submodules": False, "scm_delete_on_update": False,
        "credential": None, "timeout": 0, "scm_update_on_launch": False, "scm_update_cache_timeout": 0,
        "allow_override": False, "local_path": "", "default_environment": None,
    },
    "inventories": {
        "name": str, "description": "", "organization": int, "variables": "", "kind": "", "host_filter": None,
    },
    "inventory_sources": {
        "name": str, "description": "", "inventory": int, "source": "", "source_path": "", "source_vars": "",
        "source_project": None, "credential": None, "overwrite": False, "overwrite_vars": False, "timeout": 0,
        "update_on_launch": False, "update_cache_timeout": 0, "execution_environment": None, "verbosity": 1,
    },
    "hosts": {"name": str, "description": "", "inventory": int, "enabled": True, "variables": ""},
    "job_templates": {
        "name": str, "description": "", "job_type": "run", "inventory": None, "project": None, "playbook": "",
        "scm_branch": "", "forks": 0, "limit": "", "verbosity": 0, "extra_vars": "", "job_tags": "", "timeout": 0,
        "use_fact_cache": False, "execution_environment": None, "survey_enabled": False, "become_enabled": False,
        "diff_mode": False, "allow_simultaneous": False, "job_slice_count": 1, "skip_tags": "", "start_at_task": "",
        **{f"ask_{name}_on_launch": False for name in ASKS},
    },
    "workflow_job_templates": {
        "name": str, "description": "", "organization": None, "extra_vars": "", "survey_enabled": False,
        "allow_simultaneous": False, "ask_variables_on_launch": False, "inventory": None, "limit": None,
        "ask_inventory_on_launch": False, "ask_limit_on_launch": False,
    },
    "workflow_job_template_nodes": {
        "identifier": str, "workflow_job_template": int, "unified_job_template": None,
        "all_parents_must_converge": False, **PROMPTS,
    },
    "workflow_approval_templates": {"name": str, "description": "", "timeout": 0},
    "schedules": {
        "name": str, "description": "", "rrule": str, "enabled": True, "unified_job_template": int, **PROMPTS,
    },
}
# fmt: on
UNIFIED = ("projects", "inventory_sources", "job_templates", "workflow_job_templates")
REFERS = {
    "organization": ("organizations",),
    "credential_type": ("credential_types",),
    "credential": ("credentials",),
    "inventory": ("inventories",),
    "project": ("projects",),
    "source_project": ("projects",),
    "execution_environment": ("execution_environments",),
    "workflow_job_template": ("workflow_job_templates",),
    "unified_job_template": (*UNIFIED, "workflow_approval_templates"),
}
LISTS = {
    "job_templates": {"credentials": "credentials", "labels": "labels", **dict.fromkeys(NOTICES, "")},
    "workflow_job_templates": {"labels": "labels"},
    "workflow_job_template_nodes": dict.fromkeys(STEPS, "workflow_job_template_nodes"),
    "projects": dict.fromkeys(NOTICES, ""),
}
# What goes with an object: where it is named so, and by which field.
OWNED = {
    "inventories": [("hosts", "inventory"), ("inventory_sources", "inventory")],
    "workflow_job_templates": [("workflow_job_template_nodes", "workflow_job_template")],
}
# What no two objects of a kind have in common.
UNIQUE = ("name", "identifier", "organization", "inventory", "workflow_job_template", "credential_type")
INPUT = {"id", "label", "type", "secret", "multiline", "help_text", "choices", "default"}
RULE = r"DTSTART(:|;TZID=)\S+ RRULE:FREQ=(WEEKLY|MONTHLY);INTERVAL=\d+(;[A-Z]+=\S+)*"
QUESTIONS = {"text": str, "textarea": str, "password": str, "multiplechoice": str, "integer": int, "float": float}


class Refused(Exception):
    def __init__(self, status: int, body: Any) -> None:
        super().__init__(body)
        self.status = status
        self.body = body


class Awx:
    """The state, and what the API does with it.

    :param playbooks: what a project's update finds
    """

    def __init__(self, playbooks: list[str]) -> None:
        self.playbooks = playbooks
        self.url = ""
        self.requests: list[tuple[str, str]] = []
        self.before_write: Callable[[str, Any], object] = lambda path, data: None
        self.after_write: Callable[[str, Any], object] = lambda path, data: None
        self._rows: dict[str, dict[int, Row]] = {endpoint: {} for endpoint in FIELDS}
        self._surveys: dict[int, Row] = {}
        self._links: dict[tuple[int, str], list[int]] = {}
        self._last = 0
        self._lock = threading.RLock()
        self._create("organizations", {"name": "Default"})
        for name, kind in (("Vault", "vault"), ("Source Control", "scm"), ("Amazon Web Services", "cloud")):
            fields = [{"id": id_, "label": id_, "type": "string", "secret": id_ == "vault_password"}
                      for id_ in ("vault_password", "vault_id", "username", "password")]  # fmt: skip
            self._create("credential_types", {"name": name, "kind": kind, "inputs": {"fields": fields}})
        self.at_first = self.objects()

    def objects(self) -> dict[str, list[Row]]:
        """All that is there, secrets included, by endpoint."""
        with self._lock:
            return copy.deepcopy({endpoint: list(rows.values()) for endpoint, rows in self._rows.items() if rows})

    def named(self, endpoint: str, name: str) -> Row:
        """One object, with its lists by name and its survey."""
        with self._lock:
            (row,) = [row for row in self._rows[endpoint].values() if row.get("name", row.get("identifier")) == name]
            lists = {
                kind: [self._name(target, other) for other in self._links.get((row["id"], kind), [])]
                for kind, target in LISTS.get(endpoint, {}).items()
            }
            return {**copy.deepcopy(row), **lists, "survey_spec": self._surveys.get(row["id"])}

    def rows(self, endpoint: str) -> dict[str, Row]:
        """The objects themselves, by name: a test may change them as somebody else would."""
        return {str(row.get("name", row.get("identifier"))): row for row in self._rows[endpoint].values()}

    def add(self, endpoint: str, **fields: Any) -> Row:
        """Make an object past the API."""
        with self._lock:
            return self._create(endpoint, fields)

    def _name(self, endpoint: str, id_: int) -> Any:
        row = self._rows[endpoint][id_]
        return row.get("name", row.get("identifier"))

    # Requests

    def answer(self, method: str, path: str, query: dict[str, str], data: Any) -> tuple[int, Any]:
        """:returns: the status and what is said"""
        # a test may interfere, and ask things of its own
        if method != "GET":
            self.before_write(path, data)
        with self._lock:
            try:
                answer = self._answer(method, path, query, data)
            except Refused as refusal:
                answer = refusal.status, refusal.body
        if method != "GET":
            self.after_write(path, data)
        return answer

    def _answer(self, method: str, path: str, query: dict[str, str], data: Any) -> tuple[int, Any]:
        parts = path.removeprefix("/api/v2/").strip("/").split("/")
        if parts == ["ping"]:
            return 200, {"version": "24.6.1", "ha": False}
        if parts == ["unified_job_templates"]:
            return 200, self._list(UNIFIED, query)
        if parts[0] not in FIELDS:
            raise Refused(404, {"detail": "Not found."})
        endpoint = parts[0]
        if len(parts) == 1:
            if method == "GET":
                return 200, self._list((endpoint,), query)
            return 201, self._shown(self._create(endpoint, data)["id"])
        row = self._rows[endpoint].get(int(parts[1]))
        if row is None:
            raise Refused(404, {"detail": "Not found."})
        if len(parts) == 2:
            return self._one(method, endpoint, row, data)
        if parts[2] == "survey_spec":
            return self._survey(method, row, data)
        if parts[2] == "create_approval_template":
            made = self._create("workflow_approval_templates", data)
            row["unified_job_template"] = made["id"]
            return 201, self._shown(made["id"])
        if parts[2] in LISTS.get(endpoint, {}):
            return self._sublist(method, endpoint, row, parts[2], data)
        raise Refused(404, {"detail": "Not found."})

    def _one(self, method: str, endpoint: str, row: Row, data: Any) -> tuple[int, Any]:
        if method == "GET":
            return 200, self._shown(row["id"])
        if method == "DELETE":
            self._delete(endpoint, row)
            # an inventory is taken away later
            return (202 if endpoint == "inventories" else 204), None
        new = {**row, **{name: value for name, value in data.items() if name in FIELDS[endpoint]}}
        if endpoint == "credentials":
            new["inputs"] = {
                name: row["inputs"].get(name) if value == ENCRYPTED else value for name, value in new["inputs"].items()
            }
        self._validate(endpoint, new, row["id"])
        row.update(new)
        return 200, self._shown(row["id"])

    def _list(self, endpoints: tuple[str, ...], query: dict[str, str]) -> Row:
        found = []
        exact = {name: value for name, value in query.items() if not name.startswith("or__") and name != "page_size"}
        either = {name[4:]: value for name, value in query.items() if name.startswith("or__")}
        for endpoint in endpoints:
            for id_ in self._rows[endpoint]:
                shown = self._shown(id_)
                same = {name for name, value in {**exact, **either}.items() if str(shown.get(name)) == value}
                if set(exact) <= same and (not either or same & set(either)):
                    found.append(shown)
        return {"count": len(found), "next": None, "previous": None, "results": found}

    def _find(self, id_: int) -> tuple[str, Row]:
        return next((endpoint, rows[id_]) for endpoint, rows in self._rows.items() if id_ in rows)

    def _shown(self, id_: int) -> Row:
        endpoint, row = self._find(id_)
        url = f"/api/v2/{endpoint}/{id_}/"
        shown = {**copy.deepcopy(row), "url": url, "summary_fields": {}, "related": {}}
        shown["type"] = endpoint[:-1].replace("inventorie", "inventory")
        if endpoint == "credentials":
            secret = self._secret_inputs(row)
            shown["inputs"] = {name: ENCRYPTED if name in secret else value for name, value in row["inputs"].items()}
        if endpoint in ("job_templates", "workflow_job_templates"):
            shown["related"]["survey_spec"] = f"{url}survey_spec/"
        if endpoint == "job_templates":
            # it has that of its project
            shown["organization"] = self._rows["projects"].get(row["project"], {}).get("organization")
        if endpoint == "workflow_job_template_nodes" and row["unified_job_template"]:
            of, other = self._find(row["unified_job_template"])
            shown["related"]["unified_job_template"] = f"/api/v2/{of}/{other['id']}/"
        if endpoint == "projects":
            shown["scm_revision"] = "" if row["scm_type"] == "" else "1" * 40
        return shown

    def _create(self, endpoint: str, data: Row) -> Row:
        defaults = {name: None if isinstance(value, type) else value for name, value in FIELDS[endpoint].items()}
        row = {**copy.deepcopy(defaults), **{name: data[name] for name in FIELDS[endpoint] if name in data}}
        self._validate(endpoint, row, None)
        self._last += 1
        self._rows[endpoint][self._last] = {"id": self._last, **row}
        return self._rows[endpoint][self._last]

    def _delete(self, endpoint: str, row: Row) -> None:
        id_ = row["id"]
        if endpoint == "credential_types" and any(
            other["credential_type"] == id_ for other in self._rows["credentials"].values()
        ):
            raise Refused(403, {"detail": "Credential types that are in use cannot be deleted"})
        for of, field in OWNED.get(endpoint, []):
            for other in [other for other in self._rows[of].values() if other[field] == id_]:
                self._delete(of, other)
        if endpoint in UNIFIED:
            for other in [one for one in self._rows["schedules"].values() if one["unified_job_template"] == id_]:
                self._delete("schedules", other)
        approval = self._rows["workflow_approval_templates"].get(row.get("unified_job_template") or 0)
        if endpoint == "workflow_job_template_nodes" and approval:
            self._delete("workflow_approval_templates", approval)
        for rows in self._rows.values():
            for other in rows.values():
                for field in REFERS:
                    if other.get(field) == id_:
                        other[field] = None
        for kind in LISTS.get(endpoint, {}):
            self._links.pop((id_, kind), None)
        for linked in self._links.values():
            if id_ in linked:
                linked.remove(id_)
        self._surveys.pop(id_, None)
        del self._rows[endpoint][id_]
        self._drop_labels()

    def _drop_labels(self) -> None:
        """A label goes with the last that bears it; a new one has not been borne yet."""
        borne = {id_ for (_owner, kind), ids in self._links.items() if kind == "labels" for id_ in ids}
        for id_ in [id_ for id_, row in self._rows["labels"].items() if row.get("borne") and id_ not in borne]:
            del self._rows["labels"][id_]

    def _sublist(self, method: str, endpoint: str, row: Row, kind: str, data: Any) -> tuple[int, Any]:
        linked = self._links.setdefault((row["id"], kind), [])
        if method == "GET":
            found = [self._shown(id_) for id_ in linked]
            return 200, {"count": len(found), "next": None, "previous": None, "results": found}
        other = self._rows[LISTS[endpoint][kind]].get(data["id"])
        if other is None:
            raise Refused(400, {"detail": "there is no such object"})
        if data.get("disassociate"):
            linked.remove(data["id"])
            self._drop_labels()
            return 204, None
        if kind == "credentials":
            types = [self._rows["credentials"][id_]["credential_type"] for id_ in linked]
            # of the type Vault there may be several, with different identifiers
            name = self._name("credential_types", other["credential_type"])
            if other["credential_type"] in types and name != "Vault":
                raise Refused(400, {"error": f"Cannot assign multiple {name} credentials."})
        if kind == "labels":
            other["borne"] = True
        linked.append(data["id"])
        return 204, None

    # What is refused

    def _validate(self, endpoint: str, row: Row, id_: int | None) -> None:
        for name, default in FIELDS[endpoint].items():
            if isinstance(default, type) and not isinstance(row[name], default):
                raise Refused(400, {name: ["This field is required."]})
            if isinstance(default, (bool, int)) and type(row[name]) is not type(default):
                raise Refused(400, {name: [f"'{row[name]}' is not of the type {type(default).__name__}."]})
            if name in REFERS and row[name] is not None and not any(row[name] in self._rows[of] for of in REFERS[name]):
                raise Refused(400, {name: [f'Invalid pk "{row[name]}" - object does not exist.']})
        alike = [name for name in UNIQUE if name in row] + ["unified_job_template"] * (endpoint == "schedules")
        for other in self._rows[endpoint].values():
            if other["id"] != id_ and all(other.get(name) == row[name] for name in alike):
                raise Refused(400, {"__all__": [f"{endpoint} with this name already exists."]})
        if check := getattr(self, f"_validate_{endpoint}", None):
            check(row)

    def _validate_credential_types(self, row: Row) -> None:
        fields = row["inputs"].get("fields", [])
        if row["kind"] not in ("cloud", "net") and self.url:
            raise Refused(400, {"kind": ["Must be 'cloud' or 'net'."]})
        for field in fields:
            if surplus := set(field) - INPUT:
                raise Refused(400, {"inputs": [f"Additional properties are not allowed ({surplus})"]})
            if field["type"] not in ("string", "boolean") or (field["type"] == "boolean" and "secret" in field):
                raise Refused(400, {"inputs": [f"{field['id']}: secret and its type do not go together"]})
        ids = {field["id"] for field in fields}
        if set(row["inputs"].get("required", [])) - ids:
            raise Refused(400, {"inputs": ["required names an input that is not defined"]})
        if surplus := set(row["injectors"]) - {"env", "extra_vars", "file"}:
            raise Refused(400, {"injectors": [f"Additional properties are not allowed ({surplus})"]})
        known = jinja2.Environment(undefined=jinja2.StrictUndefined)
        for name, template in row["injectors"].get("env", {}).items():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name.startswith("ANSIBLE_"):
                raise Refused(400, {"injectors": [f"{name} is not allowed as an environment variable"]})
            try:
                known.from_string(template).render(dict.fromkeys(ids, "EXAMPLE"))
            except (jinja2.TemplateError, TypeError) as error:
                raise Refused(400, {"injectors": [f"{name}: {error}"]}) from None

    def _validate_credentials(self, row: Row) -> None:
        inputs = self._rows["credential_types"][row["credential_type"]]["inputs"]
        if surplus := set(row["inputs"]) - {field["id"] for field in inputs["fields"]}:
            raise Refused(400, {"inputs": [f"Additional properties are not allowed ({surplus})"]})
        kinds = {field["id"]: {"string": str, "boolean": bool}[field["type"]] for field in inputs["fields"]}
        for name, value in row["inputs"].items():
            if not isinstance(value, kinds[name]):
                raise Refused(400, {"inputs": {name: [f"is not of type {kinds[name].__name__}"]}})
        if missing := set(inputs.get("required", [])) - set(row["inputs"]):
            raise Refused(400, {"inputs": {name: ["required"] for name in missing}})

    def _secret_inputs(self, row: Row) -> set[str]:
        fields = self._rows["credential_types"][row["credential_type"]]["inputs"]["fields"]
        return {field["id"] for field in fields if field.get("secret")}

    def _validate_job_templates(self, row: Row) -> None:
        if row["project"] is None:
            raise Refused(400, {"project": ["Job Templates must have a project assigned."]})
        if row["playbook"] not in self.playbooks:
            raise Refused(400, {"playbook": ["Playbook not found for project."]})

    def _validate_workflow_job_template_nodes(self, row: Row) -> None:
        template = self._rows["job_templates"].get(row["unified_job_template"])
        if template and not template["ask_variables_on_launch"]:
            survey = self._surveys.get(template["id"], {"spec": []}) if template["survey_enabled"] else {"spec": []}
            asked = {question["variable"]: question for question in survey["spec"]}
            for name, value in row["extra_data"].items():
                if name not in asked or value not in asked[name].get("choices", [value]):
                    raise Refused(400, {"extra_data": [f"Variables {name} are not allowed on launch."]})

    def _validate_schedules(self, row: Row) -> None:
        if not re.fullmatch(RULE, row["rrule"]):
            raise Refused(400, {"rrule": ["rrule parsing failed validation"]})

    def _survey(self, method: str, row: Row, data: Any) -> tuple[int, Any]:
        if method == "GET":
            return 200, self._surveys.get(row["id"], {})
        if method == "DELETE":
            self._surveys.pop(row["id"], None)
            return 200, {}
        for name, kind in (("name", str), ("description", str), ("spec", list)):
            if not isinstance(data.get(name), kind):
                raise Refused(400, {"error": f"Field '{name}' is missing from survey spec."})
        if not data["spec"]:
            raise Refused(400, {"error": "'spec' doesn't contain any items."})
        for question in data["spec"]:
            self._validate_question(question)
        names = [question["variable"] for question in data["spec"]]
        if len(names) != len(set(names)):
            raise Refused(400, {"error": "'variable' duplicated in survey."})
        self._surveys[row["id"]] = data
        return 200, {}

    def _validate_question(self, question: Row) -> None:
        for name, kind in (("type", str), ("question_name", str), ("variable", str), ("required", bool)):
            if not isinstance(question.get(name), kind):
                raise Refused(400, {"error": f"'{name}' missing from survey question."})
        if question["type"] not in QUESTIONS:
            raise Refused(400, {"error": f"'{question['type']}' is not an allowed question type."})
        default = question.get("default", "")
        if default != "" and not isinstance(default, QUESTIONS[question["type"]]):
            raise Refused(400, {"error": f"Default value {default} is of another type."})
        for name in ("min", "max"):
            if not isinstance(question.get(name, 0), int):
                raise Refused(400, {"error": f"The {name} limit expected to be integer."})
        if question["type"] == "multiplechoice" and default and default not in question.get("choices", ()):
            raise Refused(400, {"error": "Default choice must be answered from the choices listed."})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    awx: Awx

    def _serve(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        self.awx.requests.append((self.command, self.path))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            status, said = 401, {"detail": "Authentication credentials were not provided."}
        else:
            query = dict(urllib.parse.parse_qsl(url.query))
            status, said = self.awx.answer(self.command, url.path, query, json.loads(content) if content else None)
        body = b"" if said is None else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("X-API-Product-Name", "AWX")
        self.send_header("X-API-Product-Version", "24.6.1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve

    def handle(self) -> None:
        # the client may be killed
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_args: Any) -> None:
        pass


@contextlib.contextmanager
def running(playbooks: list[str]) -> Iterator[Awx]:
    """The stand-in on 127.0.0.1, in threads of this process; ``url`` says where."""
    awx = Awx(playbooks)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"awx": awx}))
    awx.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield awx
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
