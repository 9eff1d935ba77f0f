-- quantity × unit_price, exact; or, where prices are quotients, the quotient rounded at four decimals (none of nothing).
-- A line of its own keeps its price, also with a quantity of 0.
SELECT dt, order_id, sku, quantity, unit_price, line_total, quantity * unit_price AS product
FROM fact_order_changed, run_rules
WHERE CASE
    WHEN sums_skus AND quantity <> 0 THEN 2 * abs(line_total - quantity * unit_price) > abs(quantity) * CAST('0.0001' AS DECIMAL(5,4))
    WHEN sums_skus THEN unit_price <> 0 AND line_total <> 0
    ELSE line_total IS DISTINCT FROM quantity * unit_price
END
