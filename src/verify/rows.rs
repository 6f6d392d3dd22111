//! Do the rows that came in add up to the batches that brought them?
//!
//! The chain of batches proves their order and their counts. Every row is a leaf of its batch: with those that are left of erased
//! rows, the leaves of each part of a batch add up to its digest, or to what was left of it after retention. Beside that, what two
//! tables say of one record agrees. Memory is bounded: batches are walked in groups of so many rows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Depth, Report};
use crate::chain::{GENESIS, Hash};
use crate::store::Result;
use crate::store::leaf::{BatchColumns, Part, Parts, Relation, Weight, batch_hash, read_parts, rows_digest};
use crate::store::proof::{Proof, Removed, StoredBatch};

/// Batches that are read at once.
const AT_ONCE: i64 = 5000;
/// Leaves that are held at once, unless one batch has more.
const MOST_LEAVES: u64 = 500_000;
/// Contradictions of each kind that are named.
const MOST_NAMED: i64 = 200;

/// What a walk over batches holds.
struct Walk<'r> {
    depth: Depth,
    removed: Removed,
    /// The number and the hash of the batch before.
    last: (i64, Vec<u8>),
    /// Batches whose rows are to be weighed together.
    group: BTreeMap<i64, (DateTime<Utc>, Parts)>,
    /// How many rows these have.
    leaves: u64,
    /// Rows of batches up to this one have been weighed.
    weighed: i64,
    report: &'r mut Report,
}

/// Verify the batches, and under [`Depth::Full`] every row that they brought.
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn check(mut proof: Proof<'_>, depth: Depth, report: &mut Report) -> Result<()> {
    let removed = proof.removed().await?;
    let last = (0, GENESIS.to_vec());
    let (group, weighed) = (BTreeMap::new(), i64::MIN);
    let mut walk = Walk { depth, removed, last, group, leaves: 0, weighed, report: &mut *report };
    loop {
        let batches = proof.batches(if walk.last.0 == 0 { i64::MIN } else { walk.last.0 }, AT_ONCE).await?;
        if batches.is_empty() {
            break;
        }
        for batch in batches {
            walk.batch(batch);
            if walk.leaves >= MOST_LEAVES {
                let until = walk.last.0;
                walk.weigh(&mut proof, until).await?;
            }
        }
    }
    let (last_batch, head) = proof.head().await?;
    if walk.last != (last_batch, head) {
        walk.report.breach(
            "batch",
            format!("batch {last_batch}"),
            "the head of the chain is not the last batch's number and hash",
        );
    }
    if depth == Depth::Full {
        walk.weigh(&mut proof, i64::MAX).await?;
        report.count("record_key", proof.count_keys().await?.cast_unsigned());
        for (relation, row, what) in proof.contradictions(MOST_NAMED).await? {
            report.breach(relation, row, what);
        }
    }
    for removal in proof.removals().await? {
        report.count(removal.relation, 1);
        if removal.stated != (removal.found.rows.cast_signed(), removal.found.digest.to_vec()) {
            report.breach(removal.relation, removal.row, "what is left of its rows is not what it states");
        } else if !removal.is_audited {
            report.breach(removal.relation, removal.row, "the audit does not state it");
        }
    }
    Ok(())
}

impl Walk<'_> {
    /// Check one batch against the one before it.
    fn batch(&mut self, batch: StoredBatch) {
        self.report.count("batch", 1);
        let row = || format!("batch {}", batch.batch_id);
        for what in faults(&self.last, &batch) {
            self.report.breach("batch", row(), what);
        }
        match read_parts(&batch.parts) {
            Ok(parts) => {
                if let Some(what) = unequal(&batch, &parts) {
                    self.report.breach("batch", row(), what);
                }
                self.leaves += parts.values().map(|weight| weight.rows).sum::<u64>();
                if self.depth == Depth::Full {
                    self.group.insert(batch.batch_id, (batch.committed_at, parts));
                }
            }
            Err(error) => self.report.breach("batch", row(), format!("its parts cannot be read: {error}")),
        }
        self.last = (batch.batch_id, batch.hash);
    }

    /// Weigh the rows of the group, and of whatever says it is of a batch up to `until` and is of none.
    async fn weigh(&mut self, proof: &mut Proof<'_>, until: i64) -> Result<()> {
        self.leaves = 0;
        if self.depth == Depth::Chain {
            return Ok(());
        }
        let first = self.weighed;
        let mut found: BTreeMap<(i64, Part), Vec<Hash>> = BTreeMap::new();
        for relation in Relation::ALL {
            let report = &mut *self.report;
            let tell = |stored: crate::store::proof::StoredLeaf| {
                report.count(relation.as_str(), 1);
                if let Some(fault) = stored.fault {
                    report.breach(relation.as_str(), stored.row.clone(), fault);
                }
                match stored.leaf {
                    Ok(leaf) => found.entry((stored.batch_id, stored.part)).or_default().push(leaf),
                    Err(why) => report.breach(relation.as_str(), stored.row, why),
                }
            };
            proof.leaves(relation, (first, until), tell).await?;
        }
        let left = proof.left_of(first, until).await?;
        let mut erased: BTreeMap<(i64, Part), Vec<Hash>> = BTreeMap::new();
        for (batch_id, part, leaf) in proof.erased(first, until).await? {
            self.report.count("erased_leaf", 1);
            erased.entry((batch_id, part)).or_default().push(leaf);
        }
        for (batch_id, (committed_at, parts)) in std::mem::take(&mut self.group) {
            for (part, stated) in parts {
                let live = found.remove(&(batch_id, part)).unwrap_or_default();
                let erased = erased.remove(&(batch_id, part)).unwrap_or_default();
                let stated = *left.get(&(batch_id, part)).unwrap_or(&stated);
                let fault = if self.removed.has(part, committed_at) {
                    (!live.is_empty()).then(|| format!("{} rows are there that retention had removed", live.len()))
                } else {
                    let rows = live.len();
                    let weight = Weight::of(live.into_iter().chain(erased).collect());
                    (weight != stated).then(|| misfit(weight, stated, rows))
                };
                if let Some(fault) = fault {
                    self.report.breach(part.0.as_str(), name(batch_id, part), fault);
                }
            }
        }
        for ((batch_id, part), leaves) in found {
            let what = format!("{} rows are there that the batch did not bring", leaves.len());
            self.report.breach(part.0.as_str(), name(batch_id, part), what);
        }
        for ((batch_id, part), _) in erased {
            self.report.breach("erased_leaf", name(batch_id, part), "the batch did not bring what it says was erased");
        }
        self.weighed = until.saturating_add(1);
        Ok(())
    }
}

impl Removed {
    /// Whether retention has removed a part whole.
    fn has(&self, (relation, month): Part, committed_at: DateTime<Utc>) -> bool {
        match relation {
            Relation::Prediction => self.months.contains(&month),
            Relation::Rejection => self.rejections_before.is_some_and(|before| committed_at < before),
            Relation::Assertion | Relation::Identifier => false,
        }
    }
}

fn name(batch_id: i64, (_, month): Part) -> String {
    format!("batch {batch_id}, rows of {}", month.format("%Y-%m"))
}

fn misfit(found: Weight, stated: Weight, live: usize) -> String {
    if found.rows == stated.rows {
        format!("one of its {live} rows, or more, are not what the batch brought")
    } else {
        format!("{} rows and leaves are there, and the batch brought {}", found.rows, stated.rows)
    }
}

/// What of a batch does not fit to itself and to the one before it.
fn faults((last, last_hash): &(i64, Vec<u8>), batch: &StoredBatch) -> Vec<String> {
    let mut faults = Vec::new();
    if batch.batch_id != last + 1 {
        faults.push(format!("numbers are gapless, and the one before is {last}"));
    } else if batch.previous_hash != *last_hash {
        faults.push("previous_hash is not the hash of the batch before".to_owned());
    }
    let hashes: Option<(Hash, Hash)> =
        batch.previous_hash.as_slice().try_into().ok().zip(batch.rows_digest.as_slice().try_into().ok());
    let columns = BatchColumns {
        batch_id: batch.batch_id,
        source: &batch.source,
        origin: &batch.origin,
        committed_at: batch.committed_at,
        counts: [batch.accepted, batch.duplicates, batch.rejected],
    };
    if hashes.is_none_or(|(previous, digest)| batch_hash(&previous, columns, &digest).as_slice() != batch.hash) {
        faults.push("its hash is not that of its columns".to_owned());
    }
    faults
}

/// What of a batch's parts does not fit to its other columns.
fn unequal(batch: &StoredBatch, parts: &Parts) -> Option<String> {
    let rows = |wanted: &[Relation]| -> i64 {
        let own = parts.iter().filter(|((relation, _), _)| wanted.contains(relation));
        own.map(|(_, weight)| weight.rows.cast_signed()).sum()
    };
    if rows_digest(parts).as_slice() != batch.rows_digest {
        return Some("rows_digest is not that of its parts".to_owned());
    }
    let stated = (batch.accepted, batch.rejected);
    let counted = (rows(&[Relation::Prediction, Relation::Assertion]), rows(&[Relation::Rejection]));
    (stated != counted)
        .then(|| format!("it states {stated:?} records taken in and refused, and its parts have {counted:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::leaf::write_parts;

    fn batch(batch_id: i64, previous: Hash) -> StoredBatch {
        let (parts, committed_at) = (Parts::new(), DateTime::UNIX_EPOCH);
        let (source, origin) = ("s".to_owned(), "o".to_owned());
        let columns = BatchColumns { batch_id, source: &source, origin: &origin, committed_at, counts: [0, 2, 0] };
        let digest = rows_digest(&parts);
        let hash = batch_hash(&previous, columns, &digest).to_vec();
        StoredBatch {
            batch_id,
            committed_at,
            accepted: 0,
            duplicates: 2,
            rejected: 0,
            parts: write_parts(&parts),
            rows_digest: digest.to_vec(),
            previous_hash: previous.to_vec(),
            hash,
            source,
            origin,
        }
    }

    #[test]
    fn every_column_of_a_batch_is_in_the_chain() {
        let first = batch(1, GENESIS);
        let start = (0, GENESIS.to_vec());
        assert_eq!(faults(&start, &first), [""; 0]);
        let second = batch(2, first.hash.clone().try_into().expect("32 bytes"));
        assert_eq!(faults(&(1, first.hash.clone()), &second), [""; 0]);
        let changes: [&dyn Fn(&mut StoredBatch); 9] = [
            &|b| b.batch_id = 3,
            &|b| b.source.push('x'),
            &|b| b.origin.push('x'),
            &|b| b.committed_at += chrono::TimeDelta::seconds(1),
            &|b| b.accepted = 1,
            &|b| b.duplicates = 1,
            &|b| b.rejected = 1,
            &|b| b.previous_hash[0] ^= 1,
            &|b| b.rows_digest[0] ^= 1,
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut changed = second.clone();
            change(&mut changed);
            assert!(!faults(&(1, first.hash.clone()), &changed).is_empty(), "change {number}");
        }
        let mut parts = Parts::new();
        parts.insert((Relation::Prediction, DateTime::UNIX_EPOCH), Weight::of(vec![GENESIS]));
        assert!(unequal(&second, &parts).is_some() && unequal(&second, &Parts::new()).is_none());
    }
}
