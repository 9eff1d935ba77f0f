//! Removes what runs older than the retention have left: quarantine, kept records, manifests, reports. Never removes anything of
//! the layer.
//!
//! A clock that is years ahead makes every run old. So a jump of the clock is doubted until enough runs confirm it.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    model::{RunId, UtcMicros},
    store::{Key, Output, StoreError, places},
};

/// A time without a run that may be a jump of the clock: 180 days, in microseconds.
const JUMP: i64 = 180 * UtcMicros::DAY;

/// The runs that confirm a jump of the clock. They must also span a day.
const CONFIRMING_RUNS: usize = 10;

/// What retention did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Retained {
    /// It removed what this many runs had left.
    Removed(usize),
    /// It removed nothing, because the clock may be wrong: the newest run before the jump started then.
    ClockDoubted(UtcMicros),
}

/// How long what runs have left stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Everything; `None`: for ever.
    pub all: Option<Duration>,
    /// The records that runs have kept as they were delivered, if that is shorter.
    pub raw: Duration,
}

impl Retention {
    /// How long the files of a folder stay; `None`: for ever.
    fn of(&self, folder: &str) -> Option<Duration> {
        let own = (folder == places::RAW).then_some(self.raw);
        own.into_iter().chain(self.all).min()
    }
}

/// The run that removes what is old.
#[derive(Clone, Copy, Debug)]
pub struct CurrentRun<'a> {
    /// Its name.
    pub run_id: &'a str,
    /// The time by its clock.
    pub now: UtcMicros,
}

/// A file or folder that a run has left.
struct RunFiles {
    folder: &'static str,
    name: String,
    run_id: RunId,
    start: UtcMicros,
}

/// Removes what runs that started longer than the retention before `run` have left. Leaves alone whatever is not named as a run.
///
/// # Errors
/// I/O errors.
pub fn remove_older(output: &Output, retention: &Retention, run: &CurrentRun<'_>) -> Result<Retained, StoreError> {
    let files = run_files(output)?;
    if let Some(newest) = run_before_jump(output, &earlier_starts(&files, run), run)? {
        return Ok(Retained::ClockDoubted(newest));
    }
    let is_older = |file: &RunFiles, kept: Duration| {
        let oldest = run.now.minus(i64::try_from(kept.as_micros()).unwrap_or(i64::MAX));
        file.start < oldest
    };
    let is_past = |file: &RunFiles| retention.of(file.folder).is_some_and(|kept| is_older(file, kept));
    let mut runs = BTreeSet::new();
    for file in files.into_iter().filter(is_past) {
        output.remove(Key::from(file.folder).join(&file.name))?;
        runs.insert(file.run_id);
    }
    Ok(Retained::Removed(runs.len()))
}

/// What runs have left. Leaves out whatever is not named as a run.
fn run_files(output: &Output) -> Result<Vec<RunFiles>, StoreError> {
    let mut files = Vec::new();
    for folder in [places::QUARANTINE, places::RAW, places::MANIFESTS, places::REPORTS] {
        for name in output.names(folder)? {
            let Ok(run_id) = places::run_of(&name).parse::<RunId>() else { continue };
            let Some(start) = run_id.start() else { continue };
            files.push(RunFiles { folder, name, run_id, start });
        }
    }
    Ok(files)
}

/// The starts of the runs before `run`.
fn earlier_starts(files: &[RunFiles], run: &CurrentRun<'_>) -> BTreeSet<UtcMicros> {
    files.iter().filter(|file| file.run_id.as_str() != run.run_id && file.start <= run.now).map(|file| file.start).collect()
}

/// The newest run before a jump of the clock that is not confirmed yet. The first run after a jump is noted in the state.
fn run_before_jump(output: &Output, earlier: &BTreeSet<UtcMicros>, run: &CurrentRun<'_>) -> Result<Option<UtcMicros>, StoreError> {
    let noted = output.read(places::CLOCK_JUMP)?.and_then(|text| String::from_utf8(text).ok()?.parse::<RunId>().ok()?.start());
    let Some(first) = noted else {
        let newest = earlier.last().copied().filter(|newest| run.now.micros() - newest.micros() > JUMP);
        if newest.is_some() {
            output.replace(places::CLOCK_JUMP, run.run_id.as_bytes())?;
        }
        return Ok(newest);
    };
    if first > run.now {
        // The clock is right again.
        return Ok(None);
    }
    if earlier.range(first..).count() >= CONFIRMING_RUNS && run.now.micros() - first.micros() >= UtcMicros::DAY {
        output.remove(places::CLOCK_JUMP)?;
        return Ok(None);
    }
    Ok(earlier.range(..first).next_back().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retention(all_days: u64, raw_days: u64) -> Retention {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Retention { all: Some(days(all_days)), raw: days(raw_days) }
    }

    #[test]
    fn kept_records_go_with_the_shorter_of_both_spans_and_nothing_else_goes_without_a_retention() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        let (old, new) = ("20260101T000000000000Z-0000010000", "20260109T000000000000Z-0000010000");
        let raw = output.at(places::raw_orders(old));
        std::fs::create_dir_all(raw.parent().unwrap()).unwrap();
        std::fs::write(&raw, "x").unwrap();
        std::fs::create_dir_all(output.at(places::REPORTS)).unwrap();
        std::fs::write(output.at(places::report(old)), "{}").unwrap();
        let run = CurrentRun { run_id: new, now: UtcMicros::from_civil((2026, 1, 9), 0, 0, 0).unwrap() };
        let for_ever = |raw_days: u64| Retention { all: None, ..retention(1, raw_days) };
        assert_eq!(remove_older(&output, &for_ever(9), &run).unwrap(), Retained::Removed(0));
        assert!(raw.exists());
        assert_eq!(remove_older(&output, &for_ever(7), &run).unwrap(), Retained::Removed(1));
        assert!(!raw.exists() && output.at(places::report(old)).exists());
    }

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
            put(&format!("raw/run_id={run}/orders-00000.ndjson.zst"));
            put(&format!("manifests/{run}.manifest"));
            put(&format!("reports/{run}.json"));
            put(&format!("reports/{run}.violations/fact_key_unique.csv"));
        }
        put("curated/dt=2020-01-01/part-00000.csv");
        let now = UtcMicros::from_civil((2026, 1, 10), 0, 0, 0).unwrap();
        let run = CurrentRun { run_id: new, now };
        assert_eq!(remove_older(&output, &retention(1, 30), &run).unwrap(), Retained::Removed(1));
        for (run, kept) in [(old, false), (new, true), ("notes", true), ("20250101", true)] {
            for place in [
                format!("quarantine/run_id={run}"),
                format!("raw/run_id={run}"),
                format!("manifests/{run}.manifest"),
                format!("reports/{run}.json"),
                format!("reports/{run}.violations"),
            ] {
                assert_eq!(output.at(&place).exists(), kept, "{place}");
            }
        }
        assert!(output.at("curated/dt=2020-01-01/part-00000.csv").exists());
    }

    #[test]
    fn a_jump_of_the_clock_removes_nothing_until_ten_runs_and_a_day_confirm_it() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::new(dir.path().to_owned());
        output.prepare().unwrap();
        let day = |days: i64| UtcMicros::from_civil((2026, 1, 1), 0, 0, 0).unwrap().minus(-days * UtcMicros::DAY);
        let retain = |now: UtcMicros| {
            let run_id = RunId::new(now);
            std::fs::write(output.at(places::report(run_id.as_str())), "{}").unwrap();
            let run = CurrentRun { run_id: run_id.as_str(), now };
            remove_older(&output, &retention(30, 30), &run).unwrap()
        };
        assert_eq!([day(0), day(1), day(20)].map(retain), [0, 0, 0].map(Retained::Removed));
        let years = |number: i64| day(3650 + number);
        assert_eq!(retain(years(0)), Retained::ClockDoubted(day(20)));
        // The clock is right for one run, and wrong again.
        assert_eq!(retain(day(21)), Retained::Removed(0));
        for second in 1..13 {
            assert_eq!(
                retain(years(0).minus(-1_000_000 * second)),
                Retained::ClockDoubted(day(21)),
                "many runs of one day confirm nothing"
            );
        }
        assert_eq!(retain(years(2)), Retained::Removed(4));
        assert!(!output.at(places::CLOCK_JUMP).exists());
        assert_eq!(retain(years(3)), Retained::Removed(0));
        // A break of some weeks is no jump.
        assert_eq!(retain(years(100)), Retained::Removed(15));
    }
}
