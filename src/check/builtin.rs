//! The built-in checks, in the contract's order.

use super::Severity;

/// Which of the layer a check looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Fact rows, partition by partition.
    Facts,
    /// Fact rows against what a run, or the last publish, says of them.
    Expectations,
    /// Fact rows against the users that a source knows.
    KnownUsers,
    /// Fact rows against the products that a source knows.
    KnownProducts,
    /// The dimensions.
    Dimensions,
}

/// A built-in check.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// Its name (contract, Checks).
    pub name: &'static str,
    /// What a violation means.
    pub severity: Severity,
    /// What it looks at.
    pub subject: Subject,
    /// A query whose rows are the violations.
    pub sql: &'static str,
}

/// A condition that is cheaper to try than the check of this name, and false only where that finds nothing: 64 bits of a hash
/// that are all different are of keys that are.
pub(super) fn screen(name: &str) -> Option<&'static str> {
    (name == "fact_key_unique").then_some("SELECT count(*) <> count(DISTINCT hash(order_id, sku)) FROM fact_order_changed")
}

macro_rules! builtin {
    ($($name:literal $severity:ident $subject:ident,)*) => {
        /// All built-in checks, in the contract's order.
        pub const BUILTIN: &[Builtin] = &[$(
            Builtin { name: $name, severity: Severity::$severity, subject: Subject::$subject, sql: include_str!(concat!("sql/", $name, ".sql")) },
        )*];
    };
}

builtin! {
    "fact_key_unique" Error Facts,
    "fact_required_not_null" Error Facts,
    "fact_dt_matches_created_at" Error Facts,
    "fact_line_total" Error Facts,
    "fact_revenue_reconciles" Error Expectations,
    "fact_row_count_reconciles" Error Expectations,
    "fact_user_in_dim" Error Facts,
    "fact_product_in_dim" Error Facts,
    "fact_user_known" Warn KnownUsers,
    "fact_product_known" Warn KnownProducts,
    "fact_quantity_positive" Warn Facts,
    "fact_price_non_negative" Warn Facts,
    "fact_timestamps_plausible" Warn Facts,
    "dim_user_key_unique" Error Dimensions,
    "dim_product_key_unique" Error Dimensions,
    "fact_text_fits" Warn Facts,
}
