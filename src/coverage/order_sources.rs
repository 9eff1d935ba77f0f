//! Which sources have brought orders to a layer. The ledger does not tell: incomplete loads, replays and demos add nothing to it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::SourceIdentity;

/// Sources beyond this are not kept: each is that of a shop, or already one too many.
const MOST_SOURCES: usize = 1000;

/// A source of orders. The time that its windows are on does not matter here: the orders are the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct OrderSource {
    /// Its name in `etl.toml`, else its location without credentials and window parameters.
    pub source: String,
    /// The profile that it is read by.
    pub profile: String,
}

impl From<&SourceIdentity> for OrderSource {
    fn from(identity: &SourceIdentity) -> OrderSource {
        OrderSource { source: identity.source.clone(), profile: identity.profile.clone() }
    }
}

/// All sources that have brought orders to a layer since its first commit.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderSources(BTreeSet<OrderSource>);

impl OrderSources {
    /// Adds a source.
    pub fn add(&mut self, source: OrderSource) {
        if self.0.len() < MOST_SOURCES {
            self.0.insert(source);
        }
    }

    /// The sources other than this one.
    pub fn others<'a>(&'a self, own: &'a OrderSource) -> impl Iterator<Item = &'a OrderSource> {
        self.0.iter().filter(move |source| *source != own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, cursor: &str) -> OrderSource {
        OrderSource::from(&SourceIdentity { source: name.into(), profile: "default".into(), cursor: cursor.into() })
    }

    #[test]
    fn the_cursor_makes_no_other_source_and_a_second_source_is_never_forgotten() {
        let mut sources = OrderSources::default();
        sources.add(source("own", "created_at"));
        sources.add(source("own", "updated_at"));
        let own = source("own", "created_at");
        assert_eq!(sources.others(&own).count(), 0);
        (0..2 * MOST_SOURCES).for_each(|number| sources.add(source(&format!("shop {number}"), "created_at")));
        assert!(sources.others(&own).count() > 0 && sources.0.len() == MOST_SOURCES);
        let json = serde_json::to_string(&sources).unwrap();
        assert_eq!(serde_json::from_str::<OrderSources>(&json).unwrap(), sources);
    }
}
