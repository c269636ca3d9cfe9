# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the test suite on every pair of ansible-core and Python that is supported and here, and prints a table.

It fails if a test fails, or if a version of ansible-core that was asked for ran on no Python at all.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

import tree
from pairs import BUILD, FEW, PAIRS, ROOT, NotHere, arguments, environment, first_python


def run(core: str, python: str, pytest_args: list[str]) -> tuple[str, str]:
    """Run the suite on one pair. Gives "passed", "FAILED" or "not here", and what there is to say about it."""
    try:
        folder = environment(core, python)
    except NotHere as error:
        return "not here", str(error)
    except subprocess.CalledProcessError:
        return "FAILED", "the environment could not be made"
    log = BUILD / "pairs" / f"core{core}-py{python}.log"
    env = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    with log.open("w", encoding="utf-8") as file:
        command = [str(folder / "bin/python"), "-m", "pytest", "--color=no", *pytest_args]
        done = subprocess.run(command, cwd=ROOT, env=env, stdout=file, stderr=subprocess.STDOUT, check=False)
    lines = log.read_text(encoding="utf-8").rstrip().splitlines() or ["pytest said nothing"]
    if done.returncode:
        print("\n".join(lines))
    return "FAILED" if done.returncode else "passed", lines[-1].strip("= ")


def tested() -> str | None:
    """The pair, as CORE/PYTHON, on which `make test` passed since any file was changed."""
    stamp = BUILD / "tested"
    if not stamp.exists() or any((ROOT / name).stat().st_mtime > stamp.stat().st_mtime for name in tree.files()):
        return None
    program = "import sys, ansible.release as r; print(*r.__version__.split('.')[:2], *sys.version_info[:2])"
    done = subprocess.run([ROOT / ".venv/bin/python", "-c", program], check=True, capture_output=True, text=True)
    return "{}.{}/{}.{}".format(*done.stdout.split())


def main() -> int:
    every = [f"{core}/{python}" for core, pythons in PAIRS.items() for python in sorted(pythons)]
    parser = argparse.ArgumentParser(description=__doc__, epilog="What follows -- is given to pytest.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--pair", action="append", choices=every, help="may be repeated")
    quick = f"ansible-core {', '.join(FEW)}, on one Python each, less what make test did"
    which.add_argument("--quick", action="store_true", help=quick)
    own, others = arguments()
    args = parser.parse_args(own)

    chosen = args.pair or every
    if args.quick:
        try:
            chosen = [f"{core}/{first_python(core)}" for core in FEW]
        except NotHere as error:
            print(error, file=sys.stderr)
            return 1
    done = tested() if args.quick else None
    rows = []
    for pair in chosen:
        core, python = pair.split("/")
        if pair == done:
            rows.append((core, python, "passed", "", "by make test, and nothing was changed since"))
            continue
        print(f"ansible-core {core}, Python {python} ...", flush=True)
        started = time.monotonic()
        result, remark = run(core, python, others)
        rows.append((core, python, result, f"{time.monotonic() - started:.0f}", remark))

    titles = ("core", "Python", "result", "seconds", "")
    for row in (titles, *rows):
        print("{:<6}{:<8}{:<10}{:<9}{}".format(*row).rstrip())
    bare = sorted({row[0] for row in rows} - {row[0] for row in rows if row[2] == "passed"})
    if bare:
        print(f"The suite did not pass on any Python with ansible-core {', '.join(bare)}.", file=sys.stderr)
    return 1 if bare or any(row[2] == "FAILED" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
