//! Sources that are asked again and again: databases, HTTP, object stores, streams.
//!
//! What differs between them is in a type of each; how often they are asked, and how much at once, is the same for all.
//! `section` reads them.

mod section;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

pub(super) use self::section::{WORDS, pull};
use super::seconds;
use super::service::Secret;
use super::source::Format;

/// A source that is asked again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pull {
    /// How often and how much.
    pub pace: Pace,
    /// What is asked.
    pub upstream: Upstream,
}

/// How often a source is asked, and how much at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pace {
    /// One that has been read to its end is asked again after so long.
    #[serde(serialize_with = "seconds")]
    pub every: Duration,
    /// So long it may be read at a stretch; then others have their turn, and it goes on at the next tick.
    #[serde(serialize_with = "seconds")]
    pub pass: Duration,
    /// An answer may take so long.
    #[serde(serialize_with = "seconds")]
    pub timeout: Duration,
    /// Rows, or messages, asked for at once.
    pub rows: usize,
    /// Rows a second at most, over a minute; no limit when absent.
    pub rows_per_second: Option<u64>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upstream {
    /// A Postgres database.
    Sql(Sql),
    /// JSON over HTTP.
    Http(HttpFeed),
    /// Files in an object store.
    Objects(Objects),
    /// A stream of NATS.
    Nats(Nats),
    /// A topic of Kafka.
    Kafka(Kafka),
}

/// How far behind the newest value reading starts again, for rows that come late; and what a cursor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// The cursor is an instant.
    Time(#[serde(serialize_with = "seconds")] Duration),
    /// The cursor is a whole number.
    Number(u64),
}

/// A query whose rows have a cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sql {
    /// The server's address with user and password.
    #[serde(skip)]
    pub url: Secret,
    /// The query; `$1` in it is the cursor as text.
    pub query: String,
    /// The column by whose value reading goes on.
    pub cursor: String,
    /// How far back each reading starts.
    pub overlap: Option<Overlap>,
    /// What `$1` is at first.
    pub start: Option<String>,
}

/// A resource that answers with JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpFeed {
    /// Its address.
    pub url: String,
    /// Where in the document the list of records is, as a JSON pointer; empty for the document itself.
    pub records: String,
    /// Headers of each request; they may be secrets.
    #[serde(skip)]
    pub headers: BTreeMap<String, Secret>,
    /// How the next page is found.
    pub paging: Paging,
    /// The parameter that says how many records are wanted; none when absent.
    pub size_parameter: Option<String>,
    /// How only what is new is asked for; everything is read again when absent.
    pub since: Option<Since>,
    /// Requests a second at most.
    pub requests_per_second: u64,
    /// A longer answer is refused, in mebibytes.
    pub most_megabytes: u64,
}

/// How the next page is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Paging {
    /// There is one page.
    None,
    /// The answer has a cursor at a JSON pointer, which a parameter carries back.
    Cursor {
        /// Where the cursor is.
        next: String,
        /// The parameter.
        parameter: String,
    },
    /// The header `Link` names the next page, or a JSON pointer does.
    Link {
        /// Where the address is; the header when absent.
        next: Option<String>,
    },
    /// Pages have numbers; the first without records ends them.
    Page {
        /// The parameter.
        parameter: String,
        /// The number of the first page.
        first: u64,
    },
}

/// How a resource is asked for what is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Since {
    /// The parameter that carries the newest value that has been seen, less the overlap.
    pub parameter: String,
    /// The field of the records that holds it.
    pub cursor: String,
    /// How far back each reading starts.
    pub overlap: Overlap,
    /// What the parameter says at first; it is left out when absent.
    pub start: Option<String>,
}

/// Files in an object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Objects {
    /// `s3://bucket/prefix` or `file:///folder`.
    pub url: String,
    /// The server, when it is not Amazon's.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// Who asks; what the environment of the process offers when absent.
    #[serde(skip)]
    pub access_key_id: Option<Secret>,
    /// The key that proves it.
    #[serde(skip)]
    pub secret_access_key: Option<Secret>,
    /// Whether an endpoint may be spoken to without encryption.
    pub allow_http: bool,
    /// Format; by the name's extension when absent.
    pub format: Option<Format>,
    /// New objects have greater keys than all before: only these are listed.
    pub ascending: bool,
}

/// A durable consumer of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nats {
    /// Servers: `nats://host:4222`, `tls://host:4222`.
    pub servers: Vec<String>,
    /// The stream.
    pub stream: String,
    /// The subjects of it that are read; all when absent.
    pub subject: Option<String>,
    /// The consumer's name on the server, which remembers what has been acknowledged.
    pub durable: String,
    /// What is not acknowledged within is delivered again.
    #[serde(serialize_with = "seconds")]
    pub ack_wait: Duration,
    /// A user's name.
    pub user: Option<String>,
    /// The user's password.
    #[serde(skip)]
    pub password: Option<Secret>,
    /// A token.
    #[serde(skip)]
    pub token: Option<Secret>,
    /// A file of credentials as `nsc` writes it.
    pub credentials_file: Option<PathBuf>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kafka {
    /// Where to ask first: `host:9092`.
    pub brokers: Vec<String>,
    /// The topic.
    pub topic: String,
}

impl Upstream {
    /// The word that the configuration uses.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Sql(_) => "sql",
            Self::Http(_) => "http",
            Self::Objects(_) => "objects",
            Self::Nats(_) => "nats",
            Self::Kafka(_) => "kafka",
        }
    }

    /// Where it is, without secrets.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Sql(sql) => sql.place(),
            Self::Http(http) => http.url.clone(),
            Self::Objects(objects) => objects.url.clone(),
            Self::Nats(nats) => format!("the stream {} at {}", nats.stream, nats.servers.join(", ")),
            Self::Kafka(kafka) => format!("the topic {} at {}", kafka.topic, kafka.brokers.join(", ")),
        }
    }

    /// What of it decides which rows there are and where reading has got to: when that changes, they are read anew.
    #[must_use]
    pub(super) fn shape(&self) -> serde_json::Value {
        match self {
            Self::Sql(sql) => serde_json::json!(["sql", sql.query, sql.cursor]),
            Self::Http(http) => serde_json::json!(["http", http.url, http.records, http.paging, http.since]),
            Self::Objects(objects) => serde_json::json!(["objects", objects.format]),
            Self::Nats(nats) => serde_json::json!(["nats", nats.stream, nats.durable]),
            Self::Kafka(kafka) => serde_json::json!(["kafka", kafka.topic]),
        }
    }
}

impl Sql {
    /// The server's address without what stands before its `@`, and without parameters: either may hold a password.
    #[must_use]
    pub fn place(&self) -> String {
        let (scheme, rest) = self.url.expose().split_once("://").unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://{host}{}", path.split('?').next().unwrap_or_default()),
            // A password with a stroke in it: what looks like a host may be half of it.
            None if path.contains('@') => scheme.to_owned(),
            None => format!("{scheme}://{authority}{}", path.split('?').next().unwrap_or_default()),
        }
    }
}
