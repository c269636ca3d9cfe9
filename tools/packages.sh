#!/bin/sh
# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Installs the Debian packages that some tests use, when it may. Where they are missing those tests are skipped, or fail
# where TESTS_NEED_ALL_TOOLS is in the environment, as in .ci/run.
set -eu

missing=
command -v pass >/dev/null || missing="$missing pass"
command -v gpg >/dev/null || missing="$missing gnupg"
command -v age >/dev/null || missing="$missing age"
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    missing="$missing chromium"
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086  # names of packages, to be split
    apt-get install -qq -y --no-install-recommends $missing >/dev/null
else
    echo "Not here:$missing. The tests that need them will be skipped; to run them, install these packages." >&2
fi
