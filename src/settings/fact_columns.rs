//! `[[fact.columns]]`, `fact.time_zone` and `fact.money`: extra columns of `fact_order`, after the fixed ones. Not how their values are
//! found.

use super::{
    FieldRule, Profile, SettingsError,
    profile::paths,
    reader::Reader,
    setting::bounds,
    source_kind::MONEY_COLUMNS,
    toml_tree::{Table, toml_text},
    value::choice,
};
use crate::model::{ExtraColumn, ExtraType, FACT_COLUMNS, FactSchema, LOCAL_DATE_COLUMN, Level, SHOP_COLUMN};

/// An extra column, validated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FactColumn {
    /// Its name.
    pub name: String,
    /// Whether it belongs to the record or to the line.
    pub level: Level,
    /// Where its value is.
    pub rule: FieldRule,
    /// Its type.
    pub kind: ExtraType,
    /// How its value is made of what the rule finds.
    pub value: ColumnValue,
}

/// How the value of a column is made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ColumnValue {
    /// The value at the first path that has one.
    #[default]
    First,
    /// A sum of amounts: of every element of a list, and of all lines that become one row.
    Sum,
    /// The date of `created_at` in a zone. The rule finds nothing.
    LocalDate(chrono_tz::Tz),
}

/// Whether `fact_order` says more of the money of a line than its total.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LineMoney {
    /// It does not.
    #[default]
    None,
    /// Discount, tax, and what was refunded, where the profile knows them.
    Lines,
}

impl LineMoney {
    /// The columns of `fact.money = "lines"`, DECIMAL(18,4) each: NULL where the profile does not say where the amount is.
    pub(super) fn columns(self, profile: Option<&Profile>) -> impl Iterator<Item = FactColumn> {
        let names: &[&str] = match self {
            LineMoney::None => &[],
            LineMoney::Lines => &MONEY_COLUMNS,
        };
        names.iter().map(move |&name| FactColumn {
            name: name.to_owned(),
            level: Level::Line,
            rule: profile.and_then(|profile| profile.line_fields.get(name)).cloned().unwrap_or_default(),
            kind: ExtraType::Decimal { scale: 4 },
            value: ColumnValue::Sum,
        })
    }
}

impl FactColumn {
    /// The column of the shop, which holds its name; without a name, that of a layer of several shops.
    pub(super) fn of_shop(name: Option<&str>) -> FactColumn {
        let rule = FieldRule { default: name.map(str::to_owned), ..FieldRule::default() };
        FactColumn { name: SHOP_COLUMN.to_owned(), level: Level::Record, rule, kind: ExtraType::Text, value: ColumnValue::First }
    }

    /// The column of the date of an order in a zone.
    pub(super) fn of_local_date(zone: chrono_tz::Tz) -> FactColumn {
        FactColumn {
            name: LOCAL_DATE_COLUMN.to_owned(),
            level: Level::Record,
            rule: FieldRule::default(),
            kind: ExtraType::Date,
            value: ColumnValue::LocalDate(zone),
        }
    }
}

impl FactColumn {
    /// Its table in `etl.toml`. Of its rule, only the first path.
    pub fn to_toml(&self) -> String {
        let mut keys = vec![("name", toml_text(&self.name))];
        keys.extend(self.rule.paths.first().map(|path| ("path", toml_text(&path.to_string()))));
        keys.extend((self.level == Level::Line).then(|| ("level", toml_text("line"))));
        let (kind, scale) = match self.kind {
            ExtraType::Text => ("text", None),
            ExtraType::BigInt => ("bigint", None),
            ExtraType::Boolean => ("boolean", None),
            ExtraType::Timestamp => ("timestamp", None),
            ExtraType::Date => ("date", None),
            ExtraType::Decimal { scale } => ("decimal", Some(scale)),
        };
        keys.push(("type", toml_text(kind)));
        keys.extend(scale.map(|scale| ("scale", scale.to_string())));
        let lines: String = keys.into_iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        format!("[[fact.columns]]\n{lines}")
    }

    /// Whether a name is free for one more column: neither a fixed column nor one of these has it.
    pub fn is_free(name: &str, columns: &[FactColumn]) -> bool {
        let taken = |known: &str| known.eq_ignore_ascii_case(name);
        !taken("dt") && !FACT_COLUMNS.iter().any(|(fixed, _)| taken(fixed)) && !columns.iter().any(|column| taken(&column.name))
    }

    /// The nearest valid name to a text: in lower case, with `_` for what a name can't have.
    pub fn valid_name(text: &str) -> String {
        let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        let name: String = text.chars().map(word).take(NAME_BYTES - 1).collect();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
    }
}

/// The columns of `fact_order`: the fixed ones, then these.
pub fn schema_of(columns: &[FactColumn]) -> FactSchema {
    let time_zone = columns.iter().find_map(|column| match column.value {
        ColumnValue::LocalDate(zone) => Some(zone),
        ColumnValue::First | ColumnValue::Sum => None,
    });
    let extra = columns.iter().map(|column| ExtraColumn { name: column.name.clone(), kind: column.kind }).collect();
    FactSchema::new(extra).with_time_zone(time_zone)
}

/// The greatest length of a column's name.
const NAME_BYTES: usize = 127;

/// Reads the extra columns, in their order; `first` come before those of the file.
pub(super) fn read(file: &Table, first: impl Iterator<Item = FactColumn>) -> Result<Vec<FactColumn>, SettingsError> {
    let mut columns: Vec<FactColumn> = first.collect();
    let Some(fact) = Reader::new(file, "").inner("fact")? else { return Ok(columns) };
    for table in fact.tables("columns")? {
        let column = column(&table)?;
        if !FactColumn::is_free(&column.name, &columns) {
            return Err(table.error("name", format!("`{}`: another column has this name", column.name)));
        }
        columns.push(column);
    }
    Ok(columns)
}

/// The keys of a column.
pub(super) const KEYS: [&str; 7] = ["name", "path", "paths", "missing", "level", "type", "scale"];

fn column(table: &Reader<'_>) -> Result<FactColumn, SettingsError> {
    table.only(&KEYS)?;
    let name = table.needed("name")?.trim().to_owned();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_word) || name.starts_with(|c: char| c.is_ascii_digit()) || name.len() > NAME_BYTES {
        let detail = format!("`{name}`: a name has letters, digits and _, begins with no digit, and has at most {NAME_BYTES} bytes");
        return Err(table.error("name", detail));
    }
    let mut paths = paths(table, "paths")?;
    match table.path("path")? {
        Some(_) if !paths.is_empty() => return Err(table.error("path", "write `path` or `paths`, not both")),
        Some(path) => paths.push(path),
        None if paths.is_empty() => return Err(table.error("path", format!("column `{name}` needs a path"))),
        None => {}
    }
    if let Some(path) = paths.iter().find(|path| path.has_wildcard()) {
        return Err(table.error("path", format!("`{path}`: a column has one value, and `*` leads to several")));
    }
    let level = match table.text("level")?.as_deref() {
        None | Some("record") => Level::Record,
        Some("line") => Level::Line,
        Some(other) => return Err(table.error("level", format!("`{other}`: write record or line"))),
    };
    let rule = FieldRule { paths, missing: table.scalars("missing")?, ..FieldRule::default() };
    Ok(FactColumn { name, level, rule, kind: column_type(table)?, value: ColumnValue::First })
}

/// The types that a column may have.
pub(super) const TYPES: [&str; 6] = ["text", "bigint", "decimal", "boolean", "timestamp", "date"];

fn column_type(table: &Reader<'_>) -> Result<ExtraType, SettingsError> {
    let kind = match table.text("type")?.as_deref() {
        None | Some("text") => ExtraType::Text,
        Some("bigint") => ExtraType::BigInt,
        Some("boolean") => ExtraType::Boolean,
        Some("timestamp") => ExtraType::Timestamp,
        Some("date") => ExtraType::Date,
        Some("decimal") => {
            let scale = table.whole("scale", bounds::COLUMN_SCALE)?.and_then(|scale| u32::try_from(scale).ok());
            return Ok(ExtraType::Decimal { scale: scale.unwrap_or(4) });
        }
        Some(other) => return Err(table.error("type", format!("`{other}`: write {}", choice(&TYPES)))),
    };
    if table.table().get("scale").is_some() {
        return Err(table.error("scale", "only a decimal has a scale"));
    }
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_read_as_it_was_written() {
        let decimal = ExtraType::Decimal { scale: 6 };
        let kinds = [ExtraType::Text, ExtraType::BigInt, ExtraType::Boolean, ExtraType::Timestamp, ExtraType::Date, decimal];
        for (kind, level) in kinds.into_iter().zip([Level::Line, Level::Record].into_iter().cycle()) {
            for path in ["a", "b.c", "/a.b/\"c\\", "/\u{7f}\u{1}/é"] {
                let rule = FieldRule { paths: vec![path.parse().unwrap()], ..FieldRule::default() };
                let column = FactColumn { name: FactColumn::valid_name(path), level, rule, kind, value: ColumnValue::First };
                let text = format!("threads = 2\n{}", column.to_toml());
                assert_eq!(read(&Table::parse("etl.toml", &text).unwrap(), std::iter::empty()).unwrap(), [column], "{text}");
            }
        }
        assert_eq!(["Gift-Note", "2nd", "é", ""].map(FactColumn::valid_name), ["gift_note", "_2nd", "_", "_"]);
    }

    #[test]
    fn a_column_is_named_placed_and_typed_or_the_mistake_is_named() {
        let read = |text: &str| read(&Table::parse("etl.toml", &format!("[fact]\ncolumns = [{text}]")).unwrap(), std::iter::empty());
        let column =
            &read(r#"{ name = "tax", path = "tax.rate", level = "line", type = "decimal", scale = 3, missing = [0] }"#).unwrap()[0];
        assert_eq!((column.level, column.kind), (Level::Line, ExtraType::Decimal { scale: 3 }));
        assert_eq!(column.rule.missing, ["0"]);
        for (text, message) in [
            (r#"{ name = "sku", path = "a" }"#, "name`: `sku`: another column has this name"),
            (r#"{ name = "DT", path = "a" }"#, "another column has this name"),
            (r#"{ name = "a", path = "a" }, { name = "A", path = "a" }"#, "another column has this name"),
            (r#"{ name = "a b", path = "a" }"#, "a name has letters"),
            (r#"{ name = "a" }"#, "needs a path"),
            (r#"{ path = "a" }"#, "`fact.columns.name`: this key is needed here"),
            (r#"{ name = "a", path = "b", type = "money" }"#, "type`: `money`"),
            (r#"{ name = "a", path = "b", scale = 2 }"#, "only a decimal has a scale"),
            (r#"{ name = "a", path = "b", type = "decimal", scale = 19 }"#, "scale`: `19`: write a whole number from 0 to 18"),
            (r#"{ name = "a", path = "b", level = "order" }"#, "level`: `order`"),
            (r#"{ name = "a", pat = "b" }"#, "unknown key `pat`: did you mean `path`?"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with("etl.toml, line 2: ") && error.contains(message), "{error}");
        }
    }
}
