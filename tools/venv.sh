#!/bin/sh
# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Usage: tools/venv.sh FOLDER PYTHON PIP-INSTALL-ARGUMENT...
#
# Makes the virtual environment FOLDER (anew, if its Python is gone or of another version than PYTHON) and installs into it.
# UV: the path of uv, which is 20 times faster. Where uv fails, pip gets its turn: it reads configuration that uv does not.
set -eu
folder=$1
python=$2
shift 2

version() {
    "$1" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null
}

same=false
if [ "$(version "$folder/bin/python")" = "$(version "$python")" ]; then
    same=true
fi
if [ -n "${UV:-}" ]; then
    { $same || "$UV" venv --quiet --clear --python "$python" "$folder"; } &&
        "$UV" pip install --quiet --python "$folder/bin/python" "$@" && exit 0
    echo "uv failed; trying again with pip" >&2
    same=false
fi
$same || "$python" -m venv --clear "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
