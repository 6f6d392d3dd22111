//! JSON over HTTP, page after page.
//!
//! A sweep asks for everything since the newest value that was seen, less the overlap, and follows the pages to the last. Pages
//! may come in any order of time, so the newest value moves only when a sweep has ended; one that breaks off goes on with the
//! page that it had come to.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LINK, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::feed::{Failure, Feed, Page, Positions, causes, within};
use super::{RowResult, message, time};
use crate::config::{HttpFeed as Plan, Overlap, Paging, Since, TimeFormat};

/// How far a resource has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// The newest value of all sweeps that have ended.
    high: Option<String>,
    /// The newest value of the present one.
    seen: Option<String>,
    /// The page that comes next; `None` between two sweeps.
    next: Option<Next>,
}

/// The page that comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Next {
    /// By its cursor.
    Cursor(String),
    /// By its address.
    Link(String),
    /// By its number.
    Page(u64),
}

/// How instants are written, and in which zone when they carry none.
#[derive(Clone, Debug)]
pub struct Times {
    /// The pattern.
    pub format: TimeFormat,
    /// The zone.
    pub zone: chrono_tz::Tz,
}

/// A resource.
pub struct HttpFeed {
    plan: Plan,
    url: Url,
    times: Times,
    timeout: Duration,
    client: reqwest::Client,
    last: Option<tokio::time::Instant>,
    now: DateTime<Utc>,
}

impl HttpFeed {
    /// A client for a resource; nothing is asked yet. `now` tells how long a date in `Retry-After` is away.
    ///
    /// # Errors
    /// When the address or a header is none.
    pub fn open(plan: &Plan, times: Times, timeout: Duration, now: DateTime<Utc>) -> Result<Self, Failure> {
        let wrong = |error: &dyn std::error::Error| Failure::Misconfigured(causes(error));
        let url = Url::parse(&plan.url).map_err(|error| wrong(&error))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &plan.headers {
            let name: HeaderName =
                name.parse().map_err(|_| Failure::Misconfigured(format!("{name:?} is no header")))?;
            // The error would show the value.
            let mut value = HeaderValue::from_str(value.expose())
                .map_err(|_| Failure::Misconfigured(format!("the value of the header {name} is none")))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("dosimeter/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeout)
            .default_headers(headers)
            // A redirect would carry secrets to where the plan does not send them.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| wrong(&error))?;
        Ok(Self { plan: plan.clone(), url, times, timeout, client, last: None, now })
    }

    /// The address of the next page.
    fn address(&self, position: &Position, limit: usize) -> Result<Url, Failure> {
        if let Some(Next::Link(link)) = &position.next {
            return self.follow(link);
        }
        let mut url = self.url.clone();
        let mut own: Vec<(&str, String)> = Vec::new();
        if let Some(parameter) = &self.plan.size_parameter {
            own.push((parameter, limit.to_string()));
        }
        if let Some(since) = &self.plan.since {
            let from = match &position.high {
                Some(high) => Some(self.less_overlap(since, high)?),
                None => since.start.clone(),
            };
            own.extend(from.map(|from| (since.parameter.as_str(), from)));
        }
        match (&self.plan.paging, &position.next) {
            (Paging::Cursor { parameter, .. }, Some(Next::Cursor(cursor))) => own.push((parameter, cursor.clone())),
            (Paging::Page { parameter, .. }, Some(Next::Page(page))) => own.push((parameter, page.to_string())),
            (Paging::Page { parameter, first }, _) => own.push((parameter, first.to_string())),
            _ => {}
        }
        if !own.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in own {
                pairs.append_pair(name, &value);
            }
        }
        Ok(url)
    }

    /// The address of a link, which must lead to the same server: others must not see the headers.
    fn follow(&self, link: &str) -> Result<Url, Failure> {
        let url =
            self.url.join(link).map_err(|_| Failure::Malformed("the link to the next page is no address".into()))?;
        if url.origin() != self.url.origin() {
            let message =
                "the link to the next page leads to another server, which is not followed; name that one as url";
            return Err(Failure::Malformed(message.into()));
        }
        Ok(url)
    }

    fn less_overlap(&self, since: &Since, high: &str) -> Result<String, Failure> {
        let wrong = |message: String| Failure::Malformed(format!("{message}; it is the newest {:?}", since.cursor));
        match since.overlap {
            Overlap::Number(overlap) => {
                let number: i128 = high.parse().map_err(|_| wrong(format!("{high:?} is no whole number")))?;
                Ok((number - i128::from(overlap)).to_string())
            }
            Overlap::Time(overlap) => {
                let newest = self.instant(high).map_err(wrong)?;
                let overlap = chrono::TimeDelta::from_std(overlap).unwrap_or_default();
                // A time to come is no reason to leave out today's.
                Ok(self.written(newest.min(self.now) - overlap))
            }
        }
    }

    fn instant(&self, text: &str) -> Result<DateTime<Utc>, String> {
        time::parse(text, &self.times.format, self.times.zone)
    }

    /// An instant as this server writes them.
    fn written(&self, at: DateTime<Utc>) -> String {
        match &self.times.format {
            TimeFormat::Auto => at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            TimeFormat::UnixSeconds => at.timestamp().to_string(),
            TimeFormat::UnixMilliseconds => at.timestamp_millis().to_string(),
            TimeFormat::Pattern(pattern) => at.with_timezone(&self.times.zone).format(pattern).to_string(),
        }
    }

    /// The newer of two values of the cursor; one that cannot be read does not count.
    fn newer(&self, since: &Since, one: Option<String>, other: &str) -> Option<String> {
        let is_newer = match since.overlap {
            Overlap::Number(_) => {
                let number = |text: &str| text.parse::<i128>().ok();
                number(other) > one.as_deref().and_then(number)
            }
            Overlap::Time(_) => {
                let instant = |text: &str| self.instant(text).ok();
                instant(other) > one.as_deref().and_then(instant)
            }
        };
        if is_newer { Some(other.to_owned()) } else { one }
    }

    /// Ask for a page: its headers and its document.
    async fn ask(&mut self, url: Url) -> Result<(HeaderMap, Value), Failure> {
        let pause = Duration::from_secs(1) / u32::try_from(self.plan.requests_per_second).unwrap_or(u32::MAX);
        if let Some(last) = self.last {
            tokio::time::sleep_until(last + pause).await;
        }
        self.last = Some(tokio::time::Instant::now());
        within(self.timeout, self.exchange(url)).await
    }

    async fn exchange(&self, url: Url) -> Result<(HeaderMap, Value), Failure> {
        // The error of the library shows the address, whose parameters may be secrets.
        let broken = |error: reqwest::Error| {
            Failure::Unreachable(format!("the server cannot be reached: {}", causes(&error.without_url())))
        };
        let mut response = self.client.get(url).send().await.map_err(broken)?;
        let (status, headers) = (response.status(), response.headers().clone());
        if !status.is_success() {
            return Err(refusal(status, &headers, self.now));
        }
        let most = usize::try_from(self.plan.most_megabytes.saturating_mul(1 << 20)).unwrap_or(usize::MAX);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > most {
                return Err(Failure::Malformed(format!(
                    "the answer has more than {} MiB; ask for less at once (size_parameter, rows), or raise most_megabytes",
                    self.plan.most_megabytes
                )));
            }
            body.extend_from_slice(&chunk);
        }
        let document = serde_json::from_slice(&body)
            .map_err(|error| Failure::Malformed(format!("the answer is not JSON: {error}")))?;
        Ok((headers, document))
    }

    /// The page after this one; `None` after the last.
    fn next(&self, position: &Position, headers: &HeaderMap, document: &Value, records: usize) -> Option<Next> {
        match &self.plan.paging {
            Paging::None => None,
            Paging::Cursor { next, .. } => text_at(document, next).map(Next::Cursor),
            Paging::Link { next: Some(next) } => text_at(document, next).map(Next::Link),
            Paging::Link { next: None } => link(headers).map(Next::Link),
            Paging::Page { .. } if records == 0 => None,
            Paging::Page { first, .. } => match position.next {
                Some(Next::Page(page)) => Some(Next::Page(page + 1)),
                _ => Some(Next::Page(first + 1)),
            },
        }
    }
}

#[async_trait::async_trait]
impl Feed for HttpFeed {
    async fn read(&mut self, positions: &Positions, limit: usize) -> Result<Page, Failure> {
        let mut position: Position =
            positions.get("").cloned().and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default();
        let url = self.address(&position, limit)?;
        let (headers, document) = match self.ask(url).await {
            // A page of long ago may be forgotten: the sweep starts again.
            Err(Failure::Misconfigured(_)) if position.next.is_some() => {
                position = Position { high: position.high, seen: None, next: None };
                let url = self.address(&position, limit)?;
                self.ask(url).await?
            }
            answer => answer?,
        };
        let records = document.pointer(&self.plan.records).and_then(Value::as_array).ok_or_else(|| {
            let place = if self.plan.records.is_empty() { "as a whole" } else { &self.plan.records };
            Failure::Malformed(format!("the answer has no list {place}; correct the source's records"))
        })?;
        let rows: Vec<RowResult> = message::of_list(records);
        let mut seen = position.seen.clone();
        if let Some(since) = &self.plan.since {
            for value in rows.iter().filter_map(|row| row.as_ref().ok()?.get(&since.cursor)) {
                seen = self.newer(since, seen, value);
            }
        }
        let next = self.next(&position, &headers, &document, records.len());
        if next.is_some() && next == position.next {
            return Err(Failure::Malformed(
                "the answer names itself as the next page; correct the source's paging".into(),
            ));
        }
        let is_last = next.is_none();
        let position = if is_last {
            let high = match (&self.plan.since, seen) {
                (Some(since), Some(seen)) => self.newer(since, position.high, &seen),
                _ => position.high,
            };
            Position { high, seen: None, next: None }
        } else {
            Position { high: position.high, seen, next }
        };
        Ok(Page {
            origin: self.plan.url.clone(),
            partition: String::new(),
            rows,
            position: serde_json::json!(position),
            is_last,
        })
    }
}

/// A text or number at a pointer, if there is one that is not empty.
fn text_at(document: &Value, pointer: &str) -> Option<String> {
    match document.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The address that the headers `Link` call the next.
fn link(headers: &HeaderMap) -> Option<String> {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    for part in links.flat_map(|value| value.split('<').skip(1)) {
        let (address, parameters) = part.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.trim().split_once('=').unwrap_or_default();
            let value = value.trim().trim_end_matches(',').trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel") && value.split(' ').any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(address.to_owned());
        }
    }
    None
}

/// What an answer without success means for us.
fn refusal(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Failure {
    let message = format!("the server answers {status}");
    match status.as_u16() {
        401 | 403 => Failure::Refused(message),
        429 | 503 => Failure::Throttled { message, after: retry_after(headers, now) },
        408 | 425 => Failure::Throttled { message, after: None },
        300..=399 => Failure::Misconfigured(format!(
            "{message}: it sends us elsewhere, which is not followed; name that address as url"
        )),
        400..=499 => Failure::Misconfigured(format!("{message}; correct the source's url and parameters")),
        _ => Failure::Server(message),
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn the_next_page_is_found_among_links() {
        let of = |text: &str| link(&headers(&[(LINK, text)]));
        assert_eq!(of("</a?page=1>; rel=\"prev\", </a?page=3>; rel=\"next\""), Some("/a?page=3".into()));
        assert_eq!(of("<https://host/a,b>; rel=next; title=\"x\""), Some("https://host/a,b".into()));
        assert_eq!(of("</a>; rel=\"last\""), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2025-10-21T07:28:00Z".parse().expect("an instant");
        let of = |text: &str| retry_after(&headers(&[(RETRY_AFTER, text)]), now);
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        assert_eq!(of("Tue, 21 Oct 2025 07:29:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(of("Tue, 21 Oct 2025 07:00:00 GMT"), None, "it is over");
        assert_eq!(of("soon"), None);
    }

    #[test]
    fn what_is_asked_from_is_written_as_the_server_writes_it() {
        let since = Since {
            parameter: "since".into(),
            cursor: "at".into(),
            overlap: Overlap::Time(Duration::from_secs(3600)),
            start: None,
        };
        let feed = |format: TimeFormat| {
            let plan = Plan {
                url: "https://host/a?x=1".into(),
                records: String::new(),
                headers: std::collections::BTreeMap::new(),
                paging: Paging::None,
                size_parameter: None,
                since: Some(since.clone()),
                requests_per_second: 1,
                most_megabytes: 1,
            };
            let now = "2026-01-01T00:00:00Z".parse().expect("an instant");
            let times = Times { format, zone: chrono_tz::Europe::Berlin };
            HttpFeed::open(&plan, times, Duration::from_secs(1), now).expect("a client")
        };
        let asked = |format: TimeFormat, high: &str| {
            let position = Position { high: Some(high.into()), ..Position::default() };
            let url = feed(format).address(&position, 10).expect("an address");
            url.query_pairs().find(|(name, _)| name == "since").expect("since").1.into_owned()
        };
        assert_eq!(asked(TimeFormat::Auto, "2025-07-01 12:00:00"), "2025-07-01T09:00:00Z");
        assert_eq!(asked(TimeFormat::UnixSeconds, "1735689600"), "1735686000");
        assert_eq!(asked(TimeFormat::Pattern("%d.%m.%Y %H:%M".into()), "01.07.2025 12:00"), "01.07.2025 11:00");
        assert_eq!(asked(TimeFormat::Auto, "9999-01-01T00:00:00Z"), "2025-12-31T23:00:00Z", "a time to come");
        assert!(feed(TimeFormat::Auto).follow("https://elsewhere/a").is_err(), "another server sees no secrets");
        assert!(feed(TimeFormat::Auto).follow("?page=2").is_ok());
    }
}
