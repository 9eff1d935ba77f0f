//! Which columns of the dimensions a fact carries. Joins nothing.

/// The columns of the dimensions that a fact carries as `user_country`, `product_name` and `product_category`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnrichColumns {
    /// The column of `dim_user` in `user_country`.
    pub user_country: String,
    /// The column of `dim_product` in `product_name`.
    pub product_name: String,
    /// The column of `dim_product` in `product_category`.
    pub product_category: String,
}

impl Default for EnrichColumns {
    fn default() -> EnrichColumns {
        EnrichColumns { user_country: "country".into(), product_name: "name".into(), product_category: "category".into() }
    }
}
