//! The dictionary as Markdown, for people.

use std::fmt::Write;

use super::{Dictionary, DocumentedColumn, DocumentedTable, Key, Nullability};

/// The dictionary as Markdown: a table of columns for each table.
pub fn markdown(dictionary: &Dictionary) -> String {
    let mut text = "# Data dictionary\n".to_owned();
    dictionary.tables.iter().for_each(|table| section(table, &mut text));
    text
}

fn section(table: &DocumentedTable, text: &mut String) {
    let key = match &table.key {
        Key::Column(column) => format!("`{column}`"),
        Key::Pair(first, second) => format!("`{first}`, `{second}`"),
        Key::LastNullable(columns) => columns.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", "),
        Key::Current(column) => format!("`{column}` among the rows with `is_current`"),
    };
    let _ = write!(text, "\n## `{}`\n\n{} Key: {key}.\n\n", table.name, table.meaning);
    text.push_str("| column | type | NULL | meaning | example |\n|---|---|---|---|---|\n");
    table.columns.iter().for_each(|column| row(column, text));
}

fn row(column: &DocumentedColumn, text: &mut String) {
    let null = match column.nullability {
        Nullability::NeverNull => "never",
        Nullability::Nullable => "possible",
    };
    let example = column.example.as_deref().map(code).unwrap_or_default();
    let _ = writeln!(text, "| {} | {} | {null} | {} | {example} |", code(&column.name), column.kind, cell(&column.meaning));
}

/// A text as a cell, which has one line.
fn cell(text: &str) -> String {
    text.replace(|letter: char| letter.is_control(), " ").replace('|', "\\|")
}

/// A text as code. Around one with a backquote, there are three.
fn code(text: &str) -> String {
    if text.contains('`') { format!("``` {} ```", cell(text)) } else { format!("`{}`", cell(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dictionary::tests::hostile, store::places::SideFact};

    #[test]
    fn a_hostile_name_stays_in_its_cell() {
        let text = markdown(&hostile(&[]));
        assert!(text.contains("| ``` a\"b\\|c'd\\`: # x ``` | VARCHAR | possible | an extra column of the source |  |\n"), "{text}");
        assert!(text.contains("| `quantity` | BIGINT | never | pieces;"), "{text}");
        assert!(!text.contains("fact_order_total") && !text.contains("fact_refund"), "{text}");
        let text = markdown(&hostile(&[SideFact::Refunds]));
        assert!(text.contains("## `fact_refund`\n\nOne row for each refund and sku of an order, by the day of the refund."), "{text}");
        assert!(text.contains(" Key: `refund_id`, `order_id`, `sku`.\n"), "{text}");
        assert!(text.contains("| `amount` | DECIMAL(18,4) | never | the money that was given back, positive | `12.5000` |\n"), "{text}");
    }
}
