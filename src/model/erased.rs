//! The users who were erased, as a layer remembers them: keyed hashes of their ids, and no id.
//!
//! What is erased of them, and where, is not decided here.

use std::collections::BTreeSet;

use ring::hmac;
use serde::{Deserialize, Serialize};

/// Stands in place of a record of an erased user: a JSON text, so that no command takes it for an order.
pub const WITHHELD_RECORD: &[u8] = b"\"withheld: its user was erased\"";

/// The users of a layer who were erased.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ErasedUsers {
    /// The key of the hashes: random, and this layer's own.
    salt: String,
    /// The HMAC-SHA-256 of each id, in hex.
    users: BTreeSet<String>,
    /// Extra columns of the facts that are emptied for these users.
    columns: BTreeSet<String>,
}

impl ErasedUsers {
    /// Nobody yet, with a random key.
    pub fn with_salt(salt: &[u8]) -> ErasedUsers {
        ErasedUsers { salt: hex(salt), ..ErasedUsers::default() }
    }

    /// Whether nobody was erased.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether a key was chosen.
    pub fn has_salt(&self) -> bool {
        !self.salt.is_empty()
    }

    /// Whether the user of this id, as the layer has it, was erased.
    pub fn has(&self, user_id: &str) -> bool {
        !self.users.is_empty() && self.users.contains(&self.hash(user_id))
    }

    /// Remembers a user.
    pub fn add(&mut self, user_id: &str) {
        self.users.insert(self.hash(user_id));
    }

    /// The extra columns that are emptied.
    pub fn columns(&self) -> &BTreeSet<String> {
        &self.columns
    }

    /// Remembers an extra column that is emptied.
    pub fn add_column(&mut self, name: &str) {
        self.columns.insert(name.to_owned());
    }

    fn hash(&self, user_id: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.salt.as_bytes());
        hex(hmac::sign(&key, user_id.as_bytes()).as_ref())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

/// The words of a text that is no JSON: what stands between quotes, brackets, commas, colons and white space.
pub fn words_of(text: &str) -> impl Iterator<Item = &str> {
    let is_mark = |letter: char| "\"'`,:;={}[]()\\".contains(letter);
    let parts = text.split(move |letter: char| letter.is_whitespace() || is_mark(letter));
    parts.filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_again_and_their_ids_are_nowhere() {
        let mut erased = ErasedUsers::with_salt(&[7; 16]);
        assert!(erased.is_empty() && erased.has_salt() && !erased.has("ann@one.example"));
        erased.add("ann@one.example");
        erased.add_column("gift");
        let text = serde_json::to_string(&erased).unwrap();
        assert!(!text.contains("ann"), "{text}");
        let read: ErasedUsers = serde_json::from_str(&text).unwrap();
        assert_eq!(read, erased);
        assert!(read.has("ann@one.example") && !read.has("bob@two.example") && read.columns().contains("gift"));
        let mut other = ErasedUsers::with_salt(&[8; 16]);
        other.add("ann@one.example");
        assert_ne!(other.users, erased.users, "each layer has a key of its own");
    }

    #[test]
    fn the_words_of_a_broken_record_are_its_ids_and_addresses() {
        let words: Vec<_> = words_of(r#"{"user_id":7,"mail":"a@b.example","#).collect();
        assert_eq!(words, ["user_id", "7", "mail", "a@b.example"]);
    }
}
