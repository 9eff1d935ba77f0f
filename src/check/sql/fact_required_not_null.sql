-- What every row must have.
SELECT dt, order_id, sku, quantity, unit_price, line_total, price_defaulted, created_at
FROM fact_order_changed
WHERE order_id IS NULL OR sku IS NULL OR quantity IS NULL OR unit_price IS NULL OR line_total IS NULL OR price_defaulted IS NULL OR created_at IS NULL
