-- One row for each order: order_id is the grain of the whole layer.
SELECT order_id, count(*) AS rows, min(dt) AS first_dt, max(dt) AS last_dt
FROM fact_order_total_changed
GROUP BY order_id
HAVING count(*) > 1
