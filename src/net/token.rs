//! OAuth tokens of a run. All sources with the same token server and credentials share one token, and only one request
//! renews it.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use crate::settings::Secret;

/// A token is renewed this long before it expires.
const RENEW_BEFORE: Duration = Duration::from_secs(30);

/// The maximum life of a token, whatever the server says.
const LONGEST_LIFE: Duration = Duration::from_secs(31_536_000);

/// An issued token.
#[derive(Clone, Debug)]
pub(crate) struct IssuedToken {
    pub(crate) secret: Secret,
    expires: Option<Instant>,
}

impl IssuedToken {
    /// A token that was requested at `asked`. Without a life it is used until a server refuses it.
    pub(crate) fn new(secret: Secret, life: Option<Duration>, asked: Instant) -> IssuedToken {
        let expires = life.map(|life| life.min(LONGEST_LIFE)).map(|life| asked + life.checked_sub(RENEW_BEFORE).unwrap_or(life / 2));
        IssuedToken { secret, expires }
    }

    fn is_fresh(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }
}

/// The current token of one OAuth client.
#[derive(Default, Debug)]
pub(crate) struct TokenSlot {
    current: Mutex<Option<IssuedToken>>,
    /// The refresh token that the server has given last.
    refresh: std::sync::Mutex<Option<Secret>>,
}

/// What happened to a token that a server refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// It was the current token, and is forgotten.
    Forgotten,
    /// Another request has already renewed it.
    Renewed,
}

impl TokenSlot {
    /// The current token, or a new one from `issue`. Other requests wait meanwhile.
    pub(crate) async fn get<E>(&self, issue: impl Future<Output = Result<IssuedToken, E>>) -> Result<Secret, E> {
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref().filter(|token| token.is_fresh()) {
            return Ok(token.secret.clone());
        }
        let token = issue.await?;
        let secret = token.secret.clone();
        *current = Some(token);
        Ok(secret)
    }

    /// The refresh token that the server has given last.
    pub(crate) fn refresh_token(&self) -> Option<Secret> {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps a refresh token that the server has given.
    pub(crate) fn keep_refresh_token(&self, token: Secret) {
        *self.refresh.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    /// Forgets a token that a server refused, unless it was already renewed.
    pub(crate) async fn refuse(&self, sent: &Secret) -> Refused {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|token| token.secret != *sent) {
            return Refused::Renewed;
        }
        *current = None;
        Refused::Forgotten
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn token(text: &str, life: Option<Duration>) -> IssuedToken {
        IssuedToken::new(Secret::new(text.to_owned()), life, Instant::now())
    }

    #[test]
    fn a_token_is_renewed_when_it_expires_or_when_the_current_one_is_refused() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let slot = TokenSlot::default();
        let get = |text: &'static str, life| {
            let issued = async move { Ok::<_, Infallible>(token(text, life)) };
            runtime.block_on(slot.get(issued)).unwrap().expose().to_owned()
        };
        assert_eq!(get("first-token", None), "first-token");
        assert_eq!(get("second-token", None), "first-token");
        let refuse = |text: &str| runtime.block_on(slot.refuse(&Secret::new(text.to_owned())));
        assert_eq!(refuse("older-token"), Refused::Renewed);
        assert_eq!(get("second-token", None), "first-token");
        assert_eq!(refuse("first-token"), Refused::Forgotten);
        assert_eq!(get("third-token", Some(Duration::ZERO)), "third-token");
        assert_eq!(get("fourth-token", Some(Duration::from_secs(60))), "fourth-token");
        assert_eq!(get("fifth-token", None), "fourth-token");
    }
}
