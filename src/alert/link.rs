//! Signed links: what whoever got a notice may do about its alert without an account.
//!
//! A link names an alert, an action, a recipient and its expiry, and carries their HMAC-SHA-256 under a key of the
//! installation: none of them can be exchanged. Opening a link changes nothing; it leads to a form (`http::act`).

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::report::encode_query;
use crate::chain::hex;
use crate::config::Secret;

/// How long a link can be used.
pub const VALID_FOR: TimeDelta = TimeDelta::days(7);

/// What a link lets its recipient do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Take the alert up.
    Acknowledge,
    /// Close it.
    Resolve,
    /// Silence it for a while.
    Silence,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 3] = [Self::Acknowledge, Self::Resolve, Self::Silence];

    /// The word of the address.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "ack",
            Self::Resolve => "resolve",
            Self::Silence => "silence",
        }
    }

    /// The word that people read.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Acknowledge => "Acknowledge",
            Self::Resolve => "Resolve",
            Self::Silence => "Silence",
        }
    }

    /// The action of a word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The alert.
    pub alert_id: i64,
    /// What may be done.
    pub action: Action,
    /// By whom.
    pub recipient: String,
    /// Until when, in whole seconds.
    pub expires_at: DateTime<Utc>,
}

/// Why a link is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Useless {
    /// It is not as it was signed.
    Wrong,
    /// Its time is over.
    Expired,
}

impl fmt::Display for Useless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wrong => "This link is not as it was sent. Open it from the notice itself, whole.",
            Self::Expired => "This link has expired. Use that of a later notice, or `dosimeter alert`.",
        })
    }
}

/// Signs links and knows its own signatures.
#[derive(Clone, Debug)]
pub struct Signer(Secret);

impl Signer {
    /// A signer with the installation's key.
    #[must_use]
    pub fn new(key: Secret) -> Self {
        Self(key)
    }

    /// The signature of a link.
    #[must_use]
    pub fn sign(&self, link: &Link) -> String {
        self.mac(link).map(|mac| hex(&mac.finalize().into_bytes())).unwrap_or_default()
    }

    /// The address that does what a link says.
    #[must_use]
    pub fn address(&self, public_url: &str, link: &Link) -> String {
        format!(
            "{}/alerts/{}/act?do={}&to={}&expires={}&sig={}",
            public_url.trim_end_matches('/'),
            link.alert_id,
            link.action.as_str(),
            encode_query(&link.recipient),
            link.expires_at.timestamp(),
            self.sign(link)
        )
    }

    /// Check a link against its signature, in a time that says nothing about either.
    ///
    /// # Errors
    /// When it was signed otherwise, or its time is over.
    pub fn verify(&self, link: &Link, signature: &str, now: DateTime<Utc>) -> Result<(), Useless> {
        let bytes = unhex(signature).ok_or(Useless::Wrong)?;
        let mac = self.mac(link).ok_or(Useless::Wrong)?;
        mac.verify_slice(&bytes).map_err(|_| Useless::Wrong)?;
        if now < link.expires_at { Ok(()) } else { Err(Useless::Expired) }
    }

    /// The tag of a text for another purpose than links, such as a session: no two purposes have a tag in common, as long as none is
    /// called `alert`.
    #[must_use]
    pub fn tag(&self, purpose: &str, text: &str) -> String {
        // unwrap safety: HMAC takes keys of any length.
        let mac = Hmac::<Sha256>::new_from_slice(self.0.expose().as_bytes()).ok();
        let tagged = mac.map(|mut mac| {
            mac.update(format!("{purpose}\n{text}").as_bytes());
            hex(&mac.finalize().into_bytes())
        });
        tagged.unwrap_or_default()
    }

    /// The recipient stands last: what stands before it has no line break, so no two links have one text.
    fn mac(&self, link: &Link) -> Option<Hmac<Sha256>> {
        let Link { alert_id, action, recipient, expires_at } = link;
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose().as_bytes()).ok()?;
        let text = format!("alert\n{alert_id}\n{}\n{}\n{recipient}", action.as_str(), expires_at.timestamp());
        mac.update(text.as_bytes());
        Some(mac)
    }
}

/// Links for one recipient of a notice about one alert, labelled; the label names the alert if a notice is about several.
#[must_use]
pub fn sign(
    signer: &Signer,
    public_url: &str,
    alert_id: i64,
    recipient: &str,
    actions: &[Action],
    now: DateTime<Utc>,
) -> Vec<(String, String)> {
    let link = |action: Action| Link { alert_id, action, recipient: recipient.to_owned(), expires_at: now + VALID_FOR };
    let label = |action: Action| format!("{} alert {alert_id}", action.label());
    actions.iter().map(|action| (label(*action), signer.address(public_url, &link(*action)))).collect()
}

/// Whether two secrets are the same, in a time that does not say how much of them is.
#[must_use]
pub fn is_same_secret(one: &str, other: &str) -> bool {
    let mac = |text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(one.as_bytes()).ok()?;
        mac.update(text.as_bytes());
        Some(mac)
    };
    let (Some(expected), Some(given)) = (mac(one), mac(other)) else { return false };
    expected.verify_slice(&given.finalize().into_bytes()).is_ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a valid instant")
    }

    fn link() -> Link {
        Link { alert_id: 17, action: Action::Acknowledge, recipient: "a@b.example".into(), expires_at: at(1000) }
    }

    #[test]
    fn a_link_is_good_for_what_it_was_signed_for_alone() {
        let signer = Signer::new(Secret::new("a key of the installation"));
        let signature = signer.sign(&link());
        assert_eq!(signer.verify(&link(), &signature, at(999)), Ok(()));
        assert_eq!(signer.verify(&link(), &signature, at(1000)), Err(Useless::Expired));
        for other in [
            Link { alert_id: 18, ..link() },
            Link { action: Action::Resolve, ..link() },
            Link { recipient: "c@d.example".into(), ..link() },
            Link { expires_at: at(2000), ..link() },
        ] {
            assert_eq!(signer.verify(&other, &signature, at(0)), Err(Useless::Wrong), "{other:?}");
        }
        let stranger = Signer::new(Secret::new("another key"));
        assert_eq!(stranger.verify(&link(), &signature, at(0)), Err(Useless::Wrong));
        for broken in ["", "zz", "abc", "é", &signature[2..]] {
            assert_eq!(signer.verify(&link(), broken, at(0)), Err(Useless::Wrong), "{broken}");
        }
    }

    #[test]
    fn a_signature_is_hmac_sha256_of_the_link() {
        // printf 'alert\n17\nack\n1000\na@b.example' | openssl dgst -sha256 -hmac key
        let signer = Signer::new(Secret::new("key"));
        assert_eq!(signer.sign(&link()), "e729c0edfc79d8463ba9df87abd815ad1c6e4e8e75e292b0d3079c8d73deb912");
        let address = signer.address("http://here/", &link());
        assert!(
            address.starts_with("http://here/alerts/17/act?do=ack&to=a%40b.example&expires=1000&sig="),
            "{address}"
        );
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(is_same_secret("abc", "abc"));
        assert!(!is_same_secret("abc", "ab") && !is_same_secret("abc", "") && !is_same_secret("abc", "abd"));
    }
}
