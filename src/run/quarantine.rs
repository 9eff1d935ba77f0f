//! What a run dropped, kept as it came (contract, Output): one line of JSON a drop.

use std::path::PathBuf;

use super::kept_record::KeptRecord;
use crate::{
    normalize::Drop,
    store::{Key, StagedWriter, Staging, StoreError, places},
};

/// The drops of a run, staged as they come. Nothing is created before the first.
pub(super) struct Quarantine {
    key: Key,
    path: PathBuf,
    file: Option<StagedWriter>,
    /// The mode of the file, if it is narrower than the umask says.
    mode: Option<u32>,
}

impl Quarantine {
    pub(super) fn new(staging: &Staging, run_id: &str, mode: Option<u32>) -> Quarantine {
        let key = places::quarantine(run_id);
        Quarantine { path: staging.staged(&key), key, file: None, mode }
    }

    pub(super) fn push(&mut self, drops: &[Drop]) -> Result<(), StoreError> {
        for drop in drops {
            self.file()?.push(&line(drop))?;
        }
        Ok(())
    }

    fn file(&mut self) -> Result<&mut StagedWriter, StoreError> {
        let file = match self.file.take() {
            Some(file) => file,
            None => StagedWriter::create_with_mode(&self.path, self.mode)?,
        };
        Ok(self.file.insert(file))
    }

    /// Ends the file and hands it to the publish.
    pub(super) fn finish(self, staging: &mut Staging) -> Result<(), StoreError> {
        let Some(file) = self.file else { return Ok(()) };
        staging.put_written(self.key, file.finish()?);
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
