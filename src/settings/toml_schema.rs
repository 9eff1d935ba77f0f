//! The JSON Schema (draft 2020-12) of `etl.toml`, for editors. Made from [`SETTINGS`], from the keys that the readers of tables
//! know, and from the types that a key stands for. What it can't say, such as which settings go together, the readers say.

use schemars::{JsonSchema, consts::meta_schemas::DRAFT2020_12, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    CheckedTable, Form, SETTINGS, Setting, SourceKind, column_checks, fact_columns,
    profile::{profile_name, source_schema},
    setting::{OLD_NAMES, bounds},
    shops,
};
use crate::model::Severity;

/// The schema.
pub fn etl_toml_schema() -> Value {
    let mut properties = Map::new();
    for setting in SETTINGS.iter().filter(|setting| !setting.key.is_empty()) {
        let path: Vec<&str> = setting.key.split('.').collect();
        insert(&mut properties, &path, of_setting(setting));
    }
    add_old_names(&mut properties);
    let mut schema = table_of(properties);
    schema["$schema"] = json!(DRAFT2020_12);
    schema["title"] = json!("etl.toml");
    schema["description"] = json!("Settings of etl: orders from an HTTP API or files to a checked star schema");
    schema
}

/// Adds the keys that settings of a table had before.
fn add_old_names(properties: &mut Map<String, Value>) {
    for old in &OLD_NAMES {
        if let Some(mut schema) = properties.get(old.of).cloned() {
            schema["description"] = json!(format!("The old name of `{}`", old.of));
            schema["deprecated"] = json!(true);
            properties.insert(old.key.to_owned(), schema);
        }
    }
}

/// Puts a schema where a dotted key says.
fn insert(properties: &mut Map<String, Value>, path: &[&str], schema: Value) {
    match path {
        [] => {}
        [key] => drop(properties.insert((*key).to_owned(), schema)),
        [table, rest @ ..] => {
            let table = properties.entry(*table).or_insert_with(|| table_of(Map::new()));
            if let Some(inner) = table["properties"].as_object_mut() {
                insert(inner, rest, schema);
            }
        }
    }
}

fn of_setting(setting: &Setting) -> Value {
    if let Some(kind) = SourceKind::ALL.into_iter().find(|kind| kind.table() == setting.key) {
        return described(source_schema(kind), setting);
    }
    let schema = match setting.key {
        "profile" => profile_name(setting.help),
        "shops" => shops_schema(),
        "fact.columns" => fact_columns_schema(),
        "checks.column" => column_checks_schema(),
        _ => of_form(setting.form),
    };
    described(schema, setting)
}

/// The schema with what the setting is for, and its default.
fn described(mut schema: Value, setting: &Setting) -> Value {
    let default = match setting.default {
        "none" | "none: required" | "open" => String::new(),
        default => format!(" (default: {default})"),
    };
    schema["description"] = json!(format!("{}{default}", setting.help));
    if let Some(default) = typed_default(setting) {
        schema["default"] = default;
    }
    schema
}

/// The default, where it is a value that could be written.
fn typed_default(setting: &Setting) -> Option<Value> {
    match setting.form {
        Form::Whole { .. } => setting.default.parse::<u64>().ok().map(Value::from),
        Form::Number { .. } => serde_json::from_str(setting.default).ok(),
        Form::YesNo if setting.default == "yes" || setting.default == "no" => Some(json!(setting.default == "yes")),
        Form::Words(words) | Form::WordsOrAlone { words, .. } if words.contains(&setting.default) => Some(json!(setting.default)),
        Form::Span { .. } => super::parse_span(setting.default).ok().map(|_| json!(setting.default)),
        _ => None,
    }
}

/// A value of this form.
fn of_form(form: Form) -> Value {
    match form {
        Form::Whole { from, to } => json!({ "type": "integer", "minimum": from, "maximum": to }),
        Form::Number { from, to } => json!({ "type": "number", "minimum": from, "maximum": to }),
        Form::Span { .. } => json!({ "type": "string", "pattern": r"^\s*[0-9]+(ms|s|m|min|h|d|w)\s*$" }),
        Form::Size { .. } => json!({ "type": "string", "pattern": r"^\s*[0-9]+\s*([KkMmGgTt][Ii][Bb]|[KkMmGg][Bb])\s*$" }),
        Form::Threshold => {
            json!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "type": "string", "pattern": r"^\s*(off|[0-9.]+\s*%?)\s*$" }] })
        }
        Form::Words(words) | Form::WordsOrAlone { words, .. } => json!({ "enum": words }),
        Form::YesNo => json!({ "type": "boolean" }),
        Form::Text | Form::Secret => json!({ "type": "string" }),
        Form::Table => json!({ "type": "object" }),
    }
}

/// The words of an enumeration, as serde or its own attributes name them.
pub(super) fn of_type<T: JsonSchema>() -> Value {
    let mut generator = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    generator.subschema_for::<T>().to_value()
}

/// A table with these keys and no other.
pub(super) fn table_of(properties: Map<String, Value>) -> Value {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

pub(super) fn text(what: &str) -> Value {
    json!({ "description": what, "type": "string" })
}

pub(super) fn word(what: &str, words: &[&str]) -> Value {
    json!({ "description": what, "enum": words })
}

pub(super) fn list_of(what: &str, items: Value) -> Value {
    json!({ "description": what, "type": "array", "items": items })
}

/// A text, a number or a boolean.
pub(super) fn scalar() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

pub(super) fn whole_of(what: &str, form: Form) -> Value {
    let mut schema = of_form(form);
    schema["description"] = json!(what);
    schema
}

pub(super) fn number_of(what: &str, form: Form) -> Value {
    whole_of(what, form)
}

fn shops_schema() -> Value {
    let key = |key: &str| match key {
        "name" => json!({ "description": "Its name, which stands before every id", "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" }),
        "own_skus" => json!({ "description": "Whether the same sku is another thing in another shop", "type": "boolean" }),
        "profile" => profile_name("Shipped profile for the sources of this shop: see `etl sources`"),
        "url" => text("URL of the API of this shop"),
        _ => SourceKind::ALL.into_iter().find(|kind| kind.table() == key).map_or_else(|| json!({}), source_schema),
    };
    let mut properties = shops::KEYS.iter().map(|name| ((*name).to_owned(), key(name))).collect();
    add_old_names(&mut properties);
    let mut shop = table_of(properties);
    shop["required"] = json!(["name"]);
    json!({ "type": "array", "items": shop })
}

fn fact_columns_schema() -> Value {
    let key = |key: &str| match key {
        "name" => json!({ "description": "Its name", "type": "string", "pattern": r"^\s*[A-Za-z_][A-Za-z0-9_]{0,126}\s*$" }),
        "path" => text("Where its value is"),
        "paths" => list_of("The first of these that has a value counts", json!({ "type": "string" })),
        "missing" => list_of("Values that mean: missing", scalar()),
        "level" => word("Whether it belongs to the record or to the line", &["record", "line"]),
        "type" => word("Its type", &fact_columns::TYPES),
        "scale" => whole_of("Decimals of a decimal", bounds::COLUMN_SCALE),
        _ => json!({}),
    };
    let mut column = table_of(fact_columns::KEYS.iter().map(|name| ((*name).to_owned(), key(name))).collect());
    column["required"] = json!(["name"]);
    json!({ "type": "array", "items": column })
}

fn column_checks_schema() -> Value {
    let only_true = |what: &str| json!({ "description": what, "enum": [true, "true"] });
    let key = |key: &str| match key {
        "column" => text("The column"),
        "table" => of_type::<CheckedTable>(),
        "name" => json!({ "description": "The name of the check", "type": "string", "pattern": "^[A-Za-z0-9_-]{1,100}$" }),
        "severity" => of_type::<Severity>(),
        "not_null" => only_true("No value is missing"),
        "accepted" => json!({ "description": "Each value is one of these", "type": "array", "items": scalar(), "minItems": 1 }),
        "between" => json!({
            "description": "Each value lies between these two", "type": "array", "items": scalar(), "minItems": 2, "maxItems": 2
        }),
        "matches" => text("The whole of each text matches this regular expression (RE2)"),
        "unique" => only_true("No value stands twice"),
        "max" => whole_of("How many violations are accepted", bounds::MOST_VIOLATIONS),
        "max_share" => json!({ "description": "Which share of violations is accepted, from 0 to 1", "type": ["string", "number"] }),
        _ => json!({}),
    };
    let mut check = table_of(column_checks::KEYS.iter().map(|name| ((*name).to_owned(), key(name))).collect());
    check["required"] = json!(["column"]);
    json!({ "type": "array", "items": check })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'s>(schema: &'s Value, keys: &[&str]) -> &'s Value {
        keys.iter().fold(schema, |schema, key| &schema["properties"][*key])
    }

    #[test]
    fn every_key_of_the_table_of_settings_has_a_schema_with_its_description() {
        let schema = etl_toml_schema();
        for setting in SETTINGS.iter().filter(|setting| !setting.key.is_empty()) {
            let found = at(&schema, &setting.key.split('.').collect::<Vec<_>>());
            assert!(found["description"].as_str().is_some_and(|text| text.starts_with(setting.help)), "{}: {found}", setting.key);
        }
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(at(&schema, &["threads"])["maximum"], 1024);
        assert_eq!(
            (&at(&schema, &["http", "per_page"])["default"], &at(&schema, &["http"])["additionalProperties"]),
            (&json!(500), &json!(false))
        );
    }

    #[test]
    fn every_key_of_a_list_of_tables_has_a_schema_of_its_own() {
        for schema in [shops_schema(), fact_columns_schema(), column_checks_schema()] {
            let properties = schema["items"]["properties"].as_object().unwrap();
            assert!(properties.values().all(|schema| *schema != json!({})), "{schema}");
        }
    }

    #[test]
    fn the_words_of_types_are_those_that_their_readers_take() {
        let words = |schema: Value| {
            let one_of = schema["oneOf"].as_array().cloned().unwrap_or_default();
            let consts = one_of.iter().map(|schema| schema["const"].as_str().unwrap_or_default().to_owned());
            let listed = schema["enum"].as_array().cloned().unwrap_or_default();
            consts.chain(listed.iter().map(|word| word.as_str().unwrap_or_default().to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(words(of_type::<Severity>()), ["error", "warn"]);
        assert_eq!(words(of_type::<CheckedTable>()), ["fact_order", "dim_user", "dim_product"]);
        assert_eq!(words(of_type::<super::super::Cursor>()), ["created_at", "updated_at"]);
        assert_eq!(words(of_type::<super::super::MergeBy>()), ["line", "order"]);
        assert_eq!(words(of_type::<super::super::RepeatedSku>()), ["last", "sum"]);
    }
}
