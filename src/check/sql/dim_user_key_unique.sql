-- One current row a user.
SELECT user_id, count(*) AS rows
FROM dim_user_member
GROUP BY user_id
HAVING count(*) > 1 OR user_id IS NULL
