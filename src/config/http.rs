//! The HTTP server: who may use it, how it is encrypted, and its limits.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::Surroundings;
use super::reader::Section;
use super::service::{Secret, Service, secret};

/// The HTTP server.
#[derive(Clone, Debug)]
pub struct Http {
    /// A token from the configuration, for everything; those of `dosimeter token` need none.
    pub token: Option<Secret>,
    /// What whoever scrapes `/metrics` shows; without one it is open.
    pub metrics_token: Option<Secret>,
    /// Whether something in front of the daemon encrypts and is the only one that reaches it.
    pub behind_proxy: bool,
    /// The certificate that the daemon itself encrypts with.
    pub tls: Option<Certificate>,
    /// A connection whose request has not shown its headers by then is closed.
    pub header_timeout: Duration,
    /// A body that brings nothing for so long is given up.
    pub body_timeout: Duration,
    /// The most that the names and values of a request's headers may have.
    pub max_header_bytes: usize,
    /// The most that a body may have where records do not come in.
    pub max_body_bytes: usize,
    /// Connections at once.
    pub max_connections: usize,
    /// Requests that one token may make; none: any number.
    pub rate: Option<Rate>,
}

/// A certificate with its key, as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate and those that lead to its authority, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// A second, in the long run.
    pub per_second: NonZeroU32,
    /// At once, after a rest.
    pub burst: NonZeroU32,
}

impl Http {
    /// Whether whoever reaches the daemon may do without a token as long as there is none: only whoever sits on this machine.
    #[must_use]
    pub fn may_be_open(&self, service: &Service) -> bool {
        self.token.is_none() && !self.behind_proxy && service.listen.ip().is_loopback()
    }
}

pub(super) fn http(section: Section<'_>, service: &mut Service, around: &Surroundings<'_>) -> Http {
    let size = |key: &str, default: u64, least: u64| {
        usize::try_from(section.integer(key, default, least)).unwrap_or(usize::MAX)
    };
    let whole = |key: &str, default: u64, least: u64| {
        NonZeroU32::new(u32::try_from(section.integer(key, default, least)).unwrap_or(u32::MAX))
    };
    let http = Http {
        token: token(&section, "token", "DOSIMETER_HTTP_TOKEN", around),
        metrics_token: token(&section, "metrics_token", "DOSIMETER_METRICS_TOKEN", around),
        behind_proxy: section.boolean("behind_proxy", false),
        tls: certificate(&section.section("tls"), around),
        header_timeout: section.duration("header_timeout", Duration::from_secs(10)),
        body_timeout: section.duration("body_timeout", Duration::from_secs(30)),
        max_header_bytes: size("max_header_bytes", 16 * 1024, 1024),
        max_body_bytes: size("max_body_bytes", 1024 * 1024, 1024),
        max_connections: size("max_connections", 512, 1),
        // Both are asked for whatever the first says: what they may be called is known.
        rate: whole("requests_per_second", 1000, 0)
            .zip(whole("burst", 2000, 1))
            .map(|(per_second, burst)| Rate { per_second, burst }),
    };
    if http.tls.is_some() && http.behind_proxy {
        section.problem("behind_proxy", "and tls exclude each other: one of the two encrypts");
    }
    if !service.listen.ip().is_loopback() && http.tls.is_none() && !http.behind_proxy {
        let problem = format!(
            "service.listen is {}, which others reach, and tokens would go over the network in the clear: give the daemon a \
             certificate by http.tls = {{ certificate = \"...\", key = \"...\" }}, or write behind_proxy = true if only a \
             proxy that encrypts reaches it",
            service.listen
        );
        section.problem("tls", problem);
    }
    if http.tls.is_some() && service.public_url == format!("http://{}", service.listen) {
        service.public_url = format!("https://{}", service.listen);
    }
    for (key, timeout) in [("header_timeout", http.header_timeout), ("body_timeout", http.body_timeout)] {
        if timeout < Duration::from_millis(100) {
            section.problem(key, "is too short for anybody; write at least 100ms");
        }
    }
    section.refuse_unknown();
    http
}

fn token(section: &Section<'_>, key: &str, variable: &str, around: &Surroundings<'_>) -> Option<Secret> {
    let token = secret(section, key, variable, around);
    if token.as_ref().is_some_and(|token| token.expose().len() < 32) {
        section.problem(key, "is too short to keep anybody out; use at least 32 random characters");
    }
    token
}

fn certificate(section: &Section<'_>, around: &Surroundings<'_>) -> Option<Certificate> {
    let file = |key: &str, what: &str| {
        let name = section.string(key);
        if section.is_present() && name.is_none() {
            section.problem(key, format!("is missing; name the PEM file of the {what}"));
        }
        name.map(|name| around.folder.join(name))
    };
    let both = file("certificate", "certificate").zip(file("key", "certificate's private key"));
    section.refuse_unknown();
    both.map(|(certificate, key)| Certificate { certificate, key })
}
