-- quantity × unit_price, exact; rounded at four decimals where quantities have decimals; or, where prices are quotients of totals,
-- the quotient rounded at four decimals (none of nothing). A line of its own keeps its price, also with a quantity of 0.
-- The smallest BIGINT has no absolute value as a BIGINT, so that its product is taken first, which is a DECIMAL.
SELECT dt, order_id, sku, quantity, unit_price, line_total, quantity * CAST(unit_price AS DECIMAL(19,4)) AS product
FROM fact_order_changed, run_rules
WHERE CASE
    WHEN has_quotients AND quantity <> 0 THEN
        2 * abs(line_total - quantity * CAST(unit_price AS DECIMAL(19,4)))
            > greatest(
                abs(quantity * CAST('0.0001' AS DECIMAL(5,4))),
                CASE WHEN has_decimals THEN CAST('0.0001' AS DECIMAL(5,4)) ELSE 0 END
            )
    WHEN has_quotients THEN unit_price <> 0 AND line_total <> 0
    WHEN has_decimals THEN 2 * abs(line_total - quantity * CAST(unit_price AS DECIMAL(19,4))) > CAST('0.0001' AS DECIMAL(5,4))
    ELSE line_total IS DISTINCT FROM quantity * CAST(unit_price AS DECIMAL(19,4))
END
