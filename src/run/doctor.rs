//! `etl doctor`: whether each part that the settings name works. It reads, with one small request a part, and writes nothing.
//!
//! Not here: mistakes of the settings themselves, which are found before.

use std::{fs::OpenOptions, path::Path, time::Duration};

use serde::Serialize;

use super::{RunError, by_settings, interrupted, outside::refuse_lineage_inside_layer, shape};
use crate::{
    cancel::Cancel,
    check,
    lineage::{self, ServerAnswer},
    model::{DIM_PRODUCT, DIM_USER, RunId, UtcMicros, counted},
    net::{Network, redact},
    report::alert,
    settings::{Auth, HttpSettings, LineageReceiver, Location, OutputLocation, Profile, Settings, Source, SourceKind},
    source::{self, Access, Purpose, Query, Reached, RecordShape, RequestFailure, SourceCounters, SourceError},
    store::{self, Head, Output, StoreError},
    warehouse::redshift::Session,
};

/// Free bytes below which a run is likely to fail.
const TOO_LITTLE: u64 = 64 << 20;

/// Free bytes below which it is worth a look.
const LITTLE: u64 = 1 << 30;

/// From so many bytes on, free space is told in GiB.
const MANY: u64 = 10 << 30;

/// How far the clock may be off, in seconds: a request to a bucket is refused from 15 minutes on.
const CLOCK_TOLERANCE: i64 = 60;

/// How a part is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// It works.
    Works,
    /// It works, or could not be tried, and is worth a look.
    Warns,
    /// It does not work.
    Fails,
    /// The settings do not name it.
    Unused,
}

impl PartState {
    /// The word of a table.
    pub fn as_str(self) -> &'static str {
        match self {
            PartState::Works => "works",
            PartState::Warns => "warns",
            PartState::Fails => "FAILS",
            PartState::Unused => "unused",
        }
    }
}

/// A part, and how it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Part {
    /// Its name.
    pub part: String,
    /// How it is.
    pub state: PartState,
    /// What was found, or why it does not work.
    pub detail: String,
    /// The exit code of the command, if this is the first part that fails.
    #[serde(skip)]
    pub exit_code: u8,
}

impl Part {
    fn new(part: impl Into<String>, state: PartState, detail: impl Into<String>) -> Part {
        Part { part: part.into(), state, detail: detail.into(), exit_code: 0 }
    }

    fn failed(part: impl Into<String>, error: &RunError) -> Part {
        Part { exit_code: error.exit_code(), ..Part::new(part, PartState::Fails, error.to_string()) }
    }
}

/// Looks at every part. `all` are the settings of each shop, or the only ones.
///
/// # Errors
/// A signal.
pub fn examine_parts(all: &[Settings], cancel: &Cancel) -> Result<Vec<Part>, RunError> {
    let mut parts = Vec::new();
    let mut clock = None;
    for settings in all {
        let sources = SourceLook::new(settings, cancel);
        for kind in SourceKind::ALL {
            let looked = sources.look(kind);
            parts.extend(looked.parts);
            clock = clock.or(looked.clock);
            if cancel.is_stopped() {
                return Err(interrupted(cancel));
            }
        }
    }
    let Some(settings) = all.first() else { return Ok(parts) };
    let head = output(settings, &mut parts);
    disks(settings, &mut parts);
    parts.push(clock_part(clock, head.as_ref()));
    parts.push(checks(settings));
    parts.push(warehouse(settings, cancel));
    receivers(settings, &mut parts);
    lineage_receivers(settings, &mut parts);
    if cancel.is_stopped() { Err(interrupted(cancel)) } else { Ok(parts) }
}

/// How far the clock of this machine is ahead of that of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ServerClock {
    seconds_ahead: i64,
}

/// What a look at a source has found.
#[derive(Default)]
struct Looked {
    parts: Vec<Part>,
    clock: Option<ServerClock>,
}

/// Looks at the sources of one shop, or at the only ones.
struct SourceLook<'s> {
    settings: &'s Settings,
    /// With one attempt a request: a look is not worth a wait of minutes.
    http: HttpSettings,
    network: Network,
    counters: SourceCounters,
    cancel: &'s Cancel,
}

impl<'s> SourceLook<'s> {
    fn new(settings: &'s Settings, cancel: &'s Cancel) -> SourceLook<'s> {
        let http = HttpSettings { max_attempts: 1, ..settings.http.clone() };
        SourceLook { settings, network: Network::new(&http), http, counters: SourceCounters::default(), cancel }
    }

    fn look(&self, kind: SourceKind) -> Looked {
        let Settings { orders, users, products, .. } = self.settings;
        let (source, shape): (Option<&Source>, fn(&Profile) -> RecordShape) = match kind {
            SourceKind::Orders => (orders.as_ref(), shape::of_orders),
            SourceKind::Users => (users.as_ref(), |profile| shape::of_dimension(&DIM_USER, profile)),
            SourceKind::Products => (products.as_ref(), |profile| shape::of_dimension(&DIM_PRODUCT, profile)),
        };
        let name = self.name_of(kind);
        let Some(source) = source else { return Looked { parts: vec![self.unnamed(kind, name)], clock: None } };
        if let Some(variables) = source.missing_credentials() {
            let token = Part::failed(token_of(&name), &SourceError::Credentials { variables }.into());
            let detail = format!("{}: not asked, since it needs credentials", source.location);
            return Looked { parts: vec![Part::new(name, PartState::Warns, detail), token], clock: None };
        }
        let purpose = if kind == SourceKind::Orders { Purpose::Orders } else { Purpose::Members };
        let access = Access { http: &self.http, ..by_settings::access(self.settings, &self.network, &self.counters, self.cancel) };
        let shape = shape(&source.profile);
        let query = Query { cursor: self.settings.cursor, ..Query::all(source, &shape) };
        let found = source::reach(&source.location, purpose, &query, &access);
        looked(&name, source, found, self.settings)
    }

    /// A source that the settings do not name. Orders are needed.
    fn unnamed(&self, kind: SourceKind, name: String) -> Part {
        match (kind, self.settings.require_orders()) {
            (SourceKind::Orders, Err(error)) => Part::failed(name, &error.into()),
            _ if self.settings.unread_members.contains(&kind) => {
                Part::new(name, PartState::Unused, "not read: described, but nothing says where they are: name them, or the API (`url`)")
            }
            _ => Part::new(name, PartState::Unused, "no source is named"),
        }
    }

    /// The name of a source as a part; that of a shop has the shop before it.
    fn name_of(&self, kind: SourceKind) -> String {
        let table = kind.table();
        self.settings.shop.as_ref().map_or_else(|| table.to_owned(), |shop| format!("{} {table}", shop.name))
    }
}

fn token_of(name: &str) -> String {
    format!("{name} token")
}

/// The parts of a source that was asked: itself, and its credentials where it has any.
fn looked(name: &str, source: &Source, found: Result<Reached, SourceError>, settings: &Settings) -> Looked {
    let has_credentials = matches!(source.location, Location::Http(_))
        && match source.profile.http.auth {
            Auth::None => false,
            Auth::Environment => !source.credentials.is_empty(),
            _ => true,
        };
    let location = &source.location;
    let part = |detail: String| Part::new(name, PartState::Works, format!("{location}: {detail}"));
    let token = has_credentials.then(|| token(name, &found));
    let (own, clock) = match found {
        Ok(Reached::Page { records: Some(records), served_at }) => {
            (part(format!("{} on the first page", counted(records as u64, "record"))), served_at)
        }
        Ok(Reached::Page { records: None, served_at }) => {
            let probe = settings.orders_command_line("probe");
            let detail = format!("{location}: it answers, and has no records where the profile looks for them (`{probe}` shows more)");
            (Part { exit_code: NO_RECORDS, ..Part::new(name, PartState::Fails, detail) }, served_at)
        }
        Ok(Reached::Files(files)) => (part(counted(files as u64, "file")), None),
        Err(error @ SourceError::BulkUnasked { .. }) => (Part::new(name, PartState::Warns, error.to_string()), None),
        Err(error) => (Part::failed(name, &error.into()), None),
    };
    let seconds_ahead = |served_at: UtcMicros| UtcMicros::now().micros().saturating_sub(served_at.micros()) / UtcMicros::SECOND;
    let clock = clock.map(|served_at| ServerClock { seconds_ahead: seconds_ahead(served_at) });
    Looked { parts: [own].into_iter().chain(token).collect(), clock }
}

/// The exit code of a source without records: that of a run over it.
const NO_RECORDS: u8 = 3;

/// Whether the credentials of a source were taken.
fn token(name: &str, found: &Result<Reached, SourceError>) -> Part {
    let name = token_of(name);
    let failure = match found {
        Ok(_) => return Part::new(name, PartState::Works, "the source takes the credentials"),
        Err(SourceError::Request(failed)) => &failed.cause,
        Err(_) => return Part::new(name, PartState::Warns, "not tried: the source was not asked"),
    };
    match failure {
        RequestFailure::Token { .. } | RequestFailure::Status { status: 401 | 403, .. } => {
            Part { exit_code: NO_RECORDS, ..Part::new(name, PartState::Fails, failure.to_string()) }
        }
        _ => Part::new(name, PartState::Warns, "not known: the source did not answer as it should"),
    }
}

/// The output and its newest commit.
fn output(settings: &Settings, parts: &mut Vec<Part>) -> Option<Head> {
    let looked = Output::open(&settings.output).and_then(|output| {
        let head = store::head(&output)?;
        if let OutputLocation::Folder(folder) = &settings.output {
            store::is_writable(existing(folder))?;
        }
        Ok(head)
    });
    match looked {
        Ok(head) => {
            let commit = head.as_ref().map_or_else(
                || "nothing is loaded yet".to_owned(),
                |head| format!("{}, the last by run {}", counted(head.commit.number, "commit"), head.commit.run_id),
            );
            let note = match &settings.output {
                OutputLocation::Folder(_) => "",
                OutputLocation::Bucket(_) => "; it can be read, and whether it can be written a run shows",
            };
            parts.push(Part::new("output", PartState::Works, format!("{}: {commit}{note}", settings.output)));
            head
        }
        Err(error) => {
            parts.push(Part::failed("output", &error.into()));
            None
        }
    }
}

/// A folder, or the nearest one above it that exists.
fn existing(folder: &Path) -> &Path {
    let found = folder.ancestors().find(|folder| folder.exists());
    found.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The space where the output lies, and where runs spill.
fn disks(settings: &Settings, parts: &mut Vec<Part>) {
    if let OutputLocation::Folder(folder) = &settings.output {
        parts.push(disk("disk of the output", existing(folder)));
    }
    parts.push(disk("disk of spills", &std::env::temp_dir()));
}

fn disk(part: &str, folder: &Path) -> Part {
    match store::free_space(folder) {
        Ok(free) => space(part, free),
        Err(error) => Part::failed(part, &error.into()),
    }
}

fn space(part: &str, free: u64) -> Part {
    let amount = if free < MANY { format!("{} MiB", free >> 20) } else { format!("{} GiB", free >> 30) };
    let detail = format!("{amount} are free");
    match free {
        free if free < TOO_LITTLE => Part { exit_code: DISK_FULL, ..Part::new(part, PartState::Fails, detail) },
        free if free < LITTLE => Part::new(part, PartState::Warns, detail),
        _ => Part::new(part, PartState::Works, detail),
    }
}

/// The exit code of a run that finds the disk full.
const DISK_FULL: u8 = 5;

/// The clock of this machine, against that of a server, or else against the newest run.
fn clock_part(server: Option<ServerClock>, head: Option<&Head>) -> Part {
    if let Some(ServerClock { seconds_ahead }) = server {
        let direction = if seconds_ahead < 0 { "behind" } else { "ahead of" };
        let detail = format!("{} s {direction} that of the source", seconds_ahead.abs());
        let state = if seconds_ahead.abs() > CLOCK_TOLERANCE { PartState::Warns } else { PartState::Works };
        return Part::new("clock", state, detail);
    }
    let newest = head.and_then(|head| head.commit.newest_run_id.parse::<RunId>().ok()).and_then(|run_id| run_id.start());
    match newest {
        Some(newest) if newest > UtcMicros::now() => Part::new("clock", PartState::Warns, format!("behind the newest run, of {newest}")),
        Some(_) => Part::new("clock", PartState::Works, "not behind the newest run; no server has said the time"),
        None => Part::new("clock", PartState::Unused, "no server has said the time"),
    }
}

fn checks(settings: &Settings) -> Part {
    match check::load_custom(settings.checks.as_deref(), &settings.column_checks, &settings.schema()) {
        Ok(own) if own.is_empty() => Part::new("checks", PartState::Unused, "none of your own"),
        Ok(own) => Part::new("checks", PartState::Works, format!("{} of your own", own.len())),
        Err(error) => Part::failed("checks", &error.into()),
    }
}

fn warehouse(settings: &Settings, cancel: &Cancel) -> Part {
    if settings.redshift.connection.is_none() {
        return Part::new("warehouse", PartState::Unused, "ETL_REDSHIFT_URL is not set");
    }
    let session = Session::open(&settings.redshift, &settings.http.network, cancel);
    match session.and_then(|session| session.query("SELECT 1")) {
        Ok(_) => Part::new("warehouse", PartState::Works, "it answers"),
        Err(error) => Part::failed("warehouse", &error.into()),
    }
}

/// The exit code of a receiver that is not reached: that of `etl alerts test`.
const NOT_REACHED: u8 = 2;

fn receivers(settings: &Settings, parts: &mut Vec<Part>) {
    let alerts = &settings.alerts;
    if alerts.receivers.is_empty() {
        parts.push(Part::new("alerts", PartState::Unused, "no receiver is set"));
        return;
    }
    for alert::Reached { receiver, error } in alert::reach(&alerts.receivers, alerts.timeout, &settings.http.network) {
        let part = format!("alerts to {}", receiver.as_str());
        parts.push(match error {
            None => {
                Part::new(part, PartState::Works, format!("its server answers; `{}` sends an alert", settings.command_line("alerts test")))
            }
            Some(error) => Part { exit_code: NOT_REACHED, ..Part::new(part, PartState::Fails, error) },
        });
    }
}

/// Where events of lineage go. A receiver that fails changes no run, and yet it is told here like any other.
fn lineage_receivers(settings: &Settings, parts: &mut Vec<Part>) {
    let Some(lineage) = &settings.lineage else {
        parts.push(Part::new("lineage", PartState::Unused, "no receiver is set"));
        return;
    };
    if let Some(receiver) = &lineage.receiver {
        parts.push(lineage_server(receiver, lineage.timeout, settings));
    }
    if let Some(file) = &lineage.file {
        let refused = refuse_lineage_inside_layer(settings).err().map(|error| error.to_string());
        parts.push(match refused.or_else(|| is_appendable(file).err().map(|error| error.to_string())) {
            None => Part::new("lineage file", PartState::Works, format!("{}: it can be written", file.display())),
            Some(error) => Part { exit_code: NOT_REACHED, ..Part::new("lineage file", PartState::Fails, error) },
        });
    }
    parts.extend(lineage.problems.iter().map(|problem| Part::new("lineage parent", PartState::Warns, problem.clone())));
}

fn lineage_server(receiver: &LineageReceiver, timeout: Duration, settings: &Settings) -> Part {
    let url = redact::url(&receiver.url);
    let part = |state: PartState, detail: &str| {
        let exit_code = if state == PartState::Fails { NOT_REACHED } else { 0 };
        Part { exit_code, ..Part::new("lineage", state, format!("{url}: {detail}")) }
    };
    match lineage::ask_server(receiver, timeout, &settings.http.network) {
        Ok(ServerAnswer::Answers) => part(PartState::Works, "the server answers; no event was sent"),
        Ok(ServerAnswer::NotFound) => {
            let detail = "the server answers, and shows nothing at this path; no event was sent, and whether it takes one a run shows";
            part(PartState::Warns, detail)
        }
        Ok(ServerAnswer::Unauthorized(code)) => {
            let key = if receiver.key.is_some() { "does not take OPENLINEAGE_API_KEY" } else { "asks for OPENLINEAGE_API_KEY" };
            part(PartState::Fails, &format!("the server {key} ({code})"))
        }
        Ok(ServerAnswer::Unexpected(code)) => part(PartState::Fails, &format!("the server answers {code}")),
        Err(error) => part(PartState::Fails, &error),
    }
}

/// Whether a file can be added to. A missing one is not made: its folder must be writable.
fn is_appendable(file: &Path) -> Result<(), StoreError> {
    if file.exists() {
        return OpenOptions::new().append(true).open(file).map(|_| ()).map_err(StoreError::io("write to", file));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    store::is_writable(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_by_minutes_is_told() {
        let state = |seconds_ahead| clock_part(Some(ServerClock { seconds_ahead }), None).state;
        assert_eq!([0, 60, -60, 61, -61].map(state), {
            use PartState::{Warns, Works};
            [Works, Works, Works, Warns, Warns]
        });
        assert_eq!(clock_part(None, None).state, PartState::Unused);
    }

    #[test]
    fn a_disk_that_is_nearly_full_fails() {
        let found = |free| (space("disk", free).state, space("disk", free).exit_code);
        assert_eq!(found(TOO_LITTLE - 1), (PartState::Fails, 5));
        assert_eq!((found(LITTLE - 1), found(LITTLE)), ((PartState::Warns, 0), (PartState::Works, 0)));
        assert_eq!([MANY - 1, MANY].map(|free| space("disk", free).detail), ["10239 MiB are free", "10 GiB are free"]);
    }

    #[test]
    fn a_file_of_events_is_not_made_by_a_look() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("events.ndjson");
        assert!(is_appendable(&file).is_ok() && !file.exists());
        assert!(is_appendable(&dir.path().join("missing/events.ndjson")).is_err(), "nor its folder");
        assert!(is_appendable(dir.path()).is_err(), "a folder is no file");
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_the_one_above_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(existing(&dir.path().join("a/b")), dir.path());
        assert_eq!(existing(Path::new("no-such-folder-of-this-crate/x")), Path::new("."));
    }
}
