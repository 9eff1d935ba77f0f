-- Rows whose user only facts name: the users source does not know it.
SELECT dt, order_id, sku, user_id
FROM fact_order_changed
SEMI JOIN (FROM dim_user_member WHERE inferred) AS inferred_member USING (user_id)
