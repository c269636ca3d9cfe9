# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet report: its rows, order, counts and lines, its four forms by the parsers of others, and merging."""

from __future__ import annotations

import datetime
import html.parser
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import junitparser
import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.utils.display import Display
from ansible_collections.haloops.halo.plugins.module_utils.errors import HaloError
from ansible_collections.haloops.halo.plugins.modules import halo_binding, halo_report, halo_report_merge
from ansible_collections.haloops.halo.plugins.plugin_utils import report_action
from ansible_collections.haloops.halo.plugins.plugin_utils.report import (
    KINDS,
    ROW_KEYS,
    RUN_KEYS,
    STATES,
    Report,
    Row,
    complaint,
    compose,
    lines,
    merge,
    not_tried,
    rows,
    summary,
)
from ansible_collections.haloops.halo.plugins.plugin_utils.report_forms import (
    FORMS,
    REASONS,
    as_json,
    junit,
    page,
    textfile,
    write,
)
from helpers import in_process
from helpers.reports import (
    RIGHTS,
    RUN,
    audited_fleet,
    binding,
    bound_before,
    failed,
    failed_fleet,
    large_fleet,
    result,
    rotated,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
NAME = "Ticket integration"
URL = "https://acme.example.com"


def of(*bindings: dict[str, Any], failure: str | None = None, kind: str | None = None, **more: Any) -> list[Row]:
    """The rows of a tenant whose bindings are called Ticket integration, B2, B3 and so on."""
    names = [NAME, *(f"B{number}" for number in range(2, 9))]
    left = result(dict(zip(names, bindings, strict=False)), **more)
    return rows("acme", URL, left, failure, kind=kind)


def one(*bindings: dict[str, Any], **more: Any) -> Row:
    (row,) = of(*bindings, **more)
    return row


# Rows


@pytest.mark.parametrize(
    ("given_binding", "check_mode", "state"),
    [
        (binding(), False, "unchanged"),
        (binding(), True, "unchanged"),
        (binding(changed=True), False, "changed"),
        (binding(changed=True), True, "drifted"),
        (rotated(), False, "rotated"),
        (rotated(), True, "drifted"),
        (binding(rights=RIGHTS), True, "drifted"),
        (binding(rights=[RIGHTS[0], RIGHTS[2]]), True, "unchanged"),
        (binding(rights=RIGHTS), False, "unchanged"),
        (failed("no"), False, "failed"),
        (rotated(error="https://acme.example.com: no"), False, "failed"),
    ],
)
def test_the_state_of_a_binding(given_binding: dict[str, Any], check_mode: bool, state: str) -> None:
    row = one(given_binding, check_mode=check_mode)
    assert (row["state"], row["tenant"], row["binding"], row["url"]) == (state, "acme", NAME, URL)
    for key in ("client_id", "reason", "verified", "made_at", "due_at", "drift", "rotated", "kind", "rights"):
        assert row[key] == given_binding[key]
    assert row["agent"] == given_binding["agent_name"]


def test_a_preflight_says_what_it_saw_of_each_tenant() -> None:
    checks = [
        {"name": "scope", "state": "ok", "text": "all"},
        {"name": "agent", "state": "warning", "text": "not said"},
        {"name": "store", "state": "failed", "text": "gone"},
    ]
    fine = rows("acme", URL, {"checks": checks[:2], "bindings": {}}, kind="preflight")
    written = rows("globex", URL, {"checks": checks[:1], "changed": True}, kind="preflight")
    wrong = rows("hooli", URL, {"checks": checks}, "store: gone", kind="preflight")
    found = [*fine, *written, *wrong]
    assert [row["state"] for row in found] == ["unchanged", "changed", "failed"]
    assert lines(found) == [
        "acme: ready: scope: all; agent: not said",
        "globex: changed: scope: all",
        "hooli: failed: store: gone",
    ]
    written_page = page(compose(found, {**RUN, "kind": "preflight"}))
    assert '<span class="state">ready</span>' in written_page
    # one that failed before it could look
    (row,) = rows("acme", URL, {"bindings": {}}, "no such variable", kind="preflight")
    assert (row["state"], row["error"]) == ("failed", "no such variable")


def test_a_failure_that_is_no_bindings_own_is_said_of_each() -> None:
    found = of(binding(), rotated(), failure="the task after the role failed")
    assert [row["state"] for row in found] == ["failed", "failed"]
    mixed = of(binding(), failed("no"), failure="1 of 2 bindings failed")
    assert [row["state"] for row in mixed] == ["unchanged", "failed"]
    assert mixed[1]["error"] == "binding 'Ticket integration': no"


def test_a_failed_delivery_is_said_of_its_binding() -> None:
    said = "B2: on_rotated failed in the task Push; it runs again in the next run."
    left = result({NAME: rotated(), "B2": rotated(), "B3": failed("no")})
    found = rows("acme", URL, left, "1 of 3 bindings failed / " + said, undelivered=[said])
    assert [row["state"] for row in found] == ["rotated", "failed", "failed"]
    assert found[1]["error"] == said.removeprefix("B2: ")


@pytest.mark.parametrize(
    ("left", "failure", "error"),
    [
        (None, "no login", "no login"),
        ({}, None, None),
        ({"failed": True, "msg": "no login"}, None, "no login"),
        ({"failed": True}, None, "see the output of the run"),
        ({"bindings": {}}, None, None),
    ],
)
def test_a_tenant_without_bindings_is_one_row(left: Any, failure: str | None, error: str | None) -> None:
    (row,) = rows("acme", URL, left, failure)
    assert (row["binding"], row["error"]) == (None, error)
    assert row["state"] == ("failed" if error else "unchanged")


@pytest.mark.parametrize("subject", ["", f"{URL}: ", f"{URL}: binding '{NAME}': ", f"binding '{NAME}': "])
def test_an_error_is_split_from_its_hint_and_does_not_repeat_its_row(subject: str) -> None:
    row = one(binding(error=f"{subject}no. Halo said: nope Ask.", hint="Ask."))
    assert (row["error"], row["hint"]) == ("no. Halo said: nope", "Ask.")
    other = one(binding(error=f"{URL}: agent 'x': no.", hint=None))
    assert (other["error"], other["hint"]) == ("agent 'x': no.", None)


def test_the_hint_of_a_tenants_failure() -> None:
    left = {"failed": True, "msg": f"{URL}: no login. Look.", "error": {"hint": "Look."}}
    for failure in (None, left["msg"]):
        (row,) = rows("acme", URL + "/", left, failure)
        assert (row["error"], row["hint"]) == ("no login.", "Look.")
    # of the failure of a later task it says nothing
    (row,) = rows("acme", URL, {"error": {"hint": None}}, "another task failed")
    assert (row["error"], row["hint"]) == ("another task failed", None)


def test_orphans_are_rows() -> None:
    found = of(binding(), orphans=["Old", "Older"])
    assert [(row["binding"], row["state"]) for row in found] == [
        (NAME, "unchanged"),
        ("Old", "orphan"),
        ("Older", "orphan"),
    ]
    assert [row["binding"] for row in rows("acme", URL, {"orphans": ["Old"]})] == ["Old"]
    assert [row["state"] for row in rows("acme", URL, {"orphans": ["Old"]}, "no")] == ["failed", "orphan"]


@pytest.mark.parametrize(
    ("given_binding", "more", "found"),
    [
        (binding(), {}, "api-tickets"),
        (rotated(), {"diff": bound_before(NAME, "rogue")}, "rogue"),
        (rotated(), {"diff": {"before": {NAME: {"integrator": {"login_agent": {"id": 7}}}}}}, "7"),
        (rotated("created"), {"diff": {"before": {NAME: {"application": {}}}}}, None),
        (binding(changed=True), {}, None),
        (failed("no"), {}, None),
    ],
)
def test_as_whom_it_logged_in_before(given_binding: dict[str, Any], more: dict[str, Any], found: str | None) -> None:
    assert one(given_binding, **more)["agent_found"] == found


def test_a_decommission() -> None:
    gone = {"changed": True, "agent_name": "api-tickets", "previous_agent": "disabled", "error": None}
    assert one(gone, kind="decommission")["drift"] == ["taken out of service"]
    assert one(gone, kind="decommission", check_mode=True)["drift"] == ["would be taken out of service"]
    assert one({**gone, "changed": False}, kind="decommission")["drift"] == []
    assert lines(of(gone, kind="decommission")) == [
        f"acme: {NAME} changed: taken out of service; previous agent: disabled"
    ]


EVIL = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "two\nlines",
    "\x00nul\x9b2J",
    "\u202egpj.exe",
    "half \ud800 a pair",
    "\ufffe\uffff",
]


@pytest.mark.parametrize("text", EVIL)
def test_what_a_terminal_would_act_on_is_in_no_row(text: str) -> None:
    bad = binding(
        agent_name=text,
        client_id=text,
        reason=text,
        drift=[text],
        warnings=[text],
        error=text,
        hint=text,
        handover=text,
    )
    found = rows(f"a{text}", f"https://{text}", result({f"b{text}": bad}, orphans=[text]))
    found += not_tried(text, text) + rows("acme", URL, None, f"x{text}")
    whole = json.dumps(found, ensure_ascii=False)
    for character in "\x00\x07\x1b\x9b\u202e\ud800\ufffe\uffff":
        assert character not in whole
    assert "\\n" not in whole
    assert not any("\n" in line or "\x1b" in line for line in lines(found))


# Order, counts, lines


def test_failed_first_then_by_tenant_as_a_person_counts() -> None:
    found = [
        *rows("t10", URL, result({"b": binding(), "a": binding()})),
        *rows("T2", URL, result({NAME: binding()})),
        *rows("t1", URL, result({NAME: rotated()})),
        *not_tried("z", ""),
        *rows("t20", URL, None, "no"),
        *rows("t3", URL, None, "no"),
        *rows("t4", URL, result({NAME: binding(changed=True)}, check_mode=True, orphans=["x"])),
    ]
    report = compose(found, RUN)
    assert [(row["state"], row["tenant"], row["binding"]) for row in report["rows"]] == [
        ("failed", "t3", None),
        ("failed", "t20", None),
        ("not_tried", "z", None),
        ("drifted", "t4", NAME),
        ("orphan", "t4", "x"),
        ("rotated", "t1", NAME),
        ("unchanged", "T2", NAME),
        # the bindings of a tenant as the inventory has them
        ("unchanged", "t10", "b"),
        ("unchanged", "t10", "a"),
    ]
    assert report["summary"] == {
        "failed": 2,
        "not_tried": 1,
        "drifted": 1,
        "orphan": 1,
        "rotated": 1,
        "changed": 0,
        "unchanged": 3,
    }
    assert list(report["summary"]) == list(STATES)


def tenants(count: int, *bindings: dict[str, Any]) -> list[Row]:
    names = [NAME, "B2", "B3"]
    return [
        row
        for number in range(count)
        for row in rows(f"t{number}", URL, result(dict(zip(names, bindings, strict=False))))
    ]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], []),
        (tenants(3, binding()), ["All 3 as declared."]),
        (tenants(1, binding(), binding()), ["All 2 bindings of 1 tenant as declared."]),
        (tenants(3, binding(), binding()), ["All 6 bindings of 3 tenants as declared."]),
        (of(rotated(), binding()), [f"acme: {NAME} rotated (agent_changed), verified", "1 as declared"]),
        (tenants(2, binding()) + not_tried("z", URL), ["2 as declared, 1 not tried"]),
        (of(rotated(verified=False)), [f"acme: {NAME} rotated (agent_changed), NOT verified"]),
        (of(rotated(verified=None)), [f"acme: {NAME} rotated (agent_changed)"]),
        (
            of(rotated(previous_agent="disabled")),
            [f"acme: {NAME} rotated (agent_changed), verified; previous agent: disabled"],
        ),
        (of(rotated(warnings=["w"], previous_agent="kept: w")), [f"acme: {NAME} rotated (agent_changed), verified; w"]),
        (of(rotated(handover="Please.")), [f"acme: {NAME} rotated (agent_changed), verified; Please."]),
        (
            of(binding(changed=True, drift=["roles: X is missing", "enabled: false instead of true"])),
            [f"acme: {NAME} changed: roles: X is missing; enabled: false instead of true"],
        ),
        (
            of(rotated("expired", drift=["roles: X is missing"]), check_mode=True),
            [f"acme: {NAME} drifted: roles: X is missing; a new secret is due (expired)"],
        ),
        (of(binding(changed=True)), [f"acme: {NAME} changed"]),
        (
            of(binding(error=f"{URL}: binding '{NAME}': no. Ask.", hint="Ask.")),
            [f"acme: {NAME} failed: no. Ask."],
        ),
        (rows("acme", URL, None, f"{URL}: no login."), ["acme: failed: no login."]),
        (
            rows("acme", URL, {"orphans": ["Old"]}),
            ["acme: Old is an orphan: it is in the store, and the inventory does not declare it"],
        ),
    ],
)
def test_lines(found: list[Row], said: list[str]) -> None:
    assert lines(found) == said


def test_failures_are_next_to_the_counts() -> None:
    found = rows("b", URL, None, "no") + of(rotated(), binding()) + not_tried("c", URL)
    assert [line.split(":")[0] for line in lines(found)] == ["acme", "b", "1 as declared, 1 not tried"]


def test_a_line_is_cut() -> None:
    assert len(lines(rows("acme", URL, None, "x" * 5000))[0]) < 1100


# JSON


REPORTS = {
    "failed": failed_fleet(),
    "audited": audited_fleet(),
    "large": large_fleet(100),
    "empty": compose([], {**RUN, "kind": None, "started": None, "collection_version": None}),
}
every_report = pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)


@every_report
def test_json_is_as_the_schema_says(report: Report) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    VALIDATOR.validate(json.loads(as_json(report)))
    assert json.loads(as_json(report)) == report


def test_the_schema_is_of_what_is_written() -> None:
    row = SCHEMA["$defs"]["row"]
    assert sorted(row["required"]) == sorted(row["properties"]) == sorted(ROW_KEYS)
    assert row["properties"]["state"]["enum"] == list(STATES) == SCHEMA["properties"]["summary"]["required"]
    run = SCHEMA["properties"]["run"]
    assert run["required"] == list(run["properties"]) == list(RUN_KEYS)
    assert run["properties"]["kind"]["enum"] == [*KINDS, None]
    for state in STATES:
        assert f"{state}: " in row["properties"]["state"]["description"]


@pytest.mark.parametrize(
    "break_it",
    [
        lambda report: report["rows"][0].pop("tenant"),
        lambda report: report["rows"][0].update(state="odd"),
        lambda report: report["rows"][0].update(error=None),
        lambda report: report["rows"][-1].update(error="x"),
        lambda report: report["run"].update(kind="odd"),
        lambda report: report["summary"].pop("failed"),
        lambda report: report.update(more=1),
    ],
)
def test_the_schema_refuses_what_is_wrong(break_it: Any) -> None:
    report = json.loads(as_json(failed_fleet()))
    break_it(report)
    assert not VALIDATOR.is_valid(report)


def test_the_reasons_are_those_of_the_engine() -> None:
    (described,) = yaml.safe_load(halo_binding.RETURN)["bindings"]["contains"]["reason"]["description"]
    said = SCHEMA["$defs"]["row"]["properties"]["reason"]["description"]
    for reason in REASONS:
        # rollback is of the engine that can
        assert f"V({reason})" in described or reason == "rollback"
        assert reason in said


@pytest.mark.parametrize("module", [halo_report, halo_report_merge])
def test_the_modules_return_what_they_describe(module: Any) -> None:
    returned = yaml.safe_load(module.RETURN)
    assert list(returned["summary"]["sample"]) == list(STATES)
    assert set(FORMS) < set(returned)


# JUnit, by junitparser


def parsed(report: Report) -> junitparser.JUnitXml:
    return junitparser.JUnitXml.fromstring(junit(report).encode())


@every_report
def test_junit_counts_as_its_reader_does(report: Report) -> None:
    found = parsed(report)
    stated = (found.tests, found.errors, found.failures, found.skipped)
    found.update_statistics()
    assert (found.tests, found.errors, found.failures, found.skipped) == stated
    assert stated[0] == len(report["rows"])


def test_junit() -> None:
    found = parsed(failed_fleet())
    (suite,) = found
    assert suite.name == "Halo integrations: provision"
    assert (suite.timestamp, suite.time) == ("2026-06-02T20:01:31", 87)
    cases = {(case.classname, case.name): case for case in suite}
    assert len(cases) == len(failed_fleet()["rows"])
    (login,) = cases["globex", "tenant"].result
    assert isinstance(login, junitparser.Error)
    assert login.message.startswith("Halo refused the login.")
    assert login.text == "Check client ID and secret, and that the application is active."
    (skipped,) = cases["tyrell", "tenant"].result
    assert isinstance(skipped, junitparser.Skipped)
    assert cases["acme", NAME].is_passed
    assert cases["acme", NAME].system_out == "rotated"
    assert cases["vandelay-industries", "Ticket integration (old)"].is_passed


def test_junit_has_drift_as_failures() -> None:
    (suite,) = parsed(audited_fleet())
    cases = {case.classname: case for case in suite if case.name == NAME}
    (drift,) = cases["acme"].result
    assert isinstance(drift, junitparser.Failure)
    assert drift.message == "enabled: false instead of true"
    assert drift.text.splitlines()[-1] == "a new secret is due (agent_changed)"
    assert cases["initech"].is_passed


# Prometheus, by its own client


def samples(report: Report) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(textfile(report)):
        assert family.type == "gauge"
        assert family.documentation.endswith(".")
        for sample in family.samples:
            labels = tuple(sample.labels.get(name, "") for name in ("tenant", "binding", "instance"))
            assert labels not in found.setdefault(family.name, {}), "a sample twice"
            found[family.name][labels] = sample.value
        found.setdefault(family.name, {})
    return found


def test_textfile() -> None:
    found = samples(failed_fleet())
    assert set(found) == {
        "halo_secret_age_seconds",
        "halo_secret_due_timestamp_seconds",
        "halo_tenant_failed",
        "halo_run_timestamp_seconds",
    }
    ended = datetime.datetime(2026, 6, 2, 20, 1, 31, tzinfo=datetime.UTC).timestamp()
    assert found["halo_run_timestamp_seconds"] == {("", "", ""): ended}
    acme = ("acme", NAME, "https://acme.example.com")
    assert found["halo_secret_age_seconds"][acme] == 40
    due = datetime.datetime(2026, 8, 15, 12, tzinfo=datetime.UTC).timestamp()
    assert found["halo_secret_due_timestamp_seconds"][acme] == due
    failing = {labels[0]: value for labels, value in found["halo_tenant_failed"].items()}
    assert {tenant for tenant, value in failing.items() if value} == {"globex", "initech", "stark-industries", "hooli"}
    # what was not tried is neither
    assert "tyrell" not in failing
    assert failing["umbrella"] == 0


@pytest.mark.parametrize("name", ["a\\b", 'a"b', "ends with \\", "\\n", '\\"', '{x="y"} 7 #', "\u00e9\u4e16"])
def test_labels_are_escaped(name: str) -> None:
    found = samples(compose(rows(name, URL, result({name: rotated()})), RUN))
    assert list(found["halo_secret_age_seconds"]) == [(name, name, URL)]
    assert list(found["halo_tenant_failed"]) == [(name, "", URL)]


@given(st.text(min_size=1), st.text(min_size=1), st.text())
@settings(max_examples=100, deadline=None)
def test_any_name_passes_through_all_forms(tenant: str, name: str, text: str) -> None:
    rights = [{"name": f"r{text}", "state": "empty", "reason": text}]
    given_one = rotated(drift=[text], rights=rights, warnings=[text], agent_name=text, handover=text)
    left = result({name: given_one, "x": failed(text)})
    report = compose(rows(tenant, f"https://{tenant}", left, None), {**RUN, "kind": None})
    VALIDATOR.validate(json.loads(as_json(report)))
    row = next(row for row in report["rows"] if row["binding"] != "x" or name == "x")
    cases = [case for suite in parsed(report) for case in suite]
    assert {case.classname or "" for case in cases} == {row["tenant"]}
    assert (row["binding"] or "tenant") in {case.name for case in cases}
    labels = {labels[:2] for labels in samples(report)["halo_secret_age_seconds"]}
    assert (row["tenant"], row["binding"] or "") in labels
    assert Page(page(report)).scripts == 1


# HTML; what a browser makes of it is in tests/scenario/test_report_page.py


class Page(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts = 0
        self.links: list[str] = []
        self.elements: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.scripts += tag == "script"
        found = dict(attrs)
        assert not [name for name in found if name.startswith("on")]
        if tag in ("a", "link", "img", "iframe", "base", "form"):
            self.links.append(found.get("href") or "")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</script><script>alert(1)",
        "{{ 7*7 }}{% raw %}",
        "' onmouseover='x",
    ],
)
def test_markup_in_names_stays_text(text: str) -> None:
    rights = [{"name": text, "state": "refused", "reason": text}]
    bad = binding(agent_name=text, client_id=text, drift=[text, text], warnings=[text], handover=text, changed=True)
    bad["rights"] = rights
    found = rows(text, URL, result({text: bad, "f": binding(error=text, hint=text)}, orphans=[text]))
    written = page(compose(found, {**RUN, "title": text, "collection_version": text}))
    seen = Page(written)
    assert seen.scripts == 1
    assert "img" not in seen.elements
    assert seen.links == [URL] * 3
    if "<" in text:
        assert text not in written.rpartition("<script>")[0]
    assert "49" not in Page(written).elements


@pytest.mark.parametrize(
    ("url", "linked"),
    [
        ("https://acme.example.com/halo", True),
        ("HTTP://acme.example.com", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("", False),
    ],
)
def test_only_addresses_are_links(url: str, linked: bool) -> None:
    written = page(compose(rows("acme", url, result({NAME: binding()})), RUN))
    assert Page(written).links == ([url] if linked else [])


@every_report
def test_nothing_of_a_page_is_from_elsewhere(report: Report) -> None:
    written = page(report)
    assert "default-src 'none'" in written
    assert not {"link", "img", "iframe", "base", "form"} & Page(written).elements
    for word in ("@import", "url(", "src="):
        assert word not in written, word


# Files


def test_all_forms_are_written(tmp_path: Path) -> None:
    report = failed_fleet()
    umask = os.umask(0o027)
    try:
        paths = write(report, str(tmp_path / "new" / "report.html"))
    finally:
        os.umask(umask)
    assert paths == {form: str(tmp_path / "new" / f"report.{form}") for form in ("html", "json", "xml", "prom")}
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(f"report.{form}" for form in paths)
    for form, path in paths.items():
        assert Path(path).read_text(encoding="utf-8") == FORMS[form](report)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o640


@pytest.mark.parametrize(
    ("given_path", "base"),
    [("r", "r"), ("r.html", "r"), ("r.prom", "r"), ("r-2026.06.02", "r-2026.06.02"), ("r.v1.json", "r.v1")],
)
def test_only_an_ending_of_a_form_is_taken_off(given_path: str, base: str, tmp_path: Path) -> None:
    assert write(failed_fleet(), str(tmp_path / given_path))["xml"] == str(tmp_path / f"{base}.xml")


def test_what_cannot_be_written_is_named_and_nothing_is_replaced(tmp_path: Path) -> None:
    for form in FORMS:
        (tmp_path / f"report.{form}").write_text("before")
    (tmp_path / "report.prom").unlink()
    (tmp_path / "report.prom").mkdir()
    with pytest.raises(HaloError, match=r"cannot be written to .*/report\.prom: Is a directory") as caught:
        write(failed_fleet(), str(tmp_path / "report"))
    assert "halo_report_path" in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {f"report.{form}" for form in FORMS}
    assert {path.read_text() for path in tmp_path.iterdir() if path.is_file()} == {"before"}


def test_a_place_where_nothing_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HaloError, match=r"cannot be written to .*/file/report\.html: File exists"):
        write(failed_fleet(), str(tmp_path / "file" / "report.html"))


def test_a_full_disk_leaves_the_report_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(REPORTS["empty"], str(tmp_path / "report"))
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    chmod = os.chmod

    def full(path: str, mode: int) -> None:
        if len(list(tmp_path.iterdir())) == len(FORMS) + 3:
            raise OSError(28, "No space left on device")
        chmod(path, mode)

    monkeypatch.setattr(os, "chmod", full)
    with pytest.raises(HaloError, match=r"report\.xml: No space left"):
        write(failed_fleet(), str(tmp_path / "report"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("path", ["", "sub/"])
def test_a_folder_is_no_report(path: str, tmp_path: Path) -> None:
    with pytest.raises(HaloError, match="that is a folder"):
        write(failed_fleet(), str(tmp_path) + "/" + path)
    assert list(tmp_path.iterdir()) == []


# Merging


def sliced(number: int) -> tuple[Report, list[Report]]:
    """A report, and those of its slices as a controller would cut the inventory."""
    whole = failed_fleet(60)
    names = list(dict.fromkeys(row["tenant"] for row in whole["rows"]))
    parts = []
    for part in range(number):
        own = set(names[part::number])
        found = [row for row in whole["rows"] if row["tenant"] in own]
        run = {
            **RUN,
            "started": f"2026-06-02T20:00:{4 + part:02}+00:00",
            "ended": f"2026-06-02T20:01:{31 - part}+00:00",
        }
        parts.append(json.loads(as_json(compose(found, run))))
    return whole, parts


@pytest.mark.parametrize("number", [1, 3, 10])
def test_slices_merged_equal_the_whole(number: int) -> None:
    whole, parts = sliced(number)
    for given_parts in (parts, parts[::-1]):
        merged = merge(given_parts, {"collection_version": RUN["collection_version"]})
        assert merged == whole
        for form, make in FORMS.items():
            assert make(merged) == make(whole), form


def test_of_a_tenant_in_two_parts_the_later_counts() -> None:
    first = compose(rows("a", URL, None, "no") + rows("b", URL, result({NAME: rotated()})), RUN)
    again = compose(
        rows("a", URL, result({NAME: rotated(), "B2": binding()})), {**RUN, "ended": "2026-06-02T21:00:00+00:00"}
    )
    for given_parts in ([first, again], [again, first]):
        merged = merge(given_parts, {})
        assert [(row["tenant"], row["binding"], row["state"]) for row in merged["rows"]] == [
            ("a", NAME, "rotated"),
            ("b", NAME, "rotated"),
            ("a", "B2", "unchanged"),
        ]
        assert merged["run"]["started"] == RUN["started"]
        assert merged["run"]["ended"] == "2026-06-02T21:00:00+00:00"


def test_two_tenants_of_one_name_are_two() -> None:
    one_part = compose(rows("acme", "https://one.example.com", None, "no"), RUN)
    other = compose(rows("acme", "https://two.example.com", None, "no"), RUN)
    assert merge([one_part, other], {})["summary"]["failed"] == 2


def test_parts_of_several_kinds() -> None:
    parts = [
        compose([], {**RUN, "kind": "audit", "check_mode": True, "started": None}),
        compose([], {**RUN, "started": None}),
    ]
    run = merge(parts, {"title": "Both"})["run"]
    assert (run["kind"], run["check_mode"], run["started"], run["title"]) == (None, False, None, "Both")


def test_what_was_written_by_others_is_cleaned() -> None:
    part = json.loads(as_json(failed_fleet(0)))
    part["rows"][0].update(tenant="\x1b[2Jacme", error="x\ny\ufffe", drift=["\x07"])
    part["run"].update(title="\x1b[2J", collection_version="\x00")
    merged = merge([part], {})
    assert "\x1b" not in "".join(lines(merged["rows"]))
    parsed(merged)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda part: [], "not the JSON form"),
        (lambda part: {"rows": []}, "not the JSON form"),
        (lambda part: {**part, "schema_version": 2}, "schema_version is 2"),
        (lambda part: {**part, "run": None}, "not complete"),
        (lambda part: {**part, "run": {**part["run"], "title": {}}}, "holds what it cannot"),
        (lambda part: {**part, "run": {**part["run"], "kind": "odd"}}, "holds what it cannot"),
        (lambda part: {**part, "rows": {}}, "not complete"),
        (lambda part: {**part, "rows": [{"state": "failed"}]}, "row of it is not complete"),
        (lambda part: {**part, "rows": [{**part["rows"][0], "state": "odd"}]}, "row of it is not complete"),
        (lambda part: {**part, "rows": [{**part["rows"][0], "drift": "x"}]}, "no lists"),
        (lambda part: {**part, "rows": [{**part["rows"][0], "rights": "x"}]}, "no lists"),
        (lambda part: {**part, "rows": [{**part["rows"][0], "rights": ["x"]}]}, "rights of a row are not complete"),
    ],
)
def test_what_is_no_report_is_not_merged(break_it: Any, said: str) -> None:
    part = json.loads(as_json(failed_fleet(0)))
    assert complaint(part) is None
    assert said in (complaint(break_it(part)) or "")


# The tasks


class HostVars:
    """What Ansible gives of other hosts: raw, or templated on access."""

    def __init__(self, hosts: dict[str, dict[str, Any]]) -> None:
        self.hosts = hosts
        self.asked: list[str] = []

    def raw_get(self, host: str) -> dict[str, Any]:
        return self.hosts[host]

    def __getitem__(self, host: str) -> Any:
        self.asked.append(host)

        def get(name: str) -> Any:
            if "undefined" in str(self.hosts[host].get(name)):
                raise AnsibleError("it is undefined")
            return self.hosts[host].get(name)

        return SimpleNamespace(get=get)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(Display, "display", lambda _self, text, *_more, **_how: found.append(text))
    return found


def report_task(folder: Path, hostvars: HostVars, check_mode: bool = False, **args: Any) -> dict[str, Any]:
    variables = {"hostvars": hostvars, "ansible_play_hosts_all": list(hostvars.hosts)}
    return in_process.task("halo_report", args, variables, folder, check_mode=check_mode)


def test_the_report_of_a_play(tmp_path: Path, printed: list[str]) -> None:
    hosts = HostVars(
        {
            "acme": {"halo_integration_result": result({NAME: rotated()}, instance="https://acme.example.com")},
            "globex": {"halo_integration_failure": "no {{ login }}", "halo_url": "https://globex.example.com/"},
            "hooli": {"halo_integration_failure": "no", "halo_url": "{{ undefined }}"},
            "wonka": {"halo_url": "https://wonka.example.com"},
            # of an earlier run
            "initech": {"halo_integration_failure": "no", "halo_url": "https://initech.example.com"},
            # it took no part, or has yet to
            "other": {"halo_url": "https://other.example.com"},
        }
    )
    done = report_task(
        tmp_path, hosts, path=str(tmp_path / "out" / "r.html"), kind="provision", untried=["wonka", "initech"]
    )
    assert not done.get("failed"), done
    assert done["changed"] is False
    report = json.loads(Path(done["json"]).read_text())
    VALIDATOR.validate(report)
    assert done["summary"] == report["summary"] == summary(report["rows"])
    assert [(row["tenant"], row["state"], row["url"]) for row in report["rows"]] == [
        ("globex", "failed", "https://globex.example.com"),
        ("hooli", "failed", ""),
        ("initech", "not_tried", "https://initech.example.com"),
        ("wonka", "not_tried", "https://wonka.example.com"),
        ("acme", "rotated", "https://acme.example.com"),
    ]
    # what Halo said is no template
    assert report["rows"][0]["error"] == "no {{ login }}"
    assert "\n".join(printed).splitlines() == [
        "acme: Ticket integration rotated (agent_changed), verified",
        "globex: failed: no {{ login }}",
        "hooli: failed: no",
        "2 not tried",
    ]
    run = report["run"]
    assert (run["kind"], run["check_mode"], run["title"]) == ("provision", False, "Halo integrations")
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert run["collection_version"] == version
    assert run["started"] is None or run["started"] <= run["ended"]
    # nothing is templated of a host whose result says all
    assert "acme" not in hosts.asked


def test_check_mode_is_that_of_the_task_or_of_a_result(tmp_path: Path, printed: list[str]) -> None:
    for check_mode, of_result in ((True, False), (False, True), (False, False)):
        hosts = HostVars({"acme": {"halo_integration_result": result({NAME: binding()}, check_mode=of_result)}})
        path = str(tmp_path / "r")
        done = report_task(tmp_path, hosts, check_mode, path=path, started="2026-06-02T22:00:00.5+02:00")
        run = json.loads(Path(done["json"]).read_text())["run"]
        assert run["check_mode"] is (check_mode or of_result)
        assert (run["started"], run["kind"]) == ("2026-06-02T20:00:00+00:00", None)


def test_without_a_path_nothing_is_written(tmp_path: Path, printed: list[str]) -> None:
    hosts = HostVars({"acme": {"halo_integration_result": result({NAME: binding()})}})
    done = report_task(tmp_path, hosts)
    assert done["summary"]["unchanged"] == 1
    assert not set(FORMS) & set(done)
    assert printed == ["All 1 as declared."]
    assert list(tmp_path.glob("*.*")) == []


def test_what_is_wrong_fails_the_task(tmp_path: Path, printed: list[str]) -> None:
    hosts = HostVars({"acme": {"halo_integration_failure": "no"}})
    done = report_task(tmp_path, hosts, path=str(tmp_path))
    assert done["failed"]
    assert f"cannot be written to {tmp_path}" in done["msg"]
    # what became of the tenants is not lost with it
    assert printed == ["acme: failed: no"]
    assert done["summary"]["failed"] == 1
    assert "no time as ISO 8601" in report_task(tmp_path, hosts, started="soon")["msg"]
    assert "kind must be one of" in report_task(tmp_path, hosts, kind="odd")["msg"]


def merge_task(folder: Path, **args: Any) -> dict[str, Any]:
    return in_process.task("halo_report_merge", args, {}, folder)


def test_the_merge_of_files(tmp_path: Path, printed: list[str]) -> None:
    whole, parts = sliced(10)
    for number, part in enumerate(parts):
        (tmp_path / f"slice-{number}.json").write_text(json.dumps(part))
    path = str(tmp_path / "fleet.html")
    for _again in range(2):
        # its own result of the first time matches the pattern too
        done = merge_task(tmp_path, parts=[str(tmp_path / "*.json")], path=path)
        assert not done.get("failed"), done
        merged = json.loads(Path(done["json"]).read_text())
        assert (merged["rows"], merged["summary"]) == (whole["rows"], whole["summary"])
        assert [Path(part).name for part in done["parts"]] == [f"slice-{number}.json" for number in range(10)]
        assert done["summary"] == whole["summary"]
        assert printed.pop() == "\n".join(lines(whole["rows"]))
    done = merge_task(tmp_path, parts=[str(tmp_path / "slice-1.json")] * 2, path=path, title="Two")
    assert json.loads(Path(done["json"]).read_text())["run"]["title"] == "Two"
    assert len(done["parts"]) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.json", "missing.json cannot be read: No such file"),
        ("none-*.json", "No file matches"),
        ("bad.json", "bad.json cannot be merged: it is not JSON"),
        ("list.json", "list.json cannot be merged: it is not the JSON form"),
        ("out.json", "names no report"),
    ],
)
def test_a_part_that_cannot_be_merged_leaves_the_report_before(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(b"\xff{")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "good.json").write_text(as_json(failed_fleet(0)))
    (tmp_path / "out.json").write_text("before")
    parts = [str(tmp_path / name)] + ([] if name == "out.json" else [str(tmp_path / "good.json")])
    done = merge_task(tmp_path, parts=parts, path=str(tmp_path / "out.html"))
    assert done["failed"]
    assert said in done["msg"]
    assert (tmp_path / "out.json").read_text() == "before"


@pytest.mark.parametrize(
    ("file", "content", "version"),
    [
        ("MANIFEST.json", '{"collection_info": {"version": "2.3.4"}}', "2.3.4"),
        ("galaxy.yml", "name: halo\nversion: 2.3.5\n", "2.3.5"),
        ("README.md", "", None),
    ],
)
def test_the_version_of_an_installed_collection_and_of_a_checkout(
    file: str, content: str, version: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / file).write_text(content)
    monkeypatch.setattr(report_action, "COLLECTION", str(tmp_path))
    assert report_action._version() == version
