//! Makes the client of a bucket out of its settings. Reads no environment, and sends nothing but requests for credentials.

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, CredentialProvider, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::GoogleCloudStorageBuilder,
};

use super::{
    credentials::{Named, ProcessCredentials, Told},
    exchange::Exchange,
    failure::own_words,
};
use crate::{
    net::client::{HttpClient, Timeouts},
    settings::{
        AwsCredentials, AzureCredentials, AzureIdentity, BucketScheme, Encryption, GoogleCredentials, NetworkSettings, StorageCredentials,
        StorageSettings,
    },
};

/// The region of S3 if none is set.
pub(super) const DEFAULT_REGION: &str = "us-east-1";

/// What a metadata service has time for. It is one hop away, or there is none.
const METADATA_CONNECT: Duration = Duration::from_secs(1);
const METADATA_ANSWER: Duration = Duration::from_secs(2);
const METADATA_RETRY: Duration = Duration::from_secs(2);

/// The client of a bucket.
///
/// # Errors
/// What is wrong with the settings, or why there are no credentials.
pub(super) async fn open(settings: &StorageSettings) -> Result<Arc<dyn ObjectStore>, String> {
    match &settings.credentials {
        StorageCredentials::Aws(credentials) => open_s3(settings, Some(credentials)).await,
        StorageCredentials::Google(credentials) => open_gcs(settings, Some(credentials)).await,
        StorageCredentials::Azure(credentials) => open_azure(settings, credentials).await,
        StorageCredentials::Anonymous => match settings.location.scheme {
            BucketScheme::Gs => open_gcs(settings, None).await,
            BucketScheme::S3 => open_s3(settings, None).await,
            BucketScheme::Az => Err("az:// needs the name of the storage account: set AZURE_STORAGE_ACCOUNT".to_owned()),
        },
    }
}

async fn open_s3(settings: &StorageSettings, credentials: Option<&AwsCredentials>) -> Result<Arc<dyn ObjectStore>, String> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&settings.location.bucket)
        .with_region(settings.region.as_deref().unwrap_or(DEFAULT_REGION))
        .with_virtual_hosted_style_request(!settings.path_style)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // A single deletion is known to every server; the bulk request is not.
        .with_disable_bulk_delete(true)
        .with_client_options(content_types());
    if let Some(endpoint) = s3_endpoint(settings)? {
        builder = builder.with_endpoint(endpoint);
    }
    let builder = encrypting(builder, settings.encryption.as_ref())?;
    let builder = match credentials {
        None => builder.with_skip_signature(true),
        Some(credentials) => with_aws_credentials(settings, builder, credentials).await?,
    };
    let store = builder.with_retry(retry(settings)).with_http_connector(exchange(settings)?).build().map_err(|error| own_words(&error))?;
    Ok(Arc::new(store))
}

/// Asks for the encryption of each object. The keys of `object_store` for it have names only.
fn encrypting(builder: AmazonS3Builder, encryption: Option<&Encryption>) -> Result<AmazonS3Builder, String> {
    let key = |name: &str| name.parse::<AmazonS3ConfigKey>().map_err(|error| own_words(&error));
    let (algorithm, kms_key) = match encryption {
        None => return Ok(builder),
        Some(Encryption::Aes256) => ("AES256", None),
        Some(Encryption::Kms { key_id }) => ("aws:kms", key_id.as_deref()),
    };
    let builder = builder.with_config(key("aws_server_side_encryption")?, algorithm);
    Ok(set(builder, key("aws_sse_kms_key_id")?, kms_key))
}

/// The endpoint as `object_store` wants it: with the bucket in the host if it shall stand there.
fn s3_endpoint(settings: &StorageSettings) -> Result<Option<String>, String> {
    let Some(url) = &settings.endpoint else { return Ok(None) };
    let mut url = url.clone();
    if !settings.path_style {
        let host = format!("{}.{}", settings.location.bucket, url.host_str().unwrap_or_default());
        url.set_host(Some(&host)).map_err(|_| format!("`{host}` is not a host: set storage.path_style = true"))?;
    }
    Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
}

async fn with_aws_credentials(
    settings: &StorageSettings,
    builder: AmazonS3Builder,
    credentials: &AwsCredentials,
) -> Result<AmazonS3Builder, String> {
    let asking = builder.clone();
    let (asking, metadata) = match credentials {
        AwsCredentials::Keys { keys, .. } => {
            let builder = builder.with_access_key_id(keys.key_id.expose()).with_secret_access_key(keys.secret.expose());
            return Ok(match &keys.token {
                Some(token) => builder.with_token(token.expose()),
                None => builder,
            });
        }
        AwsCredentials::Process { command, profile } => {
            let provider = Arc::new(ProcessCredentials::new(command.clone(), profile.clone()));
            checked(provider.as_ref()).await?;
            return Ok(builder.with_credentials(provider));
        }
        AwsCredentials::Missing => return Err(format!("there are no credentials, and AWS_EC2_METADATA_DISABLED is set: {}", Told::Aws)),
        AwsCredentials::WebIdentity { identity, sts_endpoint } => {
            let token_file = identity.token_file.to_string_lossy();
            let asking = asking.with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token_file);
            let asking = asking.with_config(AmazonS3ConfigKey::RoleArn, &identity.role_arn);
            let asking = set(asking, AmazonS3ConfigKey::RoleSessionName, identity.session_name.as_deref());
            (set(asking, AmazonS3ConfigKey::StsEndpoint, sts_endpoint.as_deref()), false)
        }
        AwsCredentials::Task(path) => (asking.with_config(AmazonS3ConfigKey::ContainerCredentialsRelativeUri, path), true),
        AwsCredentials::Pod { url, token_file } => {
            let asking = asking.with_config(AmazonS3ConfigKey::ContainerCredentialsFullUri, url);
            (asking.with_config(AmazonS3ConfigKey::ContainerAuthorizationTokenFile, token_file), true)
        }
        AwsCredentials::Instance { endpoint } => {
            let endpoint = endpoint.as_deref().map(|endpoint| endpoint.trim_end_matches('/'));
            (set(asking, AmazonS3ConfigKey::MetadataEndpoint, endpoint), true)
        }
    };
    let asking = asking.with_retry(asking_retry(settings, metadata)).with_http_connector(asking_exchange(settings, metadata)?);
    let asked = asking.build().map_err(|error| own_words(&error))?;
    let provider = Arc::new(Named { inner: asked.credentials().clone(), told: Told::Aws });
    checked(provider.as_ref()).await?;
    Ok(builder.with_credentials(provider))
}

fn set(builder: AmazonS3Builder, key: AmazonS3ConfigKey, value: Option<&str>) -> AmazonS3Builder {
    match value {
        Some(value) => builder.with_config(key, value),
        None => builder,
    }
}

async fn open_gcs(settings: &StorageSettings, credentials: Option<&GoogleCredentials>) -> Result<Arc<dyn ObjectStore>, String> {
    let mut builder = GoogleCloudStorageBuilder::new().with_bucket_name(&settings.location.bucket).with_client_options(content_types());
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_base_url(endpoint.as_str().trim_end_matches('/'));
    }
    let builder = match credentials {
        // Without a token here, the builder would look for credentials all the same.
        None => builder.with_skip_signature(true).with_bearer_token(""),
        Some(credentials) => with_google_credentials(settings, builder, credentials).await?,
    };
    let store = builder.with_retry(retry(settings)).with_http_connector(exchange(settings)?).build().map_err(|error| own_words(&error))?;
    Ok(Arc::new(store))
}

async fn with_google_credentials(
    settings: &StorageSettings,
    builder: GoogleCloudStorageBuilder,
    credentials: &GoogleCredentials,
) -> Result<GoogleCloudStorageBuilder, String> {
    let asking = builder.clone();
    let (asking, metadata) = match credentials {
        GoogleCredentials::ServiceAccount(path) => (asking.with_service_account_path(path.to_string_lossy()), false),
        GoogleCredentials::ServiceAccountKey(key) => (asking.with_service_account_key(key.expose()), false),
        GoogleCredentials::ApplicationDefault(path) => (asking.with_application_credentials(path.to_string_lossy()), false),
        GoogleCredentials::Discover => (asking, true),
    };
    let asking = asking.with_retry(asking_retry(settings, metadata)).with_http_connector(asking_exchange(settings, metadata)?);
    let asked = asking.build().map_err(|error| format!("{} ({})", own_words(&error), Told::Google))?;
    let provider = Arc::new(Named { inner: asked.credentials().clone(), told: Told::Google });
    checked(provider.as_ref()).await?;
    Ok(builder.with_credentials(provider))
}

async fn open_azure(settings: &StorageSettings, credentials: &AzureCredentials) -> Result<Arc<dyn ObjectStore>, String> {
    let mut builder = MicrosoftAzureBuilder::new()
        .with_container_name(&settings.location.bucket)
        .with_account(&credentials.account)
        .with_client_options(content_types());
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/').to_owned());
    }
    if let Some(authority) = &credentials.authority_host {
        builder = builder.with_authority_host(authority);
    }
    let asking = builder.clone();
    let (asking, metadata) = match &credentials.identity {
        AzureIdentity::Anonymous => return build_azure(settings, builder.with_skip_signature(true)),
        AzureIdentity::Emulator => return build_azure(settings, builder.with_use_emulator(true)),
        AzureIdentity::AccountKey(key) => return build_azure(settings, builder.with_access_key(key.expose())),
        AzureIdentity::SharedAccess(signature) => {
            return build_azure(settings, builder.with_config(AzureConfigKey::SasKey, signature.expose()));
        }
        AzureIdentity::ClientSecret { tenant, client, secret } => {
            let asking = asking.with_tenant_id(tenant).with_client_id(client);
            (asking.with_client_secret(secret.expose()), false)
        }
        AzureIdentity::Federated { tenant, client, token_file } => {
            let asking = asking.with_tenant_id(tenant).with_client_id(client);
            (asking.with_federated_token_file(token_file), false)
        }
        AzureIdentity::Managed { client: Some(client) } => (asking.with_client_id(client), true),
        AzureIdentity::Managed { client: None } => (asking, true),
    };
    let asking = asking.with_retry(asking_retry(settings, metadata)).with_http_connector(asking_exchange(settings, metadata)?);
    let asked = asking.build().map_err(|error| own_words(&error))?;
    let provider = Arc::new(Named { inner: asked.credentials().clone(), told: Told::Azure });
    checked(provider.as_ref()).await?;
    build_azure(settings, builder.with_credentials(provider))
}

fn build_azure(settings: &StorageSettings, builder: MicrosoftAzureBuilder) -> Result<Arc<dyn ObjectStore>, String> {
    let store = builder.with_retry(retry(settings)).with_http_connector(exchange(settings)?).build().map_err(|error| own_words(&error))?;
    Ok(Arc::new(store))
}

/// Gets the credentials once, so that their absence is told before any work is done. They are kept until they end.
async fn checked<C>(provider: &dyn CredentialProvider<Credential = C>) -> Result<(), String> {
    provider.get_credential().await.map(drop).map_err(|error| own_words(&error))
}

fn content_types() -> ClientOptions {
    ClientOptions::new().with_content_type_for_suffix("csv", "text/csv").with_content_type_for_suffix("json", "application/json")
}

fn retry(settings: &StorageSettings) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { init_backoff: settings.backoff_first, max_backoff: settings.backoff_cap, base: 2.0 },
        max_retries: settings.max_retries,
        retry_timeout: settings.retry_timeout,
    }
}

/// A metadata service that does not answer is not there; a token service is asked like the bucket.
fn asking_retry(settings: &StorageSettings, metadata: bool) -> RetryConfig {
    if !metadata {
        return retry(settings);
    }
    RetryConfig { max_retries: 1, retry_timeout: METADATA_RETRY, ..retry(settings) }
}

fn exchange(settings: &StorageSettings) -> Result<Exchange, String> {
    connected(&settings.network, settings.connect_timeout, settings.request_timeout)
}

fn asking_exchange(settings: &StorageSettings, metadata: bool) -> Result<Exchange, String> {
    if !metadata {
        return exchange(settings);
    }
    // No proxy could reach a service of this machine.
    let network = NetworkSettings { proxies: Default::default(), ..settings.network.clone() };
    connected(&network, METADATA_CONNECT, METADATA_ANSWER)
}

fn connected(network: &NetworkSettings, connect: Duration, timeout: Duration) -> Result<Exchange, String> {
    let client = |read| {
        let made = HttpClient::new(network, Timeouts { connect, read, total: None });
        made.map(|client| client.client().clone()).map_err(|error| error.to_string())
    };
    Ok(Exchange { reads: client(Some(timeout))?, uploads: client(None)?, timeout })
}
