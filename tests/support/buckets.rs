//! Object stores of the tests' own: real servers on the loopback, with a bucket for each test, and what is in a bucket.
//!
//! A server is shared by all tests of a process: starting one takes seconds. Two tests never share a bucket. What goes wrong on
//! the way to a bucket is in [`super::fault_proxy`].

use std::{
    collections::BTreeMap,
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use axum::http::{Method, Request};
use futures_util::TryStreamExt;
use object_store::{
    ObjectStore, ObjectStoreExt, PutPayload,
    aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential},
    azure::{AzureAccessKey, AzureAuthorizer, AzureCredential, MicrosoftAzureBuilder},
    client::{HttpRequest, HttpRequestBody},
    path::Path as ObjectPath,
};
use tokio::runtime::Runtime;

use super::{
    fault_proxy::{FaultProxy, Recorded},
    server_process::ServerProcess,
};

const ACCESS_KEY: &str = "test";
const SECRET_KEY: &str = "a-secret-of-the-tests";
/// For the environment of a server of S3.
const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
const REGION: &str = "us-east-1";
/// The account of every Azurite, and its key, which is public.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The helpers block, and may be called from several threads.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());

/// A server that speaks the API of S3.
#[derive(Clone, Copy)]
pub struct S3Server {
    process: &'static ServerProcess,
}

impl S3Server {
    /// moto: strict about requests, in memory, does not check signatures.
    pub fn moto() -> Option<S3Server> {
        static MOTO: OnceLock<ServerProcess> = OnceLock::new();
        let server = super::tool("ETL_TEST_MOTO", "an S3 bucket of moto")?;
        let start = || ServerProcess::start(&server, 1, &KEYS, |ports, _| words(&format!("-H 127.0.0.1 -p {}", ports[0])));
        Some(S3Server { process: MOTO.get_or_init(start) })
    }

    /// SeaweedFS: a store on a disk, checks signatures, lists in an order of its own (`d/x` before `d.x`).
    pub fn on_disk() -> Option<S3Server> {
        static SEAWEEDFS: OnceLock<ServerProcess> = OnceLock::new();
        let server = super::tool("ETL_TEST_SEAWEEDFS", "an S3 bucket of SeaweedFS")?;
        Some(S3Server { process: SEAWEEDFS.get_or_init(|| ServerProcess::start(&server, 8, &KEYS, seaweedfs)) })
    }

    /// A new bucket.
    pub fn bucket(self) -> Bucket {
        let name = new_name();
        let url = self.process.url();
        create(&|| {
            let credential = AwsCredential { key_id: ACCESS_KEY.to_owned(), secret_key: SECRET_KEY.to_owned(), token: None };
            let mut request = empty_put(&format!("{url}/{name}"));
            AwsAuthorizer::new(&credential, "s3", REGION).try_authorize(&mut request, None).unwrap();
            request
        });
        Bucket { kind: Kind::S3, store: s3(&url, &name), endpoint: url, name, proxy: None }
    }
}

/// A server that speaks the API of Azure's blobs.
#[derive(Clone, Copy)]
pub struct AzureServer {
    process: &'static ServerProcess,
}

impl AzureServer {
    /// Azurite: a store on a disk, checks signatures.
    pub fn azurite() -> Option<AzureServer> {
        static AZURITE: OnceLock<ServerProcess> = OnceLock::new();
        let server = super::tool("ETL_TEST_AZURITE", "a container of Azurite")?;
        let start = || {
            ServerProcess::start(&server, 1, &[], |ports, folder| {
                words(&format!(
                    "--blobHost 127.0.0.1 --blobPort {} --location {folder}/data --disableTelemetry --silent --skipApiVersionCheck",
                    ports[0]
                ))
            })
        };
        Some(AzureServer { process: AZURITE.get_or_init(start) })
    }

    /// A new container.
    pub fn bucket(self) -> Bucket {
        let name = new_name();
        let url = format!("{}/{ACCOUNT}", self.process.url());
        create(&|| {
            let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(ACCOUNT_KEY).unwrap());
            let mut request = empty_put(&format!("{url}/{name}?restype=container"));
            AzureAuthorizer::new(&credential, ACCOUNT).try_authorize(&mut request).unwrap();
            request
        });
        Bucket { kind: Kind::Azure, store: azure(&url, &name), endpoint: url, name, proxy: None }
    }
}

/// All of SeaweedFS in one process. It wants to know each of its ports, and sends statistics home if not told otherwise.
fn seaweedfs(ports: &[u16], folder: &str) -> Vec<String> {
    let names = ["s3", "s3", "filer", "filer", "master", "master", "volume", "volume"];
    let mut arguments = words(&format!(
        "server -dir={folder} -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false -master.electionTimeout=1s \
         -master.volumeSizeLimitMB=1024 -volume.max=2000 -filer.localSocket={folder}/filer.sock \
         -s3 -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0 -s3.localSocket={folder}/s3.sock"
    ));
    for (index, (name, port)) in names.iter().zip(ports).enumerate() {
        arguments.push(format!("-{name}.port{}={port}", if index % 2 == 0 { "" } else { ".grpc" }));
    }
    arguments
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// A name that no other test of this process has, and no other process on a server of its own.
fn new_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("orders-{}", COUNT.fetch_add(1, Ordering::SeqCst))
}

fn empty_put(url: &str) -> HttpRequest {
    let request = Request::builder().method(Method::PUT).uri(url).header("content-length", "0");
    request.body(HttpRequestBody::empty()).unwrap()
}

/// Sends a signed request until it is carried out: a server answers before all of its parts are up.
fn create(signed: &dyn Fn() -> HttpRequest) {
    let client = super::fault_proxy::client();
    let began = Instant::now();
    loop {
        let (parts, _) = signed().into_parts();
        let request = client.request(parts.method, parts.uri.to_string()).headers(parts.headers);
        let answer = RUNTIME.block_on(async { request.send().await?.error_for_status() });
        match answer {
            Ok(_) => return,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(60), "no bucket: {error}"),
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn s3(endpoint: &str, bucket: &str) -> Arc<dyn ObjectStore> {
    let builder = AmazonS3Builder::new().with_endpoint(endpoint).with_region(REGION).with_bucket_name(bucket).with_allow_http(true);
    Arc::new(builder.with_access_key_id(ACCESS_KEY).with_secret_access_key(SECRET_KEY).build().unwrap())
}

fn azure(endpoint: &str, container: &str) -> Arc<dyn ObjectStore> {
    let builder = MicrosoftAzureBuilder::new().with_endpoint(endpoint.to_owned()).with_container_name(container).with_allow_http(true);
    Arc::new(builder.with_account(ACCOUNT).with_access_key(ACCOUNT_KEY).build().unwrap())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    S3,
    Azure,
}

/// A bucket, or a container. The methods that look into it go to the server itself, past the proxy and unrecorded.
pub struct Bucket {
    kind: Kind,
    pub name: String,
    /// Of the server itself.
    endpoint: String,
    store: Arc<dyn ObjectStore>,
    proxy: Option<FaultProxy>,
}

impl Bucket {
    /// The same, behind a proxy that records and injects faults.
    #[must_use]
    pub fn behind_proxy(self, seed: u64) -> Bucket {
        let (server, root) = match self.kind {
            Kind::S3 => (self.endpoint.as_str(), 1),
            Kind::Azure => (self.endpoint.strip_suffix(&format!("/{ACCOUNT}")).unwrap(), 2),
        };
        let proxy = FaultProxy::start(server, root, seed);
        Bucket { proxy: Some(proxy), ..self }
    }

    pub fn proxy(&self) -> &FaultProxy {
        self.proxy.as_ref().expect("this bucket is not behind a proxy")
    }

    /// What came through the proxy.
    pub fn requests(&self) -> Vec<Recorded> {
        self.proxy().requests()
    }

    /// `s3://bucket/prefix`, or `az://container/prefix`.
    pub fn url(&self, prefix: &str) -> String {
        let scheme = if self.kind == Kind::S3 { "s3" } else { "az" };
        format!("{scheme}://{}/{prefix}", self.name)
    }

    /// Where a client finds the server: through the proxy, if there is one.
    pub fn endpoint(&self) -> String {
        let suffix = if self.kind == Kind::S3 { String::new() } else { format!("/{ACCOUNT}") };
        self.proxy.as_ref().map_or(self.endpoint.clone(), |proxy| format!("{}{suffix}", proxy.url))
    }

    /// The environment of a client, through the proxy if there is one.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        match self.kind {
            Kind::S3 => vec![
                ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
                ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
                ("AWS_REGION", REGION.to_owned()),
                ("AWS_ENDPOINT_URL", self.endpoint()),
                ("AWS_ALLOW_HTTP", "true".to_owned()),
            ],
            Kind::Azure => vec![
                ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
                ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY.to_owned()),
                ("AZURE_STORAGE_ENDPOINT", self.endpoint()),
                ("AZURE_ALLOW_HTTP", "true".to_owned()),
            ],
        }
    }

    /// The size of each object beneath `prefix/`; of all for an empty prefix.
    pub fn sizes(&self, prefix: &str) -> BTreeMap<String, u64> {
        let prefix = ObjectPath::parse(prefix).unwrap();
        let list = self.store.list(Some(&prefix)).map_ok(|object| (object.location.to_string(), object.size));
        RUNTIME.block_on(list.try_collect()).unwrap()
    }

    /// The content of each object beneath `prefix/`; of all for an empty prefix.
    pub fn objects(&self, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        self.sizes(prefix).into_keys().map(|key| (key.clone(), self.get(&key).unwrap())).collect()
    }

    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let path = ObjectPath::parse(key).unwrap();
        match RUNTIME.block_on(async { self.store.get(&path).await?.bytes().await }) {
            Ok(bytes) => Some(bytes.to_vec()),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => panic!("{key}: {error}"),
        }
    }

    /// The tag of an object that is there.
    pub fn tag(&self, key: &str) -> String {
        RUNTIME.block_on(self.store.head(&ObjectPath::parse(key).unwrap())).unwrap().e_tag.unwrap()
    }

    /// Puts an object, whatever is there.
    pub fn put(&self, key: &str, content: impl Into<Vec<u8>>) {
        let content = PutPayload::from(content.into());
        RUNTIME.block_on(self.store.put(&ObjectPath::parse(key).unwrap(), content)).unwrap();
    }
}
