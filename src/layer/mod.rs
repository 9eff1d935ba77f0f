//! Partitions of `fact_order`: staged by a run, stored on disk, merged one by one; the index that knows which partitions
//! hold an order, the lineage that knows which record brought it, and the facts beside the lines: totals of orders, and refunds.
//!
//! Responsible for the CSV in and out and for which version of a row wins. Knows no source, no dimension, and nothing of
//! how files come to be published.

mod catalog;
mod csv;
mod deletions;
mod dropped_parts;
mod erase;
mod error;
mod file_format;
mod index;
mod leb128;
mod lineage;
mod lineage_runs;
mod merge;
mod moves;
mod order_counts;
mod order_index;
mod order_totals;
mod orders_merge;
mod parquet;
mod partition_file;
mod partition_rows;
mod present_orders;
mod prices;
mod refunds;
mod rewrite;
mod side_fact;
mod stage;
mod staged_rows;
mod staged_side;
mod state;
mod stored;
mod stored_order;
mod succession;

pub use catalog::{
    Catalog, IndexedTable, LookUpError, StoredState, partition_files, published_entries, side_files, stored_partition_files,
};
pub use csv::{read_partition, write_header, write_line, write_text};
pub use deletions::{DELETED_STATUS, DeletionScope, Deletions, MissingOrders, MissingShare, OrdersByPartition};
pub use dropped_parts::DroppedParts;
pub use erase::{ErasedLines, ErasedPartition, UsersToErase, without_users, without_users_of};
pub use error::LayerError;
pub use file_format::{decode, decode_stored, encode};
pub use index::{IndexBuilder, OrderPartitions, Segment};
pub use lineage::{
    DeletedVersion, Gap, IncomingLine, IncomingVersion, LineOutcome, LineOutcomes, LineageBuilder, LineageError, PageOrigin,
    PartitionOutcomes, RecordSource, RecordUnit, kept_sku, versions_of,
};
pub use lineage_runs::{LineageRetention, LineageRun, RemovedLineage, inline_lineage, remove_past_retention, stored_runs};
pub use merge::{MergeCounts, MergeOutput, MergeRules, MergedContent, MergedPartition, merge_partition};
pub use moves::{BestVersions, VersionRules, best_versions};
pub use order_counts::{OrderCounts, order_counts};
pub use orders_merge::{MergedOrders, OrdersMerge};
pub use partition_file::{CsvSink, PartitionFile};
pub use partition_rows::PartitionRows;
pub use present_orders::{PresentOrders, PresentOrdersBuilder};
pub use prices::{PriceBook, RunPrices, SlipFactor, SlippedLine};
pub use refunds::{CutRefunds, RefundDays, RefundFates, RefundPlan, UnreadRefund, UnreadRefunds};
pub use rewrite::{QUANTITY, RewrittenPartition, rewritten};
pub use side_fact::{MergedSide, SideRow, StoredSide, side_fact_header};
pub use stage::{EmptiedVersion, FinishedStage, Stage, StagedLines, StagedSize};
pub use staged_rows::CutBatch;
pub use staged_side::{CutSide, StagedSide};
pub use state::{LayerColumns, LayerState, OpenedLayer, PartitionEntry, SideEntry, StateOrigin, Truth, entry_of, found_entry};
pub use stored::{StoredPartition, StoredPartitions, newest_row};
pub use stored_order::{FoundBy, RowColumns, StoredOrder, StoredRow, stored_order};
