-- One row for each refund and sku, whichever order and day they are of.
SELECT refund_id, sku, count(*) AS rows, min(order_id) AS order_id, min(dt) AS first_dt, max(dt) AS last_dt
FROM fact_refund_changed
GROUP BY refund_id, sku
HAVING count(*) > 1
