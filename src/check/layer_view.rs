//! The layer as the checks see it: its files, which of them are new, and what they must add up to. Reads nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use crate::{
    model::{CurrencyTotals, Dt, FactSchema, Severity, UtcMicros, Window},
    store::places::SideFact,
};

/// What a partition must add up to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Expected {
    /// Its rows.
    pub rows: u64,
    /// Σ `line_total` by currency, in ten-thousandths.
    pub revenue: CurrencyTotals,
}

/// Whether the built-in checks look at a part of the layer or at all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ViewScope {
    /// The changed partitions.
    #[default]
    Changed,
    /// All partitions, and everything else in `curated/`.
    Whole,
}

/// A side fact as it would be once published.
#[derive(Clone, Default, Debug)]
pub struct SideView {
    /// Its file of each day that has some.
    pub files: BTreeMap<Dt, PathBuf>,
    /// The days that the built-in checks look at.
    pub changed: BTreeSet<Dt>,
}

impl LayerView {
    /// A side fact.
    pub fn side(&self, fact: SideFact) -> &SideView {
        match fact {
            SideFact::OrderTotals => &self.totals,
            SideFact::Refunds => &self.refunds,
        }
    }

    /// The same, to be changed.
    pub fn side_mut(&mut self, fact: SideFact) -> &mut SideView {
        match fact {
            SideFact::OrderTotals => &mut self.totals,
            SideFact::Refunds => &mut self.refunds,
        }
    }
}

/// The layer as it would be once published.
#[derive(Clone, Default, Debug)]
pub struct LayerView {
    /// The file of each partition.
    pub facts: BTreeMap<Dt, PathBuf>,
    /// The partitions that the built-in checks look at.
    pub changed: BTreeSet<Dt>,
    /// The totals of orders.
    pub totals: SideView,
    /// The refunds.
    pub refunds: SideView,
    /// What it means that the lines of an order do not add up to its total; `None`: nothing, and they are not compared.
    pub totals_severity: Option<Severity>,
    /// Partitions that lose their last row.
    pub removed: BTreeSet<Dt>,
    /// Partitions that hold rows of an order that other partitions hold too: keys are compared across them.
    pub shared_partitions: BTreeSet<Dt>,
    /// Whether `changed` is all there is.
    pub scope: ViewScope,
    /// The output: its `curated/` is searched for files that are not partitions.
    pub output: Option<PathBuf>,
    /// Entries of `curated/` and `dims/` that are not part of the layer, of an output in a bucket.
    pub foreign: Vec<String>,
    /// The file of `dim_user`, where there is one.
    pub dim_user: Option<PathBuf>,
    /// The file of `dim_product`, where there is one.
    pub dim_product: Option<PathBuf>,
    /// Whether a users source is configured: without one, every user is inferred, and no check reports that.
    pub users_configured: bool,
    /// The same for products.
    pub products_configured: bool,
    /// What the changed partitions must add up to; `None` where that is unknown.
    pub expected: Option<BTreeMap<Dt, Expected>>,
    /// Where DuckDB may spill.
    pub scratch: PathBuf,
    /// The folder for the rows of failing checks; `None`: they are not kept.
    pub violations: Option<PathBuf>,
    /// The memory budget of the checks, in bytes.
    pub memory_limit: Option<u64>,
    /// Threads of DuckDB; `None`: one per core.
    pub threads: Option<usize>,
    /// The columns of the fact table.
    pub schema: FactSchema,
    /// Whether prices may be quotients of totals, and so rounded.
    pub has_quotients: bool,
    /// Partitions whose rows are all shorter than a text that fills its column; `None` if that is not known.
    pub short_rows: Option<BTreeSet<Dt>>,
    /// The window of the run: `$since` and `$until` of a user's query.
    pub window: Window,
    /// The moment that "plausible" is measured against.
    pub now: Option<UtcMicros>,
}
