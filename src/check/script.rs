//! The SQL of all checks, to be read or tried by hand. Runs nothing.

use serde::Serialize;

use super::{BUILTIN, CheckBody, CheckError, CustomCheck, LayerView, Severity, UNIT_SLIP, column_check, layer_tables::table_columns};

/// A check and its SQL.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CheckScript {
    /// Its name.
    pub name: String,
    /// What a violation means.
    pub severity: Severity,
    /// `built-in`, or the file of the check.
    pub origin: String,
    /// Its query; `None` for a check that is not a query.
    pub sql: Option<String>,
}

/// The SQL of all checks, in the order in which results are listed.
///
/// # Errors
/// [`CheckError`]: a declared check that the columns of the layer do not allow.
pub fn check_scripts(view: &LayerView, custom: &[CustomCheck]) -> Result<Vec<CheckScript>, CheckError> {
    let builtin = BUILTIN.iter().map(|check| CheckScript {
        name: check.name.to_owned(),
        severity: check.severity_in(view),
        origin: "built-in".to_owned(),
        sql: check.sql().map(|sql| sql.trim_end().to_owned()),
    });
    let mut scripts: Vec<_> = builtin.collect();
    scripts.push(CheckScript { name: UNIT_SLIP.to_owned(), severity: Severity::Error, origin: "built-in".to_owned(), sql: None });
    for check in custom {
        scripts.push(CheckScript {
            name: check.name.clone(),
            severity: check.severity,
            origin: check.origin(),
            sql: Some(custom_sql(view, check)?),
        });
    }
    Ok(scripts)
}

/// The query of a user's own check over this layer.
pub(super) fn custom_sql(view: &LayerView, check: &CustomCheck) -> Result<String, CheckError> {
    match &check.body {
        CheckBody::Query { query, .. } => Ok(query.bound(view.window)),
        CheckBody::Column(declared) => column_check::compile(check, declared, &table_columns(view, declared.table)?),
    }
}
