//! The chain of seals, and the rows that they cover.

use std::collections::{BTreeMap, HashSet};

use super::walk::{Claim, Link, Walk};
use super::{Depth, Report};
use crate::store::Result;
use crate::store::audit::Chain;
use crate::store::look::Look;
use crate::store::seal::{RELATIONS, Relation, SealedRow, StoredSeal};

/// Seals read at once: a seal may be of thousands of rows.
const PAGE: i64 = 100;
/// Bytes of a row's hash.
const LEAF: usize = 32;

/// Walk the seals, and with [`Depth::Full`] every row under them.
pub(super) async fn check(look: &mut Look, depth: Depth, claims: Vec<Claim>, report: &mut Report) -> Result<()> {
    let mut walk = Walk::new("seal", "number", claims);
    report.count("seal", 0);
    loop {
        let seals = look.list_seals(walk.number(), PAGE).await?;
        if seals.is_empty() {
            break;
        }
        for seal in &seals {
            let link = Link { number: seal.number, previous: &seal.previous_hash, hash: &seal.hash };
            walk.step(link, |previous| seal.hash_behind(previous), report);
        }
        if depth == Depth::Full {
            check_rows(look, &seals, report).await?;
        }
    }
    let head = look.head(Chain::Seals).await?;
    walk.end(Chain::Seals.as_str(), (head.number, head.hash), report);
    if depth == Depth::Full {
        for relation in &RELATIONS {
            for row in look.list_unsealed_rows(relation).await? {
                report.breach(relation.name, row, "was put in: no seal has it");
            }
        }
    }
    Ok(())
}

/// Compare the rows under seals with what was sealed.
async fn check_rows(look: &mut Look, seals: &[StoredSeal], report: &mut Report) -> Result<()> {
    let mut by_relation: BTreeMap<&str, Vec<&StoredSeal>> = BTreeMap::new();
    for seal in seals {
        by_relation.entry(&seal.relation).or_default().push(seal);
    }
    for (name, seals) in by_relation {
        let Some(relation) = Relation::find(name) else {
            let numbers = seals.iter().map(|seal| format!("number {}", seal.number));
            numbers.for_each(|row| report.breach("seal", row, "is of a table that nothing seals"));
            continue;
        };
        let ids: Vec<i64> = seals.iter().map(|seal| seal.seal_id).collect();
        let rows = look.list_sealed_rows(relation, &ids).await?;
        report.count(relation.name, rows.len() as u64);
        for seal in seals {
            let from = rows.partition_point(|row| row.seal_id < seal.seal_id);
            let to = rows.partition_point(|row| row.seal_id <= seal.seal_id);
            for (row, what) in compare(seal.seal_id, &seal.leaves, &rows[from..to]) {
                report.breach(relation.name, row, what);
            }
        }
    }
    Ok(())
}

/// What does not fit between the hashes that were sealed and the rows that are there, both in the order of keys.
fn compare(seal_id: i64, leaves: &[u8], rows: &[SealedRow]) -> Vec<(String, String)> {
    let sealed: Vec<&[u8]> = leaves.chunks_exact(LEAF).collect();
    if sealed.len() == rows.len() && sealed.iter().zip(rows).all(|(leaf, row)| *leaf == row.leaf) {
        return Vec::new();
    }
    let known: HashSet<&[u8]> = sealed.iter().copied().collect();
    let present: HashSet<&[u8]> = rows.iter().map(|row| row.leaf.as_slice()).collect();
    let strange = rows.iter().filter(|row| !known.contains(row.leaf.as_slice()));
    let mut found: Vec<(String, String)> = strange
        .map(|row| (row.key.clone(), format!("is not what seal_id {seal_id} has sealed: it was altered or put in")))
        .collect();
    let missing: Vec<usize> = (0..sealed.len()).filter(|index| !present.contains(sealed[*index])).collect();
    // An altered row is one that is strange and one that is missing: it is named already.
    if missing.len() > found.len() {
        let gone = missing.len() - found.len();
        for index in missing.iter().take(if found.is_empty() { gone } else { 0 }) {
            let before = index.checked_sub(1).map(|before| sealed[before]);
            let behind = rows.iter().find(|row| Some(row.leaf.as_slice()) == before);
            let behind = behind.map(|row| format!(", behind {}", row.key)).unwrap_or_default();
            let row = format!("row {} of {} of seal_id {seal_id}{behind}", index + 1, sealed.len());
            found.push((row, "is missing".to_owned()));
        }
        if !missing.is_empty() && gone < missing.len() {
            found.push((format!("{gone} of {} rows of seal_id {seal_id}", sealed.len()), "are missing".to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, leaf: u8) -> SealedRow {
        SealedRow { seal_id: 7, key: key.to_owned(), leaf: vec![leaf; LEAF] }
    }

    fn found(rows: &[SealedRow]) -> Vec<String> {
        let leaves: Vec<u8> = [1, 2, 3].into_iter().flat_map(|leaf| [leaf; LEAF]).collect();
        compare(7, &leaves, rows).into_iter().map(|(row, what)| format!("{row} {what}")).collect()
    }

    #[test]
    fn each_row_that_does_not_fit_is_named() {
        assert_eq!(found(&[row("id 1", 1), row("id 2", 2), row("id 3", 3)]), Vec::<String>::new());
        let strange = |key| format!("{key} is not what seal_id 7 has sealed: it was altered or put in");
        assert_eq!(found(&[row("id 1", 1), row("id 2", 9), row("id 3", 3)]), [strange("id 2")]);
        assert_eq!(found(&[row("id 1", 1), row("id 2", 2), row("id 3", 3), row("id 4", 4)]), [strange("id 4")]);
        assert_eq!(found(&[row("id 1", 1), row("id 3", 3)]), ["row 2 of 3 of seal_id 7, behind id 1 is missing"]);
        assert_eq!(found(&[row("id 2", 9)]), [strange("id 2"), "2 of 3 rows of seal_id 7 are missing".to_owned()]);
        // A key that was altered may change the order.
        assert_eq!(found(&[row("id 1", 1), row("id 3", 3), row("id 9", 9)]), [strange("id 9")]);
        assert_eq!(found(&[]).len(), 3);
    }
}
