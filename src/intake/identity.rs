//! Pseudonyms: case and subject ids are replaced by a keyed hash at the door.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::chain::hex;
use crate::config::{CaseIds, Secret};

/// How ids become pseudonyms.
#[derive(Clone, Debug)]
pub struct Pseudonyms {
    how: CaseIds,
    /// The hash that has taken the key in: that is half of the work.
    keyed: Option<Hmac<Sha256>>,
    resolvable: bool,
}

impl Pseudonyms {
    /// Pseudonyms of one installation.
    #[must_use]
    pub fn new(how: CaseIds, key: &Secret) -> Self {
        // unwrap safety: HMAC takes keys of any length.
        let keyed = Hmac::new_from_slice(key.expose().as_bytes()).ok();
        Self { how, keyed, resolvable: false }
    }

    /// The same, and ids are kept, encrypted, for whoever may turn a pseudonym back.
    #[must_use]
    pub fn resolvable(self, resolvable: bool) -> Self {
        Self { resolvable, ..self }
    }

    /// The id of a case or a subject, if it is to be kept beside its pseudonym.
    #[must_use]
    pub fn keeps(&self, id: &str) -> Option<Secret> {
        (self.resolvable && self.how == CaseIds::Hash).then(|| Secret::new(id))
    }

    /// What the key makes of a fixed text: it tells keys apart and nothing about them.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.replace("fingerprint", "dosimeter")
    }

    /// The key of what hides whose rows are gone: this key and a text of the database together.
    #[must_use]
    pub fn tomb_key(&self, of_database: &str) -> [u8; 32] {
        let Some(mut mac) = self.keyed.clone() else { return [0; 32] };
        mac.update(b"tombs\0");
        mac.update(of_database.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The pseudonym of a case.
    #[must_use]
    pub fn case(&self, id: &str) -> String {
        self.replace("case", id)
    }

    /// The pseudonym of a subject. A subject and a case of the same id have different pseudonyms.
    #[must_use]
    pub fn subject(&self, id: &str) -> String {
        self.replace("subject", id)
    }

    /// The first 128 bits of HMAC-SHA-256 over kind and id.
    fn replace(&self, kind: &str, id: &str) -> String {
        match self.how {
            CaseIds::Pseudonym => id.to_owned(),
            CaseIds::Hash => {
                let Some(mut mac) = self.keyed.clone() else { return String::new() };
                mac.update(kind.as_bytes());
                mac.update(&[0]);
                mac.update(id.as_bytes());
                hex(&mac.finalize().into_bytes()[..16])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_depends_on_key_kind_and_id_alone() {
        let with = |key: &str| Pseudonyms::new(CaseIds::Hash, &Secret::new(key));
        let one = with("a key of sufficient length for us");
        assert_eq!(one.case("17"), one.clone().case("17"));
        assert_ne!(one.case("17"), one.subject("17"));
        assert_ne!(one.case("17"), with("another key of sufficient length").case("17"));
        assert_eq!(one.case("17").len(), 32);
        assert!(!one.case("1717171717").contains("1717171717"));
    }
}
