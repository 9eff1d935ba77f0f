//! Reads what `etl report` shows: the newest commit, the reports of runs, quarantine, alerts, and the orders of the shown days.
//!
//! Changes nothing. How it is shown is `report_html`'s.

use std::{collections::BTreeMap, fs, path::Path};

use super::{RequestError, RunError, interrupted, layer_status, ledger};
use crate::{
    cancel::Cancel,
    layer::{self, LayerError, OpenedLayer, OrderCounts, PartitionEntry, StoredSide},
    model::{Dt, OrderTotal, UtcMicros},
    net::redact,
    report::{self, Summary},
    report_html::{DifferingFile, LayerFacts, ShownDays, TotalSums, UndoneInterval, Verdict},
    settings::Settings,
    store::{
        self, Key, ObjectRef, Output, StoreError,
        places::{self, SideFact},
    },
};

/// How many runs with drops are shown, and how many records of each reason.
const QUARANTINED_RUNS: usize = 10;
const SAMPLES: usize = 3;

/// How many files of a bucket are fetched before they are read.
const FETCHED_AT_ONCE: usize = 32;

/// What a report is to show.
#[derive(Clone, Copy)]
pub struct LayerReportRequest<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// How many of the latest runs.
    pub runs: usize,
    /// How many of the latest days.
    pub days: i32,
    /// The switch that stops the reading.
    pub cancel: &'a Cancel,
}

/// All that is known of the layer.
///
/// # Errors
/// [`RequestError::NothingToReport`] for an output without a partition, [`RequestError::UnknownLayer`] where its state is lost; I/O
/// errors; a signal.
pub fn layer_facts(request: &LayerReportRequest<'_>) -> Result<LayerFacts, RunError> {
    let output = &Output::open(&request.settings.output)?;
    let now = UtcMicros::now();
    let opened = OpenedLayer::open(output)?;
    let files = layer::partition_files(output, &opened)?;
    let days = ShownDays::of(opened.state.partitions.keys().copied(), request.days, now).ok_or_else(|| match files.is_empty() {
        true => RequestError::NothingToReport(output.location()),
        false => RequestError::UnknownLayer(output.location()),
    })?;
    let status = layer_status(request.settings)?;
    let shown: Vec<(Dt, &PartitionEntry)> =
        opened.state.partitions.iter().filter(|(dt, _)| days.contains(**dt)).map(|(dt, entry)| (*dt, entry)).collect();
    let counted = count_orders(output, &shown, request.cancel)?;
    let totals = sum_totals(output, &shown, request.cancel)?;
    let reports = output.names(places::REPORTS)?;
    let runs: Vec<Summary> = report::latest_runs(output, request.runs)?.into_iter().map(|(run, _)| run).collect();
    let quarantined = report::quarantined(output, None, QUARANTINED_RUNS.min(request.runs), SAMPLES)?;
    let undone_loads = status.undone.iter().map(|load| UndoneInterval { place: load.place.clone(), undone_by: load.undone_by.clone() });
    Ok(LayerFacts {
        location: redact::text(&output.location()).into_owned(),
        made_at: now,
        verdict: Verdict { healthy: status.healthy, missing: status.missing() },
        differing: differing(output, &opened, &files),
        days,
        orders: counted.orders,
        totals,
        uncounted: counted.unreadable,
        ledger: ledger::read(output, &opened)?,
        undone_loads: undone_loads.collect(),
        undone: report::undone_runs(&runs),
        runs,
        runs_of_status: status.runs_counted,
        runs_recorded: reports.iter().filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "json")).count(),
        quarantined,
        open_alerts: status.open_alerts,
        state: opened.state,
    })
}

/// The files of `curated/` that are not what the commit says. In a bucket the log alone is the truth.
fn differing(output: &Output, opened: &OpenedLayer, files: &BTreeMap<Dt, Key>) -> Vec<DifferingFile> {
    if output.folder().is_none() {
        return Vec::new();
    }
    let partitions = &opened.state.partitions;
    let mut differing = Vec::new();
    for (dt, key) in files {
        let bytes = fs::metadata(output.at(key)).map(|metadata| metadata.len());
        match (partitions.get(dt), bytes) {
            (None, Ok(_)) => differing.push(DifferingFile::Unknown(*dt)),
            (Some(entry), Ok(bytes)) if bytes != entry.version.bytes => differing.push(DifferingFile::Edited(*dt)),
            (Some(_), Err(_)) => differing.push(DifferingFile::Missing(*dt)),
            (None, Err(_)) | (Some(_), Ok(_)) => {}
        }
    }
    differing.extend(partitions.keys().filter(|dt| !files.contains_key(dt)).map(|dt| DifferingFile::Missing(*dt)));
    differing
}

/// The orders of days, and the days that could not be read.
#[derive(Default)]
struct CountedOrders {
    orders: BTreeMap<Dt, OrderCounts>,
    unreadable: BTreeMap<Dt, String>,
}

fn count_orders(output: &Output, shown: &[(Dt, &PartitionEntry)], cancel: &Cancel) -> Result<CountedOrders, RunError> {
    let mut counted = CountedOrders::default();
    for chunk in shown.chunks(FETCHED_AT_ONCE) {
        if cancel.is_stopped() {
            return Err(interrupted(cancel));
        }
        let versions: Vec<_> = chunk.iter().map(|(dt, entry)| (entry.key(*dt), entry.version.clone())).collect();
        fetch(output, &versions)?;
        for (dt, entry) in chunk {
            match layer::order_counts(output, *dt, entry) {
                Ok(orders) => {
                    counted.orders.insert(*dt, orders);
                }
                Err(error @ (LayerError::Partition { .. } | LayerError::Store(StoreError::Refused { .. }))) => {
                    counted.unreadable.insert(*dt, redact::text(&error.to_string()).into_owned());
                }
                Err(error) => return Err(error.into()),
            }
        }
        versions.iter().for_each(|(key, _)| output.forget_local(key));
    }
    Ok(counted)
}

/// Local copies of files of a bucket. What is lost is found by its reader.
fn fetch(output: &Output, versions: &[(Key, ObjectRef)]) -> Result<(), StoreError> {
    match output.local_versions(versions) {
        Err(StoreError::Refused { .. }) | Ok(()) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The totals of the orders of these days, by currency.
fn sum_totals(output: &Output, shown: &[(Dt, &PartitionEntry)], cancel: &Cancel) -> Result<BTreeMap<String, TotalSums>, RunError> {
    let mut sums: BTreeMap<String, TotalSums> = BTreeMap::new();
    let with_totals: Vec<_> = shown.iter().filter_map(|(dt, entry)| Some((*dt, entry.totals.as_ref()?))).collect();
    for chunk in with_totals.chunks(FETCHED_AT_ONCE) {
        if cancel.is_stopped() {
            return Err(interrupted(cancel));
        }
        let versions: Vec<_> = chunk.iter().map(|(dt, totals)| (SideFact::OrderTotals.file(*dt), totals.version.clone())).collect();
        fetch(output, &versions)?;
        for ((dt, totals), (key, _)) in chunk.iter().zip(&versions) {
            let path = output.at(key);
            let bytes = match store::read(&path)?.filter(|bytes| totals.version.is_of(bytes)) {
                Some(bytes) => bytes,
                None => output.read_version(&totals.version)?,
            };
            StoredSide::<OrderTotal>::parse(bytes, *dt, &path)?.rows.iter().for_each(|total| add_total(&mut sums, total));
            output.forget_local(key);
        }
    }
    Ok(sums)
}

fn add_total(sums: &mut BTreeMap<String, TotalSums>, total: &OrderTotal) {
    let sums = sums.entry(total.currency.clone().unwrap_or_default()).or_default();
    sums.orders += 1;
    sums.lines += total.lines_total.map_or(0, |money| i128::from(money.units()));
    for (sum, amount) in sums.amounts.iter_mut().zip(&total.amounts) {
        if let Some(money) = amount {
            sum.orders += 1;
            sum.units += i128::from(money.units());
        }
    }
}
