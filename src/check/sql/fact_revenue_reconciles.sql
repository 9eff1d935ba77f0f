-- The layer's revenue against the totals that were kept while parsing, outside the frames.
WITH actual AS (
    SELECT dt, coalesce(currency, '') AS currency, sum(line_total) AS revenue
    FROM fact_order_changed
    WHERE dt IN (SELECT dt FROM expected_rows)
    GROUP BY ALL
)
SELECT dt, currency, coalesce(expected.revenue, 0) AS expected, coalesce(actual.revenue, 0) AS actual
FROM expected_revenue AS expected
FULL JOIN actual USING (dt, currency)
WHERE coalesce(expected.revenue, 0) <> coalesce(actual.revenue, 0)
