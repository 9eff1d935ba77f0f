//! A declared check as SQL. Values are compared as the type of their column; a NULL violates `not_null` alone.

use rust_decimal::Decimal;

use super::{
    CheckError, CustomCheck,
    layer_tables::{TableColumn, TableColumns, literal, name},
};
use crate::{
    model::parse_time_text,
    settings::{CheckedTable, ColumnCheck, ColumnRule},
};

/// The query of a declared check.
///
/// # Errors
/// [`CheckError::Custom`]: the table has no such column, or a value is not one of the column's type.
pub(super) fn compile(check: &CustomCheck, declared: &ColumnCheck, table: &TableColumns) -> Result<String, CheckError> {
    let refused = |detail: String| check.error(None, format!("the check `{}`: {detail}", check.name));
    let Some(column) = table.find(&declared.column) else {
        let known: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let detail = format!("`{}` is not a column of {}, which has {}", declared.column, declared.table.name(), known.join(", "));
        return Err(refused(detail));
    };
    let (from, quoted) = (declared.table.name(), name(&column.name));
    let condition = match &declared.rule {
        ColumnRule::Unique => {
            let current = if table.is_versioned { " AND is_current" } else { "" };
            return Ok(format!(
                "SELECT {quoted}, count(*) AS rows\nFROM {from}\nWHERE {quoted} IS NOT NULL{current}\nGROUP BY {quoted}\nHAVING count(*) > 1"
            ));
        }
        ColumnRule::NotNull => format!("{quoted} IS NULL"),
        ColumnRule::Accepted(values) => {
            if let Some(value) = values.iter().find(|value| column.kind == "BIGINT" && value.contains('.')) {
                return Err(refused(format!("`{value}` is not a whole number, which is the type of `{}`", column.name)));
            }
            let values = values.iter().map(|value| typed(column, value)).collect::<Result<Vec<_>, _>>().map_err(refused)?;
            format!("{quoted} NOT IN ({})", values.join(", "))
        }
        ColumnRule::Between { least, greatest } => {
            if column.kind == "BOOLEAN" {
                return Err(refused("`between` needs a number, a time or a text, and the column is a boolean".into()));
            }
            if is_greater(column, least, greatest) {
                return Err(refused(format!("`between`: {least} is greater than {greatest}, so nothing lies between them")));
            }
            let (least, greatest) = (typed(column, least).map_err(refused)?, typed(column, greatest).map_err(refused)?);
            format!("{quoted} NOT BETWEEN {least} AND {greatest}")
        }
        ColumnRule::Matches(_) if column.kind != "VARCHAR" => {
            return Err(refused(format!("`matches` needs a text, and the column is {}", column.kind)));
        }
        ColumnRule::Matches(pattern) => format!("NOT regexp_full_match({quoted}, {})", literal(pattern)),
    };
    let keys: &[&str] = match declared.table {
        CheckedTable::FactOrder => &["dt", "order_id", "sku"],
        CheckedTable::DimUser => &["user_id"],
        CheckedTable::DimProduct => &["sku"],
    };
    let mut shown: Vec<_> = keys.iter().filter(|key| !key.eq_ignore_ascii_case(&column.name)).map(|key| (*key).to_owned()).collect();
    shown.push(quoted);
    Ok(format!("SELECT {}\nFROM {from}\nWHERE {condition}", shown.join(", ")))
}

/// Whether a value is greater than another one of the type of its column.
fn is_greater(column: &TableColumn, least: &str, greatest: &str) -> bool {
    match column.kind.as_str() {
        "VARCHAR" => least > greatest,
        "TIMESTAMP" | "DATE" => parse_time_text(least).zip(parse_time_text(greatest)).is_some_and(|(least, greatest)| least > greatest),
        _ => {
            let number = |text: &str| Decimal::from_str_exact(text).ok();
            number(least).zip(number(greatest)).is_some_and(|(least, greatest)| least > greatest)
        }
    }
}

/// A value as a literal of the type of its column.
fn typed(column: &TableColumn, value: &str) -> Result<String, String> {
    let refused = |kind: &str| format!("`{value}` is not {kind}, which is the type of `{}`", column.name);
    match column.kind.as_str() {
        "BOOLEAN" if matches!(value, "true" | "false") => Ok(value.to_owned()),
        "BOOLEAN" => Err(refused("true or false")),
        "TIMESTAMP" => parse_time_text(value).map(|time| format!("TIMESTAMP '{}'", time.to_canonical())).ok_or_else(|| refused("a time")),
        "DATE" => value.parse::<crate::model::Dt>().map(|dt| format!("DATE '{dt}'")).map_err(|_| refused("a date")),
        kind if kind == "BIGINT" || kind.starts_with("DECIMAL") => number(value).ok_or_else(|| refused("a plain number")),
        _ => Ok(literal(value)),
    }
}

/// A decimal literal with exactly the digits of the text.
fn number(text: &str) -> Option<String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = !whole.is_empty() && whole.bytes().chain(fraction.bytes()).all(|digit| digit.is_ascii_digit());
    let fits = whole.len() + fraction.len() <= 38 && !digits.ends_with('.');
    (is_number && fits).then(|| format!("CAST('{text}' AS DECIMAL({}, {}))", whole.len() + fraction.len(), fraction.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check::CheckBody, model::Severity, settings::Place};

    fn sql(table: CheckedTable, column: &str, rule: ColumnRule) -> Result<String, String> {
        let column_of = |name: &str, kind: &str| TableColumn { name: name.into(), kind: kind.into() };
        let columns = vec![
            column_of("order_id", "VARCHAR"),
            column_of("quantity", "BIGINT"),
            column_of("unit_price", "DECIMAL(18,4)"),
            column_of("price_defaulted", "BOOLEAN"),
            column_of("created_at", "TIMESTAMP"),
            column_of("dt", "DATE"),
        ];
        let table_columns = TableColumns { columns, is_versioned: table != CheckedTable::FactOrder };
        let declared = ColumnCheck {
            name: "own".into(),
            place: Place { file: "etl.toml".into(), line: 7 },
            table,
            column: column.into(),
            rule,
            severity: Severity::Error,
            tolerance: crate::model::Tolerance::default(),
        };
        let check = CustomCheck {
            name: "own".into(),
            severity: Severity::Error,
            tolerance: declared.tolerance,
            body: CheckBody::Column(declared.clone()),
        };
        compile(&check, &declared, &table_columns).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_literals_of_the_type_of_their_column() {
        let facts = CheckedTable::FactOrder;
        let between = |least: &str, greatest: &str| ColumnRule::Between { least: least.into(), greatest: greatest.into() };
        for (column, rule, condition) in [
            ("order_id", ColumnRule::Accepted(vec!["it's".into(), "7".into()]), r#""order_id" NOT IN ('it''s', '7')"#),
            (
                "unit_price",
                between("0", "10000.005"),
                r#""unit_price" NOT BETWEEN CAST('0' AS DECIMAL(1, 0)) AND CAST('10000.005' AS DECIMAL(8, 3))"#,
            ),
            ("QUANTITY", between("-1", "2"), r#""quantity" NOT BETWEEN CAST('-1' AS DECIMAL(1, 0)) AND CAST('2' AS DECIMAL(1, 0))"#),
            (
                "created_at",
                between("2020-01-01", "2026-01-31T01:00:00+01:00"),
                r#""created_at" NOT BETWEEN TIMESTAMP '2020-01-01 00:00:00' AND TIMESTAMP '2026-01-31 00:00:00'"#,
            ),
            ("price_defaulted", ColumnRule::Accepted(vec!["false".into()]), r#""price_defaulted" NOT IN (false)"#),
            ("order_id", ColumnRule::Matches("[A-Z]'+".into()), r#"NOT regexp_full_match("order_id", '[A-Z]''+')"#),
            ("order_id", ColumnRule::NotNull, r#""order_id" IS NULL"#),
        ] {
            assert!(sql(facts, column, rule).unwrap().ends_with(&format!("WHERE {condition}")), "{condition}");
        }
        assert!(sql(CheckedTable::DimUser, "order_id", ColumnRule::Unique).unwrap().contains("IS NOT NULL AND is_current"));
        for (column, rule, message) in [
            (
                "statuss",
                ColumnRule::NotNull,
                "etl.toml, line 7: the check `own`: `statuss` is not a column of fact_order, which has order_id, quantity,",
            ),
            ("quantity", between("0", "1e3"), "`1e3` is not a plain number, which is the type of `quantity`"),
            ("unit_price", ColumnRule::Accepted(vec!["1.".into()]), "`1.` is not a plain number"),
            ("created_at", between("soon", "2026"), "`soon` is not a time"),
            ("dt", between("2026-01-01", "x"), "`x` is not a date"),
            ("price_defaulted", between("false", "true"), "`between` needs"),
            ("quantity", between("2", "1"), "2 is greater than 1"),
            ("created_at", between("2026-02-01", "2026-01-31"), "is greater than"),
            ("quantity", ColumnRule::Accepted(vec!["1.5".into()]), "`1.5` is not a whole number"),
            ("price_defaulted", ColumnRule::Accepted(vec!["yes".into()]), "`yes` is not true or false"),
            ("quantity", ColumnRule::Matches(".".into()), "`matches` needs a text, and the column is BIGINT"),
        ] {
            let error = sql(facts, column, rule).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
