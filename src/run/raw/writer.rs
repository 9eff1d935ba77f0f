//! Writes the records of a run into one file, compressed while they come. It becomes a part of the run's commit.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use zstd::stream::write::Encoder;

use super::line::{RawHeader, RawLines};
use crate::{
    report::RawKept,
    store::{Key, StagedWriter, Staging, StoreError, places},
};

/// The level of compression: about as fast as a disk.
pub(super) const LEVEL: i32 = 3;

/// The records of a run, staged as they come. Nothing is created before the first.
pub(in crate::run) struct RawWriter {
    header: RawHeader,
    key: Key,
    path: PathBuf,
    /// The mode of the file, if it is narrower than the umask says.
    mode: Option<u32>,
    encoder: Option<Encoder<'static, StagedWriter>>,
    records: u64,
}

impl RawWriter {
    pub(in crate::run) fn new(staging: &Staging, run_id: &str, header: RawHeader, mode: Option<u32>) -> RawWriter {
        let key = places::raw_orders(run_id);
        RawWriter { header, path: staging.staged(&key), key, mode, encoder: None, records: 0 }
    }

    pub(in crate::run) fn push(&mut self, lines: &RawLines) -> Result<(), StoreError> {
        if lines.records == 0 {
            return Ok(());
        }
        self.records += lines.records;
        self.encoder()?.write_all(&lines.bytes).map_err(StoreError::io("write", &self.path))
    }

    fn encoder(&mut self) -> Result<&mut Encoder<'static, StagedWriter>, StoreError> {
        let encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => self.begin()?,
        };
        Ok(self.encoder.insert(encoder))
    }

    /// Creates the file, with its first line.
    fn begin(&self) -> Result<Encoder<'static, StagedWriter>, StoreError> {
        let file = StagedWriter::create_with_mode(&self.path, self.mode)?;
        self.compressed(file).map_err(StoreError::io("write", &self.path))
    }

    fn compressed(&self, file: StagedWriter) -> io::Result<Encoder<'static, StagedWriter>> {
        let mut encoder = Encoder::new(file, LEVEL)?;
        encoder.include_checksum(true)?;
        encoder.write_all(&self.header.line())?;
        Ok(encoder)
    }

    /// Ends the file and hands it to the publish. `None` if there was no record.
    pub(in crate::run) fn finish(self, staging: &mut Staging) -> Result<Option<RawKept>, StoreError> {
        let RawWriter { key, path, encoder, records, .. } = self;
        let Some(encoder) = encoder else { return Ok(None) };
        let file = encoder.finish().map_err(StoreError::io("write", &path))?.finish()?;
        let kept = RawKept { file: key.to_string(), bytes: file.bytes, records };
        staging.put_written(key, file);
        Ok(Some(kept))
    }
}
