-- Money that may be given back twice: a refund that two orders list.
SELECT refund_id, count(DISTINCT order_id) AS orders, min(order_id) AS first_order_id, max(order_id) AS last_order_id
FROM fact_refund_changed
GROUP BY refund_id
HAVING count(DISTINCT order_id) > 1
