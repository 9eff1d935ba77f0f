//! The statements that take a user out of the tables in Redshift. They are printed, and never run: who runs them decides that.

use std::collections::{BTreeMap, BTreeSet};

use super::{identifier, literal};
use crate::{model::DIM_USER, settings::RedshiftSettings};

/// What is erased in `fact_order` and `dim_user`.
pub struct ErasedValues<'a> {
    /// The ids of the users, as the layer has them.
    pub users: &'a BTreeSet<String>,
    /// Extra columns of `fact_order` that are emptied in the rows of these users.
    pub columns: &'a BTreeSet<String>,
    /// Texts of extra columns that are emptied in any row, by column.
    pub cells: &'a BTreeMap<String, BTreeSet<String>>,
}

/// The statements that erase the same.
pub fn erase(settings: &RedshiftSettings, ErasedValues { users, columns, cells }: &ErasedValues<'_>) -> Vec<String> {
    let table = |name: &str| {
        settings.schema.as_deref().map_or_else(|| identifier(name), |schema| format!("{}.{}", identifier(schema), identifier(name)))
    };
    let emptied = [DIM_USER.key(), "user_country"].into_iter().chain(columns.iter().map(String::as_str));
    let emptied = emptied.map(|column| format!("{} = NULL", identifier(column))).collect::<Vec<_>>().join(", ");
    let key = identifier(DIM_USER.key());
    let (facts, ids) = (table("fact_order"), listed(users));
    let rows = format!("UPDATE {facts} SET {emptied} WHERE {key} IN ({ids})");
    let cells = cells.iter().map(|(column, texts)| {
        let column = identifier(column);
        format!("UPDATE {facts} SET {column} = NULL WHERE {column} IN ({})", listed(texts))
    });
    let members = format!("DELETE FROM {} WHERE {key} IN ({ids})", table(DIM_USER.name));
    [rows].into_iter().chain(cells).chain([members]).collect()
}

fn listed(texts: &BTreeSet<String>) -> String {
    texts.iter().map(|text| literal(text)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_leaves_its_quotes() {
        let settings = RedshiftSettings { schema: Some("shop".into()), ..RedshiftSettings::default() };
        let (users, columns) = (["o'neil\\".to_owned(), "7".to_owned()].into(), ["gift".to_owned()].into());
        let cells = [("note".to_owned(), ["for o'neil@x.example".to_owned()].into())].into();
        let sql = erase(&settings, &ErasedValues { users: &users, columns: &columns, cells: &cells });
        assert_eq!(
            sql,
            [
                r#"UPDATE "shop"."fact_order" SET "user_id" = NULL, "user_country" = NULL, "gift" = NULL WHERE "user_id" IN ('7', 'o''neil\\')"#,
                r#"UPDATE "shop"."fact_order" SET "note" = NULL WHERE "note" IN ('for o''neil@x.example')"#,
                r#"DELETE FROM "shop"."dim_user" WHERE "user_id" IN ('7', 'o''neil\\')"#,
            ]
        );
    }
}
