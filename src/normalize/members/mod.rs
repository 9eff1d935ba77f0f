//! Users and products: converts the bytes of a record to a row of a dimension. The rules are those of facts: paths are tried
//! for each record, and ids, times and amounts are parsed alike (contract, Orders and Output).
//!
//! Nested objects become columns `outer_inner`; an array stays JSON. Names of columns are lower case. Does not use the network
//! or the disk, and does not decide which version of a member wins.

mod member_masks;
mod member_rows;
mod source_columns;

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
};

pub use member_rows::{MemberCounts, Members, NO_COLUMN};

use self::source_columns::{ExtraPlace, SourceColumn, SourceColumns, SourceRow};
use super::{
    amount::amount,
    fields::{Field, PathTrie},
    limits,
    mask::DocumentMasks,
    prefix::IdPrefix,
    scalar::Scalar,
    walk::{Captured, Maps},
};
use crate::{
    model::{
        CellTypes, ColumnType, DIM_USER, DimensionSpec, FixedColumn, LONGEST_COLUMN_NAME, LONGEST_TEXT, Pairs, RawRecord, fitting_text,
    },
    settings::{FieldRule, Limits, Masks, Profile, Shop, TimeText, Units},
};

/// The maximum number of columns of a dimension, a little less than Redshift's 1,600.
pub const MOST_COLUMNS: usize = 1500;

/// Names that a warning lists.
const LISTED: usize = 5;

/// Converts the records of one source to rows, page by page. Each file has a normalizer of its own.
pub struct MemberNormalizer {
    spec: DimensionSpec,
    limits: Limits,
    /// What stands before its ids.
    prefix: IdPrefix,
    maps: Maps,
    /// The rule of each fixed column, in the order of the dimension.
    fixed: Vec<FixedRule>,
    /// Extra columns that the profile defines.
    placed: Vec<PlacedColumn>,
    source: SourceColumns,
    /// How many columns the source had when the fixed ones were found among them.
    columns_known: usize,
    /// Whether all pages so far have untyped cells, as in a CSV file.
    has_only_texts: bool,
    /// The columns that are masked.
    masks: Masks,
    /// What is masked within values that are JSON documents.
    cell_masks: Option<DocumentMasks>,
    members: Members,
}

/// How to find the value of a fixed column.
enum FixedRule {
    /// By the paths of the profile.
    Placed {
        placed: PlacedField,
        /// Whether any record so far has the field, or the field has a default.
        is_served: bool,
    },
    /// By name: the dimension lists the names that the source may use.
    Own {
        field: Field,
        /// The columns of the source that may hold it, best first.
        columns: Vec<usize>,
    },
}

/// An extra column that the profile defines.
struct PlacedColumn {
    name: String,
    is_amount: bool,
    field: PlacedField,
}

/// A field with paths from the profile.
struct PlacedField {
    field: Field,
    /// Each path: its leaf, and the names of the same column in a flat source.
    paths: Vec<PlacedPath>,
}

struct PlacedPath {
    leaf: usize,
    /// The path joined with dots, and joined with underscores.
    names: [String; 2],
}

impl MemberNormalizer {
    /// A normalizer for the records of a source with this profile.
    pub fn new(spec: DimensionSpec, profile: &Profile, limits: Limits) -> MemberNormalizer {
        let mut trie = PathTrie { zone: profile.zone, ..PathTrie::default() };
        let fixed = spec.columns.iter().map(|column| match profile.fields.get(column.name) {
            Some(rule) => FixedRule::Placed { is_served: rule.default.is_some(), placed: PlacedField::new(rule, &mut trie) },
            None => FixedRule::Own { field: trie.field(&FieldRule::default()), columns: Vec::new() },
        });
        let fixed = fixed.collect();
        let is_extra = |name: &str| spec.columns.iter().all(|column| column.name != name);
        let placed = profile.fields.iter().filter(|(name, _)| is_extra(name)).map(|(name, rule)| PlacedColumn {
            name: name.to_lowercase(),
            is_amount: rule.units != Units::Major,
            field: PlacedField::new(rule, &mut trie),
        });
        let placed = placed.collect();
        let maps = Maps { record: trie, ..Maps::default() };
        MemberNormalizer {
            spec,
            limits,
            prefix: IdPrefix::default(),
            maps,
            fixed,
            placed,
            source: SourceColumns::default(),
            columns_known: 0,
            has_only_texts: true,
            masks: Masks::default(),
            cell_masks: None,
            members: Members::default(),
        }
    }

    /// The same, which masks columns of the users. No other member has personal data.
    #[must_use]
    pub fn masked(self, masks: &Masks) -> MemberNormalizer {
        if self.spec.name != DIM_USER.name {
            return self;
        }
        MemberNormalizer { masks: masks.clone(), cell_masks: DocumentMasks::of_cells(masks), ..self }
    }

    /// The same, for the members of a shop: their ids are those that its facts name.
    #[must_use]
    pub fn of_shop(self, shop: Option<&Shop>) -> MemberNormalizer {
        let prefix = if self.spec.name == DIM_USER.name { shop.map(Shop::id_prefix) } else { shop.and_then(Shop::sku_prefix) };
        MemberNormalizer { prefix: IdPrefix::new(prefix), ..self }
    }

    /// Adds the records of a page.
    pub fn records<'a>(&mut self, records: impl Iterator<Item = RawRecord<'a>>, cells: CellTypes) {
        let maps = std::mem::take(&mut self.maps);
        let mut captured = Captured::new(&maps);
        let mut row = SourceRow::default();
        for record in records {
            self.has_only_texts &= cells == CellTypes::Text;
            self.members.counts.records_read += 1;
            if !self.record(record, &maps, &mut captured, &mut row) {
                self.members.counts.records_malformed += 1;
            }
        }
        self.maps = maps;
    }

    /// Adds one record; `false` if it is malformed.
    fn record<'a>(&mut self, record: RawRecord<'a>, maps: &Maps, captured: &mut Captured<'a>, row: &mut SourceRow<'a>) -> bool {
        if let Some(reason) = limits::exceeded(record, &self.limits) {
            tracing::warn!(source = self.spec.source, reason = reason.as_str(), "a record is dropped (limits.record_bytes, limits.depth)");
            return false;
        }
        let Ok(text) = str::from_utf8(record.bytes) else { return false };
        let Ok(pairs) = serde_json::from_str::<Pairs<'a>>(text) else { return false };
        if maps.record.leaves > 0 && !captured.walk(maps, record.bytes) {
            return false;
        }
        row.clear();
        self.source.flatten("", pairs, 0, row);
        self.row(row, &captured.cells);
        true
    }

    /// Finds the fixed columns among those of the source, where there are new ones.
    fn find_columns(&mut self) {
        if self.columns_known == self.source.columns.len() {
            return;
        }
        self.columns_known = self.source.columns.len();
        for (fixed, spec) in self.fixed.iter_mut().zip(self.spec.columns) {
            if let FixedRule::Own { columns, .. } = fixed {
                *columns = self.source.places(spec.from).collect();
            }
        }
    }

    fn row(&mut self, row: &mut SourceRow<'_>, cells: &[Option<&str>]) {
        self.find_columns();
        let key = self.fixed_value(0, row, cells).filter(|key| key.len() <= LONGEST_TEXT);
        let Some(key) = key else {
            self.members.counts.records_without_key += 1;
            return;
        };
        let column = self.members.table.column_or_add(self.spec.key());
        self.members.table.set(column, &key);
        for place in 1..self.fixed.len() {
            let name = self.spec.columns[place].name;
            let is_served = self.is_served(place, row, cells);
            let value = self.fixed_value(place, row, cells);
            if is_served {
                let column = self.members.table.column_or_add(name);
                self.set(column, value.as_deref());
            }
        }
        for place in 0..self.placed.len() {
            let value = self.placed_value(place, row, cells);
            let column = self.members.table.column_or_add(&self.placed[place].name);
            self.set(column, value.as_deref());
        }
        self.set_extra(row);
        self.members.table.end_row();
    }

    /// Whether the source has, in any record so far, a value for a fixed column.
    fn is_served(&mut self, place: usize, row: &SourceRow<'_>, cells: &[Option<&str>]) -> bool {
        match &mut self.fixed[place] {
            FixedRule::Placed { placed, is_served } => {
                *is_served = *is_served || placed.raw_values(row, cells, &self.source).next().is_some();
                *is_served
            }
            FixedRule::Own { columns, .. } => !columns.is_empty(),
        }
    }

    /// The canonical text of a fixed column. Counts a value that is present but invalid.
    fn fixed_value(&mut self, place: usize, row: &mut SourceRow<'_>, cells: &[Option<&str>]) -> Option<String> {
        let FixedColumn { kind, .. } = self.spec.columns[place];
        let (value, taken) = match &self.fixed[place] {
            FixedRule::Placed { placed, .. } => (placed.value(row, cells, &self.source), None),
            FixedRule::Own { columns, .. } => row.first(columns.iter().copied()),
        };
        if value == Scalar::Missing {
            return None;
        }
        let canonical = match kind {
            ColumnType::Id => value.into_id().map(|id| self.prefix.before(id).into_owned()),
            ColumnType::Text => value.into_text().map(Cow::into_owned),
            ColumnType::Money => self.amount(self.field(place), &value, row, cells),
            ColumnType::Timestamp => self.field(place).instant(&value).map(|instant| instant.to_canonical()),
        };
        // Place 0 is the key: an invalid key counts as a missing key instead.
        self.members.counts.values_unreadable += u64::from(canonical.is_none() && place > 0);
        if let Some(column) = taken {
            row.taken[column] = true;
        }
        canonical
    }

    fn field(&self, place: usize) -> &Field {
        match &self.fixed[place] {
            FixedRule::Placed { placed, .. } => &placed.field,
            FixedRule::Own { field, .. } => field,
        }
    }

    fn amount(&self, field: &Field, value: &Scalar<'_>, row: &SourceRow<'_>, cells: &[Option<&str>]) -> Option<String> {
        let currency = match self.placed.iter().find(|column| column.name == "currency") {
            Some(column) => column.field.value(row, cells, &self.source),
            None => row.first(self.source.places(&["currency"])).0,
        };
        let currency = currency.into_text();
        amount(field, value, cells, currency.as_deref()).ok()?.map(|amount| amount.money.to_string())
    }

    /// The text of an extra column that the profile defines.
    fn placed_value(&mut self, place: usize, row: &SourceRow<'_>, cells: &[Option<&str>]) -> Option<String> {
        let column = &self.placed[place];
        let value = column.field.value(row, cells, &self.source);
        if value == Scalar::Missing {
            return None;
        }
        let field = &column.field.field;
        let text = if column.is_amount {
            self.amount(field, &value, row, cells)
        } else if field.time == TimeText::Rfc2822 {
            field.instant(&value).map(|instant| instant.rfc3339())
        } else {
            value.into_text().map(Cow::into_owned)
        };
        self.members.counts.values_unreadable += u64::from(text.is_none());
        text
    }

    /// Sets the extra columns: the values that no fixed column uses.
    fn set_extra(&mut self, row: &SourceRow<'_>) {
        for &column in &row.present {
            if row.taken[column] {
                continue;
            }
            let raw = row.values[column].as_deref();
            let value = raw.map_or(Scalar::Missing, Scalar::of);
            let text = match &value {
                Scalar::Missing => None,
                Scalar::Other => raw.filter(|raw| raw.starts_with(['{', '['])).and_then(|raw| self.document(column, raw)),
                _ => value.clone().into_text(),
            };
            match self.extra_place(column, &value) {
                ExtraPlace::Column(place) if text.is_some() && self.members.table.is_set(place) => {
                    self.source.ambiguous.insert(self.source.columns[column].name.clone());
                }
                ExtraPlace::Column(place) => self.set(place, text.as_deref()),
                ExtraPlace::LeftOut => self.members.counts.values_unreadable += u64::from(value != Scalar::Missing),
                ExtraPlace::Undecided | ExtraPlace::Replaced => continue,
            }
            let is_lost = text.is_none() && value != Scalar::Missing;
            // It decides which version of a member wins, and is kept as it is written.
            let is_no_time =
                self.source.columns[column].name == "updated_at" && text.is_some() && value.instant(TimeText::Contract, None).is_none();
            self.members.counts.values_unreadable += u64::from(is_lost || is_no_time);
        }
    }

    /// A value that is a JSON document, with what is masked in it.
    fn document<'r>(&self, column: usize, json: &'r str) -> Option<Cow<'r, str>> {
        match &self.cell_masks {
            None => Some(Cow::Borrowed(json)),
            Some(masks) => masks.cell(&self.source.columns[column].name, json).map(Cow::Owned),
        }
    }

    /// Where the values of a source column go. The first value that no fixed column uses decides it.
    fn extra_place(&mut self, column: usize, value: &Scalar<'_>) -> ExtraPlace {
        let place = self.source.columns[column].place;
        if place != ExtraPlace::Undecided || *value == Scalar::Missing {
            return place;
        }
        self.decide(column)
    }

    fn decide(&mut self, column: usize) -> ExtraPlace {
        let SourceColumn { name, .. } = &self.source.columns[column];
        let fixed = self.spec.columns.iter().position(|fixed| fixed.name == name);
        let is_placed = fixed.is_some_and(|fixed| matches!(self.fixed[fixed], FixedRule::Placed { .. }));
        let is_filled_by_profile = is_placed || self.placed.iter().any(|own| own.name == *name);
        // The name of a fixed column that the record fills by itself, such as `product_id` of an object `product`.
        let is_own_name = fixed.is_some() || DimensionSpec::FLAGS.contains(&name.as_str()) || name.is_empty();
        let columns = self.members.table.names().iter().filter(|own| self.spec.columns.iter().all(|fixed| fixed.name != **own)).count();
        let is_beyond = columns + self.spec.columns.len() + DimensionSpec::FLAGS.len() >= MOST_COLUMNS;
        let place = if is_filled_by_profile {
            ExtraPlace::Replaced
        } else if is_own_name || name.len() > LONGEST_COLUMN_NAME || is_beyond {
            ExtraPlace::LeftOut
        } else {
            ExtraPlace::Column(self.members.table.column_or_add(name))
        };
        if place == ExtraPlace::LeftOut {
            self.source.left_out.insert(name.clone());
        }
        self.source.columns[column].place = place;
        place
    }

    fn set(&mut self, column: usize, text: Option<&str>) {
        let Some(text) = text else { return };
        let fitting = fitting_text(text);
        self.members.counts.texts_cut += u64::from(fitting.is_some());
        self.members.table.set(column, fitting.unwrap_or(text));
    }

    /// Adds the columns that have no value in any record. Excludes objects that are null and the sources of fixed columns.
    fn add_empty_columns(&mut self) {
        let names: Vec<String> = self.source.columns.iter().map(|column| column.name.clone()).collect();
        let serves_fixed =
            |name: &String| self.spec.columns.iter().any(|fixed| fixed.from.iter().any(|from| from.eq_ignore_ascii_case(name)));
        let is_object =
            |name: &String| names.iter().any(|other| other.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('_')));
        let is_empty = |column: &usize| self.source.columns[*column].place == ExtraPlace::Undecided;
        let empty: Vec<usize> =
            (0..names.len()).filter(is_empty).filter(|&column| !serves_fixed(&names[column]) && !is_object(&names[column])).collect();
        for column in empty {
            self.decide(column);
        }
    }

    /// All rows. Logs a warning about columns that were merged or left out.
    pub fn finish(mut self) -> Members {
        self.add_empty_columns();
        if self.has_only_texts {
            self.convert_float_ids();
        }
        self.mask_columns();
        self.tell_unmasked_keys();
        let listed = |names: &BTreeSet<String>| {
            names.iter().take(LISTED).map(|name| name.chars().take(40).collect()).collect::<Vec<String>>().join(", ")
        };
        let source = self.spec.source;
        if !self.source.ambiguous.is_empty() {
            let names = listed(&self.source.ambiguous);
            tracing::warn!(
                source,
                names,
                "columns that have one name, in lower case and with their parents, are one column: the first value of a record counts"
            );
        }
        if !self.source.left_out.is_empty() {
            let (columns, names) = (self.source.left_out.len(), listed(&self.source.left_out));
            tracing::warn!(
                source,
                columns,
                names,
                "columns are left out: a dimension has at most {MOST_COLUMNS}, with names of at most {LONGEST_COLUMN_NAME} bytes, and keeps the names of its own columns for itself"
            );
        }
        self.members.source_columns = self.source.columns.into_iter().map(|column| column.name).collect();
        self.members
    }

    /// Ids that a CSV writes as floats: `7.0`, as pandas does where a column has gaps. Every value of the column must be a whole
    /// number, and one at least a float. A sku that falls back to such an id is the same id.
    fn convert_float_ids(&mut self) {
        let ids: Vec<_> = self.spec.columns.iter().filter(|column| column.kind == ColumnType::Id).map(|column| column.name).collect();
        for name in &ids {
            let Some(place) = self.members.table.column(name) else { continue };
            let is_whole = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let of_source = self.members.table.texts(place).map(|text| self.prefix.without(text));
            let are_numbers = of_source.map(|text| text.strip_suffix(".0").unwrap_or(text)).all(is_whole);
            if !are_numbers || !self.members.table.texts(place).any(|text| text.ends_with(".0")) {
                continue;
            }
            tracing::warn!(source = self.spec.source, column = name, "ids are written as floats (7.0): they are read as whole numbers (7)");
            let floats: HashSet<String> = self.members.table.texts(place).filter(|text| text.ends_with(".0")).map(str::to_owned).collect();
            let others: Vec<usize> = ids.iter().filter_map(|id| self.members.table.column(id)).collect();
            for other in others {
                self.members.table.map_column(other, |text| match text.strip_suffix(".0") {
                    Some(whole) if floats.contains(text) => whole.to_owned(),
                    _ => text.to_owned(),
                });
            }
        }
    }
}

impl PlacedField {
    /// The names of its columns in a flat source.
    fn names(&self) -> Vec<&str> {
        self.paths.iter().flat_map(|path| &path.names).map(String::as_str).collect()
    }

    fn new(rule: &FieldRule, trie: &mut PathTrie) -> PlacedField {
        let field = trie.field(rule);
        let named = rule.paths.iter().filter(|path| !path.steps().is_empty());
        let names = named.map(|path| [path.to_string().to_lowercase(), path.steps().join("_").to_lowercase()]);
        let paths = field.leaves.iter().zip(names).map(|(&leaf, names)| PlacedPath { leaf, names }).collect();
        PlacedField { field, paths }
    }

    /// The value of the first path that is not missing, in the document or in a column of a flat source.
    fn value<'r>(&'r self, row: &'r SourceRow<'_>, cells: &'r [Option<&'r str>], source: &'r SourceColumns) -> Scalar<'r> {
        self.field.first(self.raw_values(row, cells, source))
    }

    /// The values at its paths, in their order; null too.
    fn raw_values<'r>(
        &'r self,
        row: &'r SourceRow<'_>,
        cells: &'r [Option<&'r str>],
        source: &'r SourceColumns,
    ) -> impl Iterator<Item = &'r str> {
        self.paths.iter().flat_map(move |path| {
            let columns = path.names.iter().flat_map(|name| source.find(name));
            cells[path.leaf].into_iter().chain(columns.filter_map(|column| row.values.get(column)?.as_deref()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::DIM_PRODUCT,
        settings::{Skus, SourceKind, profile_of},
    };

    pub(super) fn members(spec: DimensionSpec, profile: &str, records: &[&str]) -> Members {
        let kind = if spec.name == DIM_USER.name { SourceKind::Users } else { SourceKind::Products };
        let profile = profile_of(kind, profile).unwrap();
        let mut normalizer = MemberNormalizer::new(spec, &profile, Limits::default());
        normalizer.records(records.iter().map(|record| RawRecord::from(record.as_bytes())), CellTypes::Typed);
        normalizer.finish()
    }

    /// The rows as `name=text`, without empty cells.
    pub(super) fn rows(members: &Members) -> Vec<String> {
        let table = &members.table;
        let cell = |row, (column, name): (usize, &String)| Some(format!("{name}={}", table.cell(row, column)?));
        (0..table.height())
            .map(|row| table.names().iter().enumerate().filter_map(|column| cell(row, column)).collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn paths_are_tried_for_each_record_and_unused_values_become_extra_columns() {
        let found = members(
            DIM_PRODUCT,
            "",
            &[r#"{"id":1,"sku":"A","title":"x","price":0.10}"#, r#"{"id":2,"sku":"","name":"n","title":"t"}"#, r#"{"sku":null}"#],
        );
        assert_eq!(rows(&found), ["sku=A product_id=1 name=x list_price=0.1000", "sku=2 product_id=2 name=n title=t"]);
        assert_eq!((found.counts.records_read, found.counts.records_without_key), (3, 1));
        assert_eq!(found.table.column("email"), None);
    }

    #[test]
    fn an_invalid_value_is_counted_and_stored_as_empty() {
        let found = members(DIM_USER, "", &[r#"{"id":1,"created_at":"45688","name":{"a":{"b":{"c":{"d":{"e":1}}}}},"email":"\ud800"}"#]);
        assert_eq!(rows(&found), ["user_id=1 name_a_b_c_d={\"e\":1}"]);
        assert_eq!(found.counts.values_unreadable, 2);
        assert_eq!(members(DIM_PRODUCT, "", &[r#"{"id":true,"sku":1.5}"#]).counts.records_without_key, 1);
    }

    #[test]
    fn a_profile_finds_columns_in_documents_and_in_flat_rows() {
        let profile = "fields = { name = \"title\", country = { path = \"Address.City\", default = \"Bonn\" }, since = { path = \"at\", format = \"rfc2822\" } }";
        let found = members(
            DIM_USER,
            profile,
            &[
                r#"{"id":1,"name":"no","title":"A","Address":{"City":"Ulm"},"at":"Tue, 20 Nov 2012 00:00:00 +0000"}"#,
                r#"{"id":2,"title":"B","address_city":"Köln"}"#,
                r#"{"id":3}"#,
            ],
        );
        assert_eq!(
            rows(&found),
            [
                "user_id=1 name=A country=Ulm since=2012-11-20T00:00:00Z title=A address_city=Ulm at=Tue, 20 Nov 2012 00:00:00 +0000",
                "user_id=2 name=B country=Köln title=B address_city=Köln",
                "user_id=3 country=Bonn"
            ]
        );
    }

    #[test]
    fn a_list_price_in_minor_units_needs_its_currency() {
        let profile = "fields.list_price = { path = \"cents\", scale = \"currency\" }";
        let found = members(
            DIM_PRODUCT,
            profile,
            &[r#"{"id":1,"cents":1250,"currency":"jpy"}"#, r#"{"id":2,"cents":1250}"#, r#"{"id":3,"cents":1250,"Currency":"KWD"}"#],
        );
        assert_eq!(
            found.table.column("list_price").map(|column| [0, 1, 2].map(|row| found.table.cell(row, column).map(str::to_owned))).unwrap(),
            [Some("1250.0000".to_owned()), None, Some("1.2500".to_owned())]
        );
        assert_eq!(found.counts.values_unreadable, 1);
    }

    #[test]
    fn members_of_a_shop_have_the_ids_that_its_facts_name() {
        let read = |spec: DimensionSpec, skus: Skus, record: &str| {
            let shop = Shop { name: "de".into(), skus };
            let mut normalizer = MemberNormalizer::new(spec, &Profile::default(), Limits::default()).of_shop(Some(&shop));
            normalizer.records([RawRecord::from(record.as_bytes())].into_iter(), CellTypes::Typed);
            rows(&normalizer.finish()).join(";")
        };
        assert_eq!(read(DIM_USER, Skus::OfCompany, r#"{"id":1,"name":"A"}"#), "user_id=de:1 name=A");
        assert_eq!(read(DIM_PRODUCT, Skus::OfCompany, r#"{"id":1,"sku":"S"}"#), "sku=S product_id=1");
        assert_eq!(read(DIM_PRODUCT, Skus::OfShop, r#"{"id":1,"sku":"S"}"#), "sku=de:S product_id=de:1");
        assert_eq!(read(DIM_USER, Skus::OfShop, &format!(r#"{{"id":"{}"}}"#, "x".repeat(LONGEST_TEXT - 2))), "", "the name counts");
    }

    #[test]
    fn the_number_of_columns_is_bounded_and_long_texts_are_cut() {
        let keys: Vec<String> = (0..2000).map(|key| format!("\"k{key}\":1")).collect();
        let record =
            format!("{{\"id\":1,\"{}\":1,\"inferred\":true,{},\"name\":\"{}\"}}", "n".repeat(128), keys.join(","), "é".repeat(40_000));
        let found = members(DIM_USER, "", &[&record]);
        assert_eq!(found.table.names().len(), MOST_COLUMNS - 4 - 3);
        assert_eq!(found.counts.values_unreadable, 2000 + 2 - (MOST_COLUMNS as u64 - 5 - 4));
        let name = found.table.column("name").and_then(|name| found.table.cell(0, name)).unwrap();
        assert_eq!((name.len(), found.counts.texts_cut), (65_534, 1));
        let long_key = format!("{{\"id\":\"{}\"}}", "x".repeat(65_536));
        assert_eq!(members(DIM_USER, "", &[&long_key]).counts.records_without_key, 1);
    }

    #[test]
    fn ids_of_a_csv_that_are_all_floats_become_whole_numbers() {
        let read = |rows: &[&str]| {
            let mut normalizer = MemberNormalizer::new(DIM_USER, &Profile::default(), Limits::default());
            normalizer.records(rows.iter().map(|record| RawRecord::from(record.as_bytes())), CellTypes::Text);
            let members = normalizer.finish();
            members.table.texts(0).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(read(&[r#"{"id":"7.0"}"#, r#"{"id":"10.0"}"#]), ["7", "10"]);
        assert_eq!(read(&[r#"{"id":"7.0"}"#, r#"{"id":"7.5"}"#]), ["7.0", "7.5"]);
        assert_eq!(read(&[r#"{"id":"7.0"}"#, r#"{"id":"8"}"#]), ["7", "8"], "another file of the folder");
        assert_eq!(read(&[r#"{"id":"7.0"}"#, r#"{"id":"A"}"#]), ["7.0", "A"]);
        let shop = Shop { name: "de".into(), skus: Skus::OfCompany };
        let mut of_shop = MemberNormalizer::new(DIM_USER, &Profile::default(), Limits::default()).of_shop(Some(&shop));
        of_shop.records([r#"{"id":"7.0"}"#, r#"{"id":"8"}"#].iter().map(|record| RawRecord::from(record.as_bytes())), CellTypes::Text);
        assert_eq!(super::tests::rows(&of_shop.finish()), ["user_id=de:7", "user_id=de:8"]);
        let mut normalizer = MemberNormalizer::new(DIM_PRODUCT, &Profile::default(), Limits::default()).of_shop(Some(&shop));
        let rows = [r#"{"sku":"","product_id":"1.0"}"#, r#"{"sku":"2.0-B","product_id":"2.0"}"#];
        normalizer.records(rows.iter().map(|record| RawRecord::from(record.as_bytes())), CellTypes::Text);
        assert_eq!(super::tests::rows(&normalizer.finish()), ["sku=1 product_id=1", "sku=2.0-B product_id=2"]);
    }
}
