-- Every sku has a row in dim_product.
SELECT dt, order_id, sku
FROM fact_order_changed
ANTI JOIN dim_product_member USING (sku)
