//! A password by command (`ETL_REDSHIFT_PASSWORD_COMMAND`), such as the vendor's CLI for temporary credentials.

use std::{
    io::Read,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use super::RedshiftError;
use crate::{cancel::Cancel, model::span_text, settings::Secret};

/// The time that the command may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How often the command is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How much of the command's output is read.
const MOST_OUTPUT: u64 = 1 << 20;

/// How much of the command's errors a message shows, in characters.
const SHOWN: usize = 2000;

/// Whom the session is opened for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Login {
    /// The user, where the command names one.
    pub(super) user: Option<String>,
    pub(super) password: Secret,
}

/// Runs the command with `sh -c`. Its output is JSON with a user and a password, as `aws redshift get-cluster-credentials` and
/// `aws redshift-serverless get-credentials` print it; otherwise its first line is the password.
///
/// # Errors
/// A command that fails, is silent, or takes longer than a minute; a signal.
pub(super) fn login(command: &str, cancel: &Cancel) -> Result<Login, RedshiftError> {
    login_within(command, TIMEOUT, cancel)
}

fn login_within(command: &str, timeout: Duration, cancel: &Cancel) -> Result<Login, RedshiftError> {
    let failed = |detail: String| RedshiftError::PasswordCommand(detail);
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: what the shell has started ends with it, and Ctrl-C reaches this process first.
        .process_group(0)
        .spawn()
        .map_err(|error| failed(format!("can't start sh: {error}")))?;
    let (output, errors) = (read(child.stdout.take()), read(child.stderr.take()));
    let status = wait(&mut child, timeout, cancel)?;
    let text = |from: Receiver<Vec<u8>>| String::from_utf8_lossy(&from.recv_timeout(timeout).unwrap_or_default()).into_owned();
    if !status.success() {
        let errors: String = text(errors).trim().chars().take(SHOWN).collect();
        return Err(failed(format!(
            "the command failed ({status}): {}",
            if errors.is_empty() { "it says nothing on stderr" } else { &errors }
        )));
    }
    parse(&text(output)).map_err(|detail| failed(detail.to_owned()))
}

/// Waits for the command, and ends it where it takes too long or a signal comes.
fn wait(child: &mut Child, timeout: Duration, cancel: &Cancel) -> Result<ExitStatus, RedshiftError> {
    let began = Instant::now();
    let error = loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
            Err(error) => break RedshiftError::PasswordCommand(format!("can't wait for the command: {error}")),
        }
        if let Some(stop) = cancel.stopped() {
            break RedshiftError::Interrupted(stop);
        }
        if began.elapsed() >= timeout {
            break RedshiftError::PasswordCommand(format!("the command did not end within {}", span_text(timeout)));
        }
        thread::sleep(POLL);
    };
    // The whole group; then the shell itself, in case there is no `kill`.
    let group = format!("-{}", child.id());
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let _ = child.kill();
    let _ = child.wait();
    Err(error)
}

/// Reads a pipe on a thread of its own: a process that the command left behind may keep it open.
fn read(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(MOST_OUTPUT).read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

fn parse(output: &str) -> Result<Login, &'static str> {
    let output = output.trim();
    let Ok(serde_json::Value::Object(credentials)) = serde_json::from_str(output) else {
        let first = output.lines().next().unwrap_or_default().trim();
        if first.is_empty() {
            return Err("the command prints nothing: its first line is the password");
        }
        return Ok(Login { user: None, password: Secret::new(first.to_owned()) });
    };
    let value = |names: [&str; 3]| {
        let found = credentials.iter().find(|(key, _)| names.iter().any(|name| key.eq_ignore_ascii_case(name)));
        found.and_then(|(_, value)| value.as_str()).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let password = value(["DbPassword", "password", "db_password"]).ok_or("the command prints JSON without a password (`DbPassword`)")?;
    Ok(Login { user: value(["DbUser", "username", "user"]), password: Secret::new(password) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Stop;

    fn tried(command: &str) -> Result<Login, String> {
        login_within(command, Duration::from_secs(20), &Cancel::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_password_is_the_first_line_or_what_the_vendors_json_names() {
        let login = |command: &str| tried(command).map(|login| (login.user, login.password.expose().to_owned()));
        assert_eq!(login("printf 'pass word-4712\\nmore\\n'"), Ok((None, "pass word-4712".into())));
        let user = Some("IAM:loader".to_owned());
        let cluster = r#"echo '{"DbUser": "IAM:loader", "DbPassword": "pa/ss-4713", "Expiration": "2026-01-01T00:00:00Z"}'"#;
        assert_eq!(login(cluster), Ok((user.clone(), "pa/ss-4713".into())));
        let workgroup = r#"printf '{\n"dbUser": "IAM:loader",\n"dbPassword": "pass-4714"}'"#;
        assert_eq!(login(workgroup), Ok((user, "pass-4714".into())));
        assert!(tried("true").unwrap_err().contains("prints nothing"));
        assert!(tried(r#"echo '{"x": 1}'"#).unwrap_err().contains("without a password"));
    }

    #[test]
    fn a_command_that_fails_hangs_or_is_interrupted_ends_and_says_so() {
        let error = tried("echo expired token >&2; exit 3").unwrap_err();
        assert!(error.contains("expired token") && error.contains('3'), "{error}");
        let began = Instant::now();
        let hangs = login_within("sleep 60 | cat", Duration::from_millis(100), &Cancel::default()).unwrap_err();
        assert!(hangs.to_string().contains("within 100ms"), "{hangs}");
        let cancel = Cancel::default();
        cancel.stop(Stop::Terminate);
        let interrupted = login_within("sleep 60", Duration::from_secs(60), &cancel).unwrap_err();
        assert!(matches!(interrupted, RedshiftError::Interrupted(Stop::Terminate)));
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
