//! `[columns.NAME]`: which columns are masked, and how. Not what stands in place of a value: `normalize` makes that.

use super::{
    ColumnValue, FactColumn, Place, Secret, SettingsError,
    known_columns::{hint, slip},
    merge::Layers,
    reader::Reader,
    setting,
    sources::Sources,
    toml_tree::{Table, nearest},
    value::choice,
};
use crate::model::{ColumnType, DIM_USER, DimensionSpec, ExtraType, FieldPath, SHOP_COLUMN};

/// The least bytes of a key. A shorter one could be guessed from one known value.
const SHORTEST_KEY: usize = 32;

/// The words of `mask`.
const WORDS: [&str; 3] = ["hmac", "domain", "omit"];

/// How the values of a column are masked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, strum::EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum Mask {
    /// The hex of an HMAC-SHA-256: equal values stay equal.
    Hmac,
    /// What follows the last `@`.
    Domain,
    /// No value.
    Omit,
}

/// A column that is masked, wherever it is: in `dim_user`, and among the extra columns of `fact_order`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MaskedColumn {
    /// Its name, in lower case.
    pub name: String,
    /// How its values are masked.
    pub mask: Mask,
    /// Where it is declared.
    place: Place,
}

/// The columns that are masked, and the key.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Masks {
    columns: Vec<MaskedColumn>,
    key: Option<Secret>,
}

impl Masks {
    /// The masks of a text of TOML, for the tests of other rooms.
    #[cfg(test)]
    pub(crate) fn of_toml(text: &str, key: &str) -> Masks {
        let columns = Table::parse("etl.toml", text).and_then(|file| columns(&file, &[])).unwrap_or_default();
        Masks { columns, key: Some(Secret::new(key.to_owned())) }
    }

    /// The columns.
    pub fn columns(&self) -> &[MaskedColumn] {
        &self.columns
    }

    /// Whether no column is masked.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The key of [`Mask::Hmac`].
    pub fn key(&self) -> Option<&Secret> {
        self.key.as_ref()
    }

    /// How a column is masked; `None` if it is not. Names are compared without their case.
    pub fn of(&self, name: &str) -> Option<Mask> {
        self.columns.iter().find(|column| column.name == name.to_lowercase()).map(|column| column.mask)
    }

    /// Fails if a mask needs a key and there is none. Commands that read no source need none.
    ///
    /// # Errors
    /// [`SettingsError::File`], at the first such column.
    pub fn refuse_missing_key(&self) -> Result<(), SettingsError> {
        match self.columns.iter().find(|column| column.mask == Mask::Hmac && self.key.is_none()) {
            Some(column) => Err(column.error(&format!(
                "`hmac` needs a key, and {} is not set: put at least {SHORTEST_KEY} bytes into the environment or .env (`openssl rand -hex 32`)",
                setting::MASK_KEY.variable
            ))),
            None => Ok(()),
        }
    }

    /// Fails if a masked column is none of these.
    ///
    /// # Errors
    /// [`SettingsError::File`], at the first such column.
    pub fn refuse_unknown(&self, known: &[&str]) -> Result<(), SettingsError> {
        let is_known = |column: &MaskedColumn| known.iter().any(|known| known.to_lowercase() == column.name);
        let Some(column) = self.columns.iter().find(|column| !is_known(column)) else { return Ok(()) };
        let meant = nearest(&column.name, known.iter().copied()).map(|known| format!(": did you mean `{known}`?")).unwrap_or_default();
        Err(column.error(&format!("{NOWHERE}{meant}")))
    }
}

impl Masks {
    /// Fails if the name of a masked column is a slip of a known one. Nothing is read for that: other names may be
    /// columns that only the users have.
    pub(super) fn refuse_slips(&self, users: &[String], fact_columns: &[FactColumn]) -> Result<(), SettingsError> {
        let of_facts = fact_columns.iter().map(|column| column.name.to_lowercase());
        let known: Vec<String> = users.iter().cloned().chain(of_facts).collect();
        for column in &self.columns {
            if let Some(meant) = slip(&column.name, &known) {
                return Err(column.error(&format!("{NOWHERE}: {}", hint(&column.name, meant))));
            }
        }
        Ok(())
    }
}

/// What a column is that no table has.
const NOWHERE: &str = "neither dim_user nor the extra columns of fact_order have this column";

/// The fixed columns that may be masked.
pub(super) fn fixed_columns() -> impl Iterator<Item = &'static str> {
    DIM_USER.columns.iter().map(|column| column.name)
}

impl MaskedColumn {
    fn error(&self, detail: &str) -> SettingsError {
        self.place.error(format!("`columns.{}`: {detail}", self.name))
    }
}

/// Reads the masks. A name that may be an extra column of the users is accepted: a run refuses it once it has read them.
pub(super) fn read(layers: &Layers<'_>, sources: &Sources, fact_columns: &[FactColumn]) -> Result<Masks, SettingsError> {
    let masks = Masks { columns: columns(layers.file, fact_columns)?, key: key(layers)? };
    for source in [&sources.orders, &sources.users].into_iter().flatten() {
        let paths = source.profile.fields.get("user_id").map(|rule| rule.paths.as_slice());
        refuse_plain_key(&masks, paths.unwrap_or_default())?;
    }
    if !masks.is_empty() && layers.yes_no(&setting::KEEP_RAW)?.unwrap_or_default() {
        return Err(SettingsError::Conflict(
            "`keep_raw` keeps records as they were delivered, with the values that `[columns]` masks: leave one of them out".to_owned(),
        ));
    }
    Ok(masks)
}

fn key(layers: &Layers<'_>) -> Result<Option<Secret>, SettingsError> {
    match layers.environment.get(setting::MASK_KEY.variable) {
        Some(configured) if configured.value.len() < SHORTEST_KEY => {
            Err(configured.invalid_secret(format!("a key has at least {SHORTEST_KEY} bytes: `openssl rand -hex 32` makes one")))
        }
        configured => Ok(configured.map(|configured| Secret::new(configured.value))),
    }
}

fn columns(file: &Table, fact_columns: &[FactColumn]) -> Result<Vec<MaskedColumn>, SettingsError> {
    let mut columns: Vec<MaskedColumn> = Vec::new();
    let Some(tables) = Reader::new(file, "").inner("columns")? else { return Ok(columns) };
    for (name, node) in tables.table().by_line() {
        let Some(table) = tables.inner(name)? else { continue };
        table.only(&["mask"])?;
        let word = table.needed("mask")?;
        let mask: Mask = word.parse().map_err(|_| table.error("mask", format!("`{word}`: write {}", choice(&WORDS))))?;
        let column = MaskedColumn { name: name.trim().to_lowercase(), mask, place: node.place.clone() };
        if columns.iter().any(|earlier| earlier.name == column.name) {
            return Err(column.error("another table has this column"));
        }
        if let Some(detail) = refusal(&column, fact_columns) {
            return Err(column.error(&detail));
        }
        columns.push(column);
    }
    Ok(columns)
}

/// Why a column can't be masked so; `None` if it can.
fn refusal(column: &MaskedColumn, fact_columns: &[FactColumn]) -> Option<String> {
    let MaskedColumn { name, mask, .. } = column;
    let key = DIM_USER.key();
    if name == key {
        return (*mask != Mask::Hmac).then(|| "facts are joined by this column: only `hmac` keeps the joins".to_owned());
    }
    if DimensionSpec::FLAGS.contains(&name.as_str()) {
        return Some("`etl` sets this column itself: it holds no value of the source".to_owned());
    }
    if let Some(fact) = fact_columns.iter().find(|fact| fact.name.to_lowercase() == *name) {
        if fact.value != ColumnValue::First || fact.name == SHOP_COLUMN {
            return Some("this column of fact_order holds no personal value, and can't be masked".to_owned());
        }
        return (fact.kind != ExtraType::Text && *mask != Mask::Omit)
            .then(|| format!("it is {} in fact_order: only `omit` fits", fact.kind));
    }
    if DIM_USER.columns.iter().filter(|fixed| fixed.name == key).any(|fixed| fixed.from.iter().any(|from| from.eq_ignore_ascii_case(name)))
    {
        return Some(format!("`{key}` may be made of this column: mask `{key}`, which covers both"));
    }
    let is_time = DIM_USER.columns.iter().any(|fixed| fixed.name == name && fixed.kind == ColumnType::Timestamp);
    (is_time && *mask != Mask::Omit).then(|| "it is TIMESTAMP in dim_user: only `omit` fits".to_owned())
}

/// Fails if `user_id` is made of a value that is masked in a column of its own, and is not masked itself.
fn refuse_plain_key(masks: &Masks, paths: &[FieldPath]) -> Result<(), SettingsError> {
    if masks.of(DIM_USER.key()).is_some() {
        return Ok(());
    }
    let is_of = |path: &FieldPath, column: &MaskedColumn| {
        let joined = path.steps().join("_").to_lowercase();
        joined == column.name || path.steps().last().is_some_and(|last| last.to_lowercase() == column.name)
    };
    match masks.columns.iter().find(|column| paths.iter().any(|path| is_of(path, column))) {
        Some(column) => Err(column.error("the profile makes `user_id` of this value: mask `user_id`, too, with `hmac`")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Level, settings::FieldRule};

    fn parse(text: &str) -> Result<Masks, String> {
        let column = |name: &str, kind| FactColumn {
            name: name.to_owned(),
            level: Level::Record,
            rule: FieldRule::default(),
            kind,
            value: ColumnValue::First,
        };
        let extra = [column("Mail", ExtraType::Text), column("born", ExtraType::Date)];
        let file = Table::parse("etl.toml", text).unwrap();
        columns(&file, &extra).map(|columns| Masks { columns, key: None }).map_err(|error| error.to_string())
    }

    #[test]
    fn masks_are_found_by_name_whatever_its_case() {
        let masks = parse("[columns]\nEmail.mask = 'domain'\nuser_id.mask = 'hmac'\n'ship to'.mask = 'omit'\nmail.mask = 'hmac'").unwrap();
        assert_eq!((masks.of("email"), masks.of("EMAIL"), masks.of("ship to")), (Some(Mask::Domain), Some(Mask::Domain), Some(Mask::Omit)));
        assert_eq!((masks.of("Mail"), masks.of("name")), (Some(Mask::Hmac), None));
        assert!(masks.refuse_missing_key().unwrap_err().to_string().starts_with("etl.toml, line 3: `columns.user_id`: `hmac` needs a key"));
        assert!(masks.refuse_unknown(&["user_id", "email", "Mail", "ship to"]).is_ok());
        let error = parse("\n[columns.emial]\nmask = 'omit'").unwrap().refuse_unknown(&["email"]).unwrap_err().to_string();
        assert!(error.starts_with("etl.toml, line 2: `columns.emial`: neither dim_user"), "{error}");
        assert!(error.ends_with("did you mean `email`?"), "{error}");
    }

    #[test]
    fn a_mask_that_can_not_be_is_named_with_its_line() {
        for (text, message) in [
            ("[columns.email]\nmask = 'md5'", "etl.toml, line 2: `columns.email.mask`: `md5`: write hmac, domain or omit"),
            ("[columns.email]\nmsk = 'omit'", "etl.toml, line 2: unknown key `msk`: did you mean `mask`?"),
            ("[columns.email]", "`columns.email.mask`: this key is needed here"),
            ("columns.email = 'hmac'", "`columns.email`: write a table"),
            ("[columns]\nemail.mask = 'omit'\nEMAIL.mask = 'omit'", "another table has this column"),
            ("[columns.user_id]\nmask = 'omit'", "only `hmac` keeps the joins"),
            ("[columns.id]\nmask = 'hmac'", "mask `user_id`"),
            ("[columns.created_at]\nmask = 'hmac'", "only `omit` fits"),
            ("[columns.born]\nmask = 'hmac'", "it is DATE in fact_order"),
            ("[columns.inferred]\nmask = 'omit'", "`etl` sets this column itself"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        let hmac = |text: &str| refuse_plain_key(&parse(text).unwrap(), &["customer.email".parse().unwrap()]).is_ok();
        assert!(!hmac("[columns.email]\nmask = 'hmac'") && !hmac("[columns.customer_email]\nmask = 'omit'"));
        assert!(hmac("[columns.email]\nmask = 'hmac'\n[columns.user_id]\nmask = 'hmac'"));
    }
}
