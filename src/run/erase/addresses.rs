//! The e-mail addresses of a customer in an order: where such an address is that of the customer, and of nobody else.
//!
//! Of an order that names an erased user. Whether somebody else has the same address is not decided here.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::addresses_of;

/// The objects of an order that tell of its customer, in lower case, without `_` and `-`.
const OF_CUSTOMER: [&str; 12] = [
    "account",
    "billing",
    "billingaddress",
    "billingdetails",
    "buyer",
    "client",
    "contact",
    "customer",
    "customerdetails",
    "guest",
    "payer",
    "user",
];

/// The keys of an address of theirs, likewise.
const ADDRESS: [&str; 12] = [
    "accountemail",
    "billingemail",
    "buyeremail",
    "contactemail",
    "customeremail",
    "email",
    "emailaddress",
    "guestemail",
    "mail",
    "payeremail",
    "receiptemail",
    "useremail",
];

/// The addresses of the customer of an order: at the top and in objects that tell of the customer. Addresses of recipients and sellers do not count.
pub(super) fn addresses_of_customer(record: &[u8]) -> BTreeSet<String> {
    let mut addresses = BTreeSet::new();
    if let Ok(document) = serde_json::from_slice::<Value>(record) {
        collect(&document, &mut addresses);
    }
    addresses
}

fn collect(object: &Value, addresses: &mut BTreeSet<String>) {
    for (key, value) in object.as_object().into_iter().flatten() {
        let key: String = key.chars().filter(|letter| !"_-".contains(*letter)).flat_map(char::to_lowercase).collect();
        match value {
            Value::String(text) if ADDRESS.contains(&key.as_str()) => addresses.extend(addresses_of(text)),
            Value::Object(_) if OF_CUSTOMER.contains(&key.as_str()) => collect(value, addresses),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_customer_is_told_from_others() {
        let record = br#"{"user_id":"u-7","Email":"A@x.example","customer":{"contact":{"e_mail":"no","email-address":"b@x.example"}},
            "gift":{"email":"gift@x.example"},"shipping":{"email":"ship@x.example"},"merchant_email":"shop@x.example","note":"n@x.example"}"#;
        let addresses: Vec<_> = addresses_of_customer(record).into_iter().collect();
        assert_eq!(addresses, ["a@x.example", "b@x.example"]);
        assert!(addresses_of_customer(b"{\"email\":\"a@x.example\"").is_empty());
    }
}
