#!/bin/sh
# Packs the archive of a release, as install.sh takes it: archive.sh BINARY TARGET FOLDER [NOTICES]
#
# Writes FOLDER/etl-TARGET.tar.gz and FOLDER/etl-TARGET.tar.gz.sha256. NOTICES are the licences of the dependencies.
# Shell completions and man pages lie in it if the binary writes them.
set -eu

binary=$1 target=$2 folder=$3 notices=${4:-}
root=$(cd "$(dirname "$0")/../.." && pwd)
name=etl-$target
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

mkdir "$scratch/$name"
cp "$binary" "$scratch/$name/etl"
chmod 755 "$scratch/$name/etl"
cp "$root/README.md" "$root/LICENSE" "$root/CHANGELOG.md" "$root/.env.example" "$scratch/$name/"
[ -z "$notices" ] || cp "$notices" "$scratch/$name/NOTICE-THIRD-PARTY"
sh "$root/docs/deploy/pages.sh" "$scratch/$name/etl" "$scratch/$name"

cd "$scratch"
tar -cf - "$name" | gzip -n >"$folder/$name.tar.gz"
cd "$folder"
if command -v sha256sum >/dev/null; then
    sha256sum "$name.tar.gz"
else
    shasum -a 256 "$name.tar.gz"
fi >"$name.tar.gz.sha256"
