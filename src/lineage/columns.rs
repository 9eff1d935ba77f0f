//! Which fields of the sources each column of the layer is made of, as the mapping says it. Where a field may stand at several paths,
//! all of them are told: which one a record has, no setting knows.

use serde_json::{Map, Value, json};

use super::DatasetName;
use crate::{
    model::{DIM_PRODUCT, DIM_USER, DimensionSpec, FieldPath, Level, ORDER_AMOUNTS, WILDCARD},
    normalize::{Mapping, ReadPaths},
    settings::{ColumnValue, FieldRule, LINE_CURRENCY, Mask, RefundRules, Settings, Source},
};

/// What was done to a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Made {
    /// It is the value, in the form of the layer.
    Taken,
    /// The value is computed of it.
    Computed,
    /// The value is a sum of such fields.
    Summed,
    /// The value is masked.
    Masked,
}

impl Made {
    fn of(mask: Option<Mask>) -> Made {
        if mask.is_some() { Made::Masked } else { Made::Taken }
    }

    fn transformation(self) -> Value {
        let subtype = match self {
            Made::Taken => "IDENTITY",
            Made::Computed | Made::Masked => "TRANSFORMATION",
            Made::Summed => "AGGREGATION",
        };
        json!({ "type": "DIRECT", "subtype": subtype, "masking": self == Made::Masked })
    }
}

/// The columns of one table, each with its fields.
#[derive(Default)]
struct Columns(Map<String, Value>);

impl Columns {
    /// Adds fields of a dataset to a column. A column without fields, such as one with a fixed value, is left out.
    fn add(&mut self, column: &str, dataset: &DatasetName, made: Made, fields: impl IntoIterator<Item = String>) {
        let field = |field: String| {
            let transformations = [made.transformation()];
            json!({ "namespace": dataset.namespace, "name": dataset.name, "field": field, "transformations": transformations })
        };
        let fields: Vec<Value> = fields.into_iter().map(field).collect();
        if fields.is_empty() {
            return;
        }
        let entry = self.0.entry(column).or_insert_with(|| json!({ "inputFields": [] }));
        if let Some(known) = entry["inputFields"].as_array_mut() {
            known.extend(fields);
        }
    }
}

/// A source of members, and its dataset.
#[derive(Clone, Copy)]
pub(super) struct MemberSource<'a> {
    pub(super) dataset: &'a DatasetName,
    pub(super) source: &'a Source,
}

impl MemberSource<'_> {
    /// The fields that a column of the dimension is made of.
    fn fields(&self, spec: &DimensionSpec, column: &str) -> Vec<String> {
        if let Some(rule) = self.source.profile.fields.get(column) {
            return rule.paths.iter().map(FieldPath::to_string).collect();
        }
        match spec.columns.iter().find(|fixed| fixed.name == column) {
            Some(fixed) => fixed.from.iter().map(|name| (*name).to_owned()).collect(),
            None => vec![column.to_owned()],
        }
    }
}

/// The orders, and their dataset.
#[derive(Clone, Copy)]
pub(super) struct OrderSource<'a> {
    pub(super) dataset: &'a DatasetName,
    pub(super) mapping: Mapping<'a>,
}

impl OrderSource<'_> {
    /// The paths of a fixed field, from the root of a record.
    fn fixed(&self, level: Level, field: &str) -> Vec<String> {
        self.rooted(level, &self.mapping.paths_of(level, field))
    }

    fn rooted(&self, level: Level, paths: &[FieldPath]) -> Vec<String> {
        match level {
            Level::Record => texts(paths),
            Level::Line => {
                let read = ReadPaths::of(&self.mapping);
                paths.iter().flat_map(|path| texts(&read.in_lines(path))).collect()
            }
        }
    }
}

/// The sources of a run.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) settings: &'a Settings,
    pub(super) orders: Option<OrderSource<'a>>,
    pub(super) users: Option<MemberSource<'a>>,
    pub(super) products: Option<MemberSource<'a>>,
}

impl Sources<'_> {
    /// The facet of the facts; `None` where nothing is known.
    pub(super) fn fact_order(&self) -> Option<Value> {
        let mut columns = Columns::default();
        if let Some(orders) = &self.orders {
            self.add_order_columns(orders, &mut columns);
        }
        let enrich = &self.settings.enrich;
        if let Some(users) = &self.users {
            let made = Made::of(self.settings.masks.of(&enrich.user_country));
            columns.add("user_country", users.dataset, made, users.fields(&DIM_USER, &enrich.user_country));
        }
        if let Some(products) = &self.products {
            for (column, from) in [("product_name", &enrich.product_name), ("product_category", &enrich.product_category)] {
                columns.add(column, products.dataset, Made::Taken, products.fields(&DIM_PRODUCT, from));
            }
        }
        facet(columns)
    }

    fn add_order_columns(&self, orders: &OrderSource<'_>, columns: &mut Columns) {
        let (masks, dataset) = (&self.settings.masks, orders.dataset);
        for column in ["order_id", "status", "currency", "created_at", "updated_at"] {
            columns.add(column, dataset, Made::Taken, orders.fixed(Level::Record, column));
        }
        // An order that names none has that of its lines.
        columns.add("currency", dataset, Made::Taken, orders.fixed(Level::Line, LINE_CURRENCY));
        columns.add("user_id", dataset, Made::of(masks.of("user_id")), orders.fixed(Level::Record, "user_id"));
        for column in ["sku", "product_id", "quantity"] {
            columns.add(column, dataset, Made::Taken, orders.fixed(Level::Line, column));
        }
        columns.add("unit_price", dataset, Made::Taken, orders.fixed(Level::Line, "unit_price"));
        for field in ["line_total", "discount"] {
            columns.add("unit_price", dataset, Made::Computed, orders.fixed(Level::Line, field));
        }
        for field in ["unit_price", "quantity", "line_total", "discount"] {
            columns.add("line_total", dataset, Made::Computed, orders.fixed(Level::Line, field));
        }
        columns.add("price_defaulted", dataset, Made::Computed, orders.fixed(Level::Line, "unit_price"));
        for extra in &self.settings.fact_columns {
            let (made, paths) = match extra.value {
                ColumnValue::First => (Made::of(masks.of(&extra.name)), orders.rooted(extra.level, &extra.rule.paths)),
                ColumnValue::Sum => (Made::Summed, orders.rooted(extra.level, &extra.rule.paths)),
                ColumnValue::LocalDate(_) => (Made::Computed, orders.fixed(Level::Record, "created_at")),
            };
            columns.add(&extra.name, dataset, made, paths);
        }
    }

    /// The facet of the totals of orders.
    pub(super) fn order_totals(&self) -> Option<Value> {
        let orders = self.orders.as_ref()?;
        let totals = orders.mapping.profile?.totals.as_ref()?;
        let mut columns = Columns::default();
        for column in ["order_id", "currency", "status", "created_at", "updated_at"] {
            columns.add(column, orders.dataset, Made::Taken, orders.fixed(Level::Record, column));
        }
        columns.add("currency", orders.dataset, Made::Taken, orders.fixed(Level::Line, LINE_CURRENCY));
        for field in ["unit_price", "quantity", "line_total", "discount"] {
            columns.add("lines_total", orders.dataset, Made::Summed, orders.fixed(Level::Line, field));
        }
        for amount in ORDER_AMOUNTS {
            let column = if amount == "total" { amount.to_owned() } else { format!("{amount}_total") };
            let paths = totals.amounts.get(amount).map(|rule| texts(&rule.field.paths)).unwrap_or_default();
            columns.add(&column, orders.dataset, Made::Summed, paths);
        }
        facet(columns)
    }

    /// The facet of the refunds.
    pub(super) fn refunds(&self) -> Option<Value> {
        let orders = self.orders.as_ref()?;
        let RefundRules { list, refund_id, created_at, amount, currency, lines, .. } = orders.mapping.profile?.refunds.as_ref()?;
        let mut columns = Columns::default();
        let refund = list.child(WILDCARD);
        let mut add = |column: &str, made: Made, within: &FieldPath, rule: Option<&FieldRule>| {
            let paths = rule.into_iter().flat_map(|rule| &rule.paths).map(|path| below(within, path).to_string());
            columns.add(column, orders.dataset, made, paths);
        };
        for (column, rule) in [("refund_id", Some(refund_id)), ("created_at", Some(created_at)), ("amount", amount.as_ref())] {
            add(column, Made::Taken, &refund, rule);
        }
        add("currency", Made::Taken, &refund, currency.as_ref());
        if let Some(lines) = lines {
            let line = below(&refund, &lines.list).child(WILDCARD);
            add("sku", Made::Taken, &line, lines.sku.as_ref());
            add("quantity", Made::Taken, &line, lines.quantity.as_ref());
            add("amount", Made::Summed, &line, Some(&lines.amount));
        }
        columns.add("order_id", orders.dataset, Made::Taken, orders.fixed(Level::Record, "order_id"));
        facet(columns)
    }

    /// The facet of the users. Orders name users too: those that no list has are inferred.
    pub(super) fn users(&self) -> Option<Value> {
        self.members(&DIM_USER, self.users.as_ref(), Level::Record)
    }

    /// The facet of the products.
    pub(super) fn products(&self) -> Option<Value> {
        self.members(&DIM_PRODUCT, self.products.as_ref(), Level::Line)
    }

    fn members(&self, spec: &DimensionSpec, source: Option<&MemberSource<'_>>, level_of_key: Level) -> Option<Value> {
        // No other member has personal data.
        let mask = |column: &str| self.settings.masks.of(column).filter(|_| spec.name == DIM_USER.name);
        let mut columns = Columns::default();
        if let Some(members) = source {
            let fixed = spec.columns.iter().map(|column| column.name);
            let is_extra = |name: &&str| spec.columns.iter().all(|column| column.name != *name);
            let placed = members.source.profile.fields.keys().map(String::as_str).filter(is_extra);
            for column in fixed.chain(placed) {
                columns.add(&column.to_lowercase(), members.dataset, Made::of(mask(column)), members.fields(spec, column));
            }
        }
        if let Some(orders) = &self.orders {
            columns.add(spec.key(), orders.dataset, Made::of(mask(spec.key())), orders.fixed(level_of_key, spec.key()));
        }
        facet(columns)
    }
}

fn facet(columns: Columns) -> Option<Value> {
    (!columns.0.is_empty()).then(|| json!({ "fields": columns.0 }))
}

fn texts(paths: &[FieldPath]) -> Vec<String> {
    paths.iter().map(FieldPath::to_string).collect()
}

/// A path within another one.
fn below(outer: &FieldPath, inner: &FieldPath) -> FieldPath {
    inner.steps().iter().fold(outer.clone(), |path, step| path.child(step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Location, Masks, orders_profile};

    fn dataset(name: &str) -> DatasetName {
        DatasetName { namespace: "file".into(), name: name.into() }
    }

    /// `dataset field subtype masking` of each field of a column.
    fn fields(facet: &Value, column: &str) -> Vec<String> {
        let fields = facet["fields"][column]["inputFields"].as_array().unwrap();
        let text = |field: &Value| {
            let made = &field["transformations"][0];
            let masking = if made["masking"] == true { " masked" } else { "" };
            format!(
                "{} {} {}{masking}",
                field["name"].as_str().unwrap(),
                field["field"].as_str().unwrap(),
                made["subtype"].as_str().unwrap()
            )
        };
        fields.iter().map(text).collect()
    }

    #[test]
    fn columns_are_led_back_to_the_paths_of_the_profile() {
        let profile = orders_profile(
            "[orders]\nfields.order_id = 'no'\nfields.lines = 'rows'\nline_fields.unit_price = 'cost'\nline_fields.currency = 'cur'\ntotals = { total = 'sum' }\n[orders.refunds]\nlist = 'back'\nrefund_id = 'id'\ncreated_at = 'at'\nlines = { list = 'rows', amount = 'sum', sku = 'sku' }",
        )
        .unwrap();
        let mut settings = Settings::plain(std::path::PathBuf::from("output"));
        settings.masks = Masks::of_toml("[columns.email]\nmask = 'domain'\n", "");
        let users = Source::from("u.csv".parse::<Location>().unwrap());
        let (orders_set, users_set) = (dataset("o"), dataset("u"));
        let mapping = Mapping { profile: Some(&profile), ..Mapping::default() };
        let sources = Sources {
            settings: &settings,
            orders: Some(OrderSource { dataset: &orders_set, mapping }),
            users: Some(MemberSource { dataset: &users_set, source: &users }),
            products: None,
        };
        let facts = sources.fact_order().unwrap();
        assert_eq!(fields(&facts, "order_id"), ["o no IDENTITY"]);
        assert_eq!(fields(&facts, "unit_price"), ["o rows.*.cost IDENTITY"]);
        assert_eq!(fields(&facts, "currency"), ["o currency IDENTITY", "o rows.*.cur IDENTITY"]);
        assert_eq!(fields(&sources.order_totals().unwrap(), "currency"), ["o currency IDENTITY", "o rows.*.cur IDENTITY"]);
        assert!(fields(&facts, "line_total").contains(&"o rows.*.qty TRANSFORMATION".to_owned()));
        assert_eq!(fields(&facts, "user_country")[0], "u country IDENTITY");
        assert!(facts["fields"].get("product_name").is_none(), "there are no products");
        assert_eq!(fields(&sources.order_totals().unwrap(), "total"), ["o sum AGGREGATION"]);
        let refunds = sources.refunds().unwrap();
        assert_eq!(fields(&refunds, "refund_id"), ["o back.*.id IDENTITY"]);
        assert_eq!(fields(&refunds, "amount"), ["o back.*.rows.*.sum AGGREGATION"]);
        let users = sources.users().unwrap();
        assert_eq!(fields(&users, "email"), ["u email TRANSFORMATION masked"]);
        assert!(fields(&users, "user_id").contains(&"o customer.id IDENTITY".to_owned()));
        assert_eq!(fields(&sources.products().unwrap(), "sku")[0], "o rows.*.sku IDENTITY");
    }
}
