# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's page in a real browser: what can be clicked, typed and seen, at any width, dark and in print."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.haloops.halo.plugins.plugin_utils.report import Report, compose, not_tried, rows
from ansible_collections.haloops.halo.plugins.plugin_utils.report_forms import page
from helpers import browser
from helpers.reports import RUN, audited_fleet, binding, failed_fleet, large_fleet, result, rotated

pytestmark = pytest.mark.skipif(not browser.PROGRAM, reason="there is no Chromium here")

URL = "https://acme.example.com"


@pytest.fixture(scope="module")
def tab() -> Iterator[browser.Browser]:
    # what it writes last is nobody's
    whole = tempfile.TemporaryDirectory(prefix="halo-", ignore_cleanup_errors=True)
    with whole as folder, browser.browser(Path(folder)) as one:
        yield one


class Seen:
    """A report in the tab, as a person sees it."""

    def __init__(self, tab: browser.Browser, folder: Path) -> None:
        self.tab = tab
        self._path = folder / "report.html"

    def __call__(self, report: Report, **view: Any) -> Seen:
        self._path.write_text(page(report), encoding="utf-8")
        self.tab.view(**view)
        self.tab.open(self._path)
        return self

    def column(self, name: str) -> list[str]:
        """The texts of a column in the rows that can be seen, from the top."""
        script = (
            f"[...document.querySelectorAll('tbody tr')].filter(row => row.offsetHeight).map(row => "
            f"row.querySelector('.c-{name}').innerText.trim().split('\\n')[0])"
        )
        found: list[str] = self.tab.run(script)
        return found

    def sort(self, name: str) -> None:
        self.tab.click(f"th.c-{name} button")

    def pick(self, state: str) -> None:
        self.tab.click(f".counts button[data-state='{state}']")

    def search(self, text: str) -> None:
        self.tab.type("#search", text)

    def text(self, selector: str) -> str:
        return str(self.tab.run(f"document.querySelector({selector!r}).innerText"))


@pytest.fixture
def seen(tab: browser.Browser, tmp_path: Path) -> Seen:
    return Seen(tab, tmp_path)


def test_failures_are_seen_first(seen: Seen) -> None:
    seen(failed_fleet())
    states = seen.column("state")
    assert states[:6] == ["failed"] * 4 + ["not tried"] * 2
    assert states[-1] == "as declared"
    assert seen.tab.run("document.title") == "4 failed: Halo integrations"
    head = seen.text("header")
    for word in ("Provision", "2026-06-02 20:01 UTC", "87 s", "30 tenants"):
        assert word in head
    assert "check mode" not in head
    # above the fold, with what to do
    assert seen.tab.run("document.querySelector('tbody .hint').getBoundingClientRect().bottom < innerHeight")
    assert seen.tab.run("document.querySelector('tbody a').href") == "https://globex.example.com/"
    assert seen.tab.complaints() == []
    assert [url.rpartition("/")[2] for url in seen.tab.requests()] == ["report.html"]


def test_what_a_row_says(seen: Seen) -> None:
    seen(audited_fleet())
    assert "nothing was changed" in seen.text("header")
    assert "check mode" not in seen.text("header")
    row = seen.text("tbody tr")
    for word in (
        *("acme", "acme.example.com", "Ticket integration", "0b1e7a52-0c59-49b5-8f2c-0f2f4c2c7d11"),
        *("enabled: false instead of true", "roles: API Integration is missing", "api-tickets", "actual: rogue-agent"),
        *("A new secret is due: the login agent changed", "22 days", "verified", "2026-07-24", "in 51 days"),
    ):
        assert word in row, word
    assert "not verified" in seen.text("tbody tr:nth-child(2)")
    can = "Can: read tickets, edit tickets (refused), read customers (empty)"
    assert seen.text("tbody .rights") == can
    made = rows("a", URL, result({"x": rotated(due_at="2026-06-01T00:00:00+00:00", kind="integrator", handover="Hi")}))
    seen(compose(made, {**RUN, "check_mode": True, "kind": "rotate"}))
    for word in ("today", "overdue", "Halo Integrator", "For Halo's support\nHi"):
        assert word in seen.text("tbody tr"), word
    assert "check mode: nothing was changed" in seen.text("header")


def test_counts_filter(seen: Seen) -> None:
    seen(failed_fleet())
    total = len(seen.column("state"))
    counts = " ".join(seen.text(".counts").split())
    assert counts == "54 in all 4 failed 2 not tried 1 orphan 3 rotated 1 changed 43 as declared"
    seen.pick("failed")
    assert seen.column("state") == ["failed"] * 4
    assert seen.text("#status") == "4 of 54 bindings, 4 tenants"
    assert seen.tab.run("document.querySelector('.counts .failed').getAttribute('aria-pressed')") == "true"
    seen.pick("rotated")
    assert set(seen.column("state")) == {"failed", "rotated"}
    seen.pick("failed")
    assert set(seen.column("state")) == {"rotated"}
    seen.pick("")
    assert len(seen.column("state")) == total
    assert seen.text("#status") == ""
    assert seen.tab.run("document.querySelector('.counts button').getAttribute('aria-pressed')") == "true"


def test_search(seen: Seen) -> None:
    seen(failed_fleet())
    for text, tenants in (
        ("GLOBEX", ["globex"]),
        ("invalid_client", ["globex"]),
        ("7d1c0b9e-3f02", ["umbrella"]),
        ("Claire temp", ["acme"]),
        ("customer2 reporting", ["customer2", "customer20"]),
        ("no such thing", []),
        ("<b>", []),
    ):
        seen.search(text)
        assert seen.column("tenant") == tenants, text
        assert seen.tab.run("document.querySelector('.none').hidden") is bool(tenants)
    seen.search("ticket")
    seen.pick("failed")
    assert seen.column("tenant") == ["hooli", "initech"]
    seen.search("")
    seen.pick("failed")
    assert len(seen.column("tenant")) == 54


# up and down; what has nothing in a column is last either way, and what is alike there stays as it was
@pytest.mark.parametrize(
    ("column", "up", "down"),
    [
        ("state", ["t2", "t9", "T1", "t10"], ["T1", "t10", "t9", "t2"]),
        ("tenant", ["T1", "t2", "t9", "t10"], ["t10", "t9", "t2", "T1"]),
        ("binding", ["t9", "t10", "T1", "t2"], ["T1", "t10", "t9", "t2"]),
        ("what", ["t2", "t9", "T1", "t10"], ["t9", "t2", "T1", "t10"]),
        ("agent", ["t10", "T1", "t9", "t2"], ["t9", "T1", "t10", "t2"]),
        ("secret", ["t9", "t10", "T1", "t2"], ["T1", "t10", "t9", "t2"]),
        ("due", ["T1", "t9", "t2", "t10"], ["t9", "T1", "t2", "t10"]),
    ],
)
def test_every_column_sorts(column: str, up: list[str], down: list[str], seen: Seen) -> None:
    found = [
        *rows("t10", URL, result({"Beta": binding(made_at="2026-05-30T00:00:00+00:00", due_at=None)})),
        *rows("t9", URL, result({"alpha": rotated(agent_name="zed", due_at="2026-12-24T00:00:00+00:00")})),
        *rows("T1", URL, result({"gamma": binding(made_at="2025-05-30T00:00:00+00:00", agent_name="Bot")})),
        *rows("t2", "", None, "a failure"),
    ]
    seen(compose(found, RUN))
    assert seen.column("tenant") == ["t2", "t9", "T1", "t10"]
    for order, direction in ((up, "ascending"), (down, "descending"), (up, "ascending")):
        seen.sort(column)
        assert seen.column("tenant") == order
        sorted_by = "[...document.querySelectorAll('[aria-sort]')].map(one => [one.className, one.ariaSort])"
        assert seen.tab.run(sorted_by) == [[f"c-{column}", direction]]
    # a filter does not undo it
    seen.pick("unchanged")
    assert seen.column("tenant") == [name for name in up if name in ("T1", "t10")]
    other = "tenant" if column != "tenant" else "agent"
    seen.sort(other)
    assert seen.tab.run(sorted_by) == [[f"c-{other}", "ascending"]]


def test_it_works_by_keyboard(seen: Seen) -> None:
    seen(failed_fleet())
    seen.tab.run("document.querySelector('.counts .failed').focus()")
    seen.tab.key("Enter", "\r")
    assert seen.column("state") == ["failed"] * 4
    assert seen.tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    focusable = "document.querySelectorAll('.counts button, #search, thead button, tbody a')"
    assert seen.tab.run(f"[...{focusable}].every(one => one.tabIndex === 0)")


def test_what_assistive_technology_is_given(seen: Seen) -> None:
    for width in (1280, 400):
        seen(failed_fleet(3), width=width)
        tree = seen.tab._call("Accessibility.getFullAXTree")["nodes"]
        roles = [node["role"]["value"] for node in tree if not node.get("ignored")]
        # as cards on a phone too it is a table
        assert roles.count("table") == 1, width
        assert roles.count("row") == 21
        assert roles.count("columnheader") == 7
        assert roles.count("rowheader") == 20
        names = {node["role"]["value"]: node["name"]["value"] for node in tree if node.get("name", {}).get("value")}
        assert names["table"] == "Bindings"
        assert names["searchbox"] == "Search"
        assert names["heading"] == "Halo integrations"
        unnamed = [
            node
            for node in tree
            if not node.get("ignored")
            and node["role"]["value"] in ("button", "link", "searchbox")
            and not node["name"]["value"].strip()
        ]
        assert unnamed == []


CONTRAST = """
(() => {
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([red, green, blue]) => [red, green, blue].map(one => one / 255)
    .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = one => {
    for (; one; one = one.parentElement) {
      const colour = numbers(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const one of document.querySelectorAll('body *')) {
    const own = [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !one.offsetHeight) continue;
    const lights = [light(numbers(getComputedStyle(one).color)), light(behind(one))].sort((a, b) => b - a);
    const ratio = (lights[0] + 0.05) / (lights[1] + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${one.className} ${one.textContent.slice(0, 30)}`);
  }
  return [...new Set(poor)];
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_colours_have_contrast(dark: bool, seen: Seen) -> None:
    for report in (failed_fleet(1), audited_fleet()):
        seen(report, dark=dark)
        light = seen.tab.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
        assert (light < 60) is dark
        assert seen.tab.run(CONTRAST) == []
        for state in ("failed", "drifted", "rotated"):
            if seen.tab.run(f"!!document.querySelector('.counts .{state}')"):
                seen.pick(state)
        assert seen.tab.run(CONTRAST) == []


@pytest.mark.parametrize("width", [320, 400, 768, 1280, 1920])
def test_nothing_is_wider_than_the_screen(width: int, seen: Seen) -> None:
    long = "x" * 300
    found = rows(long, f"https://{long}.example.com", result({long: rotated(agent_name=long, drift=[long, long])}))
    found += rows("acme", URL, None, long) + not_tried("wonka", URL)
    for report in (compose(found, {**RUN, "title": long}), failed_fleet(1), audited_fleet()):
        seen(report, width=width)
        assert seen.tab.run("document.documentElement.scrollWidth") <= width
        # nor is any text of a row outside of it, or over another cell
        outside = (
            "[...document.querySelectorAll('tbody td, tbody th')].filter(one => one.scrollWidth > one.clientWidth + 1"
            " || one.getBoundingClientRect().right > innerWidth).map(one => one.className)"
        )
        assert seen.tab.run(outside) == [], width


def test_a_phone_shows_cards_that_can_be_sorted(seen: Seen) -> None:
    seen(failed_fleet(), width=400, height=800)
    assert seen.column("state")[:4] == ["failed"] * 4
    assert seen.tab.run("document.querySelector('tbody .hint').getBoundingClientRect().bottom < innerHeight")
    seen.sort("tenant")
    assert seen.column("tenant")[:2] == ["acme", "customer1"]
    assert "Due" in seen.tab.run("getComputedStyle(document.querySelector('td.c-due[data-label]'), '::before').content")


def test_print(seen: Seen, tmp_path: Path) -> None:
    for dark in (False, True):
        seen(failed_fleet(), width=1000, dark=dark, print_media=True)
        assert seen.tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert seen.tab.run("document.querySelector('#search').offsetHeight") == 0
        assert seen.tab.run("document.querySelector('.counts').offsetHeight") > 0
        assert seen.tab.run(CONTRAST) == []
        assert seen.tab.run("getComputedStyle(document.querySelector('tbody tr')).display") == "table-row"
        assert seen.tab.run("getComputedStyle(document.querySelector('tbody tr')).breakInside") == "avoid"
    seen.tab.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_a_thousand_rows_in_a_second(seen: Seen) -> None:
    """Measured as CPU of the page's thread, which other work on the machine does not change."""
    report = large_fleet(1000)

    def cpu() -> float:
        metrics = seen.tab._call("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

    seen.tab._call("Performance.enable", timeDomain="threadTicks")
    painted = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
    for width in (400, 1280):
        # the counter begins with the document
        seen(report, width=width)
        seen.tab.run(painted)
        assert cpu() < 1, width
        assert len(seen.column("tenant")) == 1000
    for act in (lambda: seen.sort("tenant"), lambda: seen.pick("failed"), lambda: seen.search("tenant99")):
        before = cpu()
        act()
        seen.tab.run(painted)
        assert cpu() - before < 1
    assert seen.column("tenant") == []


def test_markup_in_names_is_text_in_a_browser(seen: Seen) -> None:
    texts = ["<script>document.title='x'</script>", '"><img src=x onerror=document.title="x">', "{{ 7 * 7 }}", "&amp;"]
    found = [
        row
        for text in texts
        for row in rows(
            text, "javascript:document.title='x'", result({text: rotated(handover=text, drift=[text])}), None
        )
    ]
    seen(compose(found, RUN))
    assert sorted(seen.column("tenant")) == sorted(texts)
    assert seen.tab.run("document.title") == "Halo integrations"
    assert seen.tab.run("document.querySelectorAll('a, img, script').length") == 1
    assert seen.tab.complaints() == []
    # the policy stops what would come from elsewhere, whatever got in
    seen.tab.run(
        "new Promise(done => { const one = new Image(); one.onerror = one.onload = () => done();"
        " one.src = 'https://elsewhere.example.com/x.png'; })"
    )
    assert any("Content Security Policy" in text for text in seen.tab.complaints())


def test_without_rows(seen: Seen) -> None:
    seen(compose([], RUN))
    assert "No tenant took part in this run." in seen.text(".card")
    assert seen.tab.run("document.querySelector('#search').hidden")
    assert seen.tab.complaints() == []
