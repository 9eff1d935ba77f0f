//! What a run dropped, kept as it came (contract, Output): one line of JSON a drop.

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

use super::kept_record::KeptRecord;
use crate::{
    normalize::Drop,
    store::{Key, Staging, StoreError, places},
};

/// The drops of a run, staged as they come. Nothing is created before the first.
pub(super) struct Quarantine {
    key: Key,
    path: PathBuf,
    file: Option<BufWriter<File>>,
    bytes: u64,
    hasher: Xxh3,
    /// The mode of the file, if it is narrower than the umask says.
    mode: Option<u32>,
}

impl Quarantine {
    pub(super) fn new(staging: &Staging, run_id: &str, mode: Option<u32>) -> Quarantine {
        let key = places::quarantine(run_id);
        Quarantine { path: staging.staged(&key), key, file: None, bytes: 0, hasher: Xxh3::new(), mode }
    }

    pub(super) fn push(&mut self, drops: &[Drop]) -> Result<(), StoreError> {
        for drop in drops {
            let line = line(drop);
            self.bytes += line.len() as u64;
            self.hasher.update(&line);
            self.open()?.write_all(&line).map_err(StoreError::io("write", &self.path))?;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<&mut BufWriter<File>, StoreError> {
        if self.file.is_none() {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder).map_err(StoreError::io("create the folder", folder))?;
            let created = OpenOptions::new().write(true).create_new(true).mode(self.mode.unwrap_or(0o666)).open(&self.path);
            let file = created.map_err(StoreError::io("create", &self.path))?;
            self.file = Some(BufWriter::with_capacity(1 << 16, file));
        }
        match &mut self.file {
            Some(file) => Ok(file),
            None => Err(StoreError::io("open", &self.path)(std::io::ErrorKind::NotFound.into())),
        }
    }

    /// Ends the file and hands it to the publish.
    pub(super) fn finish(self, staging: &mut Staging) -> Result<(), StoreError> {
        let Some(file) = self.file else { return Ok(()) };
        file.into_inner().map_err(|error| StoreError::io("write", &self.path)(error.into_error()))?;
        staging.put_written(self.key, self.bytes, format!("{:016x}", self.hasher.digest()));
        Ok(())
    }
}

/// A drop as a line: the record as JSON where it is JSON, else as a string, or as base64 where it is not UTF-8.
fn line(drop: &Drop) -> Vec<u8> {
    let text = |value: &str| serde_json::to_string(value).unwrap_or_default();
    let order_id = drop.order_id.as_deref().map_or("null".to_owned(), text);
    let line_index = drop.line.as_ref().map_or("null".to_owned(), |line| line.index.to_string());
    let head = format!(
        r#"{{"reason":"{}","level":"{}","order_id":{order_id},"line_index":{line_index},"#,
        drop.reason.as_str(),
        drop.reason.level().as_str()
    );
    let mut line = head.into_bytes();
    KeptRecord::of(&drop.record).write(&mut line);
    line.extend_from_slice(b"}\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Reason, normalize::LineOfDrop};

    #[test]
    fn the_record_is_kept_as_it_came() {
        let line_of_drop = LineOfDrop { index: 2, sku: None, record_number: 1 };
        let shown = |record: &[u8]| {
            let drop = Drop {
                reason: Reason::InvalidPrice,
                order_id: Some("A\"1".into()),
                line: Some(line_of_drop.clone()),
                record: record.into(),
            };
            String::from_utf8(line(&drop)).unwrap()
        };
        let head = r#"{"reason":"invalid_price","level":"line","order_id":"A\"1","line_index":2,"#;
        assert_eq!(shown(b"{\"a\":\n1.10}"), format!("{head}\"record\":{{\"a\": 1.10}}}}\n"));
        assert_eq!(shown(b"{\"a\""), format!("{head}\"record\":\"{{\\\"a\\\"\"}}\n"));
        assert_eq!(shown(b"\xff"), format!("{head}\"record_base64\":\"/w==\"}}\n"));
    }
}
