//! `[orders.bulk]`: an operation that the source works on by itself, and whose result is a file. Not how it is started and awaited.

use std::time::Duration;

use super::{
    BodyTemplate, HttpProfile, Pagination,
    table::{body, verify_places, word},
};
use crate::{
    model::FieldPath,
    settings::{Cursor, SettingsError, reader::Reader, setting::bounds},
};

/// How a bulk operation is started over HTTP, and how its result is found.
#[derive(Clone, PartialEq, Debug)]
pub struct BulkOperation {
    /// The request that starts it.
    pub start: BodyTemplate,
    /// Where the answer has the id of the operation.
    pub id: FieldPath,
    /// Where the answer lists why nothing was started.
    pub errors: Option<FieldPath>,
    /// Words of such an error that mean: another operation runs, so ask again later.
    pub busy: Vec<String>,
    /// The time that windows over HTTP are on, where the source itself names none.
    pub cursor: Option<Cursor>,
    /// How it is awaited.
    pub poll: BulkPoll,
}

/// How a bulk operation is awaited.
#[derive(Clone, PartialEq, Debug)]
pub struct BulkPoll {
    /// The request that asks for its state, with a place `{id}`.
    pub ask: BodyTemplate,
    /// Where the answer has its status.
    pub status: FieldPath,
    /// The statuses of an operation whose result is complete.
    pub done: Vec<String>,
    /// Those of one that has none. With any other status it still runs.
    pub failed: Vec<String>,
    /// Where the answer has the URL of the result; null there: nothing matched.
    pub url: FieldPath,
    /// Where it says why the operation failed.
    pub error: Option<FieldPath>,
    /// Where it counts the records of the result.
    pub records: Option<FieldPath>,
    /// Where it counts the records with their children.
    pub objects: Option<FieldPath>,
    /// The first wait; each is half as long again as the one before, up to a minute.
    pub interval: Duration,
    /// How long it is awaited.
    pub timeout: Duration,
}

/// The keys of `bulk`.
pub(super) const KEYS: [&str; 7] = ["graphql", "variables", "id", "errors", "busy", "cursor", "poll"];

/// The keys of `bulk.poll`.
pub(super) const POLL_KEYS: [&str; 11] =
    ["graphql", "variables", "status", "done", "failed", "url", "error", "records", "objects", "interval", "timeout"];

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Reads the table; `http` says which parameters there are. `false` takes away that of a shipped profile.
pub(super) fn read(source: &Reader<'_>, http: &HttpProfile) -> Result<Option<BulkOperation>, SettingsError> {
    let Some(table) = source.inner_unless_false("bulk")? else { return Ok(None) };
    table.only(&KEYS)?;
    if source.table().get("children").is_none() {
        return Err(source.error("bulk", "`children` is missing: it says how the lines of the result belong together"));
    }
    if http.body.is_some() {
        return Err(source.error("bulk", "the source has a list by POST, too: leave one of the two out"));
    }
    let Some(poll) = table.inner("poll")? else { return Err(table.error("poll", "this key is needed here")) };
    poll.only(&POLL_KEYS)?;
    Ok(Some(BulkOperation {
        start: request(&table, http, &[])?,
        id: table.needed_path("id")?,
        errors: table.path("errors")?,
        busy: table.scalars("busy")?,
        cursor: word(&table, "cursor", &[("created_at", Cursor::Created), ("updated_at", Cursor::Updated)])?,
        poll: BulkPoll {
            ask: request(&poll, http, &["id"])?,
            status: poll.needed_path("status")?,
            done: statuses(&poll, "done")?,
            failed: statuses(&poll, "failed")?,
            url: poll.needed_path("url")?,
            error: poll.path("error")?,
            records: poll.path("records")?,
            objects: poll.path("objects")?,
            interval: poll.value("interval", bounds::BULK_INTERVAL)?.map_or(Ok(INTERVAL), |own| own.span(bounds::BULK_INTERVAL))?,
            timeout: poll.value("timeout", bounds::BULK_TIMEOUT)?.map_or(Ok(TIMEOUT), |own| own.span(bounds::BULK_TIMEOUT))?,
        },
    }))
}

/// The request of a table, with places for the parameters of the source and these others.
fn request(table: &Reader<'_>, http: &HttpProfile, others: &[&str]) -> Result<BodyTemplate, SettingsError> {
    let body = body(table)?.ok_or_else(|| table.error("graphql", "this key is needed here"))?;
    let asks = HttpProfile { pagination: Pagination::Single, templates: Vec::new(), body: Some(body.clone()), ..http.clone() };
    verify_places(table, &asks, others.iter().copied())?;
    Ok(body)
}

fn statuses(table: &Reader<'_>, key: &str) -> Result<Vec<String>, SettingsError> {
    let statuses = table.scalars(key)?;
    if statuses.is_empty() {
        return Err(table.error(key, "write at least one status: else no operation ends so"));
    }
    Ok(statuses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{SourceKind, toml_tree::Table};

    const CHILDREN: &str = "children.lists = { LineItem = 'lines' }\nfilter = { since = 'since' }\n";
    const START: &str = "[bulk]\ngraphql = 'mutation($q: String!) { start(q: $q) { id } }'\nid = 'data.start.id'\n";
    const POLL: &str = "[bulk.poll]\ngraphql = 'query($id: ID!) { node(id: $id) { status url } }'\nvariables = { id = '{id}' }\n\
                        status = 'data.node.status'\nurl = 'data.node.url'\ndone = ['COMPLETED']\nfailed = ['FAILED']\n";

    fn bulk(text: &str) -> Result<Option<BulkOperation>, String> {
        let table = Table::parse("etl.toml", text).unwrap();
        super::super::table::read(&table, SourceKind::Orders).map(|read| read.profile.bulk).map_err(|error| error.to_string())
    }

    #[test]
    fn an_operation_has_defaults_for_its_waits_and_none_for_what_it_must_know() {
        let operation = bulk(&[CHILDREN, START, POLL].concat()).unwrap().unwrap();
        assert_eq!((operation.poll.interval, operation.poll.timeout), (Duration::from_secs(10), Duration::from_secs(86_400)));
        assert_eq!((operation.errors, operation.cursor, operation.busy.len()), (None, None, 0));
        assert_eq!(operation.poll.done, ["COMPLETED"]);
        let waits = [CHILDREN, START, POLL, "interval = '20ms'\ntimeout = '2h'\n"].concat();
        let poll = bulk(&waits).unwrap().unwrap().poll;
        assert_eq!((poll.interval, poll.timeout), (Duration::from_millis(20), Duration::from_secs(7200)));
        assert_eq!(bulk("bulk = false").unwrap(), None);
    }

    #[test]
    fn every_mistake_names_its_key() {
        for (text, message) in [
            ([START, POLL].concat(), "`orders.bulk`: `children` is missing"),
            ([CHILDREN, START].concat(), "`orders.bulk.poll`: this key is needed here"),
            ([CHILDREN, "graphql = '{ a }'\n", START, POLL].concat(), "the source has a list by POST, too"),
            ([CHILDREN, START, "variables = { q = '{sicne}' }\n", POLL].concat(), "`{sicne}` (did you mean `{since}`?)"),
            ([CHILDREN, START, "variables = { q = '{id}' }\n", POLL].concat(), "no parameter fills the place `{id}`"),
            ([CHILDREN, START, &POLL.replace("'COMPLETED'", "")].concat(), "`orders.bulk.poll.done`: write at least one status"),
            ([CHILDREN, START, &POLL.replace("url = ", "ulr = ")].concat(), "unknown key `ulr`: did you mean `url`?"),
            ([CHILDREN, START, POLL, "interval = '0ms'\n"].concat(), "write a span of at least 1ms"),
        ] {
            let error = bulk(&text).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
