//! Old runs' quarantine, manifests and reports: removed where a retention is set. The layer itself is never old.

use std::time::Duration;

use crate::{
    model::UtcMicros,
    store::{self, Output, StoreError},
};

/// How a run's name begins: its start in UTC, to the second.
const STAMP: usize = "20260131T100000".len();

/// Removes what runs that started more than `retention` before `now` have left. Tells of how many runs. Whatever is not
/// named as a run is left alone.
///
/// # Errors
/// What the disk refuses.
pub fn remove_older(output: &Output, retention: Duration, now: UtcMicros) -> Result<usize, StoreError> {
    let oldest = now.minus(i64::try_from(retention.as_micros()).unwrap_or(i64::MAX));
    let mut oldest: String = oldest.rfc3339().chars().filter(char::is_ascii_alphanumeric).collect();
    oldest.truncate(STAMP);
    let mut runs = std::collections::BTreeSet::new();
    for (folder, prefix, suffix) in [("quarantine", "run_id=", ""), ("manifests", "", ".manifest"), ("reports", "", ".json")] {
        let folder = output.at(folder);
        for name in output.names(&folder)? {
            let Some(run_id) = name.strip_prefix(prefix).and_then(|name| name.strip_suffix(suffix)).filter(|name| is_run_id(name)) else {
                continue;
            };
            if run_id[..STAMP] < *oldest {
                store::remove(&folder.join(&name))?;
                runs.insert(run_id.to_owned());
            }
        }
    }
    Ok(runs.len())
}

/// Whether a name is one that [`crate::model::RunId`] makes.
fn is_run_id(name: &str) -> bool {
    let stamped = |(place, byte): (usize, u8)| if place == 8 { byte == b'T' } else { byte.is_ascii_digit() };
    name.len() > STAMP && name.contains('-') && name.bytes().take(STAMP).enumerate().all(stamped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_old_runs_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        let put = |place: &str| {
            let path = output.at(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        let (old, new) = ("20260101T000000000000Z-0000010000", "20260109T235959000000Z-0000010000");
        for run in [old, new, "notes", "20250101"] {
            put(&format!("quarantine/run_id={run}/records.ndjson"));
            put(&format!("manifests/{run}.manifest"));
            put(&format!("reports/{run}.json"));
        }
        put("curated/dt=2020-01-01/part-00000.csv");
        let now = UtcMicros::from_civil((2026, 1, 10), 0, 0, 0).unwrap();
        assert_eq!(remove_older(&output, Duration::from_secs(86_400), now).unwrap(), 1);
        for (run, kept) in [(old, false), (new, true), ("notes", true), ("20250101", true)] {
            for place in [format!("quarantine/run_id={run}"), format!("manifests/{run}.manifest"), format!("reports/{run}.json")] {
                assert_eq!(output.at(&place).exists(), kept, "{place}");
            }
        }
        assert!(output.at("curated/dt=2020-01-01/part-00000.csv").exists());
    }
}
