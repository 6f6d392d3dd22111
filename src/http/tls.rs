//! The certificate that connections are encrypted with, taken up again when its files change.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use anyhow::Context as _;
use chrono::TimeDelta;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::Certificate;
use crate::job::Context;

/// How often the files are looked at.
const LOOK: TimeDelta = TimeDelta::seconds(10);

/// A certificate in use. Cheap to clone; all clones see a new one.
#[derive(Clone)]
pub(super) struct Tls {
    files: Certificate,
    present: Arc<RwLock<Arc<ServerConfig>>>,
}

/// When a file was last written, and its size: what tells a new content without reading it.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl Tls {
    /// Read a certificate and its key.
    ///
    /// # Errors
    /// When a file cannot be read or is no PEM, or the two do not belong together.
    pub(super) fn load(files: &Certificate) -> anyhow::Result<Self> {
        let config = read(files)?;
        Ok(Self { files: files.clone(), present: Arc::new(RwLock::new(Arc::new(config))) })
    }

    /// What greets the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        // A poisoned lock guards a pointer: whatever it points to is whole.
        TlsAcceptor::from(self.present.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn stamp(&self) -> Stamp {
        let stamp = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        [stamp(&self.files.certificate), stamp(&self.files.key)]
    }

    fn reload(&self) -> anyhow::Result<()> {
        let config = Arc::new(read(&self.files)?);
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }
}

/// Take the certificate up again whenever its files change or the configuration is taken up, until asked to stop. One that cannot
/// be used leaves the old one in place.
pub(super) async fn keep_fresh(tls: Tls, mut context: watch::Receiver<Context>, stop: CancellationToken) {
    let mut used = tls.stamp();
    let mut tried = used;
    loop {
        let clock = context.borrow_and_update().clock.clone();
        let is_asked = tokio::select! {
            () = stop.cancelled() => return,
            changed = context.changed() => match changed {
                Ok(()) => true,
                Err(_) => return,
            },
            () = clock.sleep_until(clock.now() + LOOK) => false,
        };
        let stamp = tls.stamp();
        if !is_asked && (stamp == used || stamp == tried) {
            continue;
        }
        tried = stamp;
        match tls.reload() {
            Ok(()) => {
                used = stamp;
                tracing::info!(certificate = %tls.files.certificate.display(), "took up the certificate");
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "refused the certificate; the old one stays in use");
            }
        }
    }
}

fn read(files: &Certificate) -> anyhow::Result<ServerConfig> {
    let Certificate { certificate, key } = files;
    let cannot = |what: &str, path: &Path| format!("http.tls.{what}: cannot use {}", path.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| cannot("certificate", certificate))?;
    anyhow::ensure!(
        !chain.is_empty(),
        "{}: it has no certificate; write PEM, the daemon's own first",
        cannot("certificate", certificate)
    );
    let private = PrivateKeyDer::from_pem_file(key).with_context(|| cannot("key", key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| format!("http.tls: {} is not the key of {}", key.display(), certificate.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
