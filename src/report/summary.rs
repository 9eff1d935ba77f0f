//! The summary of a run (contract, Summary): one type, which is written at the end of a run and read back by whatever looks at
//! earlier runs.
//!
//! Responsible for the names and the order of its keys. How a person sees them is `cli`'s.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use strum::{EnumIter, IntoEnumIterator, IntoStaticStr};

use super::{Alert, alert::FailedDelivery};
use crate::{
    check::CheckResult,
    coverage::SourceIdentity,
    drift::SchemaChange,
    join::DimensionCounts,
    layer::MergeCounts,
    model::{CurrencyTotals, DropCounts, Dt, Reason, RunPace, UtcMicros, units_text},
    normalize::RecordCounts,
    settings::{CheckScope, Cursor, DeletionMode},
    source::{Completeness, SourceCounts},
};

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, EnumIter, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "each is named as the contract names it")]
pub enum Status {
    Published,
    Unchanged,
    DryRun,
    ExtractFailed,
    ChecksFailed,
    StorageFailed,
    Locked,
    Interrupted,
    InvalidConfiguration,
    /// A defect of this tool (exit 1).
    InternalError,
    /// A status that this version does not know: the report is of a newer one. No run ends so.
    #[serde(other)]
    Unknown,
}

impl Status {
    /// The name in the summary.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// All that a run may end with, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = Status> {
        Status::iter().filter(|status| *status != Status::Unknown)
    }

    /// Whether the layer is then as the run wanted it.
    pub fn is_success(self) -> bool {
        matches!(self, Status::Published | Status::Unchanged)
    }
}

/// What a run was started as: runs are compared with earlier ones of the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CommandName {
    /// `etl run`. Also reports that are older than this key.
    #[default]
    Run,
    /// A chunk of `etl backfill`.
    Backfill,
    /// `etl quarantine replay`.
    Replay,
    /// `etl demo`.
    Demo,
    /// `etl undo`.
    Undo,
    /// `etl rebuild`.
    Rebuild,
    /// `etl erase`.
    Erase,
    /// A commit of `etl rewrite`, of which a large layer needs several.
    Rewrite,
    /// A command that this version does not know: the report is of a newer one.
    #[serde(other)]
    Unknown,
}

impl CommandName {
    /// Whether it loads orders. Only such a run can be the last success of a layer.
    pub fn is_load(self) -> bool {
        matches!(self, CommandName::Run | CommandName::Backfill | CommandName::Replay | CommandName::Demo | CommandName::Rebuild)
    }

    /// Whether its window says which orders it has loaded: others read what lies here, or no orders at all.
    pub fn has_window(self) -> bool {
        matches!(self, CommandName::Run | CommandName::Backfill | CommandName::Demo | CommandName::Unknown)
    }

    /// The name in the summary.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The records that a run has kept as they were delivered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RawKept {
    /// Their file, beneath the output.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// The number of records.
    pub records: u64,
}

/// What a run did that no kept record tells, so that what was kept before it is no longer the truth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RebuildGap {
    /// It kept no records.
    NoRaw,
    /// It deleted or marked orders that its source no longer has.
    Deletions,
    /// It is of another source, and changed rows of the layer.
    OtherSource,
}

impl RebuildGap {
    /// In words, after "a run".
    pub fn shown(self) -> &'static str {
        match self {
            RebuildGap::NoRaw => "which kept none",
            RebuildGap::Deletions => "which deleted orders",
            RebuildGap::OtherSource => "which is of another source and changed rows",
        }
    }
}

/// What a rebuild was made of, and what it did not reach.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct RebuiltFrom {
    /// The runs whose records were mapped again.
    pub runs: u64,
    /// Runs whose records were left out because they were undone.
    pub runs_undone: u64,
    /// Runs whose records were left out because a later run did what no kept record tells.
    pub runs_before_gap: u64,
    /// The last such run, if runs were left out for it.
    pub gap_run: Option<String>,
    /// What it did.
    pub gap: Option<RebuildGap>,
    /// Runs whose records were left out because they are of another source or profile.
    pub runs_of_other_sources: u64,
    /// Rows of the layer that none of these records has brought again.
    pub rows_not_covered: u64,
}

/// Whether each source was read whole: that of the orders, with those of users and products inside.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct RunCompleteness {
    /// Of the orders; `None` where they were not read to an end.
    #[serde(flatten, with = "keys_of_orders")]
    pub orders: Option<Completeness>,
    /// Of the users.
    #[serde(default)]
    pub users: Option<Completeness>,
    /// Of the products.
    #[serde(default)]
    pub products: Option<Completeness>,
}

impl RunCompleteness {
    /// Each that is known, by the name of its source.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Completeness)> {
        let all = [("orders", &self.orders), ("users", &self.users), ("products", &self.products)];
        all.into_iter().filter_map(|(source, completeness)| Some((source, completeness.as_ref()?)))
    }

    /// Whether less came than one of the sources claims to hold.
    pub fn is_failed(&self) -> bool {
        self.all().any(|(_, completeness)| completeness.is_failed())
    }
}

/// Values that were changed or lost without a drop: those of the orders and of both dimensions together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each is a count of the contract's summary, under its name")]
pub struct ValueCounts {
    pub prices_defaulted: u64,
    pub prices_rounded: u64,
    pub updated_at_unreadable: u64,
    pub repeated_skus: u64,
    pub values_unreadable: u64,
    pub texts_cut: u64,
}

/// What became of orders that the source no longer has.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct DeletionCounts {
    /// What was to become of them; `None`: nothing was looked for.
    #[serde(deserialize_with = "or_default")]
    pub delete_missing: Option<DeletionMode>,
    /// Orders whose rows were removed.
    pub orders_deleted: u64,
    /// Orders whose rows got a status.
    pub orders_marked: u64,
    /// Why none were, although that was asked for.
    pub deletions_refused: Option<String>,
}

/// What was left out, or taken out, of users who were erased.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ErasedCounts {
    /// Users: those of the source that a run left out; those that an `etl erase` was asked for.
    pub users_erased: u64,
    /// Lines that do not name these users now.
    pub lines_erased: u64,
    /// Records in quarantine and in `raw/` that were withheld. Of a rebuild or a replay: those that it left out.
    pub records_withheld: u64,
}

impl ErasedCounts {
    /// Adds the counts of another part of the run.
    pub fn absorb(&mut self, other: ErasedCounts) {
        self.users_erased += other.users_erased;
        self.lines_erased += other.lines_erased;
        self.records_withheld += other.records_withheld;
    }
}

/// What a run says of itself. Its fields are the keys of the JSON, in their order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// The run.
    pub run_id: String,
    /// The number of its commit; `None` if it was not committed.
    #[serde(default)]
    pub commit: Option<u64>,
    /// What it was started as.
    #[serde(default)]
    pub command: CommandName,
    /// The run whose quarantine it read.
    #[serde(default)]
    pub replay_of: Option<String>,
    /// The run that it put the layer back before, for an undo.
    #[serde(default)]
    pub undoes: Option<String>,
    /// The shop whose orders it loaded; `None` in a layer of one source.
    #[serde(default)]
    pub shop: Option<String>,
    /// What it mapped again, for a rebuild.
    #[serde(default, deserialize_with = "or_default")]
    pub rebuilt_from: Option<RebuiltFrom>,
    /// How it ended.
    pub status: Status,
    /// The window's beginning.
    #[serde(default, deserialize_with = "or_default")]
    pub since: Option<UtcMicros>,
    /// The window's end.
    #[serde(default, deserialize_with = "or_default")]
    pub until: Option<UtcMicros>,
    /// The beginning of what the source shows of the window, if that is later: coverage begins there.
    #[serde(default, deserialize_with = "or_default")]
    pub shown_since: Option<UtcMicros>,
    /// The time that the window is on.
    #[serde(default, deserialize_with = "or_default")]
    pub cursor: Cursor,
    /// The source whose coverage the run counts for; `None` where it counts for none.
    #[serde(flatten, with = "keys_of_identity")]
    pub identity: Option<SourceIdentity>,
    /// Whether earlier runs have loaded something of this source. No part of the report: it is known while the run lasts.
    #[serde(skip)]
    pub is_known_source: bool,
    /// A fingerprint of the rules by which records become rows.
    #[serde(default)]
    pub rules: String,
    /// When it began.
    pub started_at: UtcMicros,
    /// When it ended.
    pub finished_at: UtcMicros,
    /// How long it took, in seconds, by a clock that never goes back.
    #[serde(default)]
    pub execution_time_seconds: f64,
    /// How many of these seconds it has waited for other runs: for their lease, and in attempts to commit that they were faster than.
    #[serde(default)]
    pub waited_seconds: f64,
    /// Counts of the normalizer.
    #[serde(flatten)]
    pub records: RecordCounts,
    /// Counts of the merge.
    #[serde(flatten)]
    pub rows: MergeCounts,
    /// What became of orders that the source no longer has.
    #[serde(flatten)]
    pub deletions: DeletionCounts,
    /// What was left out of users who were erased.
    #[serde(flatten)]
    pub erased: ErasedCounts,
    /// Counts of values, once [`Summary::count_values`] has added them up.
    #[serde(flatten)]
    pub values: ValueCounts,
    /// The partitions that were written.
    #[serde(default)]
    pub partitions_written: Vec<Dt>,
    /// The partitions that lost their last row.
    #[serde(default)]
    pub partitions_removed: Vec<Dt>,
    /// The partitions whose totals of orders were written or removed.
    #[serde(default)]
    pub order_totals_changed: Vec<Dt>,
    /// The days whose refunds were written or removed.
    #[serde(default)]
    pub refunds_changed: Vec<Dt>,
    /// Partitions that the run has lines for and that are as they were.
    #[serde(default)]
    pub partitions_unchanged: u64,
    /// Revenue of the rows that the run brought.
    #[serde(default, with = "money")]
    pub revenue: CurrencyTotals,
    /// Which partitions the built-in checks looked at; `None` where no check ran, and in reports that are older than this key.
    #[serde(default, deserialize_with = "or_default")]
    pub check_scope: Option<CheckScope>,
    /// What the checks found.
    #[serde(default, deserialize_with = "or_default")]
    pub checks: Vec<CheckResult>,
    /// How the records of the source differ in shape from those of earlier runs, the first of the changes.
    #[serde(default, deserialize_with = "or_default")]
    pub schema_changes: Vec<SchemaChange>,
    /// Changes that the list does not have.
    #[serde(default)]
    pub schema_changes_omitted: u64,
    /// What somebody should know of.
    #[serde(default, deserialize_with = "or_default")]
    pub alerts: Vec<Alert>,
    /// What somebody was told of before, and is over.
    #[serde(rename = "alerts_recovered", default, deserialize_with = "or_default")]
    pub recovered: Vec<Alert>,
    /// Alerts that a receiver did not get, and why.
    #[serde(default, deserialize_with = "or_default")]
    pub deliveries_failed: Vec<FailedDelivery>,
    /// Whether each source was read whole.
    #[serde(default, deserialize_with = "or_default")]
    pub completeness: RunCompleteness,
    /// Counts of the source.
    #[serde(default)]
    pub source: SourceCounts,
    /// The records that it kept as they were delivered.
    #[serde(default, deserialize_with = "or_default")]
    pub raw: Option<RawKept>,
    /// Counts of the dimensions, by name.
    #[serde(default)]
    pub dimensions: BTreeMap<String, DimensionCounts>,
    /// Seconds by stage.
    #[serde(default)]
    pub stage_seconds: BTreeMap<String, f64>,
    /// The most memory that the process has held so far, in bytes; where the system tells.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// What went wrong, where something did.
    #[serde(default)]
    pub error: Option<String>,
}

impl Summary {
    /// Whether an alert says the error of this run again, and no more.
    pub fn is_error_of_run(&self, alert: &Alert) -> bool {
        self.error.as_ref().is_some_and(|error| !error.is_empty() && alert.message.ends_with(error.as_str()))
    }

    /// What runs it is compared with: those of the same command, and of the same shop.
    pub fn kind(&self) -> String {
        let command = self.command.as_str();
        self.shop.as_ref().map_or_else(|| command.to_owned(), |shop| format!("{command} {shop}"))
    }

    /// How long it took by itself, for how many records.
    pub fn pace(&self) -> RunPace {
        RunPace::new(self.own_seconds(), self.records.records_read)
    }

    /// The seconds that it took, without those that it has waited for other runs.
    pub fn own_seconds(&self) -> f64 {
        (self.execution_time_seconds - self.waited_seconds).max(0.0)
    }

    /// The summary of a run that has done nothing yet.
    pub fn new(run_id: String, since: Option<UtcMicros>, until: Option<UtcMicros>, started_at: UtcMicros) -> Summary {
        Summary {
            commit: None,
            run_id,
            command: CommandName::Run,
            replay_of: None,
            undoes: None,
            shop: None,
            rebuilt_from: None,
            status: Status::InternalError,
            since,
            until,
            shown_since: None,
            cursor: Cursor::Created,
            identity: None,
            is_known_source: false,
            rules: String::new(),
            completeness: RunCompleteness::default(),
            started_at,
            finished_at: started_at,
            execution_time_seconds: 0.0,
            waited_seconds: 0.0,
            records: RecordCounts::default(),
            rows: MergeCounts::default(),
            deletions: DeletionCounts::default(),
            erased: ErasedCounts::default(),
            values: ValueCounts::default(),
            partitions_written: Vec::new(),
            partitions_removed: Vec::new(),
            order_totals_changed: Vec::new(),
            refunds_changed: Vec::new(),
            partitions_unchanged: 0,
            revenue: CurrencyTotals::new(),
            check_scope: None,
            checks: Vec::new(),
            schema_changes: Vec::new(),
            schema_changes_omitted: 0,
            alerts: Vec::new(),
            recovered: Vec::new(),
            deliveries_failed: Vec::new(),
            source: SourceCounts::default(),
            raw: None,
            dimensions: BTreeMap::new(),
            stage_seconds: BTreeMap::new(),
            peak_memory_bytes: None,
            error: None,
        }
    }

    /// The summary in a report of any version: a key that is missing or unknown is no error.
    ///
    /// # Errors
    /// The text is not JSON, or not the object of a run.
    pub fn from_json(json: &[u8]) -> Result<Summary, serde_json::Error> {
        let mut summary: Summary = serde_json::from_slice(json)?;
        // The report has the cursor once, for the window and for the identity.
        let column = summary.cursor.column();
        if let Some(identity) = &mut summary.identity {
            column.clone_into(&mut identity.cursor);
        }
        Ok(summary)
    }

    /// Adds up the counts of values, those of the orders and those of the dimensions.
    pub fn count_values(&mut self) {
        let records = &self.records;
        let of_dimensions = |count: fn(&DimensionCounts) -> u64| self.dimensions.values().map(count).sum::<u64>();
        self.values = ValueCounts {
            prices_defaulted: records.prices_defaulted,
            prices_rounded: records.prices_rounded,
            updated_at_unreadable: records.updated_at_unreadable,
            repeated_skus: records.repeated_skus,
            values_unreadable: records.values_unreadable + of_dimensions(|counts| counts.values_unreadable),
            texts_cut: records.texts_cut + of_dimensions(|counts| counts.texts_cut),
        };
    }

    /// Records and lines dropped.
    pub fn drops(&self) -> DropCounts {
        DropCounts { records: self.records_dropped(), lines: self.lines_dropped() }
    }

    /// Records dropped.
    pub fn records_dropped(&self) -> u64 {
        self.records.records_dropped
    }

    /// Lines dropped.
    pub fn lines_dropped(&self) -> u64 {
        self.records.lines_dropped
    }

    /// The reasons that dropped something, with how much.
    pub fn dropped_by_reason(&self) -> BTreeMap<&'static str, u64> {
        let counts = Reason::ALL.iter().zip(self.records.dropped);
        counts.filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.as_str(), count)).collect()
    }

    /// Whether it is a load that has succeeded: an undo is none.
    pub fn is_successful_load(&self) -> bool {
        self.command.is_load() && self.status.is_success()
    }

    /// Whether the layer has what it brought: also with `--on-check-failure publish`, although it failed.
    pub fn has_loaded(&self) -> bool {
        self.status.is_success() || self.status == Status::ChecksFailed && self.has_published()
    }

    /// The rows that it put into the layer: new ones and changed ones. None where nothing was published, whatever it has merged.
    pub fn rows_written(&self) -> u64 {
        let MergeCounts { rows_inserted, rows_updated, rows_moved, .. } = self.rows;
        if self.has_loaded() { rows_inserted + rows_updated + rows_moved } else { 0 }
    }

    /// The partitions that it put into the layer or took out of it.
    pub fn partitions_changed(&self) -> usize {
        self.partitions_written.len() + self.partitions_removed.len()
    }

    /// Whether it put something in place.
    pub fn has_published(&self) -> bool {
        let days = [&self.partitions_written, &self.partitions_removed, &self.order_totals_changed, &self.refunds_changed];
        days.into_iter().any(|days| !days.is_empty())
    }
}

/// Money by currency as JSON strings.
pub fn money_texts(totals: &CurrencyTotals) -> BTreeMap<&str, String> {
    totals.iter().map(|(currency, units)| (currency.as_str(), units_text(*units))).collect()
}

/// What a newer version wrote may have a shape that this one does not know: then the key counts as missing.
fn or_default<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(serde_json::from_value(serde_json::Value::deserialize(deserializer)?).unwrap_or_default())
}

/// Money as JSON strings, so that no reader passes it through a float.
mod money {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{CurrencyTotals, money_texts};

    pub(super) fn serialize<S: Serializer>(totals: &CurrencyTotals, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(money_texts(totals))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CurrencyTotals, D::Error> {
        let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
        let units = |text: &str| {
            let (_, decimals) = text.split_once('.')?;
            (decimals.len() == 4).then(|| text.replace('.', "").parse().ok()).flatten()
        };
        let entry = |(currency, text): (String, String)| Some((currency, units(&text)?));
        texts.into_iter().map(entry).collect::<Option<_>>().ok_or_else(|| D::Error::custom("not an amount with four decimals"))
    }
}

/// The keys `source_identity` and `profile`, which are `null` for a run that counts for no coverage.
mod keys_of_identity {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::SourceIdentity;

    #[derive(Serialize, Deserialize)]
    struct Keys {
        #[serde(default)]
        source_identity: Option<String>,
        #[serde(default)]
        profile: Option<String>,
    }

    pub(super) fn serialize<S: Serializer>(identity: &Option<SourceIdentity>, serializer: S) -> Result<S::Ok, S::Error> {
        let (source_identity, profile) = identity.clone().map(|identity| (identity.source, identity.profile)).unzip();
        Keys { source_identity, profile }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SourceIdentity>, D::Error> {
        let Keys { source_identity, profile } = Keys::deserialize(deserializer)?;
        Ok(source_identity.zip(profile).map(|(source, profile)| SourceIdentity { source, profile, cursor: String::new() }))
    }
}

/// The keys of a certificate, which are all `null` where the orders were not read to their end.
mod keys_of_orders {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Completeness;
    use crate::source::{CompletenessStatus, Evidence};

    #[derive(Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Keys {
        status: Option<CompletenessStatus>,
        by: Option<Evidence>,
        claimed: Option<u64>,
        read: Option<u64>,
        distinct: Option<u64>,
        why: Option<String>,
    }

    pub(super) fn serialize<S: Serializer>(orders: &Option<Completeness>, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(Completeness { status, by, claimed, read, distinct, why }) = orders.clone() else {
            return Keys::default().serialize(serializer);
        };
        Keys { status: Some(status), by, claimed, read: Some(read), distinct, why }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Completeness>, D::Error> {
        let Keys { status, by, claimed, read, distinct, why } = Keys::deserialize(deserializer)?;
        Ok(status.map(|status| Completeness { status, by, claimed, read: read.unwrap_or_default(), distinct, why }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        check::Severity,
        drift::{ChangeKind, JsonType},
        report::AlertKind,
        source::{CompletenessStatus, Evidence},
    };

    /// A summary in which nothing is as [`Summary::new`] makes it.
    fn full() -> Summary {
        let at = |second| UtcMicros::from_civil((2026, 2, 1), second, 250_000, 0).unwrap();
        let mut summary = Summary::new("20260201T030000000000Z-0004d20000".into(), Some(at(0)), None, at(10));
        summary.command = CommandName::Backfill;
        summary.shop = Some("de".into());
        summary.status = Status::ChecksFailed;
        summary.cursor = Cursor::Updated;
        summary.identity = Some(SourceIdentity { source: "shop".into(), profile: "default".into(), cursor: "updated_at".into() });
        summary.finished_at = at(12);
        summary.execution_time_seconds = 1.75;
        summary.waited_seconds = 0.5;
        summary.records.records_read = 7;
        summary.records.drop(Reason::MissingOrderId);
        summary.records.drop(Reason::MissingSku);
        summary.rows.rows_moved = 3;
        summary.deletions = DeletionCounts {
            delete_missing: Some(DeletionMode::Mark),
            orders_deleted: 1,
            orders_marked: 2,
            deletions_refused: Some("d".into()),
        };
        summary.erased = ErasedCounts { users_erased: 1, lines_erased: 2, records_withheld: 3 };
        summary.values.texts_cut = 2;
        summary.partitions_written = vec!["2026-01-31".parse().unwrap()];
        summary.revenue = [(String::new(), -5), ("EUR".to_owned(), i128::from(i64::MAX) * 3), ("USD".to_owned(), 0)].into();
        let sample = vec![BTreeMap::from([("sku".to_owned(), None)])];
        summary.check_scope = Some(CheckScope::Full);
        summary.checks = vec![CheckResult {
            name: "c".into(),
            severity: Severity::Warn,
            passed: false,
            violations: 1,
            sample,
            rows_kept: Some(1),
            file: None,
        }];
        let (change, types, was) = (ChangeKind::Retyped, vec![JsonType::Text], vec![JsonType::Null]);
        summary.schema_changes = vec![SchemaChange { path: "p".into(), change, types, was, read: true, column: None }];
        summary.schema_changes_omitted = 1;
        summary.alerts = vec![Alert { kind: AlertKind::CheckFailed, message: "m".into() }];
        let by = Some(Evidence::Total);
        let complete = Completeness { status: CompletenessStatus::Proven, by, claimed: Some(7), read: 7, distinct: None, why: None };
        summary.completeness = RunCompleteness { orders: Some(complete.clone()), users: Some(complete), products: None };
        summary.dimensions.insert("dim_user".into(), DimensionCounts { members: 4, ..DimensionCounts::default() });
        summary.stage_seconds.insert("merge".into(), 0.5);
        summary.raw = Some(RawKept { file: "raw/run_id=r/orders-00000.ndjson.zst".into(), bytes: 9, records: 7 });
        summary.rebuilt_from = Some(RebuiltFrom {
            runs: 2,
            gap_run: Some("q".into()),
            gap: Some(RebuildGap::Deletions),
            rows_not_covered: 1,
            ..RebuiltFrom::default()
        });
        summary.error = Some("e".into());
        summary
    }

    #[test]
    fn what_is_written_is_read_back() {
        for summary in [full(), Summary::new("r".into(), None, None, UtcMicros::new(0).unwrap())] {
            let json = serde_json::to_vec(&summary).unwrap();
            assert_eq!(Summary::from_json(&json).unwrap(), summary, "{}", String::from_utf8_lossy(&json));
        }
    }

    #[test]
    fn counts_are_keys_of_the_summary_itself_and_money_is_a_string() {
        let json: Value = serde_json::to_value(full()).unwrap();
        for (key, value) in [
            ("records_read", json!(7)),
            ("records_dropped_count", json!(1)),
            ("lines_dropped", json!(1)),
            ("dropped", json!({"missing_order_id": 1, "missing_sku": 1})),
            ("rows_moved", json!(3)),
            ("texts_cut", json!(2)),
            ("shop", json!("de")),
            ("source_identity", json!("shop")),
            ("profile", json!("default")),
            ("since", json!("2026-02-01T00:00:00.250000Z")),
            ("revenue", json!({"": "-0.0005", "EUR": "2767011611056432.7421", "USD": "0.0000"})),
            ("alerts_recovered", json!([])),
        ] {
            assert_eq!(json[key], value, "{key}");
        }
        let none = serde_json::to_value(Summary::new("r".into(), None, None, UtcMicros::new(0).unwrap())).unwrap();
        for key in ["shop", "source_identity", "profile", "since", "check_scope", "peak_memory_bytes"] {
            assert_eq!(none.get(key), Some(&Value::Null), "{key} is always present");
        }
        assert_eq!(none["completeness"].as_object().unwrap().len(), 8);
    }

    #[test]
    fn rows_that_were_not_published_are_no_rows_written() {
        let of = |status, days: &[&str]| {
            let mut summary = Summary { status, partitions_written: days.iter().map(|day| day.parse().unwrap()).collect(), ..full() };
            (summary.rows.rows_inserted, summary.rows.rows_updated, summary.rows.rows_unchanged) = (2, 1, 9);
            (summary.rows_written(), summary.partitions_changed())
        };
        assert_eq!(of(Status::Published, &["2026-01-31", "2026-02-01"]), (6, 2), "2 inserted, 1 updated, 3 moved");
        assert_eq!(of(Status::ChecksFailed, &["2026-01-31"]), (6, 1), "--on-check-failure publish");
        for status in [Status::ChecksFailed, Status::DryRun, Status::StorageFailed, Status::Interrupted] {
            assert_eq!(of(status, &[]).0, 0, "{status:?}");
        }
    }

    #[test]
    fn a_report_of_another_version_is_read_as_far_as_it_is_known() {
        let old = r#"{"run_id":"r","status":"published","started_at":"2026-01-01T00:00:00Z","finished_at":"2026-01-01T00:00:01Z"}"#;
        let summary = Summary::from_json(old.as_bytes()).unwrap();
        assert_eq!((summary.status, summary.command, summary.records.records_read), (Status::Published, CommandName::Run, 0));
        let mut newer: Value = serde_json::to_value(full()).unwrap();
        newer["status"] = "paused".into();
        newer["command"] = "redo".into();
        newer["alerts"] = json!([{"kind": "from_the_future", "message": "m"}]);
        newer["completeness"]["status"] = "likely".into();
        newer["more"] = json!({"a": 1});
        let summary = Summary::from_json(newer.to_string().as_bytes()).unwrap();
        assert_eq!((summary.status, summary.command, summary.alerts.len()), (Status::Unknown, CommandName::Unknown, 0));
        assert_eq!((summary.completeness, summary.rows.rows_moved), (RunCompleteness::default(), 3));
        assert!(Status::all().all(|status| status != Status::Unknown), "no run ends so");
        assert_eq!((summary.status.as_str(), summary.command.as_str()), ("unknown", "unknown"));
    }

    #[test]
    fn the_pace_of_a_run_is_without_what_it_has_waited_for_others() {
        let mut summary = full();
        assert_eq!((summary.pace().seconds(), summary.pace().records), (1.25, 7));
        summary.waited_seconds = 2.0;
        assert_eq!(summary.pace().milliseconds, 0);
    }

    #[test]
    fn values_are_those_of_orders_and_dimensions() {
        let mut summary = full();
        summary.records.values_unreadable = 2;
        let users = DimensionCounts { values_unreadable: 3, texts_cut: 1, ..DimensionCounts::default() };
        summary.dimensions = [("dim_user".to_owned(), users), ("dim_product".to_owned(), users)].into();
        summary.count_values();
        assert_eq!((summary.values.values_unreadable, summary.values.texts_cut), (8, 2));
    }
}
