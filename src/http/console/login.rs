//! Log in, log out, light and dark.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use maud::html;

use super::super::{Problem, Shared};
use super::frame::{Filled, Frame, Theme, bare};
use super::session;
use crate::job::Context;

/// A browser keeps what it is told about light and dark for a year.
const YEAR: i64 = 31_536_000;

/// A page of ours to go to; the first one for whatever else.
fn ours(next: &str) -> &str {
    let is_ours = next == "/console" || next.starts_with("/console/") || next.starts_with("/console?");
    if is_ours && !next.contains(['\\', '\r', '\n']) { next } else { "/console" }
}

fn form(context: &Context, theme: Theme, next: &str, problem: Option<&str>) -> Html<String> {
    let body = html! {
        section.login {
            h1 { "Log in" }
            @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
            form method="post" action="/console/login" {
                input type="hidden" name="next" value=(next);
                label for="token" { "Token" }
                input #token type="password" name="token" required autocomplete="current-password" autofocus spellcheck="false";
                button.main type="submit" { "Log in" }
            }
            p.note {
                "A token of " code { "dosimeter token create --role read" } " sees; one with the role operate acts; one with the role audit sees \
                the audit trail, too. The token stays out of the browser: it keeps a session of twelve hours."
            }
        }
    };
    bare(context, theme, "Log in", &body)
}

/// The form.
pub(super) async fn get(frame: Frame, headers: HeaderMap) -> Response {
    let next = ours(frame.parameter("next").unwrap_or("/console")).to_owned();
    form(&frame.context, Theme::of(&headers), &next, None).into_response()
}

/// Begin a session.
pub(super) async fn post(
    State(shared): State<Shared>,
    headers: HeaderMap,
    filled: Filled,
) -> Result<Response, Problem> {
    let context = shared.context();
    let next = ours(filled.field("next")).to_owned();
    match shared.gate.begin(&context, filled.field("token").trim(), &headers).await {
        Ok(session) => {
            let cookie = session::set(&context.plan, session::COOKIE, &session.write(), session::seconds());
            Ok(leave(&next, cookie))
        }
        Err(problem) if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&problem.status) => {
            let page = form(&context, Theme::of(&headers), &next, Some(&problem.detail));
            Ok((problem.status, page).into_response())
        }
        Err(problem) => Err(problem),
    }
}

/// End a session in this browser.
pub(super) async fn end(State(shared): State<Shared>, _: Filled) -> Response {
    leave("/console/login", session::set(&shared.context().plan, session::COOKIE, "", 0))
}

/// Remember light or dark.
pub(super) async fn theme(State(shared): State<Shared>, filled: Filled) -> Result<Response, Problem> {
    let theme =
        Theme::parse(filled.field("theme")).ok_or_else(|| Problem::bad_request("theme: write auto, light or dark"))?;
    let cookie = session::set(&shared.context().plan, session::THEME, theme.as_str(), YEAR);
    Ok(leave(ours(filled.field("back")), cookie))
}

/// Go to a page, with a cookie.
fn leave(to: &str, cookie: Option<HeaderValue>) -> Response {
    let mut response = axum::response::Redirect::to(to).into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::ours;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for own in ["/console", "/console/alerts/7?as_of=2025-03-01", "/console?as_of=2025-03-01"] {
            assert_eq!(ours(own), own);
        }
        for other in
            ["", "//attacker.example", "https://attacker.example", "/consolex", "/console/\\attacker", "/api/v1/alerts"]
        {
            assert_eq!(ours(other), "/console", "{other}");
        }
    }
}
