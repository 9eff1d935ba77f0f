//! The shipped profiles: each is the `etl.toml` that a user would write after reading the vendor's documentation.

/// A shipped profile.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// An `etl.toml`, to read and to start from.
    pub toml: &'static str,
}

impl Shipped {
    /// Its title: its first line.
    pub fn title(&self) -> &'static str {
        self.toml.lines().next().unwrap_or_default().trim_start_matches("# ")
    }

    /// Its URL, where that is an example which the user must replace.
    pub fn example_url(&self) -> Option<&'static str> {
        let url = self.toml.lines().find_map(|line| line.strip_prefix("url = \""))?.trim_end_matches('"');
        url.contains("your-").then_some(url)
    }
}

macro_rules! shipped {
    ($($name:literal),*) => {
        /// All shipped profiles, by name.
        pub const SHIPPED: &[Shipped] = &[$(Shipped { name: $name, toml: include_str!(concat!("shipped/", $name, ".toml")) }),*];
    };
}

shipped!(
    "amazon-sp-api",
    "amazon-v0",
    "bigcommerce",
    "commercetools",
    "dummyjson",
    "ebay",
    "ecwid",
    "etsy",
    "fakestore",
    "json-server",
    "json-server-0",
    "lightspeed",
    "lightspeed-x",
    "magento",
    "medusa",
    "prestashop",
    "saleor",
    "salesforce",
    "shopify",
    "shopify-bulk",
    "shopify-graphql",
    "square",
    "squarespace",
    "stripe",
    "stripe-charges",
    "stripe-checkout",
    "vendure",
    "wix",
    "woocommerce"
);

/// The profile of a name.
pub fn shipped(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|shipped| shipped.name == name)
}
