//! Merges one partition's stored rows with the run's, and writes the new file.

use std::collections::{HashMap, HashSet};

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    BestVersions, DELETED_STATUS, DeletedVersion, Deletions, DroppedParts, LayerError, LineOutcome, LineOutcomes, PartitionRows, PriceBook,
    RunPrices, StoredPartition, csv,
    dropped_parts::Wholeness,
    moves::{BestIncoming, KeyVersions, OrderVersions, versions_here},
    partition_file::{ComparedCsv, Comparison, CsvSink, PIECE},
    succession::{Stands, Succession, successions_here},
};
use crate::{
    model::{CurrencyTotals, Dt, FactSchema, Line, OrderHash, UtcMicros, add_totals, order_hash},
    settings::{DeletionMode, MergeBy, RepeatedSku},
};

/// The rules of a merge.
#[derive(Clone, Copy, Debug)]
pub struct MergeRules<'a> {
    /// The columns of the fact table.
    pub schema: &'a FactSchema,
    /// What a newer version of an order replaces.
    pub by: MergeBy,
    /// The prices that were known before the run; `None` if no price is compared.
    pub known_prices: Option<&'a PriceBook>,
    /// The lines that are missing in records of the run.
    pub dropped_lines: &'a DroppedParts,
    /// Whether lines of one sku are added up.
    pub repeated_sku: RepeatedSku,
    /// The stored orders that the source no longer has, if they are to go.
    pub deletions: Option<&'a Deletions>,
    /// Whether [`MergedPartition::orders`] is asked for: facts beside the lines follow it.
    pub notes_orders: bool,
}

/// The next content of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MergedContent {
    /// As it is, to the byte.
    Unchanged,
    /// What went to [`MergeOutput::csv`].
    Replaced,
    /// Gone: it has lost its last row.
    Removed,
}

/// Where a merge puts what it makes.
pub struct MergeOutput<'a> {
    /// The new content, as canonical CSV. Nothing goes there unless the partition changes.
    pub csv: &'a mut dyn CsvSink,
    /// The prices of the run's lines.
    pub prices: &'a mut RunPrices,
}

/// What became of the lines that a run brought to one partition.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each is a count of the contract's summary, under its name")]
pub struct MergeCounts {
    pub duplicates_dropped: u64,
    pub rows_inserted: u64,
    pub rows_updated: u64,
    pub rows_unchanged: u64,
    pub rows_moved: u64,
    pub rows_superseded: u64,
    /// Stored rows that a newer version of their order no longer has (`merge = "order"`).
    pub rows_removed: u64,
    /// Rows that stay because the newer version of their order has a dropped line (`merge = "order"`, or
    /// `repeated_sku = "sum"`).
    pub rows_retained: u64,
    /// Stored rows of orders that the source no longer has (`delete_missing = "remove"`).
    pub rows_deleted: u64,
    /// The same, where they stay and get a status (`delete_missing = "mark"`).
    pub rows_marked: u64,
}

impl MergeCounts {
    /// Adds all of `other`.
    pub fn absorb(&mut self, other: &MergeCounts) {
        self.duplicates_dropped += other.duplicates_dropped;
        self.rows_inserted += other.rows_inserted;
        self.rows_updated += other.rows_updated;
        self.rows_unchanged += other.rows_unchanged;
        self.rows_moved += other.rows_moved;
        self.rows_superseded += other.rows_superseded;
        self.rows_removed += other.rows_removed;
        self.rows_retained += other.rows_retained;
        self.rows_deleted += other.rows_deleted;
        self.rows_marked += other.rows_marked;
    }
}

/// A partition, merged.
#[derive(Debug)]
pub struct MergedPartition {
    /// Which.
    pub dt: Dt,
    /// What it is to be.
    pub content: MergedContent,
    /// How many rows it then has, by the arithmetic of the merge, not by counting them in the content.
    pub rows: u64,
    /// What became of the run's lines.
    pub counts: MergeCounts,
    /// Σ `line_total` of the run's lines that lost, to be taken off what was counted while parsing.
    pub lost: CurrencyTotals,
    /// Σ `line_total` of the stored rows that stay.
    pub kept: CurrencyTotals,
    /// The bytes of the longest row of new content.
    pub longest_row: usize,
    /// What became of each of the run's lines, in source order. Behind them: that of each row of [`MergedPartition::deleted`].
    pub outcomes: LineOutcomes,
    /// The orders that were deleted or marked.
    pub deleted: Vec<DeletedVersion>,
    /// The orders that it then has, if the rules ask for them.
    pub orders: HashSet<OrderHash>,
}

/// Where a row of the result comes from.
#[derive(Clone, Copy)]
enum Origin {
    Stored(usize),
    /// A stored row that gets [`DELETED_STATUS`].
    Marked(usize),
    Incoming(usize),
}

/// What one key has in this partition.
struct Slot {
    stored: Option<usize>,
    incoming: Option<usize>,
}

/// Merges one partition. `incoming` are the run's lines for it, in source order.
///
/// # Errors
/// What the sink of the CSV refuses.
pub fn merge_partition(
    dt: Dt,
    incoming: Option<PartitionRows>,
    stored: Option<StoredPartition>,
    best_versions: &BestVersions,
    rules: MergeRules<'_>,
    output: MergeOutput<'_>,
) -> Result<MergedPartition, LayerError> {
    let MergeOutput { csv, prices } = output;
    let MergeRules { schema, by, known_prices, dropped_lines, repeated_sku, deletions, notes_orders } = rules;
    let empty = PartitionRows::new(schema);
    let incoming_rows = incoming.as_ref().unwrap_or(&empty);
    let stored_rows = stored.as_ref().map_or(&empty, |stored| &stored.rows);
    let mut merge = Merge {
        dt,
        stored: stored_rows,
        incoming: incoming_rows,
        best_versions,
        orders: HashMap::new(),
        successions: HashMap::new(),
        schema,
        known_prices,
        dropped_lines,
        repeated_sku,
        deletions,
        deleted: Vec::new(),
        prices,
        counts: MergeCounts::default(),
        outcomes: vec![LineOutcome::Unknown; incoming_rows.len()],
        lost: CurrencyTotals::new(),
        kept: CurrencyTotals::new(),
        rows: 0,
    };
    if by == MergeBy::Order {
        merge.orders = versions_here(merge.incoming, Some(merge.stored));
        merge.successions = successions_here(merge.incoming, &merge.orders, best_versions, dropped_lines);
    }
    let result = merge.resolve(by);
    let orders = if notes_orders { merge.orders_of(&result) } else { HashSet::new() };
    let mut longest_row = 0;
    let content = match (&stored, result.is_empty()) {
        (None, true) => MergedContent::Unchanged,
        (Some(_), true) => MergedContent::Removed,
        (stored, false) => {
            let mut compared = ComparedCsv::new(stored.as_ref().map_or(&[][..], |stored| &stored.bytes[..]), csv);
            longest_row = merge.write(result, &mut compared)?;
            match compared.finish()? {
                Comparison::Equal => MergedContent::Unchanged,
                Comparison::Different => MergedContent::Replaced,
            }
        }
    };
    let deleted = merge.deleted_versions();
    let Merge { counts, lost, kept, rows, outcomes, .. } = merge;
    Ok(MergedPartition { dt, content, rows, counts, lost, kept, longest_row, outcomes: LineOutcomes::new(&outcomes), deleted, orders })
}

struct Merge<'a> {
    dt: Dt,
    stored: &'a PartitionRows,
    incoming: &'a PartitionRows,
    best_versions: &'a BestVersions,
    /// The versions of each order of the run in this partition (`merge = "order"`).
    orders: HashMap<&'a str, OrderVersions>,
    /// Those of them that lie here alone and whose best version has a dropped line.
    successions: HashMap<&'a str, Succession>,
    schema: &'a FactSchema,
    known_prices: Option<&'a PriceBook>,
    dropped_lines: &'a DroppedParts,
    repeated_sku: RepeatedSku,
    deletions: Option<&'a Deletions>,
    /// The stored rows that were deleted or marked.
    deleted: Vec<usize>,
    prices: &'a mut RunPrices,
    counts: MergeCounts,
    /// What became of each incoming row.
    outcomes: Vec<LineOutcome>,
    lost: CurrencyTotals,
    kept: CurrencyTotals,
    rows: u64,
}

impl<'a> Merge<'a> {
    /// The incoming version of the order, and whether it beats the stored one.
    fn order_versions(&self, order_id: &str) -> Option<OrderVersions> {
        self.best_versions.or_here(order_id, self.orders.get(order_id)).copied()
    }

    /// Whether an incoming row is of the version of its order that counts.
    fn is_of_best_version(&self, row: usize) -> bool {
        let best = self.order_versions(self.incoming.order_id(row)).and_then(|order| order.incoming);
        best.is_some_and(|best| best.seq == self.incoming.seq(row))
    }

    /// What stands of a key of an order whose best version has a dropped line (`merge = "order"`).
    fn stands(&self, (order_id, sku): (&str, &str)) -> Option<Stands> {
        let is_shared = self.best_versions.concern(order_id);
        let succession = if is_shared { self.best_versions.succession(order_id) } else { self.successions.get(order_id) };
        succession.map(|succession| succession.stands(sku, self.dropped_lines, self.repeated_sku))
    }

    /// The rows of the result, in no order.
    fn resolve(&mut self, by: MergeBy) -> Vec<Origin> {
        let slots = self.slots(by);
        let mut result = Vec::with_capacity(slots.len());
        for slot in slots {
            let Some(key) = self.key_of(&slot) else { continue };
            // An order that the run has read is not deleted: this is for a hash that two orders share.
            if let (Some(row), None) = (slot.stored, slot.incoming)
                && let Some(mode) = self.deletions.and_then(|deletions| deletions.of(key.0))
            {
                result.extend(self.delete(row, mode));
                continue;
            }
            let key_versions = if self.best_versions.concern(key.0) { self.best_versions.of(key) } else { None };
            let order = if by == MergeBy::Order { self.order_versions(key.0) } else { None };
            let origin = match order {
                Some(order) => self.resolve_order(key, &slot, &order, key_versions),
                None => self.resolve_line(&slot, key_versions),
            };
            result.extend(origin);
        }
        result
    }

    /// A stored row of an order that the source no longer has.
    fn delete(&mut self, stored: usize, mode: DeletionMode) -> Option<Origin> {
        match mode {
            DeletionMode::Remove => {
                self.deleted.push(stored);
                self.counts.rows_deleted += 1;
                None
            }
            DeletionMode::Mark if self.stored.status(stored) == Some(DELETED_STATUS) => Some(self.keep(stored)),
            DeletionMode::Mark => {
                self.deleted.push(stored);
                self.counts.rows_marked += 1;
                self.keep(stored);
                Some(Origin::Marked(stored))
            }
        }
    }

    /// The deleted rows as one version an order, for lineage. Adds their outcomes behind those of the run's lines.
    fn deleted_versions(&mut self) -> Vec<DeletedVersion> {
        let outcome = if self.counts.rows_marked > 0 { LineOutcome::Marked } else { LineOutcome::Deleted };
        let mut rows: Vec<_> = self.deleted.iter().map(|&row| (order_hash(self.stored.order_id(row)), row)).collect();
        rows.sort_unstable();
        let mut versions = Vec::new();
        for of_order in rows.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(&(order, first)) = of_order.first() else { continue };
            let mut version =
                DeletedVersion::new(order, self.outcomes.len() as u64, self.dt, self.stored.updated_at(first).and_then(UtcMicros::new));
            for &(_, row) in of_order {
                version.add_sku(self.stored.key(row).1);
                self.outcomes.push(outcome);
            }
            versions.push(version);
        }
        versions
    }

    /// What each key has here: at most one stored row, and the best of the incoming ones. The others lose at once.
    fn slots(&mut self, by: MergeBy) -> Vec<Slot> {
        let mut slots: Vec<Slot> = Vec::with_capacity(self.stored.len() + self.incoming.len());
        let mut by_key: HashTable<usize> = HashTable::with_capacity(slots.capacity());
        let key_of = |slot: &Slot, stored: &'a PartitionRows, incoming: &'a PartitionRows| match (slot.stored, slot.incoming) {
            (Some(row), _) => stored.key(row),
            (None, Some(row)) => incoming.key(row),
            (None, None) => ("", ""),
        };
        let (stored, incoming) = (self.stored, self.incoming);
        let mut find = |key: (&str, &str), slots: &mut Vec<Slot>| {
            let hash = hash(key);
            let found = by_key.find(hash, |&slot| key_of(&slots[slot], stored, incoming) == key).copied();
            found.unwrap_or_else(|| {
                slots.push(Slot { stored: None, incoming: None });
                by_key.insert_unique(hash, slots.len() - 1, |&slot| self::hash(key_of(&slots[slot], stored, incoming)));
                slots.len() - 1
            })
        };
        for row in 0..stored.len() {
            let slot = find(stored.key(row), &mut slots);
            // A key that stands twice in a stored file is healed: its newest row stays.
            if slots[slot].stored.is_none_or(|best| stored.updated_at(best) <= stored.updated_at(row)) {
                slots[slot].stored = Some(row);
            }
        }
        let mut duplicates = Vec::new();
        for row in 0..incoming.len() {
            let slot = find(incoming.key(row), &mut slots);
            match slots[slot].incoming {
                Some(best) if self.beats(best, row, by) => duplicates.push(row),
                best => {
                    duplicates.extend(best);
                    slots[slot].incoming = Some(row);
                }
            }
        }
        for row in duplicates {
            self.settle(row, LineOutcome::Duplicate);
            self.lose(row);
        }
        slots
    }

    /// Whether the earlier of two incoming rows of a key beats the later one.
    fn beats(&self, earlier: usize, later: usize, by: MergeBy) -> bool {
        // Where all partitions were compared, or all versions, the row that stands is known: no other pushes it out.
        let best = self.record_that_stands(self.incoming.key(earlier));
        let is_best = |row: usize| best.is_some_and(|best| best == self.incoming.seq(row));
        match (is_best(earlier), is_best(later)) {
            (true, false) => return true,
            (false, true) => return false,
            _ => {}
        }
        match (self.is_partial_sum(earlier), self.is_partial_sum(later)) {
            (false, true) => return true,
            (true, false) => return false,
            _ => {}
        }
        match by {
            MergeBy::Line => self.incoming.updated_at(earlier) > self.incoming.updated_at(later),
            MergeBy::Order => match (self.is_of_best_version(earlier), self.is_of_best_version(later)) {
                (false, false) => self.incoming.updated_at(earlier) > self.incoming.updated_at(later),
                (earlier, later) => earlier && !later,
            },
        }
    }

    /// The record whose row of a key stands, as far as that is known beforehand.
    fn record_that_stands(&self, key: (&str, &str)) -> Option<u64> {
        if let Some(stands) = self.stands(key) {
            return match stands {
                Stands::Incoming(version) | Stands::StoredOr(Some(version)) => Some(version.seq),
                Stands::StoredOr(None) | Stands::Nothing => None,
            };
        }
        let everywhere = if self.best_versions.concern(key.0) { self.best_versions.of(key) } else { None };
        everywhere.and_then(|key_versions| key_versions.incoming).map(|row| row.seq)
    }

    /// A key of an order of which the run has a version: that version as a whole wins or loses. `key_versions` is the key's own,
    /// where its order stands in more than one partition.
    fn resolve_order(
        &mut self,
        key: (&str, &str),
        slot: &Slot,
        order: &OrderVersions,
        key_versions: Option<&KeyVersions>,
    ) -> Option<Origin> {
        let best = slot.incoming.filter(|&row| self.is_of_best_version(row));
        let lacks_line = best.is_none_or(|row| self.is_partial_sum(row));
        if lacks_line
            && order.incoming_wins()
            && let Some(stands) = self.stands(key)
        {
            return self.resolve_dropped_line(slot, stands, key_versions);
        }
        self.lose_to_another(slot.incoming.filter(|_| best.is_none()));
        if !order.incoming_wins() {
            if let Some(row) = best {
                self.settle(row, LineOutcome::Superseded);
                self.lose(row);
            }
            let stays = key_versions.and_then(|key_versions| key_versions.stored).is_none_or(|stored| stored.dt == self.dt);
            return slot.stored.filter(|_| stays).map(|row| self.keep(row));
        }
        let stored_elsewhere = key_versions.is_some_and(|key_versions| key_versions.stored.is_some_and(|stored| stored.dt != self.dt));
        match (slot.stored, best) {
            (Some(stored), Some(row)) if !stored_elsewhere => Some(self.replace(stored, row)),
            (_, Some(row)) => {
                let moved = stored_elsewhere || key_versions.is_some_and(|key_versions| key_versions.stored.is_some());
                self.settle(row, if moved { LineOutcome::Moved } else { LineOutcome::Inserted });
                Some(self.take_changed(row))
            }
            // The newer version has no such line, or has it in another partition.
            (Some(_), None) => {
                let moves = key_versions.is_some_and(|key_versions| {
                    order.incoming.is_some_and(|best| key_versions.incoming.is_some_and(|key| key.seq == best.seq))
                });
                self.counts.rows_removed += u64::from(!moves);
                None
            }
            (None, None) => None,
        }
    }

    /// A key that has no whole row here of the best version of its order, and may have lost a line in it. What stood
    /// before that version stays, stored or of an earlier version in the run. So one run gives what several would.
    fn resolve_dropped_line(&mut self, slot: &Slot, stands: Stands, key_versions: Option<&KeyVersions>) -> Option<Origin> {
        let best_stored = key_versions.and_then(|key_versions| key_versions.stored);
        let stored_here = slot.stored.filter(|_| best_stored.is_none_or(|stored| stored.dt == self.dt));
        let is_stored = slot.stored.is_some() || best_stored.is_some();
        let origin = match stands {
            Stands::StoredOr(_) if is_stored => self.keep_before(slot.incoming, stored_here),
            Stands::Incoming(version) | Stands::StoredOr(Some(version)) => {
                let new = if is_stored { LineOutcome::Moved } else { LineOutcome::Inserted };
                self.take_before(slot.incoming, stored_here, version, new)
            }
            Stands::StoredOr(None) | Stands::Nothing => {
                self.lose_to_another(slot.incoming);
                self.counts.rows_removed += u64::from(slot.stored.is_some());
                None
            }
        };
        let is_retained = match origin {
            Some(Origin::Stored(_)) => true,
            Some(Origin::Incoming(row)) => !self.is_of_best_version(row),
            Some(Origin::Marked(_)) | None => false,
        };
        self.counts.rows_retained += u64::from(is_retained);
        origin
    }

    /// The stored row stands, wherever it lies. An incoming one may be the same.
    fn keep_before(&mut self, incoming: Option<usize>, stored_here: Option<usize>) -> Option<Origin> {
        if let (Some(row), Some(stored)) = (incoming, stored_here)
            && self.is_same(stored, row)
        {
            self.settle(row, LineOutcome::Unchanged);
            return Some(self.take(row));
        }
        if let Some(row) = incoming {
            self.settle(row, LineOutcome::Superseded);
            self.lose(row);
        }
        stored_here.map(|stored| self.keep(stored))
    }

    /// The row of an earlier version stands, wherever it lies. If nothing is stored here, it is new in this partition.
    fn take_before(
        &mut self,
        incoming: Option<usize>,
        stored_here: Option<usize>,
        version: BestIncoming,
        new: LineOutcome,
    ) -> Option<Origin> {
        let Some(row) = incoming.filter(|&row| self.incoming.seq(row) == version.seq) else {
            self.lose_to_another(incoming);
            return None;
        };
        let outcome = match stored_here {
            Some(stored) if self.is_same(stored, row) => LineOutcome::Unchanged,
            Some(_) => LineOutcome::Updated,
            None => new,
        };
        self.settle(row, outcome);
        Some(if outcome == LineOutcome::Unchanged { self.take(row) } else { self.take_changed(row) })
    }

    /// An incoming row that lost to another version of the run.
    fn lose_to_another(&mut self, incoming: Option<usize>) {
        if let Some(row) = incoming {
            self.settle(row, LineOutcome::Duplicate);
            self.lose(row);
        }
    }

    /// A key that wins or loses by itself. Counts a stored row that stays because the newer one is a partial sum.
    fn resolve_line(&mut self, slot: &Slot, key_versions: Option<&KeyVersions>) -> Option<Origin> {
        let origin = self.resolve_key(slot, key_versions);
        if let Some(Origin::Stored(stored)) = origin {
            let is_newer_here = |row: usize| self.incoming.updated_at(row) >= self.stored.updated_at(stored);
            let is_retained = match key_versions {
                Some(key_versions) => key_versions.incoming_is_newer(),
                None => slot.incoming.is_some_and(is_newer_here),
            };
            self.counts.rows_retained += u64::from(is_retained);
        }
        origin
    }

    /// The row of a key that stands here, if one does.
    fn resolve_key(&mut self, slot: &Slot, key_versions: Option<&KeyVersions>) -> Option<Origin> {
        match key_versions {
            None => self.resolve_here(slot),
            Some(key_versions) => self.resolve_everywhere(slot, key_versions),
        }
    }

    /// Whether a row is the sum of lines of which one was dropped (`repeated_sku = "sum"`): it may be too small.
    fn is_partial_sum(&self, incoming: usize) -> bool {
        // Most runs add nothing up: they do without a look at the row.
        self.repeated_sku == RepeatedSku::Sum && {
            let (seq, sku) = (self.incoming.seq(incoming), self.incoming.key(incoming).1);
            self.dropped_lines.wholeness(self.repeated_sku, seq, sku) == Wholeness::Partial
        }
    }

    /// A key that stands in this partition alone.
    fn resolve_here(&mut self, slot: &Slot) -> Option<Origin> {
        match (slot.stored, slot.incoming) {
            (Some(stored), Some(incoming)) if self.incoming.updated_at(incoming) < self.stored.updated_at(stored) => {
                self.settle(incoming, LineOutcome::Superseded);
                self.lose(incoming);
                Some(self.keep(stored))
            }
            (Some(stored), Some(incoming)) => Some(self.replace(stored, incoming)),
            (Some(stored), None) => Some(self.keep(stored)),
            (None, Some(incoming)) => {
                self.settle(incoming, LineOutcome::Inserted);
                Some(self.take_changed(incoming))
            }
            (None, None) => None,
        }
    }

    /// A key whose versions were compared over all partitions.
    fn resolve_everywhere(&mut self, slot: &Slot, key_versions: &KeyVersions) -> Option<Origin> {
        let is_best = |row: usize| key_versions.incoming.is_some_and(|best| best.seq == self.incoming.seq(row));
        let stored_here = slot.stored.filter(|_| key_versions.stored.is_some_and(|best| best.dt == self.dt));
        match (slot.incoming, stored_here) {
            (Some(row), _) if !is_best(row) => {
                self.settle(row, LineOutcome::Duplicate);
                self.lose(row);
            }
            // Also a partial sum is compared with the stored row: it may be the same.
            (Some(row), Some(stored)) if key_versions.incoming_is_newer() => return Some(self.replace(stored, row)),
            (Some(row), _) if key_versions.incoming_wins() => {
                self.settle(row, if key_versions.stored.is_some() { LineOutcome::Moved } else { LineOutcome::Inserted });
                return Some(self.take_changed(row));
            }
            (Some(row), _) => {
                self.settle(row, LineOutcome::Superseded);
                self.lose(row);
            }
            (None, _) => {}
        }
        stored_here.filter(|_| !key_versions.incoming_wins()).map(|row| self.keep(row))
    }

    /// Whether an incoming row is as the stored one in all columns.
    fn is_same(&self, stored: usize, incoming: usize) -> bool {
        self.stored.line(stored) == self.incoming.line(incoming) && self.stored.extra(stored).eq(self.incoming.extra(incoming))
    }

    /// A newer row takes the place of the stored one, unless it is a partial sum.
    fn replace(&mut self, stored: usize, incoming: usize) -> Origin {
        if self.is_same(stored, incoming) {
            self.settle(incoming, LineOutcome::Unchanged);
            return self.take(incoming);
        }
        if self.is_partial_sum(incoming) {
            self.settle(incoming, LineOutcome::Superseded);
            self.lose(incoming);
            return self.keep(stored);
        }
        self.settle(incoming, LineOutcome::Updated);
        self.take_changed(incoming)
    }

    /// An incoming row that is new, or changes its stored row.
    fn take_changed(&mut self, incoming: usize) -> Origin {
        if let Some(known) = self.known_prices {
            self.prices.changed_lines += 1;
            if !known.is_empty() {
                self.prices.compare(&self.incoming.line(incoming), known);
            }
        }
        self.take(incoming)
    }

    /// Records and counts what became of an incoming row.
    fn settle(&mut self, incoming: usize, outcome: LineOutcome) {
        self.outcomes[incoming] = outcome;
        match outcome {
            // Stored orders that are deleted or marked are counted where they are found.
            LineOutcome::Unknown | LineOutcome::Deleted | LineOutcome::Marked => {}
            LineOutcome::Inserted => self.counts.rows_inserted += 1,
            LineOutcome::Updated => self.counts.rows_updated += 1,
            LineOutcome::Unchanged => self.counts.rows_unchanged += 1,
            LineOutcome::Moved => self.counts.rows_moved += 1,
            LineOutcome::Superseded => self.counts.rows_superseded += 1,
            LineOutcome::Duplicate => self.counts.duplicates_dropped += 1,
        }
    }

    fn take(&mut self, incoming: usize) -> Origin {
        self.rows += 1;
        Origin::Incoming(incoming)
    }

    fn keep(&mut self, stored: usize) -> Origin {
        self.rows += 1;
        let line = self.stored.line(stored);
        add_totals(&mut self.kept, line.currency, i128::from(line.line_total.units()));
        Origin::Stored(stored)
    }

    fn lose(&mut self, incoming: usize) {
        let line = self.incoming.line(incoming);
        add_totals(&mut self.lost, line.currency, i128::from(line.line_total.units()));
    }

    fn row(&self, origin: Origin) -> (&'a PartitionRows, usize) {
        match origin {
            Origin::Stored(row) | Origin::Marked(row) => (self.stored, row),
            Origin::Incoming(row) => (self.incoming, row),
        }
    }

    /// The orders of these rows.
    fn orders_of(&self, origins: &[Origin]) -> HashSet<OrderHash> {
        let order = |&origin: &Origin| {
            let (rows, row) = self.row(origin);
            order_hash(rows.order_id(row))
        };
        origins.iter().map(order).collect()
    }

    /// Writes the rows, sorted by `(created_at, order_id, sku)`. Returns the bytes of the longest one.
    fn write(&mut self, rows: Vec<Origin>, out: &mut impl CsvSink) -> Result<usize, LayerError> {
        let created_at = |origin: Origin| {
            let (rows, row) = self.row(origin);
            rows.created_at(row)
        };
        let mut by_time: Vec<(i64, Origin)> = rows.into_iter().map(|origin| (created_at(origin), origin)).collect();
        by_time.sort_unstable_by_key(|(created_at, _)| *created_at);
        let mut longest_row = 0;
        let mut piece = Vec::with_capacity((256 + by_time.len() * 160).min(PIECE + PIECE / 16));
        csv::write_header(&mut piece, self.schema);
        // Few rows are of one time: only their keys are in memory at once.
        let mut by_key: Vec<((&str, &str), Origin)> = Vec::new();
        for of_one_time in by_time.chunk_by(|(a, _), (b, _)| a == b) {
            by_key.clear();
            by_key.extend(of_one_time.iter().map(|&(_, origin)| (self.key(origin), origin)));
            by_key.sort_unstable_by_key(|(key, _)| *key);
            for &(_, origin) in &by_key {
                longest_row = longest_row.max(self.write_row(&mut piece, origin));
                if piece.len() >= PIECE {
                    out.push_csv(&piece)?;
                    piece.clear();
                }
            }
        }
        if !piece.is_empty() {
            out.push_csv(&piece)?;
        }
        Ok(longest_row)
    }

    /// Appends a row of the result. Returns its bytes.
    fn write_row(&mut self, out: &mut Vec<u8>, origin: Origin) -> usize {
        let (rows, row) = self.row(origin);
        let start = out.len();
        let line = match origin {
            Origin::Marked(_) => Line { status: Some(DELETED_STATUS), ..rows.line(row) },
            _ => rows.line(row),
        };
        csv::write_line(out, &line, rows.extra(row));
        if self.known_prices.is_some() && matches!(origin, Origin::Incoming(_)) {
            self.prices.take(&line);
        }
        out.len() - start
    }

    fn key_of(&self, slot: &Slot) -> Option<(&'a str, &'a str)> {
        match (slot.stored, slot.incoming) {
            (Some(row), _) => Some(self.stored.key(row)),
            (None, Some(row)) => Some(self.incoming.key(row)),
            (None, None) => None,
        }
    }

    fn key(&self, origin: Origin) -> (&'a str, &'a str) {
        let (rows, row) = self.row(origin);
        rows.key(row)
    }
}

fn hash((order_id, sku): (&str, &str)) -> u64 {
    xxh3_64_with_seed(sku.as_bytes(), xxh3_64_with_seed(order_id.as_bytes(), 0))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::Money;

    fn day() -> Dt {
        Dt::from_days(0).unwrap()
    }

    fn line<'a>(order_id: &'a str, sku: &'a str, quantity: i64, updated_at: Option<i64>) -> Line<'a> {
        Line {
            currency: Some("EUR"),
            quantity: quantity.into(),
            unit_price: Money::from_units(10_000).unwrap(),
            line_total: Money::from_units(i128::from(quantity) * 10_000).unwrap(),
            created_at: UtcMicros::new(5).unwrap(),
            updated_at: updated_at.and_then(UtcMicros::new),
            ..Line::of_key(order_id, sku)
        }
    }

    /// Rows of these lines, a record each.
    fn rows_of(lines: &[Line<'_>]) -> PartitionRows {
        let mut rows = PartitionRows::new(&FactSchema::default());
        (1..).zip(lines).for_each(|(seq, line)| rows.push(line, seq, []));
        rows
    }

    fn stored(lines: &[Line<'_>]) -> StoredPartition {
        let mut bytes = Vec::new();
        csv::write_header(&mut bytes, &FactSchema::default());
        lines.iter().for_each(|line| csv::write_line(&mut bytes, line, std::iter::empty()));
        StoredPartition { rows: read(&bytes), bytes }
    }

    fn read(bytes: &[u8]) -> PartitionRows {
        csv::read_compact(bytes, day(), Path::new("x"), &FactSchema::default()).unwrap()
    }

    #[test]
    fn a_deleted_order_loses_its_rows_or_gets_a_status_and_the_sums_follow() {
        let old = [line("A", "x", 1, None), line("A", "y", 2, Some(7)), line("B", "x", 4, None)];
        let deleted = |mode: DeletionMode, old: &[Line<'_>]| {
            let deletions = Deletions::new(mode, [(order_hash("A"), day())]);
            merged(MergeBy::Line, None, Some(stored(old)), Some(&deletions))
        };
        let Merged { partition: removed, csv } = deleted(DeletionMode::Remove, &old);
        assert_eq!(quantities(&csv), [("Bx".to_owned(), 4)]);
        assert_eq!(removed.orders, [order_hash("B")].into());
        assert_eq!((removed.rows, removed.counts.rows_deleted, removed.deleted.len()), (1, 2, 1));
        assert_eq!(removed.kept, [("EUR".to_owned(), 40_000)].into());
        assert_eq!(removed.outcomes, LineOutcomes::new(&[LineOutcome::Deleted; 2]));
        assert_eq!(deleted(DeletionMode::Remove, &old[..2]).partition.content, MergedContent::Removed);
        let Merged { partition: marked, csv } = deleted(DeletionMode::Mark, &old);
        assert_eq!((marked.rows, marked.counts.rows_marked, marked.counts.rows_deleted), (3, 2, 0));
        assert_eq!(marked.orders, [order_hash("A"), order_hash("B")].into());
        assert_eq!(marked.kept, [("EUR".to_owned(), 70_000)].into());
        assert_eq!(marked.content, MergedContent::Replaced);
        let rows = read(&csv);
        let statuses: Vec<_> = (0..rows.len()).map(|row| (rows.order_id(row), rows.status(row))).collect();
        assert_eq!(statuses, [("A", Some("deleted")), ("A", Some("deleted")), ("B", None)]);
        // A second time, nothing is left to do.
        let again: Vec<_> = (0..rows.len()).map(|row| rows.line(row)).collect();
        let again = deleted(DeletionMode::Mark, &again).partition;
        assert_eq!((again.content, again.counts.rows_marked, again.deleted.len()), (MergedContent::Unchanged, 0, 0));
    }

    /// A merged partition with its new content.
    struct Merged {
        partition: MergedPartition,
        /// Empty where the partition does not change.
        csv: Vec<u8>,
    }

    fn merge_into(
        csv: &mut dyn CsvSink,
        by: MergeBy,
        incoming: Option<PartitionRows>,
        old: Option<StoredPartition>,
        deletions: Option<&Deletions>,
    ) -> MergedPartition {
        let rules = MergeRules {
            schema: &FactSchema::default(),
            by,
            known_prices: None,
            dropped_lines: &DroppedParts::default(),
            repeated_sku: RepeatedSku::Last,
            deletions,
            notes_orders: deletions.is_some(),
        };
        let output = MergeOutput { csv, prices: &mut RunPrices::default() };
        merge_partition(day(), incoming, old, &BestVersions::default(), rules, output).unwrap()
    }

    fn merged(by: MergeBy, incoming: Option<PartitionRows>, old: Option<StoredPartition>, deletions: Option<&Deletions>) -> Merged {
        let mut csv = Vec::new();
        let partition = merge_into(&mut csv, by, incoming, old, deletions);
        Merged { partition, csv }
    }

    fn merge_by(by: MergeBy, incoming: PartitionRows, old: Option<&[Line<'_>]>) -> Merged {
        merged(by, Some(incoming), old.map(stored), None)
    }

    fn merge(incoming: &[Line<'_>], old: Option<&[Line<'_>]>) -> Merged {
        merge_by(MergeBy::Line, rows_of(incoming), old)
    }

    fn quantities(csv: &[u8]) -> Vec<(String, i64)> {
        let rows = read(csv);
        (0..rows.len()).map(|row| rows.line(row)).map(|line| (format!("{}{}", line.order_id, line.sku), line.quantity.units())).collect()
    }

    #[test]
    fn a_partition_is_handed_on_in_pieces_whatever_its_size() {
        let name = "n".repeat(10_000);
        let ids: Vec<String> = (0..500).map(|number| format!("order {number}")).collect();
        let lines: Vec<_> = ids.iter().map(|id| Line { product_name: Some(&name), ..line(id, "x", 1, None) }).collect();
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        let merged = merge_into(&mut pieces, MergeBy::Line, Some(rows_of(&lines)), None, None);
        let (bytes, longest) = (pieces.concat().len(), pieces.iter().map(Vec::len).max().unwrap());
        assert!(pieces.iter().all(|piece| piece.last() == Some(&b'\n')));
        assert_eq!((merged.content, pieces.len()), (MergedContent::Replaced, bytes.div_ceil(PIECE + merged.longest_row)));
        assert!(bytes > 4 * PIECE && longest < PIECE + merged.longest_row, "{longest} of {bytes}");
    }

    #[test]
    fn the_greatest_updated_at_wins_and_of_equal_ones_the_later() {
        for (versions, winner) in [
            (vec![(1, Some(5)), (2, Some(6))], 2),
            (vec![(1, Some(6)), (2, Some(5))], 1),
            (vec![(1, Some(5)), (2, Some(5))], 2),
            (vec![(1, None), (2, None)], 2),
            (vec![(1, Some(0)), (2, None)], 1),
            (vec![(1, None), (2, Some(-9)), (3, None)], 2),
        ] {
            let lines: Vec<_> = versions.iter().map(|&(quantity, updated_at)| line("A", "x", quantity, updated_at)).collect();
            let Merged { partition: merged, csv } = merge(&lines, None);
            assert_eq!(quantities(&csv), [("Ax".to_owned(), winner)], "{versions:?}");
            assert_eq!(merged.counts.duplicates_dropped, versions.len() as u64 - 1);
            assert_eq!(merged.counts.rows_inserted, 1);
        }
    }

    #[test]
    fn what_is_loaded_wins_over_what_is_stored_unless_that_is_newer() {
        let old = [
            line("A", "x", 1, Some(5)),
            line("B", "x", 1, Some(5)),
            line("C", "x", 1, Some(5)),
            line("D", "x", 1, None),
            line("E", "x", 1, None),
        ];
        let new = [
            line("A", "x", 2, Some(4)),
            line("B", "x", 2, Some(5)),
            line("C", "x", 1, Some(5)),
            line("D", "x", 2, None),
            line("F", "x", 2, None),
        ];
        let Merged { partition: merged, csv } = merge(&new, Some(&old));
        assert_eq!(
            quantities(&csv),
            [("Ax", 1), ("Bx", 2), ("Cx", 1), ("Dx", 2), ("Ex", 1), ("Fx", 2)].map(|(key, quantity)| (key.to_owned(), quantity))
        );
        let expected = MergeCounts { rows_superseded: 1, rows_updated: 2, rows_unchanged: 1, rows_inserted: 1, ..MergeCounts::default() };
        assert_eq!((merged.counts, merged.rows), (expected, 6));
        assert_eq!((merged.lost, merged.kept), ([("EUR".to_owned(), 20_000)].into(), [("EUR".to_owned(), 20_000)].into()));
    }

    #[test]
    fn equal_content_is_unchanged_to_the_byte() {
        let lines = [line("A", "x", 1, None), line("A", "y", 1, None)];
        for incoming in [lines, [lines[1], lines[0]]] {
            let Merged { partition, csv } = merge(&incoming, Some(&lines));
            assert_eq!((partition.content, csv), (MergedContent::Unchanged, Vec::new()));
        }
    }

    #[test]
    fn rows_are_sorted_by_time_order_and_sku() {
        let early = Line { created_at: UtcMicros::new(1).unwrap(), ..line("Z", "x", 1, None) };
        let merged = merge(&[line("B", "x", 1, None), line("A", "y", 1, None), line("A", "x", 1, None), early], None);
        assert_eq!(quantities(&merged.csv).into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["Zx", "Ax", "Ay", "Bx"]);
    }

    /// Whatever rows a partition is merged of, and however many are of one time, its CSV is that of the rows in their
    /// order.
    #[test]
    fn the_csv_is_that_of_the_sorted_rows() {
        let ids: Vec<String> = (0..200).map(|number| format!("{:03}", (number * 77) % 200)).collect();
        for times in [1, 3, 200] {
            let lines: Vec<_> = (0..)
                .zip(&ids)
                .map(|(number, id)| Line { created_at: UtcMicros::new(number % times).unwrap(), ..line(id, "x", number, None) })
                .collect();
            let mut sorted = lines.clone();
            sorted.sort_by_key(|line| (line.created_at, line.order_id));
            let (new, old) = lines.split_at(120);
            let csv = merge(new, Some(old)).csv;
            assert_eq!(String::from_utf8(csv).unwrap(), String::from_utf8(stored(&sorted).bytes).unwrap(), "{times} times");
        }
    }

    #[test]
    fn a_newer_version_of_an_order_replaces_all_of_it_where_that_is_asked_for() {
        // Each inner list is a record: its rows are of one version.
        let versions = |records: &[&[Line<'_>]]| {
            let mut rows = PartitionRows::new(&FactSchema::default());
            for (seq, record) in (1..).zip(records) {
                record.iter().for_each(|line| rows.push(line, seq, []));
            }
            rows
        };
        let old = [line("A", "x", 1, Some(5)), line("A", "y", 1, Some(5)), line("B", "x", 1, Some(5)), line("C", "x", 1, Some(9))];
        let Merged { partition: merged, csv } = merge_by(
            MergeBy::Order,
            versions(&[
                &[line("A", "y", 2, Some(6)), line("A", "z", 2, Some(6))],
                &[line("A", "x", 7, Some(4)), line("A", "w", 7, Some(4))],
                &[line("C", "x", 3, Some(8)), line("C", "y", 3, Some(8))],
                &[line("D", "x", 1, None)],
                &[line("D", "y", 2, None), line("D", "y", 3, None)],
            ]),
            Some(&old),
        );
        assert_eq!(
            quantities(&csv),
            [("Ay", 2), ("Az", 2), ("Bx", 1), ("Cx", 1), ("Dy", 3)].map(|(key, quantity)| (key.to_owned(), quantity))
        );
        let expected = MergeCounts {
            rows_updated: 1,
            rows_inserted: 2,
            rows_superseded: 2,
            duplicates_dropped: 4,
            rows_removed: 1,
            ..MergeCounts::default()
        };
        assert_eq!((merged.counts, merged.rows), (expected, 5));
        let same = versions(&[&old[..2]]);
        assert_eq!(merge_by(MergeBy::Order, same, Some(&old)).partition.content, MergedContent::Unchanged);
    }
}
