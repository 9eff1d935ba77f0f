//! `[[checks.column]]`: checks of one column, declared without SQL. Not how they are compiled: `check` does that.

use super::{Place, SettingsError, reader::Reader, setting::bounds, toml_tree::Table, value::choice};
use crate::model::{FactSchema, Severity, Tolerance};

/// The table that a declared check looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, strum::EnumString, strum::IntoStaticStr, schemars::JsonSchema)]
#[strum(serialize_all = "snake_case")]
#[schemars(rename_all = "snake_case")]
pub enum CheckedTable {
    /// The facts.
    #[default]
    FactOrder,
    /// The users.
    DimUser,
    /// The products.
    DimProduct,
}

impl CheckedTable {
    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What the values of a column must be. A NULL violates `NotNull` and no other rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ColumnRule {
    /// No value is missing.
    NotNull,
    /// Each value is one of these, as they are written.
    Accepted(Vec<String>),
    /// Each value lies between these two, which are included.
    Between {
        /// The least value.
        least: String,
        /// The greatest value.
        greatest: String,
    },
    /// The whole of each text matches this regular expression (RE2).
    Matches(String),
    /// No value stands twice.
    Unique,
}

impl ColumnRule {
    /// The key of the rule in `etl.toml`.
    pub fn key(&self) -> &'static str {
        match self {
            ColumnRule::NotNull => "not_null",
            ColumnRule::Accepted(_) => "accepted",
            ColumnRule::Between { .. } => "between",
            ColumnRule::Matches(_) => "matches",
            ColumnRule::Unique => "unique",
        }
    }
}

/// A declared check: one rule of one column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ColumnCheck {
    /// Its name: also that of the file of its violations.
    pub name: String,
    /// Where it is declared.
    pub place: Place,
    /// The table.
    pub table: CheckedTable,
    /// The column, as it is written.
    pub column: String,
    /// What its values must be.
    pub rule: ColumnRule,
    /// What a violation means.
    pub severity: Severity,
    /// How many violations are accepted.
    pub tolerance: Tolerance,
}

/// The keys of a declared check.
pub(super) const KEYS: [&str; 11] =
    ["column", "table", "name", "severity", "not_null", "accepted", "between", "matches", "unique", "max", "max_share"];

const TABLES: [&str; 3] = ["fact_order", "dim_user", "dim_product"];

/// Reads the declared checks: one for each rule, in their order.
pub(super) fn read(file: &Table, schema: &FactSchema) -> Result<Vec<ColumnCheck>, SettingsError> {
    let Some(checks) = Reader::new(file, "").inner("checks")? else { return Ok(Vec::new()) };
    let mut all: Vec<ColumnCheck> = Vec::new();
    for table in checks.tables("column")? {
        for check in column_checks(&table, schema)? {
            if all.iter().any(|earlier| earlier.name == check.name) {
                let detail = format!("another check is named `{}`: give this one a `name`", check.name);
                return Err(table.error("name", detail));
            }
            all.push(check);
        }
    }
    Ok(all)
}

fn column_checks(table: &Reader<'_>, schema: &FactSchema) -> Result<Vec<ColumnCheck>, SettingsError> {
    table.only(&KEYS)?;
    let column = table.needed("column")?.trim().to_owned();
    let checked = match table.text("table")? {
        None => CheckedTable::default(),
        Some(name) => name.parse().map_err(|_| table.error("table", format!("`{name}`: write {}", choice(&TABLES))))?,
    };
    if checked == CheckedTable::FactOrder {
        refuse_unknown_column(table, &column, schema)?;
    }
    let severity = match table.text("severity")? {
        None => Severity::default(),
        Some(word) => word.parse().map_err(|_| table.error("severity", format!("`{word}`: write error or warn")))?,
    };
    let (name, tolerance, rules) = (name(table)?, tolerance(table)?, rules(table)?);
    let named = |rule: &ColumnRule| match &name {
        Some(name) if rules.len() == 1 => name.clone(),
        Some(name) => format!("{name}_{}", rule.key()),
        None => format!("{}_{column}_{}", checked.name(), rule.key()),
    };
    let place = table.table().place.clone();
    let check = |rule: &ColumnRule| ColumnCheck {
        name: named(rule),
        place: place.clone(),
        table: checked,
        column: column.clone(),
        rule: rule.clone(),
        severity,
        tolerance,
    };
    Ok(rules.iter().map(check).collect())
}

/// The columns of a dimension are known only where its file is: `check` refuses those.
fn refuse_unknown_column(table: &Reader<'_>, column: &str, schema: &FactSchema) -> Result<(), SettingsError> {
    let known: Vec<_> = schema.names().chain(["dt"]).collect();
    if known.iter().any(|name| name.eq_ignore_ascii_case(column)) {
        return Ok(());
    }
    Err(table.error("column", format!("`{column}` is not a column of fact_order, which has {}", known.join(", "))))
}

/// A name becomes the name of a file.
fn name(table: &Reader<'_>) -> Result<Option<String>, SettingsError> {
    let Some(name) = table.text("name")? else { return Ok(None) };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 100 || !name.chars().all(is_word) {
        return Err(table.error("name", format!("`{name}`: a name has 1 to 100 letters, digits, `_` and `-`")));
    }
    Ok(Some(name))
}

fn tolerance(table: &Reader<'_>) -> Result<Tolerance, SettingsError> {
    match (table.whole("max", bounds::MOST_VIOLATIONS)?, table.scalar("max_share")?) {
        (Some(_), Some(_)) => Err(table.error("max_share", "write `max` or `max_share`, not both")),
        (Some(rows), None) => Ok(Tolerance::Rows(rows)),
        (None, Some(text)) => Tolerance::fraction(&text)
            .ok_or_else(|| table.error("max_share", format!("`{text}`: write a share from 0 to 1 with at most 9 decimals, such as 0.001"))),
        (None, None) => Ok(Tolerance::default()),
    }
}

fn rules(table: &Reader<'_>) -> Result<Vec<ColumnRule>, SettingsError> {
    let mut rules = Vec::new();
    if is_true(table, "not_null")? {
        rules.push(ColumnRule::NotNull);
    }
    if table.table().get("accepted").is_some() {
        let values = table.scalars("accepted")?;
        if values.is_empty() {
            return Err(table.error("accepted", "the list is empty: name the accepted values"));
        }
        rules.push(ColumnRule::Accepted(values));
    }
    if table.table().get("between").is_some() {
        let [least, greatest] = <[String; 2]>::try_from(table.scalars("between")?)
            .map_err(|_| table.error("between", "write two values: the least and the greatest, such as [0, 100]"))?;
        rules.push(ColumnRule::Between { least, greatest });
    }
    if let Some(pattern) = table.text("matches")? {
        rules.push(ColumnRule::Matches(pattern));
    }
    if is_true(table, "unique")? {
        rules.push(ColumnRule::Unique);
    }
    if rules.is_empty() {
        return Err(table.error("rule", "add a rule: not_null, accepted, between, matches or unique"));
    }
    Ok(rules)
}

fn is_true(table: &Reader<'_>, key: &str) -> Result<bool, SettingsError> {
    match table.scalar(key)?.as_deref() {
        None => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(table.error(key, "write true, or remove the key")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<ColumnCheck>, String> {
        let file = Table::parse("etl.toml", &format!("[[checks.column]]\n{text}")).unwrap();
        read(&file, &FactSchema::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_rule_of_a_table_is_a_check_with_a_name_of_its_own() {
        let checks =
            parse("column = \"status\"\naccepted = [\"paid\", 7]\nnot_null = true\nseverity = \"warn\"\nmax_share = 0.001").unwrap();
        let names: Vec<_> = checks.iter().map(|check| (check.name.as_str(), check.severity)).collect();
        assert_eq!(names, [("fact_order_status_not_null", Severity::Warn), ("fact_order_status_accepted", Severity::Warn)]);
        assert_eq!(checks[1].rule, ColumnRule::Accepted(vec!["paid".into(), "7".into()]));
        assert_eq!((checks[0].tolerance, checks[0].place.line), (Tolerance::Share { billionths: 1_000_000 }, 1));
        let checks =
            parse("column = \"email\"\ntable = \"dim_user\"\nmatches = \".+@.+\"\nunique = true\nname = \"mail\"\nmax = 5").unwrap();
        assert_eq!((checks[0].name.as_str(), checks[1].name.as_str()), ("mail_matches", "mail_unique"));
        assert_eq!((checks[0].table, checks[0].tolerance), (CheckedTable::DimUser, Tolerance::Rows(5)));
        let checks = parse("column = \"created_at\"\nbetween = [2020-01-01, \"2030-01-01\"]").unwrap();
        assert_eq!(checks[0].rule, ColumnRule::Between { least: "2020-01-01".into(), greatest: "2030-01-01".into() });
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (text, message) in [
            ("not_null = true", "`checks.column.column`: this key is needed here"),
            (
                "column = \"statuss\"\nnot_null = true",
                "line 2: `checks.column.column`: `statuss` is not a column of fact_order, which has order_id,",
            ),
            ("column = \"sku\"", "add a rule: not_null, accepted, between, matches or unique"),
            ("column = \"sku\"\nnot_null = false", "line 3: `checks.column.not_null`: write true, or remove the key"),
            ("column = \"sku\"\naccepted = []", "the list is empty"),
            ("column = \"sku\"\nbetween = [1]", "write two values"),
            ("column = \"sku\"\nunique = true\nmax = 1\nmax_share = 0.1", "write `max` or `max_share`, not both"),
            ("column = \"sku\"\nunique = true\nmax_share = 1.5", "line 4: `checks.column.max_share`: `1.5`: write a share from 0 to 1"),
            ("column = \"sku\"\nunique = true\nname = \"a/b\"", "`a/b`: a name has"),
            ("column = \"sku\"\nunique = true\ntable = \"facts\"", "`facts`: write fact_order, dim_user or dim_product"),
            ("column = \"sku\"\nunique = true\nseverity = \"fatal\"", "`fatal`: write error or warn"),
            ("column = \"sku\"\nuniqe = true", "unknown key `uniqe`: did you mean `unique`?"),
            (
                "column = \"sku\"\nunique = true\n[[checks.column]]\ncolumn = \"sku\"\nunique = true",
                "another check is named `fact_order_sku_unique`",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
