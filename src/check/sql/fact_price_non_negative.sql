-- Refunds are kept, and shown.
SELECT dt, order_id, sku, unit_price
FROM fact_order_changed
WHERE unit_price < 0
