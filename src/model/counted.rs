//! A count with its noun, as a sentence has it. The only place that makes plurals.

/// "1 line", "3 lines", "2 currencies". `noun` is in the singular.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {}", noun_of(count, noun))
}

/// The noun alone, for a count that is written in another way: "line" of 1, "lines" of all others.
pub fn noun_of(count: u64, noun: &str) -> String {
    match noun.strip_suffix('y') {
        _ if count == 1 => noun.to_owned(),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if ["s", "x", "ch", "sh"].iter().any(|end| noun.ends_with(end)) => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        let shown = |noun| [0, 1, 2].map(|count| counted(count, noun)).join(", ");
        assert_eq!(shown("line"), "0 lines, 1 line, 2 lines");
        assert_eq!(shown("currency"), "0 currencies, 1 currency, 2 currencies");
        assert_eq!(shown("day"), "0 days, 1 day, 2 days");
        assert_eq!(shown("branch"), "0 branches, 1 branch, 2 branches");
        assert_eq!(shown("different record"), "0 different records, 1 different record, 2 different records");
    }
}
