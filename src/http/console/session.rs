//! Sessions: what a browser shows instead of a token.
//!
//! A session is sealed, not stored: the number of its token, its end and some randomness, with their HMAC under the installation's
//! key. So it survives restarts, any replica knows it, and reading a page writes nothing. Its seal covers the hash of the token's
//! secret: it ends with its time, with the token's revocation or expiry, and with a rotation. A log-out takes it from the browser; whoever
//! fears that it was copied revokes or rotates the token. The token itself is in no cookie.

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::{DateTime, TimeDelta, Utc};

use crate::alert::link::{Signer, is_same_secret};
use crate::chain::hex;
use crate::config::Plan;
use crate::store::server::random_text;

/// The cookie that holds a session.
pub(in crate::http) const COOKIE: &str = "dosimeter_session";
/// The cookie that holds whether pages are light or dark.
pub(in crate::http) const THEME: &str = "dosimeter_theme";
/// A session lasts so long: a shift.
const LASTS: TimeDelta = TimeDelta::hours(12);

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct Session {
    /// The token that it was begun with; 0 is the configured one.
    pub(in crate::http) token_id: i64,
    ends_at: i64,
    nonce: String,
    seal: String,
}

impl Session {
    /// Begin one for a token of which this is kept.
    pub(in crate::http) fn begin(signer: &Signer, token_id: i64, kept: &[u8], now: DateTime<Utc>) -> Self {
        let nonce = random_text().chars().take(32).collect();
        let mut session = Self { token_id, ends_at: (now + LASTS).timestamp(), nonce, seal: String::new() };
        session.seal = session.tag(signer, kept);
        session
    }

    /// The session of a cookie.
    pub(in crate::http) fn read(cookie: &str) -> Option<Self> {
        let mut parts = cookie.split('.');
        let mut next = || parts.next();
        let (token_id, ends_at) = (next()?.parse().ok()?, next()?.parse().ok()?);
        let session = Self { token_id, ends_at, nonce: next()?.to_owned(), seal: next()?.to_owned() };
        next().is_none().then_some(session)
    }

    /// The value of the cookie.
    pub(in crate::http) fn write(&self) -> String {
        format!("{}.{}.{}.{}", self.token_id, self.ends_at, self.nonce, self.seal)
    }

    /// Whether it was begun here with the token of which this is kept, and its time is not over.
    pub(in crate::http) fn is_good(&self, signer: &Signer, kept: &[u8], now: DateTime<Utc>) -> bool {
        is_same_secret(&self.tag(signer, kept), &self.seal) && now.timestamp() < self.ends_at
    }

    fn tag(&self, signer: &Signer, kept: &[u8]) -> String {
        let Self { token_id, ends_at, nonce, .. } = self;
        signer.tag("console session", &format!("{token_id}\n{ends_at}\n{nonce}\n{}", hex(kept)))
    }
}

/// The secret of a session's forms: a page of another place cannot know it.
pub(in crate::http) fn form_secret(signer: &Signer, session: &str) -> String {
    signer.tag("console form", session)
}

/// A cookie of a request.
pub(in crate::http) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(own, _)| *own == name).map(|(_, value)| value)
}

/// A cookie to be kept for so many seconds; 0 takes it away.
pub(in crate::http) fn set(plan: &Plan, name: &str, value: &str, seconds: i64) -> Option<HeaderValue> {
    let http = &plan.http;
    let is_encrypted = http.tls.is_some() || http.behind_proxy || plan.service.public_url.starts_with("https:");
    let secure = if is_encrypted { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/console; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).ok()
}

/// How long a browser keeps the cookie of a session.
pub(in crate::http) fn seconds() -> i64 {
    LASTS.num_seconds()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("an instant")
    }

    #[test]
    fn a_session_is_good_as_it_was_sealed_and_in_no_other_way() {
        let signer = Signer::new(Secret::new("the key of an installation"));
        let session = Session::begin(&signer, 7, b"kept", at(1000));
        let cookie = session.write();
        let read = Session::read(&cookie).expect("a session");
        assert_eq!(read, session);
        assert!(read.is_good(&signer, b"kept", at(1000)) && read.is_good(&signer, b"kept", at(1000 + 43_199)));
        assert!(!read.is_good(&signer, b"kept", at(1000 + 43_200)), "its time is over");
        assert!(!read.is_good(&signer, b"rotated", at(1000)), "the token has another secret");
        assert!(!read.is_good(&Signer::new(Secret::new("another key")), b"kept", at(1000)));
        for other in [
            Session { token_id: 8, ..session.clone() },
            Session { ends_at: session.ends_at + 1, ..session.clone() },
            Session { nonce: "0".into(), ..session.clone() },
            Session { seal: String::new(), ..session.clone() },
        ] {
            assert!(!other.is_good(&signer, b"kept", at(1000)), "{other:?}");
        }
        for wrong in ["", "7", "7.1.2", "x.1.2.3", "7.1.2.3.4"] {
            assert_eq!(Session::read(wrong), None, "{wrong}");
        }
        assert_ne!(session.write(), Session::begin(&signer, 7, b"kept", at(1000)).write());
        assert_ne!(form_secret(&signer, &cookie), form_secret(&signer, "another"));
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; dosimeter_session=7.1.x.y; b=2"));
        assert_eq!(cookie(&headers, COOKIE), Some("7.1.x.y"));
        assert_eq!(cookie(&headers, THEME), None);
    }
}
