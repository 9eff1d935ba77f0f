-- Money that was given back for an order that the facts do not have: its revenue is missing.
SELECT dt, refund_id, order_id, sku, amount, currency
FROM fact_refund_changed
WHERE NOT EXISTS (SELECT 1 FROM stored_order WHERE stored_order.order_id = fact_refund_changed.order_id)
