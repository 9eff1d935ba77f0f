//! The users who were erased, as a layer remembers them: keyed hashes of their ids and e-mail addresses, and neither of both.
//!
//! What is erased of them, and where, is not decided here.

use std::collections::BTreeSet;

use ring::hmac;
use serde::{Deserialize, Serialize};

use super::{addresses_in, addresses_of_id};

/// Stands in place of a record of an erased user: a JSON text, so that no command takes it for an order.
pub const WITHHELD_RECORD: &[u8] = b"\"withheld: its user was erased\"";

/// Whether this is what stands in place of a record: the JSON text, or its content.
pub fn is_withheld(record: &[u8]) -> bool {
    let text = WITHHELD_RECORD.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
    record == WITHHELD_RECORD || Some(record) == text
}

/// How sure it is that an address is one of an erased user. The surest comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AddressOf {
    /// It stood in the user's row of `dim_user`, or the user was named by it.
    Member,
    /// It stood in orders of the user, and in those of nobody else. It may be somebody else's later.
    Orders,
}

/// The users of a layer who were erased.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ErasedUsers {
    /// The key of the hashes: random, and this layer's own.
    salt: String,
    /// The HMAC-SHA-256 of each id, in hex.
    users: BTreeSet<String>,
    /// The same of each of their e-mail addresses ([`AddressOf::Member`]), in lower case.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    addresses: BTreeSet<String>,
    /// The same of each address that only their orders had ([`AddressOf::Orders`]).
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    addresses_of_orders: BTreeSet<String>,
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

    /// Whether the user of this id, as the layer has it, was erased. An id that is an e-mail address is compared as an address.
    pub fn has(&self, user_id: &str) -> bool {
        if self.users.is_empty() {
            return false;
        }
        self.users.contains(&self.hash(user_id)) || (user_id.contains('@') && self.has_guest(user_id))
    }

    /// Whether an id with an `@` is of one of them.
    fn has_guest(&self, user_id: &str) -> bool {
        self.users.contains(&self.hash(&user_id.to_lowercase())) || self.address_in(user_id).is_some()
    }

    /// Remembers a user.
    pub fn add(&mut self, user_id: &str) {
        self.users.insert(self.hash(user_id));
        if !addresses_of_id(user_id).is_empty() {
            self.users.insert(self.hash(&user_id.to_lowercase()));
        }
    }

    /// Whether it remembers an address.
    pub fn has_addresses(&self) -> bool {
        !self.addresses.is_empty() || !self.addresses_of_orders.is_empty()
    }

    /// Whether an address, as [`addresses_in`] has it, is of one of them; `None` if not.
    pub fn address(&self, address: &str) -> Option<AddressOf> {
        let hash = self.has_addresses().then(|| self.hash(address))?;
        if self.addresses.contains(&hash) {
            return Some(AddressOf::Member);
        }
        self.addresses_of_orders.contains(&hash).then_some(AddressOf::Orders)
    }

    /// The surest address of theirs in a text; `None` if it names none.
    pub fn address_in(&self, text: &str) -> Option<AddressOf> {
        if !self.has_addresses() {
            return None;
        }
        addresses_in(text).iter().filter_map(|address| self.address(address)).min()
    }

    /// Remembers an address, as [`super::addresses_of`] has it.
    pub fn add_address(&mut self, address: &str, of: AddressOf) {
        let hash = self.hash(address);
        match of {
            AddressOf::Member => {
                self.addresses_of_orders.remove(&hash);
                self.addresses.insert(hash);
            }
            AddressOf::Orders if self.addresses.contains(&hash) => {}
            AddressOf::Orders => {
                self.addresses_of_orders.insert(hash);
            }
        }
    }

    /// Forgets an address that somebody else has, too.
    pub fn release_address(&mut self, address: &str) {
        let hash = self.hash(address);
        self.addresses.remove(&hash);
        self.addresses_of_orders.remove(&hash);
    }

    /// The extra columns that are emptied.
    pub fn columns(&self) -> &BTreeSet<String> {
        &self.columns
    }

    /// Remembers an extra column that is emptied.
    pub fn add_column(&mut self, name: &str) {
        self.columns.insert(name.to_owned());
    }

    fn hash(&self, text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.salt.as_bytes());
        hex(hmac::sign(&key, text.as_bytes()).as_ref())
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
    fn addresses_are_remembered_by_how_sure_they_are_until_somebody_else_has_them() {
        let mut erased = ErasedUsers::with_salt(&[7; 16]);
        erased.add("u-7");
        assert!(!erased.has_addresses() && !erased.has("ann@one.example"));
        erased.add_address("ann@one.example", AddressOf::Orders);
        assert_eq!(erased.address_in("for Ann <ANN@one.example>"), Some(AddressOf::Orders));
        erased.add_address("ann@one.example", AddressOf::Member);
        erased.add_address("ann@one.example", AddressOf::Orders);
        assert_eq!((erased.address("ann@one.example"), erased.address("bob@two.example")), (Some(AddressOf::Member), None));
        assert!(erased.has("Ann@one.example") && erased.has("de:ann@one.example"), "a guest is the user");
        assert!(!serde_json::to_string(&erased).unwrap().contains('@'));
        erased.release_address("ann@one.example");
        assert!(!erased.has_addresses() && !erased.has("ann@one.example") && erased.has("u-7"));
        erased.add("Guest@one.example");
        assert!(erased.has("GUEST@one.example") && erased.has("Guest@one.example"));
    }

    #[test]
    fn what_stands_in_place_of_a_record_is_recognized() {
        assert!(is_withheld(WITHHELD_RECORD) && is_withheld(b"withheld: its user was erased"));
        assert!(!is_withheld(b"{}") && !is_withheld(b""));
    }

    #[test]
    fn the_words_of_a_broken_record_are_its_ids_and_addresses() {
        let words: Vec<_> = words_of(r#"{"user_id":7,"mail":"a@b.example","#).collect();
        assert_eq!(words, ["user_id", "7", "mail", "a@b.example"]);
    }
}
