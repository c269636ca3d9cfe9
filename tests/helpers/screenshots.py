# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pictures of the report's page, to look at it: make screenshots."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from ansible_collections.haloops.halo.plugins.plugin_utils.report_forms import page

from helpers import browser, reports

SIZES = {1280: 900, 400: 860}


def main(folder: Path) -> None:
    """Write one picture for each report, width and colour scheme, and the page as it would be printed."""
    folder.mkdir(parents=True, exist_ok=True)
    if not browser.PROGRAM:
        sys.exit("There is no Chromium here; make packages installs it on Debian.")
    pages = {"failed": reports.failed_fleet(), "audit": reports.audited_fleet(), "large": reports.large_fleet()}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, browser.browser(Path(profile)) as tab:
        for name, report in pages.items():
            path = folder / f"{name}.html"
            path.write_text(page(report), encoding="utf-8")
            for dark in (False, True):
                for width, height in SIZES.items():
                    tab.view(width=width, height=height, dark=dark)
                    tab.open(path)
                    tab.screenshot(folder / f"{name}-{width}-{'dark' if dark else 'light'}.png")
            tab.view()
            tab.pdf(folder / f"{name}.pdf")
    print(*sorted(map(str, folder.glob("*.p*"))), sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
