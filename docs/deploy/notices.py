#!/usr/bin/env python3
"""Writes the licences of all dependencies of a binary, as their licences ask of whoever distributes it.

    cargo metadata --format-version 1 --locked --filter-platform TARGET | python3 docs/deploy/notices.py >NOTICE-THIRD-PARTY

Dependencies of tests and builds are left out. A dependency without a text of its licence stands there by its name and the name of its
licence, and is named on stderr. Archives inside of a crate are not opened.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PREFIXES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT", "UNLICENSE")

# How many folders deep a text may lie: below are copies of other projects' tests.
DEPTH = 4


def linked(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    """The packages that the root package is linked with, by name and version, without itself."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    found, waiting = set(), [root]
    while waiting:
        identity = waiting.pop()
        if identity in found:
            continue
        found.add(identity)
        for dependency in nodes[identity]["deps"]:
            # The kind of a normal dependency is null.
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    packages = (package for package in metadata["packages"] if package["id"] in found and package["id"] != root)
    return sorted(packages, key=lambda package: (package["name"], package["version"]))


def texts(folder: Path) -> list[Path]:
    """The files with licences of a package."""
    files = (path for path in folder.rglob("*") if path.name.upper().startswith(PREFIXES) and path.is_file())
    return sorted(path for path in files if len(path.relative_to(folder).parts) <= DEPTH)


def main() -> None:
    metadata = json.load(sys.stdin)
    packages = linked(metadata)
    without, seen = [], {}
    for package in packages:
        title = f"{package['name']} {package['version']} ({package['license'] or 'see below'})"
        print(f"{'=' * 80}\n{title}\n{'=' * 80}")
        folder = Path(package["manifest_path"]).parent
        found = texts(folder)
        if not found:
            without.append(title)
        for path in found:
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            # Hundreds of crates have the same words of Apache-2.0.
            here = f"{title}, {path.relative_to(folder)}"
            first = seen.setdefault(text, here)
            print(f"--- {path.relative_to(folder)}\n{text if first == here else 'the same text as of ' + first}\n")
    print(f"{len(packages)} dependencies, {len(seen)} texts; without a text: {', '.join(without) or 'none'}", file=sys.stderr)


if __name__ == "__main__":
    main()
