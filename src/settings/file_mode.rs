//! A file's mode, as it is written: three or four octal digits.

/// The mode of `0640` and the like.
///
/// # Errors
/// What to write instead.
pub(super) fn parse_mode(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..b'8').contains(&digit));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    match mode {
        Some(mode) if mode & 0o600 == 0o600 => Ok(mode),
        Some(_) => Err("the owner must be able to read and write: write 0600, 0640 or 0660".to_owned()),
        None => Err("write octal digits in quotes: 0600, 0640 or 0660".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_octal_and_lets_its_owner_in() {
        assert_eq!((parse_mode("0600"), parse_mode("640")), (Ok(0o600), Ok(0o640)));
        for text in ["", "6", "0400", "rw-------", "1777", "0o600", "99999", "+600"] {
            assert!(parse_mode(text).is_err(), "{text}");
        }
    }
}
