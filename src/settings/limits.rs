//! What a source may ask of this machine: bounds against one that is hostile or broken.

/// Bounds on what is read. Each has a key under `[limits]`, and the error that it leads to names that key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes that one record may have: larger ones are dropped.
    pub record_bytes: u64,
    /// Objects and arrays that may stand within each other in a record: deeper ones are dropped.
    pub depth: usize,
    /// How many times its own size a compressed file may expand to, once past [`Limits::EXPANSION_FROM`].
    pub expansion: u64,
}

impl Limits {
    /// Up to here a file may expand however far it likes: 256 MiB, read in pieces, harm nobody.
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
