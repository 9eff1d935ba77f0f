//! The parts that a run spends its time in, each by itself: `cargo bench`. `cargo test` runs each once, and times nothing.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fmt::Write, hint::black_box, path::Path};

use divan::{Bencher, counter::BytesCount};
use orders_etl::{
    cancel::Cancel,
    check::{Engine, Expected, LayerView, run_checks},
    layer::{
        BestVersions, DroppedParts, MergeOutput, MergeRules, PartitionRows, RunPrices, StoredPartition, merge_partition, read_partition,
        write_header, write_line,
    },
    model::{Dt, FactRows, FactSchema, Window},
    normalize::RecordNormalizer,
    settings::{MergeBy, RepeatedSku},
};

/// Orders of the data that is measured, of three lines each.
const ORDERS: usize = 10_000;

fn main() {
    divan::main();
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

fn day() -> Dt {
    "2026-01-31".parse().unwrap()
}

/// The rows of the orders.
fn rows() -> FactRows {
    let orders = orders();
    let batch = RecordNormalizer::new(Window::default()).normalize(orders.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()));
    assert_eq!(batch.counts.lines_read, 3 * ORDERS as u64);
    FactRows::new(&batch.rows.finish().unwrap()).unwrap()
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

#[divan::bench]
fn normalize_records(bencher: Bencher<'_, '_>) {
    let orders = orders();
    let normalizer = RecordNormalizer::new(Window::default());
    bencher
        .counter(BytesCount::of_slice(&orders))
        .bench(|| normalizer.normalize(black_box(&orders).split(|&byte| byte == b'\n').filter(|line| !line.is_empty())).counts.lines_read);
}

#[divan::bench]
fn write_csv(bencher: Bencher<'_, '_>) {
    let rows = rows();
    bencher.counter(BytesCount::of_slice(&csv(&rows))).bench(|| csv(black_box(&rows)).len());
}

#[divan::bench]
fn read_csv(bencher: Bencher<'_, '_>) {
    let bytes = csv(&rows());
    let schema = FactSchema::default();
    bencher
        .counter(BytesCount::of_slice(&bytes))
        .bench(|| read_partition(black_box(&bytes), day(), Path::new("x"), &schema).unwrap().len());
}

/// A partition that holds all of what a run brings: each row meets its like.
#[divan::bench]
fn merge_a_partition(bencher: Bencher<'_, '_>) {
    let schema = FactSchema::default();
    let orders = orders();
    let normalizer = RecordNormalizer::new(Window::default());
    let incoming = normalizer.normalize(orders.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())).rows.finish().unwrap();
    let incoming = PartitionRows::of_frame(&incoming, &schema).unwrap();
    let dropped_lines = DroppedParts::default();
    let rules = MergeRules {
        schema: &schema,
        by: MergeBy::Line,
        known_prices: None,
        dropped_lines: &dropped_lines,
        repeated_sku: RepeatedSku::Last,
        deletions: None,
        notes_orders: false,
    };
    let (mut bytes, mut prices) = (Vec::new(), RunPrices::default());
    let output = MergeOutput { csv: &mut bytes, prices: &mut prices };
    merge_partition(day(), Some(incoming.clone()), None, &BestVersions::default(), rules, output).unwrap();
    let stored = || StoredPartition::parse(bytes.clone(), day(), Path::new("x.csv"), &schema).unwrap();
    bencher.with_inputs(|| (incoming.clone(), stored())).bench_values(|(incoming, stored)| {
        let (mut bytes, mut prices) = (Vec::new(), RunPrices::default());
        let output = MergeOutput { csv: &mut bytes, prices: &mut prices };
        merge_partition(day(), Some(incoming), Some(stored), &BestVersions::default(), rules, output).unwrap().counts.rows_unchanged
    });
}

/// All built-in checks over one partition, DuckDB's start among them.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn check_a_partition(bencher: Bencher<'_, '_>) {
    let dir = std::env::temp_dir().join(format!("etl-bench-{}", std::process::id()));
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
    bencher.bench_local(|| run_checks(Engine::start(), &view, &[], &Cancel::default()).unwrap().len());
    let _ = std::fs::remove_dir_all(dir);
}
