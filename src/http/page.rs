//! Pages: what every list answers with, in the form that the request asks for.
//!
//! A page goes on where the one before it ended, by key and never by count: what is added or removed meanwhile shifts nothing.
//! A cursor is opaque, and good for the list that gave it only.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::table::{self, Tabular};
use super::{Problem, Shared};

/// So many items are on a page unless the request says.
const USUAL: i64 = 100;
/// So many may be.
pub(super) const MOST: i64 = 1000;

/// A page of a list.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Page<T> {
    /// What is on it.
    pub(super) items: Vec<T>,
    /// The cursor of the next page, for `after`; absent on the last one. The header `Link` has its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// A JSON document.
    Json,
    /// RFC 4180, with a header.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// All, the usual one first.
    pub(super) const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::Parquet];

    /// Its media type.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// How many items a page is to have.
///
/// # Errors
/// 400 when that is none, or too many.
pub(super) fn limit(limit: Option<i64>) -> Result<i64, Problem> {
    match limit {
        None => Ok(USUAL),
        Some(limit @ 1..=MOST) => Ok(limit),
        Some(other) => Err(Problem::bad_request(format!("limit={other}: a page has 1 to {MOST} items"))),
    }
}

/// The key in a cursor of a list.
///
/// # Errors
/// 400 when it is not one that this list gave.
pub(super) fn key<K: std::str::FromStr>(list: &str, after: Option<&str>) -> Result<Option<K>, Problem> {
    let Some(after) = after else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(after).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let key = text.and_then(|text| text.strip_prefix(list)?.strip_prefix(' ')?.parse().ok());
    key.map(Some).ok_or_else(|| {
        Problem::refused("after is no cursor of this list: give the next of an answer, or leave it out to start anew")
    })
}

fn cursor(list: &str, key: &impl std::fmt::Display) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list} {key}"))
}

impl<T> Page<T> {
    /// A page of at most `limit` items, of which one more was looked for to see whether there is a next page.
    pub(super) fn of<K: std::fmt::Display>(list: &str, mut items: Vec<T>, limit: i64, key: impl Fn(&T) -> K) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_next = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_next).map(|last| cursor(list, &key(last)));
        Self { items, next }
    }

    /// A page of a list that is at hand as a whole. What the cursor names must still be there: nobody knows otherwise where to go on.
    pub(super) fn cut<K: std::fmt::Display + PartialEq + std::str::FromStr>(
        list: &str,
        items: Vec<T>,
        (after, limit): (Option<&str>, i64),
        key: impl Fn(&T) -> K,
    ) -> Result<Self, Problem> {
        let last: Option<K> = self::key(list, after)?;
        let skipped = match last {
            None => 0,
            Some(last) => match items.iter().position(|item| key(item) == last) {
                Some(position) => position + 1,
                None => {
                    return Err(Problem::refused(
                        "what after names is not in this list any more: leave it out to start anew",
                    ));
                }
            },
        };
        Ok(Self::of(list, items.into_iter().skip(skipped).collect(), limit, key))
    }
}

/// What a request says of the form of its answer.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    uri: Uri,
    accept: Option<String>,
}

impl FromRequestParts<Shared> for Wanted {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Self::Rejection> {
        let accept = accept(&parts.headers);
        Ok(Self { uri: parts.uri.clone(), accept })
    }
}

/// All that the headers accept, as one list.
fn accept(headers: &HeaderMap) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

impl Wanted {
    /// Answer with a page.
    ///
    /// # Errors
    /// 406 when no form that there is is accepted, 500 when it cannot be written.
    pub(super) async fn page<T: Tabular + Send + 'static>(
        self,
        format: Option<Format>,
        page: Page<T>,
    ) -> Result<Response, Problem> {
        let format = format.map_or_else(|| chosen(self.accept.as_deref()), Ok)?;
        let next = page.next.as_deref().map(|cursor| self.link(cursor));
        let mut response = match format {
            Format::Json => Json(page).into_response(),
            Format::Csv | Format::Parquet => {
                let items = page.items;
                let written = tokio::task::spawn_blocking(move || table::write(format, &items));
                let bytes = written.await.map_err(|error| Problem::internal(crate::job::Error::from(error)))?;
                let bytes = bytes.map_err(Problem::internal)?;
                ([(header::CONTENT_TYPE, format.media_type())], bytes).into_response()
            }
        };
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept, authorization"));
        if let Some(next) = next.and_then(|next| HeaderValue::from_str(&next).ok()) {
            response.headers_mut().insert(header::LINK, next);
        }
        Ok(response)
    }

    /// The address of the next page, relative to this one.
    fn link(&self, cursor: &str) -> String {
        let kept = self.uri.query().unwrap_or_default().split('&');
        let kept = kept.filter(|pair| !pair.is_empty() && !pair.starts_with("after="));
        let after = format!("after={cursor}");
        let query: Vec<&str> = kept.chain([after.as_str()]).collect();
        format!("<{}?{}>; rel=\"next\"", self.uri.path(), query.join("&"))
    }
}

/// The form that an `Accept` prefers; the usual one where it does not say.
fn chosen(accept: Option<&str>) -> Result<Format, Problem> {
    let Some(accept) = accept else { return Ok(Format::Json) };
    let quality = |format: Format| {
        let own = format.media_type().split(';').next().unwrap_or_default();
        let group = own.split('/').next().unwrap_or_default();
        // The most precise range that covers a type decides about it.
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let precision = match kind.as_str() {
                "*/*" => 0,
                kind if kind == own => 2,
                kind if kind.strip_suffix("/*") == Some(group) => 1,
                _ => return None,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f64>().ok());
            Some((precision, quality.unwrap_or(1.0)))
        });
        ranges.max_by_key(|(precision, _)| *precision).map_or(0.0, |(_, quality)| quality)
    };
    let mut best: Option<(Format, f64)> = None;
    for format in Format::ALL {
        let quality = quality(format);
        if quality > best.map_or(0.0, |(_, best)| best) {
            best = Some((format, quality));
        }
    }
    best.map(|(format, _)| format).ok_or_else(|| {
        let known = Format::ALL.map(Format::media_type).join(", ");
        Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            format!("this answers with {known}; accept one of them, or give format="),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_where_the_one_before_it_ended() {
        let all: Vec<i64> = (1..=5).collect();
        let page = |after: Option<&str>| Page::cut("numbers", all.clone(), (after, 2), |n| *n).expect("a page");
        let first = page(None);
        let second = page(first.next.as_deref());
        let third = page(second.next.as_deref());
        assert_eq!((first.items, second.items, &third.items, third.next), (vec![1, 2], vec![3, 4], &vec![5], None));
        let gone = Page::cut("numbers", vec![1, 3], (second.next.as_deref(), 2), |n| *n).expect_err("4 is gone");
        assert!(gone.detail.contains("start anew"), "a page that ends the list in silence would hide the rest");
        let elsewhere = key::<i64>("letters", second.next.as_deref()).expect_err("a cursor of another list");
        assert!(elsewhere.detail.contains("no cursor of this list"));
        assert!(key::<i64>("numbers", Some("?")).is_err() && limit(Some(0)).is_err() && limit(Some(1001)).is_err());
        assert_eq!(limit(None).expect("usual"), 100);
    }

    #[test]
    fn the_address_of_the_next_page_keeps_what_was_asked() {
        let uri = "/api/v1/alerts?open=true&after=old&limit=2".parse().expect("an address");
        let link = Wanted { uri, accept: None }.link("new");
        assert_eq!(link, "</api/v1/alerts?open=true&limit=2&after=new>; rel=\"next\"");
    }

    #[test]
    fn the_form_is_the_one_that_is_accepted_most() {
        for (accept, wanted) in [
            ("*/*", Format::Json),
            ("text/csv", Format::Csv),
            ("text/html, text/*;q=0.5, */*;q=0.1", Format::Csv),
            ("application/vnd.apache.parquet, application/json;q=0.9", Format::Parquet),
            ("application/*, application/json;q=0", Format::Parquet),
        ] {
            assert_eq!(chosen(Some(accept)).expect("a form"), wanted, "{accept}");
        }
        assert_eq!(chosen(Some("image/png")).expect_err("none").status, StatusCode::NOT_ACCEPTABLE);
    }
}
