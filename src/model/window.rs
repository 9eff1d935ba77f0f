//! The window of a run.

use super::UtcMicros;

/// `[since, until)` on `created_at`; either end may be open (contract, Words).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Window {
    /// The first instant inside.
    pub since: Option<UtcMicros>,
    /// The first instant after.
    pub until: Option<UtcMicros>,
}

impl Window {
    /// Whether an instant lies inside.
    pub fn contains(&self, instant: UtcMicros) -> bool {
        self.since.is_none_or(|since| instant >= since) && self.until.is_none_or(|until| instant < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_inside_and_until_is_not() {
        let at = |micros| UtcMicros::new(micros).unwrap();
        let window = Window { since: Some(at(10)), until: Some(at(20)) };
        assert!([10, 19].iter().all(|&micros| window.contains(at(micros))));
        assert!([9, 20].iter().all(|&micros| !window.contains(at(micros))));
        assert!(Window::default().contains(UtcMicros::MIN));
    }
}
