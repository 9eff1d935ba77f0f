//! Rate limit: how fast requests follow each other, by the profile and by what the server says of its own limit.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use reqwest::header::HeaderMap;

/// Spaces the requests to one source.
pub(crate) struct RateLimiter {
    /// The least time between two requests.
    interval: Duration,
    /// When the next one may go.
    next: Mutex<Instant>,
}

impl RateLimiter {
    pub(crate) fn new(requests_per_second: Option<f64>) -> RateLimiter {
        let interval = requests_per_second.map_or(Duration::ZERO, |rate| Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX));
        RateLimiter { interval, next: Mutex::new(Instant::now()) }
    }

    /// Waits for this request's turn.
    pub(crate) async fn wait_turn(&self) {
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let at = (*next).max(Instant::now());
            *next = at + self.interval;
            at
        };
        tokio::time::sleep_until(at.into()).await;
    }

    /// Slows down where a response says that the limit is near.
    pub(crate) fn observe(&self, headers: &HeaderMap, cap: Duration) {
        if let Some(wait) = asked_wait(headers) {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next = (*next).max(Instant::now() + wait.min(cap));
        }
    }
}

/// How long the server would have the next request wait, where its limit is near.
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let number = |name: &str| text(name).and_then(|value| value.split([';', ',']).next()?.trim().parse::<f64>().ok());
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
    // Shopify's leaky bucket, `39/40`: it leaks two a second (https://shopify.dev/docs/api/usage/limits).
    if let Some((used, size)) = text("x-shopify-shop-api-call-limit").and_then(|limit| limit.split_once('/'))
        && let (Ok(used), Ok(size)) = (used.trim().parse::<f64>(), size.trim().parse::<f64>())
    {
        return (used >= size * 0.9).then_some(Duration::from_millis(500));
    }
    // draft-ietf-httpapi-ratelimit-headers: none remain, for so many seconds.
    if number("ratelimit-remaining") == Some(0.0) {
        return number("ratelimit-reset").and_then(seconds);
    }
    // BigCommerce: https://developer.bigcommerce.com/docs/start/best-practices#api-rate-limits
    if number("x-rate-limit-requests-left") == Some(0.0) {
        return number("x-rate-limit-time-reset-ms").and_then(|millis| seconds(millis / 1000.0));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_near_its_limit_is_given_time() {
        let wait = |headers: &[(&'static str, &'static str)]| {
            asked_wait(&headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect())
        };
        assert_eq!(wait(&[("X-Shopify-Shop-Api-Call-Limit", "36/40")]), Some(Duration::from_millis(500)));
        assert_eq!(wait(&[("X-Shopify-Shop-Api-Call-Limit", "10/40")]), None);
        assert_eq!(wait(&[("RateLimit-Remaining", "0"), ("RateLimit-Reset", "3")]), Some(Duration::from_secs(3)));
        assert_eq!(wait(&[("RateLimit-Remaining", "1"), ("RateLimit-Reset", "3")]), None);
        assert_eq!(wait(&[("X-Rate-Limit-Requests-Left", "0"), ("X-Rate-Limit-Time-Reset-Ms", "1500")]), Some(Duration::from_millis(1500)));
        assert_eq!(wait(&[("RateLimit-Remaining", "0"), ("RateLimit-Reset", "soon")]), None);
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn requests_are_spread_as_the_profile_says() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let limiter = RateLimiter::new(Some(50.0));
        let started = Instant::now();
        runtime.block_on(async {
            for _ in 0..6 {
                limiter.wait_turn().await;
            }
        });
        assert!(started.elapsed() >= Duration::from_millis(100), "{:?}", started.elapsed());
    }
}
