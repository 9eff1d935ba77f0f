-- One row for each refund and sku of an order, whichever day they are of.
SELECT refund_id, order_id, sku, count(*) AS rows, min(dt) AS first_dt, max(dt) AS last_dt
FROM fact_refund_changed
GROUP BY refund_id, order_id, sku
HAVING count(*) > 1
