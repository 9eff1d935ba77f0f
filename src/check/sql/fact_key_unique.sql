-- One row a key: (order_id, sku) is the grain, in the whole layer.
SELECT order_id, sku, count(*) AS rows, min(dt) AS first_dt, max(dt) AS last_dt
FROM fact_order_changed
GROUP BY order_id, sku
HAVING count(*) > 1
