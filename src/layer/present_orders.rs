//! The orders that a run has read, whatever became of their records: a stored order that is not among them may be gone at its source.
//!
//! Knows orders by their hash only, in bounded memory. Two orders of one hash count as one: then a missing order is kept.

use std::{io, path::PathBuf};

use super::{
    IndexBuilder, LayerError, Segment,
    index::{self, SegmentFile},
};
use crate::{
    model::{Dt, OrderHash, UtcMicros},
    store::StoreError,
};

/// Collects the orders of records in any order.
pub struct PresentOrdersBuilder {
    folder: PathBuf,
    orders: IndexBuilder,
    unknown: u64,
}

impl PresentOrdersBuilder {
    /// An empty one that spills into `folder`, which must be its own.
    pub fn new(folder: PathBuf) -> PresentOrdersBuilder {
        PresentOrdersBuilder { orders: IndexBuilder::new(folder.clone()), folder, unknown: 0 }
    }

    /// Takes the orders of some records, and the number of records whose order is not known.
    ///
    /// # Errors
    /// I/O errors.
    pub fn push(&mut self, orders: &[OrderHash], unknown: u64) -> Result<(), LayerError> {
        self.unknown += unknown;
        orders.iter().try_for_each(|order| self.orders.push_bounded(*order, no_partition()))
    }

    /// All orders, ready for look-ups.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish(mut self) -> Result<PresentOrders, LayerError> {
        let path = self.folder.join("present.idx");
        let SegmentFile { count, .. } = index::write_segment(&path, self.orders.sorted()?)?;
        let segment = Segment::open_written(&path)?;
        Ok(PresentOrders { path, segment, count, unknown: self.unknown })
    }
}

/// The orders of all records of a run.
pub struct PresentOrders {
    path: PathBuf,
    segment: Segment,
    count: u64,
    unknown: u64,
}

impl PresentOrders {
    /// How many different orders there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The records whose order is not known: each may be that of any order.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Whether the run has read a record of an order. Cheapest where the orders come sorted.
    ///
    /// # Errors
    /// A file that somebody changed.
    pub fn has(&mut self, order: OrderHash) -> Result<bool, LayerError> {
        let mut found = Vec::new();
        if !self.segment.look_up(order, &mut found) {
            return Err(damaged(self.path.clone()));
        }
        Ok(!found.is_empty())
    }
}

/// The entries of the index have a partition. These orders need none.
fn no_partition() -> Dt {
    Dt::of(UtcMicros::MIN)
}

fn damaged(path: PathBuf) -> LayerError {
    StoreError::io("read", path)(io::Error::new(io::ErrorKind::InvalidData, "the orders of the run have changed")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::order_hash;

    #[test]
    fn each_order_is_found_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = PresentOrdersBuilder::new(dir.path().join("present"));
        let hash = |number: usize| order_hash(&format!("order {number}"));
        builder.push(&(0..3000).map(hash).collect::<Vec<_>>(), 0).unwrap();
        builder.push(&[hash(7), hash(9)], 2).unwrap();
        let mut present = builder.finish().unwrap();
        assert_eq!((present.count(), present.unknown()), (3000, 2));
        assert!((0..3000).all(|number| present.has(hash(number)).unwrap()));
        assert!((3000..4000).all(|number| !present.has(hash(number)).unwrap()));
        let mut none = PresentOrdersBuilder::new(dir.path().join("none")).finish().unwrap();
        assert!(!none.has(hash(1)).unwrap());
    }
}
