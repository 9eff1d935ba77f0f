"""docs/deploy/notices.py over a tree of dependencies that is made here."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "docs/deploy/notices.py"


class NoticesTest(unittest.TestCase):
    def notices(self, edges, texts):
        """`edges`: (from, to, kind); `texts`: package -> {file: text}."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            names = sorted({"root", *(end for edge in edges for end in edge[:2])})
            for package in names:
                (folder / package).mkdir()
                for file, text in texts.get(package, {}).items():
                    path = folder / package / file
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text)
            packages = [
                {"id": package, "name": package, "version": "1.0.0", "license": "MIT", "manifest_path": str(folder / package / "Cargo.toml")}
                for package in names
            ]
            nodes = [
                {"id": package, "deps": [{"pkg": to, "dep_kinds": [{"kind": kind}]} for start, to, kind in edges if start == package]}
                for package in names
            ]
            metadata = {"packages": packages, "resolve": {"root": "root", "nodes": nodes}}
            ran = subprocess.run([sys.executable, str(PROGRAM)], input=json.dumps(metadata), capture_output=True, text=True, check=True)
            return ran.stdout, ran.stderr

    def test_what_is_linked_is_named_with_its_texts_and_nothing_else(self):
        edges = [("root", "a", None), ("a", "b", None), ("root", "tests", "dev"), ("root", "builds", "build"), ("builds", "c", None)]
        texts = {"a": {"LICENSE-MIT": "words of a", "src/lib.rs": "code"}, "b": {"third/COPYING": "words of b"}, "root": {"LICENSE": "own words"}}
        said, told = self.notices(edges, texts)
        for wanted in ("a 1.0.0 (MIT)", "words of a", "b 1.0.0 (MIT)", "words of b"):
            self.assertIn(wanted, said)
        for other in ("tests 1.0.0", "builds 1.0.0", "c 1.0.0", "own words", "code"):
            self.assertNotIn(other, said)
        self.assertIn("2 dependencies, 2 texts; without a text: none", told)

    def test_a_text_stands_once_and_a_missing_one_is_told(self):
        said, told = self.notices([("root", "a", None), ("root", "b", None), ("root", "c", None)], {"a": {"LICENSE": "same"}, "b": {"LICENSE": "same\n"}})
        self.assertEqual(said.count("\nsame\n"), 1)
        self.assertIn("the same text as of a 1.0.0 (MIT), LICENSE", said)
        self.assertIn("without a text: c 1.0.0 (MIT)", told)


if __name__ == "__main__":
    unittest.main()
