//! The types of JSON values, and sets of them.

use serde::{Deserialize, Serialize};
use strum::{EnumIter, IntoEnumIterator, IntoStaticStr};

/// The type of a JSON value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, EnumIter, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "each is named as the summary names it")]
pub enum JsonType {
    Null,
    Boolean,
    Number,
    Text,
    Object,
    List,
}

impl JsonType {
    /// The type of a value that begins with this byte.
    pub fn of_first_byte(byte: u8) -> JsonType {
        match byte {
            b'{' => JsonType::Object,
            b'[' => JsonType::List,
            b'"' => JsonType::Text,
            b't' | b'f' => JsonType::Boolean,
            b'n' => JsonType::Null,
            _ => JsonType::Number,
        }
    }

    /// The name in the summary.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The letter in the state.
    fn letter(self) -> char {
        match self {
            JsonType::Null => '0',
            JsonType::Boolean => 'b',
            JsonType::Number => 'n',
            JsonType::Text => 't',
            JsonType::Object => 'o',
            JsonType::List => 'l',
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Some types. In the state, a letter for each: one that this version does not know counts for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct JsonTypes(u8);

impl JsonTypes {
    /// Adds a type.
    pub fn insert(&mut self, kind: JsonType) {
        self.0 |= kind.bit();
    }

    /// Whether a type is among them.
    pub fn has(self, kind: JsonType) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether any of them has one value: a boolean, a number or a text.
    pub fn has_scalar(self) -> bool {
        [JsonType::Boolean, JsonType::Number, JsonType::Text].into_iter().any(|kind| self.has(kind))
    }

    /// Whether any of them holds other values.
    pub fn has_container(self) -> bool {
        self.has(JsonType::Object) || self.has(JsonType::List)
    }

    /// All of both.
    #[must_use]
    pub fn with(self, other: JsonTypes) -> JsonTypes {
        JsonTypes(self.0 | other.0)
    }

    /// Those that are not among `other`.
    #[must_use]
    pub fn without(self, other: JsonTypes) -> JsonTypes {
        JsonTypes(self.0 & !other.0)
    }

    /// Those of values: null is none.
    #[must_use]
    pub fn of_values(self) -> JsonTypes {
        JsonTypes(self.0 & !JsonType::Null.bit())
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = JsonType> {
        JsonType::iter().filter(move |kind| self.has(*kind))
    }
}

impl From<String> for JsonTypes {
    fn from(letters: String) -> JsonTypes {
        JsonType::iter().filter(|kind| letters.contains(kind.letter())).collect()
    }
}

impl From<JsonTypes> for String {
    fn from(types: JsonTypes) -> String {
        types.iter().map(JsonType::letter).collect()
    }
}

impl FromIterator<JsonType> for JsonTypes {
    fn from_iter<I: IntoIterator<Item = JsonType>>(kinds: I) -> JsonTypes {
        let mut types = JsonTypes::default();
        kinds.into_iter().for_each(|kind| types.insert(kind));
        types
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_kept_as_letters_and_unknown_ones_count_for_nothing() {
        let types: JsonTypes = [JsonType::Text, JsonType::Null].into_iter().collect();
        assert_eq!(serde_json::to_string(&types).unwrap(), "\"0t\"");
        assert_eq!(serde_json::from_str::<JsonTypes>("\"t0?\"").unwrap(), types);
        assert_eq!(types.of_values().iter().map(JsonType::as_str).collect::<Vec<_>>(), ["text"]);
    }

    #[test]
    fn the_first_byte_tells_the_type() {
        let of = |text: &str| JsonType::of_first_byte(text.as_bytes()[0]).as_str();
        assert_eq!(
            ["{}", "[]", "\"\"", "true", "false", "null", "-1", "1e9"].map(of),
            ["object", "list", "text", "boolean", "boolean", "null", "number", "number"]
        );
    }
}
