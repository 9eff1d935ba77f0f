//! Lines without what they say of certain users: the rows stay, with their money, and name nobody.
//!
//! Whose lines these are is not decided here.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use polars::prelude::*;

use super::{LayerError, csv};
use crate::model::{Dt, ErasedUsers, FactRows, FactSchema, Line};

/// The columns of a line that say something of its user.
const USER_COLUMNS: [&str; 2] = ["user_id", "user_country"];

/// Who is erased, and with which extra columns of the facts.
#[derive(Clone, Copy, Debug)]
pub struct UsersToErase<'a> {
    /// The ids of the users, as the layer has them.
    pub users: &'a BTreeSet<String>,
    /// The extra columns that are emptied.
    pub columns: &'a BTreeSet<String>,
}

/// A stored partition without what its lines say of some users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErasedPartition {
    /// Its canonical CSV.
    pub csv: Vec<u8>,
    /// How many rows were of each of these users.
    pub rows_by_user: BTreeMap<String, u64>,
    /// Their orders.
    pub orders: BTreeSet<String>,
}

/// A partition in which no line names one of these users, and in which their lines have no value in these extra columns; `None` if it
/// names none of them.
///
/// # Errors
/// [`LayerError::Partition`] where it can't be parsed; [`LayerError::Columns`] where it has other columns.
pub fn without_users(
    bytes: &[u8],
    dt: Dt,
    path: &Path,
    schema: &FactSchema,
    UsersToErase { users, columns }: UsersToErase<'_>,
) -> Result<Option<ErasedPartition>, LayerError> {
    let rows = FactRows::new(&csv::read_partition(bytes, dt, path, schema)?.finish()?)?;
    let is_emptied: Vec<bool> = schema.extra().iter().map(|column| columns.contains(&column.name)).collect();
    let mut erased = ErasedPartition { csv: Vec::with_capacity(bytes.len()), rows_by_user: BTreeMap::new(), orders: BTreeSet::new() };
    csv::write_header(&mut erased.csv, schema);
    for row in 0..rows.len() {
        let line = rows.line(row);
        let Some(user) = line.user_id.filter(|user| users.contains(*user)) else {
            csv::write_line(&mut erased.csv, &line, rows.extra(row));
            continue;
        };
        *erased.rows_by_user.entry(user.to_owned()).or_default() += 1;
        erased.orders.insert(line.order_id.to_owned());
        let extra = rows.extra(row).zip(&is_emptied).map(|(text, is_emptied)| text.filter(|_| !is_emptied));
        csv::write_line(&mut erased.csv, &Line { user_id: None, user_country: None, ..line }, extra);
    }
    Ok((!erased.rows_by_user.is_empty()).then_some(erased))
}

/// Lines of a run, without what they say of erased users.
pub struct ErasedLines {
    /// The lines, as many as before.
    pub lines: DataFrame,
    /// How many were of erased users.
    pub erased: u64,
}

/// The lines of a frame of [`crate::model::FACT_COLUMNS`], before anything is joined to them, without what they say of erased users.
///
/// # Errors
/// Errors of Polars.
pub fn without_users_of(mut lines: DataFrame, erased: &ErasedUsers) -> PolarsResult<ErasedLines> {
    let mut is_erased: Vec<bool> = Vec::with_capacity(lines.height());
    // The lines of an order have the same user, so most of them repeat the answer.
    let mut last: (Option<&str>, bool) = (None, false);
    for user in lines.column("user_id")?.str()?.iter() {
        if user != last.0 {
            last = (user, user.is_some_and(|user| erased.has(user)));
        }
        is_erased.push(last.1);
    }
    let count = is_erased.iter().filter(|is_erased| **is_erased).count() as u64;
    if count == 0 {
        return Ok(ErasedLines { lines, erased: 0 });
    }
    for name in USER_COLUMNS.into_iter().chain(erased.columns().iter().map(String::as_str)) {
        // A run may be of settings that no longer have the extra column.
        let Ok(column) = lines.column(name) else { continue };
        let mut emptied = StringChunkedBuilder::new(name.into(), is_erased.len());
        for (text, is_erased) in column.str()?.iter().zip(&is_erased) {
            emptied.append_option(text.filter(|_| !is_erased));
        }
        let emptied = emptied.finish().into_column();
        lines.with_column(emptied)?;
    }
    Ok(ErasedLines { lines, erased: count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ExtraColumn, ExtraType, FactBuilder, Money};

    fn schema() -> FactSchema {
        let column = |name: &str| ExtraColumn { name: name.into(), kind: ExtraType::Text };
        FactSchema::new(vec![column("gift"), column("channel")])
    }

    #[test]
    fn rows_stay_with_their_money_and_name_nobody() {
        let mut csv = Vec::new();
        csv::write_header(&mut csv, &schema());
        let rows = "A,S,U1,,paid,EUR,2,1.5000,3.0000,false,DE,,,2026-01-31 10:00:00,,\"for U1, x\",web\n\
                    B,S,U2,,paid,EUR,2,1.5000,3.0000,false,FR,,,2026-01-31 11:00:00,,y,web\n";
        csv.extend_from_slice(rows.as_bytes());
        let dt = "2026-01-31".parse().unwrap();
        let erase = |user: &str| {
            let (users, columns): (BTreeSet<_>, BTreeSet<_>) = ([user.to_owned()].into(), ["gift".to_owned()].into());
            let whom = UsersToErase { users: &users, columns: &columns };
            without_users(&csv, dt, Path::new("x"), &schema(), whom).unwrap()
        };
        let erased = erase("U1").unwrap();
        let text = String::from_utf8(erased.csv).unwrap();
        assert!(text.contains("\nA,S,,,paid,EUR,2,1.5000,3.0000,false,,,,2026-01-31 10:00:00,,,web\nB,S,U2,"), "{text}");
        assert_eq!((erased.rows_by_user, erased.orders), ([("U1".to_owned(), 1)].into(), ["A".to_owned()].into()));
        assert_eq!(erase("U3"), None);
    }

    #[test]
    fn the_lines_of_a_run_lose_the_same() {
        let line = |order_id, user_id| Line {
            order_id,
            sku: "S",
            user_id,
            product_id: None,
            status: None,
            currency: None,
            quantity: 1.into(),
            unit_price: Money::from_units(1).unwrap(),
            line_total: Money::from_units(1).unwrap(),
            price_defaulted: false,
            user_country: None,
            product_name: None,
            product_category: None,
            created_at: crate::model::UtcMicros::MIN,
            updated_at: None,
        };
        let mut builder = FactBuilder::new(&schema(), 3);
        builder.push(&line("A", Some("U1")), [Some("g"), Some("web")]);
        builder.push(&line("B", Some("U2")), [Some("h"), None]);
        builder.push(&line("C", None), [Some("i"), None]);
        let mut users = ErasedUsers::with_salt(&[1; 16]);
        users.add("U1");
        users.add_column("gift");
        users.add_column("gone");
        let ErasedLines { lines, erased } = without_users_of(builder.finish().unwrap(), &users).unwrap();
        let rows = FactRows::new(&lines).unwrap();
        let seen: Vec<_> = (0..3).map(|row| (rows.line(row).user_id, rows.extra(row).collect::<Vec<_>>())).collect();
        assert_eq!(erased, 1);
        assert_eq!(seen, [(None, vec![None, Some("web")]), (Some("U2"), vec![Some("h"), None]), (None, vec![Some("i"), None])]);
    }
}
