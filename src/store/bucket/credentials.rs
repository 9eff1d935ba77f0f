//! Credentials that `object_store` can't get by itself, and the error that says how credentials are given.

use std::{
    fmt, io,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use object_store::{CredentialProvider, Error, Result, aws::AwsCredential};
use serde::Deserialize;

use super::failure::{CREDENTIALS, own_words};
use crate::{net::redact, settings::Secret};

/// Keys are got again this long before they end.
const BEFORE_END: Duration = Duration::from_secs(300);

/// The time for a command that prints keys.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// The ways to give credentials, for a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    Aws,
    Google,
    Azure,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Told::Aws => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE, \
                 or give the container or the instance a role, or set storage.anonymous = true for a public bucket"
            }
            Told::Google => {
                "set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT to a file, or run `gcloud auth application-default login`, \
                 or give the machine a service account, or set storage.anonymous = true for a public bucket"
            }
            Told::Azure => {
                "set AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, \
                 or give the machine a managed identity, or set storage.anonymous = true for a public container"
            }
        })
    }
}

/// Credentials of the vendor's services. An error says how else they can be given.
#[derive(Debug)]
pub(super) struct Named<C> {
    pub(super) inner: Arc<dyn CredentialProvider<Credential = C>>,
    pub(super) told: Told,
}

impl<C: Send + Sync + fmt::Debug + 'static> CredentialProvider for Named<C> {
    type Credential = C;

    fn get_credential<'s, 'f>(&'s self) -> BoxFuture<'f, Result<Arc<C>>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async {
            self.inner.get_credential().await.map_err(|error| {
                let text = format!("no credentials were got: {}; {}", own_words(&error), self.told);
                Error::Generic { store: CREDENTIALS, source: text.into() }
            })
        })
    }
}

/// The answer of a `credential_process`
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<DateTime<Utc>>,
}

/// Keys that a command prints.
struct Kept {
    credential: Arc<AwsCredential>,
    /// `None` if they never end.
    end: Option<SystemTime>,
}

/// Keys that a command of a profile prints, kept until shortly before they end.
pub(super) struct ProcessCredentials {
    command: Secret,
    profile: String,
    kept: Mutex<Option<Kept>>,
    /// So that the command runs once at a time.
    running: tokio::sync::Mutex<()>,
}

impl fmt::Debug for ProcessCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessCredentials").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl ProcessCredentials {
    pub(super) fn new(command: Secret, profile: String) -> ProcessCredentials {
        ProcessCredentials { command, profile, kept: Mutex::default(), running: tokio::sync::Mutex::default() }
    }

    fn kept(&self) -> Option<Arc<AwsCredential>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let soon = SystemTime::now() + BEFORE_END;
        kept.as_ref().filter(|kept| kept.end.is_none_or(|end| end > soon)).map(|kept| kept.credential.clone())
    }

    async fn get(&self) -> Result<Arc<AwsCredential>> {
        if let Some(credential) = self.kept() {
            return Ok(credential);
        }
        let _one_at_a_time = self.running.lock().await;
        if let Some(credential) = self.kept() {
            return Ok(credential);
        }
        let failed = |detail: String| {
            let text = format!("`credential_process` of the AWS profile `{}`: {detail}", self.profile);
            Error::Generic { store: CREDENTIALS, source: text.into() }
        };
        let command = self.command.clone();
        let run = tokio::task::spawn_blocking(move || run(&command));
        let ran = tokio::time::timeout(COMMAND_TIMEOUT, run).await;
        let ran = ran.map_err(|_| failed(format!("the command does not end within {COMMAND_TIMEOUT:?}")))?;
        let kept = ran.map_err(|error| failed(error.to_string()))?.and_then(|output| printed(&output)).map_err(failed)?;
        let credential = kept.credential.clone();
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(credential)
    }
}

impl CredentialProvider for ProcessCredentials {
    type Credential = AwsCredential;

    fn get_credential<'s, 'f>(&'s self) -> BoxFuture<'f, Result<Arc<AwsCredential>>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(self.get())
    }
}

/// What the command prints on stdout.
fn run(command: &Secret) -> std::result::Result<Vec<u8>, String> {
    let started = Command::new("sh").arg("-c").arg(command.expose()).stdin(Stdio::null()).output();
    let output = started.map_err(|error: io::Error| format!("the command can't be started: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    // Its stdout may hold keys.
    Err(format!("the command failed ({}): {}", output.status, redact::beginning(&output.stderr)))
}

fn printed(output: &[u8]) -> std::result::Result<Kept, String> {
    // The error of the parser says where, and shows nothing of the answer.
    let printed: Printed = serde_json::from_slice(output).map_err(|error| {
        format!(
            "the command prints no valid JSON with Version, AccessKeyId and SecretAccessKey (line {}, column {})",
            error.line(),
            error.column()
        )
    })?;
    if printed.version != 1 {
        return Err(format!("version {} of its answer is not known: only 1 is", printed.version));
    }
    let end = printed.expiration.map(SystemTime::from);
    if end.is_some_and(|end| end <= SystemTime::now()) {
        return Err("the keys that the command prints have already ended".to_owned());
    }
    // Registered, so that no message shows them.
    let (key_id, secret) = (Secret::user_name(printed.access_key_id), Secret::new(printed.secret_access_key));
    let token = printed.session_token.map(Secret::new);
    let credential = AwsCredential {
        key_id: key_id.expose().to_owned(),
        secret_key: secret.expose().to_owned(),
        token: token.map(|token| token.expose().to_owned()),
    };
    Ok(Kept { credential: Arc::new(credential), end })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(command: &str) -> std::result::Result<AwsCredential, String> {
        let provider = ProcessCredentials::new(Secret::new(command.to_owned()), "lake".to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let got = runtime.block_on(provider.get_credential()).map_err(|error| own_words(&error));
        got.map(|credential| AwsCredential {
            key_id: credential.key_id.clone(),
            secret_key: credential.secret_key.clone(),
            token: credential.token.clone(),
        })
    }

    #[test]
    fn a_command_prints_keys() {
        let got = get(r#"echo '{"Version":1,"AccessKeyId":"AKIDPROCESS","SecretAccessKey":"hush-process","SessionToken":"hush-token","Expiration":"2999-01-01T00:00:00Z"}'"#).unwrap();
        assert_eq!(
            (got.key_id.as_str(), got.secret_key.as_str(), got.token.as_deref()),
            ("AKIDPROCESS", "hush-process", Some("hush-token"))
        );
        assert!(crate::settings::secret::registered().contains(&"hush-process".to_owned()));
    }

    #[test]
    fn keys_are_kept_until_shortly_before_they_end() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let command = |end: &str| {
            format!(r#"echo x >> {}; echo '{{"Version":1,"AccessKeyId":"A","SecretAccessKey":"b","Expiration":"{end}"}}'"#, count.display())
        };
        let runs = |end: String| {
            let _ = std::fs::remove_file(&count);
            let provider = ProcessCredentials::new(Secret::new(command(&end)), "p".to_owned());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            for _ in 0..3 {
                runtime.block_on(provider.get_credential()).unwrap();
            }
            std::fs::read_to_string(&count).unwrap().lines().count()
        };
        assert_eq!(runs("2999-01-01T00:00:00Z".into()), 1);
        assert_eq!(runs((Utc::now() + Duration::from_secs(60)).to_rfc3339()), 3);
    }

    #[test]
    fn an_error_shows_stderr_and_no_answer() {
        let error = get("echo hush-answer; echo no session >&2; exit 3").unwrap_err();
        assert!(error.contains("AWS profile `lake`") && error.contains("no session") && !error.contains("hush"), "{error}");
        for (command, detail) in [
            ("echo '{\"hush\":1}'", "prints no valid JSON"),
            ("echo '{\"Version\":2,\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"b\"}'", "version 2"),
            (
                "echo '{\"Version\":1,\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"b\",\"Expiration\":\"2000-01-01T00:00:00Z\"}'",
                "already ended",
            ),
        ] {
            let error = get(command).unwrap_err();
            assert!(error.contains(detail) && !error.contains("hush"), "{error}");
        }
    }
}
