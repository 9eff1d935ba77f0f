//! The wait of a writer that another one came before. Decides nothing about how often somebody tries.

use std::{
    hash::{BuildHasher, RandomState},
    thread,
    time::Duration,
};

/// The longest wait after the first attempt. It doubles with each attempt that follows.
const FIRST: Duration = Duration::from_millis(20);

/// Waits a random time, at most `longest`, and longer with each attempt, so that writers do not meet again at once.
pub fn back_off(attempt: usize, longest: Duration) {
    let bound = longest.min(FIRST * (1_u32 << attempt.min(10)));
    let thousandths = u32::try_from(RandomState::new().hash_one(attempt) % 1000).unwrap_or(0);
    thread::sleep(bound * thousandths / 1000);
}
