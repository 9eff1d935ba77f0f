//! Where OpenLineage events go: `[lineage]` in `etl.toml`, and the variables of OpenLineage's own clients
//! (<https://openlineage.io/docs/client/python>). Sends nothing.

use std::{path::PathBuf, time::Duration};

use reqwest::Url;

use super::{ConfiguredValue, Secret, SettingsError, is_loopback, joined, merge::Layers, setting};

/// The time for one event by default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the events of runs go, and what they name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineageSettings {
    /// Who receives them over HTTP.
    pub receiver: Option<LineageReceiver>,
    /// The file that they are appended to.
    pub file: Option<PathBuf>,
    /// The namespace of the job.
    pub namespace: String,
    /// The name of the job; `None`: it is made of the profile or the shop.
    pub job: Option<String>,
    /// The time to send one event, with all its attempts.
    pub timeout: Duration,
    /// The run that this one is a part of.
    pub parent: Option<ParentRun>,
    /// Values that are not valid, each with its variable. Events go without what they concern.
    pub problems: Vec<String>,
}

/// A server that takes events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineageReceiver {
    /// Where events are posted to.
    pub url: Url,
    /// The bearer token.
    pub key: Option<Secret>,
}

/// The run that this one is a part of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParentRun {
    /// The run itself.
    pub run: ForeignRun,
    /// The run at the top of all; the parent itself where nothing else says so.
    pub root: ForeignRun,
}

/// A run of another tool, as OpenLineage names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignRun {
    /// The namespace of its job.
    pub namespace: String,
    /// The name of its job.
    pub job: String,
    /// Its id, a UUID.
    pub run_id: String,
}

impl ForeignRun {
    /// The run of `namespace/job/run id`; `None` if the text is not of that form. A namespace may hold slashes.
    fn parse(text: &str) -> Option<ForeignRun> {
        let mut parts = text.trim().rsplitn(3, '/');
        let (run_id, job, namespace) = (parts.next()?, parts.next()?, parts.next()?);
        let is_named = !job.is_empty() && !namespace.is_empty() && is_uuid(run_id);
        is_named.then(|| ForeignRun { namespace: namespace.to_owned(), job: job.to_owned(), run_id: run_id.to_ascii_lowercase() })
    }
}

/// Whether a text is a UUID with its dashes.
fn is_uuid(text: &str) -> bool {
    let is_expected = |(place, byte): (usize, u8)| match place {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(is_expected)
}

/// Reads `[lineage]` and the variables; `None` if events go nowhere.
pub(super) fn read(layers: &Layers<'_>) -> Result<Option<LineageSettings>, SettingsError> {
    if layers.yes_no(&setting::LINEAGE_DISABLED)?.unwrap_or_default() {
        return Ok(None);
    }
    let text = |setting| Ok::<_, SettingsError>(layers.text(setting)?.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()));
    let receiver = receiver(layers)?;
    let file = layers.get(&setting::LINEAGE_FILE)?.map(|configured| layers.path(&configured));
    let timeout = layers.span(&setting::LINEAGE_TIMEOUT)?.unwrap_or(DEFAULT_TIMEOUT);
    if receiver.is_none() && file.is_none() {
        return Ok(None);
    }
    let mut problems = Vec::new();
    let parent = parent(layers, &mut problems)?;
    Ok(Some(LineageSettings {
        receiver,
        file,
        namespace: text(&setting::LINEAGE_NAMESPACE)?.unwrap_or_else(|| setting::LINEAGE_NAMESPACE.default.to_owned()),
        job: text(&setting::LINEAGE_JOB)?,
        timeout,
        parent,
        problems,
    }))
}

fn receiver(layers: &Layers<'_>) -> Result<Option<LineageReceiver>, SettingsError> {
    let key = layers.environment.secret(setting::LINEAGE_API_KEY.variable);
    let endpoint = layers.text(&setting::LINEAGE_ENDPOINT)?.unwrap_or_else(|| setting::LINEAGE_ENDPOINT.default.to_owned());
    let Some(configured) = layers.get(&setting::LINEAGE_URL)? else { return Ok(None) };
    let url = joined(&url(&configured)?, endpoint.trim());
    let allows_plain = layers.yes_no(&setting::ALLOW_PLAIN)?.unwrap_or_default();
    if key.is_some() && url.scheme() == "http" && !is_loopback(&url) && !allows_plain {
        let key = setting::LINEAGE_API_KEY.variable;
        return Err(configured.invalid_secret(format!(
            "{key} would go over plain http to another machine: write https, or allow it by `http.allow_plain = true`"
        )));
    }
    Ok(Some(LineageReceiver { url, key }))
}

/// The URL of a receiver. An error does not show what may be a credential.
fn url(configured: &ConfiguredValue) -> Result<Url, SettingsError> {
    let text = configured.value.trim();
    if text.contains(['@', '?']) {
        let _ = Secret::new(text.to_owned());
    }
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| configured.invalid_secret("not an http(s) URL"))?;
    if url.username().is_empty() && url.password().is_none() {
        return Ok(url);
    }
    let key = setting::LINEAGE_API_KEY.variable;
    Err(configured.invalid_secret(format!("credentials do not belong in a URL: set {key} in the environment or .env")))
}

/// The run that this one is a part of. What is no run is a problem, and no error: lineage never changes how a run ends.
fn parent(layers: &Layers<'_>, problems: &mut Vec<String>) -> Result<Option<ParentRun>, SettingsError> {
    let mut foreign = |setting| {
        let Some(configured) = layers.get(setting)? else { return Ok::<_, SettingsError>(None) };
        let run = ForeignRun::parse(&configured.value);
        if run.is_none() {
            problems.push(format!("{}: write namespace/job/UUID of the run", configured.origin));
        }
        Ok(run)
    };
    let (run, root) = (foreign(&setting::LINEAGE_PARENT)?, foreign(&setting::LINEAGE_ROOT)?);
    Ok(run.map(|run| ParentRun { root: root.unwrap_or_else(|| run.clone()), run }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Environment, Flags, file};

    const UUID: &str = "0198c5a2-7b6e-8a3f-9c2d-1f2e3d4c5b6a";

    fn settings(toml: &str, process: &[(&str, &str)]) -> Result<Option<LineageSettings>, SettingsError> {
        let (environment, file) = (Environment::of(process, &[]), file::parse("etl.toml", toml).unwrap());
        read(&Layers::new(&Flags::default(), &environment, &file))
    }

    fn on(toml: &str, process: &[(&str, &str)]) -> LineageSettings {
        settings(toml, process).unwrap().unwrap()
    }

    #[test]
    fn events_go_nowhere_without_a_receiver_or_where_they_are_disabled() {
        assert_eq!(settings("[lineage]\nnamespace = 'n'\n", &[("OPENLINEAGE_API_KEY", "hush-hush")]).unwrap(), None);
        assert_eq!(settings("[lineage]\nfile = 'e'\n", &[("OPENLINEAGE_DISABLED", "True")]).unwrap(), None);
        assert!(on("[lineage]\nfile = 'e'\n", &[("OPENLINEAGE_DISABLED", "false")]).receiver.is_none());
    }

    #[test]
    fn variables_beat_the_file_and_the_endpoint_stands_beneath_the_url() {
        let url = |toml: &str, process: &[(&str, &str)]| on(toml, process).receiver.unwrap().url.to_string();
        let toml = "[lineage]\nurl = 'http://h:5000/base/'\nnamespace = 'n'\n";
        assert_eq!(url(toml, &[]), "http://h:5000/base/api/v1/lineage");
        assert_eq!(url(toml, &[("OPENLINEAGE_URL", "https://o"), ("OPENLINEAGE_ENDPOINT", "/v2/events")]), "https://o/v2/events");
        let own = [("OPENLINEAGE_URL", "https://o"), ("OPENLINEAGE_NAMESPACE", "m"), ("OPENLINEAGE_API_KEY", "hush-hush")];
        let both = on(toml, &own);
        assert_eq!((both.namespace.as_str(), both.receiver.unwrap().key.unwrap().expose()), ("m", "hush-hush"));
        assert_eq!(on("[lineage]\nfile = 'e'\n", &[]).namespace, "orders-etl");
    }

    #[test]
    fn a_key_goes_over_plain_http_to_this_machine_only_unless_that_is_allowed() {
        let key = ("OPENLINEAGE_API_KEY", "hush-hush");
        for (toml, url, is_accepted) in [
            ("", "https://h", true),
            ("", "http://localhost:5000", true),
            ("", "http://h:5000", false),
            ("http.allow_plain = true\n", "http://h:5000", true),
        ] {
            assert_eq!(settings(toml, &[key, ("OPENLINEAGE_URL", url)]).is_ok(), is_accepted, "{url}");
        }
        assert!(settings("", &[("OPENLINEAGE_URL", "http://h:5000")]).is_ok(), "without a key");
    }

    #[test]
    fn a_url_that_is_none_or_has_credentials_is_refused_unseen() {
        for url in ["ftp://hush-hush", "h:5000", "https://user:hush-hush@h"] {
            let error = settings("", &[("OPENLINEAGE_URL", url)]).unwrap_err().to_string();
            assert!(error.contains("OPENLINEAGE_URL") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_parent_is_its_own_root_and_what_is_no_run_is_a_problem() {
        let parent = |id: &str, root: &str| {
            let variables = [("ETL_LINEAGE_FILE", "e"), ("OPENLINEAGE_PARENT_ID", id), ("OPENLINEAGE_ROOT_PARENT_ID", root)];
            let found = on("", &variables);
            (found.parent.map(|parent| (parent.run.namespace, parent.run.job, parent.root.job)), found.problems.len())
        };
        let run = |job: &str| format!("air/flow/{job}/{UUID}");
        let texts = |job: &str, root: &str| Some(("air/flow".to_owned(), job.to_owned(), root.to_owned()));
        assert_eq!(parent(&run("dag.task"), ""), (texts("dag.task", "dag.task"), 0));
        assert_eq!(parent(&run("dag.task"), &run("dag")), (texts("dag.task", "dag"), 0));
        let short = "n/dag.task/manual__2026".to_owned();
        for id in ["dag.task".to_owned(), format!("dag.task/{UUID}"), short, format!("//{UUID}")] {
            assert_eq!(parent(&id, ""), (None, 1), "{id}");
        }
    }
}
