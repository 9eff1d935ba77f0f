//! How a bucket is reached: `[storage]`, and the variables that the vendors' own tools read. Opens no connection.
//!
//! The settings of this tool beat the variables of a vendor, because those are about the machine and not about this bucket:
//! a container in one region may write to a bucket in another. Credentials never stand in `etl.toml`.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::Url;

use super::{
    ConfiguredValue, Environment, HttpSettings, NetworkSettings, Secret, Setting, SettingsError,
    aws_profile::{self, AwsKeys, AwsProfile, DEFAULT_PROFILE, ProfileCredentials, ProfileFiles, WebIdentity},
    bucket_url::{BucketScheme, BucketUrl},
    is_loopback,
    merge::Layers,
    setting,
};

/// The variables that are read, beside those of [`super::SETTINGS`].
pub(super) const VARIABLES: [&str; 37] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "STORAGE_EMULATOR_HOST",
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_STORAGE_USE_EMULATOR",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
];

/// The account of the emulator of Azure.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";

/// How a bucket is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageSettings {
    /// The bucket and the prefix.
    pub location: BucketUrl,
    /// The server, if it is not that of the vendor.
    pub endpoint: Option<Url>,
    /// The region of the bucket.
    pub region: Option<String>,
    /// Whether the bucket stands in the path of a URL, and not in the name of the host.
    pub path_style: bool,
    /// How objects are encrypted. `None` leaves it to the bucket.
    pub encryption: Option<Encryption>,
    /// Who asks.
    pub credentials: StorageCredentials,
    /// The size of a part of a large object.
    pub part_size: u64,
    /// The time to open a connection.
    pub connect_timeout: Duration,
    /// The time without an answer. A request with a large body gets more.
    pub request_timeout: Duration,
    /// The time after which a request is not repeated.
    pub retry_timeout: Duration,
    /// How often a request is repeated.
    pub max_retries: usize,
    /// The longest first wait between attempts; it doubles from there.
    pub backoff_first: Duration,
    /// The longest wait between attempts.
    pub backoff_cap: Duration,
    /// Proxies, trusted authorities, a client certificate.
    pub network: NetworkSettings,
}

/// How the store encrypts objects. Only S3 is told so with each object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Encryption {
    /// With keys of S3.
    Aes256,
    /// With a key of KMS.
    Kms {
        /// The key, if it is not the default one.
        key_id: Option<String>,
    },
}

/// Who asks, with where that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StorageCredentials {
    /// Nobody: requests are not signed.
    Anonymous,
    /// Credentials of AWS.
    Aws(AwsCredentials),
    /// Credentials of Google.
    Google(GoogleCredentials),
    /// Credentials of Azure.
    Azure(AzureCredentials),
}

/// Credentials of AWS, in the order in which they are looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AwsCredentials {
    /// Keys.
    Keys {
        /// The keys.
        keys: AwsKeys,
        /// Where they stand: `AWS_ACCESS_KEY_ID` or a profile.
        origin: String,
    },
    /// A role, taken with the token of an identity provider.
    WebIdentity {
        /// The role and the token.
        identity: WebIdentity,
        /// The service that exchanges the token, if it is not that of the region.
        sts_endpoint: Option<String>,
    },
    /// A shell command of a profile that prints keys as JSON.
    Process {
        /// The command.
        command: Secret,
        /// The profile.
        profile: String,
    },
    /// The role of a task of ECS: a path on its metadata service.
    Task(String),
    /// The identity of a pod of EKS.
    Pod {
        /// The URL of the agent.
        url: String,
        /// The file that holds the token for it.
        token_file: String,
    },
    /// The role of the instance.
    Instance {
        /// The metadata service, if it is not the usual one.
        endpoint: Option<String>,
    },
    /// None were found, and the metadata service must not be asked.
    Missing,
}

/// Credentials of Google.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GoogleCredentials {
    /// The file of a service account.
    ServiceAccount(PathBuf),
    /// The JSON of a service account.
    ServiceAccountKey(Secret),
    /// A file of application default credentials.
    ApplicationDefault(PathBuf),
    /// The file that `gcloud auth application-default login` writes, or else the metadata service.
    Discover,
}

/// Credentials of Azure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AzureCredentials {
    /// The storage account.
    pub account: String,
    /// Who asks.
    pub identity: AzureIdentity,
    /// The authority that issues tokens, if it is not the public one.
    pub authority_host: Option<String>,
}

/// Who asks Azure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AzureIdentity {
    /// Nobody: requests are not signed.
    Anonymous,
    /// The emulator, which has an account of its own.
    Emulator,
    /// The key of the account.
    AccountKey(Secret),
    /// A shared access signature.
    SharedAccess(Secret),
    /// A service principal with a secret.
    ClientSecret {
        /// The directory.
        tenant: String,
        /// The application.
        client: String,
        /// Its secret.
        secret: Secret,
    },
    /// A workload identity of Kubernetes.
    Federated {
        /// The directory.
        tenant: String,
        /// The application.
        client: String,
        /// The file that holds the token.
        token_file: String,
    },
    /// The managed identity of the machine.
    Managed {
        /// The identity, if the machine has several.
        client: Option<String>,
    },
}

/// The keys of `[storage]`, and the same as variables.
#[derive(Clone, PartialEq, Eq, Debug)]
struct StorageTable {
    endpoint: Option<ConfiguredValue>,
    region: Option<String>,
    path_style: Option<bool>,
    encryption: Option<Encryption>,
    anonymous: bool,
    part_size: u64,
    connect_timeout: Duration,
    request_timeout: Duration,
    retry_timeout: Duration,
}

/// Reads `[storage]`, and how the bucket is reached if the output is one.
///
/// # Errors
/// [`SettingsError`], which names the place to correct.
pub(super) fn read(
    layers: &Layers<'_>,
    location: Option<BucketUrl>,
    http: &HttpSettings,
) -> Result<Option<StorageSettings>, SettingsError> {
    let table = table(layers)?;
    let Some(location) = location else { return Ok(None) };
    let home = env::home_dir();
    resolve(layers.environment, table, location, http, home.as_deref()).map(Some)
}

fn table(layers: &Layers<'_>) -> Result<StorageTable, SettingsError> {
    let span = |setting: &Setting, default: Duration| Ok::<_, SettingsError>(layers.span(setting)?.unwrap_or(default));
    let part_size = layers.get(&setting::STORAGE_PART_SIZE)?;
    Ok(StorageTable {
        endpoint: layers.get(&setting::STORAGE_ENDPOINT)?,
        region: layers.text(&setting::STORAGE_REGION)?,
        path_style: layers.yes_no(&setting::STORAGE_PATH_STYLE)?,
        encryption: encryption(layers)?,
        anonymous: layers.yes_no(&setting::STORAGE_ANONYMOUS)?.unwrap_or_default(),
        part_size: part_size.map(|configured| configured.size(setting::STORAGE_PART_SIZE.form)).transpose()?.unwrap_or(16 << 20),
        connect_timeout: span(&setting::STORAGE_CONNECT_TIMEOUT, Duration::from_secs(5))?,
        request_timeout: span(&setting::STORAGE_REQUEST_TIMEOUT, Duration::from_secs(60))?,
        retry_timeout: span(&setting::STORAGE_RETRY_TIMEOUT, Duration::from_secs(120))?,
    })
}

fn encryption(layers: &Layers<'_>) -> Result<Option<Encryption>, SettingsError> {
    let word = layers.get(&setting::STORAGE_ENCRYPTION)?;
    let word = word.map(|configured| configured.word(setting::STORAGE_ENCRYPTION.form)).transpose()?;
    let key_id = layers.get(&setting::STORAGE_KMS_KEY_ID)?;
    match (word, key_id) {
        (Some("aws:kms"), key_id) => Ok(Some(Encryption::Kms { key_id: key_id.map(|configured| configured.value) })),
        (_, Some(key_id)) => Err(key_id.invalid("a key of KMS needs `storage.encryption = \"aws:kms\"`")),
        (Some("AES256"), None) => Ok(Some(Encryption::Aes256)),
        (_, None) => Ok(None),
    }
}

fn resolve(
    environment: &Environment,
    table: StorageTable,
    location: BucketUrl,
    http: &HttpSettings,
    home: Option<&Path>,
) -> Result<StorageSettings, SettingsError> {
    if table.encryption.is_some() && location.scheme != BucketScheme::S3 {
        return Err(SettingsError::Conflict(format!("`storage.encryption` is for s3:// only: {location} is encrypted as the bucket says")));
    }
    let own_endpoint = table.endpoint.as_ref().map(endpoint).transpose()?;
    let (found_endpoint, region, credentials) = match location.scheme {
        BucketScheme::S3 => of_aws(environment, &table, home)?,
        BucketScheme::Gs => of_google(environment, &table)?,
        BucketScheme::Az => of_azure(environment, &table)?,
    };
    let endpoint = own_endpoint.or(found_endpoint);
    refuse_plain_http(endpoint.as_ref(), &location, &credentials, http)?;
    Ok(StorageSettings {
        // Hosts with a dot in the name of the bucket do not match the certificate of S3.
        path_style: table.path_style.unwrap_or(endpoint.is_some() || location.bucket.contains('.')),
        location,
        endpoint,
        region,
        encryption: table.encryption,
        credentials,
        part_size: table.part_size,
        connect_timeout: table.connect_timeout,
        request_timeout: table.request_timeout,
        retry_timeout: table.retry_timeout,
        max_retries: 8,
        backoff_first: Duration::from_millis(100),
        backoff_cap: Duration::from_secs(10),
        network: http.network.clone(),
    })
}

/// What the variables of a vendor say: server, region, credentials.
type Found = (Option<Url>, Option<String>, StorageCredentials);

fn endpoint(configured: &ConfiguredValue) -> Result<Url, SettingsError> {
    let url = Url::parse(configured.value.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| configured.without_credentials().invalid("write https://host or http://host:port"))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(configured.without_credentials().invalid("credentials do not belong in the URL of a server: set them as variables"));
    }
    Ok(url)
}

fn plain(environment: &Environment, name: &'static str) -> Option<String> {
    environment.get(name).map(|configured| configured.value.trim().to_owned())
}

fn is_yes(environment: &Environment, name: &'static str) -> Result<bool, SettingsError> {
    Ok(environment.get(name).map(|configured| configured.yes_no()).transpose()?.unwrap_or_default())
}

/// S3 signs requests and never sends a secret. The others send a token, a key or a signature that anybody could use.
fn refuse_plain_http(
    endpoint: Option<&Url>,
    location: &BucketUrl,
    credentials: &StorageCredentials,
    http: &HttpSettings,
) -> Result<(), SettingsError> {
    let Some(url) = endpoint.filter(|url| url.scheme() == "http" && !is_loopback(url) && !http.allow_plain) else { return Ok(()) };
    let sends_secrets = match credentials {
        StorageCredentials::Anonymous | StorageCredentials::Aws(_) => false,
        StorageCredentials::Azure(azure) => !matches!(azure.identity, AzureIdentity::Anonymous | AzureIdentity::Emulator),
        StorageCredentials::Google(_) => true,
    };
    if !sends_secrets {
        return Ok(());
    }
    Err(SettingsError::PlainHttp { source_name: location.to_string(), host: url.host_str().unwrap_or_default().to_owned() })
}

fn of_aws(environment: &Environment, table: &StorageTable, home: Option<&Path>) -> Result<Found, SettingsError> {
    let (name, profile) = profile(environment, home)?;
    let (profile_region, profile_endpoint) = profile.as_ref().map(|p| (p.region.clone(), p.endpoint.clone())).unwrap_or_default();
    let region = environment.first_of(&["AWS_REGION", "AWS_DEFAULT_REGION"]).map(|configured| configured.value.trim().to_owned());
    let region = table.region.clone().or(region).or(profile_region);
    let configured = environment.first_of(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
    let endpoint = match (configured, profile_endpoint) {
        (Some(configured), _) => Some(endpoint(&configured)?),
        (None, Some(text)) => Some(Url::parse(&text).map_err(|_| {
            SettingsError::Conflict(format!("the AWS profile `{name}`: endpoint_url: write https://host or http://host:port"))
        })?),
        (None, None) => None,
    };
    let credentials = if table.anonymous {
        StorageCredentials::Anonymous
    } else {
        StorageCredentials::Aws(aws_credentials(environment, &name, profile)?)
    };
    Ok((endpoint, region, credentials))
}

/// The profile that is named, or else the default one if there is one.
fn profile(environment: &Environment, home: Option<&Path>) -> Result<(String, Option<AwsProfile>), SettingsError> {
    let named = environment.first_of(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]);
    let file = |variable, name: &str| {
        let own = plain(environment, variable).map(PathBuf::from);
        own.or_else(|| home.map(|home| home.join(".aws").join(name)))
    };
    let files = ProfileFiles { credentials: file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), config: file("AWS_CONFIG_FILE", "config") };
    let name = named.as_ref().map_or(DEFAULT_PROFILE, |configured| configured.value.trim()).to_owned();
    // Keys in the environment come first: a default profile of an unsupported kind must not be in their way.
    let has_keys = named.is_none() && plain(environment, "AWS_ACCESS_KEY_ID").is_some();
    let profile = match aws_profile::read(&files, &name) {
        Err(SettingsError::Conflict(_)) if has_keys => None,
        read => read?,
    };
    match (named, profile) {
        (Some(configured), None) => {
            let shown = |path: &Option<PathBuf>| path.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
            let places = format!("no such profile in {} or {}", shown(&files.credentials), shown(&files.config));
            Err(configured.invalid(places))
        }
        (_, profile) => Ok((name, profile)),
    }
}

fn aws_credentials(environment: &Environment, name: &str, profile: Option<AwsProfile>) -> Result<AwsCredentials, SettingsError> {
    if let Some(keys) = aws_keys(environment)? {
        return Ok(AwsCredentials::Keys { keys, origin: "AWS_ACCESS_KEY_ID".to_owned() });
    }
    let sts_endpoint = plain(environment, "AWS_ENDPOINT_URL_STS");
    if let Some(identity) = web_identity(environment)? {
        return Ok(AwsCredentials::WebIdentity { identity, sts_endpoint });
    }
    match profile.and_then(|profile| profile.credentials) {
        Some(ProfileCredentials::Keys(keys)) => return Ok(AwsCredentials::Keys { keys, origin: format!("the AWS profile `{name}`") }),
        Some(ProfileCredentials::WebIdentity(identity)) => return Ok(AwsCredentials::WebIdentity { identity, sts_endpoint }),
        Some(ProfileCredentials::Process(command)) => return Ok(AwsCredentials::Process { command, profile: name.to_owned() }),
        None => {}
    }
    if let Some(path) = plain(environment, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        return Ok(AwsCredentials::Task(path));
    }
    if let Some(url) = environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
        let token_file = plain(environment, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        let token_file = token_file.ok_or_else(|| url.invalid("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE is needed with it"))?;
        return Ok(AwsCredentials::Pod { url: url.value.trim().to_owned(), token_file });
    }
    if is_yes(environment, "AWS_EC2_METADATA_DISABLED")? {
        return Ok(AwsCredentials::Missing);
    }
    Ok(AwsCredentials::Instance { endpoint: plain(environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT") })
}

fn aws_keys(environment: &Environment) -> Result<Option<AwsKeys>, SettingsError> {
    let key_id = plain(environment, "AWS_ACCESS_KEY_ID").map(Secret::user_name);
    let secret = plain(environment, "AWS_SECRET_ACCESS_KEY").map(Secret::new);
    match (key_id, secret) {
        (Some(key_id), Some(secret)) => {
            let token = plain(environment, "AWS_SESSION_TOKEN").map(Secret::new);
            Ok(Some(AwsKeys { key_id, secret, token }))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err(SettingsError::Conflict("AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not: set both".into())),
        (None, Some(_)) => Err(SettingsError::Conflict("AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not: set both".into())),
    }
}

fn web_identity(environment: &Environment) -> Result<Option<WebIdentity>, SettingsError> {
    let Some(token_file) = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") else { return Ok(None) };
    let role_arn = plain(environment, "AWS_ROLE_ARN").ok_or_else(|| token_file.invalid("AWS_ROLE_ARN is needed with it"))?;
    let session_name = plain(environment, "AWS_ROLE_SESSION_NAME");
    Ok(Some(WebIdentity { role_arn, token_file: token_file.value.trim().into(), session_name }))
}

fn of_google(environment: &Environment, table: &StorageTable) -> Result<Found, SettingsError> {
    let emulator = environment.get("STORAGE_EMULATOR_HOST").map(|mut configured| {
        if !configured.value.contains("://") {
            configured.value = format!("http://{}", configured.value.trim());
        }
        configured
    });
    let emulator = emulator.as_ref().map(endpoint).transpose()?;
    let path = |name| plain(environment, name).map(PathBuf::from);
    let service_account = path("GOOGLE_SERVICE_ACCOUNT").or_else(|| path("GOOGLE_SERVICE_ACCOUNT_PATH"));
    let key = environment.secret("GOOGLE_SERVICE_ACCOUNT_KEY");
    let credentials = if table.anonymous || emulator.is_some() {
        StorageCredentials::Anonymous
    } else {
        StorageCredentials::Google(match (service_account, key, path("GOOGLE_APPLICATION_CREDENTIALS")) {
            (Some(path), ..) => GoogleCredentials::ServiceAccount(path),
            (None, Some(key), _) => GoogleCredentials::ServiceAccountKey(key),
            (None, None, Some(path)) => GoogleCredentials::ApplicationDefault(path),
            (None, None, None) => GoogleCredentials::Discover,
        })
    };
    Ok((emulator, table.region.clone(), credentials))
}

fn of_azure(environment: &Environment, table: &StorageTable) -> Result<Found, SettingsError> {
    let endpoint = environment.get("AZURE_STORAGE_ENDPOINT").map(|configured| endpoint(&configured)).transpose()?;
    let is_emulator = is_yes(environment, "AZURE_STORAGE_USE_EMULATOR")?;
    let account = environment.first_of(&["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"]);
    let account = match account.map(|configured| configured.value.trim().to_owned()) {
        Some(account) => account,
        None if is_emulator => EMULATOR_ACCOUNT.to_owned(),
        None => {
            let detail = "az:// needs the name of the storage account: set AZURE_STORAGE_ACCOUNT in the environment or .env";
            return Err(SettingsError::Conflict(detail.to_owned()));
        }
    };
    let identity = if table.anonymous { AzureIdentity::Anonymous } else { azure_identity(environment, is_emulator) };
    let authority_host = plain(environment, "AZURE_AUTHORITY_HOST");
    let credentials = StorageCredentials::Azure(AzureCredentials { account, identity, authority_host });
    Ok((endpoint, table.region.clone(), credentials))
}

fn azure_identity(environment: &Environment, is_emulator: bool) -> AzureIdentity {
    let key = environment.first_of(&["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"]);
    if let Some(key) = key {
        return AzureIdentity::AccountKey(Secret::new(key.value.trim().to_owned()));
    }
    if is_emulator {
        return AzureIdentity::Emulator;
    }
    if let Some(signature) = plain(environment, "AZURE_STORAGE_SAS_TOKEN") {
        return AzureIdentity::SharedAccess(shared_access(signature));
    }
    let (tenant, client) = (plain(environment, "AZURE_TENANT_ID"), plain(environment, "AZURE_CLIENT_ID"));
    let (secret, token_file) = (environment.secret("AZURE_CLIENT_SECRET"), plain(environment, "AZURE_FEDERATED_TOKEN_FILE"));
    match (tenant, client, secret, token_file) {
        (Some(tenant), Some(client), Some(secret), _) => AzureIdentity::ClientSecret { tenant, client, secret },
        (Some(tenant), Some(client), None, Some(token_file)) => AzureIdentity::Federated { tenant, client, token_file },
        (_, client, ..) => AzureIdentity::Managed { client },
    }
}

/// A shared access signature. Its `sig` is the secret of it, as written and as the service decodes it.
fn shared_access(text: String) -> Secret {
    for signature in text.split('&').filter_map(|pair| pair.trim_start_matches('?').strip_prefix("sig=")) {
        // Registered so that it is hidden wherever it stands alone.
        drop(Secret::new(super::location::percent_decoded(signature)));
    }
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Flags, file};

    fn settings(location: &str, process: &[(&str, &str)], toml: &str) -> Result<StorageSettings, String> {
        let environment = Environment::of(process, &[]);
        let file = file::parse("conf/etl.toml", toml).unwrap();
        let layers_flags = Flags::default();
        let layers = Layers::new(&layers_flags, &environment, &file);
        let table = table(&layers).map_err(|error| error.to_string())?;
        let home = Path::new("/nonexistent");
        let location = location.parse().unwrap();
        resolve(&environment, table, location, &HttpSettings::default(), Some(home)).map_err(|error| error.to_string())
    }

    fn aws(process: &[(&str, &str)]) -> AwsCredentials {
        match settings("s3://lake/x", process, "").unwrap().credentials {
            StorageCredentials::Aws(credentials) => credentials,
            other => panic!("{other:?}"),
        }
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "hush-hush-hush")];

    #[test]
    fn credentials_of_aws_are_looked_for_in_the_order_of_aws() {
        let mut variables = vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/x"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/run/pod"),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/run/token"),
            ("AWS_ROLE_ARN", "arn:x"),
        ];
        variables.extend(KEYS);
        assert!(matches!(aws(&variables), AwsCredentials::Keys { origin, .. } if origin == "AWS_ACCESS_KEY_ID"));
        assert!(matches!(aws(&variables[..5]), AwsCredentials::WebIdentity { .. }));
        assert!(matches!(aws(&variables[..3]), AwsCredentials::Task(path) if path == "/v2/x"));
        assert!(matches!(aws(&variables[..2]), AwsCredentials::Pod { token_file, .. } if token_file == "/run/pod"));
        assert_eq!(aws(&[]), AwsCredentials::Instance { endpoint: None });
        assert_eq!(aws(&[("AWS_EC2_METADATA_DISABLED", "true")]), AwsCredentials::Missing);
    }

    #[test]
    fn a_profile_gives_keys_region_and_endpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        std::fs::write(&path, "[lake]\naws_access_key_id = AKIDLAKE\naws_secret_access_key = hush-lake\nregion = eu-west-3\n").unwrap();
        let path = path.to_str().unwrap();
        let variables = [("AWS_PROFILE", "lake"), ("AWS_SHARED_CREDENTIALS_FILE", path)];
        let read = settings("s3://lake/x", &variables, "").unwrap();
        assert_eq!(read.region.as_deref(), Some("eu-west-3"));
        assert!(format!("{:?}", read.credentials).contains("the AWS profile `lake`"));
        assert!(!format!("{read:?}").contains("hush"));
        let error = settings("s3://lake/x", &[("AWS_PROFILE", "none"), ("AWS_SHARED_CREDENTIALS_FILE", path)], "").unwrap_err();
        assert!(error.starts_with("AWS_PROFILE: `none`: no such profile in ") && error.contains(path), "{error}");
    }

    #[test]
    fn own_settings_beat_the_variables_of_a_vendor() {
        let variables = [("AWS_REGION", "us-east-2"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), KEYS[0], KEYS[1]];
        let read = settings("s3://lake/x", &variables, "").unwrap();
        assert_eq!((read.region.as_deref(), read.path_style), (Some("us-east-2"), true));
        assert_eq!(read.endpoint.map(|url| url.to_string()).as_deref(), Some("http://127.0.0.1:9/"));
        let toml = "[storage]\nregion = \"eu-west-1\"\nendpoint = \"https://minio.example\"\npath_style = false\npart_size = \"8MiB\"\nrequest_timeout = \"5s\"\n";
        let read = settings("s3://lake/x", &variables, toml).unwrap();
        assert_eq!((read.region.as_deref(), read.path_style, read.part_size), (Some("eu-west-1"), false, 8 << 20));
        assert_eq!((read.request_timeout, read.connect_timeout), (Duration::from_secs(5), Duration::from_secs(5)));
        assert_eq!(read.endpoint.map(|url| url.to_string()).as_deref(), Some("https://minio.example/"));
    }

    #[test]
    fn the_bucket_stands_in_the_host_of_s3_unless_it_has_a_dot() {
        assert!(!settings("s3://lake/x", &KEYS, "").unwrap().path_style);
        assert!(settings("s3://lake.example/x", &KEYS, "").unwrap().path_style);
    }

    #[test]
    fn encryption_is_for_s3_and_a_key_needs_kms() {
        let encryption = |toml: &str| settings("s3://lake/x", &KEYS, toml).map(|read| read.encryption);
        assert_eq!(encryption(""), Ok(None));
        assert_eq!(encryption("storage.encryption = \"AES256\""), Ok(Some(Encryption::Aes256)));
        let kms = "storage.encryption = \"aws:kms\"\nstorage.kms_key_id = \"k\"";
        assert_eq!(encryption(kms), Ok(Some(Encryption::Kms { key_id: Some("k".into()) })));
        assert!(encryption("storage.kms_key_id = \"k\"").unwrap_err().contains("needs `storage.encryption = \"aws:kms\"`"));
        assert!(encryption("storage.encryption = \"rot13\"").unwrap_err().ends_with("AES256 or aws:kms"));
        let error = settings("gs://lake/x", &[], "storage.encryption = \"AES256\"").unwrap_err();
        assert!(error.contains("is for s3:// only"), "{error}");
    }

    #[test]
    fn an_error_names_the_variable_to_correct() {
        let error = |location: &str, process: &[(&str, &str)]| settings(location, process, "").unwrap_err();
        assert!(error("s3://l", &KEYS[..1]).contains("AWS_SECRET_ACCESS_KEY is not: set both"));
        assert!(error("s3://l", &KEYS[1..]).contains("AWS_ACCESS_KEY_ID is not: set both"));
        assert!(error("s3://l", &[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")]).contains("AWS_ROLE_ARN is needed"));
        assert!(error("s3://l", &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://x")]).contains("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
        assert!(error("az://l", &[]).contains("set AZURE_STORAGE_ACCOUNT"));
        let shown = error("s3://l", &[("AWS_ENDPOINT_URL", "http://me:hush@h"), KEYS[0], KEYS[1]]);
        assert!(shown.contains("credentials do not belong") && !shown.contains("hush"), "{shown}");
        assert!(error("s3://l", &[("AWS_ENDPOINT_URL", "localhost:9000")]).contains("write https://host or http://host:port"));
    }

    #[test]
    fn tokens_are_not_sent_over_plain_http() {
        let account = ("AZURE_STORAGE_ACCOUNT", "shop");
        let plain = ("AZURE_STORAGE_ENDPOINT", "http://blob.example/shop");
        let signature = ("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=abcdefghij%2Fk");
        assert!(settings("az://l", &[account, plain, signature], "").unwrap_err().contains("over plain http"));
        assert!(settings("az://l", &[account, plain], "storage.anonymous = true").is_ok());
        let loopback = ("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:10000/shop");
        assert!(settings("az://l", &[account, loopback, signature], "").is_ok());
        assert!(crate::settings::secret::registered().contains(&"abcdefghij/k".to_owned()));
    }

    #[test]
    fn credentials_of_google_and_azure_are_found() {
        let google = |process: &[(&str, &str)]| settings("gs://lake", process, "").unwrap();
        assert_eq!(google(&[]).credentials, StorageCredentials::Google(GoogleCredentials::Discover));
        let file = ("GOOGLE_APPLICATION_CREDENTIALS", "/adc.json");
        assert_eq!(google(&[file]).credentials, StorageCredentials::Google(GoogleCredentials::ApplicationDefault("/adc.json".into())));
        let emulator = google(&[("STORAGE_EMULATOR_HOST", "127.0.0.1:4443"), file]);
        assert_eq!(emulator.credentials, StorageCredentials::Anonymous);
        assert_eq!(emulator.endpoint.map(|url| url.to_string()).as_deref(), Some("http://127.0.0.1:4443/"));
        let azure = |process: &[(&str, &str)]| match settings("az://lake", process, "").unwrap().credentials {
            StorageCredentials::Azure(azure) => azure,
            other => panic!("{other:?}"),
        };
        assert_eq!(azure(&[("AZURE_STORAGE_USE_EMULATOR", "true")]).account, EMULATOR_ACCOUNT);
        let (account, tenant, client) = (("AZURE_STORAGE_ACCOUNT", "shop"), ("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"));
        let (secret, token) = (("AZURE_CLIENT_SECRET", "hush-hush"), ("AZURE_FEDERATED_TOKEN_FILE", "/t"));
        assert!(matches!(azure(&[account, tenant, client, secret]).identity, AzureIdentity::ClientSecret { .. }));
        assert!(matches!(azure(&[account, tenant, client, token]).identity, AzureIdentity::Federated { .. }));
        assert!(matches!(azure(&[account, client]).identity, AzureIdentity::Managed { client: Some(_) }));
        assert!(matches!(azure(&[account, ("AZURE_STORAGE_ACCOUNT_KEY", "aGVsbG8=")]).identity, AzureIdentity::AccountKey(_)));
    }

    #[test]
    fn each_variable_that_is_read_is_listed() {
        let source = include_str!("storage.rs");
        let (code, _) = source.split_once("#[cfg(test)]").unwrap();
        let (_, code) = code.split_once("];").unwrap();
        let read = code.split('"').filter(|text| {
            ["AWS_", "GOOGLE_", "AZURE_", "STORAGE_"].iter().any(|start| text.starts_with(start))
                && !text.contains(|c: char| c.is_lowercase())
        });
        for name in read {
            assert!(VARIABLES.contains(&name.trim()), "{name}");
        }
        assert!(VARIABLES.iter().all(|name| code.contains(&format!("\"{name}\""))));
    }
}
