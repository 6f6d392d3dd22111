//! A document posted to a server: at most twenty seconds, no redirects, and an answer that says what came of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::RequestBuilder;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};

use super::Error;
use crate::config::{Address, Heartbeat, HttpMethod};

/// A whole exchange takes no longer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Nobody is left alone for longer, whatever he asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);
/// So much of an answer is kept.
const MOST_ANSWER: usize = 200;

/// Connections to servers.
#[derive(Clone, Debug)]
pub(super) struct Client(reqwest::Client);

impl Client {
    pub(super) fn new() -> Result<Self, Error> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("dosimeter/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(TIMEOUT / 2)
            .timeout(TIMEOUT)
            // A redirect would carry secrets to where the plan does not send them.
            .redirect(reqwest::redirect::Policy::none());
        builder.build().map(Self).map_err(Error::Client)
    }

    /// Post a JSON document.
    pub(super) async fn post(
        &self,
        address: &Address,
        headers: &[(&str, String)],
        body: String,
        now: DateTime<Utc>,
    ) -> Result<String, Error> {
        let request = self.0.post(address.url.expose()).header(CONTENT_TYPE, "application/json").body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        exchange(request, address, now).await
    }

    /// Ask for an address, or post nothing to it.
    pub(super) async fn ping(&self, heartbeat: &Heartbeat, now: DateTime<Utc>) -> Result<String, Error> {
        let url = heartbeat.address.url.expose();
        let request = match heartbeat.method {
            HttpMethod::Post => self.0.post(url).body(String::new()),
            HttpMethod::Get => self.0.get(url),
        };
        exchange(request, &heartbeat.address, now).await
    }
}

/// Send a request; returns what the server answered.
async fn exchange(request: RequestBuilder, address: &Address, now: DateTime<Utc>) -> Result<String, Error> {
    // The error of the library shows the address, which may be a secret.
    let failed = |error: reqwest::Error| Error::Http { origin: address.origin.clone(), source: error.without_url() };
    let mut response = request.send().await.map_err(failed)?;
    let (status, retry_after) = (response.status(), wait(response.headers(), now));
    let mut answer = Vec::new();
    while answer.len() < MOST_ANSWER {
        // The status is there: an answer that breaks off changes nothing.
        let Ok(Some(chunk)) = response.chunk().await else { break };
        answer.extend_from_slice(&chunk);
    }
    let answer = one_line(&String::from_utf8_lossy(&answer));
    if status.is_success() {
        return Ok(format!("HTTP {status} {answer}").trim_end().to_owned());
    }
    let answer = if answer.is_empty() { status.canonical_reason().unwrap_or("nothing").to_owned() } else { answer };
    Err(Error::Answer { origin: address.origin.clone(), status: status.as_u16(), answer, retry_after })
}

/// What to do about a status.
pub(super) fn remedy(status: u16) -> &'static str {
    match status {
        300..=399 => "redirects are not followed: write the final address as the route's url",
        401 | 403 => "see the route's secret",
        404 | 410 => "see the route's url",
        408 | 425 | 429 | 500.. => "it is tried again",
        _ => "see the route's url and channel",
    }
}

/// What Retry-After asks for: seconds, or a date.
fn wait(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now).to_std().ok()?,
    };
    Some(wait.min(LONGEST_WAIT))
}

fn one_line(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(MOST_ANSWER).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_a_day() {
        let now = "2025-03-01T09:30:00Z".parse().expect("an instant");
        let asked = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a value"))]);
            wait(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(asked("120"), Some(120));
        assert_eq!(asked("Sat, 01 Mar 2025 09:31:30 GMT"), Some(90));
        assert_eq!(asked("Sat, 01 Mar 2025 09:29:00 GMT"), None);
        assert_eq!(asked("9999999"), Some(86_400));
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn an_answer_is_one_short_line() {
        assert_eq!(one_line("a\r\n  b\tc\u{7}"), "a b c");
        assert_eq!(one_line(&"x".repeat(900)).len(), MOST_ANSWER);
    }
}
