//! A dimension without some of its members, whatever their versions. Works on the file as it is.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    DimensionError,
    stored_members::{StoredMembers, write_row},
};
use crate::model::{DimensionSpec, addresses_of};

/// The columns that say nothing of one member alone.
const COMMON: [&str; 2] = ["country", "created_at"];

/// The flag of the version of a member that counts now (`scd = 2`).
const IS_CURRENT: &str = DimensionSpec::FLAGS[3];

/// The shortest text that tells one member from others, but for a name.
const SHORTEST_TELLING: usize = 5;

/// A dimension that lost members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemovedMembers {
    /// The CSV that is left.
    pub csv: Vec<u8>,
    /// The keys of the members that are gone.
    pub keys: BTreeSet<String>,
    /// How many rows they had.
    pub rows: u64,
    /// Texts of theirs that no other member has in the same column, such as an address or a name: they may be repeated elsewhere.
    pub telling: BTreeSet<String>,
}

/// The CSV of a dimension without the members whose keys are chosen; `None` if it has none of them.
///
/// # Errors
/// [`DimensionError::Stored`] if it can't be read.
pub fn without_members(
    spec: &DimensionSpec,
    stored: &[u8],
    is_chosen: &dyn Fn(&str) -> bool,
) -> Result<Option<RemovedMembers>, DimensionError> {
    let mut stored_members = StoredMembers::open(spec, stored)?;
    let mut removed = RemovedMembers { csv: Vec::with_capacity(stored.len()), keys: BTreeSet::new(), rows: 0, telling: BTreeSet::new() };
    write_row(&mut removed.csv, stored_members.columns.iter().map(String::as_str));
    let mut gone: Vec<csv::StringRecord> = Vec::new();
    while let Some(record) = stored_members.next_row()? {
        let key = stored_members.key_of(&record);
        if is_chosen(key) {
            removed.keys.insert(key.to_owned());
            removed.rows += 1;
            gone.push(record);
        } else {
            write_row(&mut removed.csv, record.iter());
        }
    }
    if removed.rows == 0 {
        return Ok(None);
    }
    removed.telling = telling_texts(&stored_members.columns, &gone, &removed.csv);
    Ok(Some(removed))
}

/// A version of a member, in a dimension as it is stored.
pub struct StoredVersion<'a> {
    /// The key of the member.
    pub key: &'a str,
    /// Whether this is the current version; `false` for an old version (`scd = 2`).
    pub is_current: bool,
    /// The texts that may name an e-mail address.
    pub with_at: Vec<&'a str>,
}

impl StoredVersion<'_> {
    /// The e-mail addresses that its texts name, in lower case.
    pub fn addresses(&self) -> BTreeSet<String> {
        self.with_at.iter().flat_map(|text| addresses_of(text)).collect()
    }
}

/// Visits all versions of all members of a dimension.
///
/// # Errors
/// [`DimensionError::Stored`] if it can't be read.
pub fn each_version(spec: &DimensionSpec, stored: &[u8], visit: &mut dyn FnMut(&StoredVersion<'_>)) -> Result<(), DimensionError> {
    let mut members = StoredMembers::open(spec, stored)?;
    let flag = members.columns.iter().position(|column| column == IS_CURRENT);
    while let Some(record) = members.next_row()? {
        visit(&StoredVersion {
            key: members.key_of(&record),
            is_current: flag.and_then(|place| record.get(place)) != Some("false"),
            with_at: record.iter().filter(|text| text.contains('@')).collect(),
        });
    }
    Ok(())
}

/// The texts of rows that are gone and that no row that is left has in the same column.
fn telling_texts(columns: &[String], gone: &[csv::StringRecord], left: &[u8]) -> BTreeSet<String> {
    let is_common = |name: &str| COMMON.contains(&name) || DimensionSpec::FLAGS.contains(&name);
    let mut texts: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for (place, name) in columns.iter().enumerate().filter(|(_, name)| !is_common(name)) {
        let is_telling = |text: &&str| !text.is_empty() && (name == "name" || text.chars().count() >= SHORTEST_TELLING);
        texts.insert(place, gone.iter().filter_map(|record| record.get(place)).filter(is_telling).collect());
    }
    for record in csv::Reader::from_reader(left).records().filter_map(Result::ok) {
        for (place, texts) in &mut texts {
            if let Some(text) = record.get(*place) {
                texts.remove(text);
            }
        }
    }
    texts.into_values().flatten().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DIM_USER;

    #[test]
    fn a_member_goes_with_all_its_versions_and_what_tells_of_it_is_known() {
        let stored =
            b"user_id,name,email,country,plan\na,Ann,ann@one.example,DE,golden\nb,Bob,\"b,2\",FR,silver\nb,Bo,bob@two.example,FR,golden\n";
        let removed = without_members(&DIM_USER, stored, &|key| key == "b").unwrap().unwrap();
        assert_eq!(String::from_utf8(removed.csv).unwrap(), "user_id,name,email,country,plan\na,Ann,ann@one.example,DE,golden\n");
        assert_eq!((removed.keys, removed.rows), (["b".to_owned()].into(), 2));
        assert_eq!(removed.telling.into_iter().collect::<Vec<_>>(), ["Bo", "Bob", "bob@two.example", "silver"]);
        assert_eq!(without_members(&DIM_USER, stored, &|key| key == "x").unwrap(), None);
        assert!(without_members(&DIM_USER, b"name\nx\n", &|key| key == "x").is_err());
    }

    #[test]
    fn a_file_that_was_cut_short_is_refused_before_any_member_is_looked_at() {
        let cut = b"user_id,name,plan\na,Ann,golden\nb,Bob,sil";
        assert!(without_members(&DIM_USER, cut, &|key| key == "a").unwrap_err().to_string().contains("cut short"));
        let mut visited = 0;
        assert!(each_version(&DIM_USER, cut, &mut |_| visited += 1).is_err());
        assert_eq!(visited, 0);
    }

    #[test]
    fn old_versions_are_visited_too() {
        let stored = b"user_id,email,is_current\nb,old@two.example,false\nb,bob@two.example,true\n";
        let mut seen = Vec::new();
        let mut note = |version: &StoredVersion<'_>| seen.push((version.key.to_owned(), version.is_current, version.with_at.concat()));
        each_version(&DIM_USER, stored, &mut note).unwrap();
        let expected = [(false, "old@two.example"), (true, "bob@two.example")];
        assert_eq!(seen, expected.map(|(is_current, text)| ("b".to_owned(), is_current, text.to_owned())));
    }
}
