//! What is wrong with the request of a user, given what the output holds (exit 2). Not about settings by themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use super::erase::erase_command;
use crate::model::{Dt, UtcMicros, counted, shell_word};

/// A request that can't be served.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The history has no such run.
    #[error("no run `{run_id}` has been recorded in {output}: `etl runs` lists the runs of an output, and --output names another one")]
    UnknownRun {
        /// The run.
        run_id: String,
        /// The output that was searched.
        output: String,
    },
    /// The history has several runs of this beginning.
    #[error("more than one run begins with `{beginning}`: {}", first_of(runs))]
    AmbiguousRun {
        /// The beginning.
        beginning: String,
        /// The runs, the latest first.
        runs: Vec<String>,
    },
    /// A run that changed nothing, or failed.
    #[error("run `{run_id}` was not committed: it ended as {status}, and the layer is without it")]
    NotCommitted {
        /// The run.
        run_id: String,
        /// How it ended.
        status: &'static str,
    },
    /// A run of before an erasure.
    #[error("run `{run_id}` can't be undone: run `{erasure}` has erased a user since, and what earlier runs replaced is gone with that")]
    BeforeErasure {
        /// The run.
        run_id: String,
        /// The run of the erasure.
        erasure: String,
    },
    /// A run whose commit, or what it replaced, is no longer kept.
    #[error(
        "what run `{run_id}` replaced is no longer kept: the versions that this needs are gone, removed by a vacuum as past the `--keep` that it had"
    )]
    PastKeep {
        /// The run.
        run_id: String,
    },
    /// A run whose earlier versions an erasure has removed, or the erasure itself.
    #[error(
        "what run `{run_id}` replaced is gone: run `{erasure}` has erased a user, and an erasure removes all earlier versions of files"
    )]
    ErasedSince {
        /// The run.
        run_id: String,
        /// The run of the erasure.
        erasure: String,
    },
    /// Later runs have changed the same partitions.
    #[error("run `{run_id}` can't be undone, because {}", why_not_undone(later))]
    UndoRefused {
        /// The run.
        run_id: String,
        /// The days, by run.
        later: BTreeMap<LaterRun, BTreeSet<Dt>>,
    },
    /// An undo without a run. It has the commands that undo the latest runs.
    #[error("name the run to undo; {}", undoable(.0))]
    NoRunToUndo(Vec<String>),
    /// The window holds no instant.
    #[error("the window is empty: it begins at {since} and ends at {until}")]
    EmptyWindow {
        /// Its start.
        since: UtcMicros,
        /// Its end.
        until: UtcMicros,
    },
    /// A file or folder that a command would write, and that lies inside the layer.
    #[error("{option}: {} is a part of the layer in {output}, where nothing else may lie; name another place, outside of it", path.display())]
    InsideLayer {
        /// The option or setting that names it.
        option: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The output.
        output: String,
    },
    /// A backfill of an open window.
    #[error("a backfill needs a beginning: --since 2026-01-01 (or --gaps)")]
    NoBeginning,
    /// The run dropped nothing, or its quarantine was removed.
    #[error("run `{run_id}` has no quarantine in {output}; `etl quarantine` lists the runs that have one")]
    NoQuarantine {
        /// The run.
        run_id: String,
        /// The output that was searched.
        output: String,
    },
    /// The run is of no shop that the settings name.
    #[error("run `{run_id}` is of no shop in etl.toml, which has {known}: its records belong to none of them")]
    NoShopOfRun {
        /// The run.
        run_id: String,
        /// The shops.
        known: String,
    },
    /// A shop has another name than before: the ids of its orders would be others.
    #[error(
        "shop `{name}` reads what shop `{before}` has loaded, and that one no longer does: under a new name, its orders would be loaded a second time. Call it `{before}` again. If it is another shop at the same place, say --accept-new-shop once"
    )]
    RenamedShop {
        /// Its name.
        name: String,
        /// Its name before.
        before: String,
    },
    /// A loaded shop reads what another has loaded: their names are exchanged, or one of them was given to another shop.
    #[error(
        "shop `{name}` now reads what shop `{before}` has loaded, and that one reads it no longer: under this name, its orders would be loaded a second time. Give both their old names or locations, or load into a new output"
    )]
    MovedShop {
        /// Its name.
        name: String,
        /// The shop that has loaded it.
        before: String,
    },
    /// A shop was never loaded, and another is gone: nobody but the user knows whether they are one.
    #[error(
        "shop `{name}` was never loaded, and etl.toml no longer names shop `{gone}`, which was: if they are one shop, call it `{gone}` again, or its orders would be loaded a second time. If it is another shop, say --accept-new-shop once"
    )]
    UnknownShop {
        /// Its name.
        name: String,
        /// The shop that is gone.
        gone: String,
    },
    /// The skus of a shop would be others than before.
    #[error(
        "the layer has skus of shop `{shop}` {}, and etl.toml says `own_skus = {}`: its lines would be loaded a second time. Take that back, or load into a new output",
        if *own_skus { "without its name" } else { "with its name" },
        own_skus
    )]
    OwnSkus {
        /// The shop.
        shop: String,
        /// What the settings say.
        own_skus: bool,
    },
    /// No records are kept, or none of those counts.
    #[error(
        "{output}: no kept records can be mapped again{detail}. Runs keep their records with --keep-raw, or `keep_raw = true` in etl.toml"
    )]
    NothingKept {
        /// The output.
        output: String,
        /// What was left out; empty if nothing was.
        detail: String,
    },
    /// Nothing that is kept knows the order.
    #[error("{output}: no order `{order_id}`{} is known here. Looked at {looked_at}", sku.as_ref().map(|sku| format!(" with sku `{sku}`")).unwrap_or_default())]
    UnknownOrder {
        /// The output that was searched.
        output: String,
        /// The order that was asked for.
        order_id: String,
        /// The sku that was asked for.
        sku: Option<String>,
        /// The runs, partitions and quarantines that were searched.
        looked_at: String,
    },
    /// A line of a quarantine that can't be replayed.
    #[error("{}, line {line}: {detail}", path.display())]
    DamagedQuarantine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The mistake.
        detail: String,
    },
    /// No run has ever written to the output.
    #[error(
        "{0} holds no layer. Name the output of your runs: --output DIR. Or make a layer there: etl run --orders LOCATION --output {word}",
        word = shell_word(.0)
    )]
    NoLayer(String),
    /// There is no layer to check.
    #[error(
        "{0} holds no layer: no partition and no dimension. Run `etl run` first, or name the output of the runs: etl check --output DIR"
    )]
    NothingToCheck(String),
    /// There is no layer to check, and a run is at work that may bring one.
    #[error(
        "{output} holds no layer yet: no partition and no dimension. Run {run_id} (process {pid} on {host}) is at work there: try again when it has ended"
    )]
    NoLayerYet {
        /// The output.
        output: String,
        /// The run.
        run_id: String,
        /// Its process.
        pid: u32,
        /// Its machine.
        host: String,
    },
    /// There is no layer to report on.
    #[error(
        "{0} holds no partition, so there is nothing to report on. Run `etl run` first, or name the output of the runs: etl report --output DIR. `etl runs` lists runs that failed"
    )]
    NothingToReport(String),
    /// The state of a layer is lost.
    #[error(
        "{0} has partitions, and its state does not know them, so that their rows and revenue are unknown. Rebuild it first: etl check --rebuild-state"
    )]
    UnknownLayer(String),
    /// A rewrite would lose values.
    #[error("the rewrite would lose values: {}. `etl rewrite --dry-run` counts them, `etl rewrite --force` loses them", lost(.0))]
    ValuesLost(BTreeMap<String, u64>),
    /// A rewrite would change how much was sold.
    #[error(
        "{} would not fit the type that `fact.quantity` asks for, and a rewrite would make others of them, with money that no longer fits: --force does not do that. Leave `fact.quantity` as the layer has it, or load the orders into a new output",
        counted(*.0, "quantity")
    )]
    QuantitiesLost(u64),
    /// Nothing here knows the users who are to be erased.
    #[error(
        "no user {} is known here: neither dim_user, nor fact_order, nor quarantine or raw/ names them, and they were not erased before. Nothing was changed. In a layer of shops an id is SHOP:ID",
        quoted(.0)
    )]
    UnknownUsers(Vec<String>),
    /// Nothing here knows the ids of users, but an address among them is that of others.
    #[error(
        "no user has the id {}, but users here have this e-mail address. Nothing was changed. Name the user: {}",
        quoted(.unknown),
        erase_command(.users)
    )]
    AddressOfUsers {
        /// The ids that were asked for.
        unknown: Vec<String>,
        /// The users who have the address.
        users: Vec<String>,
    },
    /// There is no layer to erase users from.
    #[error(
        "{0} holds no layer: no partition and no dimension. Name the output of the runs: etl erase --user ID --output DIR. If only failed runs have written there, remove its quarantine/, raw/ and reports/ by hand"
    )]
    NothingToErase(String),
    /// Somebody was asked at a terminal, and did not say yes.
    #[error("not confirmed, so nothing was changed. Answer y to go on; --yes skips the question")]
    NotConfirmed,
    /// No user was named.
    #[error("no user is named: etl erase --user ID, or --users-file FILE with one id a line")]
    NoUsers,
    /// The file with the ids of users.
    #[error("{}: the ids of the users can't be read: {detail}", path.display())]
    UsersFile {
        /// The file.
        path: PathBuf,
        /// What the disk says.
        detail: String,
    },
    /// A column that an erasure can't empty.
    #[error(
        "--column {column}: fact_order has no such extra column with values of the source{}",
        if known.is_empty() { String::new() } else { format!("; there are {known}") }
    )]
    NoSuchColumn {
        /// The column.
        column: String,
        /// Those that there are.
        known: String,
    },
    /// The demo does not write into an output that holds anything else.
    #[error("{} holds {what}: the demo writes into a folder of its own. Name another one: etl demo --output DIR", folder.display())]
    ForeignOutput {
        /// The output.
        folder: PathBuf,
        /// What it holds.
        what: String,
    },
    /// Orders that are missing at the source can't be deleted by this run.
    #[error("--delete-missing can't be used {0}. Leave it out, or say --delete-missing off for this run")]
    NoDeletions(NoDeletions),
    /// No receiver of alerts is configured.
    #[error(
        "no receiver is configured. Set ETL_ALERT_WEBHOOK_URL, ETL_ALERT_SLACK_URL, ETL_ALERT_TEAMS_URL or ETL_ALERT_PAGERDUTY_KEY in the environment or .env"
    )]
    NoReceivers,
}

/// Why a run can't tell which orders its source no longer has.
#[derive(Debug, thiserror::Error)]
pub enum NoDeletions {
    /// Windows on `updated_at`.
    #[error("with --cursor updated_at: a list of changed orders does not show which ones are gone. Use windows on created_at")]
    ByUpdate,
    /// A replay.
    #[error("in a replay: a quarantine holds only the records that a run dropped")]
    Replay,
    /// A demo.
    #[error("in a demo")]
    Demo,
    /// The URL of the orders limits them.
    #[error("while the URL of the orders has the parameter `{0}`, which looks like a window: name the window by --since and --until")]
    OwnWindow(String),
    /// Other sources have brought orders to the layer.
    #[error("in this layer: its orders are also of {}, and a row does not say which source it is of. Load each source into its own output", .0.join(", "))]
    OtherSources(Vec<String>),
    /// It is not known which sources have brought orders to the layer.
    #[error(
        "in this layer: it is not known which sources brought its orders, because its state was lost, or earlier versions wrote it. Run once without --delete-missing and without a window (no --since, no --until): a complete list of all orders settles it"
    )]
    UnknownSources,
}

impl From<NoDeletions> for RequestError {
    fn from(why: NoDeletions) -> RequestError {
        RequestError::NoDeletions(why)
    }
}

/// Commands that undo runs, a line each.
/// Runs in words: the latest ones.
fn first_of(runs: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = runs.iter().take(SHOWN).map(String::as_str).collect();
    let more = if runs.len() > SHOWN { format!(" and {} more", runs.len() - SHOWN) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn undoable(commands: &[String]) -> String {
    if commands.is_empty() {
        return "none of the latest runs can be undone".to_owned();
    }
    let lines: String = commands.iter().map(|command| format!("\n    {command}")).collect();
    format!("of the latest runs these can be undone, the latest first:{lines}")
}

/// Ids in words: the first ones.
fn quoted(ids: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = ids.iter().take(SHOWN).map(|id| format!("`{id}`")).collect();
    let more = if ids.len() > SHOWN { format!(" and {} more", ids.len() - SHOWN) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// The values that a rewrite loses, in words.
fn lost(by_column: &BTreeMap<String, u64>) -> String {
    by_column.iter().map(|(column, values)| format!("{values} of column `{column}`")).collect::<Vec<_>>().join(", ")
}

/// A committed run that stands in the way of an undo.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LaterRun {
    /// Its id.
    pub run_id: String,
    /// Its command, as its commit names it.
    pub command: String,
}

impl fmt::Display for LaterRun {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "run {}", self.run_id)?;
        if self.command == "run" { Ok(()) } else { write!(to, " of `{}`", self.command) }
    }
}

/// Why a run can't be undone, in words. No later run is at fault where somebody has edited the files.
fn why_not_undone(later: &BTreeMap<LaterRun, BTreeSet<Dt>>) -> String {
    if later.is_empty() {
        return "somebody has changed the files of its days by hand. Put back what it wrote first".to_owned();
    }
    format!("later runs have changed the same days: {}. Undo those first, the latest first", stands_on(later))
}

/// Runs with the days that they have changed, in words.
fn stands_on(later: &BTreeMap<LaterRun, BTreeSet<Dt>>) -> String {
    const SHOWN: usize = 5;
    let of_run = |(run, days): (&LaterRun, &BTreeSet<Dt>)| {
        let shown: Vec<_> = days.iter().take(SHOWN).map(Dt::to_string).collect();
        let more = if days.len() > SHOWN { format!(" and {} more", days.len() - SHOWN) } else { String::new() };
        format!("{run} (dt={}{more})", shown.join(", "))
    };
    later.iter().map(of_run).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_undo_names_the_later_runs_or_says_that_there_are_none() {
        let refused = |later: BTreeMap<LaterRun, BTreeSet<Dt>>| RequestError::UndoRefused { run_id: "one".into(), later }.to_string();
        let days = BTreeSet::from(["2026-01-01".parse().unwrap()]);
        let shown = |command: &str| {
            let run = LaterRun { run_id: "two".to_owned(), command: command.to_owned() };
            refused([(run, days.clone())].into())
        };
        assert!(shown("run").contains("the same days: run two (dt=2026-01-01). Undo those first"));
        assert!(shown("rewrite").contains("the same days: run two of `rewrite` (dt=2026-01-01). Undo those first"));
        let by_hand = refused(BTreeMap::new());
        assert!(by_hand.contains("by hand") && !by_hand.contains(": ."), "{by_hand}");
    }
}
