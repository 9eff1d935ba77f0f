//! The built-in checks, in the contract's order.

use super::{LayerView, Severity};

/// Which part of the layer a check looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Fact rows of the changed partitions.
    Facts,
    /// Fact rows of the changed partitions, and of those that share orders with them.
    Keys,
    /// Fact rows, compared with what a run, or the last publish, counted.
    Expectations,
    /// Fact rows of several shops, compared with each other.
    Shops,
    /// Fact rows, compared with the users that a source knows.
    KnownUsers,
    /// Fact rows, compared with the products that a source knows.
    KnownProducts,
    /// The dimensions.
    Dimensions,
    /// The totals of orders of the changed partitions.
    Totals,
    /// The totals of orders of the changed partitions, and of those that share orders with them.
    TotalKeys,
    /// The refunds of the days that orders of the run have some on.
    RefundKeys,
    /// All refunds, beside the orders of all facts.
    RefundOrders,
    /// The files of `curated/`.
    Files,
}

/// How a check finds its violations.
#[derive(Clone, Copy, Debug)]
pub enum Method {
    /// A query whose rows are the violations.
    Query {
        /// The query.
        sql: &'static str,
        /// A condition that is cheaper than the query, and false only where the query finds nothing.
        screen: Option<&'static str>,
    },
    /// The folders are listed.
    Listing,
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
    /// How it finds violations.
    pub method: Method,
}

impl Builtin {
    /// What a violation means in a layer: totals must add up only where the profile says that they do.
    pub(super) fn severity_in(&self, view: &LayerView) -> Severity {
        let of_profile = view.totals_severity.filter(|_| self.subject == Subject::Totals);
        of_profile.unwrap_or(self.severity)
    }

    /// Its query, if it has one.
    pub fn sql(&self) -> Option<&'static str> {
        match self.method {
            Method::Query { sql, .. } => Some(sql),
            Method::Listing => None,
        }
    }
}

/// 64 bits of a hash that are all different belong to keys that are all different.
const KEY_SCREEN: &str = "SELECT count(*) <> count(DISTINCT hash(order_id, sku)) FROM fact_order_changed";

macro_rules! query {
    ($name:literal, $severity:ident, $subject:ident) => {
        query!($name, $severity, $subject, None)
    };
    ($name:literal, $severity:ident, $subject:ident, $screen:expr) => {
        Builtin {
            name: $name,
            severity: Severity::$severity,
            subject: Subject::$subject,
            method: Method::Query { sql: include_str!(concat!("sql/", $name, ".sql")), screen: $screen },
        }
    };
}

/// All built-in checks, in the contract's order.
pub const BUILTIN: &[Builtin] = &[
    query!("fact_key_unique", Error, Keys, Some(KEY_SCREEN)),
    query!("fact_required_not_null", Error, Facts),
    query!("fact_dt_matches_created_at", Error, Facts),
    query!("fact_line_total", Error, Facts),
    query!("fact_revenue_reconciles", Error, Expectations),
    query!("fact_row_count_reconciles", Error, Expectations),
    query!("fact_order_of_one_shop", Error, Shops),
    query!("fact_user_in_dim", Error, Facts),
    query!("fact_product_in_dim", Error, Facts),
    query!("fact_user_known", Warn, KnownUsers),
    query!("fact_product_known", Warn, KnownProducts),
    query!("fact_quantity_positive", Warn, Facts),
    query!("fact_price_non_negative", Warn, Facts),
    query!("fact_timestamps_plausible", Warn, Facts),
    query!("dim_user_key_unique", Error, Dimensions),
    query!("dim_product_key_unique", Error, Dimensions),
    query!("fact_text_fits", Warn, Facts),
    query!("order_total_key_unique", Error, TotalKeys),
    query!("order_total_reconciles", Warn, Totals),
    query!("refund_key_unique", Error, RefundKeys),
    query!("refund_of_one_order", Warn, RefundKeys),
    query!("refund_order_exists", Warn, RefundOrders),
    Builtin { name: "partition_files", severity: Severity::Error, subject: Subject::Files, method: Method::Listing },
];
