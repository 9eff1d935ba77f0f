"""Validates OpenLineage events by the schemas of the specification. Arguments: the folder of the schemas, then files of events, one a
line. For each event a line of JSON with its errors. Each facet is validated by the schema that its `_schemaURL` names."""

import json
import pathlib
import sys

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

folder = pathlib.Path(sys.argv[1])
schemas = [json.loads(path.read_text(encoding="utf-8")) for path in folder.rglob("*.json")]
by_id = {schema["$id"]: schema for schema in schemas}
registry = Registry().with_resources((schema["$id"], Resource.from_contents(schema)) for schema in schemas)


def errors_of(schema, document):
    validator = Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}"[:300] for error in validator.iter_errors(document)]


def facets_of(event):
    yield from event["run"].get("facets", {}).items()
    yield from event["job"].get("facets", {}).items()
    for dataset in event["inputs"] + event["outputs"]:
        for kind in ("facets", "inputFacets", "outputFacets"):
            yield from dataset.get(kind, {}).items()


for path in sys.argv[2:]:
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        errors = errors_of({"$ref": event["schemaURL"]}, event)
        for key, facet in facets_of(event):
            schema = by_id.get(facet["_schemaURL"])
            if schema is None or key not in schema["properties"]:
                errors.append(f"{key}: {facet['_schemaURL']} is not its schema")
            else:
                errors += errors_of(schema, {key: facet})
        print(json.dumps({"event": event["eventType"], "errors": errors}))
