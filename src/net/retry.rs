//! Retries with backoff: the policy, and the attempts of one request.
//!
//! The only module that uses the `backoff` crate. The crate is no longer maintained, so only its arithmetic is used.

use std::time::{Duration, Instant, SystemTime};

use backoff::{ExponentialBackoff, backoff::Backoff as _};

/// The number of attempts, and the waits between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy {
    /// The maximum number of attempts, the first one included.
    pub(crate) attempts: u32,
    /// The maximum of the first wait. It doubles with each retry.
    pub(crate) first: Duration,
    /// The maximum of any wait.
    pub(crate) cap: Duration,
    /// The maximum of a `Retry-After`.
    pub(crate) retry_after_cap: Duration,
    /// No attempt begins after this time.
    pub(crate) budget: Duration,
}

/// The attempts of one request.
pub(crate) struct Attempts {
    policy: RetryPolicy,
    backoff: ExponentialBackoff,
    started: Instant,
    count: u32,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NextAttempt {
    /// Another attempt, after this wait.
    After(Duration),
    /// No attempt: the maximum number is reached.
    NoneLeft,
    /// No attempt: it would begin after the time budget.
    NoTimeLeft,
}

impl RetryPolicy {
    /// Starts the first attempt now.
    pub(crate) fn start(self) -> Attempts {
        // The crate draws from interval × [1 - f, 1 + f]; with f = 1 and half the interval that is full jitter: before retry n
        // a wait drawn evenly from [0, min(cap, first × 2^n)].
        let backoff = ExponentialBackoff {
            current_interval: self.first / 2,
            initial_interval: self.first / 2,
            randomization_factor: 1.0,
            multiplier: 2.0,
            max_interval: self.cap / 2,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Attempts { policy: self, backoff, started: Instant::now(), count: 1 }
    }
}

impl Attempts {
    /// The number of attempts so far, the current one included.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The time since the first attempt began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether the time budget is used up.
    pub(crate) fn is_out_of_time(&self) -> bool {
        self.elapsed() >= self.policy.budget
    }

    /// What follows a failed attempt. The wait is at least the server's `Retry-After`, up to its cap.
    pub(crate) fn after_failure(&mut self, retry_after: Option<Duration>) -> NextAttempt {
        if self.count >= self.policy.attempts {
            return NextAttempt::NoneLeft;
        }
        let jittered = self.backoff.next_backoff().unwrap_or_default();
        let wait = retry_after.map_or(jittered, |asked| asked.min(self.policy.retry_after_cap).max(jittered));
        if self.elapsed().saturating_add(wait) >= self.policy.budget {
            return NextAttempt::NoTimeLeft;
        }
        self.count += 1;
        NextAttempt::After(wait)
    }
}

/// `Retry-After`: seconds, also with decimals, or an HTTP date (RFC 9110, 10.2.3). A date that has passed is no wait.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if value.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return value.parse::<f64>().ok().map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    }
    httpdate::parse_http_date(value).ok().map(|when| when.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        attempts: 10,
        first: Duration::from_millis(500),
        cap: Duration::from_secs(4),
        retry_after_cap: Duration::from_secs(60),
        budget: Duration::from_secs(900),
    };

    fn wait(attempts: &mut Attempts, retry_after: Option<Duration>) -> Duration {
        match attempts.after_failure(retry_after) {
            NextAttempt::After(wait) => wait,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn waits_are_random_in_an_interval_that_doubles_up_to_the_cap() {
        for (retry, interval) in [(0, 500), (1, 1000), (2, 2000), (5, 4000)] {
            let waits: Vec<_> = (0..400)
                .map(|_| {
                    let mut attempts = POLICY.start();
                    (0..retry).for_each(|_| _ = wait(&mut attempts, None));
                    wait(&mut attempts, None).as_millis()
                })
                .collect();
            assert!(waits.iter().all(|&wait| wait <= interval), "{retry}");
            assert!(waits.iter().any(|&wait| wait < interval / 5), "{retry}");
            assert!(waits.iter().any(|&wait| wait > interval * 4 / 5), "{retry}");
        }
    }

    #[test]
    fn the_server_is_obeyed_up_to_the_cap() {
        let asked = |seconds| wait(&mut POLICY.start(), Some(Duration::from_secs(seconds)));
        assert_eq!(asked(7), Duration::from_secs(7));
        assert_eq!(asked(86_400), Duration::from_secs(60));
    }

    #[test]
    fn attempts_end_by_their_number_and_by_their_time() {
        let mut attempts = RetryPolicy { attempts: 2, ..POLICY }.start();
        assert!(matches!(attempts.after_failure(None), NextAttempt::After(_)));
        assert_eq!((attempts.after_failure(None), attempts.count()), (NextAttempt::NoneLeft, 2));
        let mut attempts = RetryPolicy { budget: Duration::from_secs(5), ..POLICY }.start();
        assert_eq!(attempts.after_failure(Some(Duration::from_secs(6))), NextAttempt::NoTimeLeft);
        assert_eq!((attempts.count(), attempts.is_out_of_time()), (1, false));
        assert!(RetryPolicy { budget: Duration::ZERO, ..POLICY }.start().is_out_of_time());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("2.0", now), Some(Duration::from_secs(2)));
        assert_eq!(retry_after("0.5", now), Some(Duration::from_millis(500)));
        assert_eq!(retry_after("99999999999999999999999999", now), Some(Duration::MAX));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:00 GMT", now), Some(Duration::from_secs(23)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        for wrong in ["soon", "-1", "inf", "NaN", "1e9", "1.2.3", ""] {
            assert_eq!(retry_after(wrong, now), None, "{wrong}");
        }
    }
}
