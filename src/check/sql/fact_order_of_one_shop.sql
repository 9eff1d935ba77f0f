-- An order that two shops have: its money counts twice. Two shops may have an order of the same id at the same time by chance, and then
-- its lines differ. So orders count that are equal line by line, where most of those of the same id and time are.
WITH line AS (
    SELECT
        split_part(order_id, ':', 1) AS shop,
        order_id,
        substr(order_id, strpos(order_id, ':') + 1) AS own_id,
        created_at,
        hash(
            CASE WHEN starts_with(sku, split_part(order_id, ':', 1) || ':') THEN substr(sku, strpos(sku, ':') + 1) ELSE sku END,
            substr(user_id, strpos(user_id, ':') + 1), currency, quantity, line_total
        ) AS content
    FROM fact_order_changed
),
shop_order AS (
    SELECT shop, order_id, own_id, created_at, count(*) AS lines, bit_xor(content) AS content
    FROM line
    GROUP BY ALL
),
pair AS (
    SELECT
        one.shop AS shop, other.shop AS other_shop, one.order_id AS order_id, other.order_id AS other_order_id, one.created_at AS created_at,
        one.lines = other.lines AND one.content = other.content AS is_equal
    FROM shop_order AS one
    JOIN shop_order AS other ON other.own_id = one.own_id AND other.created_at = one.created_at AND other.shop > one.shop
),
doubled AS (
    SELECT shop, other_shop
    FROM pair
    GROUP BY ALL
    HAVING 2 * count(*) FILTER (WHERE is_equal) > count(*)
)
SELECT order_id, other_order_id, created_at
FROM pair
SEMI JOIN doubled USING (shop, other_shop)
WHERE is_equal
