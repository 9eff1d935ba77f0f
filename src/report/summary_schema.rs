//! `etl schema json`: the keys of a summary with type and meaning, and the JSON Schema that is made of them. Not how a summary is made or
//! read: the type `Summary` is the truth. Tests compare the keys with the documentation, and the schema with summaries of runs.

use serde_json::{Map, Value, json};

use super::Status;

/// What a key holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum KeyType {
    /// A text.
    Text,
    /// One of the statuses.
    Status,
    /// A count, or a number of bytes.
    Integer,
    /// A number of seconds.
    Number,
    /// True or false.
    Boolean,
    /// RFC 3339, in UTC.
    Time,
    /// Days.
    Dates,
    /// Texts.
    Texts,
    /// Rows: a text or null by column.
    Samples,
    /// Counts by name.
    Counts,
    /// Money by currency.
    Amounts,
    /// Seconds by name.
    Seconds,
    /// The keys below this path.
    Object(&'static str),
    /// Objects, with the keys below this path.
    List(&'static str),
    /// For each dimension, the keys below [`A_DIMENSION`].
    Dimensions,
    /// Whether a source was read whole: the keys below [`COMPLETENESS`], without those of other sources.
    Certificate,
}

use KeyType::{
    Amounts, Boolean, Certificate, Counts, Dates, Dimensions, Integer, List, Number, Object, Samples, Seconds, Status as OneStatus, Text,
    Texts, Time,
};

/// The path of the keys of a dimension.
const A_DIMENSION: &str = "dimensions.*";

/// The path of the keys that say whether the orders were read whole.
const COMPLETENESS: &str = "completeness";

/// Whether a key may hold null. Every key is always there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Nullability {
    Never,
    OrNull,
}

/// A key of a summary.
#[derive(Clone, Copy, Debug)]
struct SummaryKey {
    /// Its path, as the documentation writes it: `[]` is every element of a list, `*` is every key.
    path: &'static str,
    kind: KeyType,
    null: Nullability,
    meaning: &'static str,
}

const fn always(path: &'static str, kind: KeyType, meaning: &'static str) -> SummaryKey {
    SummaryKey { path, kind, null: Nullability::Never, meaning }
}

const fn or_null(path: &'static str, kind: KeyType, meaning: &'static str) -> SummaryKey {
    SummaryKey { path, kind, null: Nullability::OrNull, meaning }
}

/// All keys, in the order of the documentation.
static KEYS: [SummaryKey; 130] = [
    always("run_id", Text, "the run; sortable by its start, and unique"),
    or_null("commit", Integer, "the number of the commit in the log of the layer; null if the run was not committed"),
    always("command", Text, "`run`, `backfill` (one chunk), `replay`, `rebuild`, `rewrite`, `erase`, `demo` or `undo`"),
    or_null("replay_of", Text, "the run whose quarantine this run loads again"),
    or_null("undoes", Text, "the run that an `etl undo` took back"),
    or_null("shop", Text, "the shop whose orders the run loaded; null in a layer of one source"),
    or_null("rebuilt_from", Object("rebuilt_from"), "what an `etl rebuild` mapped again: see Result of a rebuild; null for other commands"),
    always("rebuilt_from.runs", Integer, "runs whose kept records were mapped again"),
    always("rebuilt_from.runs_undone", Integer, "runs that were left out because they were undone"),
    always("rebuilt_from.runs_before_gap", Integer, "runs that were left out because a later run did what no kept record tells"),
    or_null("rebuilt_from.gap_run", Text, "the last such later run; null if no run was left out for it"),
    or_null(
        "rebuilt_from.gap",
        Text,
        "what it did: `no_raw` (it kept no records), `deletions` (it deleted or marked orders) or `other_source` (it is of another source, and changed rows)",
    ),
    always("rebuilt_from.runs_of_other_sources", Integer, "runs that were left out because they are of another source or profile"),
    always("rebuilt_from.rows_not_covered", Integer, "rows of the layer that no kept record brought again"),
    always("status", OneStatus, "how the run ended: see Statuses"),
    or_null("since", Time, "the beginning of the window, which counts; null: open"),
    or_null("until", Time, "the end of the window, which does not count; null: open"),
    or_null(
        "shown_since",
        Time,
        "the source shows nothing older than this: the beginning of what it shows of the window, and of coverage; null: it shows all of the window",
    ),
    always("cursor", Text, "the time that the window is on: `created_at` or `updated_at`"),
    or_null("source_identity", Text, "which source the coverage of this run counts for: see windows.md; null if it counts for none"),
    or_null("profile", Text, "the profile of that source, or `default`"),
    always("rules", Text, "a fingerprint of the rules by which records become rows; empty if the run ended before it read anything"),
    always("started_at", Time, "when the run started"),
    always("finished_at", Time, "when the run ended"),
    always("execution_time_seconds", Number, "how long the run took, by a clock that never goes back"),
    always(
        "waited_seconds",
        Number,
        "how much of that the run waited for other runs: for their lease, and in attempts to commit that they were faster than",
    ),
    always("records_read", Integer, "records that the source delivered, without skipped ones"),
    always("records_processed_count", Integer, "records that became rows"),
    always("records_dropped_count", Integer, "records that were dropped"),
    always("records_out_of_window", Integer, "records outside of the window; they are not dropped"),
    always(
        "records_skipped",
        Integer,
        "records that `skip` of the profile leaves out, and those of whose lines `skip_lines` leaves none; `records_read` does not count them",
    ),
    always("dropped", Counts, "dropped records and lines by reason, for reasons that occurred: see orders.md"),
    always("lines_read", Integer, "lines of the records in the window"),
    always("lines_dropped", Integer, "lines that were dropped"),
    always("lines_skipped", Integer, "lines that the profile leaves out; `lines_read` does not count them"),
    always("refunds_read", Integer, "refunds that records with rows list"),
    always("refunds_dropped", Integer, "refunds without a readable id, time or money, and announced ones that did not come: see output.md"),
    always("refunds_skipped", Integer, "refunds that the profile leaves out; `refunds_read` does not count them"),
    always(
        "refunds_repeated",
        Integer,
        "refunds that have the id of another refund of their order, which `refunds_read` counts: see output.md",
    ),
    always("refund_totals_differing", Integer, "orders whose refunds do not add up to what the order itself says was paid back"),
    always("duplicates_dropped", Integer, "lines that lost to another line of the same run, or were added to it (deduplication)"),
    always("rows_inserted", Integer, "rows with a new key"),
    always("rows_updated", Integer, "rows that replace a stored row"),
    always("rows_unchanged", Integer, "rows that equal the stored row"),
    always("rows_moved", Integer, "rows that move to another partition"),
    always("rows_superseded", Integer, "lines that lost to a newer row of the layer"),
    always("rows_removed", Integer, "stored rows that a newer version of their order no longer has (`merge = \"order\"`)"),
    always(
        "rows_retained",
        Integer,
        "rows that stay because the newer version of their order has a dropped line (`merge = \"order\"`, or `repeated_sku = \"sum\"`)",
    ),
    always("rows_deleted", Integer, "stored rows of orders that the source no longer has, which were removed: see Deletions"),
    always("rows_marked", Integer, "the same rows, where they stay and get the status `deleted`"),
    or_null(
        "delete_missing",
        Text,
        "what was to become of orders that the source no longer has: `remove` or `mark`; null: nothing was looked for",
    ),
    always("orders_deleted", Integer, "orders that lost all their rows because the source no longer has them"),
    always("orders_marked", Integer, "orders whose rows got the status `deleted`"),
    or_null("deletions_refused", Text, "why nothing was deleted, although that was asked for"),
    always(
        "users_erased",
        Integer,
        "users who were erased: those of the source that the run left out, or those that an `etl erase` was asked for",
    ),
    always("lines_erased", Integer, "lines that lost what they said of a user who was erased"),
    always(
        "records_withheld",
        Integer,
        "records withheld from quarantine and `raw/`, since their user was erased; of a rebuild or a replay: those left out",
    ),
    always("prices_defaulted", Integer, "rows without a price; the price is 0"),
    always("prices_rounded", Integer, "prices with more than four decimals"),
    always("updated_at_unreadable", Integer, "records whose `updated_at` is not a time"),
    always("repeated_skus", Integer, "lines whose sku stands on an earlier line of their record"),
    always(
        "values_unreadable",
        Integer,
        "values that are present, not valid, and therefore NULL: the sum of orders and both dimensions; see orders.md",
    ),
    always("texts_cut", Integer, "texts of more than 65,535 bytes that were cut: the sum of orders and both dimensions; see orders.md"),
    always("partitions_written", Dates, "partitions that the run wrote"),
    always("partitions_removed", Dates, "partitions that lost their last row"),
    always("order_totals_changed", Dates, "partitions whose file of `fact_order_total` was written or removed"),
    always("refunds_changed", Dates, "days whose file of `fact_refund` was written or removed"),
    always("partitions_unchanged", Integer, "partitions that the run has lines for, and that stay as they are"),
    always(
        "revenue",
        Amounts,
        "the sum of `line_total` by currency, as strings, of rows inserted, updated, moved and unchanged; `\"\"` is no currency",
    ),
    or_null(
        "check_scope",
        Text,
        "which partitions the built-in checks looked at: `changed`, those that the run publishes, or `full`, all; null if no check ran",
    ),
    always("checks", List("checks[]"), "the checks that ran: see checks.md"),
    always("checks[].name", Text, "the check"),
    always("checks[].severity", Text, "`error` or `warn`"),
    always("checks[].passed", Boolean, "whether there were no more violations than the check accepts"),
    always("checks[].violations", Integer, "how many there were"),
    always("checks[].sample", Samples, "the first five, column by column, as strings or null"),
    or_null("checks[].rows_kept", Integer, "how many violating rows `file` has, at most 100,000; null if there is no file"),
    or_null("checks[].file", Text, "the CSV of the violating rows, relative to the output"),
    always("schema_changes", List("schema_changes[]"), "changes of the shape of the orders' records, the first 50: see sources.md"),
    always("schema_changes[].path", Text, "the path, as profiles write it; `*` is every element of a list, or every key of a map"),
    always("schema_changes[].change", Text, "`new`, `vanished` or `retyped`"),
    always(
        "schema_changes[].types",
        Texts,
        "the types of this run: `null`, `boolean`, `number`, `text`, `object`, `list`; empty for a vanished path",
    ),
    always("schema_changes[].was", Texts, "the types of earlier runs; empty for a new path"),
    always("schema_changes[].read", Boolean, "whether the run reads the path"),
    or_null(
        "schema_changes[].column",
        Text,
        "the `[[fact.columns]]` that takes the path, as TOML; null if the run reads it, or it has no single value",
    ),
    always("schema_changes_omitted", Integer, "changes beyond the first 50"),
    always("alerts", List("alerts[]"), "conditions that somebody should know of: see operations.md"),
    always("alerts[].kind", Text, "such as `dropped_share` or `incomplete`"),
    always("alerts[].message", Text, "the condition in words"),
    always("alerts_recovered", List("alerts[]"), "alerts of earlier runs that are over, with the same keys"),
    always("deliveries_failed", List("deliveries_failed[]"), "alerts that a receiver did not get; the next run tries again"),
    always("deliveries_failed[].receiver", Text, "`webhook`, `slack`, `teams` or `pagerduty`"),
    always("deliveries_failed[].kind", Text, "the kind of the alert"),
    always(
        "deliveries_failed[].error",
        Text,
        "why: the status code and the answer of the receiver, or the connection error with its causes",
    ),
    always("completeness", Object("completeness"), "whether the run has all orders of its window that the source has: see Completeness"),
    or_null("completeness.status", Text, "`proven`, `unproven` or `failed`; null if the orders were not read to their end"),
    or_null(
        "completeness.by",
        Text,
        "what shows it: `total`, `count`, `cursor`, `second_reading`, `single` or `file`; null if it is not proven",
    ),
    or_null("completeness.claimed", Integer, "how many records the source says that it has"),
    or_null("completeness.read", Integer, "how many records came, with repeated ones"),
    or_null("completeness.distinct", Integer, "how many different ids these have; null if they were not counted"),
    or_null("completeness.why", Text, "why it is not proven"),
    or_null("completeness.users", Certificate, "the same keys for users; null if no users were read"),
    or_null("completeness.products", Certificate, "the same keys for products; null if no products were read"),
    always("source", Object("source"), "what was requested and read: orders, users and products together"),
    always("source.requests", Integer, "HTTP requests, with repeated ones and redirects"),
    always("source.retries", Integer, "requests that were repeated after a failure"),
    always("source.pages", Integer, "responses with records; for files, the files"),
    always("source.bytes", Integer, "bytes after decompression"),
    always("source.repeated_lines", Integer, "lines that stand in a file of records and children again as they are, and count once"),
    or_null("source.orders", Object("source.orders"), "the same of the orders alone; null if none were asked for"),
    always("source.orders.requests", Integer, "HTTP requests, with repeated ones and redirects"),
    always("source.orders.retries", Integer, "requests that were repeated after a failure"),
    always("source.orders.pages", Integer, "responses with records; for files, the files"),
    always("source.orders.bytes", Integer, "bytes after decompression"),
    or_null("raw", Object("raw"), "the records that the run kept (`--keep-raw`): see output.md; null if it kept none"),
    always("raw.file", Text, "their file, relative to the output"),
    always("raw.bytes", Integer, "its size"),
    always("raw.records", Integer, "how many records it has"),
    always("dimensions", Dimensions, "`dim_user` and `dim_product`, each with the keys below"),
    always("dimensions.*.records_read", Integer, "records of the source"),
    always(
        "dimensions.*.records_dropped",
        Integer,
        "records without a key, that are not JSON objects in UTF-8, or that are beyond a limit",
    ),
    always(
        "dimensions.*.values_unreadable",
        Integer,
        "ids, texts, times and amounts that are not valid, and are NULL; values of columns that are left out",
    ),
    always("dimensions.*.texts_cut", Integer, "texts that were cut"),
    always("dimensions.*.members", Integer, "members after the run"),
    always("dimensions.*.inferred", Integer, "members that only orders name (late-arriving)"),
    always("dimensions.*.inserted", Integer, "new members"),
    always("dimensions.*.updated", Integer, "members whose attributes changed"),
    always(
        "stage_seconds",
        Seconds,
        "seconds by stage: `open`, `dimensions`, `extract`, `merge`, `check`, `publish`; in the report that a bucket keeps, `publish` ends where the new files are stored and the commit is made",
    ),
    or_null("peak_memory_bytes", Integer, "the most memory of the process; null if the system does not tell"),
    or_null("error", Text, "why the run failed"),
];

impl SummaryKey {
    /// The path of the object that has it.
    fn parent(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }

    fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    fn schema(&self) -> Value {
        let mut schema = self.kind.schema();
        if self.null == Nullability::OrNull {
            let kind = schema["type"].take();
            schema["type"] = json!([kind, "null"]);
        }
        schema["description"] = json!(self.meaning);
        schema
    }
}

impl KeyType {
    /// The schema of a value. It always says `type`.
    fn schema(self) -> Value {
        let by_name = |values: Value| json!({"type": "object", "additionalProperties": values});
        let list = |elements: Value| json!({"type": "array", "items": elements});
        let count = || json!({"type": "integer", "minimum": 0});
        match self {
            Text => json!({"type": "string"}),
            OneStatus => json!({"type": "string", "enum": Status::all().map(Status::as_str).collect::<Vec<_>>()}),
            Integer => count(),
            Number => json!({"type": "number", "minimum": 0}),
            Boolean => json!({"type": "boolean"}),
            Time => json!({"type": "string", "format": "date-time"}),
            Dates => list(json!({"type": "string", "format": "date"})),
            Texts => list(json!({"type": "string"})),
            Samples => list(by_name(json!({"type": ["string", "null"]}))),
            Counts => by_name(count()),
            Amounts => by_name(json!({"type": "string", "pattern": r"^-?[0-9]+\.[0-9]{4}$"})),
            Seconds => by_name(json!({"type": "number", "minimum": 0})),
            Object(path) => object(keys_below(path)),
            List(path) => list(object(keys_below(path))),
            Dimensions => by_name(object(keys_below(A_DIMENSION))),
            Certificate => object(keys_below(COMPLETENESS).filter(|key| key.kind != Certificate)),
        }
    }
}

fn keys_below(parent: &str) -> impl Iterator<Item = &'static SummaryKey> {
    KEYS.iter().filter(move |key| key.parent() == parent)
}

/// An object that has each of these keys. A newer version may have more.
fn object(keys: impl Iterator<Item = &'static SummaryKey>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for key in keys {
        properties.insert(key.name().to_owned(), key.schema());
        required.push(key.name());
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// The JSON Schema (2020-12) of the summary of a run.
pub fn summary_schema() -> Value {
    let mut schema = object(keys_below(""));
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Summary of a run of etl");
    schema["description"] =
        json!(concat!("The summary of a run, as version ", env!("CARGO_PKG_VERSION"), " writes it. Later versions may add keys."));
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The type, as the documentation writes it.
    fn written(key: &SummaryKey) -> String {
        let kind = match key.kind {
            Text | OneStatus => "string",
            Integer => "integer",
            Number => "number",
            Boolean => "boolean",
            Time => "time",
            Dates => "array of dates",
            Texts => "array of strings",
            Samples => "array of objects",
            Counts | Amounts | Seconds | Object(_) | Dimensions | Certificate => "object",
            List(_) => "array",
        };
        let null = if key.null == Nullability::OrNull { " or null" } else { "" };
        format!("{kind}{null}")
    }

    /// The text without links: of `[page](address)`, the page.
    fn without_links(text: &str) -> String {
        let mut pieces = text.split("](");
        let mut plain = pieces.next().unwrap().to_owned();
        for piece in pieces {
            plain += piece.split_once(')').unwrap().1;
        }
        // What is left of a link is its opening bracket. `[[` begins a table of TOML.
        plain.replace("[[", "\u{1}").replace('[', "").replace('\u{1}', "[[")
    }

    /// Path, type and meaning of each key in a section of the documentation, as one text.
    fn documented(page: &str, heading: &str, above: &str) -> Vec<String> {
        let section = page.split(&format!("\n## {heading}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")).map(|row| row.splitn(3, " | "));
        let texts = rows.map(|mut cells| {
            let mut next = || cells.next().unwrap();
            format!("{above}{} | {} | {}", next().trim_matches('`'), next(), without_links(next()))
        });
        texts.collect()
    }

    #[test]
    fn the_keys_are_those_of_the_documentation_with_type_and_meaning() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/summary.md");
        let page = std::fs::read_to_string(path).unwrap();
        let own = |is_of_rebuild: bool| {
            let keys = KEYS.iter().filter(move |key| (key.parent() == "rebuilt_from") == is_of_rebuild);
            keys.map(|key| format!("{} | {} | {}", key.path, written(key), key.meaning)).collect::<Vec<_>>()
        };
        assert_eq!(own(false), documented(&page, "Keys", ""));
        assert_eq!(own(true), documented(&page, "Result of a rebuild", "rebuilt_from."));
    }

    #[test]
    fn every_key_has_its_place_in_the_schema() {
        let schema = summary_schema();
        for key in KEYS {
            let pointer = key.path.replace("[]", "/items").replace(".*", "/additionalProperties").replace('.', "/properties/");
            let found = schema.pointer(&format!("/properties/{pointer}"));
            assert_eq!(found.and_then(|found| found["description"].as_str()), Some(key.meaning), "{}", key.path);
        }
    }
}
