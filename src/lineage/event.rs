//! The events of a run (<https://openlineage.io/spec/2-0-2/OpenLineage.json>): START, and how it ended. Pure: what is told is handed in.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    columns::{MemberSource, OrderSource, Sources},
    dataset::{DatasetName, inputs_of},
    facet::{self, EVENT_SCHEMA, Facets, PRODUCER},
    run_uuid,
};
use crate::{
    check::{BUILTIN, CheckResult, Subject},
    model::{DIM_PRODUCT, DIM_USER, FactSchema, QuantityType, UtcMicros},
    net::redact,
    normalize::Mapping,
    report::{CommandName, Status, Summary},
    settings::{ForeignRun, LineageSettings, Settings, SourceKind},
    store::places::{self, SideFact},
};

/// The name of the facts.
const FACTS: &str = "fact_order";

/// How a run stands, in the words of the specification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunState {
    /// It has begun.
    Start,
    /// The layer is as it wanted it, or was put there in spite of failed checks.
    Complete,
    /// A signal ended it.
    Abort,
    /// It put nothing in place.
    Fail,
}

impl RunState {
    /// How the run of a summary ended. One that was published in spite of failed checks is complete: its outputs are new, and the
    /// checks stand among its assertions.
    pub fn of(summary: &Summary) -> RunState {
        match summary.status {
            Status::Published | Status::Unchanged | Status::DryRun => RunState::Complete,
            Status::ChecksFailed if summary.commit.is_some() => RunState::Complete,
            Status::Interrupted => RunState::Abort,
            Status::ChecksFailed
            | Status::ExtractFailed
            | Status::StorageFailed
            | Status::Locked
            | Status::InvalidConfiguration
            | Status::InternalError
            | Status::Unknown => RunState::Fail,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            RunState::Start => "START",
            RunState::Complete => "COMPLETE",
            RunState::Abort => "ABORT",
            RunState::Fail => "FAIL",
        }
    }
}

/// Which datasets the events of a run name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Datasets {
    /// The configured sources, and the tables.
    Sources,
    /// The same, with the orders that earlier runs have kept beneath the output, in this place.
    Kept(&'static str),
    /// The tables alone: what is stored is changed, and no source is read.
    Tables,
    /// None: the settings are invalid, so the datasets are unknown.
    Unknown,
}

/// What was written of a table.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WrittenTable {
    /// The rows of the files; `None` where that is not known.
    pub rows: Option<u64>,
    /// Their bytes.
    pub bytes: u64,
    /// How many files.
    pub files: u64,
}

/// What a run has put in place.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct WrittenLayer {
    /// The type of quantities in the layer.
    pub quantity: QuantityType,
    /// Each table of which files were written.
    pub tables: BTreeMap<&'static str, WrittenTable>,
}

impl WrittenLayer {
    /// Adds a file of a table: its rows, if they are known, and its bytes.
    pub fn add(&mut self, table: &'static str, rows: Option<u64>, bytes: u64) {
        let known = self.tables.entry(table).or_insert_with(|| WrittenTable { rows: Some(0), ..WrittenTable::default() });
        known.rows = known.rows.zip(rows).map(|(known, more)| known + more);
        known.bytes += bytes;
        known.files += 1;
    }
}

/// How a run has ended.
#[derive(Clone, Copy, Debug)]
pub struct EndedRun<'a> {
    /// Its summary.
    pub summary: &'a Summary,
    /// What it has put in place; `None` if nothing was published.
    pub written: Option<&'a WrittenLayer>,
    /// What went wrong, without any value of a record.
    pub error: Option<&'a str>,
}

/// A run, as its events name it.
#[derive(Clone)]
pub struct LineageRun<'a> {
    /// The settings of the run.
    pub settings: &'a Settings,
    /// Those of its events.
    pub lineage: &'a LineageSettings,
    /// Its name.
    pub run_id: String,
    /// What it was started as.
    pub command: CommandName,
    /// Which datasets it names.
    pub datasets: Datasets,
    /// How the records of orders become rows; `None` where no source is read.
    pub mapping: Option<Mapping<'a>>,
}

/// One of the datasets that a run writes.
struct Table {
    name: &'static str,
    dataset: DatasetName,
    columns: Vec<(String, String)>,
    lineage: Option<Value>,
    meaning: &'static str,
}

impl LineageRun<'_> {
    /// The id of the run in events.
    pub fn uuid(&self) -> String {
        run_uuid(&self.settings.output.absolute(), &self.run_id)
    }

    /// The event of the run's beginning. A beginning of the window that follows earlier runs is not known yet.
    pub fn started(&self, summary: &Summary) -> Value {
        self.event(RunState::Start, summary.started_at, EndedRun { summary, written: None, error: None })
    }

    /// The event of the run's end.
    pub fn ended(&self, ended: EndedRun<'_>) -> Value {
        self.event(RunState::of(ended.summary), ended.summary.finished_at, ended)
    }

    fn event(&self, state: RunState, at: UtcMicros, ended: EndedRun<'_>) -> Value {
        let schema = self.settings.schema();
        let schema = match ended.written {
            Some(written) => schema.with_quantity(written.quantity),
            None => schema,
        };
        let inputs = inputs(self.settings, self.datasets);
        let tables = self.tables(&inputs, &schema, ended);
        let read = inputs.iter().map(|(kind, dataset)| input(*kind, dataset, (state != RunState::Start).then_some(ended.summary)));
        let checked = tables.iter().filter_map(|table| checked_input(table, self.settings, &ended.summary.checks));
        json!({
            "eventType": state.as_str(),
            "eventTime": at.rfc3339(),
            "producer": PRODUCER,
            "schemaURL": EVENT_SCHEMA,
            "run": { "runId": self.uuid(), "facets": self.run_facets(state, ended).into_json() },
            "job": { "namespace": self.lineage.namespace, "name": self.job_name(), "facets": job_facets().into_json() },
            "inputs": read.chain(checked).collect::<Vec<_>>(),
            "outputs": tables.iter().map(|table| output(table, ended.written)).collect::<Vec<_>>(),
        })
    }

    /// The name of the job. What reads or writes other datasets than a run does is a job of its own.
    fn job_name(&self) -> String {
        let settings = self.settings;
        let shop = settings.shop.as_ref().map(|shop| shop.name.as_str());
        let profile = settings.orders.as_ref().and_then(|orders| orders.profile_name.as_deref()).or(settings.source.as_deref());
        let job = match (&self.lineage.job, shop) {
            (Some(job), None) => job.clone(),
            (Some(job), Some(shop)) => format!("{job}.{shop}"),
            (None, shop) => format!("orders_etl.{}", shop.or(profile).unwrap_or("orders")),
        };
        match self.command {
            CommandName::Rebuild | CommandName::Replay | CommandName::Undo | CommandName::Erase | CommandName::Rewrite => {
                format!("{job}.{}", self.command.as_str())
            }
            CommandName::Run | CommandName::Backfill | CommandName::Demo | CommandName::Unknown => job,
        }
    }

    fn run_facets(&self, state: RunState, ended: EndedRun<'_>) -> Facets {
        let summary = ended.summary;
        let window = summary.since.map(|since| match summary.until {
            Some(until) => json!({ "nominalStartTime": since.rfc3339(), "nominalEndTime": until.rfc3339() }),
            None => json!({ "nominalStartTime": since.rfc3339() }),
        });
        // A run may get a new id after it starts, if an earlier run came from a host whose clock is ahead.
        let mut parameters = vec![("run_id", summary.run_id.clone()), ("command", self.command.as_str().to_owned())];
        if state != RunState::Start {
            parameters.push(("status", summary.status.as_str().to_owned()));
            parameters.extend(summary.commit.map(|commit| ("commit", commit.to_string())));
        }
        let parameters: Vec<_> = parameters.into_iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        let is_failed = matches!(state, RunState::Fail | RunState::Abort);
        let error = ended.error.filter(|_| is_failed).map(|error| json!({ "message": error, "programmingLanguage": "Rust" }));
        let parent = self.lineage.parent.as_ref().map(|parent| {
            let mut facet = foreign(&parent.run);
            facet["root"] = foreign(&parent.root);
            facet
        });
        let version = env!("CARGO_PKG_VERSION");
        Facets::default()
            .with(facet::PROCESSING_ENGINE, json!({ "version": version, "name": "etl", "openlineageAdapterVersion": version }))
            .with(facet::PARAMETERS, json!({ "parameters": parameters }))
            .with_some(facet::NOMINAL_TIME, window)
            .with_some(facet::PARENT, parent)
            .with_some(facet::ERROR_MESSAGE, error)
    }

    /// The tables that the run may write. Side facts are among them if the profile maps them, or if the layer has them from before.
    fn tables(&self, inputs: &[(SourceKind, DatasetName)], schema: &FactSchema, ended: EndedRun<'_>) -> Vec<Table> {
        if self.datasets == Datasets::Unknown {
            return Vec::new();
        }
        let settings = self.settings;
        let dataset = |kind: SourceKind| inputs.iter().find(|(of, _)| *of == kind).map(|(_, dataset)| dataset);
        let members = |kind: SourceKind, source| Some(MemberSource { dataset: dataset(kind)?, source });
        let orders = self.mapping.zip(dataset(SourceKind::Orders)).map(|(mapping, dataset)| OrderSource { dataset, mapping });
        let sources = Sources {
            settings,
            orders,
            users: settings.users.as_ref().and_then(|source| members(SourceKind::Users, source)),
            products: settings.products.as_ref().and_then(|source| members(SourceKind::Products, source)),
        };
        let at = |place: &str| DatasetName::of_output(&settings.output, place);
        let mut tables = vec![Table {
            name: FACTS,
            dataset: at(places::CURATED),
            columns: schema.columns().map(|(name, kind)| (name.to_owned(), kind)).collect(),
            lineage: sources.fact_order(),
            meaning: "fact_order: one row for each line of an order, in folders by the UTC date of created_at",
        }];
        let profile = settings.orders.as_ref().map(|orders| &orders.profile);
        for side in SideFact::ALL {
            let (is_mapped, lineage, meaning) = match side {
                SideFact::OrderTotals => (
                    profile.is_some_and(|profile| profile.totals.is_some()),
                    sources.order_totals(),
                    "fact_order_total: one row for each order, with the totals that the source says",
                ),
                SideFact::Refunds => (
                    profile.is_some_and(|profile| profile.refunds.is_some()),
                    sources.refunds(),
                    "fact_refund: what was given back, in folders by the UTC date of the refund",
                ),
            };
            let is_checked = ended.summary.checks.iter().any(|result| asserted(settings, &result.name).table == side.table());
            let is_written = ended.written.is_some_and(|written| written.tables.contains_key(side.table()));
            if is_mapped || is_checked || is_written {
                let columns = side.columns().iter().map(|(name, kind)| ((*name).to_owned(), kind.sql().to_owned())).collect();
                tables.push(Table { name: side.table(), dataset: at(side.folder()), columns, lineage, meaning });
            }
        }
        for (spec, lineage, meaning) in [
            (DIM_USER, sources.users(), "dim_user: the users, and those that only orders name"),
            (DIM_PRODUCT, sources.products(), "dim_product: the products, and those that only orders name"),
        ] {
            let fixed = spec.columns.iter().map(|column| (column.name.to_owned(), column.kind.sql().to_owned()));
            let columns = fixed.chain([("inferred".to_owned(), "BOOLEAN".to_owned())]).collect();
            tables.push(Table { name: spec.name, dataset: at(places::dimension(&spec).as_str()), columns, lineage, meaning });
        }
        tables
    }
}

/// What the run reads.
fn inputs(settings: &Settings, datasets: Datasets) -> Vec<(SourceKind, DatasetName)> {
    match datasets {
        Datasets::Sources => inputs_of(settings),
        Datasets::Kept(place) => {
            let members = inputs_of(settings).into_iter().filter(|(kind, _)| *kind != SourceKind::Orders);
            [(SourceKind::Orders, DatasetName::of_output(&settings.output, place))].into_iter().chain(members).collect()
        }
        Datasets::Tables | Datasets::Unknown => Vec::new(),
    }
}

fn foreign(run: &ForeignRun) -> Value {
    json!({ "run": { "runId": run.run_id }, "job": { "namespace": run.namespace, "name": run.job } })
}

fn job_facets() -> Facets {
    let emission = json!({ "eventTrigger": "EVENT_BASED", "eventContentMode": "ACCUMULATIVE" });
    let job_type = json!({ "processingType": "BATCH", "integration": "ORDERS_ETL", "jobType": "JOB", "emissionPattern": emission });
    Facets::default().with(facet::JOB_TYPE, job_type)
}

/// A dataset that a run reads; with its summary, also how much of it was read.
fn input(kind: SourceKind, dataset: &DatasetName, summary: Option<&Summary>) -> Value {
    let facets = Facets::default().with(facet::DATA_SOURCE, data_source(dataset));
    let of_members = |completeness: &Option<crate::source::Completeness>| completeness.as_ref().map(|completeness| completeness.read);
    let records = summary.and_then(|summary| match kind {
        SourceKind::Orders => Some(summary.records.records_read),
        SourceKind::Users => of_members(&summary.completeness.users),
        SourceKind::Products => of_members(&summary.completeness.products),
    });
    let statistics = records.map(|records| json!({ "rowCount": records }));
    json!({
        "namespace": dataset.namespace,
        "name": dataset.name,
        "facets": facets.into_json(),
        "inputFacets": Facets::default().with_some(facet::INPUT_STATISTICS, statistics).into_json(),
    })
}

/// A table as the checks have read it; `None` if none has. By the specification, assertions belong to what is read.
fn checked_input(table: &Table, settings: &Settings, checks: &[CheckResult]) -> Option<Value> {
    let of_table =
        checks.iter().map(|result| (asserted(settings, &result.name), result)).filter(|(asserted, _)| asserted.table == table.name);
    let assertions: Vec<_> = of_table.map(|(asserted, result)| assertion(&asserted, result)).collect();
    (!assertions.is_empty()).then(|| {
        json!({
            "namespace": table.dataset.namespace,
            "name": table.dataset.name,
            "inputFacets": Facets::default().with(facet::ASSERTIONS, json!({ "assertions": assertions })).into_json(),
        })
    })
}

fn assertion(asserted: &Asserted<'_>, result: &CheckResult) -> Value {
    let mut assertion = json!({
        "assertion": asserted.kind,
        "name": redact::text(&result.name),
        "success": result.passed,
        "severity": result.severity.as_str(),
        "actual": result.violations.to_string(),
    });
    if let Some(column) = asserted.column {
        assertion["column"] = column.into();
    }
    assertion
}

/// What a check asserts.
struct Asserted<'a> {
    table: &'static str,
    column: Option<&'a str>,
    kind: &'static str,
}

/// What the check of a name asserts. A check in SQL may read all tables: it counts for the facts.
fn asserted<'a>(settings: &'a Settings, name: &str) -> Asserted<'a> {
    if let Some(builtin) = BUILTIN.iter().find(|builtin| builtin.name == name) {
        let table = match builtin.subject {
            Subject::Dimensions if name.starts_with(DIM_PRODUCT.name) => DIM_PRODUCT.name,
            Subject::Dimensions => DIM_USER.name,
            Subject::Totals | Subject::TotalKeys => SideFact::OrderTotals.table(),
            Subject::RefundKeys | Subject::RefundOrders => SideFact::Refunds.table(),
            Subject::Facts
            | Subject::Keys
            | Subject::Expectations
            | Subject::Shops
            | Subject::KnownUsers
            | Subject::KnownProducts
            | Subject::Files => FACTS,
        };
        let kind = match name {
            "fact_required_not_null" => "not_null",
            "fact_row_count_reconciles" => "row_count",
            "fact_user_in_dim" | "fact_product_in_dim" | "fact_user_known" | "fact_product_known" | "refund_order_exists" => {
                "relationships"
            }
            "partition_files" => "custom",
            _ if name.ends_with("_key_unique") => "unique",
            _ => "custom_sql",
        };
        return Asserted { table, column: None, kind };
    }
    match settings.column_checks.iter().find(|check| check.name == name) {
        Some(check) => Asserted { table: check.table.name(), column: Some(&check.column), kind: check.rule.key() },
        None => Asserted { table: FACTS, column: None, kind: "custom_sql" },
    }
}

/// A dataset that a run writes; with what was put in place of it, also how much.
fn output(table: &Table, written: Option<&WrittenLayer>) -> Value {
    let fields: Vec<_> = (1..)
        .zip(&table.columns)
        .map(|(place, (name, kind)): (u64, _)| json!({ "name": redact::text(name), "type": kind, "ordinal_position": place }))
        .collect();
    let facets = Facets::default()
        .with(facet::SCHEMA, json!({ "fields": fields }))
        .with(facet::DATA_SOURCE, data_source(&table.dataset))
        .with(facet::DOCUMENTATION, json!({ "description": table.meaning, "contentType": "text/plain" }))
        .with_some(facet::COLUMN_LINEAGE, table.lineage.clone());
    let statistics = written.map(|written| statistics(written.tables.get(table.name)));
    json!({
        "namespace": table.dataset.namespace,
        "name": table.dataset.name,
        "facets": facets.into_json(),
        "outputFacets": Facets::default().with_some(facet::OUTPUT_STATISTICS, statistics).into_json(),
    })
}

/// How much was written of a table; of one that stays as it is, nothing.
fn statistics(written: Option<&WrittenTable>) -> Value {
    let WrittenTable { rows, bytes, files } = written.copied().unwrap_or(WrittenTable { rows: Some(0), ..WrittenTable::default() });
    let mut statistics = json!({ "size": bytes, "fileCount": files });
    if let Some(rows) = rows {
        statistics["rowCount"] = rows.into();
    }
    statistics
}

fn data_source(dataset: &DatasetName) -> Value {
    json!({ "name": dataset.namespace, "uri": dataset.uri() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::Severity,
        settings::{Location, ParentRun},
    };

    fn lineage() -> LineageSettings {
        LineageSettings {
            receiver: None,
            file: None,
            namespace: "orders-etl".into(),
            job: None,
            timeout: std::time::Duration::from_secs(5),
            parent: None,
            problems: Vec::new(),
        }
    }

    fn settings() -> Settings {
        let mut settings = Settings::plain(std::path::PathBuf::from("/srv/output"));
        settings.orders = Some("https://shop.example/orders?token=hush&since=1".parse::<Location>().unwrap().into());
        settings
    }

    fn run<'a>(settings: &'a Settings, lineage: &'a LineageSettings) -> LineageRun<'a> {
        let mapping = settings.orders.as_ref().map(|orders| Mapping { profile: Some(&orders.profile), ..Mapping::default() });
        let run_id = "20260131T100000123456Z-01a2b30000".to_owned();
        LineageRun { settings, lineage, run_id, command: CommandName::Run, datasets: Datasets::Sources, mapping }
    }

    fn summary(status: Status) -> Summary {
        let at = |second| UtcMicros::from_civil((2026, 2, 1), second, 0, 0).unwrap();
        let mut summary = Summary::new("20260131T100000123456Z-01a2b30000".into(), Some(at(0)), None, at(10));
        summary.status = status;
        summary.records.records_read = 7;
        summary
    }

    #[test]
    fn the_state_is_that_of_the_outputs() {
        let published = |status, commit| RunState::of(&Summary { commit, ..summary(status) });
        for (status, commit, state) in [
            (Status::Published, Some(1), RunState::Complete),
            (Status::Unchanged, Some(1), RunState::Complete),
            (Status::ChecksFailed, None, RunState::Fail),
            (Status::ChecksFailed, Some(1), RunState::Complete),
            (Status::ExtractFailed, None, RunState::Fail),
            (Status::Locked, None, RunState::Fail),
            (Status::Interrupted, None, RunState::Abort),
        ] {
            assert_eq!(published(status, commit), state, "{status:?}");
        }
    }

    #[test]
    fn an_event_names_the_run_its_job_and_its_datasets_without_a_query() {
        let (mut settings, mut lineage) = (settings(), lineage());
        let parent = ForeignRun { namespace: "air".into(), job: "dag.task".into(), run_id: run_uuid("o", "p") };
        lineage.parent = Some(ParentRun { root: parent.clone(), run: parent });
        settings.source = Some("shopify".into());
        let run = run(&settings, &lineage);
        let event = run.started(&summary(Status::InternalError));
        assert_eq!((&event["eventType"], &event["eventTime"]), (&"START".into(), &"2026-02-01T00:00:10Z".into()));
        assert_eq!((&event["run"]["runId"], &event["job"]["name"]), (&run.uuid().into(), &"orders_etl.shopify".into()));
        assert_eq!(event["run"]["facets"]["nominalTime"]["nominalStartTime"], "2026-02-01T00:00:00Z");
        assert_eq!(event["run"]["facets"]["parent"]["root"]["job"]["name"], "dag.task");
        assert!(event["run"]["facets"].get("errorMessage").is_none());
        let input = &event["inputs"][0];
        assert_eq!((&input["namespace"], &input["name"]), (&"https://shop.example".into(), &"orders".into()));
        assert_eq!(input["inputFacets"], json!({}), "nothing is read yet");
        let names: Vec<_> = event["outputs"].as_array().unwrap().iter().map(|output| output["name"].as_str().unwrap()).collect();
        assert_eq!(
            names,
            ["/srv/output/curated", "/srv/output/dims/dim_user/dim_user.csv", "/srv/output/dims/dim_product/dim_product.csv"]
        );
        assert_eq!(
            event["outputs"][0]["facets"]["schema"]["fields"][0],
            json!({"name": "order_id", "type": "VARCHAR", "ordinal_position": 1})
        );
        let text = event.to_string();
        assert!(!text.contains("hush") && !text.contains("since=1"), "{text}");
    }

    #[test]
    fn the_end_tells_what_was_read_written_and_asserted() {
        let (settings, lineage) = (settings(), lineage());
        let mut ended = summary(Status::Published);
        let failed = CheckResult { passed: false, violations: 3, ..CheckResult::new("dim_user_key_unique", Severity::Warn) };
        ended.checks = vec![CheckResult::new("fact_key_unique", Severity::Error), failed];
        let tables = [(FACTS, WrittenTable { rows: Some(9), bytes: 700, files: 2 })].into();
        let written = WrittenLayer { quantity: QuantityType::Decimal, tables };
        let event = run(&settings, &lineage).ended(EndedRun { summary: &ended, written: Some(&written), error: None });
        assert_eq!(event["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"], 7);
        let users = &event["inputs"][2];
        assert_eq!(users["name"], "/srv/output/dims/dim_user/dim_user.csv");
        let assertion = &users["inputFacets"]["dataQualityAssertions"]["assertions"][0];
        let (kind, success) = (&assertion["assertion"], &assertion["success"]);
        assert_eq!(
            (kind, success, &assertion["actual"], &assertion["severity"]),
            (&"unique".into(), &false.into(), &"3".into(), &"warn".into())
        );
        let written = |place: usize| event["outputs"][place]["outputFacets"]["outputStatistics"].clone();
        assert_eq!((&written(0)["rowCount"], &written(0)["size"], &written(0)["fileCount"]), (&9.into(), &700.into(), &2.into()));
        assert_eq!((&written(1)["rowCount"], &written(1)["fileCount"]), (&0.into(), &0.into()), "what stays is not written");
        let types: Vec<_> =
            event["outputs"][0]["facets"]["schema"]["fields"].as_array().unwrap().iter().map(|field| &field["type"]).collect();
        assert_eq!(types[6], "DECIMAL(18,4)", "quantities are of the type of the layer");
    }

    #[test]
    fn a_side_fact_that_no_profile_maps_is_told_if_checks_have_read_it() {
        let (settings, lineage) = (settings(), lineage());
        let mut ended = summary(Status::Published);
        ended.checks = vec![CheckResult::new("order_total_key_unique", Severity::Error)];
        let event = run(&settings, &lineage).ended(EndedRun { summary: &ended, written: None, error: None });
        assert_eq!(
            (&event["inputs"][1]["name"], &event["outputs"][1]["name"]),
            (&"/srv/output/order_totals".into(), &"/srv/output/order_totals".into())
        );
    }

    #[test]
    fn a_failed_run_says_why_and_writes_nothing() {
        let (settings, lineage) = (settings(), lineage());
        let ended = summary(Status::ExtractFailed);
        let event = run(&settings, &lineage).ended(EndedRun { summary: &ended, written: None, error: Some("no answer") });
        assert_eq!((&event["eventType"], &event["run"]["facets"]["errorMessage"]["message"]), (&"FAIL".into(), &"no answer".into()));
        assert_eq!(event["outputs"][0]["outputFacets"], json!({}));
    }

    #[test]
    fn a_rebuild_is_a_job_of_its_own_over_the_kept_records() {
        let (settings, lineage) = (settings(), lineage());
        let rebuild = LineageRun { command: CommandName::Rebuild, datasets: Datasets::Kept(places::RAW), ..run(&settings, &lineage) };
        let event = rebuild.started(&summary(Status::InternalError));
        assert_eq!((&event["job"]["name"], &event["inputs"][0]["name"]), (&"orders_etl.orders.rebuild".into(), &"/srv/output/raw".into()));
    }

    #[test]
    fn a_change_of_the_layer_is_a_job_of_its_own_that_reads_no_source() {
        let (settings, lineage) = (settings(), lineage());
        let tables = [(FACTS, WrittenTable { rows: Some(9), bytes: 700, files: 2 })].into();
        let written = WrittenLayer { quantity: QuantityType::Whole, tables };
        for (command, job) in [(CommandName::Undo, "undo"), (CommandName::Erase, "erase"), (CommandName::Rewrite, "rewrite")] {
            let change = LineageRun { command, datasets: Datasets::Tables, mapping: None, ..run(&settings, &lineage) };
            // A rewrite that ends half way has put some of its partitions.
            for status in [Status::Published, Status::StorageFailed] {
                let event = change.ended(EndedRun { summary: &summary(status), written: Some(&written), error: None });
                assert_eq!((&event["job"]["name"], &event["inputs"]), (&format!("orders_etl.orders.{job}").into(), &json!([])));
                let facts = &event["outputs"][0];
                assert_eq!(facts["outputFacets"]["outputStatistics"]["rowCount"], 9, "{status:?}");
                assert!(facts["facets"].get("columnLineage").is_none(), "what was stored stays of the sources that it is of");
            }
        }
    }

    #[test]
    fn settings_that_cannot_be_used_name_a_job_and_no_dataset() {
        let (settings, lineage) = (settings(), lineage());
        let refused = LineageRun { datasets: Datasets::Unknown, mapping: None, ..run(&settings, &lineage) };
        let ended = summary(Status::InvalidConfiguration);
        let event = refused.ended(EndedRun { summary: &ended, written: None, error: Some("--since: not a time") });
        assert_eq!((&event["eventType"], &event["inputs"], &event["outputs"]), (&"FAIL".into(), &json!([]), &json!([])));
        assert_eq!(event["run"]["facets"]["errorMessage"]["message"], "--since: not a time");
    }
}
