//! A stored partition with other further columns than it was written with: the same rows, in the same order.

use std::path::Path;

use super::{LayerError, csv};
use crate::model::{Dt, ExtraColumn, ExtraType, FactRows, FactSchema};

/// The bytes of a partition under the columns of `schema`; `None` where it has them already. A column that is new is empty,
/// one that is gone is left out, and a value that is none of its column's type becomes empty.
///
/// # Errors
/// [`LayerError::Partition`] where the file can't be read.
pub fn rewritten(bytes: &[u8], dt: Dt, path: &Path, schema: &FactSchema) -> Result<Option<Vec<u8>>, LayerError> {
    let header = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let names: Vec<_> = header.split(|&byte| byte == b',').map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    // A header that is none of ours is what the strict reader says it is.
    let further = csv::further_names(&names).unwrap_or_default();
    let as_text = |name: &String| ExtraColumn { name: name.clone(), kind: ExtraType::Text };
    let stored = FactSchema::new(further.iter().map(as_text).collect());
    if stored.names().eq(schema.names()) {
        // The same names; of the same types, or the strict reader says where not.
        if csv::read_partition(bytes, dt, path, schema).is_ok() {
            return Ok(None);
        }
    }
    let frame = csv::read_partition(bytes, dt, path, &stored)?.finish()?;
    let rows = FactRows::new(&frame)?;
    let from: Vec<_> =
        schema.extra().iter().map(|column| (stored.extra().iter().position(|old| old.name == column.name), column.kind)).collect();
    let mut out = Vec::with_capacity(bytes.len());
    csv::write_header(&mut out, schema);
    for row in 0..rows.len() {
        let old: Vec<_> = rows.extra(row).collect();
        let new: Vec<_> =
            from.iter().map(|&(place, kind)| kind.canonical(place.and_then(|place| old.get(place).copied().flatten())?.into())).collect();
        csv::write_line(&mut out, &rows.line(row), new.iter().map(Option::as_deref));
    }
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_go_change_their_type_and_the_rows_stay() {
        let column = |name: &str, kind| ExtraColumn { name: name.into(), kind };
        let row = "A,S,,,,EUR,2,1.5000,3.0000,false,,,,2026-01-31 10:00:00,";
        let mut plain = Vec::new();
        csv::write_header(&mut plain, &FactSchema::default());
        plain.extend_from_slice(format!("{row}\n").as_bytes());
        let dt = "2026-01-31".parse().unwrap();
        let rewrite = |bytes: &[u8], schema: &FactSchema| rewritten(bytes, dt, Path::new("x"), schema).unwrap();
        assert_eq!(rewrite(&plain, &FactSchema::default()), None);
        let wide = FactSchema::new(vec![column("a", ExtraType::Text), column("b", ExtraType::Text)]);
        let text = String::from_utf8(rewrite(&plain, &wide).unwrap()).unwrap();
        assert!(text.lines().next().unwrap().ends_with("updated_at,a,b") && text.ends_with(&format!("{row},,\n")));
        let filled = text.replace(&format!("{row},,"), &format!("{row},7.5,x"));
        let narrow = FactSchema::new(vec![column("a", ExtraType::Decimal { scale: 2 })]);
        let text = String::from_utf8(rewrite(filled.as_bytes(), &narrow).unwrap()).unwrap();
        assert!(text.ends_with(&format!("{row},7.50\n")), "{text}");
        assert!(rewrite(&rewrite(filled.as_bytes(), &FactSchema::default()).unwrap(), &wide).is_some());
        assert!(rewritten(b"not ours\n", dt, Path::new("x"), &wide).is_err());
    }
}
