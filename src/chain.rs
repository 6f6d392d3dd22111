//! Chains of hashes: each link names the hash of the one before it, so nothing in the middle can be changed, taken out or put
//! in without every later hash changing. Pure.
//!
//! What is hashed is an encoding that is the same everywhere: fields in order, each behind its length, led by the name of what
//! it is and the version of the encoding. An encoding never changes: another one gets another version. `docs/audit.md` gives
//! it byte by byte, so that anybody can check a chain with other tools.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// What stands before the first link.
pub const GENESIS: Hash = [0; 32];

/// A canonical encoding on its way into SHA-256.
#[derive(Clone, Debug)]
pub struct Encoding(Sha256);

impl Encoding {
    /// The encoding of something: its kind and the version of its encoding, such as `dosimeter audit 1`.
    #[must_use]
    pub fn of(kind: &str) -> Self {
        Self(Sha256::new()).text(kind)
    }

    /// Bytes, behind their length as eight bytes, the highest first.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// A text in UTF-8.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// A whole number: eight bytes, the highest first, two's complement.
    #[must_use]
    pub fn number(self, number: i64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// An instant: microseconds since 1970 in UTC, as a number.
    #[must_use]
    pub fn instant(self, at: DateTime<Utc>) -> Self {
        self.number(at.timestamp_micros())
    }

    /// The hash of it all.
    #[must_use]
    pub fn hash(self) -> Hash {
        self.0.finalize().into()
    }
}

/// An entry of the audit trail, as it is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act<'a> {
    /// Its number.
    pub audit_id: i64,
    /// When, by the daemon's clock.
    pub at: DateTime<Utc>,
    /// When it was written, by the database server's clock.
    pub written_at: DateTime<Utc>,
    /// Who.
    pub actor: &'a str,
    /// What was done.
    pub action: &'a str,
    /// To what.
    pub subject: &'a str,
    /// Why.
    pub reason: &'a str,
    /// Particulars: the very text of the JSON that is stored.
    pub detail: &'a str,
}

impl Act<'_> {
    /// Its hash, behind the entry before it.
    #[must_use]
    pub fn hash(&self, previous: &Hash) -> Hash {
        Encoding::of("dosimeter audit 1")
            .number(self.audit_id)
            .instant(self.at)
            .instant(self.written_at)
            .text(self.actor)
            .text(self.action)
            .text(self.subject)
            .text(self.reason)
            .text(self.detail)
            .bytes(previous)
            .hash()
    }
}

/// A seal of rows that one transaction wrote into one table, as it is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal<'a> {
    /// Its number, without gaps.
    pub number: i64,
    /// What its rows carry.
    pub seal_id: i64,
    /// The table.
    pub relation: &'a str,
    /// The hashes of its rows, one behind the other, in the order of the rows' keys.
    pub leaves: &'a [u8],
    /// When, by the database server's clock.
    pub sealed_at: DateTime<Utc>,
}

impl Seal<'_> {
    /// Its hash, behind the seal before it.
    #[must_use]
    pub fn hash(&self, previous: &Hash) -> Hash {
        Encoding::of("dosimeter seal 1")
            .number(self.number)
            .number(self.seal_id)
            .text(self.relation)
            .bytes(&Sha256::digest(self.leaves))
            .instant(self.sealed_at)
            .bytes(previous)
            .hash()
    }
}

/// A hash as people and other programs read it.
#[must_use]
pub fn hex(hash: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A hash from what people and other programs read.
#[must_use]
pub fn from_hex(text: &str) -> Option<Hash> {
    let mut hash = GENESIS;
    let text = text.as_bytes();
    if text.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act() -> Act<'static> {
        Act {
            audit_id: 1,
            at: "2025-03-01T09:30:00.000001Z".parse().expect("an instant"),
            written_at: "2025-03-01T09:30:01Z".parse().expect("an instant"),
            actor: "Dr Exämple",
            action: "alert acknowledged",
            subject: "alert 17",
            reason: "scanner exchanged",
            detail: r#"{"state":"acknowledged"}"#,
        }
    }

    fn seal(leaves: &[u8]) -> Seal<'_> {
        let sealed_at = "2025-03-01T09:30:01Z".parse().expect("an instant");
        Seal { number: 4, seal_id: 9, relation: "estimate", leaves, sealed_at }
    }

    /// Made with Python's struct and hashlib, from docs/audit.md.
    #[test]
    fn hashes_are_those_of_other_programs() {
        let first = act().hash(&GENESIS);
        assert_eq!(hex(&first), "3eb21a1985317cc3cd554de9b9c0ae6d2a9fe7a34b640a64d72185093f7413df");
        assert_eq!(
            hex(&Act { audit_id: 2, ..act() }.hash(&first)),
            "4fabb4087bc9ed9ef27faf50888321bd5558df408cf4185297051d44480c1730"
        );
        assert_eq!(
            hex(&seal(&[7; 64]).hash(&first)),
            "9e85ff29481a0a1b4c779dee7a55d34fb09681b5bd45006157f9afb6189c99ad"
        );
    }

    #[test]
    fn no_field_can_pass_a_byte_to_its_neighbour() {
        let moved = Act { actor: "Dr Exämplea", action: "lert acknowledged", ..act() };
        assert_ne!(moved.hash(&GENESIS), act().hash(&GENESIS));
    }

    #[test]
    fn hashes_are_read_as_they_are_written() {
        let hash = act().hash(&GENESIS);
        assert_eq!(from_hex(&hex(&hash)), Some(hash));
        assert_eq!((from_hex("00"), from_hex(&"zz".repeat(32))), (None, None));
    }
}
