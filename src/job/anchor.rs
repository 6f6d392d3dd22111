//! Anchor: the heads of the chains are noted in the audit trail, and told to whoever keeps them outside the database.
//!
//! Whoever can write the whole database can write a whole chain anew. They cannot write what somebody else has kept. What is
//! missing in the file is appended at the next tick, so a crash or a full disk loses no anchor.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Context, Result};
use crate::alert::notice::addressees;
use crate::alert::record::{Anchoring, anchored};
use crate::runtime::Outcome;
use crate::store::audit::AuditRow;
use crate::store::lease::Lease;
use crate::store::outbox::NewNotice;

/// Anchor when it is due, and write what the file has not.
///
/// # Errors
/// When the store fails or the file cannot be written.
pub async fn run(context: &Context, lease: &Lease) -> Result {
    let (audit, now) = (&context.plan.audit, context.clock.now());
    let last = context.store.record_status().await?.anchored_at;
    let since = match last {
        Some(last) => Some(last),
        None => context.store.record_began().await?,
    };
    let mut outcome = Outcome::Idle;
    if is_due(since, audit.anchor_every, now) {
        anchor(context, Some(lease), ("dosimeter", "it was due")).await?;
        outcome = Outcome::Done;
    }
    if let Some(file) = &audit.anchor_file
        && catch_up(context, file.clone()).await? > 0
    {
        outcome = Outcome::Done;
    }
    Ok(outcome)
}

/// Anchor now. Notices go by the routes that the plan names; the file is written by the job.
///
/// # Errors
/// When the store fails or the lease is lost.
pub async fn anchor(
    context: &Context,
    lease: Option<&Lease>,
    (actor, reason): (&str, &str),
) -> std::result::Result<AuditRow, crate::store::Error> {
    let (plan, now) = (&context.plan, context.clock.now());
    let notices = |entry: &AuditRow| {
        let line = line(&context.catalog.installation, entry);
        let installation = context.catalog.installation.as_str();
        let anchoring = Anchoring { installation, audit_id: entry.audit_id, hash: &entry.hash, line: &line };
        let report = anchored(anchoring, &plan.service.public_url, now);
        let to = addressees(&plan.notify).into_iter().filter(|to| plan.audit.anchor_routes.contains(&to.route));
        to.map(|addressee| NewNotice { addressee, report: report.clone(), chart: None, escalation: 0 }).collect()
    };
    context.store.anchor(lease, (actor, reason), now, notices).await
}

/// Whether something that was last done at an instant is due; never, if `every` is zero or nothing has begun.
#[must_use]
pub fn is_due(last: Option<DateTime<Utc>>, every: Duration, now: DateTime<Utc>) -> bool {
    // A clock that was set back must not keep it waiting.
    !every.is_zero()
        && last.is_some_and(|last| last > now + every || (now - last).to_std().is_ok_and(|age| age >= every))
}

/// An anchor as a line of the file: what `audit verify --anchor` reads.
#[must_use]
pub fn line(installation: &str, entry: &AuditRow) -> String {
    let mut line =
        json!({ "audit_id": entry.audit_id, "hash": entry.hash, "at": entry.at, "installation": installation });
    if let (Some(line), Value::Object(heads)) = (line.as_object_mut(), &entry.detail) {
        line.extend(heads.clone());
    }
    line.to_string()
}

/// Append the anchors that the file has not. Returns how many.
async fn catch_up(context: &Context, file: PathBuf) -> std::result::Result<usize, super::Error> {
    let text = read(&file)?;
    let known = crate::verify::anchors(&text).map_err(|why| unusable(&file, std::io::Error::other(why)))?;
    let after = known.iter().map(|anchor| anchor.audit_id).max().unwrap_or_default();
    let missing = context.store.list_anchors(after).await?;
    if missing.is_empty() {
        return Ok(0);
    }
    let installation = &context.catalog.installation;
    let mut lines: String = missing.iter().map(|entry| line(installation, entry) + "\n").collect();
    if !text.is_empty() && !text.ends_with('\n') {
        lines.insert(0, '\n');
    }
    let written = tokio::task::spawn_blocking(move || append(&file, &lines).map_err(|error| unusable(&file, error)));
    written.await??;
    Ok(missing.len())
}

fn read(file: &Path) -> std::result::Result<String, super::Error> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(unusable(file, error)),
    }
}

fn append(file: &Path, lines: &str) -> std::io::Result<()> {
    let mut opened = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    opened.write_all(lines.as_bytes())?;
    opened.sync_all()
}

fn unusable(file: &Path, source: std::io::Error) -> super::Error {
    super::Error::AnchorFile { file: file.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_after_its_time_and_when_the_clock_was_set_back() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        let (day, now) = (Duration::from_secs(86_400), at("2025-03-02T00:00:00Z"));
        assert!(is_due(Some(at("2025-03-01T00:00:00Z")), day, now));
        assert!(!is_due(Some(at("2025-03-01T00:00:01Z")), day, now));
        assert!(!is_due(None, day, now), "nothing has begun");
        assert!(!is_due(Some(at("2025-01-01T00:00:00Z")), Duration::ZERO, now), "zero is never");
        assert!(is_due(Some(at("2025-03-09T00:00:00Z")), day, now), "a clock that was set back");
    }
}
