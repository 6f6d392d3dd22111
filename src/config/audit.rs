//! The audit trail: how often it is anchored outside, by which ways, and how often everything is verified.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::notify::{Channel, Notify};
use super::reader::Section;
use super::{Surroundings, seconds};

const DAY: Duration = Duration::from_secs(86_400);

/// How the record is kept from being bent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// The heads of the chains are noted and told outside this long after the last time; zero: never.
    #[serde(serialize_with = "seconds")]
    pub anchor_every: Duration,
    /// A file that they are appended to.
    pub anchor_file: Option<PathBuf>,
    /// Routes of notices that they go by.
    pub anchor_routes: Vec<String>,
    /// Every row is verified this long after the last time; zero: never.
    #[serde(serialize_with = "seconds")]
    pub verify_every: Duration,
    /// Past estimates are made again this long after the last time; zero: never.
    #[serde(serialize_with = "seconds")]
    pub replay_every: Duration,
    /// So many of them each time.
    pub replay_sample: u32,
}

pub(super) fn audit(section: Section<'_>, notify: &Notify, around: &Surroundings<'_>) -> Audit {
    let audit = Audit {
        anchor_every: section.duration("anchor_every", DAY),
        anchor_file: section.string("anchor_file").map(|file| around.folder.join(file)),
        anchor_routes: section.strings("anchor_routes").unwrap_or_default(),
        verify_every: section.duration("verify_every", DAY),
        replay_every: section.duration("replay_every", Duration::from_secs(3600)),
        replay_sample: u32::try_from(section.integer("replay_sample", 10, 1)).unwrap_or(u32::MAX),
    };
    for name in &audit.anchor_routes {
        let route = notify.routes.iter().find(|route| route.name == *name);
        match route.map(|route| &route.channel) {
            Some(Channel::Email { .. } | Channel::Webhook { .. } | Channel::Slack { .. }) => {}
            Some(other) => section.problem(
                "anchor_routes",
                format!("{name:?} leads to {}, which keeps nothing; name a route of email, webhook or slack", other.as_str()),
            ),
            None => section.problem(
                "anchor_routes",
                format!("{name:?} is no route of this plan; add a [[notify.route]] of this name, or write \"default\" for notify.to"),
            ),
        }
    }
    section.refuse_unknown();
    audit
}
