//! What every page stands in: its head, the way to the other pages, the time machine, and whether it is light or dark.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::Html;
use chrono::{DateTime, NaiveDateTime, Utc};
use maud::{DOCTYPE, Markup, html};

use super::super::auth::Caller;
use super::super::given::Given;
use super::super::{Problem, Shared};
use super::{assets, session, words};
use crate::access::Role;
use crate::alert::report::encode_query;
use crate::domain::window::{parse_instant, show_instant};
use crate::job::Context;

/// Light, dark, or as the system has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Theme {
    #[default]
    Auto,
    Light,
    Dark,
}

impl Theme {
    const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.as_str() == word)
    }

    /// What the browser remembers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        session::cookie(headers, session::THEME).and_then(Self::parse).unwrap_or_default()
    }
}

/// The pages that the head leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Fleet,
    Alerts,
    Health,
    Sources,
    Rejections,
    Plan,
    Audit,
}

impl Tab {
    const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Fleet, "Fleet", "/console"),
        (Self::Alerts, "Alerts", "/console/alerts"),
        (Self::Health, "Health", "/console/health"),
        (Self::Sources, "Sources", "/console/sources"),
        (Self::Rejections, "Rejections", "/console/rejections"),
        (Self::Plan, "Plan", "/console/plan"),
        (Self::Audit, "Audit", "/console/audit"),
    ];
}

/// A request for a page: who asks, what is asked, and as of when.
pub(super) struct Frame {
    /// Who asks.
    pub(super) caller: Caller,
    /// The present context.
    pub(super) context: Context,
    /// As of when, if not of now.
    pub(super) as_of: Option<DateTime<Utc>>,
    theme: Theme,
    path: String,
    parameters: BTreeMap<String, String>,
}

impl FromRequestParts<Shared> for Frame {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, shared).await?;
        let Given(pairs) = Given::<Vec<(String, String)>>::from_request_parts(parts, shared).await?;
        let parameters: BTreeMap<String, String> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let context = shared.context();
        let as_of = parameters.get("as_of").map(|text| instant(text)).transpose()?;
        if as_of.is_some_and(|at| at > context.clock.now()) {
            return Err(Problem::bad_request("as_of lies in the future: nothing is known as of then yet"));
        }
        let theme = Theme::of(&parts.headers);
        // What a form leads to is asked again as the page that the form stands on.
        let path = parts.uri.path().trim_end_matches("/verify").to_owned();
        Ok(Self { caller, context, as_of, theme, path, parameters })
    }
}

/// An instant as forms and people write it, in UTC.
fn instant(text: &str) -> Result<DateTime<Utc>, Problem> {
    let of_form = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"].into_iter();
    let mut of_form = of_form.filter_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    match of_form.next() {
        Some(instant) => Ok(instant.and_utc()),
        None => parse_instant(text).map_err(|problem| Problem::bad_request(format!("as_of: {problem}"))),
    }
}

impl Frame {
    /// A parameter of the address.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The present, or the instant that is asked about.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.as_of.unwrap_or_else(|| self.context.clock.now())
    }

    /// Whether the caller may do something about what this page shows: of the past nobody may.
    pub(super) fn may_act(&self) -> bool {
        self.as_of.is_none() && self.caller.has(Role::Operate)
    }

    /// The address of another page as of the same instant.
    pub(super) fn link(&self, path: &str, parameters: &[(&str, &str)]) -> String {
        let as_of = self.as_of.map(show_instant);
        let own = parameters.iter().copied().chain(as_of.as_deref().map(|at| ("as_of", at)));
        let pairs: Vec<String> = own.map(|(name, value)| format!("{name}={}", encode_query(value))).collect();
        if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
    }

    /// The address of a model's page.
    pub(super) fn model_link(&self, model: &str, parameters: &[(&str, &str)]) -> String {
        self.link(&format!("/console/models/{}", encode_query(model)), parameters)
    }

    /// The hidden field that every form of this page carries.
    pub(super) fn form_secret(&self) -> Markup {
        html! {
            @if let Some(own) = self.caller.session() {
                input type="hidden" name="form" value=(session::form_secret(&self.context.signer, own));
            }
        }
    }

    /// A page.
    pub(super) fn page(&self, tab: Option<Tab>, title: &str, body: &Markup) -> Html<String> {
        document(
            self.theme,
            title,
            &html! {
                (self.head(tab))
                (self.banner())
                main #main tabindex="-1" { (body) }
                (foot(&self.context))
            },
        )
    }

    fn head(&self, tab: Option<Tab>) -> Markup {
        let here: Vec<(&str, &str)> =
            self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let back: Vec<String> = here.iter().map(|(name, value)| format!("{name}={}", encode_query(value))).collect();
        let back = if back.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, back.join("&")) };
        html! {
            header.top {
                a.brand href=(self.link("/console", &[])) { span.mark aria-hidden="true" {} "dosimeter" }
                nav aria-label="Pages" {
                    ul {
                        @for (own, name, path) in Tab::ALL {
                            @if own != Tab::Audit || self.caller.has(Role::Audit) {
                                li { a href=(self.link(path, &[])) aria-current=[(tab == Some(own)).then_some("page")] { (name) } }
                            }
                        }
                    }
                }
                div.tools {
                    form.machine method="get" action=(self.path) {
                        @for (name, value) in here.iter().filter(|(name, _)| *name != "as_of") {
                            input type="hidden" name=(name) value=(value);
                        }
                        label for="as-of" { "As of (UTC)" }
                        input #as-of type="datetime-local" name="as_of" step="60" value=[self.as_of.map(|at| at.format("%Y-%m-%dT%H:%M").to_string())];
                        button type="submit" { "Go" }
                    }
                    (themes(self.theme, &back))
                    @if self.caller.session().is_some() {
                        form method="post" action="/console/logout" { button.quiet type="submit" title=(self.caller.name()) { "Log out" } }
                    }
                }
            }
        }
    }

    fn banner(&self) -> Markup {
        let Some(at) = self.as_of else { return html! {} };
        let here: Vec<(&str, &str)> = self
            .parameters
            .iter()
            .filter(|(name, _)| *name != "as_of")
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let pairs: Vec<String> = here.iter().map(|(name, value)| format!("{name}={}", encode_query(value))).collect();
        let now = if pairs.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, pairs.join("&")) };
        html! {
            div.banner role="status" {
                strong { "As of " (words::minute(at)) " UTC." }
                " What had been published by then; nothing that came later. Nobody can act here. "
                a href=(now) { "Back to now" }
            }
        }
    }
}

/// The switch of light and dark.
fn themes(present: Theme, back: &str) -> Markup {
    html! {
        form.themes method="post" action="/console/theme" {
            input type="hidden" name="back" value=(back);
            fieldset {
                legend.hidden { "Light or dark" }
                @for theme in Theme::ALL {
                    button type="submit" name="theme" value=(theme.as_str()) aria-pressed=(theme == present) { (theme.as_str()) }
                }
            }
        }
    }
}

fn foot(context: &Context) -> Markup {
    let digest: String = context.plan.digest().chars().take(12).collect();
    html! {
        footer {
            "dosimeter " (env!("CARGO_PKG_VERSION")) " · plan " code { (digest) } " · shown " (words::time(context.clock.now())) " · all times are UTC"
            span.jump { " · " a href="/api/v1/openapi.json" { "API" } }
        }
    }
}

/// A page outside: the log-in, a refusal.
pub(super) fn bare(context: &Context, theme: Theme, title: &str, body: &Markup) -> Html<String> {
    document(
        theme,
        title,
        &html! {
            header.top {
                a.brand href="/console" { span.mark aria-hidden="true" {} "dosimeter" }
                div.tools { (themes(theme, "/console")) }
            }
            main #main tabindex="-1" { (body) }
            (foot(context))
        },
    )
}

fn document(theme: Theme, title: &str, body: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" data-theme=(theme.as_str()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                meta name="color-scheme" content="light dark";
                title { (title) " · dosimeter" }
                link rel="icon" href=(assets::address("icon.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(assets::address("console.css"));
                script src=(assets::address("console.js")) defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (body)
            }
        }
    };
    Html(page.into_string())
}

/// What a form sends. One that a session sends carries the session's secret; none comes from a page of another place.
pub(super) struct Filled(BTreeMap<String, String>);

impl Filled {
    /// A field; empty when it was left so.
    pub(super) fn field(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

impl FromRequest<Shared> for Filled {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Problem> {
        let context = shared.context();
        let headers = request.headers();
        if !is_of_here(headers, &context.plan.service.public_url) {
            return Err(Problem::forbidden("the form was sent by a page of another place"));
        }
        let caller = request.extensions().get::<Caller>().cloned();
        let Ok(axum::Form(pairs)) = axum::Form::<Vec<(String, String)>>::from_request(request, shared).await else {
            return Err(Problem::bad_request("the form cannot be read; go back, load the page anew and try again"));
        };
        let filled = Self(pairs.into_iter().collect());
        if let Some(own) = caller.as_ref().and_then(Caller::session) {
            let wanted = session::form_secret(&context.signer, own);
            if !crate::alert::link::is_same_secret(&wanted, filled.field("form")) {
                return Err(Problem::forbidden(
                    "the form was not made for this session; go back, load the page anew and try again",
                ));
            }
        }
        Ok(filled)
    }
}

/// Whether a form comes from a page of ours, as far as the browser says where it comes from.
fn is_of_here(headers: &HeaderMap, public_url: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if text("sec-fetch-site").is_some_and(|site| !["same-origin", "none"].contains(&site)) {
        return false;
    }
    let Some(origin) = text("origin") else { return true };
    let place = origin.split_once("://").map(|(_, place)| place);
    let public = public_url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    place.is_some_and(|place| Some(place) == host || Some(place) == public)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_another_place_is_none_of_ours() {
        let sent = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().expect("a header"));
            }
            is_of_here(&headers, "https://monitor.example/here")
        };
        assert!(sent(&[]), "a program says nothing");
        assert!(sent(&[("host", "localhost:9187"), ("origin", "http://localhost:9187")]));
        assert!(sent(&[("host", "10.0.0.7"), ("origin", "https://monitor.example")]), "behind a proxy");
        assert!(!sent(&[("host", "localhost:9187"), ("origin", "http://attacker.example")]));
        assert!(!sent(&[("host", "localhost:9187"), ("origin", "null")]));
        assert!(!sent(&[("sec-fetch-site", "cross-site")]) && !sent(&[("sec-fetch-site", "same-site")]));
        assert!(sent(&[("sec-fetch-site", "same-origin")]));
    }

    #[test]
    fn an_instant_is_read_as_forms_and_people_write_it() {
        let read = |text: &str| instant(text).map(|at| at.to_rfc3339()).ok();
        for text in ["2025-03-03T12:30", "2025-03-03T12:30:00", "2025-03-03 12:30", "2025-03-03T12:30:00Z"] {
            assert_eq!(read(text).as_deref(), Some("2025-03-03T12:30:00+00:00"), "{text}");
        }
        assert_eq!(read("2025-03-03").as_deref(), Some("2025-03-03T00:00:00+00:00"));
        assert_eq!(read("yesterday"), None);
    }
}
