-- Rows whose product only facts name: the products source does not know it.
SELECT dt, order_id, sku
FROM fact_order_changed
SEMI JOIN (FROM dim_product_member WHERE inferred) AS inferred_member USING (sku)
