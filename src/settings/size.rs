//! SIZE: how an amount of memory is written. Its bounds are those of the setting.

/// Bytes from `512MiB`, `1GB` and the like: units of 1000 and of 1024, as DuckDB reads them.
///
/// # Errors
/// What to write instead.
pub fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] =
        [("kib", 1 << 10), ("mib", 1 << 20), ("gib", 1 << 30), ("tib", 1 << 40), ("kb", 1000), ("mb", 1_000_000), ("gb", 1_000_000_000)];
    let explain = || "write a whole number and a unit: 512MiB, 2GiB, 1GB".to_owned();
    let lower = text.trim().to_ascii_lowercase();
    let (unit, size) = UNITS.iter().find(|(unit, _)| lower.ends_with(unit)).ok_or_else(explain)?;
    let number: u64 = lower.strip_suffix(unit).unwrap_or_default().trim().parse().map_err(|_| explain())?;
    number.checked_mul(*size).ok_or_else(explain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size(" 200 mb "), Ok(200_000_000));
        for text in ["", "1", "GiB", "-1GiB", "1.5GiB", "99999999999999999999GiB"] {
            assert!(parse_size(text).unwrap_err().contains("512MiB"), "{text}");
        }
    }
}
