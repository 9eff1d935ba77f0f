#!/bin/sh
# Writes what the binary says of itself for packages: pages.sh BINARY FOLDER
#
# FOLDER/completions/{etl.bash,_etl,etl.fish} and FOLDER/man/etl.1. What this binary does not write is named on stderr.
set -eu

binary=$1 folder=$2

# A file of a command's output, or none.
write() {
    file=$1
    shift
    if text=$("$binary" "$@" 2>/dev/null) && [ -n "$text" ]; then
        mkdir -p "$(dirname "$file")"
        printf '%s\n' "$text" >"$file"
    else
        # shellcheck disable=SC2016
        printf 'pages.sh: no %s: this binary has no `etl %s`\n' "$(basename "$file")" "$*" >&2
    fi
}

write "$folder/completions/etl.bash" completions bash
write "$folder/completions/_etl" completions zsh
write "$folder/completions/etl.fish" completions fish
write "$folder/man/etl.1" man
