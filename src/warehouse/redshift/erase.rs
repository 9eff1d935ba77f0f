//! The statements that take a user out of the tables in Redshift. They are printed, and never run: who runs them decides that.

use super::{identifier, literal};
use crate::{model::DIM_USER, settings::RedshiftSettings};

/// The statements for these users, whose ids are those of the layer. `columns` are extra columns of `fact_order` that are emptied.
pub fn erase<'c>(settings: &RedshiftSettings, users: &[String], columns: impl IntoIterator<Item = &'c str>) -> Vec<String> {
    let table = |name: &str| {
        settings.schema.as_deref().map_or_else(|| identifier(name), |schema| format!("{}.{}", identifier(schema), identifier(name)))
    };
    let emptied = [DIM_USER.key(), "user_country"].into_iter().chain(columns);
    let emptied = emptied.map(|column| format!("{} = NULL", identifier(column))).collect::<Vec<_>>().join(", ");
    let key = identifier(DIM_USER.key());
    let ids = users.iter().map(|user| literal(user)).collect::<Vec<_>>().join(", ");
    vec![
        format!("UPDATE {} SET {emptied} WHERE {key} IN ({ids})", table("fact_order")),
        format!("DELETE FROM {} WHERE {key} IN ({ids})", table(DIM_USER.name)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_leaves_its_quotes() {
        let settings = RedshiftSettings { schema: Some("shop".into()), ..RedshiftSettings::default() };
        let users = ["o'neil\\".to_owned(), "7".to_owned()];
        let sql = erase(&settings, &users, ["gift"]);
        assert_eq!(
            sql,
            [
                r#"UPDATE "shop"."fact_order" SET "user_id" = NULL, "user_country" = NULL, "gift" = NULL WHERE "user_id" IN ('o''neil\\', '7')"#,
                r#"DELETE FROM "shop"."dim_user" WHERE "user_id" IN ('o''neil\\', '7')"#,
            ]
        );
    }
}
