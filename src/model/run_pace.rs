//! How long a run took for how many records: what a later run is held against. Judges nothing.

use serde::{Deserialize, Serialize};

/// The pace of a run. As JSON a list of two numbers: it stands where each byte is read by every run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "[u64; 2]", into = "[u64; 2]")]
pub struct RunPace {
    /// Milliseconds of wall time.
    pub milliseconds: u64,
    /// The records that it has read.
    pub records: u64,
}

impl RunPace {
    /// A run is held against so many of the latest ones of its kind, at most.
    pub const COMPARED: usize = 30;

    /// The pace of a run that took so many seconds.
    pub fn new(seconds: f64, records: u64) -> RunPace {
        // A float is cast to the nearest number that there is: never a wrong sign, and no panic.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "durations of runs, not money")]
        let milliseconds = (seconds * 1000.0).round() as u64;
        RunPace { milliseconds, records }
    }

    /// Seconds of wall time.
    pub fn seconds(self) -> f64 {
        // A run of 285,000 years is exact.
        #[expect(clippy::cast_precision_loss, reason = "durations of runs, not money")]
        let milliseconds = self.milliseconds as f64;
        milliseconds / 1000.0
    }
}

impl From<[u64; 2]> for RunPace {
    fn from([milliseconds, records]: [u64; 2]) -> RunPace {
        RunPace { milliseconds, records }
    }
}

impl From<RunPace> for [u64; 2] {
    fn from(RunPace { milliseconds, records }: RunPace) -> [u64; 2] {
        [milliseconds, records]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_two_numbers_to_the_millisecond() {
        let pace = RunPace::new(1.2346, 7);
        assert_eq!((serde_json::to_string(&pace).unwrap(), pace.seconds()), ("[1235,7]".to_owned(), 1.235));
        assert_eq!(serde_json::from_str::<RunPace>("[1235,7]").unwrap(), pace);
        assert_eq!(RunPace::new(-1.0, 0).milliseconds, 0);
    }
}
