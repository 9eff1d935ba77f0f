//! Reads kept records again, run by run, as pages of a source. Never asks a network but that of the output.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    ops::Range,
    path::Path,
};

use bytes::{Buf, Bytes};
use zstd::stream::read::Decoder;

use super::{
    choice::{RawInput, RawRun},
    line::{RawHeader, ReadRecord},
};
use crate::{
    cancel::Cancel,
    model::{counted, is_withheld},
    run::RunError,
    source::{Access, Completeness, CompletenessStatus, Evidence, Origin, Page, PageSink, SourceError},
    store::{Key, Output, Store},
};

/// The approximate bytes of a page.
const PAGE_BYTES: usize = 4 << 20;

/// The bytes of an object that are read at once.
const PART_BYTES: u64 = 8 << 20;

/// What was read of a source, or of kept records.
pub(in crate::run) struct RawRead {
    pub(in crate::run) completeness: Completeness,
    /// Records that are withheld, since their user was erased. They are no records of the run.
    pub(in crate::run) withheld: u64,
}

/// How the reading of a file ended.
enum ReadToEnd {
    /// At its end.
    Yes(ReadRecords),
    /// Nobody takes pages any more.
    Stopped,
}

/// The records of a file.
#[derive(Clone, Copy, Default)]
struct ReadRecords {
    /// Those that were handed on.
    read: u64,
    withheld: u64,
}

impl RawInput {
    /// Reads all records into `sink`, in the order of the commits of their runs.
    ///
    /// # Errors
    /// A file that is damaged or gone (exit 3), a signal, I/O errors (exit 5).
    pub(in crate::run) fn read(&self, output: &Output, access: &Access<'_>, sink: &mut dyn PageSink) -> Result<RawRead, RunError> {
        let mut sum = ReadRecords::default();
        for run in &self.runs {
            access.counters.page();
            match run.read(output, access, sink)? {
                ReadToEnd::Yes(ReadRecords { read, withheld }) => {
                    sum.read += read;
                    sum.withheld += withheld;
                }
                ReadToEnd::Stopped => break,
            }
        }
        let (by, read) = (Some(Evidence::File), sum.read);
        let completeness = Completeness { status: CompletenessStatus::Proven, by, claimed: None, read, distinct: None, why: None };
        Ok(RawRead { completeness, withheld: sum.withheld })
    }

    /// The run that has kept the records of a page.
    pub(in crate::run) fn run_of(&self, page: &Page) -> Option<&RawRun> {
        let file = page.origin.file()?;
        self.runs.iter().find(|run| Path::new(run.key.as_str()) == file)
    }
}

impl RawRun {
    fn read(&self, output: &Output, access: &Access<'_>, sink: &mut dyn PageSink) -> Result<ReadToEnd, RunError> {
        let unreadable = |source: io::Error| SourceError::Unreadable { path: output.location_of(&self.key).into(), source };
        let damaged = |detail: String| unreadable(io::Error::new(io::ErrorKind::InvalidData, detail));
        let decoder = self.open(output).and_then(Decoder::new).map_err(unreadable)?;
        let mut lines = Lines { reader: BufReader::with_capacity(1 << 17, decoder), line: Vec::new(), number: 0 };
        let header = lines.next_line().map_err(unreadable)?.unwrap_or_default();
        RawHeader::verify(header, &self.run_id).map_err(damaged)?;
        let mut pages = Pages { run: self, first: 1, records: ReadRecords::default(), bytes: Vec::new(), places: Vec::new(), access, sink };
        loop {
            let number = lines.number + 1;
            let Some(line) = lines.next_line().map_err(unreadable)? else { break };
            let record = ReadRecord::of(line).map_err(|detail| damaged(format!("line {number}: {detail}")))?;
            let is_taken = if is_withheld(&record.bytes) { pages.pass_over(access.cancel)? } else { pages.push(&record, access.cancel)? };
            if !is_taken {
                return Ok(ReadToEnd::Stopped);
            }
        }
        if !pages.flush(access.cancel)? {
            return Ok(ReadToEnd::Stopped);
        }
        let records = pages.records;
        let there = records.read + records.withheld;
        if there != self.records {
            return Err(damaged(format!("it has {}, and its run has kept {}", counted(there, "record"), self.records)).into());
        }
        Ok(ReadToEnd::Yes(records))
    }

    /// The bytes of the file, none of which is copied to a disk.
    fn open<'a>(&'a self, output: &'a Output) -> io::Result<Box<dyn Read + 'a>> {
        match output.folder() {
            Some(_) => Ok(Box::new(File::open(output.at(&self.key))?)),
            None => Ok(Box::new(Parts { store: output.store(), key: &self.key, next: 0, end: self.bytes, part: Bytes::new() })),
        }
    }
}

/// An object in a bucket, read part by part.
struct Parts<'a> {
    store: &'a dyn Store,
    key: &'a Key,
    /// Where the next part begins.
    next: u64,
    end: u64,
    /// What is left of the part that was read.
    part: Bytes,
}

impl Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.part.is_empty() && self.next < self.end {
            let range = self.next..self.end.min(self.next + PART_BYTES);
            self.next = range.end;
            let parts = self.store.ranges(self.key, &[range]).map_err(io::Error::other)?;
            self.part = parts.and_then(|parts| parts.into_iter().next()).ok_or(io::ErrorKind::NotFound)?;
        }
        let read = (&*self.part).read(buffer)?;
        self.part.advance(read);
        Ok(read)
    }
}

/// The lines of a file.
struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    /// The number of lines that were read.
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next line, without its end.
    fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        if self.reader.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(self.line.strip_suffix(b"\n").unwrap_or(&self.line)))
    }
}

/// Collects records to pages.
struct Pages<'a> {
    run: &'a RawRun,
    /// The number of the page's first record in its file, from 1.
    first: u64,
    /// The records that were read.
    records: ReadRecords,
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
    access: &'a Access<'a>,
    sink: &'a mut dyn PageSink,
}

impl Pages<'_> {
    /// Adds a record; `false` if nobody takes pages any more.
    fn push(&mut self, record: &ReadRecord<'_>, cancel: &Cancel) -> Result<bool, RunError> {
        if !record.is_whole {
            let is_taken = self.flush(cancel)?;
            let page = Page::beginning(self.origin(), record.bytes.to_vec().into());
            self.records.read += 1;
            self.first += 1;
            return Ok(is_taken && self.hand_on(page));
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&record.bytes);
        self.places.push(start..self.bytes.len());
        self.records.read += 1;
        if self.bytes.len() < PAGE_BYTES { Ok(true) } else { self.flush(cancel) }
    }

    /// Counts a record that is withheld; `false` if nobody takes pages any more. The records of a page follow each other in the file.
    fn pass_over(&mut self, cancel: &Cancel) -> Result<bool, RunError> {
        let is_taken = self.flush(cancel)?;
        self.records.withheld += 1;
        self.first += 1;
        Ok(is_taken)
    }

    /// Hands on what was collected; `false` if nobody takes pages any more.
    fn flush(&mut self, cancel: &Cancel) -> Result<bool, RunError> {
        if let Some(stop) = cancel.stopped() {
            return Err(RunError::Interrupted(stop));
        }
        if self.places.is_empty() {
            return Ok(true);
        }
        let (bytes, places) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.places));
        let records = places.len() as u64;
        let page = Page::elements(self.origin(), bytes.into(), places);
        self.first += records;
        Ok(self.hand_on(page))
    }

    fn hand_on(&mut self, page: Page) -> bool {
        self.access.counters.bytes(page.bytes().len());
        self.sink.page(page)
    }

    fn origin(&self) -> Origin {
        Origin::File { path: self.run.key.as_str().into(), first: self.first }
    }
}
