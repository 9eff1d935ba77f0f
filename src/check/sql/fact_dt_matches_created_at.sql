-- A row lies in the partition of its UTC date.
SELECT dt, order_id, sku, created_at
FROM fact_order_changed
WHERE CAST(created_at AS DATE) IS DISTINCT FROM dt
