-- Orders from before the year 2000, from more than a day ahead, or updated before they were created.
SELECT dt, order_id, sku, created_at, updated_at
FROM fact_order_changed, run_clock
WHERE created_at < TIMESTAMP '2000-01-01' OR created_at > run_clock.now + INTERVAL 1 DAY OR updated_at < created_at
