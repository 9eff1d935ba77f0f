//! The id of a run as `OpenLineage` wants it: a UUID, made of the run's own name.

use ring::digest::{SHA256, digest};

/// The UUID of a run of an output: the first 16 bytes of the SHA-256 of `output#run`, with the bits of version 8 (RFC 9562, 5.8).
/// The output is part of it, since the names of runs are unique within one output only.
pub fn run_uuid(output: &str, run_id: &str) -> String {
    let hash = digest(&SHA256, format!("{output}#{run_id}").as_bytes());
    let mut uuid = String::with_capacity(36);
    for (place, byte) in hash.as_ref().iter().take(16).enumerate() {
        let byte = match place {
            6 => (byte & 0x0f) | 0x80,
            8 => (byte & 0x3f) | 0x80,
            _ => *byte,
        };
        if matches!(place, 4 | 6 | 8 | 10) {
            uuid.push('-');
        }
        uuid.extend([byte >> 4, byte & 0x0f].into_iter().filter_map(|digit| char::from_digit(u32::from(digit), 16)));
    }
    uuid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_uuid_of_version_8_and_runs_of_other_outputs_have_others() {
        let uuid = run_uuid("/srv/etl/output", "20260131T100000123456Z-01a2b30000");
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert!(uuid.chars().all(|c| c == '-' || c.is_ascii_hexdigit()), "{uuid}");
        assert_eq!(uuid.as_bytes()[14], b'8', "the version: {uuid}");
        assert!(b"89ab".contains(&uuid.as_bytes()[19]), "the variant: {uuid}");
        assert_eq!(uuid, run_uuid("/srv/etl/output", "20260131T100000123456Z-01a2b30000"));
        assert_ne!(uuid, run_uuid("s3://b/output", "20260131T100000123456Z-01a2b30000"));
    }

    #[test]
    fn the_bytes_are_those_of_the_hash() {
        // sha256("a#b"), as `printf 'a#b' | sha256sum` prints it.
        assert_eq!(run_uuid("a", "b"), "8187fc8f-7f00-8036-9ffc-199544b33167");
    }
}
