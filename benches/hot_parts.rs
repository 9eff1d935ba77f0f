//! The parts that a run spends its time in, each by itself. `cargo bench` times them, and `cargo test` runs each once.
//!
//! `benches/instructions` counts their instructions: with `--instructions` this program names its parts, with
//! `--instructions PART PASSES` it does one so often. One thread, fixed data, and no DuckDB: a count repeats.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fmt::Write,
    hint::black_box,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bytes::Bytes;
use divan::{Bencher, counter::BytesCount};
use orders_etl::{
    cancel::Cancel,
    check::{Engine, Expected, LayerView, run_checks},
    layer::{
        BestVersions, CutBatch, DroppedParts, IndexBuilder, MergeOutput, MergeRules, PageOrigin, PartitionRows, RecordUnit, RunPrices,
        Segment, Stage, StoredPartition, merge_partition, read_partition, write_header, write_line,
    },
    model::{Dt, FactRows, FactSchema, OrderHash, Window, order_hash},
    normalize::RecordNormalizer,
    settings::{MergeBy, RepeatedSku},
    source::{Origin, Page},
};
use polars::prelude::DataFrame;

/// Orders of the data that is measured, of three lines each.
const ORDERS: usize = 10_000;

/// Orders of the history that is looked up in.
const INDEXED_ORDERS: usize = 100_000;

/// How often a part can be done in one count: what a pass uses up is made ready before the first.
const MOST_PASSES: usize = 2;

/// Does a part once. The number depends on all that was done.
type Pass = Box<dyn FnMut() -> u64>;

/// A part whose instructions are counted.
struct Part {
    name: &'static str,
    prepare: fn() -> Pass,
}

/// In the order in which a record meets them.
const PARTS: [Part; 7] = [
    Part { name: "cut_records", prepare: cutting },
    Part { name: "normalize_records", prepare: normalizing },
    Part { name: "stage_rows", prepare: staging },
    Part { name: "merge_a_partition", prepare: merging },
    Part { name: "write_csv", prepare: writing },
    Part { name: "read_csv", prepare: reading },
    Part { name: "look_up_orders", prepare: looking_up },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--instructions"] => PARTS.iter().for_each(|part| println!("{}", part.name)),
        ["--instructions", part, passes] => return do_part(part, passes),
        _ => divan::main(),
    }
    ExitCode::SUCCESS
}

/// Does a part so often, for a program that counts instructions.
fn do_part(name: &str, passes: &str) -> ExitCode {
    let part = PARTS.iter().find(|part| part.name == name);
    let passes = passes.parse::<usize>().ok().filter(|passes| *passes <= MOST_PASSES);
    let (Some(part), Some(passes)) = (part, passes) else {
        eprintln!("a part that `--instructions` names, and at most {MOST_PASSES} passes");
        return ExitCode::from(2);
    };
    let mut pass = (part.prepare)();
    let done: u64 = (0..passes).map(|_| pass()).sum();
    println!("{done}");
    // What is left is not freed: the counts of one pass and of two must differ by a pass alone.
    std::process::exit(0)
}

/// Orders of one day, as NDJSON: some 350 bytes and three lines each.
fn orders() -> Vec<u8> {
    let mut text = String::new();
    for order in 0..ORDERS {
        let second = order * 8;
        let _ = write!(
            text,
            r#"{{"order_id":"A-{order:07}","created_at":"2026-01-31T{:02}:{:02}:{:02}Z","updated_at":"2026-01-31T23:59:59Z","status":"paid","currency":"EUR","user":{{"id":"u{}"}},"note":"left at the \"door\"","items":["#,
            second / 3600 % 24,
            second / 60 % 60,
            second % 60,
            order % 997
        );
        for line in 0..3 {
            let comma = if line > 0 { "," } else { "" };
            let _ = write!(
                text,
                r#"{comma}{{"sku":"SKU-{:04}","quantity":{},"price":"{}.{:02}"}}"#,
                (order + line * 7) % 5000,
                line + 1,
                order % 90,
                line * 33
            );
        }
        text.push_str("]}\n");
    }
    text.into_bytes()
}

fn records(orders: &[u8]) -> impl Iterator<Item = &[u8]> {
    orders.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

fn day() -> Dt {
    "2026-01-31".parse().unwrap()
}

/// What a thread of a run hands to the stage: the rows of a batch, and the number of its last record.
struct Normalized {
    rows: DataFrame,
    last_record: u64,
}

impl Normalized {
    fn new() -> Normalized {
        let batch = RecordNormalizer::new(Window::default()).normalize(records(&orders()));
        assert_eq!(batch.counts.lines_read, 3 * ORDERS as u64);
        let last_record = batch.rows.record();
        Normalized { rows: batch.rows.finish().unwrap(), last_record }
    }
}

/// The rows of the orders.
fn rows() -> FactRows {
    FactRows::new(&Normalized::new().rows).unwrap()
}

/// The rows as a partition's file.
fn csv(rows: &FactRows) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_header(&mut bytes, &FactSchema::default());
    for row in 0..rows.len() {
        write_line(&mut bytes, &rows.line(row), rows.extra(row));
    }
    bytes
}

/// The orders as the body of a response.
fn body() -> Bytes {
    let orders = orders();
    let listed: Vec<&[u8]> = records(&orders).collect();
    [b"{\"orders\":[".as_slice(), &listed.join(&b','), b"]}"].concat().into()
}

fn cutting() -> Pass {
    let (origin, body) = (Origin::Response { url: "https://shop.example/orders".to_owned(), page: 1, first: 1 }, body());
    Box::new(move || Page::of_body(origin.clone(), black_box(&body).clone()).unwrap().len())
}

fn normalizing() -> Pass {
    let (orders, normalizer) = (orders(), RecordNormalizer::new(Window::default()));
    Box::new(move || normalizer.normalize(records(black_box(&orders))).counts.lines_read)
}

/// What a run does with a batch between the joins and the merge, where all of it stays in memory.
fn staging() -> Pass {
    let Normalized { rows, last_record } = Normalized::new();
    let origin = PageOrigin { location: "orders.ndjson".to_owned(), page: None, unit: RecordUnit::Line, first: 1, gaps: Vec::new() };
    Box::new(move || {
        let mut stage = Stage::new(PathBuf::from("nothing-is-spilled"), FactSchema::default(), None);
        stage.push(CutBatch::new(black_box(&rows), last_record).unwrap(), &origin).unwrap();
        stage.finish().unwrap().lines.size(day()).rows
    })
}

/// A partition that holds all of what a run brings: each incoming row has an equal stored row.
struct Merging {
    schema: FactSchema,
    dropped_lines: DroppedParts,
    incoming: PartitionRows,
    stored: Vec<u8>,
}

/// What one merge uses up.
struct Meeting {
    incoming: PartitionRows,
    stored: StoredPartition,
}

impl Merging {
    fn new() -> Merging {
        let schema = FactSchema::default();
        let incoming = PartitionRows::of_frame(&Normalized::new().rows, &schema).unwrap();
        let mut merging = Merging { schema, dropped_lines: DroppedParts::default(), incoming, stored: Vec::new() };
        merging.stored = merging.merged(merging.incoming.clone(), None).csv;
        assert!(!merging.stored.is_empty(), "a first load writes");
        merging
    }

    fn rules(&self) -> MergeRules<'_> {
        MergeRules {
            schema: &self.schema,
            by: MergeBy::Line,
            known_prices: None,
            dropped_lines: &self.dropped_lines,
            repeated_sku: RepeatedSku::Last,
            deletions: None,
            notes_orders: false,
        }
    }

    fn meeting(&self) -> Meeting {
        let stored = StoredPartition::parse(self.stored.clone(), day(), Path::new("x.csv"), &self.schema).unwrap();
        Meeting { incoming: self.incoming.clone(), stored }
    }

    fn merge(&self, Meeting { incoming, stored }: Meeting) -> u64 {
        self.merged(incoming, Some(stored)).rows_unchanged
    }

    fn merged(&self, incoming: PartitionRows, stored: Option<StoredPartition>) -> Merged {
        let (mut csv, mut prices) = (Vec::new(), RunPrices::default());
        let output = MergeOutput { csv: &mut csv, prices: &mut prices };
        let merged = merge_partition(day(), Some(incoming), stored, &BestVersions::default(), self.rules(), output).unwrap();
        Merged { csv, rows_unchanged: merged.counts.rows_unchanged }
    }
}

/// What a merge makes.
struct Merged {
    csv: Vec<u8>,
    rows_unchanged: u64,
}

fn merging() -> Pass {
    let merging = Merging::new();
    let mut meetings: Vec<Meeting> = (0..MOST_PASSES).map(|_| merging.meeting()).collect();
    Box::new(move || merging.merge(meetings.pop().unwrap()))
}

fn writing() -> Pass {
    let rows = rows();
    Box::new(move || csv(black_box(&rows)).len() as u64)
}

fn reading() -> Pass {
    let (bytes, schema) = (csv(&rows()), FactSchema::default());
    Box::new(move || read_partition(black_box(&bytes), day(), Path::new("x"), &schema).unwrap().len() as u64)
}

/// As many orders as a run has, half of them known, looked up in a segment of the index.
fn looking_up() -> Pass {
    let folder = scratch("index");
    let mut index = IndexBuilder::new(folder.clone());
    (0..INDEXED_ORDERS).for_each(|order| index.push(hash(order), day()));
    index.spill().unwrap();
    let mut segment = Segment::open(&folder.join("orders-000001.idx")).unwrap().unwrap();
    // The open file stays until the end.
    std::fs::remove_dir_all(folder).unwrap();
    let mut asked: Vec<OrderHash> = (0..ORDERS).map(|order| hash(order * 2 * INDEXED_ORDERS / ORDERS)).collect();
    asked.sort_unstable();
    Box::new(move || {
        let mut partitions = Vec::new();
        for order in black_box(&asked) {
            assert!(segment.look_up(*order, &mut partitions));
        }
        partitions.len() as u64
    })
}

fn hash(order: usize) -> OrderHash {
    order_hash(&format!("A-{order:07}"))
}

/// A folder of this process. Who makes it removes it.
fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("etl-bench-{}-{name}", std::process::id()))
}

#[divan::bench]
fn cut_records(bencher: Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(body().len())).bench_local(cutting());
}

#[divan::bench]
fn normalize_records(bencher: Bencher<'_, '_>) {
    bencher.counter(BytesCount::of_slice(&orders())).bench_local(normalizing());
}

#[divan::bench]
fn stage_rows(bencher: Bencher<'_, '_>) {
    bencher.bench_local(staging());
}

#[divan::bench]
fn merge_a_partition(bencher: Bencher<'_, '_>) {
    let merging = Merging::new();
    bencher.with_inputs(|| merging.meeting()).bench_local_values(|meeting| merging.merge(meeting));
}

#[divan::bench]
fn write_csv(bencher: Bencher<'_, '_>) {
    bencher.counter(BytesCount::of_slice(&csv(&rows()))).bench_local(writing());
}

#[divan::bench]
fn read_csv(bencher: Bencher<'_, '_>) {
    bencher.counter(BytesCount::of_slice(&csv(&rows()))).bench_local(reading());
}

#[divan::bench]
fn look_up_orders(bencher: Bencher<'_, '_>) {
    bencher.bench_local(looking_up());
}

/// All built-in checks over one partition, DuckDB's start among them.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn check_a_partition(bencher: Bencher<'_, '_>) {
    let dir = scratch("check");
    let file = dir.join("curated/dt=2026-01-31/part-00000.csv");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let rows = rows();
    std::fs::write(&file, csv(&rows)).unwrap();
    let view = LayerView {
        facts: [(day(), file)].into(),
        changed: [day()].into(),
        expected: Some([(day(), Expected { rows: rows.len() as u64, ..Expected::default() })].into()),
        scratch: dir.clone(),
        ..LayerView::default()
    };
    bencher.bench_local(|| run_checks(&mut Engine::start(), &view, &[], &Cancel::default()).unwrap().len());
    let _ = std::fs::remove_dir_all(dir);
}
