//! Which users a record of an order may name: for records that are kept as they are, and of which no row may have been made.
//!
//! Reads the places of the mapping and, since a record may be of another source, those of the default profile.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    fields::{Field, PathTrie},
    mapping::Mapping,
    mask::{RecordsOf, ValueMask},
    prefix::IdPrefix,
    raw_json,
};
use crate::{
    model::{AddressOf, DIM_USER, ErasedUsers, FieldPath, Level, words_of},
    settings::{FieldRule, Shop},
};

/// Finds the users of records.
pub struct UserIds {
    paths: Vec<FieldPath>,
    /// What values of the source mean.
    field: Field,
    mask: Option<ValueMask>,
    prefix: IdPrefix,
}

impl UserIds {
    /// By the rules of a mapping.
    pub fn of(mapping: &Mapping<'_>) -> UserIds {
        let key = DIM_USER.key();
        let rule = mapping.profile.and_then(|profile| profile.fields.get(key)).cloned().unwrap_or_default();
        let mut paths = mapping.paths_of(Level::Record, key);
        for path in Mapping::default().paths_of(Level::Record, key) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        UserIds {
            paths,
            field: PathTrie::default().field(&FieldRule { paths: Vec::new(), ..rule }),
            // Of a quarantine, values may be masked already.
            mask: mapping.masks.and_then(|masks| ValueMask::of(masks, key, RecordsOf::Quarantine)),
            prefix: IdPrefix::new(mapping.shop.map(Shop::id_prefix)),
        }
    }

    /// The ids that a record names, in each form that the layer may have them in. Of a record that is no JSON object: every word of it.
    pub fn of_record(&self, record: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(record);
        self.of_text(&text).unwrap_or_else(|| words_of(&text).flat_map(|word| self.forms(word)).collect())
    }

    /// The same of a record that is a JSON object; none of another one.
    pub fn of_object(&self, record: &[u8]) -> Vec<String> {
        self.of_text(&String::from_utf8_lossy(record)).unwrap_or_default()
    }

    fn of_text(&self, text: &str) -> Option<Vec<String>> {
        Some(self.ids_of(object_of(text)?).flat_map(|id| self.forms(&id)).collect())
    }

    /// Whether a record is of one of these users: it has the id of one, or an e-mail address of one anywhere in its text.
    pub fn is_of(&self, record: &[u8], erased: &ErasedUsers) -> bool {
        self.of_record(record).iter().any(|user| erased.has(user)) || self.has_address_of(record, erased)
    }

    /// Whether a record has an address of one of these users, in any case, also within a text. An address that only orders of theirs had
    /// counts in a record that names no other user.
    pub fn has_address_of(&self, record: &[u8], erased: &ErasedUsers) -> bool {
        let text = String::from_utf8_lossy(record);
        match erased.address_in(&text) {
            None => false,
            Some(AddressOf::Member) => true,
            Some(AddressOf::Orders) => !self.names_a_user(record),
        }
    }

    /// Whether a record is a JSON object that has the id of a user.
    fn names_a_user(&self, record: &[u8]) -> bool {
        object_of(&String::from_utf8_lossy(record)).is_some_and(|object| self.ids_of(object).next().is_some())
    }

    fn ids_of<'a>(&'a self, object: &'a RawValue) -> impl Iterator<Item = Cow<'a, str>> {
        let values = self.paths.iter().filter_map(move |path| raw_json::at(object.get(), path));
        values.filter_map(move |raw| self.field.held(raw)?.into_id())
    }

    /// The id of a user as the layer has it, where `user_id` is masked; `None` where it stands as it is.
    pub fn masked(&self, user_id: &str) -> Option<String> {
        let masked = self.mask.as_ref()?.masked(self.prefix.without(user_id))?;
        Some(self.prefix.before(Cow::Owned(masked)).into_owned())
    }

    fn forms(&self, id: &str) -> Vec<String> {
        let plain = self.prefix.before(Cow::Borrowed(id)).into_owned();
        let masked = self.mask.as_ref().and_then(|mask| mask.masked(id)).map(|masked| self.prefix.before(Cow::Owned(masked)).into_owned());
        [Some(plain), masked].into_iter().flatten().collect()
    }
}

/// The JSON object that a record is; `None` if it is none.
fn object_of(text: &str) -> Option<&RawValue> {
    text.trim_ascii_start().starts_with('{').then(|| serde_json::from_str::<&RawValue>(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Masks, Skus};

    #[test]
    fn ids_are_found_where_the_mapping_reads_them_and_in_broken_records() {
        let ids = UserIds::of(&Mapping::default());
        assert_eq!(ids.of_record(br#" {"user_id":7.0,"quantity":8,"customer":{"id":"c"}}"#), ["7", "c"]);
        assert!(ids.of_record(br#"{"user_id":null,"items":[]}"#).is_empty());
        assert!(ids.of_record(br#"{"user_id":"u-7","items"#).contains(&"u-7".to_owned()));
        assert_eq!(ids.masked("7"), None);
    }

    #[test]
    fn an_address_makes_a_record_theirs_unless_it_may_be_somebody_elses() {
        let ids = UserIds::of(&Mapping::default());
        let mut erased = ErasedUsers::with_salt(&[1; 16]);
        erased.add("u-7");
        erased.add_address("ann@one.example", AddressOf::Member);
        erased.add_address("old@one.example", AddressOf::Orders);
        for record in [
            r#"{"user_id":"u-7"}"#,
            r#"{"user_id":"Ann@One.example"}"#,
            r#"{"user_id":"u-8","note":"for Ann <ANN@one.example>"}"#,
            r#"{"email":"Old@one.example"}"#,
            r#"{"email":"old@one.example","#,
        ] {
            assert!(ids.is_of(record.as_bytes(), &erased), "{record}");
        }
        for record in [r#"{"user_id":"u-8","note":"of old@one.example"}"#, r#"{"email":"joann@one.example"}"#] {
            assert!(!ids.is_of(record.as_bytes(), &erased), "{record}");
        }
    }

    #[test]
    fn ids_have_the_form_of_the_layer() {
        let masks = Masks::of_toml("[columns]\nuser_id.mask = 'hmac'", "unit-test-key-of-masks-0123456789abcdef");
        let shop = Shop { name: "de".into(), skus: Skus::OfCompany };
        let ids = UserIds::of(&Mapping { masks: Some(&masks), shop: Some(&shop), ..Mapping::default() });
        let masked = ids.masked("de:7").unwrap();
        assert!(masked.starts_with("de:") && masked.len() == "de:".len() + 64);
        let of_quarantine = format!(r#"{{"user_id":"hmac:{}"}}"#, masked.trim_start_matches("de:"));
        assert!(ids.of_record(of_quarantine.as_bytes()).contains(&masked));
        assert_eq!(ids.of_record(br#"{"user_id":7}"#), ["de:7".to_owned(), masked]);
    }
}
