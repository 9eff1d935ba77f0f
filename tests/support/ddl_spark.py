"""Runs statements of stdin in Spark: `ddl_spark.py ENGINE DAY`. ENGINE: spark, or athena (tables of Hive's SerDe).

Prints one JSON object: `rows` and `users` as texts, `by_day` (sums of line_total), and the `plan` of a query of that day.
"""

import json
import sys

from pyspark.sql import SparkSession

ENGINE, DAY = sys.argv[1:]
FACTS, USERS = {"spark": ("fact_order", "dim_user"), "athena": ("fact_order_csv", "dim_user_csv")}[ENGINE]

session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config("spark.sql.shuffle.partitions", "1")
# A zone far from UTC, with daylight saving time.
session = session.config("spark.sql.session.timeZone", "America/New_York")
if ENGINE == "athena":
    session = session.enableHiveSupport().config("spark.hadoop.javax.jdo.option.ConnectionURL", "jdbc:derby:memory:ddl;create=true")
session = session.getOrCreate()

script = "\n".join(line for line in sys.stdin.read().splitlines() if not line.startswith("--")) + "\n"
for statement in script.split(";\n"):
    if statement.strip() and "CREATE OR REPLACE VIEW" not in statement:
        session.sql(statement)
if ENGINE == "athena":
    # Athena computes the partitions instead, and skips the header.
    session.sql(f"MSCK REPAIR TABLE shop.{FACTS}")


def texts(table, key):
    rows = session.table(f"shop.{table}")
    names = ["`" + name.replace("`", "``") + "`" for name in rows.columns]
    rows = rows.selectExpr(*[f"CAST({name} AS STRING)" for name in names]).collect()
    return sorted([list(row) for row in rows if row[0] != key], key=lambda row: row[0])


by_day = session.sql(f"SELECT CAST(dt AS STRING), CAST(sum(TRY_CAST(line_total AS DECIMAL(18,4))) AS STRING) FROM shop.{FACTS} GROUP BY 1")
plan = session.sql(f"EXPLAIN SELECT sum(line_total) FROM shop.{FACTS} WHERE dt = DATE'{DAY}'").collect()[0][0]
found = {"rows": texts(FACTS, "order_id"), "users": texts(USERS, "user_id"), "by_day": dict(map(tuple, by_day.collect())), "plan": plan}
session.stop()
print(json.dumps(found))
