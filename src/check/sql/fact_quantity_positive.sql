-- Returns and corrections are kept, and shown.
SELECT dt, order_id, sku, quantity
FROM fact_order_changed
WHERE quantity <= 0
