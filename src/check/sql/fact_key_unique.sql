-- One row for each key: (order_id, sku) is the grain of the whole layer. A key that was reported is not reported again.
SELECT order_id, sku, count(*) AS rows, min(dt) AS first_dt, max(dt) AS last_dt
FROM fact_order_changed AS fact
WHERE NOT EXISTS (
    FROM reported_keys AS reported
    WHERE reported.order_id IS NOT DISTINCT FROM fact.order_id AND reported.sku IS NOT DISTINCT FROM fact.sku
)
GROUP BY order_id, sku
HAVING count(*) > 1
