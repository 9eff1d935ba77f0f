//! The members of an earlier version of a dimension that its present one has no longer, added to it. Works on the files as they are.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    DimensionError,
    stored_members::{StoredMembers, write_row},
};
use crate::model::DimensionSpec;

/// The present CSV with the members that only the earlier one has; `None` if there are none. A member of several versions comes with
/// all of them. Columns that only the earlier one has follow the others.
///
/// # Errors
/// [`DimensionError::Stored`] if one of them can't be read.
pub fn with_missing_members(spec: &DimensionSpec, now: &[u8], earlier: &[u8]) -> Result<Option<Vec<u8>>, DimensionError> {
    let (now, earlier) = (Members::read(spec, now)?, Members::read(spec, earlier)?);
    let missing: BTreeSet<&String> = earlier.rows.keys().filter(|key| !now.rows.contains_key(*key)).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let further = earlier.columns.iter().filter(|column| !now.columns.contains(column));
    let columns: Vec<&String> = now.columns.iter().chain(further).collect();
    let mut out = Vec::new();
    write_row(&mut out, columns.iter().map(|column| column.as_str()));
    let rows: BTreeMap<&String, &Vec<Row>> = now.rows.iter().chain(earlier.rows.iter().filter(|(key, _)| missing.contains(key))).collect();
    for row in rows.into_values().flatten() {
        write_row(&mut out, columns.iter().map(|column| row.get(*column).map_or("", String::as_str)));
    }
    Ok(Some(out))
}

/// The values of a row, by column.
type Row = BTreeMap<String, String>;

/// The members of a file.
struct Members {
    columns: Vec<String>,
    /// The rows of each key, in their order.
    rows: BTreeMap<String, Vec<Row>>,
}

impl Members {
    fn read(spec: &DimensionSpec, csv: &[u8]) -> Result<Members, DimensionError> {
        let mut stored = StoredMembers::open(spec, csv)?;
        let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        while let Some(record) = stored.next_row()? {
            let row = stored.columns.iter().cloned().zip(record.iter().map(str::to_owned)).collect();
            rows.entry(stored.key_of(&record).to_owned()).or_default().push(row);
        }
        Ok(Members { columns: stored.columns, rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DIM_USER;

    #[test]
    fn members_that_are_gone_come_back_in_the_order_of_their_keys() {
        let now = b"user_id,name,plan\na,Ann,gold\nc,Cid,\n";
        let earlier = b"user_id,name,town\na,Anna,Rome\nb,\"B, \"\"b\"\"\",Oslo\nb,B2,\n";
        let merged = with_missing_members(&DIM_USER, now, earlier).unwrap().unwrap();
        let expected = "user_id,name,plan,town\na,Ann,gold,\nb,\"B, \"\"b\"\"\",,Oslo\nb,B2,,\nc,Cid,,\n";
        assert_eq!(String::from_utf8(merged).unwrap(), expected);
        assert_eq!(with_missing_members(&DIM_USER, earlier, b"user_id,name\na,x\n").unwrap(), None);
        assert!(with_missing_members(&DIM_USER, now, b"name\nx\n").is_err());
        let cut = b"user_id,name,plan\na,Ann,gold\nc,Cid,si";
        for (now, earlier) in [(&now[..], &cut[..]), (&cut[..], &earlier[..])] {
            assert!(with_missing_members(&DIM_USER, now, earlier).unwrap_err().to_string().contains("cut short"));
        }
    }
}
