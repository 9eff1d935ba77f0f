//! A staged file that is written piece by piece. Its size and its checksum are computed on the way.
//!
//! Responsible for the bytes of one file that no reader looks at yet. It is durable only after [`super::sync`].

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

use super::{
    StoreError,
    disk::{Fingerprint, checksum_text, create_folder, remove_file},
};

/// Small pieces are collected up to so many bytes before they are written. A longer piece is written as it is.
const BUFFER: usize = 256 << 10;

/// The fingerprint of a content, piece by piece.
#[derive(Default)]
pub struct ContentSum {
    hasher: Xxh3,
    bytes: u64,
}

impl ContentSum {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// How many bytes were taken.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The fingerprint of all that was taken.
    pub fn finish(&self) -> Fingerprint {
        Fingerprint { bytes: self.bytes, checksum: checksum_text(self.hasher.digest()) }
    }
}

/// Writes a staged file.
pub struct StagedWriter {
    path: PathBuf,
    file: BufWriter<File>,
    sum: ContentSum,
}

impl StagedWriter {
    /// Creates the file, and the folders above it. An earlier file is removed and not overwritten: it may be an object
    /// already.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn create(path: &Path) -> Result<StagedWriter, StoreError> {
        StagedWriter::create_with_mode(path, None)
    }

    /// The same, with a mode that is narrower than the umask says; `None`: as the umask says.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn create_with_mode(path: &Path, mode: Option<u32>) -> Result<StagedWriter, StoreError> {
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        remove_file(path)?;
        let created = OpenOptions::new().write(true).create_new(true).mode(mode.unwrap_or(0o666)).open(path);
        let file = created.map_err(StoreError::io("write", path))?;
        Ok(StagedWriter { path: path.to_owned(), file: BufWriter::with_capacity(BUFFER, file), sum: ContentSum::default() })
    }

    /// Writes the next bytes.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_all(bytes).map_err(StoreError::io("write", &self.path))
    }

    /// How many bytes were written.
    pub fn bytes(&self) -> u64 {
        self.sum.bytes()
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn finish(mut self) -> Result<Fingerprint, StoreError> {
        self.file.flush().map_err(StoreError::io("write", &self.path))?;
        Ok(self.sum.finish())
    }
}

impl Write for StagedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sum.push(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn pieces_of_any_length_are_one_file_with_its_checksum() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        let content: Vec<u8> = (0..3 * BUFFER).map(|place| u8::try_from(place % 251).unwrap()).collect();
        for piece in [1_000, BUFFER - 1, BUFFER, BUFFER + 1, content.len()] {
            let mut writer = StagedWriter::create(&path).unwrap();
            content.chunks(piece).for_each(|piece| writer.push(piece).unwrap());
            let written = writer.finish().unwrap();
            assert_eq!(written, Fingerprint::of(&content), "{piece}");
            assert!(fs::read(&path).unwrap() == content, "{piece}");
        }
        let written = StagedWriter::create(&path).unwrap().finish().unwrap();
        assert_eq!((written, fs::read(&path).unwrap().len()), (Fingerprint::of(b""), 0));
    }

    #[test]
    fn the_second_name_of_an_earlier_file_keeps_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let (path, object) = (dir.path().join("staged"), dir.path().join("object"));
        fs::write(&path, "before").unwrap();
        fs::hard_link(&path, &object).unwrap();
        let mut writer = StagedWriter::create(&path).unwrap();
        writer.push(b"after").unwrap();
        writer.finish().unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read(&object).unwrap()), (b"after".to_vec(), b"before".to_vec()));
    }

    #[test]
    fn a_disk_that_refuses_is_an_error_with_the_path() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = StagedWriter::create(&dir.path().join("file/below")).map(drop).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
}
