//! A file of kept records in which some are withheld: as many lines as before, and what was delivered of the others to the byte.

use std::io::{self, BufRead, BufReader, Write};

use zstd::stream::{read::Decoder, write::Encoder};

use super::{
    line::{RawLines, ReadRecord},
    writer::LEVEL,
};
use crate::model::is_withheld;

/// A file in which records are withheld.
pub(in crate::run) struct WithheldRaw {
    /// Its bytes, compressed.
    pub(in crate::run) bytes: Vec<u8>,
    /// How many records are withheld that were not before.
    pub(in crate::run) records: u64,
}

/// The file with some of its records withheld; `None` if none of them is to be. Its first line, which tells of the run, stays.
///
/// # Errors
/// It can't be decompressed.
pub(in crate::run) fn withhold(file: &[u8], mut is_theirs: impl FnMut(&[u8]) -> bool) -> io::Result<Option<WithheldRaw>> {
    let mut reader = BufReader::with_capacity(1 << 17, Decoder::new(file)?);
    let mut encoder = Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    encoder.write_all(&line)?;
    let mut withheld = RawLines::default();
    withheld.withhold();
    let mut records = 0;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        // A line that can't be read stays: a rebuild refuses its file.
        let record = ReadRecord::of(line.strip_suffix(b"\n").unwrap_or(&line)).ok();
        let is_of_them = record.is_some_and(|record| !is_withheld(&record.bytes) && is_theirs(&record.bytes));
        records += u64::from(is_of_them);
        encoder.write_all(if is_of_them { &withheld.bytes } else { &line })?;
    }
    let bytes = encoder.finish()?;
    Ok((records > 0).then_some(WithheldRaw { bytes, records }))
}

/// Visits each record of a file that is not withheld. A line that can't be read is passed over: a rebuild refuses its file.
///
/// # Errors
/// It can't be decompressed.
pub(in crate::run) fn each_record(file: &[u8], mut visit: impl FnMut(&[u8])) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 17, Decoder::new(file)?);
    let mut line = Vec::new();
    // The first line tells of the run.
    reader.read_until(b'\n', &mut line)?;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let record = ReadRecord::of(line.strip_suffix(b"\n").unwrap_or(&line)).ok();
        if let Some(record) = record.filter(|record| !is_withheld(&record.bytes)) {
            visit(&record.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_records_are_withheld_and_the_others_stay_to_the_byte() {
        let text = "{\"raw\":1}\n{\"record\":{\"a\": 1.10}}\n{\"record\":{\"user_id\":7}}\n{\"record_base64\":\"/w==\"}\n";
        let file = zstd::encode_all(text.as_bytes(), LEVEL).unwrap();
        let is_of_user = |record: &[u8]| record.ends_with(b":7}");
        let done = withhold(&file, is_of_user).unwrap().unwrap();
        let now = String::from_utf8(zstd::decode_all(done.bytes.as_slice()).unwrap()).unwrap();
        let expected = text.replace(r#"{"record":{"user_id":7}}"#, r#"{"record":"\"withheld: its user was erased\""}"#);
        assert_eq!((now, done.records), (expected, 1));
        assert!(withhold(&done.bytes, |_| true).unwrap().is_some_and(|again| again.records == 2), "a withheld record is none of them");
        assert!(withhold(&done.bytes, is_of_user).unwrap().is_none());
        assert!(withhold(b"no zstd", is_of_user).is_err());
        let mut seen = Vec::new();
        each_record(&done.bytes, |record| seen.push(record.to_vec())).unwrap();
        assert_eq!(seen, [b"{\"a\": 1.10}".to_vec(), vec![0xff]]);
    }
}
