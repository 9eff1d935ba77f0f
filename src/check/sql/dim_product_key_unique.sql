-- One current row a sku.
SELECT sku, count(*) AS rows
FROM dim_product_member
GROUP BY sku
HAVING count(*) > 1 OR sku IS NULL
