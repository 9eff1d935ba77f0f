#!/bin/sh
# Writes what the binary says of itself for packages: pages.sh BINARY FOLDER
#
# FOLDER/completions/{etl.bash,_etl,etl.fish}, and in FOLDER/man a page for each command. What this binary does not write is named on stderr.
set -eu

binary=$1 folder=$2

missing() {
    # shellcheck disable=SC2016
    printf 'pages.sh: this binary has no `etl %s`\n' "$1" >&2
}

# A file with the completions of a shell.
completions() {
    if text=$("$binary" completions "$1" 2>/dev/null) && [ -n "$text" ]; then
        mkdir -p "$folder/completions"
        printf '%s\n' "$text" >"$folder/completions/$2"
    else
        missing "completions $1"
    fi
}

completions bash etl.bash
completions zsh _etl
completions fish etl.fish
"$binary" man --dir "$folder/man" >/dev/null 2>&1 || missing 'man --dir'
