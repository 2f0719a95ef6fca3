//! Buckets: the places of `s3://`, `gs://` and `az://`, and the stores that talk to them.
//!
//! Who we are and where the service listens is said by the environment variables that its other programs read, too: there is no
//! second place for secrets, and none of them comes near a settings file or a log.

use super::explain::Trouble;
use crate::protocol::Failure;
use object_store::{
    ClientConfigKey, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    path::Path as ObjectPath,
};
use std::{fmt, str::FromStr, sync::Arc, time::Duration};
use url::Url;

/// For one request with its answer, as far as nothing shorter is set where it is made. Long enough for a part of 8 MiB on a slow
/// line (1.1 Mbit/s), short enough to find out within a checkpoint's time that a connection leads nowhere any more. The
/// variables `AWS_TIMEOUT`, `GOOGLE_TIMEOUT` and `AZURE_TIMEOUT` change it.
const REQUEST: Duration = Duration::from_secs(60);
/// To connect, once. `AWS_CONNECT_TIMEOUT` and so on change it.
const CONNECT: Duration = Duration::from_secs(5);

/// Who runs the buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Amazon S3, and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage, where a bucket is called container.
    Azure,
}

impl Service {
    pub(crate) const ALL: [Self; 3] = [Self::S3, Self::Google, Self::Azure];

    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }

    /// The service that `url` is a place of; none if it is a folder's path.
    pub(crate) fn of_url(url: &str) -> Option<Self> {
        let (scheme, _) = url.split_once("://")?;
        Self::ALL.into_iter().find(|service| service.scheme() == scheme)
    }

    /// Whether the environment variable `name` is meant for this service.
    fn reads(self, name: &str) -> bool {
        match self {
            Self::S3 => name.starts_with("AWS_"),
            Self::Google => name.starts_with("GOOGLE_"),
            // The second one is what Azure's own hosts set for managed identities.
            Self::Azure => name.starts_with("AZURE_") || name == "IDENTITY_ENDPOINT",
        }
    }

    /// The variable with the address of a server other than the service's own.
    pub(crate) fn endpoint_variable(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ENDPOINT_URL",
            Self::Google => "GOOGLE_BASE_URL",
            Self::Azure => "AZURE_ENDPOINT",
        }
    }

    fn allow_http_variable(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ALLOW_HTTP",
            Self::Google => "GOOGLE_ALLOW_HTTP",
            Self::Azure => "AZURE_ALLOW_HTTP",
        }
    }
}

/// A bucket, and the names in it that begin with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    service: Service,
    name: String,
    prefix: ObjectPath,
}

impl Bucket {
    /// Reads `s3://bucket/prefix`.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn parse(service: Service, url: &Url) -> Result<Self, String> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err("credentials do not belong into it, they are read from environment variables".to_owned());
        }
        if url.port().is_some() {
            let variable = service.endpoint_variable();
            return Err(format!("a port does not belong into it: the address of a server is set with {variable}"));
        }
        let name = url.host_str().unwrap_or_default();
        let dots = service != Service::Azure;
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || (dots && matches!(c, b'.' | b'_'));
        if !(3..=222).contains(&name.len()) || !name.bytes().all(allowed) {
            let dots = if dots { ", . and _" } else { "" };
            return Err(format!("{name:?} is no name of a bucket: that has 3 to 222 of a-z, 0-9, -{dots}"));
        }
        let prefix = ObjectPath::from_url_path(url.path()).map_err(|why| format!("not a path in a bucket: {why}"))?;
        Ok(Self { service, name: name.to_owned(), prefix })
    }

    /// Where the location begins inside the bucket.
    pub(crate) fn prefix(&self) -> &ObjectPath {
        &self.prefix
    }

    /// The names that begin with `name` below this one's prefix.
    pub(crate) fn below(&self, name: &str) -> Self {
        Self { prefix: self.prefix.clone().join(name), ..self.clone() }
    }

    /// A store that talks to the bucket as `variables`, names and values, say. Sends nothing yet.
    ///
    /// # Errors
    /// Fatal: what the variables say makes no sense, or is not enough.
    pub(crate) fn connect(&self, variables: impl IntoIterator<Item = (String, String)>) -> Result<Arc<dyn ObjectStore>, Failure> {
        // One provider of cryptography for the process; whoever installed one before us has decided.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let set = |name: &str, value: &str| !value.is_empty() && self.service.reads(name);
        let variables: Vec<_> = variables.into_iter().filter(|(name, value)| set(name, value)).collect();
        let name = self.name.as_str();
        let store: object_store::Result<Arc<dyn ObjectStore>> = match self.service {
            Service::S3 => {
                let fresh = AmazonS3Builder::new().with_client_options(client()).with_retry(once());
                let set = known::<AmazonS3ConfigKey>(&variables).fold(fresh, |all, (key, value)| all.with_config(key, value));
                let get = |key| set.get_config_value(&key);
                let endpoint = get(AmazonS3ConfigKey::S3Endpoint).or_else(|| get(AmazonS3ConfigKey::Endpoint));
                self.check(endpoint, get(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)))?;
                set.with_bucket_name(name).build().map(|store| Arc::new(store) as _)
            }
            Service::Google => {
                let fresh = GoogleCloudStorageBuilder::new().with_client_options(client()).with_retry(once());
                let set = known::<GoogleConfigKey>(&variables).fold(fresh, |all, (key, value)| all.with_config(key, value));
                let get = |key| set.get_config_value(&key);
                self.check(get(GoogleConfigKey::BaseUrl), get(GoogleConfigKey::Client(ClientConfigKey::AllowHttp)))?;
                set.with_bucket_name(name).build().map(|store| Arc::new(store) as _)
            }
            Service::Azure => {
                let fresh = MicrosoftAzureBuilder::new().with_client_options(client()).with_retry(once());
                let set = known::<AzureConfigKey>(&variables).fold(fresh, |all, (key, value)| all.with_config(key, value));
                let get = |key| set.get_config_value(&key);
                self.check(get(AzureConfigKey::Endpoint), get(AzureConfigKey::Client(ClientConfigKey::AllowHttp)))?;
                set.with_container_name(name).build().map(|store| Arc::new(store) as _)
            }
        };
        store.map_err(|why| Failure::fatal(format!("checkpoint.storage = \"{self}\": {}", Trouble::of(why))))
    }

    /// An address that is none, or that would be refused at every request.
    fn check(&self, endpoint: Option<String>, allow_http: Option<String>) -> Result<(), Failure> {
        let Some(endpoint) = endpoint else { return Ok(()) };
        let (variable, allow) = (self.service.endpoint_variable(), self.service.allow_http_variable());
        let refuse = |why: String| Err(Failure::fatal(format!("checkpoint.storage = \"{self}\": {variable}={endpoint}: {why}")));
        match Url::parse(&endpoint) {
            Ok(url) if url.scheme() == "https" && url.has_host() => Ok(()),
            Ok(url) if url.scheme() == "http" && url.has_host() => {
                match allow_http.map(|set| set.to_ascii_lowercase()).as_deref() {
                    Some("true" | "1" | "yes" | "on" | "y") => Ok(()),
                    _ => {
                        refuse(format!("without TLS everybody on the way can read and change the state; {allow}=true permits it"))
                    }
                }
            }
            _ => refuse("wanted the address of a server, like https://host:9000".to_owned()),
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.service.scheme(), self.name)?;
        if self.prefix.is_root() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// The variables of this process that are text.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Those of `variables` that mean something to a store, by its own names for them.
fn known<K: FromStr>(variables: &[(String, String)]) -> impl Iterator<Item = (K, &str)> {
    variables.iter().filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.as_str())))
}

fn client() -> ClientOptions {
    ClientOptions::new().with_timeout(REQUEST).with_connect_timeout(CONNECT)
}

/// Requests are tried again by `retry.rs`, which knows how long there is time.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, retry_timeout: Duration::ZERO, ..RetryConfig::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::FailureKind;

    fn bucket(text: &str) -> Result<Bucket, String> {
        Bucket::parse(Service::of_url(text).unwrap(), &Url::parse(text).unwrap())
    }

    fn connect(text: &str, variables: &[(&str, &str)]) -> Result<Arc<dyn ObjectStore>, Failure> {
        bucket(text).unwrap().connect(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    #[test]
    fn a_bucket_has_a_name_and_perhaps_a_prefix() {
        for (text, name, prefix) in [
            ("s3://shop", "shop", ""),
            ("s3://shop/", "shop", ""),
            ("gs://shop_1/a/b/", "shop_1", "a/b"),
            ("az://shop/a%20b", "shop", "a b"),
        ] {
            let bucket = bucket(text).unwrap();
            assert_eq!((bucket.name.as_str(), bucket.prefix.as_ref()), (name, prefix), "{text}");
        }
        assert_eq!(bucket("s3://shop/a/").unwrap().to_string(), "s3://shop/a");
    }

    #[test]
    fn what_is_no_bucket_is_refused_with_the_reason() {
        for (text, reason) in [
            ("s3://Shop/a", "no name of a bucket"),
            ("s3:///a", "no name of a bucket"),
            ("s3://ab", "no name of a bucket"),
            ("az://my.container", "no name of a bucket"),
            ("s3://localhost:9000/shop", "AWS_ENDPOINT_URL"),
            ("s3://key:secret@shop/a", "environment variables"),
            ("s3://shop/a//b", "not a path"),
        ] {
            let why = bucket(text).unwrap_err();
            assert!(why.contains(reason), "{text}: {why}");
        }
    }

    #[test]
    fn each_service_is_connected_to_with_the_variables_of_its_own() {
        connect("s3://shop", &KEYS).unwrap();
        let account = ("AZURE_STORAGE_ACCOUNT_NAME", "shop");
        connect("az://shop", &[account, ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")]).unwrap();
        let failure = connect("az://shop", &KEYS).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Fatal);
        assert!(
            failure.message.contains("checkpoint.storage = \"az://shop\"") && failure.message.contains("ccount"),
            "{failure}"
        );
        let failure = connect("gs://shop", &[("GOOGLE_SERVICE_ACCOUNT", "/no/such/file")]).unwrap_err();
        assert!(failure.message.contains("/no/such/file"), "{failure}");
        let failure = connect("s3://shop", &KEYS[..1]).unwrap_err();
        assert!(failure.message.contains("SecretAccessKey"), "{failure}");
    }

    #[test]
    fn variables_that_others_use_are_not_read_and_empty_ones_count_as_not_set() {
        let others = [("ENDPOINT", "nonsense"), ("REGION", "moon"), ("TIMEOUT", "never"), ("AWS_ENDPOINT_URL", "")];
        connect("s3://shop", &[&KEYS[..], &others[..]].concat()).unwrap();
        let failure = connect("s3://shop", &[&KEYS[..], &[("AWS_TIMEOUT", "never")][..]].concat()).unwrap_err();
        assert!(failure.message.contains("never"), "{failure}");
    }

    #[test]
    fn an_endpoint_is_an_address_and_one_without_tls_is_asked_for() {
        let with = |more: &[(&str, &str)]| connect("s3://shop", &[&KEYS[..], more].concat());
        with(&[("AWS_ENDPOINT_URL", "https://minio:9000")]).unwrap();
        with(&[("AWS_ENDPOINT_URL", "http://minio:9000"), ("AWS_ALLOW_HTTP", "true")]).unwrap();
        for (endpoint, reason) in
            [("http://minio:9000", "AWS_ALLOW_HTTP=true"), ("minio:9000", "https://host:9000"), ("minio", "https://host:9000")]
        {
            let failure = with(&[("AWS_ENDPOINT_URL", endpoint)]).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Fatal, "{failure}");
            assert!(failure.message.contains(reason) && failure.message.contains(endpoint), "{failure}");
        }
    }
}
