//! The keys and raw values of a JSON object.

use std::{borrow::Cow, collections::HashMap};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The keys and raw values of an object, in its order. The last value of a repeated key counts.
pub struct Pairs<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

/// From this number of keys on, a map finds repeated keys.
const MANY_KEYS: usize = 24;

/// A key as text. Half of a surrogate pair becomes U+FFFD, because it is not a character.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key<'de>, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_bytes<E: serde::de::Error>(self, key: &'de [u8]) -> Result<Key<'de>, E> {
                Ok(Key(String::from_utf8_lossy(key)))
            }

            fn visit_bytes<E: serde::de::Error>(self, key: &[u8]) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(String::from_utf8_lossy(key).into_owned())))
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }

        deserializer.deserialize_bytes(KeyVisitor)
    }
}

impl<'a> Pairs<'a> {
    fn push(&mut self, places: &mut HashMap<Cow<'a, str>, usize>, key: Cow<'a, str>, value: &'a RawValue) {
        let pairs = &mut self.0;
        if pairs.len() == MANY_KEYS {
            places.extend(pairs.iter().enumerate().map(|(place, (key, _))| (key.clone(), place)));
        }
        let earlier = if pairs.len() < MANY_KEYS { pairs.iter().position(|(own, _)| *own == key) } else { places.get(&key).copied() };
        match earlier.and_then(|place| pairs.get_mut(place)) {
            Some((_, earlier)) => *earlier = value,
            None => {
                if pairs.len() >= MANY_KEYS {
                    places.insert(key.clone(), pairs.len());
                }
                pairs.push((key, value));
            }
        }
    }
}

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<'de>, D::Error> {
        struct PairsVisitor;

        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs<'de>, M::Error> {
                let (mut pairs, mut places) = (Pairs(Vec::new()), HashMap::new());
                while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    pairs.push(&mut places, key, value);
                }
                Ok(pairs)
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_repeated_key_counts_and_no_key_is_an_error() {
        let pairs = |text: &str| -> Vec<String> {
            let pairs: Pairs<'_> = serde_json::from_str(text).unwrap();
            pairs.0.iter().map(|(key, value)| format!("{key}={value}")).collect()
        };
        assert_eq!(pairs(r#"{"a":1,"b":2,"a":3,"\ud800":4,"a\u0062":5}"#), ["a=3", "b=2", "\u{fffd}\u{fffd}\u{fffd}=4", "ab=5"]);
        let many: Vec<String> = (0..60).map(|key| format!("\"k{}\":{key}", key % 40)).collect();
        let pairs = pairs(&format!("{{{}}}", many.join(",")));
        assert_eq!((pairs.len(), pairs[0].as_str(), pairs[39].as_str()), (40, "k0=40", "k39=39"));
    }
}
