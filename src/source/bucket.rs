//! Files in an object store: S3 and what speaks like it, or a folder.
//!
//! An object is known by its key with size, time and tag, as a file is by its path; what it holds decides, by its digest, whether
//! it has been read. So it is fetched into a file and takes the way of files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};
use tokio::io::AsyncWriteExt;

use super::feed::{Failure, causes, within};
use crate::config::Objects as Plan;

/// An object that may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its address, by which it is known.
    pub address: String,
    /// Size in bytes.
    pub bytes: i64,
    /// When it was written, in whole microseconds.
    pub modified_at: DateTime<Utc>,
    /// What the store calls its content.
    pub tag: Option<String>,
}

impl Object {
    /// The last part of its key, which says how it is packed and what is in it.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }
}

/// A place of objects.
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Key,
    base: String,
    timeout: Duration,
}

impl Bucket {
    /// A client of a store; nothing is asked yet.
    ///
    /// # Errors
    /// When the address makes no sense.
    pub fn open(plan: &Plan, timeout: Duration) -> Result<Self, Failure> {
        let wrong = |error: object_store::Error| Failure::Misconfigured(causes(&error));
        if let Some(folder) = plan.url.strip_prefix("file://") {
            let folder = folder.trim_end_matches('/');
            // The error of a folder that is not there says so.
            let store = LocalFileSystem::new_with_prefix(folder).map_err(wrong)?;
            let base = format!("file://{folder}");
            return Ok(Self { store: Arc::new(store), prefix: Key::default(), base, timeout });
        }
        let rest = plan.url.strip_prefix("s3://").unwrap_or_default();
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let options = ClientOptions::new()
            .with_connect_timeout(timeout)
            // An object may be large: what must not take long is each part of an answer.
            .with_timeout_disabled()
            .with_allow_http(plan.allow_http);
        // The environment offers what the machine's role gives; the plan has the last word.
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_region(&plan.region)
            .with_client_options(options)
            .with_allow_http(plan.allow_http)
            .with_retry(RetryConfig { max_retries: 2, retry_timeout: timeout, ..RetryConfig::default() });
        if let Some(endpoint) = &plan.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let (Some(id), Some(key)) = (&plan.access_key_id, &plan.secret_access_key) {
            builder = builder.with_access_key_id(id.expose()).with_secret_access_key(key.expose());
        }
        let store = builder.build().map_err(wrong)?;
        let prefix = Key::parse(prefix).map_err(|error| Failure::Misconfigured(causes(&error)))?;
        Ok(Self { store: Arc::new(store), prefix, base: format!("s3://{bucket}"), timeout })
    }

    /// The objects below the prefix, or those after a key, by key. Names that begin with a dot or an underscore are of writers at
    /// work and are left out, as are empty ones.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, after: Option<&str>) -> Result<Vec<Object>, Failure> {
        let prefix = Some(&self.prefix).filter(|prefix| !prefix.as_ref().is_empty());
        let mut listing = match after {
            Some(after) => {
                let after = Key::parse(after).map_err(|error| Failure::Malformed(causes(&error)))?;
                self.store.list_with_offset(prefix, &after)
            }
            None => self.store.list(prefix),
        };
        let mut objects = Vec::new();
        loop {
            let next = within(self.timeout, async { listing.try_next().await.map_err(failure) });
            let Some(meta) = next.await? else { break };
            let key = meta.location.to_string();
            let object = Object {
                address: format!("{}/{key}", self.base),
                bytes: i64::try_from(meta.size).unwrap_or(i64::MAX),
                modified_at: meta.last_modified.trunc_subsecs(6),
                tag: meta.e_tag,
                key,
            };
            if object.bytes > 0 && !object.file_name().starts_with(['.', '_']) {
                objects.push(object);
            }
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }

    /// Fetch an object into a file of its name below a folder, part by part.
    ///
    /// # Errors
    /// When the store or the disk fails.
    pub async fn fetch(&self, object: &Object, folder: &Path) -> Result<PathBuf, Failure> {
        let disk =
            |error: std::io::Error| Failure::Server(format!("the object cannot be put on the disk here: {error}"));
        let key = Key::parse(&object.key).map_err(|error| Failure::Malformed(causes(&error)))?;
        let path = folder.join(object.file_name());
        let mut file = tokio::fs::File::create(&path).await.map_err(disk)?;
        let answer = within(self.timeout, async { self.store.get(&key).await.map_err(failure) }).await?;
        let mut parts = answer.into_stream();
        while let Some(part) = within(self.timeout, async { parts.try_next().await.map_err(failure) }).await? {
            file.write_all(&part).await.map_err(disk)?;
        }
        file.flush().await.map_err(disk)?;
        Ok(path)
    }
}

/// What a failure of the store means for us.
fn failure(error: object_store::Error) -> Failure {
    use object_store::Error;
    let message = causes(&error);
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Failure::Refused(message),
        Error::NotFound { .. } | Error::NotSupported { .. } | Error::InvalidPath { .. } => {
            Failure::Misconfigured(message)
        }
        _ if ["503", "429", "SlowDown"].iter().any(|word| message.contains(word)) => {
            Failure::Throttled { message, after: None }
        }
        _ if message.contains("error sending request") || message.contains("connect") => Failure::Unreachable(message),
        _ => Failure::Server(message),
    }
}
