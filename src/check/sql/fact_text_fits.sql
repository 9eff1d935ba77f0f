-- A text of VARCHAR(65535) that is full was cut, or can't be told from one that was: a character has up to four bytes.
SELECT dt, order_id, sku, longest_text AS bytes
FROM fact_order_changed
WHERE longest_text > 65531
