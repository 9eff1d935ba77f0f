//! The JSON Schema of a source's table: its keys and kinds are those that the readers of this folder know.
//!
//! A table may lie over that of a shipped profile, key by key, so that no key is required by the schema. The readers say what is missing.

use serde_json::{Map, Value, json};

use super::{
    SHIPPED, auth, bulk, fields,
    kinds::Kind,
    pagination, refunds,
    table::{LINE_REQUEST_KEYS, MORE_REQUEST_KEYS, TIME_FORMATS},
};
use crate::{
    model::{DIM_PRODUCT, DIM_USER, DimensionSpec, ORDER_AMOUNTS},
    settings::{
        Cursor, MergeBy, RepeatedSku, SourceKind,
        setting::bounds,
        source_kind::FieldKind,
        toml_schema::{list_of, number_of, of_type, scalar, table_of, text, whole_of, word},
    },
};

/// The table of a source, or its location alone.
pub(in crate::settings) fn source_schema(kind: SourceKind) -> Value {
    let properties: Map<String, Value> = kind.keys().into_iter().map(|key| (key.to_owned(), key_schema(kind, key))).collect();
    json!({ "anyOf": [text("The location alone: an http(s) URL, a path, or a URL of a bucket"), table_of(properties)] })
}

/// The names of the shipped profiles.
pub(in crate::settings) fn profile_name(what: &str) -> Value {
    let names: Vec<_> = SHIPPED.iter().map(|shipped| shipped.name).collect();
    word(what, &names)
}

fn key_schema(kind: SourceKind, key: &str) -> Value {
    match key {
        "name" => text("The name under which the coverage of this source is kept"),
        "profile" => profile_name("The shipped profile that this source starts from: see `etl sources`"),
        "location" => text("Where the source is: an http(s) URL, a path, or a URL of a bucket"),
        "path" => text("The path beneath `url`, or beneath a location without a path"),
        "records" => records(),
        "page_size" => whole_of("Records of a page", bounds::PAGE_SIZE),
        "concurrency" => whole_of("Pages that are requested at once, where the list has numbered pages", bounds::CONCURRENCY),
        "requests_per_second" => number_of("Requests that the API allows in a second", bounds::REQUESTS_PER_SECOND),
        "fields" => fields_of(kind),
        "line_fields" => known_fields(kind, "line_fields"),
        "pagination" => kinds("How the list goes on", &pagination::KINDS, pagination_key),
        "auth" => kinds("How requests are authorized; the secrets stand in the environment or in .env", &auth::KINDS, auth_key),
        "query" => query(),
        "headers" => {
            json!({ "description": "Headers of each request; none that holds a secret", "type": "object", "additionalProperties": scalar() })
        }
        "count" => count(),
        "zone" => text("The zone of times without one, such as Europe/Paris"),
        "body" => any_table("The body of a request by POST"),
        "next_body" => any_table("What the body of the requests after the first has besides"),
        "graphql" => text("The query of a GraphQL API"),
        "variables" => any_table("The variables of the GraphQL query"),
        "totals" => totals(),
        "refunds" => refunds(),
        "children" => children(),
        "bulk" => bulk_operation(),
        "more_request" => more_request(),
        "filter" => filter(),
        "skip" => skip("Records that are left out"),
        "skip_lines" => skip("Lines that are left out"),
        "repeated_sku" => of_type::<RepeatedSku>(),
        "merge" => of_type::<MergeBy>(),
        "cursor" => of_type::<Cursor>(),
        "quantity" => word("The type of `quantity`", &["whole", "decimal"]),
        "line_request" => line_request(),
        _ => json!({}),
    }
}

fn records() -> Value {
    let object =
        json!({ "path": path("Where the records are"), "object": word("An object in place of the list is one record", &["record"]) });
    json!({
        "description": "Where the records are within a body; \".\" is the body itself",
        "anyOf": [{ "type": "string" }, table(object, &["path"])]
    })
}

fn path(what: &str) -> Value {
    text(what)
}

fn paths(what: &str) -> Value {
    list_of(what, json!({ "type": "string" }))
}

fn any_table(what: &str) -> Value {
    json!({ "description": what, "type": "object" })
}

/// A table with these keys and no other.
fn table(properties: Value, required: &[&str]) -> Value {
    let mut schema = table_of(match properties {
        Value::Object(properties) => properties,
        _ => Map::new(),
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn query() -> Value {
    let value = json!({ "anyOf": [scalar(), { "type": "array", "items": scalar() }] });
    json!({ "description": "Parameters of each request", "type": "object", "additionalProperties": value })
}

fn count() -> Value {
    let mut schema =
        table(json!({ "path": text("Its path beneath the URL of the API"), "value": path("Where the answer holds the number") }), &[]);
    schema["description"] = json!("A request that counts the records");
    schema
}

fn filter() -> Value {
    let mut schema = table(
        json!({
            "since": text("The parameter for the start of a window on created_at"),
            "until": text("The parameter for its end"),
            "updated_since": text("The parameter for the start of a window on updated_at"),
            "updated_until": text("The parameter for its end"),
            "format": word("How the times are written", &TIME_FORMATS),
            "earliest": text("The earliest time that the API accepts, such as 729d"),
            "shows": text("The span before now that the API shows, such as 60d; all"),
        }),
        &[],
    );
    schema["description"] = json!("The parameters by which the API narrows a list to a window");
    schema
}

fn skip(what: &str) -> Value {
    list_of(what, skip_rule())
}

/// A value, and what it must be.
fn skip_rule() -> Value {
    table(
        json!({
            "path": path("Where the value is"),
            "equals": scalar(),
            "one_of": list_of("Any of these values", scalar()),
            "none_of": list_of("None of these values", scalar()),
            "missing": list_of("Any value but these, which count as missing", scalar()),
        }),
        &["path"],
    )
}

fn more_request() -> Value {
    let key = |key: &str| match key {
        "path" => text("The path of the members that belong to a record, with {id} for the record"),
        "id" => path("Where the record holds what {id} stands for"),
        "when" => skip_rule(),
        "inherit" => json!({
            "description": "Columns that a member takes from its record where it has none: the column, and where the record has it",
            "type": "object", "additionalProperties": { "type": "string" }
        }),
        other => key_schema(SourceKind::Products, other),
    };
    let mut schema = table_of(MORE_REQUEST_KEYS.iter().map(|name| ((*name).to_owned(), key(name))).collect());
    schema["description"] = json!("A request for members that belong to a record of the list, such as the variations of a product");
    json!({ "anyOf": [{ "const": false }, schema] })
}

fn children() -> Value {
    let lists = json!({
        "description": "The list of the record that each type of children goes into",
        "type": "object", "additionalProperties": { "type": "string" }
    });
    let mut schema =
        table(json!({ "parent": path("Where a child names its parent"), "id": path("Where a record has its id"), "lists": lists }), &[]);
    schema["description"] = json!("Lines of a file that belong to a record before them");
    schema
}

fn bulk_operation() -> Value {
    let mut schema = table_of(bulk::KEYS.iter().map(|name| ((*name).to_owned(), bulk_key(name))).collect());
    schema["description"] = json!("An operation whose result is a file: how it is started, awaited and read; false: none");
    json!({ "anyOf": [{ "const": false }, schema] })
}

fn bulk_key(key: &str) -> Value {
    match key {
        "graphql" => text("The query that starts the operation"),
        "variables" => any_table("The variables of the query, with places for the parameters of the window"),
        "id" => path("Where the answer has the id of the operation"),
        "errors" => path("Where the answer lists why nothing was started"),
        "busy" => list_of("Words of an error that mean: another operation runs, ask again later", scalar()),
        "cursor" => of_type::<Cursor>(),
        "poll" => table_of(bulk::POLL_KEYS.iter().map(|name| ((*name).to_owned(), poll_key(name))).collect()),
        _ => json!({}),
    }
}

fn poll_key(key: &str) -> Value {
    match key {
        "graphql" => text("The query that asks for the state of the operation"),
        "variables" => any_table("The variables of the query, with a place {id}"),
        "status" => path("Where the answer has the status"),
        "done" => list_of("The statuses of an operation whose result is complete", scalar()),
        "failed" => list_of("The statuses of an operation that has no result", scalar()),
        "url" => path("Where the answer has the URL of the result; null there: nothing matched"),
        "error" => path("Where the answer says why the operation failed"),
        "records" => path("Where the answer counts the records"),
        "objects" => path("Where the answer counts the records with their children"),
        "interval" => text("The first wait between two questions, such as 10s; the waits grow to a minute"),
        "timeout" => text("How long the operation is awaited, such as 24h"),
        _ => json!({}),
    }
}

fn refunds() -> Value {
    let by_line_key = |key: &str| match key {
        "list" => path("A list in the line, one element of which has the id"),
        "when" => skip_rule(),
        _ => field(FieldKind::Plain),
    };
    let by_line = table_of(refunds::BY_LINE_KEYS.iter().map(|name| ((*name).to_owned(), by_line_key(name))).collect());
    let line_key = |key: &str| match key {
        "list" => path("Where a refund lists its lines"),
        "sign" => word("How quantities and amounts of lines are written", &refunds::SIGNS.map(|(name, _)| name)),
        "amount" => field(FieldKind::Amount),
        "by_line" => by_line.clone(),
        _ => field(FieldKind::Plain),
    };
    let key = |key: &str| match key {
        "list" => path("Where a record lists its refunds"),
        "request" => refund_request(),
        "created_at" => field(FieldKind::Time),
        "amount" => field(FieldKind::Amount),
        "skip" => skip("Refunds that are left out"),
        "skip_amounts" => skip("Elements of the list of `amount` that are left out"),
        "lines" => table_of(refunds::LINE_KEYS.iter().map(|name| ((*name).to_owned(), line_key(name))).collect()),
        _ => field(FieldKind::Plain),
    };
    json!({
        "description": "Where a record lists its refunds; false: nowhere",
        "anyOf": [{ "const": false }, table_of(refunds::KEYS.iter().map(|name| ((*name).to_owned(), key(name))).collect())]
    })
}

fn line_request() -> Value {
    list_request("lines", "A request for the lines of an order that its record does not hold")
}

fn refund_request() -> Value {
    let request = list_request("refunds", "A request for the refunds of an order that its record does not hold; false: none");
    json!({ "anyOf": [{ "const": false }, request] })
}

/// A request for a list that belongs to an order.
fn list_request(of: &str, description: &str) -> Value {
    let key = |key: &str| match key {
        "path" => text(&format!("The path of the {of}, with {{id}} for the order")),
        "id" => path("Where the record holds what {id} stands for"),
        "when" => path(&format!("Where the record says that there are {of} to ask for")),
        other => key_schema(SourceKind::Orders, other),
    };
    let mut schema = table_of(LINE_REQUEST_KEYS.iter().map(|name| ((*name).to_owned(), key(name))).collect());
    schema["description"] = json!(description);
    schema
}

/// A table with a `kind`, and the keys that belong to each kind. Without it, the kind is that of the profile beneath.
fn kinds(what: &str, kinds: &[Kind], key_schema: fn(&str) -> Value) -> Value {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
    let mut properties: Map<String, Value> =
        kinds.iter().flat_map(|kind| kind.keys).map(|key| ((*key).to_owned(), key_schema(key))).collect();
    properties.insert("kind".to_owned(), word("Which kind", &names));
    let of_kind = |kind: &Kind| {
        let keys: Vec<_> = kind.keys.iter().chain(&["kind"]).collect();
        json!({
            "if": { "properties": { "kind": { "const": kind.name } }, "required": ["kind"] },
            "then": { "propertyNames": { "enum": keys } }
        })
    };
    let mut schema = table_of(properties);
    schema["description"] = json!(what);
    schema["allOf"] = kinds.iter().map(of_kind).collect();
    schema
}

fn pagination_key(key: &str) -> Value {
    match key {
        "path" => path("Where a body holds the next URL or cursor"),
        "parameter" => text("The parameter that asks for the next page"),
        "more" => path("Where a body says whether there are more"),
        "id" => path("Where a record holds its id"),
        "size_parameter" => text("The parameter for the size of a page"),
        "first" => whole_of("The number of the first page", bounds::FIRST_PAGE),
        "pages_header" => text("The header that counts the pages"),
        "pages" => path("Where a body counts the pages"),
        "total" => text("Where a body counts the records; \"\" believes no count"),
        "largest" => whole_of("The largest offset that the API serves: longer lists are read in slices", bounds::LARGEST_OFFSET),
        _ => json!({}),
    }
}

fn auth_key(key: &str) -> Value {
    match key {
        "parameters" => json!({
            "description": "The parameters for user and password", "type": "array", "items": scalar(), "maxItems": 2
        }),
        "user" => json!({
            "description": "With api_key: whether the key is the user of basic authentication. With login: the key of the user",
            "type": ["boolean", "string"]
        }),
        "credentials_in" => word("Where id and secret of the client go", &["header", "body"]),
        "grant" => word("The grant of OAuth 2", &["client_credentials", "refresh_token"]),
        "key_header" => text("The header for the API key beside the token"),
        "header" => text("The header for the key or the token"),
        "parameter" => text("The parameter for the key"),
        "url" => text("The path or URL that gives the token"),
        "password" => text("The key of the password"),
        "token" => path("Where the answer holds the token"),
        "token_url" => text("The URL of the token server, or its path"),
        "scope" => text("The scope that is asked for"),
        "audience" => text("The audience that is asked for"),
        _ => json!({}),
    }
}

fn fields_of(kind: SourceKind) -> Value {
    let dimension: &DimensionSpec = match kind {
        SourceKind::Orders => return known_fields(kind, "fields"),
        SourceKind::Users => &DIM_USER,
        SourceKind::Products => &DIM_PRODUCT,
    };
    let mut properties: Map<String, Value> = Map::new();
    for column in dimension.columns {
        properties.insert(column.name.to_owned(), field(kind.field(column.name).unwrap_or(FieldKind::Any)));
    }
    // The dimension keeps these for itself.
    properties.extend(DimensionSpec::FLAGS.iter().map(|flag| ((*flag).to_owned(), json!(false))));
    json!({
        "description": "Where each column is; any name is a column",
        "type": "object",
        "properties": properties,
        "additionalProperties": field(FieldKind::Any)
    })
}

/// Fields of a record or of a line: no other name is known.
fn known_fields(kind: SourceKind, key: &str) -> Value {
    let schema = |name: &str| {
        let field_kind = if key == "line_fields" { kind.line_field(name) } else { kind.field(name) };
        if name == "lines" { lines() } else { field(field_kind.unwrap_or(FieldKind::Any)) }
    };
    let mut table = table_of(SourceKind::known_fields(key).into_iter().map(|name| (name.to_owned(), schema(name))).collect());
    table["description"] = json!(if key == "line_fields" { "Where each field of a line is" } else { "Where each field of a record is" });
    table
}

fn lines() -> Value {
    let keys = table_of(
        fields::LINES_KEYS
            .iter()
            .map(|key| {
                let schema = match *key {
                    "path" => path("Where the list is"),
                    "object" => word("An object in place of the list is its only line", &["line"]),
                    "all" => paths("The lists whose lines are all read"),
                    _ => paths("The first of these that is there is read"),
                };
                ((*key).to_owned(), schema)
            })
            .collect(),
    );
    json!({ "description": "Where the lines are; \".\" is the record itself", "anyOf": [{ "type": "string" }, one_path_or_more(), keys] })
}

fn one_path_or_more() -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 })
}

/// A path, a list of paths, or a table.
fn field(kind: FieldKind) -> Value {
    let is_taken = |key: &str| match key {
        "scale" => kind.may_be(FieldKind::Amount),
        "format" => kind.may_be(FieldKind::Time),
        _ => true,
    };
    let of_key = |key: &str| match key {
        "paths" => list_of("The first of these that has a value counts", path_or_table(kind)),
        _ => field_key(key),
    };
    let keys = fields::KEYS.iter().filter(|key| is_taken(key)).map(|key| ((*key).to_owned(), of_key(key))).collect();
    let paths = json!({ "type": "array", "items": path_or_table(kind), "minItems": 1 });
    json!({ "anyOf": [{ "type": "string" }, paths, table_of(keys)] })
}

/// A path; of a sku also a table with a path and the rules of its values.
fn path_or_table(kind: FieldKind) -> Value {
    if kind != FieldKind::Plain {
        return json!({ "type": "string" });
    }
    let keys = fields::PATH_KEYS.iter().map(|key| ((*key).to_owned(), field_key(key))).collect();
    json!({ "anyOf": [{ "type": "string" }, table_of(keys)] })
}

fn field_key(key: &str) -> Value {
    match key {
        "path" => path("Where it is"),
        "all" => paths("The amounts at all of these are added up"),
        "missing" => list_of("Values that mean: missing", scalar()),
        "scale" => scale(),
        "format" => word("How a time is written, if not in one of the usual forms", &["rfc2822"]),
        "after" => text("The value is what stands behind the last of these"),
        "map" => json!({ "description": "What is stored in place of a value", "type": "object", "additionalProperties": scalar() }),
        _ => scalar(),
    }
}

fn scale() -> Value {
    let beside = table(json!({ "path": path("Where the scale is"), "as": word("What stands there", &["decimals", "divisor"]) }), &["path"]);
    json!({
        "description": "How many decimals an amount in minor units has",
        "anyOf": [whole_of("Decimals", bounds::DECIMALS), { "enum": ["currency", "stripe"] }, beside]
    })
}

fn totals() -> Value {
    let sum = table_of(fields::ALL_KEYS.iter().map(|key| ((*key).to_owned(), field_key(key))).collect());
    let mut amount = field(FieldKind::Amount);
    if let Some(forms) = amount["anyOf"].as_array_mut() {
        forms.push(sum);
    }
    let mut properties: Map<String, Value> = ORDER_AMOUNTS.iter().map(|name| ((*name).to_owned(), amount.clone())).collect();
    properties.insert(
        fields::RECONCILES.to_owned(),
        json!({ "description": "Whether the lines and these amounts add up to the total", "type": "boolean" }),
    );
    json!({
        "description": "Where a record says the totals of its order; false: nowhere",
        "anyOf": [{ "const": false }, table_of(properties)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that a reader knows and no arm above does would take anything.
    #[test]
    fn every_key_has_a_schema_of_its_own() {
        for kind in SourceKind::ALL {
            for key in kind.keys() {
                assert_ne!(key_schema(kind, key), json!({}), "{key}");
            }
        }
        assert!(pagination::KINDS.iter().flat_map(|kind| kind.keys).all(|key| pagination_key(key) != json!({})));
        assert!(auth::KINDS.iter().flat_map(|kind| kind.keys).all(|key| auth_key(key) != json!({})));
        assert!(bulk::KEYS.iter().all(|key| bulk_key(key) != json!({})));
        assert!(bulk::POLL_KEYS.iter().all(|key| poll_key(key) != json!({})));
        for key in LINE_REQUEST_KEYS {
            assert_ne!(line_request()["properties"][key], json!({}), "{key}");
        }
    }

    #[test]
    fn only_amounts_have_a_scale() {
        let keys = |field: &Value| field["anyOf"][2]["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let line = known_fields(SourceKind::Orders, "line_fields");
        let has_scale = |name: &str| keys(&line["properties"][name]).iter().any(|key| key == "scale");
        assert_eq!((has_scale("unit_price"), has_scale("sku")), (true, false));
    }
}
