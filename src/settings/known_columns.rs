//! The columns of dimensions that are known before a source is read, and slips in the names of them. Users and products
//! may have any other column: which ones is known only once they are read.

use super::{
    ColumnCheck, Setting, SettingsError, Source,
    column_checks::CheckedTable,
    merge::Layers,
    setting,
    sources::Sources,
    toml_tree::{Table, Value},
};
use crate::model::{DIM_PRODUCT, DIM_USER, DimensionSpec};

/// The known columns of both dimensions, in lower case.
pub(super) struct KnownColumns {
    pub(super) users: Vec<String>,
    products: Vec<String>,
}

impl KnownColumns {
    pub(super) fn of(file: &Table, sources: &Sources) -> KnownColumns {
        KnownColumns {
            users: of_dimension(&DIM_USER, file, sources.users.as_ref()),
            products: of_dimension(&DIM_PRODUCT, file, sources.products.as_ref()),
        }
    }

    /// Fails if a check names a column of a dimension with a slip.
    pub(super) fn refuse_slips_of_checks(&self, checks: &[ColumnCheck]) -> Result<(), SettingsError> {
        for check in checks {
            let known = match check.table {
                CheckedTable::FactOrder => continue,
                CheckedTable::DimUser => &self.users,
                CheckedTable::DimProduct => &self.products,
            };
            if let Some(meant) = slip(&check.column, known) {
                let (column, table) = (&check.column, check.table.name());
                return Err(check
                    .place
                    .error(format!("`checks.column.column`: `{column}` is not a known column of {table}: {}", hint(column, meant))));
            }
        }
        Ok(())
    }

    /// Fails if a setting of `[enrich]` names a column with a slip.
    pub(super) fn refuse_slips_of_enrich(&self, layers: &Layers<'_>) -> Result<(), SettingsError> {
        let named: [(&Setting, &[String]); 3] =
            [(&setting::USER_COUNTRY, &self.users), (&setting::PRODUCT_NAME, &self.products), (&setting::PRODUCT_CATEGORY, &self.products)];
        for (setting, known) in named {
            if let Some(configured) = layers.get(setting)?
                && let Some(meant) = slip(&configured.value, known)
            {
                return Err(configured.invalid(format!("not a known column: {}", hint(&configured.value, meant))));
            }
        }
        Ok(())
    }
}

/// The fixed columns of a dimension, those that the program sets itself, and those of the mapping.
fn of_dimension(spec: &DimensionSpec, file: &Table, source: Option<&Source>) -> Vec<String> {
    let in_file = match file.at(&format!("{}.fields", spec.source)).map(|node| &node.value) {
        Some(Value::Table(fields)) => fields.entries().map(|(name, _)| name.to_lowercase()).collect(),
        _ => Vec::new(),
    };
    let mapped = source.into_iter().flat_map(|source| source.profile.fields.keys().map(|name| name.to_lowercase()));
    let fixed = spec.columns.iter().map(|column| column.name).chain(DimensionSpec::FLAGS).map(str::to_owned);
    fixed.chain(in_file).chain(mapped).collect()
}

/// The known name of which this one is a slip: one or two letters are wrong, in a name that is long enough for it.
pub(super) fn slip<'k>(name: &str, known: &'k [String]) -> Option<&'k str> {
    let name = name.trim().to_lowercase();
    if known.contains(&name) {
        return None;
    }
    let (distance, nearest) = known.iter().map(|known| (strsim::damerau_levenshtein(&name, known), known)).min()?;
    (distance <= 2 && distance * 3 <= name.chars().count()).then_some(nearest.as_str())
}

/// What to write instead; or how to say that the name is meant.
pub(super) fn hint(name: &str, meant: &str) -> String {
    format!("did you mean `{meant}`? If the source has a column `{name}`, map it: `fields.{name} = \"{name}\"` in its table")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Environment, Flags, merge};

    #[test]
    fn short_names_are_near_to_others_by_chance() {
        let known = ["user_id", "email", "sex"].map(str::to_owned);
        for (name, expected) in [("emial", "email"), ("e_mail", "email"), ("Emails", "email"), ("userid", "user_id")] {
            assert_eq!(slip(name, &known), Some(expected), "{name}");
        }
        for name in ["email", "EMAIL", "phone", "tax"] {
            assert_eq!(slip(name, &known), None, "{name}");
        }
    }

    #[test]
    fn a_slip_in_the_name_of_a_column_is_refused_where_the_column_is_named() {
        let read = |toml: &str| {
            let file = Table::parse("etl.toml", &format!("orders = 'o.json'\nusers.location = 'u.csv'\n{toml}")).unwrap();
            let (flags, environment) = (Flags::default(), Environment::of(&[], &[]));
            merge::of_shops(&Layers::new(&flags, &environment, &file), &[]).map(drop).map_err(|error| error.to_string())
        };
        for (toml, message) in [
            ("[[checks.column]]\ntable = 'dim_user'\ncolumn = 'emial'\nnot_null = true", "`checks.column.column`: `emial`"),
            ("enrich.user_country = 'contry'", "line 3: `enrich.user_country`: `contry`: not a known column: did you mean `country`?"),
            ("[columns.emial]\nmask = 'omit'", "line 3: `columns.emial`: neither dim_user"),
        ] {
            let error = read(toml).unwrap_err();
            assert!(error.contains(message), "{error}");
            let mapped = format!("users.fields.emial = 'emial'\nusers.fields.contry = 'contry'\n{toml}");
            assert_eq!(read(&mapped), Ok(()), "{mapped}");
        }
        assert_eq!(read("[[checks.column]]\ntable = 'dim_user'\ncolumn = 'phone'\nnot_null = true"), Ok(()));
    }
}
