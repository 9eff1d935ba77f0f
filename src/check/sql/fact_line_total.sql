-- quantity × unit_price, exact.
SELECT dt, order_id, sku, quantity, unit_price, line_total, quantity * unit_price AS product
FROM fact_order_changed
WHERE line_total IS DISTINCT FROM quantity * unit_price
