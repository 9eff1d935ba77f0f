//! The three kinds of sources: their names in settings, and the fields that a profile may place. Not how a profile is read.

use super::{Setting, setting};
use crate::model::{ColumnType, DIM_PRODUCT, DIM_USER, DimensionSpec};

/// Orders, users or products.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceKind {
    /// Orders: facts.
    Orders,
    /// Users: a dimension.
    Users,
    /// Products: a dimension.
    Products,
}

/// What a field holds, which decides the keys that its table may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FieldKind {
    /// A text, a number or a list: no further keys.
    Plain,
    /// A time: `format`.
    Time,
    /// An amount of money: `scale`.
    Amount,
    /// An extra column of a dimension, which may hold anything.
    Any,
}

impl FieldKind {
    /// Whether a field of this kind may be one of another.
    pub(super) fn may_be(self, kind: FieldKind) -> bool {
        self == kind || self == FieldKind::Any
    }
}

/// A field that a profile may place.
#[derive(Clone, Copy)]
pub(super) struct KnownField {
    pub(super) name: &'static str,
    pub(super) kind: FieldKind,
}

const fn field(name: &'static str, kind: FieldKind) -> KnownField {
    KnownField { name, kind }
}

const RECORD_FIELDS: [KnownField; 7] = [
    field("order_id", FieldKind::Plain),
    field("created_at", FieldKind::Time),
    field("updated_at", FieldKind::Time),
    field("user_id", FieldKind::Plain),
    field("status", FieldKind::Plain),
    field("currency", FieldKind::Plain),
    field("lines", FieldKind::Plain),
];

const LINE_FIELDS: [KnownField; 11] = [
    field("sku", FieldKind::Plain),
    field("product_id", FieldKind::Plain),
    field("quantity", FieldKind::Plain),
    field("unit_price", FieldKind::Amount),
    field("line_total", FieldKind::Amount),
    field("discount", FieldKind::Amount),
    field(LINE_CURRENCY, FieldKind::Plain),
    field(MONEY_COLUMNS[0], FieldKind::Amount),
    field(MONEY_COLUMNS[1], FieldKind::Amount),
    field(MONEY_COLUMNS[2], FieldKind::Amount),
    field(MONEY_COLUMNS[3], FieldKind::Amount),
];

/// The currency of a line, where it may be another one than that of its order. No column: a line of another currency is dropped.
pub const LINE_CURRENCY: &str = "currency";

/// The fields of a line that are columns of `fact_order` with `fact.money = "lines"`, in their order.
pub(super) const MONEY_COLUMNS: [&str; 4] = ["discount_total", "tax_total", "refunded_quantity", "refunded_total"];

/// Whether a field is a sum of amounts: its path may lead into every element of a list.
pub(super) fn is_sum(field: &str) -> bool {
    field == "discount" || MONEY_COLUMNS.contains(&field)
}

/// Keys of every source's table.
const COMMON_KEYS: [&str; 19] = [
    "name",
    "profile",
    "location",
    "path",
    "records",
    "page_size",
    "concurrency",
    "requests_per_second",
    "fields",
    "pagination",
    "auth",
    "query",
    "headers",
    "count",
    "zone",
    "body",
    "next_body",
    "graphql",
    "variables",
];

/// Keys that only orders have: users and products have no lines and no window, and none of them is skipped.
const ORDERS_KEYS: [&str; 14] = [
    "line_fields",
    "totals",
    "refunds",
    "filter",
    "skip",
    "skip_lines",
    "repeated_sku",
    "merge",
    "cursor",
    "lookback",
    "line_request",
    "children",
    "bulk",
    "quantity",
];

/// Keys that only users and products have.
const MEMBERS_KEYS: [&str; 1] = ["more_request"];

impl SourceKind {
    /// All kinds.
    pub const ALL: [SourceKind; 3] = [SourceKind::Orders, SourceKind::Users, SourceKind::Products];

    /// The name of its table in `etl.toml`.
    pub fn table(self) -> &'static str {
        self.setting().key
    }

    /// The setting of its location.
    pub(super) fn setting(self) -> &'static Setting {
        match self {
            SourceKind::Orders => &setting::ORDERS,
            SourceKind::Users => &setting::USERS,
            SourceKind::Products => &setting::PRODUCTS,
        }
    }

    /// The keys of its table.
    pub(super) fn keys(self) -> Vec<&'static str> {
        let own: &[&str] = if self == SourceKind::Orders { &ORDERS_KEYS } else { &MEMBERS_KEYS };
        COMMON_KEYS.iter().chain(own).copied().collect()
    }

    /// Whether a key belongs to orders and not to this kind.
    pub(super) fn lacks(self, key: &str) -> bool {
        self != SourceKind::Orders && ORDERS_KEYS.contains(&key)
    }

    fn dimension(self) -> Option<&'static DimensionSpec> {
        match self {
            SourceKind::Orders => None,
            SourceKind::Users => Some(&DIM_USER),
            SourceKind::Products => Some(&DIM_PRODUCT),
        }
    }

    /// The kind of a record's field; `None` where the source can't have such a field. A dimension may have any column.
    pub(super) fn field(self, name: &str) -> Option<FieldKind> {
        let Some(dimension) = self.dimension() else { return known(&RECORD_FIELDS, name) };
        let column = dimension.columns.iter().find(|column| column.name == name);
        Some(column.map_or(FieldKind::Any, |column| match column.kind {
            ColumnType::Id | ColumnType::Text => FieldKind::Plain,
            ColumnType::Money => FieldKind::Amount,
            ColumnType::Timestamp => FieldKind::Time,
        }))
    }

    /// The kind of a line's field.
    pub(super) fn line_field(self, name: &str) -> Option<FieldKind> {
        known(&LINE_FIELDS, name)
    }

    /// The names of fields of this kind.
    pub(super) fn names_of(self, kind: FieldKind) -> Vec<&'static str> {
        let own = RECORD_FIELDS.iter().chain(&LINE_FIELDS).filter(|field| field.kind == kind).map(|field| field.name);
        match self.dimension() {
            None => own.collect(),
            Some(dimension) => dimension.columns.iter().map(|column| column.name).filter(|name| self.field(name) == Some(kind)).collect(),
        }
    }

    /// The names of the fields of a record or line of an order.
    pub(super) fn known_fields(table: &str) -> Vec<&'static str> {
        let fields: &[KnownField] = if table == "line_fields" { &LINE_FIELDS } else { &RECORD_FIELDS };
        fields.iter().map(|field| field.name).collect()
    }
}

fn known(fields: &[KnownField], name: &str) -> Option<FieldKind> {
    fields.iter().find(|field| field.name == name).map(|field| field.kind)
}
