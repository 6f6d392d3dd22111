//! `[audit]`: how the daemon checks its own history.

use std::time::Duration;

use serde::Serialize;

use super::reader::Section;
use super::seconds;

/// How the daemon checks its own history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// How often past estimates are made again; never when absent.
    #[serde(serialize_with = "maybe_seconds")]
    pub replay_every: Option<Duration>,
    /// How many estimates each time.
    pub replay_sample: u32,
}

#[allow(clippy::ref_option, reason = "the signature is serde's")]
fn maybe_seconds<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => seconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

pub(super) fn audit(section: Section<'_>) -> Audit {
    let replays = !section.is_false("replay_every");
    let audit = Audit {
        replay_every: replays.then(|| section.duration("replay_every", Duration::from_secs(3600))),
        replay_sample: u32::try_from(section.integer("replay_sample", 10, 1)).unwrap_or(u32::MAX),
    };
    if audit.replay_every.is_some_and(|every| every < Duration::from_secs(60)) {
        section.problem("replay_every", "is too short; write at least 1m, or false to replay nothing");
    }
    section.refuse_unknown();
    audit
}
