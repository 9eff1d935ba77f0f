//! A profile of AWS: `~/.aws/credentials` and `~/.aws/config`
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>). Runs no command and opens no connection.
//!
//! Not supported, and refused by name: `source_profile`, `credential_source`, single sign-on, MFA.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ini::{Ini, ParseOption, Properties};

use super::{Secret, SettingsError};

/// The name of the profile that is used if none is named.
pub(super) const DEFAULT_PROFILE: &str = "default";

/// The two files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ProfileFiles {
    /// `~/.aws/credentials`.
    pub(super) credentials: Option<PathBuf>,
    /// `~/.aws/config`.
    pub(super) config: Option<PathBuf>,
}

/// Access keys of AWS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AwsKeys {
    /// `aws_access_key_id`.
    pub key_id: Secret,
    /// `aws_secret_access_key`.
    pub secret: Secret,
    /// `aws_session_token`, of temporary keys.
    pub token: Option<Secret>,
}

/// A role that is taken with the token of an identity provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebIdentity {
    /// The role.
    pub role_arn: String,
    /// The file that holds the token.
    pub token_file: PathBuf,
    /// The name of the session.
    pub session_name: Option<String>,
}

/// What a profile says about credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ProfileCredentials {
    /// Keys.
    Keys(AwsKeys),
    /// A role with the token of an identity provider.
    WebIdentity(WebIdentity),
    /// A command that prints keys. It may hold a secret.
    Process(Secret),
}

/// A profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct AwsProfile {
    /// `None` if it only has other settings.
    pub(super) credentials: Option<ProfileCredentials>,
    /// `region`.
    pub(super) region: Option<String>,
    /// `endpoint_url`.
    pub(super) endpoint: Option<String>,
}

/// Reads a profile; `None` if neither file has it.
///
/// # Errors
/// [`SettingsError`], which names the file, and the profile if it is of a kind that is not supported.
pub(super) fn read(files: &ProfileFiles, name: &str) -> Result<Option<AwsProfile>, SettingsError> {
    let (credentials, config) = (load(files.credentials.as_deref())?, load(files.config.as_deref())?);
    let sections = [
        section(credentials.as_ref(), name),
        section(config.as_ref(), &format!("profile {name}")),
        // In the configuration file only the default profile may stand without `profile`.
        section(config.as_ref(), name).filter(|_| name == DEFAULT_PROFILE),
    ];
    if sections.iter().all(Option::is_none) {
        return Ok(None);
    }
    let values = Values { name, sections };
    Ok(Some(AwsProfile { credentials: values.credentials()?, region: values.text("region"), endpoint: values.text("endpoint_url") }))
}

fn load(path: Option<&Path>) -> Result<Option<Ini>, SettingsError> {
    let Some(path) = path else { return Ok(None) };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(source) => return Err(SettingsError::Unreadable { path: path.to_owned(), source }),
    };
    // Secrets may have quotes and backslashes. Indented lines are settings of one service, and none of ours.
    let options = ParseOption {
        enabled_quote: false,
        enabled_escape: false,
        enabled_indented_mutiline_value: true,
        enabled_preserve_key_leading_whitespace: false,
    };
    let parsed = Ini::load_from_str_opt(text.trim_start_matches('\u{feff}'), options);
    // The error of the parser may show a line, which may be secret: only its number is shown.
    parsed.map(Some).map_err(|error| SettingsError::Conflict(format!("{}, line {}: can't be read", path.display(), error.line)))
}

fn section<'i>(file: Option<&'i Ini>, name: &str) -> Option<&'i Properties> {
    let matches = |section: Option<&str>| section.is_some_and(|section| section.split_whitespace().eq(name.split_whitespace()));
    file?.iter().find(|(section, _)| matches(*section)).map(|(_, properties)| properties)
}

/// The settings of one profile, of the section that counts first.
struct Values<'i> {
    name: &'i str,
    sections: [Option<&'i Properties>; 3],
}

impl Values<'_> {
    fn text(&self, key: &str) -> Option<String> {
        let found = self.sections.iter().flatten().find_map(|section| section.get(key));
        found.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    fn secret(&self, key: &str) -> Option<Secret> {
        self.text(key).map(Secret::new)
    }

    fn refused(&self, detail: &str) -> SettingsError {
        SettingsError::Conflict(format!("the AWS profile `{}`: {detail}", self.name))
    }

    fn credentials(&self) -> Result<Option<ProfileCredentials>, SettingsError> {
        if let Some(keys) = self.keys()? {
            return Ok(Some(ProfileCredentials::Keys(keys)));
        }
        if let Some(web_identity) = self.web_identity()? {
            return Ok(Some(ProfileCredentials::WebIdentity(web_identity)));
        }
        if let Some(command) = self.secret("credential_process") {
            return Ok(Some(ProfileCredentials::Process(command)));
        }
        if self.text("sso_session").or_else(|| self.text("sso_start_url")).is_some() {
            let name = self.name;
            return Err(self.refused(&format!(
                "single sign-on is not supported: add a profile with `credential_process = aws configure export-credentials --profile {name}`"
            )));
        }
        Ok(None)
    }

    fn keys(&self) -> Result<Option<AwsKeys>, SettingsError> {
        // Keys and token come from one section: those of two files do not go together.
        let section = self.sections.iter().flatten().find(|section| section.contains_key("aws_access_key_id"));
        let Some(section) = section else { return Ok(None) };
        let text = |key: &str| section.get(key).map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned);
        let (Some(key_id), Some(secret)) = (text("aws_access_key_id"), text("aws_secret_access_key")) else {
            return Err(self.refused("it needs both aws_access_key_id and aws_secret_access_key"));
        };
        let token = text("aws_session_token").map(Secret::new);
        Ok(Some(AwsKeys { key_id: Secret::user_name(key_id), secret: Secret::new(secret), token }))
    }

    fn web_identity(&self) -> Result<Option<WebIdentity>, SettingsError> {
        let Some(role_arn) = self.text("role_arn") else { return Ok(None) };
        for key in ["source_profile", "credential_source"] {
            if self.text(key).is_some() {
                return Err(self.refused(&format!(
                    "`{key}` is not supported: use `web_identity_token_file`, or `credential_process` with a command that takes the role"
                )));
            }
        }
        let token_file = self.text("web_identity_token_file");
        let token_file = token_file.ok_or_else(|| self.refused("`role_arn` needs `web_identity_token_file`"))?;
        Ok(Some(WebIdentity { role_arn, token_file: token_file.into(), session_name: self.text("role_session_name") }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(credentials: &str, config: &str, name: &str) -> Result<Option<AwsProfile>, String> {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            fs::write(&path, text).unwrap();
            Some(path)
        };
        let files = ProfileFiles { credentials: write("credentials", credentials), config: write("config", config) };
        read(&files, name).map_err(|error| error.to_string())
    }

    fn keys(profile: AwsProfile) -> (String, String, Option<String>) {
        match profile.credentials {
            Some(ProfileCredentials::Keys(AwsKeys { key_id, secret, token })) => {
                (key_id.expose().into(), secret.expose().into(), token.map(|token| token.expose().into()))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_are_read_whatever_characters_they_have() {
        let text = "# a comment\n[other]\naws_access_key_id=AKIDOTHER\naws_secret_access_key=other\n\n[default]\naws_access_key_id = AKID\naws_secret_access_key = ab+/#c\\n;d\"e'=f\r\naws_session_token=t==\n";
        let config =
            "[default]\nregion = eu-west-1\ns3 =\n  addressing_style = path\n  region = wrong\nendpoint_url = http://127.0.0.1:9000\n";
        let read = profile(text, config, DEFAULT_PROFILE).unwrap().unwrap();
        assert_eq!((read.region.as_deref(), read.endpoint.as_deref()), (Some("eu-west-1"), Some("http://127.0.0.1:9000")));
        assert_eq!(keys(read), ("AKID".into(), "ab+/#c\\n;d\"e'=f".into(), Some("t==".into())));
    }

    #[test]
    fn a_profile_has_its_own_sections() {
        let config = "[profile lake]\nregion = eu-north-1\n[lake]\nregion = wrong\n[default]\nregion = us-west-2\n";
        let read = profile("[lake]\naws_access_key_id=A1\naws_secret_access_key=s\n", config, "lake").unwrap().unwrap();
        assert_eq!(read.region.as_deref(), Some("eu-north-1"));
        assert_eq!(keys(read).0, "A1");
        let default = profile("", config, DEFAULT_PROFILE).unwrap().unwrap();
        assert_eq!((default.region.as_deref(), default.credentials), (Some("us-west-2"), None));
        assert_eq!(profile("", config, "missing").unwrap(), None);
        assert_eq!(read_missing(), None);
    }

    fn read_missing() -> Option<AwsProfile> {
        let none = ProfileFiles { credentials: Some("/nonexistent/credentials".into()), config: None };
        read(&none, DEFAULT_PROFILE).unwrap()
    }

    #[test]
    fn roles_and_commands_are_read() {
        let config = "[default]\nrole_arn = arn:aws:iam::1:role/x\nweb_identity_token_file = /run/token\nrole_session_name = etl\n[profile p]\ncredential_process = /bin/get \"a b\" --x\n";
        let role = profile("", config, DEFAULT_PROFILE).unwrap().unwrap().credentials;
        let expected =
            WebIdentity { role_arn: "arn:aws:iam::1:role/x".into(), token_file: "/run/token".into(), session_name: Some("etl".into()) };
        assert_eq!(role, Some(ProfileCredentials::WebIdentity(expected)));
        match profile("", config, "p").unwrap().unwrap().credentials {
            Some(ProfileCredentials::Process(command)) => assert_eq!(command.expose(), "/bin/get \"a b\" --x"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (section, named) in [
            ("role_arn = r\nsource_profile = base", "`source_profile` is not supported"),
            ("role_arn = r\ncredential_source = Ec2InstanceMetadata", "`credential_source` is not supported"),
            ("role_arn = r", "`role_arn` needs `web_identity_token_file`"),
            ("sso_session = s", "single sign-on is not supported"),
            ("aws_access_key_id = A", "it needs both"),
        ] {
            let error = profile("", &format!("[profile p]\n{section}\n"), "p").unwrap_err();
            assert!(error.starts_with("the AWS profile `p`: ") && error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_valid_is_named_without_its_content() {
        let error = profile("[default]\nhush-hush\n", "", DEFAULT_PROFILE).unwrap_err();
        assert!(error.contains("credentials, line ") && !error.contains("hush"), "{error}");
    }
}
