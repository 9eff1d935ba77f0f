"""Validates TOML files by a JSON Schema: for each file a line of JSON with its errors. Arguments: the schema, then the files."""

import json
import sys
import tomllib

from jsonschema import Draft202012Validator


def plain(value):
    """What JSON has no type for, such as a time, as its text."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value if isinstance(value, (str, int, float, bool)) else str(value)


with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
for path in sys.argv[2:]:
    with open(path, "rb") as file:
        document = plain(tomllib.load(file))
    errors = [f"{error.json_path}: {error.message}"[:300] for error in validator.iter_errors(document)]
    print(json.dumps({"file": path, "errors": errors}))
