//! The formats of the files of partitions: CSV, plain or compressed, and Parquet.
//!
//! Responsible for the words of settings and for the ends of file names. Reads and writes no file.

use std::{ffi::OsStr, fmt, path::Path};

use strum::{EnumString, IntoStaticStr};

/// How a CSV file is compressed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Compression {
    /// Not compressed.
    #[default]
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
}

impl Compression {
    /// The word of settings.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The format of the files of partitions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum FileFormat {
    /// The CSV of the contract. From the word `csv`, it is not compressed.
    Csv(Compression),
    /// Parquet, with compressed pages.
    Parquet,
}

impl Default for FileFormat {
    fn default() -> FileFormat {
        FileFormat::Csv(Compression::None)
    }
}

impl FileFormat {
    /// All formats.
    pub const ALL: [FileFormat; 4] =
        [FileFormat::Csv(Compression::None), FileFormat::Csv(Compression::Gzip), FileFormat::Csv(Compression::Zstd), FileFormat::Parquet];

    /// The word of settings, without the compression.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// How its files are compressed as a whole. Parquet compresses its pages instead.
    pub fn compression(self) -> Compression {
        match self {
            FileFormat::Csv(compression) => compression,
            FileFormat::Parquet => Compression::None,
        }
    }

    /// The end of the names of its files, without the first dot.
    pub fn extension(self) -> &'static str {
        match self {
            FileFormat::Csv(Compression::None) => "csv",
            FileFormat::Csv(Compression::Gzip) => "csv.gz",
            FileFormat::Csv(Compression::Zstd) => "csv.zst",
            FileFormat::Parquet => "parquet",
        }
    }

    /// The format of a file with this name or path; `None` if the name ends in another way.
    pub fn of_name(name: &str) -> Option<FileFormat> {
        let name = name.rsplit('/').next().unwrap_or_default();
        let has_end = |format: &FileFormat| {
            let stem = name.strip_suffix(format.extension()).and_then(|stem| stem.strip_suffix('.'));
            stem.is_some_and(|stem| !stem.is_empty())
        };
        FileFormat::ALL.into_iter().find(has_end)
    }

    /// The format of a file of a partition; CSV if its name tells none.
    pub fn of_path(path: &Path) -> FileFormat {
        path.file_name().and_then(OsStr::to_str).and_then(FileFormat::of_name).unwrap_or_default()
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_tells_its_format() {
        for format in FileFormat::ALL {
            assert_eq!(FileFormat::of_name(&format!("part-00000.{}", format.extension())), Some(format));
            assert_eq!(FileFormat::of_name(&format!("curated/dt=2026-01-31/part-00000.{}", format.extension())), Some(format));
        }
        for name in ["", "csv", ".csv", "x/.parquet", "part-00000", "part-00000.csv.bak", "part-00000.gz", "part-00000.CSV", "a.csv/b"] {
            assert_eq!(FileFormat::of_name(name), None, "{name}");
        }
    }

    #[test]
    fn the_words_are_those_of_settings() {
        for (word, format) in [("csv", FileFormat::default()), ("parquet", FileFormat::Parquet)] {
            assert_eq!((word.parse().ok(), format.to_string()), (Some(format), word.to_owned()));
        }
        for (word, compression) in [("none", Compression::None), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)] {
            assert_eq!((word.parse().ok(), compression.to_string()), (Some(compression), word.to_owned()));
            assert_eq!(FileFormat::Csv(compression).compression(), compression);
        }
        assert!("orc".parse::<FileFormat>().is_err() && "lz4".parse::<Compression>().is_err());
    }
}
