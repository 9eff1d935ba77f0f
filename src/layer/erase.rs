//! Lines without what they say of certain users: the rows stay, with their money, and name nobody.
//!
//! Whose lines these are is not decided here.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use polars::prelude::*;

use super::{LayerError, csv};
use crate::model::{AddressOf, Dt, ErasedUsers, FACT_COLUMNS, FactRows, FactSchema, Line};

/// The columns of a line that say something of its user.
const USER_COLUMNS: [&str; 2] = ["user_id", "user_country"];

/// Who is erased, and with which extra columns of the facts.
#[derive(Clone, Copy, Debug)]
pub struct UsersToErase<'a> {
    /// The ids of the users, as the layer has them.
    pub users: &'a BTreeSet<String>,
    /// The users whose e-mail addresses are erased: those of this and of earlier erasures.
    pub remembered: &'a ErasedUsers,
    /// The extra columns that are emptied.
    pub columns: &'a BTreeSet<String>,
}

/// A stored partition without what its lines say of some users.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ErasedPartition {
    /// Its canonical CSV.
    pub csv: Vec<u8>,
    /// How many rows were changed.
    pub rows: u64,
    /// The users of these rows, but for others who named one of them.
    pub users: BTreeSet<String>,
    /// The orders of the users.
    pub orders: BTreeSet<String>,
    /// The texts that were emptied since they name an address, by extra column; but for columns that are emptied anyway.
    pub cells: BTreeMap<String, BTreeSet<String>>,
}

/// Whose a row is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RowUser {
    Erased,
    Nobody,
    Other,
}

impl RowUser {
    fn of(user: Option<&str>, is_erased: impl FnOnce(&str) -> bool) -> RowUser {
        match user {
            None => RowUser::Nobody,
            Some(user) if is_erased(user) => RowUser::Erased,
            Some(_) => RowUser::Other,
        }
    }

    /// Whether a cell of the row names an address of an erased user. One that only orders of theirs had may be that of another user.
    fn has_address(self, cell: Option<&str>, erased: &ErasedUsers) -> bool {
        match cell.and_then(|cell| erased.address_in(cell)) {
            None => false,
            Some(AddressOf::Member) => true,
            Some(AddressOf::Orders) => self != RowUser::Other,
        }
    }
}

impl UsersToErase<'_> {
    fn is_erased(&self, user: &str) -> bool {
        self.users.contains(user) || (user.contains('@') && self.remembered.has(user))
    }
}

/// A partition in which no line names one of these users, in which their lines have no value in these extra columns, and in which no
/// extra column names an address of theirs; `None` if it names none of them.
///
/// A line without a user that names such an address is theirs.
///
/// # Errors
/// [`LayerError::Partition`] where it can't be parsed; [`LayerError::Columns`] where it has other columns.
pub fn without_users(
    bytes: &[u8],
    dt: Dt,
    path: &Path,
    schema: &FactSchema,
    whom: UsersToErase<'_>,
) -> Result<Option<ErasedPartition>, LayerError> {
    let rows = FactRows::new(&csv::read_partition(bytes, dt, path, schema)?.finish()?)?;
    let is_emptied: Vec<bool> = schema.extra().iter().map(|column| whom.columns.contains(&column.name)).collect();
    let mut erased = ErasedPartition { csv: Vec::with_capacity(bytes.len()), ..ErasedPartition::default() };
    csv::write_header(&mut erased.csv, schema);
    for row in 0..rows.len() {
        let line = rows.line(row);
        let user = RowUser::of(line.user_id, |user| whom.is_erased(user));
        let has_address: Vec<bool> = rows.extra(row).map(|cell| user.has_address(cell, whom.remembered)).collect();
        let names_address = has_address.contains(&true);
        if user != RowUser::Erased && !names_address {
            csv::write_line(&mut erased.csv, &line, rows.extra(row));
            continue;
        }
        erased.rows += 1;
        let is_theirs = user != RowUser::Other;
        if is_theirs {
            erased.users.extend(line.user_id.map(str::to_owned));
            erased.orders.insert(line.order_id.to_owned());
        }
        let goes = |place: usize| is_theirs && is_emptied.get(place) == Some(&true);
        let named = |place: usize| has_address.get(place) == Some(&true);
        for ((place, column), text) in schema.extra().iter().enumerate().zip(rows.extra(row)) {
            if let Some(text) = text.filter(|_| named(place) && !goes(place)) {
                erased.cells.entry(column.name.clone()).or_default().insert(text.to_owned());
            }
        }
        let extra = rows.extra(row).enumerate().map(|(place, text)| text.filter(|_| !goes(place) && !named(place)));
        let line = if is_theirs { Line { user_id: None, user_country: None, ..line } } else { line };
        csv::write_line(&mut erased.csv, &line, extra);
    }
    Ok((erased.rows > 0).then_some(erased))
}

/// Lines of a run, without what they say of erased users.
pub struct ErasedLines {
    /// The lines, as many as before.
    pub lines: DataFrame,
    /// How many named an erased user.
    pub erased: u64,
}

/// The lines of a frame of [`crate::model::FACT_COLUMNS`], before anything is joined to them, without what they say of erased users: by
/// the same rules as [`without_users`].
///
/// # Errors
/// Errors of Polars.
pub fn without_users_of(mut lines: DataFrame, erased: &ErasedUsers) -> PolarsResult<ErasedLines> {
    let mut users = row_users(&lines, erased)?;
    let cells = cells_with_addresses(&lines, &users, erased)?;
    let mut is_changed: Vec<bool> = users.iter().map(|user| *user == RowUser::Erased).collect();
    for has_address in cells.values() {
        is_changed.iter_mut().zip(has_address).for_each(|(is_changed, has_address)| *is_changed |= has_address);
    }
    let count = is_changed.iter().filter(|is_changed| **is_changed).count() as u64;
    if count == 0 {
        return Ok(ErasedLines { lines, erased: 0 });
    }
    // A line of nobody that names an address is theirs.
    for (user, is_changed) in users.iter_mut().zip(&is_changed) {
        if *is_changed && *user == RowUser::Nobody {
            *user = RowUser::Erased;
        }
    }
    let is_theirs: Vec<bool> = users.iter().map(|user| *user == RowUser::Erased).collect();
    for (name, has_address) in &cells {
        empty_cells(&mut lines, name, has_address)?;
    }
    for name in USER_COLUMNS.into_iter().chain(erased.columns().iter().map(String::as_str)) {
        // A run may be of settings that no longer have the extra column.
        if lines.column(name).is_ok() {
            empty_cells(&mut lines, name, &is_theirs)?;
        }
    }
    Ok(ErasedLines { lines, erased: count })
}

/// Whose each line is.
fn row_users(lines: &DataFrame, erased: &ErasedUsers) -> PolarsResult<Vec<RowUser>> {
    let mut users = Vec::with_capacity(lines.height());
    // The lines of an order have the same user, so most of them repeat the answer.
    let mut last: (Option<&str>, RowUser) = (None, RowUser::Nobody);
    for user in lines.column("user_id")?.str()?.iter() {
        if user != last.0 {
            last = (user, RowUser::of(user, |user| erased.has(user)));
        }
        users.push(last.1);
    }
    Ok(users)
}

/// Which cells of each extra column name an address of an erased user; columns without one are left out.
fn cells_with_addresses(lines: &DataFrame, users: &[RowUser], erased: &ErasedUsers) -> PolarsResult<BTreeMap<String, Vec<bool>>> {
    let mut cells = BTreeMap::new();
    if !erased.has_addresses() {
        return Ok(cells);
    }
    for column in lines.columns().iter().skip(FACT_COLUMNS.len()) {
        // The last column is the number of the record.
        let Ok(texts) = column.str() else { continue };
        let has_address: Vec<bool> = texts.iter().zip(users).map(|(cell, user)| user.has_address(cell, erased)).collect();
        if has_address.contains(&true) {
            cells.insert(column.name().to_string(), has_address);
        }
    }
    Ok(cells)
}

/// Empties the cells of a column of texts in these rows.
fn empty_cells(lines: &mut DataFrame, name: &str, is_emptied: &[bool]) -> PolarsResult<()> {
    let mut emptied = StringChunkedBuilder::new(name.into(), is_emptied.len());
    for (text, is_emptied) in lines.column(name)?.str()?.iter().zip(is_emptied) {
        emptied.append_option(text.filter(|_| !is_emptied));
    }
    let emptied = emptied.finish().into_column();
    lines.with_column(emptied)?;
    Ok(())
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
        let remembered = ErasedUsers::with_salt(&[1; 16]);
        let erase = |user: &str| {
            let (users, columns): (BTreeSet<_>, BTreeSet<_>) = ([user.to_owned()].into(), ["gift".to_owned()].into());
            let whom = UsersToErase { users: &users, remembered: &remembered, columns: &columns };
            without_users(&csv, dt, Path::new("x"), &schema(), whom).unwrap()
        };
        let erased = erase("U1").unwrap();
        let text = String::from_utf8(erased.csv).unwrap();
        assert!(text.contains("\nA,S,,,paid,EUR,2,1.5000,3.0000,false,,,,2026-01-31 10:00:00,,,web\nB,S,U2,"), "{text}");
        assert_eq!((erased.users, erased.orders, erased.rows), (["U1".to_owned()].into(), ["A".to_owned()].into(), 1));
        assert!(erased.cells.is_empty() && erase("U3").is_none());
    }

    /// Ann's address, and one that only her orders had.
    fn ann() -> ErasedUsers {
        let mut users = ErasedUsers::with_salt(&[1; 16]);
        users.add("U1");
        users.add_address("ann@one.example", AddressOf::Member);
        users.add_address("old@one.example", AddressOf::Orders);
        users
    }

    #[test]
    fn an_address_makes_a_guest_theirs_and_empties_the_cells_that_name_it() {
        let mut csv = Vec::new();
        csv::write_header(&mut csv, &schema());
        let row = |order: &str, user: &str, gift: &str, channel: &str| {
            format!("{order},S,{user},,paid,EUR,2,1.5000,3.0000,false,,,,2026-01-31 10:00:00,,{gift},{channel}\n")
        };
        let rows = [
            row("A", "Ann@One.example", "x", "web"),
            row("B", "U2", "for Ann <ANN@one.example>", "web"),
            row("C", "", "y", "old@one.example"),
            row("D", "U2", "y", "old@one.example"),
        ];
        csv.extend_from_slice(rows.concat().as_bytes());
        let (users, columns): (BTreeSet<_>, BTreeSet<_>) = (["U1".to_owned()].into(), ["gift".to_owned()].into());
        let whom = UsersToErase { users: &users, remembered: &ann(), columns: &columns };
        let erased = without_users(&csv, "2026-01-31".parse().unwrap(), Path::new("x"), &schema(), whom).unwrap().unwrap();
        let text = String::from_utf8(erased.csv).unwrap();
        let expected = [row("A", "", "", "web"), row("B", "U2", "", "web"), row("C", "", "", ""), row("D", "U2", "y", "old@one.example")];
        assert!(text.ends_with(&expected.concat()), "{text}");
        assert_eq!(
            (erased.rows, erased.users, erased.orders),
            (3, ["Ann@One.example".to_owned()].into(), ["A".to_owned(), "C".to_owned()].into())
        );
        let cells: Vec<_> =
            erased.cells.iter().flat_map(|(column, texts)| texts.iter().map(|text| (column.as_str(), text.as_str()))).collect();
        assert_eq!(cells, [("channel", "old@one.example"), ("gift", "for Ann <ANN@one.example>")]);
    }

    fn line<'l>(order_id: &'l str, user_id: Option<&'l str>) -> Line<'l> {
        let price = Money::from_units(1).unwrap();
        Line { user_id, quantity: 1.into(), unit_price: price, line_total: price, ..Line::of_key(order_id, "S") }
    }

    #[test]
    fn the_lines_of_a_run_lose_the_same() {
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

    #[test]
    fn the_lines_of_a_run_lose_addresses_by_the_same_rules() {
        let mut builder = FactBuilder::new(&schema(), 4);
        builder.push(&line("A", Some("Ann@One.example")), [Some("g"), Some("web")]);
        builder.push(&line("B", Some("U2")), [Some("for ANN@one.example"), Some("web")]);
        builder.push(&line("C", None), [Some("h"), Some("old@one.example")]);
        builder.push(&line("D", Some("U2")), [Some("h"), Some("old@one.example")]);
        let mut users = ann();
        users.add_column("gift");
        let ErasedLines { lines, erased } = without_users_of(builder.finish().unwrap(), &users).unwrap();
        let rows = FactRows::new(&lines).unwrap();
        let seen: Vec<_> = (0..4).map(|row| (rows.line(row).user_id, rows.extra(row).collect::<Vec<_>>())).collect();
        let of_bob = Some("U2");
        assert_eq!(erased, 3);
        assert_eq!(seen[..2], [(None, vec![None, Some("web")]), (of_bob, vec![None, Some("web")])]);
        assert_eq!(seen[2..], [(None, vec![None, None]), (of_bob, vec![Some("h"), Some("old@one.example")])]);
    }
}
