#!/bin/sh
# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: tools/pick_python.sh [VERSION]
#
# Prints the full path of a Python to build with: of VERSION (such as 3.12), or the best one here. The variable PYTHON,
# when set and no VERSION is given, is the only candidate. A name on PATH proves nothing: version managers put names there
# for versions that they do not have, and Debian splits off the modules that virtual environments need. So each is run.
set -u

# Prints the path of candidate $1 if it runs, is a supported version (version $2, if given) and has the modules.
# Exit status: 2 if only the modules are missing.
try() {
    "$1" -c '
import sys
have = "%d.%d" % sys.version_info[:2]
if sys.version_info < (3, 11) or sys.argv[1] not in ("", have):
    sys.exit(1)
try:
    import ensurepip, venv
except ImportError:
    sys.exit(2)
# Not that of an active virtual environment, which may be gone tomorrow.
print(sys._base_executable)
' "$2" 2>/dev/null
}

candidates() {
    for version in $1; do
        echo "python$version"
        for folder in "${PYENV_ROOT:-${HOME:-/}/.pyenv}/versions/$version".* "${HOME:-/}"/.local/share/uv/python/cpython-"$version".*; do
            echo "$folder/bin/python$version"
        done
    done
    echo python3
    # Newer than what the tests cover: only where there is nothing else.
    [ -n "${2:-}" ] || echo python3.14
}

wanted=${1:-}
if [ -z "$wanted" ] && [ -n "${PYTHON:-}" ]; then
    list=$PYTHON
else
    list=$(candidates "${wanted:-3.13 3.12 3.11}" "$wanted")
fi

incomplete=
old_ifs=$IFS
IFS='
'
for candidate in $list; do
    IFS=$old_ifs
    if found=$(try "$candidate" "$wanted"); then
        echo "$found"
        exit 0
    elif [ $? -eq 2 ]; then
        incomplete=$candidate
    fi
done

if [ -n "$incomplete" ]; then
    echo "$incomplete cannot make virtual environments: on Debian and Ubuntu, install the package python3-venv." >&2
elif [ -n "$wanted" ]; then
    echo "Python $wanted is not here." >&2
elif [ -n "${PYTHON:-}" ]; then
    echo "PYTHON=$PYTHON does not run, or is older than 3.11." >&2
else
    echo "No Python of version 3.11 or newer was found. Install one, or name it: make PYTHON=/path/to/python3" >&2
fi
exit 1
