//! The new file of a dimension: its columns, its rows in their order, and the periods of versions.
//!
//! Bytes are handed on while rows are formatted, so that the file is never in memory as a whole. Does not decide which
//! row of a member counts, and opens no file.

use std::{borrow::Cow, collections::HashMap};

use super::{ColumnPlaces, Dimension, EndedVersion, Member, PackedPlace, Place, ScdType};
use crate::{
    join::stored_members::{INFERRED, VERSION_COLUMNS, write_row},
    layer::write_text,
    model::{UtcMicros, parse_time_of_layer},
    store::StoreError,
};

/// The bytes of the new file that are collected before they are written.
const PIECE: usize = 1 << 20;

/// A row of the file.
#[derive(Clone, Copy)]
struct Row<'d> {
    key: &'d str,
    kind: RowKind,
}

#[derive(Clone, Copy)]
enum RowKind {
    /// The current row of the member of this number.
    Current(usize),
    /// The version of this number among those that end in this run.
    Ended(usize),
    /// The stored row of an old version.
    Old(usize),
    /// A member that only facts name.
    Inferred,
}

/// The new file of a dimension.
pub(super) struct NewFile<'d> {
    dimension: &'d Dimension,
    names: Vec<&'d str>,
    /// The place of each column in the rows.
    places: Vec<ColumnPlaces>,
    /// The versions that end in this run, by the number of their member.
    ended: HashMap<usize, EndedVersion>,
    valid_from: Option<usize>,
    valid_to: Option<usize>,
    now: UtcMicros,
}

impl<'d> NewFile<'d> {
    pub(super) fn new(dimension: &'d Dimension, now: UtcMicros) -> NewFile<'d> {
        let [valid_from, valid_to] = [VERSION_COLUMNS[0], VERSION_COLUMNS[1]].map(|name| dimension.rows.stored.column(name));
        NewFile {
            dimension,
            names: dimension.names.iter().map(String::as_str).collect(),
            places: dimension.names.iter().map(|name| dimension.rows.places(name)).collect(),
            ended: dimension.ended.iter().map(|version| (version.member, *version)).collect(),
            valid_from,
            valid_to,
            now,
        }
    }

    /// The rows, sorted by key. Those of one key: by the beginning of their period.
    fn rows(&self) -> Vec<Row<'d>> {
        let dimension = self.dimension;
        let stored_row = |row: usize, kind: RowKind| Row { key: dimension.rows.key(Place::Stored(row)), kind };
        let mut rows: Vec<Row<'d>> = Vec::with_capacity(dimension.members.len() + dimension.inferred.len());
        let current = |(number, place): (usize, &PackedPlace)| Row { key: dimension.rows.key(place.get()), kind: RowKind::Current(number) };
        rows.extend(dimension.members.iter().enumerate().map(current));
        rows.extend(dimension.ended.iter().enumerate().map(|(number, version)| stored_row(version.stored, RowKind::Ended(number))));
        let history = dimension.history.iter().filter(|_| dimension.scd == ScdType::Two);
        rows.extend(history.map(|&row| stored_row(row, RowKind::Old(row))));
        rows.extend(dimension.inferred.iter().map(|key| Row { key, kind: RowKind::Inferred }));
        rows.sort_unstable_by(|a, b| a.key.cmp(b.key).then_with(|| self.valid_from(a.kind).cmp(&self.valid_from(b.kind))));
        rows
    }

    /// The member that a row is of; `None` for one that only facts name.
    fn member(&self, kind: RowKind) -> Option<Member> {
        let of_stored = |row: usize| Some(Member { place: Place::Stored(row), stored: Some(row) });
        match kind {
            RowKind::Current(number) => Some(self.dimension.member(number)),
            RowKind::Ended(number) => of_stored(self.dimension.ended[number].stored),
            RowKind::Old(row) => of_stored(row),
            RowKind::Inferred => None,
        }
    }

    /// When the version of a row begins.
    fn valid_from(&self, kind: RowKind) -> Option<Cow<'d, str>> {
        match kind {
            RowKind::Current(number) => match (self.dimension.members[number].get(), self.ended.get(&number)) {
                (Place::Stored(row), _) => self.stored_cell(row, self.valid_from),
                (Place::Source(_), ended) => ended.map(|version| self.change_time(version)),
            },
            RowKind::Ended(number) => self.stored_cell(self.dimension.ended[number].stored, self.valid_from),
            RowKind::Old(row) => self.stored_cell(row, self.valid_from),
            RowKind::Inferred => None,
        }
    }

    /// When the version of a row ends; `None` for the current one.
    fn valid_to(&self, kind: RowKind) -> Option<Cow<'d, str>> {
        match kind {
            RowKind::Current(_) | RowKind::Inferred => None,
            RowKind::Ended(number) => Some(self.change_time(&self.dimension.ended[number])),
            RowKind::Old(row) => self.stored_cell(row, self.valid_to),
        }
    }

    fn stored_cell(&self, row: usize, column: Option<usize>) -> Option<Cow<'d, str>> {
        self.dimension.rows.stored.cell(row, column?).map(Cow::Borrowed)
    }

    /// When a version ends and the next one begins: the `updated_at` of the next one, if it is later than the ended version.
    /// A source may change a member and not its `updated_at`: then the time is now. No version is valid for no time.
    fn change_time(&self, ended: &EndedVersion) -> Cow<'d, str> {
        let rows = &self.dimension.rows;
        let time = |place: Place, column: ColumnPlaces| rows.cell(place, column).and_then(parse_time_of_layer);
        let stored = Place::Stored(ended.stored);
        let before = time(stored, rows.updated_at).max(time(stored, ColumnPlaces { stored: self.valid_from, source: None }));
        let is_later = |time: &UtcMicros| before.is_none_or(|before| *time > before);
        let next = time(self.dimension.members[ended.member].get(), rows.updated_at);
        let change = next.filter(is_later).or_else(|| Some(self.now).filter(is_later)).or_else(|| before.map(|before| before.minus(-1)));
        Cow::Owned(change.unwrap_or(self.now).to_canonical())
    }

    /// Hands on the bytes of the file, piece by piece.
    pub(super) fn write(&self, out: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let rows = self.rows();
        let mut piece = Vec::with_capacity(((rows.len() + 1) * 96).min(PIECE + PIECE / 16));
        self.write_header(&mut piece);
        for row in rows {
            self.write_row(&mut piece, row);
            if piece.len() >= PIECE {
                out(&piece)?;
                piece.clear();
            }
        }
        out(&piece)
    }

    fn write_header(&self, out: &mut Vec<u8>) {
        let fixed = self.dimension.spec.columns.len();
        let header = self.names[..fixed].iter().chain(&[INFERRED]).chain(&self.names[fixed..]);
        let versions = if self.dimension.scd == ScdType::Two { &VERSION_COLUMNS[..] } else { &[] };
        write_row(out, header.chain(versions).copied());
    }

    fn write_row(&self, out: &mut Vec<u8>, row: Row<'d>) {
        let (dimension, member) = (self.dimension, self.member(row.kind));
        let fixed = dimension.spec.columns.len();
        let cell = |column: usize| {
            if column == 0 { Some(row.key) } else { member.and_then(|member| dimension.member_cell(member, self.places[column])) }
        };
        for column in 0..fixed {
            write_text(out, cell(column));
            out.push(b',');
        }
        let inferred = member.is_none_or(|member| dimension.rows.is_inferred(member.place));
        out.extend_from_slice(if inferred { b"true" } else { b"false" });
        for column in fixed..self.names.len() {
            out.push(b',');
            write_text(out, cell(column));
        }
        if dimension.scd == ScdType::Two {
            out.push(b',');
            write_text(out, self.valid_from(row.kind).as_deref());
            out.push(b',');
            write_text(out, self.valid_to(row.kind).as_deref());
            let is_current = matches!(row.kind, RowKind::Current(_) | RowKind::Inferred);
            out.extend_from_slice(if is_current { b",true" } else { b",false" });
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        join::dimension::tests::{ONE, load},
        model::DIM_USER,
    };

    #[test]
    fn a_file_of_many_pieces_has_all_members_in_their_order() {
        let names: Vec<String> = (0..30_000).map(|number| format!("{:05},{:060}", (number * 7919) % 30_000, number)).collect();
        let (file, counts) = load(DIM_USER, ONE, None, Some(&format!("user_id,name\n{}", names.join("\n"))), &[]);
        let file = file.unwrap();
        assert!(file.len() > 2 * PIECE, "{}", file.len());
        assert_eq!((counts.members, file.lines().count()), (30_000, 30_001));
        let mut expected: Vec<String> = names.iter().map(|name| format!("{name},,,,false")).collect();
        expected.sort_unstable();
        assert!(file.lines().skip(1).eq(expected.iter().map(String::as_str)));
    }
}
