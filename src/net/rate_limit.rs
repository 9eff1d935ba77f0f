//! The rate limit of one origin, from the profile and from the response headers of the server.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use reqwest::header::HeaderMap;

use super::retry;

/// The smallest number that is an epoch, and its unit in seconds: microseconds, milliseconds, seconds.
const EPOCHS: [(f64, f64); 3] = [(1e14, 1e-6), (1e11, 1e-3), (1e9, 1.0)];

/// The turns of the runtime before a request: in the first it sees what connections have received, in the second the connections
/// do, so that one that is free again is used, and one that the server has closed is not.
const TURNS_BEFORE_REQUEST: usize = 2;

/// Limits the rate of requests to one origin. All sources of a run share it.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    state: Mutex<RateState>,
}

#[derive(Clone, Copy, Debug)]
struct RateState {
    /// The minimum time between two requests.
    interval: Duration,
    /// The earliest time of the next request.
    next: Instant,
    /// No request is sent before this time, because the server asked to wait.
    held_until: Instant,
}

impl Default for RateLimiter {
    fn default() -> RateLimiter {
        let now = Instant::now();
        RateLimiter { state: Mutex::new(RateState { interval: Duration::ZERO, next: now, held_until: now }) }
    }
}

impl RateLimiter {
    /// Sets the maximum requests per second. The lowest limit of all sources of the origin applies.
    pub(crate) fn limit(&self, requests_per_second: f64) {
        let interval = Duration::try_from_secs_f64(1.0 / requests_per_second).unwrap_or_default();
        self.change(|state| state.interval = state.interval.max(interval));
    }

    /// Waits for this request's turn. A request whose turn it is does not sleep: the timer of the runtime counts in milliseconds,
    /// and the shortest sleep takes one.
    pub(crate) async fn wait_turn(&self) {
        let mut at = self.change(|state| {
            let at = state.next.max(state.held_until).max(Instant::now());
            state.next = at + state.interval;
            at
        });
        loop {
            if at > Instant::now() {
                tokio::time::sleep_until(at.into()).await;
            } else {
                for _ in 0..TURNS_BEFORE_REQUEST {
                    tokio::task::yield_now().await;
                }
            }
            // The server may have asked for a longer wait meanwhile.
            let held_until = self.change(|state| state.held_until);
            if held_until <= at || held_until <= Instant::now() {
                return;
            }
            at = held_until;
        }
    }

    /// Sends no request for this time.
    pub(crate) fn hold(&self, wait: Duration) {
        if let Some(until) = Instant::now().checked_add(wait) {
            self.change(|state| state.held_until = state.held_until.max(until));
        }
    }

    /// Slows down if a response says that the limit is reached.
    pub(crate) fn observe(&self, headers: &HeaderMap, cap: Duration) {
        if let Some(wait) = asked_wait(headers, clock(headers)) {
            self.hold(wait.min(cap));
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut RateState) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The clock of the server from its `Date` header, else ours. Times of the server are compared with it.
pub(crate) fn clock(headers: &HeaderMap) -> SystemTime {
    text(headers, "date").and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(SystemTime::now)
}

/// How long the server asks to wait with `Retry-After`.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    retry::retry_after(text(headers, "retry-after")?, clock(headers))
}

/// How long to wait until a GraphQL query can be paid again, by the costs in the body of a throttled answer
/// (<https://shopify.dev/docs/api/usage/limits#graphql-admin-api-rate-limits>).
pub(crate) fn wait_of_cost(body: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.contains("throttleStatus"))?;
    let answer: serde_json::Value = serde_json::from_str(text).ok()?;
    let cost = answer.get("extensions")?.get("cost")?;
    let status = cost.get("throttleStatus")?;
    let (wanted, available) = (cost.get("requestedQueryCost")?.as_f64()?, status.get("currentlyAvailable")?.as_f64()?);
    let seconds = (wanted - available) / status.get("restoreRate")?.as_f64()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|wait| !wait.is_zero())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// How long the server asks to wait because its rate limit is reached.
fn asked_wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| text(headers, name);
    let number = |name: &str| text(name).and_then(leading_number);
    // Shopify's leaky bucket, `39/40`: it leaks two a second (https://shopify.dev/docs/api/usage/limits).
    if let Some((used, size)) = text("x-shopify-shop-api-call-limit").and_then(|limit| limit.split_once('/'))
        && let (Ok(used), Ok(size)) = (used.trim().parse::<f64>(), size.trim().parse::<f64>())
    {
        return (used >= size * 0.9).then_some(Duration::from_millis(500));
    }
    if let Some(wait) = text("ratelimit").and_then(structured_wait) {
        return Some(wait);
    }
    // draft-ietf-httpapi-ratelimit-headers-03, GitHub and many others, Twitter's spelling.
    for prefix in ["ratelimit", "x-ratelimit", "x-rate-limit"] {
        if number(&format!("{prefix}-remaining")) != Some(0.0) {
            continue;
        }
        if let Some(wait) = number(&format!("{prefix}-reset-after")).and_then(seconds) {
            return Some(wait);
        }
        if let Some(wait) = text(&format!("{prefix}-reset")).and_then(|reset| until_reset(reset, now)) {
            return Some(wait);
        }
    }
    // BigCommerce: https://developer.bigcommerce.com/docs/start/best-practices#api-rate-limits
    if number("x-rate-limit-requests-left") == Some(0.0) {
        return number("x-rate-limit-time-reset-ms").and_then(|millis| seconds(millis / 1000.0));
    }
    None
}

/// The number at the beginning of a header: `0`, `0;w=60`, `0, 100;window=60`.
fn leading_number(value: &str) -> Option<f64> {
    value.split([';', ',']).next()?.trim().parse().ok()
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|wait| !wait.is_zero())
}

/// `Reset`: seconds from now, an epoch (by its size), or a date.
fn until_reset(value: &str, now: SystemTime) -> Option<Duration> {
    let Some(number) = leading_number(value) else {
        return httpdate::parse_http_date(value.trim()).ok()?.duration_since(now).ok();
    };
    let Some((_, scale)) = EPOCHS.iter().find(|(least, _)| number >= *least) else { return seconds(number) };
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    seconds(number * scale - now.as_secs_f64())
}

/// `RateLimit`: `"default";r=0;t=30` (draft 08 and later), or `limit=100, remaining=0, reset=30` (before that). Of several
/// limits that are reached, the longest wait counts.
fn structured_wait(value: &str) -> Option<Duration> {
    // Names are quoted, and may contain separators.
    let unquoted: String = value.split('"').step_by(2).collect();
    let (mut longest, mut remaining, mut reset): (Option<Duration>, _, _) = (None, None, None);
    for member in unquoted.split(',') {
        let (mut r, mut t) = (None, None);
        for (key, value) in member.split(';').filter_map(|parameter| parameter.split_once('=')) {
            let value = value.trim().parse::<f64>().ok();
            match key.trim() {
                "r" => r = value,
                "t" => t = value,
                "remaining" => remaining = value,
                "reset" => reset = value,
                _ => {}
            }
        }
        if r == Some(0.0) {
            longest = longest.max(t.and_then(seconds));
        }
    }
    if remaining == Some(0.0) { longest.max(reset.and_then(seconds)) } else { longest }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const NOW: u64 = 1_769_817_600;

    fn wait(headers: &[(&'static str, &str)]) -> Option<f64> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        asked_wait(&headers, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)).map(|wait| (wait.as_secs_f64() * 1000.0).round() / 1000.0)
    }

    #[test]
    fn a_server_at_its_limit_gets_a_pause() {
        assert_eq!(wait(&[("X-Shopify-Shop-Api-Call-Limit", "36/40")]), Some(0.5));
        assert_eq!(wait(&[("X-Shopify-Shop-Api-Call-Limit", "10/40")]), None);
        assert_eq!(wait(&[("RateLimit-Remaining", "0"), ("RateLimit-Reset", "3")]), Some(3.0));
        assert_eq!(wait(&[("RateLimit-Remaining", "1"), ("RateLimit-Reset", "3")]), None);
        assert_eq!(wait(&[("X-Rate-Limit-Requests-Left", "0"), ("X-Rate-Limit-Time-Reset-Ms", "1500")]), Some(1.5));
        assert_eq!(wait(&[("RateLimit-Remaining", "0"), ("RateLimit-Reset", "soon")]), None);
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn a_reset_is_a_number_of_seconds_or_an_epoch_by_its_size_or_a_date() {
        let reset = |value: &str| wait(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", value)]);
        assert_eq!(reset("30"), Some(30.0));
        assert_eq!(reset("2.5;w=60"), Some(2.5));
        assert_eq!(reset("1769817607"), Some(7.0));
        assert_eq!(reset("1769817607500"), Some(7.5));
        assert_eq!(reset("1769817607500000"), Some(7.5));
        assert_eq!(reset("1769817500"), None, "in the past");
        assert_eq!(reset("Sat, 31 Jan 2026 00:00:09 GMT"), Some(9.0));
        assert_eq!(wait(&[("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "1769817609")]), Some(9.0));
        assert_eq!(wait(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset-after", "1.5"), ("x-ratelimit-reset", "99")]), Some(1.5));
    }

    #[test]
    fn both_forms_of_the_structured_header_are_read() {
        for (value, expected) in [
            (r#""default";r=0;t=30"#, Some(30.0)),
            (r#""default";r=5;t=30"#, None),
            (r#""a,b;r=1";r=0;t=2, "day";r=0;t=9, "hour";r=4;t=99"#, Some(9.0)),
            ("limit=100, remaining=0, reset=30", Some(30.0)),
            ("limit=100, remaining=7, reset=30", None),
            ("nonsense", None),
        ] {
            assert_eq!(wait(&[("ratelimit", value)]), expected, "{value}");
        }
    }

    #[test]
    fn times_are_compared_with_the_clock_of_the_server() {
        let headers = HeaderMap::from_iter([
            (reqwest::header::DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap()),
            (reqwest::header::RETRY_AFTER, "Sun, 06 Nov 1994 08:49:40 GMT".parse().unwrap()),
        ]);
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(3)));
    }

    fn on_runtime<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
    }

    #[test]
    fn the_lowest_limit_applies() {
        let limiter = RateLimiter::default();
        limiter.limit(50.0);
        limiter.limit(5000.0);
        let started = Instant::now();
        on_runtime(async {
            for _ in 0..6 {
                limiter.wait_turn().await;
            }
        });
        assert!(started.elapsed() >= Duration::from_millis(100), "{:?}", started.elapsed());
    }

    #[test]
    fn a_request_whose_turn_it_is_does_not_sleep() {
        let limiter = RateLimiter::default();
        let started = Instant::now();
        on_runtime(async {
            for _ in 0..1000 {
                limiter.wait_turn().await;
            }
        });
        assert!(started.elapsed() < Duration::from_millis(900), "a sleep each would take a second: {:?}", started.elapsed());
    }

    #[test]
    fn a_hold_applies_to_requests_that_already_wait() {
        let limiter = Arc::new(RateLimiter::default());
        limiter.limit(20.0);
        let started = Instant::now();
        on_runtime(async {
            limiter.wait_turn().await;
            let hold = async { limiter.hold(Duration::from_millis(300)) };
            futures_util::future::join(limiter.wait_turn(), hold).await;
        });
        assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    }
}
