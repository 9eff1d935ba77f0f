//! The file of a partition, written while its rows are merged: pieces of canonical CSV go in, and the bytes of the
//! format are written.
//!
//! Responsible for how much of a partition is in memory while it is written, and for the comparison with what is
//! stored. Which rows there are, and how a row reads as CSV, is decided elsewhere.

use std::path::Path;

use super::{LayerError, file_format, parquet::FileWriter};
use crate::{
    model::{Compression, FactSchema, FileFormat},
    store::{Fingerprint, StagedWriter},
};

/// The bytes of CSV that are collected before they are handed on. Few calls of the system, and little memory.
pub(super) const PIECE: usize = 1 << 20;

/// Takes the canonical CSV of a partition, piece by piece. Each piece ends with a row, and the first one begins with
/// the header.
pub trait CsvSink {
    /// Takes the next piece.
    ///
    /// # Errors
    /// I/O errors; CSV that is not canonical.
    fn push_csv(&mut self, piece: &[u8]) -> Result<(), LayerError>;
}

impl CsvSink for Vec<u8> {
    fn push_csv(&mut self, piece: &[u8]) -> Result<(), LayerError> {
        self.extend_from_slice(piece);
        Ok(())
    }
}

/// The pieces, one by one.
#[cfg(test)]
impl CsvSink for Vec<Vec<u8>> {
    fn push_csv(&mut self, piece: &[u8]) -> Result<(), LayerError> {
        self.push(piece.to_owned());
        Ok(())
    }
}

/// The file of a partition. It is created with the first piece.
pub struct PartitionFile<'f> {
    format: FileFormat,
    schema: &'f FactSchema,
    path: &'f Path,
    encoder: Option<Encoder<'f>>,
}

/// Makes the bytes of a format.
enum Encoder<'f> {
    /// The CSV is the file.
    Plain(Box<StagedWriter>),
    /// A compressor gets the CSV as a whole: how it is cut would show in the bytes, and equal rows are equal bytes.
    Compressed(Vec<u8>),
    /// Rows become columns as they come. Only the file, which is small, is in memory.
    Parquet(Box<FileWriter<'f>>),
}

impl<'f> PartitionFile<'f> {
    /// A file of this format at a path of the staging folder.
    pub fn new(format: FileFormat, schema: &'f FactSchema, path: &'f Path) -> PartitionFile<'f> {
        PartitionFile { format, schema, path, encoder: None }
    }

    /// Ends the file. `None` if no piece came: then there is no file.
    ///
    /// # Errors
    /// I/O errors; CSV that is not canonical.
    pub fn finish(self) -> Result<Option<Fingerprint>, LayerError> {
        let PartitionFile { format, schema, path, encoder } = self;
        let bytes = match encoder {
            None => return Ok(None),
            Some(Encoder::Plain(file)) => return Ok(Some(file.finish()?)),
            Some(Encoder::Compressed(csv)) => file_format::encode(format, csv, schema, path)?,
            Some(Encoder::Parquet(file)) => file.finish().map_err(|error| file_format::unwritable(path, error))?,
        };
        let mut file = StagedWriter::create(path)?;
        file.push(&bytes)?;
        Ok(Some(file.finish()?))
    }

    fn new_encoder(&self) -> Result<Encoder<'f>, LayerError> {
        Ok(match self.format {
            FileFormat::Csv(Compression::None) => Encoder::Plain(Box::new(StagedWriter::create(self.path)?)),
            FileFormat::Csv(Compression::Gzip | Compression::Zstd) => Encoder::Compressed(Vec::new()),
            FileFormat::Parquet => {
                let file = FileWriter::new(self.schema).map_err(|error| file_format::unwritable(self.path, error))?;
                Encoder::Parquet(Box::new(file))
            }
        })
    }
}

impl CsvSink for PartitionFile<'_> {
    fn push_csv(&mut self, piece: &[u8]) -> Result<(), LayerError> {
        let encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => self.new_encoder()?,
        };
        match self.encoder.insert(encoder) {
            Encoder::Plain(file) => file.push(piece)?,
            Encoder::Compressed(csv) => csv.extend_from_slice(piece),
            Encoder::Parquet(file) => file.push_csv(piece).map_err(|error| file_format::unwritable(self.path, error))?,
        }
        Ok(())
    }
}

/// Compares the pieces with a stored partition. They are handed on only from the first difference on, with all that was
/// before it.
pub(super) struct ComparedCsv<'c, S: CsvSink + ?Sized> {
    /// The stored CSV. Empty where nothing is stored.
    stored: &'c [u8],
    /// How many of its bytes have come.
    equal: usize,
    differs: bool,
    sink: &'c mut S,
}

/// How the pieces compare with what is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Comparison {
    Equal,
    Different,
}

impl<'c, S: CsvSink + ?Sized> ComparedCsv<'c, S> {
    pub(super) fn new(stored: &'c [u8], sink: &'c mut S) -> ComparedCsv<'c, S> {
        ComparedCsv { stored, equal: 0, differs: false, sink }
    }

    /// Ends the comparison: a stored partition may go on where the pieces end.
    pub(super) fn finish(mut self) -> Result<Comparison, LayerError> {
        if !self.differs && self.equal == self.stored.len() {
            return Ok(Comparison::Equal);
        }
        self.note_difference()?;
        Ok(Comparison::Different)
    }

    fn note_difference(&mut self) -> Result<(), LayerError> {
        if !std::mem::replace(&mut self.differs, true) && self.equal > 0 {
            self.sink.push_csv(&self.stored[..self.equal])?;
        }
        Ok(())
    }
}

impl<S: CsvSink + ?Sized> CsvSink for ComparedCsv<'_, S> {
    fn push_csv(&mut self, piece: &[u8]) -> Result<(), LayerError> {
        if !self.differs && self.stored[self.equal..].starts_with(piece) {
            self.equal += piece.len();
            return Ok(());
        }
        self.note_difference()?;
        self.sink.push_csv(piece)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        layer,
        model::{Line, UtcMicros},
    };

    fn row(number: usize, note: &str) -> Vec<u8> {
        let (order_id, status) = (format!("order {number}"), format!("{note}, {number}"));
        let line = Line {
            user_id: Some("u"),
            status: Some(&status),
            currency: Some("EUR"),
            quantity: 1.into(),
            price_defaulted: number.is_multiple_of(2),
            product_name: Some("a name\nof two lines"),
            created_at: UtcMicros::new(i64::try_from(number).unwrap()).unwrap(),
            ..Line::of_key(&order_id, "s")
        };
        let mut out = Vec::new();
        layer::write_line(&mut out, &line, std::iter::empty());
        out
    }

    fn header() -> Vec<u8> {
        let mut out = Vec::new();
        layer::write_header(&mut out, &FactSchema::default());
        out
    }

    /// Writes these pieces as a file. Returns its content.
    fn written(format: FileFormat, pieces: &[Vec<u8>]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let (schema, path) = (FactSchema::default(), dir.path().join("dt=1970-01-01/part"));
        let mut file = PartitionFile::new(format, &schema, &path);
        pieces.iter().for_each(|piece| file.push_csv(piece).unwrap());
        let written = file.finish().unwrap().unwrap();
        let content = fs::read(&path).unwrap();
        assert_eq!(written, Fingerprint::of(&content));
        content
    }

    #[test]
    fn a_file_without_a_piece_does_not_exist() {
        let dir = tempfile::tempdir().unwrap();
        let (schema, path) = (FactSchema::default(), dir.path().join("part"));
        for format in FileFormat::ALL {
            assert_eq!(PartitionFile::new(format, &schema, &path).finish().unwrap(), None);
            assert!(!path.exists());
        }
    }

    #[test]
    fn pieces_that_are_no_canonical_csv_are_an_error_with_their_line() {
        let (schema, path) = (FactSchema::default(), Path::new("x"));
        let mut file = PartitionFile::new(FileFormat::Parquet, &schema, path);
        file.push_csv(&[header(), row(1, "")].concat()).unwrap();
        file.push_csv(&row(2, "")).unwrap();
        // Each of these rows has two lines.
        let error = file.push_csv(b"A,S\n").unwrap_err().to_string();
        assert!(error.contains("x, line 6: the row has 2 fields, and not 15"), "{error}");
    }

    #[test]
    fn equal_pieces_are_not_handed_on_and_a_difference_brings_all_that_was_before_it() {
        let stored = b"abc\ndef\nghi\n";
        let of = |pieces: &[&str]| {
            let mut sink: Vec<Vec<u8>> = Vec::new();
            let mut compared = ComparedCsv::new(stored, &mut sink);
            pieces.iter().for_each(|piece| compared.push_csv(piece.as_bytes()).unwrap());
            let comparison = compared.finish().unwrap();
            (comparison, String::from_utf8(sink.concat()).unwrap(), sink.len())
        };
        assert_eq!(of(&["abc\n", "def\nghi\n"]), (Comparison::Equal, String::new(), 0));
        assert_eq!(of(&["abc\n", "def\n"]), (Comparison::Different, "abc\ndef\n".to_owned(), 1));
        assert_eq!(of(&["abc\n", "dxf\n", "ghi\n"]), (Comparison::Different, "abc\ndxf\nghi\n".to_owned(), 3));
        assert_eq!(of(&["abc\ndef\nghi\n", "jkl\n"]), (Comparison::Different, "abc\ndef\nghi\njkl\n".to_owned(), 2));
        assert_eq!(of(&["x\n"]), (Comparison::Different, "x\n".to_owned(), 1));
    }

    proptest! {
        #[test]
        fn how_rows_are_cut_does_not_show_in_the_file(
            notes in proptest::collection::vec("[a-z\"\n é]{0,40}", 0..60),
            rows_of_a_piece in 1_usize..20,
        ) {
            let rows: Vec<Vec<u8>> = notes.iter().enumerate().map(|(number, note)| row(number, note)).collect();
            let mut pieces: Vec<Vec<u8>> = rows.chunks(rows_of_a_piece).map(|rows| rows.concat()).collect();
            pieces.insert(0, header());
            let csv = pieces.concat();
            for format in FileFormat::ALL {
                let whole = layer::encode(format, csv.clone(), &FactSchema::default(), Path::new("x")).unwrap();
                prop_assert!(written(format, &pieces) == whole, "{:?}", format);
            }
        }
    }
}
