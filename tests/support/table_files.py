"""Writes files of users as pyarrow, pandas, Polars and Spark write them: `table_files.py WRITER FOLDER`.

Prints one JSON object: the name of the file or folder, and of each column the text that `dim_user` must hold for the user U1.
Null: the column must be empty. "refused": the type can't be read, and a warning must name the column.
"""

import datetime as dt
import decimal
import json
import sys
import uuid
from pathlib import Path

FOLDER = Path(sys.argv[2])
MOMENT = dt.datetime(2026, 1, 31, 10, 0, 0, 123456)
ZONED = MOMENT.replace(tzinfo=dt.timezone.utc)


def say(name, expected):
    print(json.dumps({"name": name, "expected": expected}))


def pyarrow_types():
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.array(["x", None])
    columns = {
        "user_id": (pa.array(["U1", "U2"]), "U1"),
        "null_": (pa.nulls(2), None),
        "bool_": (pa.array([True, None]), "true"),
        **{f"{kind}_": (pa.array([7, None], getattr(pa, kind)()), "7") for kind in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"]},
        "uint64_": (pa.array([2**64 - 1, None], pa.uint64()), str(2**64 - 1)),
        "float16_": (pa.array([1.5, None], pa.float16()), "1.5"),
        "float32_": (pa.array([0.1, None], pa.float32()), "0.1"),
        "float64_": (pa.array([0.1, None]), "0.1"),
        "nan_": (pa.array([float("nan"), None]), None),
        "decimal32_": (pa.array([decimal.Decimal("1.25"), None], pa.decimal32(5, 2)), "1.25"),
        "decimal64_": (pa.array([decimal.Decimal("-1.25"), None], pa.decimal64(12, 2)), "-1.25"),
        "decimal128_": (pa.array([decimal.Decimal("12345678901234567890.1234"), None], pa.decimal128(38, 4)), "12345678901234567890.1234"),
        "decimal256_": (pa.array([decimal.Decimal("-0.0050"), None], pa.decimal256(60, 4)), "-0.0050"),
        "string_": (text, "x"),
        "large_string_": (text.cast(pa.large_string()), "x"),
        "string_view_": (text.cast(pa.string_view()), "x"),
        "binary_": (pa.array([b"U1", None]), "U1"),
        "large_binary_": (pa.array([b"\xff\x00", None], pa.large_binary()), "ff00"),
        "binary_view_": (pa.array([b"U1", None]).cast(pa.binary_view()), "U1"),
        "fixed_size_binary_": (pa.array([b"abcd", None], pa.binary(4)), "abcd"),
        "uuid_": (
            pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.UUID(int=10**30).bytes, None], pa.binary(16))),
            str(uuid.UUID(int=10**30)),
        ),
        "json_": (pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', None])), '{"a": 1}'),
        "dictionary_": (pa.array(["x", None]).dictionary_encode(), "x"),
        "dictionary_int_": (pa.DictionaryArray.from_arrays(pa.array([0, None], pa.int8()), pa.array([70, 80])), "70"),
        "date32_": (pa.array([MOMENT.date(), None], pa.date32()), "2026-01-31"),
        "date64_": (pa.array([MOMENT.date(), None], pa.date64()), "2026-01-31T00:00:00"),
        "time32_": (pa.array([dt.time(10, 0, 1), None], pa.time32("ms")), "10:00:01"),
        "time64_": (pa.array([dt.time(10, 0, 1), None], pa.time64("us")), "10:00:01"),
        "timestamp_s_": (pa.array([MOMENT.replace(microsecond=0), None], pa.timestamp("s")), "2026-01-31T10:00:00Z"),
        "timestamp_ms_": (pa.array([MOMENT.replace(microsecond=123000), None], pa.timestamp("ms")), "2026-01-31T10:00:00.123000Z"),
        "timestamp_us_": (pa.array([MOMENT, None], pa.timestamp("us")), "2026-01-31T10:00:00.123456Z"),
        "timestamp_ns_": (pa.array([MOMENT, None], pa.timestamp("ns")), "2026-01-31T10:00:00.123456Z"),
        "timestamp_utc_": (pa.array([ZONED, None], pa.timestamp("us", "UTC")), "2026-01-31T10:00:00.123456Z"),
        "timestamp_zone_": (pa.array([ZONED, None], pa.timestamp("us", "Europe/Berlin")), "2026-01-31T10:00:00.123456Z"),
        "duration_": (pa.array([dt.timedelta(seconds=90), None], pa.duration("s")), "PT90S"),
        "list_": (pa.array([[1, 2, 3, 4, 5], None]), "[1,2,3,4,5]"),
        "large_list_": (pa.array([["a"], None], pa.large_list(pa.string())), '["a"]'),
        "fixed_list_": (pa.array([[1, 2], None], pa.list_(pa.int64(), 2)), "[1,2]"),
        "list_of_struct_": (pa.array([[{"a": 1, "b": None}], None]), '[{"a":1,"b":null}]'),
        "map_": (pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())), None),
        "map_of_int_": (pa.array([[(1, "x")], None], pa.map_(pa.int64(), pa.string())), "refused"),
        "struct_": (pa.array([{"a": 1, "b": {"c": "d"}}, None]), None),
    }
    expected = {name: value for name, (_, value) in columns.items()}
    # An object becomes a column for each of its keys.
    for name in ["map_", "struct_"]:
        del expected[name]
    expected |= {"map__k": "1", "struct__a": "1", "struct__b_c": "d"}
    pq.write_table(pa.table({name: array for name, (array, _) in columns.items()}), FOLDER / "arrow.parquet")
    say("arrow.parquet", expected)


def pandas_frame():
    import pandas as pd

    frame = pd.DataFrame(
        {
            "user_id": ["U1", "U2"],
            "plan": pd.Categorical(["gold", None]),
            "level": pd.Categorical([3, 4]),
            "visits": pd.array([7, None], dtype="Int64"),
            "gap": [7.0, None],
            "created_at": pd.to_datetime(["2026-01-31T10:00:00+01:00", None]),
            "seen": pd.to_datetime(["2026-01-31 10:00:00", None]),
            "wait": pd.to_timedelta(["90s", None]),
            "name": pd.array(["Anna", None], dtype="string"),
            "tags": [["a", "b", "c", "d"], None],
        },
        index=["r1", "r2"],
    )
    frame.to_parquet(FOLDER / "pandas.parquet")
    say(
        "pandas.parquet",
        {
            "user_id": "U1",
            "plan": "gold",
            "level": "3",
            "visits": "7",
            "gap": "7",
            "created_at": "2026-01-31 09:00:00",
            "seen": "2026-01-31T10:00:00Z",
            "name": "Anna",
            "tags": '["a","b","c","d"]',
            "__index_level_0__": "r1",
        },
    )


def polars_frame():
    import polars as pl

    frame = pl.DataFrame(
        {
            "user_id": ["U1", "U2"],
            "plan": pl.Series(["gold", None], dtype=pl.Categorical),
            "tier": pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"])),
            "small": pl.Series([7, None], dtype=pl.UInt8),
            "short": pl.Series([-7, None], dtype=pl.Int16),
            "price": pl.Series([decimal.Decimal("1.250"), None], dtype=pl.Decimal(10, 3)),
            "created_at": pl.Series([ZONED, None], dtype=pl.Datetime("us", "UTC")),
            "day": [MOMENT.date(), None],
            "at": [dt.time(10, 0, 1), None],
            "tags": [["a", "b", "c", "d"], None],
            "pair": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int32, 2)),
            "address": [{"city": "Ulm", "country": "DE"}, None],
            "raw": [b"abc", None],
            "nothing": [None, None],
        }
    )
    frame.write_parquet(FOLDER / "polars.parquet")
    say(
        "polars.parquet",
        {
            "user_id": "U1",
            "plan": "gold",
            "tier": "a",
            "small": "7",
            "short": "-7",
            "price": "1.250",
            "created_at": "2026-01-31 10:00:00.123456",
            "day": "2026-01-31",
            "at": "10:00:01",
            "tags": '["a","b","c","d"]',
            "pair": "[1,2]",
            "address_city": "Ulm",
            "country": "DE",
            "raw": "abc",
            "nothing": None,
        },
    )


def spark_frame():
    from pyspark.sql import SparkSession
    from pyspark.sql import types as t

    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config("spark.sql.session.timeZone", "UTC")
    for setting in ["spark.sql.parquet.writeLegacyFormat"]:
        session = session.config(setting, "true")
    session = session.getOrCreate()
    session.conf.set("spark.sql.parquet.outputTimestampType", "INT96")
    schema = t.StructType(
        [
            t.StructField("user_id", t.StringType()),
            t.StructField("tiny", t.ByteType()),
            t.StructField("small", t.ShortType()),
            t.StructField("price", t.DecimalType(18, 4)),
            t.StructField("created_at", t.TimestampType()),
            t.StructField("day", t.DateType()),
            t.StructField("raw", t.BinaryType()),
            t.StructField("tags", t.ArrayType(t.StringType())),
            t.StructField("traits", t.MapType(t.StringType(), t.IntegerType())),
            t.StructField("address", t.StructType([t.StructField("city", t.StringType()), t.StructField("country", t.StringType())])),
        ]
    )
    row = ("U1", 7, -7, decimal.Decimal("1.2500"), ZONED, MOMENT.date(), bytearray(b"abc"), ["a", "b", "c", "d"], {"k": 1}, ("Ulm", "DE"))
    session.createDataFrame([row], schema).write.parquet(str(FOLDER / "spark"))
    session.stop()
    say(
        "spark",
        {
            "user_id": "U1",
            "tiny": "7",
            "small": "-7",
            "price": "1.2500",
            "created_at": "2026-01-31 10:00:00.123456",
            "day": "2026-01-31",
            "raw": "abc",
            "tags": '["a","b","c","d"]',
            "traits_k": "1",
            "address_city": "Ulm",
            "country": "DE",
        },
    )


{"pyarrow": pyarrow_types, "pandas": pandas_frame, "polars": polars_frame, "spark": spark_frame}[sys.argv[1]]()
