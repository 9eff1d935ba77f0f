//! Writes the records of a run into one file, compressed while they come. It becomes a part of the run's commit.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;
use zstd::stream::write::Encoder;

use super::line::{RawHeader, RawLines};
use crate::{
    report::RawKept,
    store::{Key, Staging, StoreError, places},
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
    encoder: Option<Encoder<'static, HashedFile>>,
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

    fn encoder(&mut self) -> Result<&mut Encoder<'static, HashedFile>, StoreError> {
        let encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => self.begin()?,
        };
        Ok(self.encoder.insert(encoder))
    }

    /// Creates the file, with its first line.
    fn begin(&self) -> Result<Encoder<'static, HashedFile>, StoreError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(StoreError::io("create the folder", folder))?;
        let created = OpenOptions::new().write(true).create_new(true).mode(self.mode.unwrap_or(0o666)).open(&self.path);
        let file = created.map_err(StoreError::io("create", &self.path))?;
        self.compressed(file).map_err(StoreError::io("write", &self.path))
    }

    fn compressed(&self, file: File) -> io::Result<Encoder<'static, HashedFile>> {
        let file = HashedFile { file: BufWriter::with_capacity(1 << 16, file), bytes: 0, hasher: Xxh3::new() };
        let mut encoder = Encoder::new(file, LEVEL)?;
        encoder.include_checksum(true)?;
        encoder.write_all(&self.header.line())?;
        Ok(encoder)
    }

    /// Ends the file and hands it to the publish. `None` if there was no record.
    pub(in crate::run) fn finish(self, staging: &mut Staging) -> Result<Option<RawKept>, StoreError> {
        let RawWriter { key, path, encoder, records, .. } = self;
        let Some(encoder) = encoder else { return Ok(None) };
        let HashedFile { mut file, bytes, hasher } = encoder.finish().map_err(StoreError::io("write", &path))?;
        file.flush().map_err(StoreError::io("write", &path))?;
        let kept = RawKept { file: key.to_string(), bytes, records };
        staging.put_written(key, bytes, format!("{:016x}", hasher.digest()));
        Ok(Some(kept))
    }
}

/// A file whose bytes are counted and hashed while they are written.
struct HashedFile {
    file: BufWriter<File>,
    bytes: u64,
    hasher: Xxh3,
}

impl Write for HashedFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.hasher.update(buffer.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
