//! Who may do what over HTTP: roles, tokens, and whether a secret that is shown is good.
//!
//! A token is `dsm_ID_SECRET`. The id finds its row; of the secret, 256 random bits, only the SHA-256 is kept, so a copy of the
//! database opens nothing. The beginning `dsm_` lets scanners of leaked secrets recognise one.
//! Look next at `store::token`, which keeps them, and at `http::routes`, which says what each route needs.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::alert::link::is_same_secret;
use crate::chain::hex;
use crate::domain::window::show_instant;

/// How every token begins.
const PREFIX: &str = "dsm_";
/// The longest name of a token.
const LONGEST_NAME: usize = 100;
/// Names that the daemon itself goes by in the audit trail.
const RESERVED: [&str; 3] = ["dosimeter", "configuration", "anybody"];

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Bring records in.
    Ingest,
    /// Ask for numbers, alerts and health.
    Read,
    /// Take the steps of people: acknowledge, resolve, silence. It reads as well.
    Operate,
    /// See everything, the audit trail and the tokens too, and change nothing.
    Audit,
    /// Everything.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [Self::Ingest, Self::Read, Self::Operate, Self::Audit, Self::Admin];

    /// The word of files, commands and documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Audit => "audit",
            Self::Admin => "admin",
        }
    }

    /// The role of a word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// Whether who has this role may do what needs another.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Operate | Self::Audit => needed == self || needed == Self::Read,
            Self::Ingest | Self::Read => needed == self,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Roles as people read them.
#[must_use]
pub fn list(roles: &[Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
}

/// A token as it is kept: everything but its secret.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Token {
    /// Its number, which stands in it.
    pub token_id: i64,
    /// Its name, which no other token has or has had: the audit trail names it.
    pub name: String,
    /// What it is for.
    pub roles: Vec<Role>,
    /// The only models it is for; absent: all.
    pub models: Option<Vec<String>>,
    /// SHA-256 of its secret.
    #[serde(skip)]
    pub hash: Vec<u8>,
    /// SHA-256 of the secret before it, and until when that one is good.
    #[serde(skip)]
    pub previous: Option<(Vec<u8>, DateTime<Utc>)>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// By whom.
    pub created_by: String,
    /// When it last got a new secret.
    pub rotated_at: Option<DateTime<Utc>>,
    /// When it was last used, to a minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When a person ended it.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Who did.
    pub revoked_by: Option<String>,
    /// Why.
    pub revoked_reason: Option<String>,
}

/// Why a token is not good. Only who has shown the right secret is told more than [`Refusal::Wrong`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such token, or its secret is another.
    Wrong,
    /// Its time is over.
    Expired(DateTime<Utc>),
    /// A person has ended it.
    Revoked(DateTime<Utc>),
    /// It has got a new secret, and the old one's grace is over.
    Rotated(DateTime<Utc>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong => f.write_str("this token is not known here; `dosimeter token list` shows those that are"),
            Self::Expired(at) => write!(f, "the token expired at {}; make another", show_instant(*at)),
            Self::Revoked(at) => write!(f, "the token was revoked at {}", show_instant(*at)),
            Self::Rotated(at) => {
                write!(f, "the token has a new secret, and this one was good until {}", show_instant(*at))
            }
        }
    }
}

impl Token {
    /// Whether a secret is this token's, and the token good.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, secret: &str, now: DateTime<Utc>) -> Result<(), Refusal> {
        let shown = hash(secret);
        let is = |kept: &[u8]| is_same_secret(&hex(kept), &hex(&shown));
        // Both are compared whatever the first says: the time does not tell which of them it is.
        let (is_present, is_previous) =
            (is(&self.hash), self.previous.as_ref().map(|(kept, until)| (is(kept), *until)));
        match (is_present, is_previous) {
            (true, _) => {}
            (false, Some((true, until))) if now < until => {}
            (false, Some((true, until))) => return Err(Refusal::Rotated(until)),
            _ => return Err(Refusal::Wrong),
        }
        if let Some(at) = self.revoked_at {
            return Err(Refusal::Revoked(at));
        }
        match self.expires_at {
            Some(at) if at <= now => Err(Refusal::Expired(at)),
            _ => Ok(()),
        }
    }

    /// What it is now, in a word.
    #[must_use]
    pub fn state(&self, now: DateTime<Utc>) -> &'static str {
        if self.revoked_at.is_some() {
            "revoked"
        } else if self.expires_at.is_some_and(|at| at <= now) {
            "expired"
        } else {
            "good"
        }
    }
}

/// What is kept of a secret.
#[must_use]
pub fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

/// A token as it is shown: once to whoever makes it, and then by programs.
#[must_use]
pub fn write(token_id: i64, secret: &str) -> String {
    format!("{PREFIX}{token_id}_{secret}")
}

/// The number and the secret of a token that is shown.
#[must_use]
pub fn read(text: &str) -> Option<(i64, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| id.parse().ok().map(|id| (id, secret))).flatten()
}

/// A name that a token may have.
///
/// # Errors
/// What is wrong with it.
pub fn name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(format!("{text:?} is no name of a token; write 1 to {LONGEST_NAME} characters"));
    }
    if RESERVED.contains(&name) {
        return Err(format!("{name:?} is a name of the daemon's own; choose another"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a valid instant")
    }

    fn token() -> Token {
        Token {
            token_id: 17,
            name: "ris".into(),
            roles: vec![Role::Ingest],
            models: None,
            hash: hash("new"),
            previous: Some((hash("old"), at(100))),
            created_at: at(0),
            created_by: "Dr Example".into(),
            rotated_at: Some(at(50)),
            last_used_at: None,
            expires_at: Some(at(1000)),
            revoked_at: None,
            revoked_by: None,
            revoked_reason: None,
        }
    }

    #[test]
    fn a_secret_is_good_until_it_is_replaced_and_its_grace_is_over() {
        let token = token();
        assert_eq!(token.judge("new", at(99)), Ok(()));
        assert_eq!(token.judge("old", at(99)), Ok(()));
        assert_eq!(token.judge("old", at(100)), Err(Refusal::Rotated(at(100))));
        assert_eq!(token.judge("new", at(999)), Ok(()));
        assert_eq!(token.judge("new", at(1000)), Err(Refusal::Expired(at(1000))));
        for wrong in ["", "ne", "newer", "NEW"] {
            assert_eq!(token.judge(wrong, at(1)), Err(Refusal::Wrong), "{wrong}");
        }
    }

    #[test]
    fn only_who_has_the_secret_learns_that_a_token_was_revoked() {
        let token = Token { revoked_at: Some(at(7)), ..token() };
        assert_eq!(token.judge("new", at(8)), Err(Refusal::Revoked(at(7))));
        assert_eq!(token.judge("old", at(8)), Err(Refusal::Revoked(at(7))));
        assert_eq!(token.judge("guess", at(8)), Err(Refusal::Wrong));
        assert_eq!((token.state(at(8)), self::token().state(at(8))), ("revoked", "good"));
        assert_eq!(self::token().state(at(1000)), "expired");
    }

    #[test]
    fn a_token_carries_its_number() {
        assert_eq!(read(&write(17, "ab_c")), Some((17, "ab_c")));
        for wrong in ["", "17_x", "dsm_17", "dsm__x", "dsm_-1_x", "dsm_+1_x", "dsm_99999999999999999999_x", "DSM_1_x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn admin_is_everything_and_audit_changes_nothing() {
        let covered = |role: Role| Role::ALL.into_iter().filter(|needed| role.covers(*needed)).collect::<Vec<_>>();
        assert_eq!(covered(Role::Admin), Role::ALL);
        assert_eq!(covered(Role::Audit), [Role::Read, Role::Audit]);
        assert_eq!(covered(Role::Operate), [Role::Read, Role::Operate]);
        assert_eq!((covered(Role::Ingest), covered(Role::Read)), (vec![Role::Ingest], vec![Role::Read]));
        assert!(Role::ALL.into_iter().all(|role| Role::parse(role.as_str()) == Some(role)));
    }

    #[test]
    fn nobody_goes_by_the_daemons_names() {
        assert!(
            name("dosimeter").is_err()
                && name(" ").is_err()
                && name("a\nb").is_err()
                && name(&"x".repeat(101)).is_err()
        );
        assert_eq!(name(" ris north "), Ok("ris north".to_owned()));
    }
}
