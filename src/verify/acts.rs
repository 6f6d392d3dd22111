//! The chain of acts: every entry of the audit trail, and what was kept of it outside.

use super::walk::{Claim, Link, Walk};
use super::{Anchor, Report};
use crate::chain::{from_hex, hex};
use crate::store::Result;
use crate::store::audit::{Chain, StoredAct};
use crate::store::look::Look;

/// Entries read at once.
const PAGE: i64 = 2_000;

/// What the audit trail itself says of the other chains.
#[derive(Debug, Default)]
pub(super) struct Promised {
    /// Of the seals.
    pub seals: Vec<Claim>,
    /// Of the batches.
    pub batches: Vec<Claim>,
}

/// Walk the audit trail.
pub(super) async fn check(look: &mut Look, anchors: &[Anchor], report: &mut Report) -> Result<Promised> {
    let by = || "an anchor".to_owned();
    let claims = anchors.iter().map(|Anchor { audit_id, hash }| Claim { number: *audit_id, hash: *hash, by: by() });
    let mut walk = Walk::new("audit", "audit_id", claims.collect());
    let mut promised = Promised::default();
    report.count("audit", 0);
    loop {
        let acts = look.list_acts(walk.number(), PAGE).await?;
        if acts.is_empty() {
            break;
        }
        for act in &acts {
            let link = Link { number: act.audit_id, previous: &act.previous_hash, hash: &act.hash };
            walk.step(link, |previous| act.hash_behind(previous), report);
            if act.action == "anchored" {
                promised.seals.extend(claim(act, "seals"));
                promised.batches.extend(claim(act, "batches"));
            }
        }
    }
    let head = look.head(Chain::Acts).await?;
    walk.end(Chain::Acts.as_str(), (head.number, head.hash), report);
    Ok(promised)
}

/// See that the batches are those that anchorings have named.
pub(super) async fn check_batches(look: &mut Look, claims: &[Claim], report: &mut Report) -> Result<()> {
    let numbers: Vec<i64> = claims.iter().map(|claim| claim.number).collect();
    let hashes = look.list_batch_hashes(&numbers).await?;
    for Claim { number, hash, by } in claims {
        let what = match hashes.get(number) {
            Some(found) if found == hash => continue,
            Some(_) => format!("has another hash than {by} says, {}", hex(hash)),
            None => format!("is missing: {by} has seen it"),
        };
        report.breach("batch", format!("batch {number}"), what);
    }
    Ok(())
}

/// What an anchoring says of another chain's head.
fn claim(act: &StoredAct, chain: &str) -> Option<Claim> {
    let detail: serde_json::Value = serde_json::from_str(&act.detail).ok()?;
    let head = detail.get(chain)?;
    Some(Claim {
        number: head.get("number")?.as_i64().filter(|number| *number > 0)?,
        hash: from_hex(head.get("hash")?.as_str()?)?,
        by: format!("the audit trail, entry {}", act.audit_id),
    })
}
