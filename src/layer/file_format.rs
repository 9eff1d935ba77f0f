//! The encodings of a partition: its canonical CSV to the bytes of its file, and back.
//!
//! Responsible for the exact round trip in every [`FileFormat`]. The merge compares canonical CSV, never encoded bytes, so
//! another version of a compressor does not rewrite a layer. What the CSV means is read in [`super::csv`].

use std::{
    io::{self, Read, Write},
    path::Path,
};

use flate2::{GzBuilder, bufread::MultiGzDecoder};

use super::{
    LayerError,
    parquet::{self, ExtraTypes, Unreadable, Unwritable},
};
use crate::model::{Compression, FactSchema, FileFormat};

/// The level of gzip: its usual one.
const GZIP_LEVEL: u32 = 6;

/// The level of Zstandard: its usual one.
const ZSTD_LEVEL: i32 = 3;

/// The bytes of a partition's file, from its canonical CSV. Equal CSV is equal bytes, for one version of the tool.
///
/// # Errors
/// [`LayerError::Partition`] if the CSV is not canonical, or has other columns than the schema.
pub fn encode(format: FileFormat, csv: Vec<u8>, schema: &FactSchema, path: &Path) -> Result<Vec<u8>, LayerError> {
    let incompressible = |error: io::Error| partition(path, 1, format!("it can't be compressed: {error}"));
    match format {
        FileFormat::Csv(Compression::None) => Ok(csv),
        FileFormat::Csv(Compression::Gzip) => gzip(&csv).map_err(incompressible),
        FileFormat::Csv(Compression::Zstd) => zstandard(&csv).map_err(incompressible),
        FileFormat::Parquet => parquet::write(&csv, schema).map_err(|error| unwritable(path, error)),
    }
}

/// The canonical CSV of a partition's file. If the file has the extra columns of the schema, they have its types, too; other
/// extra columns are an error of [`super::read_partition`].
///
/// # Errors
/// [`LayerError::Partition`] if the file is damaged; [`LayerError::Columns`] if extra columns have other types.
pub fn decode(format: FileFormat, bytes: Vec<u8>, path: &Path, schema: &FactSchema) -> Result<Vec<u8>, LayerError> {
    decode_with(format, bytes, path, ExtraTypes::Of(schema))
}

/// The CSV of a partition's file with the extra columns that it has, whatever the settings say.
///
/// # Errors
/// [`LayerError::Partition`] if the file is damaged.
pub fn decode_stored(format: FileFormat, bytes: Vec<u8>, path: &Path) -> Result<Vec<u8>, LayerError> {
    decode_with(format, bytes, path, ExtraTypes::Any)
}

fn decode_with(format: FileFormat, bytes: Vec<u8>, path: &Path, extra_types: ExtraTypes<'_>) -> Result<Vec<u8>, LayerError> {
    match format {
        FileFormat::Csv(Compression::None) => Ok(bytes),
        FileFormat::Csv(Compression::Gzip) => decompressed(MultiGzDecoder::new(bytes.as_slice()), "gzip", path),
        FileFormat::Csv(Compression::Zstd) => {
            let decoder = zstd::Decoder::with_buffer(bytes.as_slice()).map_err(|error| partition(path, 1, error.to_string()))?;
            decompressed(decoder, "Zstandard", path)
        }
        FileFormat::Parquet => parquet::read(bytes, extra_types).map_err(|error| match error {
            Unreadable::Damaged { line, detail } => partition(path, line, detail),
            Unreadable::Types { stored, wanted } => LayerError::Columns { stored, wanted },
        }),
    }
}

/// CSV of a partition that Parquet can't hold.
pub(super) fn unwritable(path: &Path, error: Unwritable) -> LayerError {
    partition(path, error.line, error.detail)
}

fn partition(path: &Path, line: u64, detail: String) -> LayerError {
    LayerError::Partition { path: path.to_owned(), line, detail }
}

/// One member, without a name, a time, or an operating system.
fn gzip(csv: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
    encoder.write_all(csv)?;
    encoder.finish()
}

/// One frame, with the size of its content and a checksum.
fn zstandard(csv: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    compressor.include_contentsize(true)?;
    compressor.include_checksum(true)?;
    compressor.compress(csv)
}

/// All that a decoder yields. A stream that was cut short, has a wrong checksum, or is followed by other bytes is an error.
/// A few bytes of a damaged file may stand for more than memory holds: then an allocation fails, which is an error, too.
fn decompressed(mut decoder: impl Read, name: &str, path: &Path) -> Result<Vec<u8>, LayerError> {
    let mut csv = Vec::new();
    decoder.read_to_end(&mut csv).map_err(|error| {
        let lines_before = csv.iter().filter(|byte| **byte == b'\n').count() as u64;
        let problem = match error.kind() {
            io::ErrorKind::OutOfMemory => "does not fit into memory",
            _ => "is damaged",
        };
        partition(path, lines_before + 1, format!("its {name} stream {problem}: {error}"))
    })?;
    Ok(csv)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ExtraColumn, ExtraType};

    fn wide() -> FactSchema {
        let kinds = [
            ("note", ExtraType::Text),
            ("visits", ExtraType::BigInt),
            ("gift", ExtraType::Boolean),
            ("paid_at", ExtraType::Timestamp),
            ("tax", ExtraType::Decimal { scale: 2 }),
            ("units", ExtraType::Decimal { scale: 0 }),
            ("share", ExtraType::Decimal { scale: 18 }),
            ("day", ExtraType::Date),
        ];
        FactSchema::new(kinds.map(|(name, kind)| ExtraColumn { name: name.into(), kind }).to_vec())
    }

    /// CSV of rows that are each given as a line.
    fn csv_of(schema: &FactSchema, rows: &[&str]) -> Vec<u8> {
        let mut csv = Vec::new();
        crate::layer::write_header(&mut csv, schema);
        rows.iter().for_each(|row| csv.extend_from_slice(format!("{row}\n").as_bytes()));
        csv
    }

    fn plain_csv() -> Vec<u8> {
        let rows = [
            "A-1,S,,,,EUR,2,1.5000,3.0000,false,,,,2026-01-31 10:00:00,",
            "\"A,\"\"2\"\"\",\"line\nbreak\",u,p,paid,,-9223372036854775808,-99999999999999.9999,99999999999999.9999,true,DE,\u{1f600},\"cr\r\",2026-01-31 10:00:00.000001,9999-12-31 23:59:59.999999",
        ];
        csv_of(&FactSchema::default(), &rows)
    }

    fn encoded(format: FileFormat, csv: &[u8], schema: &FactSchema) -> Vec<u8> {
        encode(format, csv.to_vec(), schema, Path::new("x")).unwrap()
    }

    fn decoded(format: FileFormat, bytes: &[u8], schema: &FactSchema) -> Result<Vec<u8>, String> {
        decode(format, bytes.to_vec(), Path::new("x"), schema).map_err(|error| error.to_string())
    }

    #[test]
    fn every_format_gives_back_the_csv_to_the_byte() {
        let narrow = FactSchema::default();
        let row = "A,S,,,,,0,0.0000,-0.0001,false,,,,0001-01-01 00:00:00,0001-01-01 00:00:00.000001";
        let extra = csv_of(
            &wide(),
            &[
                &format!("{row},,,,,,,,"),
                &format!(
                    "{row},\"a,b\",-9223372036854775808,true,9999-12-31 23:59:59.999999,-9999999999999999.99,999999999999999999,-0.999999999999999999,9999-12-31"
                ),
                &format!("{row},\"\"\"\",9223372036854775807,false,1969-12-31 23:59:59.999999,0.00,0,0.000000000000000000,0001-01-01"),
            ],
        );
        for format in FileFormat::ALL {
            for (csv, schema) in [(plain_csv(), &narrow), (csv_of(&narrow, &[]), &narrow), (extra.clone(), &wide())] {
                let bytes = encoded(format, &csv, schema);
                assert_eq!(bytes, encoded(format, &csv, schema), "{format:?}: equal rows are equal bytes");
                assert_eq!(decoded(format, &bytes, schema).unwrap(), csv, "{format:?}");
                assert_eq!(decode_stored(format, bytes, Path::new("x")).unwrap(), csv, "{format:?}");
            }
        }
    }

    #[test]
    fn compressed_csv_is_one_member_without_a_time_or_one_frame_with_size_and_checksum() {
        let csv = plain_csv();
        let gzip = encoded(FileFormat::Csv(Compression::Gzip), &csv, &FactSchema::default());
        assert_eq!(gzip[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
        let zstandard = encoded(FileFormat::Csv(Compression::Zstd), &csv, &FactSchema::default());
        assert_eq!(zstandard[..4], [0x28, 0xb5, 0x2f, 0xfd]);
        // The descriptor of the frame: a checksum, and a size in two bytes of which the window is derived.
        assert_eq!(zstandard[4], 0b0110_0100);
        assert_eq!(usize::from(u16::from_le_bytes([zstandard[5], zstandard[6]])) + 256, csv.len());
    }

    #[test]
    fn a_compressed_stream_may_be_of_several_parts() {
        let (csv, schema) = (plain_csv(), FactSchema::default());
        for compression in [Compression::Gzip, Compression::Zstd] {
            let format = FileFormat::Csv(compression);
            let (head, tail) = csv.split_at(100);
            let parts = [head, tail].map(|part| encoded(format, part, &schema)).concat();
            assert_eq!(decoded(format, &parts, &schema).unwrap(), csv);
        }
    }

    #[test]
    fn a_damaged_stream_is_an_error_with_its_line() {
        let (csv, schema) = (csv_of(&FactSchema::default(), &["row"; 3]), FactSchema::default());
        for (compression, name) in [(Compression::Gzip, "gzip"), (Compression::Zstd, "Zstandard")] {
            let format = FileFormat::Csv(compression);
            let bytes = encoded(format, &csv, &schema);
            let error = |bytes: &[u8]| decoded(format, bytes, &schema).unwrap_err();
            for length in 1..bytes.len() {
                assert!(error(&bytes[..length]).contains(name), "cut to {length} bytes");
            }
            assert!(error(&[bytes.as_slice(), b"more"].concat()).contains(name));
            for place in bytes.len() - 4..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[place] ^= 1;
                assert!(error(&flipped).contains("is damaged"), "byte {place} of {name}");
            }
            assert!(error(&csv).contains("x, line 1: its"));
        }
    }

    #[test]
    fn a_damaged_parquet_file_is_an_error_or_has_another_value_and_never_panics() {
        let (csv, schema) = (plain_csv(), FactSchema::default());
        let bytes = encoded(FileFormat::Parquet, &csv, &schema);
        for length in 0..bytes.len() {
            assert!(decoded(FileFormat::Parquet, &bytes[..length], &schema).is_err(), "cut to {length} bytes");
        }
        for place in (0..bytes.len()).step_by(2) {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place / 2 % 8);
            // Pages have no checksums, so a value may differ in silence: the store compares those of whole files.
            if let Ok(csv) = decoded(FileFormat::Parquet, &flipped, &schema) {
                assert!(csv.starts_with(b"order_id,"), "byte {place}");
            }
        }
        assert!(decoded(FileFormat::Parquet, &csv, &schema).unwrap_err().starts_with("x, line 1: "));
    }

    #[test]
    fn extra_columns_of_other_types_are_a_difference_of_settings() {
        let of = |kind| FactSchema::new(vec![ExtraColumn { name: "tax".into(), kind }]);
        let (text, decimal) = (of(ExtraType::Text), of(ExtraType::Decimal { scale: 2 }));
        let csv = csv_of(&decimal, &["A,S,,,,EUR,2,1.5000,3.0000,false,,,,2026-01-31 10:00:00,,0.19"]);
        let bytes = encoded(FileFormat::Parquet, &csv, &decimal);
        let error = decode(FileFormat::Parquet, bytes.clone(), Path::new("x"), &text).unwrap_err();
        assert!(matches!(&error, LayerError::Columns { stored, wanted } if stored == "tax DECIMAL(18,2)" && wanted == "tax VARCHAR"));
        assert_eq!(decode_stored(FileFormat::Parquet, bytes.clone(), Path::new("x")).unwrap(), csv);
        // Other names are an error of the reader of the CSV, in every format.
        let other = decoded(FileFormat::Parquet, &bytes, &FactSchema::default()).unwrap();
        let error = crate::layer::read_partition(&other, "2026-01-31".parse().unwrap(), Path::new("x"), &FactSchema::default());
        assert!(matches!(error.map(drop).unwrap_err(), LayerError::Columns { .. }));
    }

    #[test]
    fn csv_that_is_not_canonical_is_not_encoded() {
        let schema = FactSchema::default();
        let good = String::from_utf8(plain_csv()).unwrap();
        let message = |csv: &str| encode(FileFormat::Parquet, csv.into(), &schema, Path::new("x")).unwrap_err().to_string();
        assert!(message(&good.replace("1.5000", "1.5")).contains("x, line 2: `1.5` is not a valid DECIMAL(18,4) in column unit_price"));
        assert!(message(&good.replace("sku", "key")).contains("x, line 1: these are not the columns"));
        assert!(message(&good.replace("true", "yes")).contains("x, line 3: `yes` is not a valid BOOLEAN"));
        assert!(message("").contains("x, line 1: "));
    }

    mod round_trips {
        use proptest::prelude::*;

        use super::*;
        use crate::model::{Dt, Line, Money, UtcMicros};

        fn text() -> impl Strategy<Value = String> {
            prop_oneof!["[ -~]{1,12}", "[\"\n\r,é\u{1f600} ]{1,6}", "\\PC{1,30}", "x{60,300}"]
        }

        fn instant() -> impl Strategy<Value = UtcMicros> {
            let (least, most) = (UtcMicros::MIN.micros(), UtcMicros::MAX.micros());
            let micros = prop_oneof![least..=most, Just(least), Just(most), -3_000_000_i64..3_000_000];
            micros.prop_map(|micros| UtcMicros::new(micros).unwrap_or(UtcMicros::MIN))
        }

        fn money() -> impl Strategy<Value = Money> {
            let most = 999_999_999_999_999_999_i128;
            let units = prop_oneof![-most..=most, Just(-most), Just(most), -20_000_i128..20_000];
            units.prop_map(|units| Money::from_units(units).unwrap_or_default())
        }

        fn extra() -> impl Strategy<Value = Vec<Option<String>>> {
            let decimal = |scale: u32| {
                (-999_999_999_999_999_999_i64..=999_999_999_999_999_999).prop_map(move |units| {
                    let text = format!("{units}e-{scale}");
                    ExtraType::Decimal { scale }.canonical(text.into()).map(|text| text.into_owned()).unwrap_or_default()
                })
            };
            let maybe = |text: BoxedStrategy<String>| proptest::option::of(text);
            (
                maybe(text().boxed()),
                maybe(any::<i64>().prop_map(|whole| whole.to_string()).boxed()),
                maybe(any::<bool>().prop_map(|flag| flag.to_string()).boxed()),
                maybe(instant().prop_map(UtcMicros::to_canonical).boxed()),
                (maybe(decimal(2).boxed()), maybe(decimal(0).boxed()), maybe(decimal(18).boxed())),
                maybe(instant().prop_map(|at| Dt::of(at).to_string()).boxed()),
            )
                .prop_map(|(note, visits, gift, paid_at, (tax, units, share), day)| {
                    vec![note, visits, gift, paid_at, tax, units, share, day]
                })
        }

        fn row() -> impl Strategy<Value = Vec<u8>> {
            let texts = (text(), text(), proptest::collection::vec(proptest::option::of(text()), 7));
            let numbers = (any::<i64>(), money(), money(), any::<bool>());
            (texts, numbers, instant(), proptest::option::of(instant()), extra()).prop_map(
                |((order_id, sku, texts), (quantity, unit_price, line_total, price_defaulted), created_at, updated_at, extra)| {
                    let text = |place: usize| texts[place].as_deref();
                    let line = Line {
                        order_id: &order_id,
                        sku: &sku,
                        user_id: text(0),
                        product_id: text(1),
                        status: text(2),
                        currency: text(3),
                        quantity: quantity.into(),
                        unit_price,
                        line_total,
                        price_defaulted,
                        user_country: text(4),
                        product_name: text(5),
                        product_category: text(6),
                        created_at,
                        updated_at,
                    };
                    let mut out = Vec::new();
                    crate::layer::write_line(&mut out, &line, extra.iter().map(Option::as_deref));
                    out
                },
            )
        }

        proptest! {
            #[test]
            fn any_rows_come_back_to_the_byte(rows in proptest::collection::vec(row(), 0..40)) {
                let mut csv = Vec::new();
                crate::layer::write_header(&mut csv, &wide());
                rows.iter().for_each(|row| csv.extend_from_slice(row));
                for format in FileFormat::ALL {
                    let bytes = encode(format, csv.clone(), &wide(), Path::new("x")).unwrap();
                    let back = decode(format, bytes, Path::new("x"), &wide()).unwrap();
                    prop_assert_eq!(String::from_utf8_lossy(&back), String::from_utf8_lossy(&csv), "{:?}", format);
                }
            }

            #[test]
            fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
                for format in FileFormat::ALL {
                    let _ = decode(format, bytes.clone(), Path::new("x"), &wide());
                }
            }
        }
    }
}
