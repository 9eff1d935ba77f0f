#!/bin/sh
# Installs `etl` from the archive of a release: downloads it, compares its SHA-256, and puts it into ~/.local/bin.
#
#     ETL_RELEASE_URL=https://... sh install.sh
#
# ETL_RELEASE_URL  the folder with the files of a release; the script that lies among them knows it
# ETL_INSTALL_DIR  where `etl` goes; ~/.local/bin
#
# It needs no root, changes nothing else, and sends nothing.
set -eu

# The release workflow writes its own address here.
release_url='@RELEASE_URL@'

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    exit 1
}

target() {
    case "$(uname -s) $(uname -m)" in
    'Linux x86_64' | 'Linux amd64') echo x86_64-unknown-linux-gnu ;;
    'Linux aarch64' | 'Linux arm64') echo aarch64-unknown-linux-gnu ;;
    'Darwin arm64') echo aarch64-apple-darwin ;;
    *) fail "a release has no archive for $(uname -s) on $(uname -m): build it with \`cargo install --path .\`" ;;
    esac
}

# Plain http only from this machine: the sums come from the same place as the archive.
checked_url() {
    case "$1" in
    '' | @*) fail 'set ETL_RELEASE_URL to the folder with the files of a release' ;;
    https://* | http://127.0.0.1[:/]* | http://localhost[:/]*) printf '%s\n' "${1%/}" ;;
    *) fail "ETL_RELEASE_URL is $1: it must begin with https://" ;;
    esac
}

# From an address, into a file.
download() {
    if command -v curl >/dev/null; then
        curl --fail --silent --show-error --location --retry 3 --output "$2" "$1" || fail "could not download $1"
    elif command -v wget >/dev/null; then
        wget -q -O "$2" "$1" || fail "could not download $1"
    else
        fail 'curl or wget is needed'
    fi
}

sha256() {
    if command -v sha256sum >/dev/null; then
        sha256sum "$1"
    elif command -v shasum >/dev/null; then
        shasum -a 256 "$1"
    else
        fail 'sha256sum or shasum is needed'
    fi | cut -d ' ' -f 1
}

# A function, so that a script that was cut off while it was downloaded does nothing.
main() {
    url=$(checked_url "${ETL_RELEASE_URL:-$release_url}")
    folder=${ETL_INSTALL_DIR:-${HOME:?HOME is not set}/.local/bin}
    name=etl-$(target)
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM

    download "$url/$name.tar.gz" "$scratch/$name.tar.gz"
    download "$url/SHA256SUMS" "$scratch/SHA256SUMS"
    expected=$(awk -v file="$name.tar.gz" '$2 == file || $2 == "*" file { print $1 }' "$scratch/SHA256SUMS")
    [ -n "$expected" ] || fail "SHA256SUMS of the release does not name $name.tar.gz"
    found=$(sha256 "$scratch/$name.tar.gz")
    [ "$found" = "$expected" ] || fail "the SHA-256 of $name.tar.gz is $found, and should be $expected: nothing was installed"

    tar -xzf "$scratch/$name.tar.gz" -C "$scratch"
    # shellcheck disable=SC2016
    version=$("$scratch/$name/etl" --version) ||
        fail 'this system cannot run the binary; on Linux it must be as new as Debian 12 or Ubuntu 22.04: build it with `cargo install --path .`'
    mkdir -p "$folder"
    # Beside its place first: a running etl is not disturbed, and no cut leaves half a file.
    cp "$scratch/$name/etl" "$folder/.etl.$$"
    chmod 755 "$folder/.etl.$$"
    mv -f "$folder/.etl.$$" "$folder/etl"
    printf '%s is installed: %s\n' "$version" "$folder/etl"
    # shellcheck disable=SC2016
    case ":$PATH:" in
    *":$folder:"*) ;;
    *) printf '%s is not on your PATH: export PATH="%s:$PATH"\n' "$folder" "$folder" ;;
    esac
}

main
