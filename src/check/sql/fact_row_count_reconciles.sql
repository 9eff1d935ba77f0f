-- The rows of each partition against the arithmetic of the merge.
WITH actual AS (
    SELECT dt, count(*) AS rows
    FROM fact_order_changed
    WHERE dt IN (SELECT dt FROM expected_rows)
    GROUP BY dt
)
SELECT dt, coalesce(expected.rows, 0) AS expected, coalesce(actual.rows, 0) AS actual
FROM expected_rows AS expected
FULL JOIN actual USING (dt)
WHERE coalesce(expected.rows, 0) <> coalesce(actual.rows, 0)
