-- The rows of the layer, from Medusa's own tables: the lines of the newest confirmed version of each order that was placed.
-- A price has four decimals, and the price of a sku on several lines is total / quantity: both are rounded half to even.
WITH line AS (
    SELECT o.id AS order_id, coalesce(l.variant_sku, l.variant_id, l.id) AS sku, o.status, o.currency_code AS currency, i.quantity,
        coalesce(i.raw_unit_price ->> 'value', l.raw_unit_price ->> 'value')::numeric AS price
    FROM "order" o
    JOIN order_item i ON i.order_id = o.id AND i.version = o.version AND i.deleted_at IS NULL
    JOIN order_line_item l ON l.id = i.item_id
    WHERE o.deleted_at IS NULL AND NOT o.is_draft_order
), priced AS (
    SELECT *, CASE WHEN abs(price * 10000 % 1) = 0.5 THEN 2 * round(price / 2, 4) ELSE round(price, 4) END AS unit FROM line
), summed AS (
    SELECT order_id, sku, status, currency, sum(quantity) AS quantity, sum(quantity * unit) AS total FROM priced GROUP BY 1, 2, 3, 4
), divided AS (
    SELECT *, total / quantity AS unit FROM summed
)
SELECT order_id, sku, status, currency, quantity::bigint,
    CASE WHEN abs(unit * 10000 % 1) = 0.5 THEN 2 * round(unit / 2, 4) ELSE round(unit, 4) END AS unit_price, round(total, 4) AS line_total
FROM divided
