//! Cases whose rows are gone: remembered in a form that names nobody, so that no record brings them back.
//!
//! A tomb is a keyed hash of a pseudonym. The key is made of one in the database and of the key of the pseudonyms, which is
//! outside: neither the database nor the configuration alone tells whose tombs they are.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::batch::{Batch, PREDICTION};
use super::identifier::IdKind;
use super::link::Link;
use super::{Named, Result, Store, Transaction};
use crate::domain::Reason;

/// A keyed hash of a kind and a pseudonym.
pub(super) type Tomb = [u8; 16];

/// The key of the tombs.
#[derive(Clone, Default)]
pub struct TombKey([u8; 32]);

impl std::fmt::Debug for TombKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl TombKey {
    /// A key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// What stands before a pseudonym of a kind: the tomb is half the SHA-256 of both.
    pub(super) fn prefix(&self, kind: IdKind) -> Vec<u8> {
        let mut bytes = self.0.to_vec();
        bytes.extend(kind.as_str().as_bytes());
        bytes.push(0);
        bytes
    }

    /// The tomb of a pseudonym.
    pub(super) fn tomb(&self, kind: IdKind, pseudonym: &str) -> Tomb {
        let digest = Sha256::new().chain_update(self.prefix(kind)).chain_update(pseudonym).finalize();
        std::array::from_fn(|place| digest[place])
    }
}

/// Which records of a batch are not taken in because what they are about is gone: by place, why.
#[derive(Debug, Default)]
pub(super) struct Barred {
    pub(super) predictions: HashMap<usize, Reason>,
    pub(super) assertions: HashMap<usize, Reason>,
}

impl Barred {
    /// The pseudonyms of whom nothing may be kept.
    pub(super) fn persons<'b>(&self, batch: &'b Batch) -> HashSet<(IdKind, &'b str)> {
        let mut persons = HashSet::new();
        for (place, _) in self.predictions.iter().filter(|(_, reason)| **reason == Reason::Erased) {
            let prediction = &batch.predictions[*place].prediction;
            persons.insert((IdKind::Case, prediction.case_id.as_str()));
            persons.extend(prediction.subject_id.as_deref().map(|subject| (IdKind::Subject, subject)));
        }
        for place in self.assertions.keys() {
            persons.insert((IdKind::Case, batch.assertions[*place].assertion.case_id.as_str()));
        }
        persons
    }
}

/// Whose rows a tomb stands for.
struct Gone {
    is_erased: bool,
    at: DateTime<Utc>,
}

/// Find them. Nearly always nothing is gone and nothing frozen, and this asks nothing.
pub(super) async fn bar(transaction: &mut Transaction, key: &TombKey, batch: &Batch, link: &Link) -> Result<Barred> {
    let mut barred = Barred::default();
    if let Some(before) = link.frozen_before {
        let frozen = batch.predictions.iter().enumerate().filter(|(_, new)| new.prediction.occurred_at < before);
        barred.predictions.extend(frozen.map(|(place, _)| (place, Reason::Frozen)));
    }
    if !link.gone {
        return Ok(barred);
    }
    let gone = find(transaction, key, batch).await?;
    if gone.is_empty() {
        return Ok(barred);
    }
    let case = |case_id: &str| gone.get(&key.tomb(IdKind::Case, case_id));
    for (place, new) in batch.predictions.iter().enumerate() {
        let subject = new.prediction.subject_id.as_ref();
        let subject = subject.and_then(|subject| gone.get(&key.tomb(IdKind::Subject, subject)));
        // What is done to the person from then on is another matter.
        let of_before = subject.is_some_and(|subject| new.prediction.occurred_at < subject.at);
        if of_before || case(&new.prediction.case_id).is_some_and(|case| case.is_erased) {
            barred.predictions.insert(place, Reason::Erased);
        }
    }
    let mut retired = Vec::new();
    for (place, new) in batch.assertions.iter().enumerate() {
        match case(&new.assertion.case_id) {
            Some(case) if case.is_erased => drop(barred.assertions.insert(place, Reason::Erased)),
            Some(_) => retired.push((place, new.assertion.case_id.as_str())),
            None => {}
        }
    }
    // A case that has been predicted anew since has use for what is said of it.
    let cases: Vec<&str> = retired.iter().map(|(_, case)| *case).collect();
    let living = living(transaction, &cases).await?;
    let own = |case: &str| {
        let own = batch.predictions.iter().enumerate();
        own.filter(|(place, _)| !barred.predictions.contains_key(place)).any(|(_, new)| new.prediction.case_id == case)
    };
    let dead = retired.iter().filter(|(_, case)| !living.contains(*case) && !own(case));
    barred.assertions.extend(dead.map(|(place, _)| (*place, Reason::Frozen)));
    Ok(barred)
}

/// The tombs of a batch's cases and subjects that there are.
async fn find(transaction: &mut Transaction, key: &TombKey, batch: &Batch) -> Result<HashMap<Tomb, Gone>> {
    let mut tombs: HashSet<Tomb> = HashSet::new();
    for new in &batch.predictions {
        tombs.insert(key.tomb(IdKind::Case, &new.prediction.case_id));
        tombs.extend(new.prediction.subject_id.as_ref().map(|subject| key.tomb(IdKind::Subject, subject)));
    }
    tombs.extend(batch.assertions.iter().map(|new| key.tomb(IdKind::Case, &new.assertion.case_id)));
    let rows: Vec<(Vec<u8>, bool, DateTime<Utc>)> =
        sqlx::query_as("select tomb, erasure_id is not null, gone_at from gone_case where tomb = any($1)")
            .bind(tombs.iter().map(|tomb| tomb.to_vec()).collect::<Vec<_>>())
            .fetch_all(&mut **transaction)
            .await
            .named("find_tombs")?;
    let gone =
        rows.into_iter().filter_map(|(tomb, is_erased, at)| Some((tomb.try_into().ok()?, Gone { is_erased, at })));
    Ok(gone.collect())
}

/// The cases among some that have a prediction.
async fn living(transaction: &mut Transaction, cases: &[&str]) -> Result<HashSet<String>> {
    if cases.is_empty() {
        return Ok(HashSet::new());
    }
    let living: Vec<String> =
        sqlx::query_scalar("select distinct case_id from record_key where case_id = any($1) and kind = $2")
            .bind(cases)
            .bind(PREDICTION)
            .fetch_all(&mut **transaction)
            .await
            .named("find_living")?;
    Ok(living.into_iter().collect())
}

impl Store {
    /// The same store with the key of the tombs.
    #[must_use]
    pub fn with_tombs(self, tombs: TombKey) -> Self {
        Self { tombs, ..self }
    }

    /// The part of the key of the tombs that the database holds.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn load_tomb_key(&self) -> Result<String> {
        sqlx::query_scalar("select tomb_key from installation").fetch_one(&self.pool).await.named("load_tomb_key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tomb_depends_on_the_key_the_kind_and_the_pseudonym() {
        let key = TombKey::new([1; 32]);
        let tombs = [
            key.tomb(IdKind::Case, "a"),
            key.tomb(IdKind::Subject, "a"),
            key.tomb(IdKind::Case, "b"),
            TombKey::new([2; 32]).tomb(IdKind::Case, "a"),
        ];
        assert_eq!(tombs.iter().collect::<HashSet<_>>().len(), tombs.len());
        assert_eq!(tombs[0], key.clone().tomb(IdKind::Case, "a"));
    }
}
