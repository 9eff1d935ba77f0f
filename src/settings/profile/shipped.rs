//! The profiles that ship: each the `etl.toml` that somebody would write after reading its vendor's documentation.

/// A profile that ships.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// An `etl.toml`, to read and to start from.
    pub toml: &'static str,
}

impl Shipped {
    /// What it is of: its first line.
    pub fn title(&self) -> &'static str {
        self.toml.lines().next().unwrap_or_default().trim_start_matches("# ")
    }
}

macro_rules! shipped {
    ($($name:literal),*) => {
        /// All profiles that ship, by name.
        pub const SHIPPED: &[Shipped] = &[$(Shipped { name: $name, toml: include_str!(concat!("shipped/", $name, ".toml")) }),*];
    };
}

shipped!("bigcommerce", "dummyjson", "fakestore", "json-server", "shopify", "stripe", "woocommerce");

/// The profile of a name.
pub fn shipped(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|shipped| shipped.name == name)
}
