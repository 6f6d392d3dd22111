//! The map from pseudonyms back to case and subject ids: encrypted, erasable, and asked by name and with a reason.
//!
//! A row is written in the transaction of the first record that brings the id. What is erased stays as a row without
//! content, so that no later record brings it back.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::attempt::spread;
use super::audit::append;
use super::batch::Batch;
use super::copy::CopyBinary;
use super::few::FEW;
use super::leaf::{Leaves, Relation, Salt, of_identifier};
use super::{Error, Named, Result, Store, Transaction, attempt};
use crate::config::Secret;
use crate::vault::{NONCE, Ring};

/// What a pseudonym stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdKind {
    /// A case.
    Case,
    /// A subject.
    Subject,
}

impl IdKind {
    /// The word of the store and of people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Case => "case",
            Self::Subject => "subject",
        }
    }

    fn number(self) -> i16 {
        match self {
            Self::Case => 1,
            Self::Subject => 2,
        }
    }

    fn of_number(number: i16) -> Self {
        if number == 2 { Self::Subject } else { Self::Case }
    }

    fn about(self, pseudonym: &str) -> [&str; 3] {
        ["identifier", self.as_str(), pseudonym]
    }
}

/// What the content of a row is about.
pub(super) fn about(kind: i16, pseudonym: &str) -> [&str; 3] {
    IdKind::of_number(kind).about(pseudonym)
}

/// What is known of a pseudonym.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// The id that it stands for.
    Id(IdKind, Secret),
    /// Its id was erased then.
    Erased(IdKind, DateTime<Utc>),
    /// No id is kept for it.
    Unknown,
}

/// Identifiers that are not in the map yet, encrypted.
#[derive(Default)]
pub(super) struct Sealed {
    key_id: String,
    kinds: Vec<i16>,
    pseudonyms: Vec<String>,
    bytes: Vec<Vec<u8>>,
    salts: Vec<Salt>,
}

/// A nonce; it is long enough to be random.
pub(super) fn nonce() -> [u8; NONCE] {
    rand::random()
}

/// Encrypt the ids of a batch that the map does not have. Before the batch counter is locked: others need not wait for it.
pub(super) async fn seal(transaction: &mut Transaction, ring: Option<&Ring>, batch: &Batch) -> Result<Sealed> {
    let Some(ring) = ring else { return Ok(Sealed::default()) };
    let mut raw: BTreeMap<(IdKind, &str), &Secret> = BTreeMap::new();
    for new in &batch.predictions {
        let (case, subject) = (&new.prediction.case_id, new.prediction.subject_id.as_ref());
        raw.extend(new.case.as_ref().map(|id| ((IdKind::Case, case.as_str()), id)));
        raw.extend(subject.zip(new.subject.as_ref()).map(|(subject, id)| ((IdKind::Subject, subject.as_str()), id)));
    }
    for new in &batch.assertions {
        raw.extend(new.case.as_ref().map(|id| ((IdKind::Case, new.assertion.case_id.as_str()), id)));
    }
    if raw.is_empty() {
        return Ok(Sealed::default());
    }
    let all: Vec<(IdKind, &str)> = raw.keys().copied().collect();
    let sample: Vec<(IdKind, &str)> = spread(all.len()).map(|place| all[place]).collect();
    // Where none of a sample of many is known all are taken for new; that one is not costs its encryption.
    let seem_new = all.len() > FEW && find_known(transaction, &sample).await?.is_empty();
    let known = if seem_new { Vec::new() } else { find_known(transaction, &all).await? };
    let known: HashSet<(IdKind, &str)> =
        known.iter().map(|(name, kind)| (IdKind::of_number(*kind), name.as_str())).collect();
    let mut sealed = Sealed { key_id: ring.newest().to_owned(), ..Sealed::default() };
    for ((kind, pseudonym), id) in raw.into_iter().filter(|(key, _)| !known.contains(key)) {
        sealed.kinds.push(kind.number());
        sealed.bytes.push(ring.seal(&kind.about(pseudonym), id.expose().as_bytes(), nonce()));
        sealed.pseudonyms.push(pseudonym.to_owned());
        sealed.salts.push(rand::random());
    }
    Ok(sealed)
}

/// Those of some pseudonyms that the map has.
async fn find_known(transaction: &mut Transaction, of: &[(IdKind, &str)]) -> Result<Vec<(String, i16)>> {
    let (pseudonyms, kinds): (Vec<&str>, Vec<i16>) = of.iter().map(|(kind, name)| (*name, kind.number())).unzip();
    sqlx::query_as(
        "select pseudonym, kind from identifier
        where (pseudonym, kind) in (select * from unnest($1::text[], $2::smallint[]))",
    )
    .bind(pseudonyms)
    .bind(kinds)
    .fetch_all(&mut **transaction)
    .await
    .named("find_identifiers")
}

impl Sealed {
    /// Leave out the ids of whom nothing is taken in.
    pub(super) fn forget(&mut self, barred: &HashSet<(IdKind, &str)>) {
        if barred.is_empty() {
            return;
        }
        let is_kept =
            |place: usize| !barred.contains(&(IdKind::of_number(self.kinds[place]), self.pseudonyms[place].as_str()));
        let kept: Vec<usize> = (0..self.kinds.len()).filter(|place| is_kept(*place)).collect();
        *self = Self {
            key_id: std::mem::take(&mut self.key_id),
            kinds: kept.iter().map(|place| self.kinds[*place]).collect(),
            pseudonyms: kept.iter().map(|place| self.pseudonyms[*place].clone()).collect(),
            bytes: kept.iter().map(|place| self.bytes[*place].clone()).collect(),
            salts: kept.iter().map(|place| self.salts[*place]).collect(),
        };
    }
}

/// Write encrypted ids. While the batch counter is locked: nobody else writes the same ones meanwhile.
pub(super) async fn insert(
    transaction: &mut Transaction,
    sealed: &Sealed,
    batch_id: i64,
    (leaves, now): (&mut Leaves, DateTime<Utc>),
) -> Result<()> {
    if sealed.bytes.is_empty() {
        return Ok(());
    }
    if sealed.bytes.len() > FEW {
        attempt::begin(transaction).await?;
        let written = copy(transaction, sealed, batch_id).await;
        if attempt::end(transaction, written).await? {
            let new = sealed.salts.iter().zip(&sealed.kinds).zip(&sealed.pseudonyms);
            for ((salt, kind), pseudonym) in new {
                leaves.add(Relation::Identifier, now, of_identifier(salt, *kind, pseudonym));
            }
            return Ok(());
        }
    }
    let written: Vec<(String, i16, Vec<u8>)> = sqlx::query_as(
        "insert into identifier (pseudonym, kind, key_id, sealed, batch_id, salt)
        select pseudonym, kind, $4, sealed, $5, salt
        from unnest($1::text[], $2::smallint[], $3::bytea[], $6::bytea[]) as t (pseudonym, kind, sealed, salt)
        on conflict do nothing returning pseudonym, kind, salt",
    )
    .bind(&sealed.pseudonyms)
    .bind(&sealed.kinds)
    .bind(&sealed.bytes)
    .bind(&sealed.key_id)
    .bind(batch_id)
    .bind(sealed.salts.iter().map(|salt| salt.to_vec()).collect::<Vec<_>>())
    .fetch_all(&mut **transaction)
    .await
    .named("insert_identifiers")?;
    for (pseudonym, kind, salt) in written {
        // unwrap safety: the salt is one of those above.
        let salt = salt.try_into().unwrap_or_default();
        leaves.add(Relation::Identifier, now, of_identifier(&salt, kind, &pseudonym));
    }
    Ok(())
}

async fn copy(transaction: &mut Transaction, sealed: &Sealed, batch_id: i64) -> Result<()> {
    let statement = "copy identifier (pseudonym, kind, key_id, sealed, batch_id, salt) from stdin (format binary)";
    let mut copy = CopyBinary::begin(transaction, statement).await?;
    for (place, bytes) in sealed.bytes.iter().enumerate() {
        copy.row(6, |row| {
            row.text(&sealed.pseudonyms[place]);
            row.int2(sealed.kinds[place]);
            row.text(&sealed.key_id);
            row.bytes(bytes);
            row.int8(batch_id);
            row.bytes(&sealed.salts[place]);
        })
        .await?;
    }
    copy.finish().await?;
    Ok(())
}

/// An encrypted row: what it is about, its key, its bytes.
type SealedRow = (String, i16, Option<String>, Option<Vec<u8>>, Option<DateTime<Utc>>);

fn unreadable(row: String, source: crate::vault::Error) -> Error {
    match source {
        crate::vault::Error::UnknownKey(_) => Error::Refused(format!("{row}: {source}")),
        source => Error::Corrupt { table: "identifier", column: "sealed", row, source: source.into() },
    }
}

impl Store {
    /// Turn a pseudonym back, in a person's name. Audited, without the id; that it was asked for in vain is noted as well.
    ///
    /// # Errors
    /// When the key is not in the ring, the row has been changed, or Postgres fails.
    pub async fn resolve(&self, pseudonym: &str, by: &str, reason: &str, now: DateTime<Utc>) -> Result<Resolved> {
        let mut transaction = self.begin().await?;
        let row: Option<SealedRow> = sqlx::query_as(
            "select pseudonym, kind, key_id, sealed, erased_at from identifier where pseudonym = $1 order by kind limit 1",
        )
        .bind(pseudonym)
        .fetch_optional(&mut *transaction)
        .await
        .named("find_identifier")?;
        let resolved = match row {
            None => Resolved::Unknown,
            Some((_, kind, Some(key_id), Some(sealed), _)) => {
                let (kind, name) = (IdKind::of_number(kind), || format!("pseudonym {pseudonym}"));
                let no_ring = || unreadable(name(), crate::vault::Error::UnknownKey(key_id.clone()));
                let ring = self.ring.as_ref().ok_or_else(no_ring)?;
                let id = ring.open(&key_id, &kind.about(pseudonym), &sealed);
                let id = id.map_err(|error| unreadable(name(), error))?;
                Resolved::Id(kind, Secret::new(&String::from_utf8_lossy(&id)))
            }
            Some((_, kind, .., erased_at)) => Resolved::Erased(IdKind::of_number(kind), erased_at.unwrap_or(now)),
        };
        let outcome = match &resolved {
            Resolved::Id(..) => "told",
            Resolved::Erased(..) => "erased",
            Resolved::Unknown => "unknown",
        };
        let subject = format!("pseudonym {pseudonym}");
        let detail = json!({ "outcome": outcome });
        append(&mut transaction, now, by, "identifier asked for", &subject, reason, detail).await?;
        transaction.commit().await.named("resolve")?;
        Ok(resolved)
    }

    /// Erase the id that a pseudonym stands for, in a person's name. Audited. `false` when none is kept.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn erase_identifier(&self, pseudonym: &str, by: &str, reason: &str, now: DateTime<Utc>) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let erased = sqlx::query(
            "update identifier set sealed = null, key_id = null, erased_at = $2 where pseudonym = $1 and sealed is not null",
        )
        .bind(pseudonym)
        .bind(now)
        .execute(&mut *transaction)
        .await
        .named("erase_identifier")?;
        let is_erased = erased.rows_affected() > 0;
        if is_erased {
            let subject = format!("pseudonym {pseudonym}");
            append(&mut transaction, now, by, "identifier erased", &subject, reason, json!({})).await?;
        }
        transaction.commit().await.named("erase_identifier")?;
        Ok(is_erased)
    }
}
