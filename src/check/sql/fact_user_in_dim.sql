-- Every user that a row names has a row in dim_user.
SELECT dt, order_id, sku, user_id
FROM fact_order_changed
ANTI JOIN dim_user_member USING (user_id)
WHERE user_id IS NOT NULL
