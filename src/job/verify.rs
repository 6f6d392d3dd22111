//! Verify: every row that the chains cover is looked at, on the plan's schedule, and what does not fit is told to everybody.

use serde_json::json;

use super::anchor::is_due;
use super::{Context, Result};
use crate::alert::notice::addressees;
use crate::alert::record::unsound;
use crate::runtime::Outcome;
use crate::store::lease::Lease;
use crate::store::outbox::NewNotice;
use crate::verify::{Depth, verify};

/// So many breaches stand in the audit trail and in the notice; `dosimeter audit verify --full` names the others.
const FIRST: usize = 10;

/// Verify everything when it is due.
///
/// # Errors
/// When the store fails. A breach is no failure of the job: it is noted, told, and shown by `dosimeter_audit_breaches`.
pub async fn run(context: &Context, lease: &Lease) -> Result {
    let plan = &context.plan;
    let last = context.store.record_status().await?.verified;
    let since = match last {
        Some((at, _)) => Some(at),
        None => context.store.record_began().await?,
    };
    if !is_due(since, plan.audit.verify_every, context.clock.now()) {
        return Ok(Outcome::Idle);
    }
    let report = verify(&context.store, Depth::Full).await?;
    let now = context.clock.now();
    let breaches = report.breaches.len() as u64 + report.unnamed;
    let first: Vec<String> = report
        .breaches
        .iter()
        .take(FIRST)
        .map(|breach| format!("{}, {}: {}", breach.relation, breach.row, breach.what))
        .collect();
    let mut notices = Vec::new();
    let reason = if report.is_sound() {
        "everything fits"
    } else {
        tracing::error!(breaches, first = first.first(), "the record does not fit together; see docs/audit.md");
        let told = unsound(breaches, &first, &plan.service.public_url, now);
        let to = addressees(&plan.notify).into_iter();
        notices.extend(to.map(|addressee| NewNotice { addressee, report: told.clone(), chart: None, escalation: 0 }));
        "rows do not fit"
    };
    let detail = json!({ "breaches": breaches, "first": first, "checked": report.checked, "heads": report.heads });
    context.store.note_verification(lease, (reason, detail), &notices, now).await?;
    Ok(Outcome::Done)
}
