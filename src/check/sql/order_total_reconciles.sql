-- An order is its lines, less discounts, with shipping and tax. What the source does not say counts as 0, and an order whose total is
-- not known is not judged.
SELECT dt, order_id, currency, lines_total, discount_total, shipping_total, tax_total, total, added_up
FROM (
    SELECT
        *,
        coalesce(CAST(lines_total AS DECIMAL(38,4)), 0) - coalesce(CAST(discount_total AS DECIMAL(38,4)), 0)
            + coalesce(CAST(shipping_total AS DECIMAL(38,4)), 0) + coalesce(CAST(tax_total AS DECIMAL(38,4)), 0) AS added_up
    FROM fact_order_total_changed
) AS judged
WHERE total IS NOT NULL AND added_up <> total
