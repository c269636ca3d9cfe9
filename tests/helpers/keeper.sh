#!/bin/sh
# Copyright: (c) 2026, Halo Ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# keeper.sh FOLDER read|write|list TENANT [BINDING]: a program for the store `command` that keeps entries in plain files.
# A tenth of the time of a Python is what it takes; it knows JSON as far as the collection writes it.
set -eu

folder=$1 verb=$2 tenant=$3 key=${4:-}
mkdir -p "$folder/$tenant"
file=$folder/$tenant/$key

version_in() {
    version=${1##*\"version\": }
    printf %s "${version%\}}"
}

exec 9>>"$folder/.lock"
flock 9
now='{"entry": null, "version": null}'
if [ -n "$key" ] && [ -e "$file" ]; then
    now=$(cat "$file")
fi
case $verb in
read)
    printf '%s\n' "$now"
    ;;
list)
    names=
    for file in "$folder/$tenant"/*; do
        if [ -e "$file" ]; then
            names="$names${names:+, }\"${file##*/}\""
        fi
    done
    printf '{"bindings": [%s]}\n' "$names"
    ;;
write)
    given=$(cat)
    old=$(version_in "$now")
    if [ "$(version_in "$given")" != "$old" ]; then
        exit 3
    fi
    number=${old#\"}
    number=${number%\"}
    if [ "$number" = null ]; then
        number=0
    fi
    new="\"$((number + 1))\""
    printf '%s, "version": %s}' "${given%, \"version\": *}" "$new" >"$folder/.draft"
    mv "$folder/.draft" "$file"
    printf '{"version": %s}\n' "$new"
    ;;
esac
