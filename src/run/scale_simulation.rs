//! A layer of many partitions and commits over a store that counts its requests: the formula that `docs/scale.md` computes with.
//!
//! Planning, merge, checks and commits are the product's, the store is in memory, and the orders are few. Judges numbers of requests and
//! sizes of records, and no time.

use std::{collections::BTreeMap, fs, ops::Range, path::PathBuf, sync::Arc};

use tempfile::TempDir;

use super::{
    NoObserver,
    backfill::{self, ChunkChoice, ChunkState, Shard},
    job::{self, OrdersFrom, Request},
    ledger,
};
use crate::{
    cancel::Cancel,
    layer::OpenedLayer,
    model::{Dt, UtcMicros, Window},
    report::CommandName,
    settings::{Location, Settings, When},
    store::{
        Output,
        counting::{CountingStore, Verb},
        places::{COMMITS, CURATED, INDEX},
    },
};

/// Days of the history, each a partition.
const DAYS: i32 = 108;

/// What a backfill loads at once. There are more chunks than the 32 commits that are looked at where nothing tells what is installed.
const CHUNK: &str = "3d";

/// Machines that load the chunks.
const MACHINES: usize = 4;

/// The requests that a run may take fewer than the formula says.
const SLACK: usize = 3;

/// The page whose parameters are held.
const PAGE: &str = include_str!("../../docs/scale.md");

/// A parameter of the page.
fn parameter(name: &str) -> usize {
    let row = PAGE.lines().find_map(|line| line.strip_prefix(&format!("| `{name}` | ")));
    let value = row.and_then(|rest| rest.split(" |").next()).unwrap_or_else(|| panic!("docs/scale.md has no parameter `{name}`"));
    value.parse().unwrap_or_else(|_| panic!("`{name}` of docs/scale.md is {value}"))
}

/// What one run asked of the store.
struct RunRequests {
    partitions: usize,
    /// Segments of the index that it read: one request each.
    segments: usize,
    /// All other requests.
    others: usize,
    /// Lists of the layer among them.
    lists: usize,
    /// The bytes of its record of the log.
    record_bytes: u64,
}

/// An output in a counting store, and the file that its orders come from.
struct Simulation {
    store: Arc<CountingStore>,
    folder: TempDir,
    cancel: Cancel,
}

impl Simulation {
    fn new() -> Simulation {
        Simulation { store: Arc::default(), folder: tempfile::tempdir().unwrap(), cancel: Cancel::default() }
    }

    /// Replaces the orders of the source: one on each day, counted from 0.
    fn write_orders(&self, name: &str, days: Range<i32>) {
        let order = |number: i32| {
            let id = format!("{name}-{number}");
            format!(
                r#"{{"order_id":"{id}","created_at":"{}T10:00:00Z","currency":"EUR","items":[{{"sku":"S","price":1.5}}]}}"#,
                day(number)
            )
        };
        fs::write(self.source(), days.map(order).collect::<Vec<_>>().join("\n")).unwrap();
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("orders.ndjson")
    }

    fn settings(&self) -> Settings {
        let source: Location = self.source().to_str().unwrap().parse().unwrap();
        let when = |number: i32| day(number).to_string().parse::<When>().unwrap();
        let (since, until) = (Some(when(0)), Some(when(DAYS)));
        Settings { orders: Some(source.into()), since, until, threads: 1, ..Settings::plain(PathBuf::from("not-used")) }
    }

    /// The output, as a process of its own opens it.
    fn output(&self) -> Output {
        Output::in_store(self.store.clone()).unwrap()
    }

    /// One run over a window.
    fn run(&self, command: CommandName, window: Window) -> RunRequests {
        self.store.take();
        let settings = self.settings();
        let request = Request {
            settings: &settings,
            command,
            orders: OrdersFrom::Source,
            since: window.since.map(When::At),
            until: window.until.map(When::At),
            restart: None,
            diff: None,
            cancel: &self.cancel,
            observer: &NoObserver,
        };
        let outcome = job::execute_in(&request, Ok(self.output()));
        assert!(outcome.error.is_none(), "{:?}", outcome.error.as_ref().map(ToString::to_string));
        let asked = self.store.take();
        let segments = asked.iter().filter(|asked| asked.is_of(Verb::Get, INDEX)).count();
        RunRequests {
            partitions: outcome.summary.partitions_written.len(),
            segments,
            others: asked.len() - segments,
            lists: asked.iter().filter(|asked| [CURATED, "data"].iter().any(|folder| asked.is_of(Verb::List, folder))).count(),
            record_bytes: asked.iter().find(|asked| asked.is_of(Verb::Put, COMMITS)).unwrap().bytes,
        }
    }

    /// The chunks of the backfill, as every machine plans them.
    fn chunks(&self) -> Vec<ChunkState> {
        let settings = self.settings();
        let orders = settings.orders.as_ref().unwrap();
        let ledger = ledger::of_output(&self.output()).unwrap();
        let coverage = ledger.of(&ledger::identity(orders, &settings));
        let chunk = CHUNK.parse().unwrap();
        backfill::planned(&settings, chunk, ChunkChoice::NotDone, orders, coverage, UtcMicros::now()).unwrap()
    }

    /// Loads the chunks: each machine its own, one after the other, and the machines in turn.
    fn backfill(&self) -> Vec<RunRequests> {
        let chunks = self.chunks();
        let shards: Vec<Shard> = (0..MACHINES).map(|number| format!("{number}/{MACHINES}").parse().unwrap()).collect();
        let of_shard = |shard: &Shard| (0..chunks.len()).filter(|chunk| shard.has(*chunk, chunks.len())).collect::<Vec<_>>();
        let queues: Vec<Vec<usize>> = shards.iter().map(of_shard).collect();
        let longest = queues.iter().map(Vec::len).max().unwrap();
        let in_turn = (0..longest).flat_map(|turn| queues.iter().filter_map(move |queue| queue.get(turn)));
        in_turn.map(|chunk| self.run(CommandName::Backfill, chunks[*chunk].window)).collect()
    }
}

/// A day of the history, from 0.
fn day(number: i32) -> Dt {
    let first: Dt = "2024-01-01".parse().unwrap();
    Dt::from_days(first.days() + number).unwrap()
}

/// The requests that a run takes by the page, beside those of segments of the index.
fn formula(partitions: usize) -> usize {
    parameter("requests_fixed") + parameter("requests_partition") * partitions
}

/// Fails if the requests are not those of the page's formula.
#[track_caller]
fn assert_formula(run: &RunRequests, point: &str) {
    let formula = formula(run.partitions);
    assert!(
        (formula.saturating_sub(SLACK)..=formula).contains(&run.others),
        "{point}: {} partitions take {} requests beside those of {} segments of the index. `requests_fixed` and `requests_partition` of \
         docs/scale.md make {formula}",
        run.partitions,
        run.others,
        run.segments,
    );
}

#[test]
fn many_commits_by_many_machines_cost_what_the_page_on_scale_computes_with() {
    let simulation = Simulation::new();
    simulation.write_orders("H", 0..DAYS);
    let chunks = simulation.backfill();
    assert_eq!(chunks.iter().map(|run| run.partitions).sum::<usize>(), usize::try_from(DAYS).unwrap());
    assert!(chunks.len() > 32, "{} commits", chunks.len());
    assert!(simulation.chunks().iter().all(|chunk| chunk.is_done), "a chunk is not done");
    let layer = OpenedLayer::open(&simulation.output()).unwrap();
    assert_eq!(layer.state.partitions.keys().copied().collect::<Vec<_>>(), (0..DAYS).map(day).collect::<Vec<_>>());

    // A chunk brings new partitions, of which no version is read. The first run finds no log.
    let (second, last) = (&chunks[1], &chunks[chunks.len() - 1]);
    let formula = formula(second.partitions);
    assert!(chunks[1..].iter().all(|run| run.others <= formula && run.lists == 0));
    assert!(
        last.others.abs_diff(second.others) <= 1,
        "{} requests after {} commits, {} after one",
        last.others,
        chunks.len(),
        second.others
    );
    let most_segments = chunks.len().ilog2() as usize + 1;
    assert!(chunks.iter().all(|run| run.segments <= most_segments));

    let mut increments = BTreeMap::new();
    for partitions in [1, 3, 7, 20] {
        simulation.write_orders(&format!("I{partitions}"), 0..partitions);
        let run = simulation.run(CommandName::Run, Window::default());
        assert_eq!((run.partitions, run.lists), (usize::try_from(partitions).unwrap(), 0));
        println!("{partitions} partitions: {} requests, {} segments, a record of {} bytes", run.others, run.segments, run.record_bytes);
        assert_formula(&run, "an increment");
        increments.insert(partitions, run);
    }
    let of_nineteen = increments[&20].others - increments[&1].others;
    assert!(of_nineteen.abs_diff(19 * parameter("requests_partition")) <= 2, "19 partitions more take {of_nineteen} requests more");

    let a_partition = increments[&20].record_bytes / u64::from(DAYS.unsigned_abs());
    let expected = parameter("record_bytes") as u64;
    assert!((expected / 2..=expected).contains(&a_partition), "a record has {a_partition} bytes for each partition");
}
