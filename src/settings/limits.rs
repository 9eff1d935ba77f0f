//! Bounds on what a source may send, against a hostile or broken one. Not how they are enforced.

/// Bounds on what is read. Each has a key under `[limits]`, and its error names that key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one record: larger records are dropped.
    pub record_bytes: u64,
    /// Nested objects and arrays of a record: deeper records are dropped.
    pub depth: usize,
    /// The factor by which a compressed file may expand, beyond [`Limits::EXPANSION_FROM`].
    pub expansion: u64,
}

impl Limits {
    /// Up to this size any expansion is accepted: 256 MiB, read in pieces, do no harm.
    pub const EXPANSION_FROM: u64 = 256 << 20;

    /// The bytes that a compressed file of this size may expand to.
    pub fn expanded(&self, compressed: u64) -> u64 {
        compressed.saturating_mul(self.expansion).max(Limits::EXPANSION_FROM)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        // Orders compress to a tenth or so of their size; gzip's best is a thousandth.
        Limits { record_bytes: 64 << 20, depth: 128, expansion: 200 }
    }
}
