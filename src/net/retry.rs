//! How long to wait before another attempt. The one place that knows the `backoff` crate: it is no longer maintained, and
//! serves for the arithmetic of the policy alone.

use std::time::{Duration, SystemTime};

use backoff::{ExponentialBackoff, backoff::Backoff as _};

/// Exponential backoff with full jitter: before retry n a wait drawn evenly from [0, min(cap, first × 2^n)].
pub(crate) struct Backoff {
    backoff: ExponentialBackoff,
    retry_after_cap: Duration,
}

impl Backoff {
    /// Waits of which the first is drawn from [0, first], and none from more than [0, cap].
    pub(crate) fn new(first: Duration, cap: Duration, retry_after_cap: Duration) -> Backoff {
        // The crate draws from interval × [1 - f, 1 + f]; with f = 1 and half the interval that is full jitter.
        let backoff = ExponentialBackoff {
            current_interval: first / 2,
            initial_interval: first / 2,
            randomization_factor: 1.0,
            multiplier: 2.0,
            max_interval: cap / 2,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Backoff { backoff, retry_after_cap }
    }

    /// The wait before the next attempt: never less than the server asked for, up to the cap.
    pub(crate) fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        let jittered = self.backoff.next_backoff().unwrap_or_default();
        retry_after.map_or(jittered, |asked| asked.min(self.retry_after_cap).max(jittered))
    }
}

/// `Retry-After`: seconds or an HTTP date (RFC 9110, 10.2.3). A date that has passed is no wait.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(value).ok().map(|when| when.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff::new(Duration::from_millis(500), Duration::from_secs(4), Duration::from_secs(60))
    }

    #[test]
    fn waits_are_spread_over_the_whole_interval_which_doubles_up_to_the_cap() {
        for (retry, interval) in [(0, 500), (1, 1000), (2, 2000), (5, 4000)] {
            let waits: Vec<_> = (0..400)
                .map(|_| {
                    let mut backoff = backoff();
                    (0..retry).for_each(|_| {
                        backoff.next(None);
                    });
                    backoff.next(None).as_millis()
                })
                .collect();
            assert!(waits.iter().all(|&wait| wait <= interval), "{retry}");
            assert!(waits.iter().any(|&wait| wait < interval / 5), "{retry}");
            assert!(waits.iter().any(|&wait| wait > interval * 4 / 5), "{retry}");
        }
    }

    #[test]
    fn the_server_is_obeyed_up_to_the_cap() {
        let asked = |seconds| backoff().next(Some(Duration::from_secs(seconds)));
        assert_eq!(asked(7), Duration::from_secs(7));
        assert_eq!(asked(86_400), Duration::from_secs(60));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:00 GMT", now), Some(Duration::from_secs(23)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
