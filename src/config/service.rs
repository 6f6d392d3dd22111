//! The process and its surroundings: address, database, identities, intake, retention, secrets.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::reader::Section;
use super::{Model, Surroundings, optional_seconds, seconds};
use crate::domain::window::parse_instant;
use crate::vault::Ring;

const DAY: Duration = Duration::from_secs(86_400);

/// The process: addresses, files, logs.
#[derive(Clone, Debug)]
pub struct Service {
    /// Address of the HTTP server.
    pub listen: std::net::SocketAddr,
    /// How people reach this daemon, for links in emails.
    pub public_url: String,
    /// Where Grafana is, for links in emails.
    pub grafana_url: Option<String>,
    /// Private files: Postgres's data, the key of the pseudonyms.
    pub data_dir: PathBuf,
    /// How often each job looks at the database.
    pub tick: Duration,
    /// A window is estimated again this long after its last estimate at the earliest.
    pub estimate_every: Duration,
}

/// The Postgres server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// A server's address; without one the daemon runs its own.
    pub url: Option<Secret>,
    /// The address of the owner of the tables, who alone changes the schema; without one it is `url`.
    pub owner_url: Option<Secret>,
    /// Where `initdb` and `postgres` are, if not in a usual place.
    pub bin_dir: Option<PathBuf>,
    /// The ordinary user that a daemon started as root becomes.
    pub run_as: Option<String>,
    /// Connections at most.
    pub max_connections: u32,
}

/// How identities are protected.
#[derive(Clone, Debug, Serialize)]
pub struct Identity {
    /// Whether ids are replaced by a keyed hash at the door.
    pub case_ids: CaseIds,
    /// The hash's key; generated in the data directory when absent.
    #[serde(skip)]
    pub key: Option<Secret>,
    /// Whether the ids behind hashes are kept, encrypted, for whoever may turn a hash back.
    pub resolvable: bool,
    /// The ring of keys that encrypts ids and refused records; made in the data directory when absent.
    #[serde(skip)]
    pub ring: Option<Ring>,
}

/// What incoming case and subject ids are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseIds {
    /// They may identify a person: replace them.
    Hash,
    /// They are pseudonyms already: keep them.
    Pseudonym,
}

/// Limits at the door.
#[derive(Clone, Debug, Serialize)]
pub struct Intake {
    /// Records per transaction.
    pub batch_rows: usize,
    /// Earlier instants are refused.
    pub earliest: chrono::DateTime<chrono::Utc>,
    /// Instants further ahead of the clock are refused.
    #[serde(serialize_with = "seconds")]
    pub future_tolerance: Duration,
    /// Versions of one model; a column of something else must not fill the tables with them.
    pub most_versions: usize,
}

/// How long things are kept.
#[derive(Clone, Debug, Serialize)]
pub struct Retention {
    /// Rejected records.
    #[serde(serialize_with = "seconds")]
    pub rejections: Duration,
    /// Notices that were sent or given up.
    #[serde(serialize_with = "seconds")]
    pub notices: Duration,
    /// Predictions, and what is about their cases alone; without it they are kept for ever.
    #[serde(serialize_with = "optional_seconds", skip_serializing_if = "Option::is_none")]
    pub rows: Option<Duration>,
}

/// A text that must not be seen: its `Debug` is three stars and it does not serialise.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wrap a secret.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

pub(super) fn service(section: Section<'_>, around: &Surroundings<'_>) -> Service {
    let listen = section.parsed("listen", ([127, 0, 0, 1], 9187).into(), |text| {
        text.parse().map_err(|_| format!("{text:?} is no address; write 127.0.0.1:9187"))
    });
    let service = Service {
        listen,
        public_url: section.string("public_url").unwrap_or_else(|| format!("http://{listen}")),
        grafana_url: section.string("grafana_url"),
        data_dir: section.string("data_dir").map_or_else(|| default_data_dir(around), |dir| around.folder.join(dir)),
        tick: section.duration("tick", Duration::from_secs(15)),
        estimate_every: section.duration("estimate_every", Duration::from_secs(60)),
    };
    if service.tick < Duration::from_millis(100) {
        section.problem("tick", "is too short; write at least 100ms");
    }
    section.refuse_unknown();
    service
}

/// Per user when there is a home, else the system's place.
fn default_data_dir(around: &Surroundings<'_>) -> PathBuf {
    let home = (around.environment)("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| (around.environment)("HOME").map(|home| Path::new(&home).join(".local/share")));
    match home {
        Some(home) if !nix::unistd::Uid::effective().is_root() => home.join("dosimeter"),
        _ => PathBuf::from("/var/lib/dosimeter"),
    }
}

pub(super) fn database(section: Section<'_>, around: &Surroundings<'_>) -> Database {
    let url = secret(&section, "url", "DATABASE_URL", around);
    let owner_url = secret(&section, "owner_url", "DATABASE_OWNER_URL", around);
    for (key, url) in [("url", &url), ("owner_url", &owner_url)] {
        if let Some(url) = url
            && !url.expose().starts_with("postgres://")
            && !url.expose().starts_with("postgresql://")
        {
            section.problem(key, "is no Postgres address; write postgres://user@host:5432/database");
        }
    }
    if url.is_none() && owner_url.is_some() {
        section.problem("owner_url", "has no meaning without url: the daemon's own Postgres has one user");
    }
    let database = Database {
        url,
        owner_url,
        bin_dir: section.string("bin_dir").map(|dir| around.folder.join(dir)),
        run_as: section.string("run_as"),
        max_connections: u32::try_from(section.integer("max_connections", 10, 2)).unwrap_or(u32::MAX),
    };
    section.refuse_unknown();
    database
}

pub(super) fn identity(section: Section<'_>, around: &Surroundings<'_>) -> Identity {
    let identity = Identity {
        case_ids: section.choice(
            "case_ids",
            CaseIds::Hash,
            &[("hash", CaseIds::Hash), ("pseudonym", CaseIds::Pseudonym)],
        ),
        key: secret(&section, "key", "DOSIMETER_IDENTITY_KEY", around),
        resolvable: section.boolean("resolvable", true),
        ring: secret(&section, "encryption_key", "DOSIMETER_ENCRYPTION_KEY", around).and_then(|text| {
            let ring = Ring::parse(text.expose());
            ring.map_err(|error| section.problem("encryption_key", error.to_string())).ok()
        }),
    };
    if identity.key.as_ref().is_some_and(|key| key.expose().len() < 32) {
        section.problem("key", "is too short to protect anybody; use at least 32 random characters");
    }
    section.refuse_unknown();
    identity
}

/// A secret by environment variable, `<key>_file` or `<key>`, in this order.
pub(super) fn secret(section: &Section<'_>, key: &str, variable: &str, around: &Surroundings<'_>) -> Option<Secret> {
    let inline = section.string(key);
    let file_key = format!("{key}_file");
    let file = section.string(&file_key);
    if let Some(text) = (around.environment)(variable).filter(|text| !text.is_empty()) {
        return Some(Secret::new(&text));
    }
    if let Some(file) = file {
        if inline.is_some() {
            section.problem(key, format!("is given twice; keep either {key} or {file_key}"));
        }
        return match std::fs::read_to_string(around.folder.join(&file)) {
            Ok(text) => Some(Secret::new(text.trim_end())),
            Err(error) => {
                section.problem(&file_key, format!("cannot read {file}: {error}"));
                None
            }
        };
    }
    inline.map(|text| Secret::new(&text))
}

pub(super) fn intake(section: Section<'_>) -> Intake {
    let earliest = chrono::DateTime::from_timestamp(946_684_800, 0).unwrap_or_default();
    let intake = Intake {
        batch_rows: usize::try_from(section.integer("batch_rows", 20_000, 1)).unwrap_or(usize::MAX),
        earliest: section.parsed("earliest", earliest, parse_instant),
        future_tolerance: section.duration("future_tolerance", DAY),
        most_versions: usize::try_from(section.integer("most_versions", 100, 1)).unwrap_or(usize::MAX),
    };
    section.refuse_unknown();
    intake
}

pub(super) fn retention(section: Section<'_>, models: &[Model]) -> Retention {
    let rows = section.string("rows").map(|_| section.duration("rows", 730 * DAY));
    let retention = Retention {
        rejections: section.duration("rejections", 90 * DAY),
        notices: section.duration("notices", 365 * DAY),
        rows,
    };
    // A window that is still published needs its rows, and a month more: they go by whole months.
    let longest = models.iter().flat_map(|model| &model.windows).map(|window| window.longest_days()).max();
    let least = (longest.unwrap_or_default() + 31) * DAY;
    if rows.is_some_and(|rows| rows < least) {
        section.problem(
            "rows",
            format!("is shorter than the longest window and a month; write at least {}d", least.as_secs() / 86_400),
        );
    }
    section.refuse_unknown();
    retention
}
