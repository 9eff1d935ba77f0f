//! `[[fact.columns]]`: further columns of `fact_order`, behind the contract's.

use serde::Deserialize;

use super::{FieldRule, profile::RuleToml};
use crate::model::{ExtraColumn, ExtraType, FACT_COLUMNS, FactSchema, Level};

/// A further column, validated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FactColumn {
    /// Its name.
    pub name: String,
    /// Whether it is the record's or the line's.
    pub level: Level,
    /// Where it stands there.
    pub rule: FieldRule,
    /// Its type.
    pub kind: ExtraType,
}

/// The columns of `fact_order`: the contract's, then these.
pub fn schema_of(columns: &[FactColumn]) -> FactSchema {
    FactSchema::new(columns.iter().map(|column| ExtraColumn { name: column.name.clone(), kind: column.kind }).collect())
}

/// A further column as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is a key of the reference in docs/sources.md, under its name")]
pub struct FactColumnToml {
    pub name: String,
    pub path: Option<String>,
    #[serde(default)]
    pub paths: Vec<String>,
    pub level: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub scale: Option<u32>,
}

impl FactColumnToml {
    fn compile(&self) -> Result<FactColumn, String> {
        let name = self.name.trim();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_word) || name.starts_with(|c: char| c.is_ascii_digit()) || name.len() > 127 {
            return Err(format!("`{name}`: a column's name is of letters, digits and _, and begins with none of the digits"));
        }
        let level = match self.level.as_deref() {
            None | Some("record") => Level::Record,
            Some("line") => Level::Line,
            Some(other) => return Err(format!("{name}: level `{other}`: write record or line")),
        };
        let kind = match (self.kind.as_deref(), self.scale) {
            (None | Some("text"), None) => ExtraType::Text,
            (Some("bigint"), None) => ExtraType::BigInt,
            (Some("boolean"), None) => ExtraType::Boolean,
            (Some("timestamp"), None) => ExtraType::Timestamp,
            (Some("decimal"), scale) if scale.unwrap_or(4) <= 18 => ExtraType::Decimal { scale: scale.unwrap_or(4) },
            (Some("decimal"), _) => return Err(format!("{name}: a decimal has at most 18 digits")),
            (Some("text" | "bigint" | "boolean" | "timestamp") | None, Some(_)) => {
                return Err(format!("{name}: only a decimal has a scale"));
            }
            (Some(other), _) => return Err(format!("{name}: type `{other}`: write text, bigint, decimal, boolean or timestamp")),
        };
        let rule = RuleToml::of_paths(self.path.iter().chain(&self.paths).cloned().collect());
        let rule = rule.compile(name).map_err(|(_, detail)| format!("{name}: {detail}"))?;
        Ok(FactColumn { name: name.to_owned(), level, rule, kind })
    }
}

/// The further columns, in their order.
///
/// # Errors
/// What is wrong with one of them.
pub(super) fn compile(columns: &[FactColumnToml]) -> Result<Vec<FactColumn>, String> {
    let mut compiled: Vec<FactColumn> = Vec::new();
    for column in columns {
        let column = column.compile()?;
        let taken = |name: &str| name.eq_ignore_ascii_case(&column.name);
        if taken("dt") || FACT_COLUMNS.iter().any(|(name, _)| taken(name)) || compiled.iter().any(|earlier| taken(&earlier.name)) {
            return Err(format!("{}: there is a column of this name", column.name));
        }
        compiled.push(column);
    }
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_named_placed_and_typed_or_the_mistake_is_said() {
        #[derive(Deserialize)]
        struct Columns {
            columns: Vec<FactColumnToml>,
        }
        let read = |text: &str| compile(&toml::from_str::<Columns>(&format!("columns = [{text}]")).unwrap().columns);
        let column = &read(r#"{ name = "tax", path = "tax.rate", level = "line", type = "decimal", scale = 3 }"#).unwrap()[0];
        assert_eq!((column.level, column.kind), (Level::Line, ExtraType::Decimal { scale: 3 }));
        for (text, message) in [
            (r#"{ name = "sku", path = "a" }"#, "there is a column of this name"),
            (r#"{ name = "DT", path = "a" }"#, "there is a column of this name"),
            (r#"{ name = "a", path = "a" }, { name = "A", path = "a" }"#, "there is a column of this name"),
            (r#"{ name = "a b", path = "a" }"#, "a column's name is of"),
            (r#"{ name = "a" }"#, "neither a path"),
            (r#"{ name = "a", path = "b", type = "money" }"#, "type `money`"),
            (r#"{ name = "a", path = "b", scale = 2 }"#, "only a decimal has a scale"),
            (r#"{ name = "a", path = "b", level = "order" }"#, "level `order`"),
        ] {
            assert!(read(text).unwrap_err().contains(message), "{text}");
        }
    }
}
