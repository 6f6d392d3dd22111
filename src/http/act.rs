//! `GET` and `POST /alerts/{id}/act`: the signed links of notices.
//!
//! Programs that scan mail open every link: a `GET` shows a form and changes nothing. The form's `POST` takes the step, in the
//! name of the link's recipient, with the reason that the form asks for.

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use minijinja::{AutoEscape, Environment};
use serde::{Deserialize, Serialize};

use super::id::Id;
use super::problem::Document;
use super::{Problem, Shared};
use crate::alert::link::{Action, Link, Useless};
use crate::person::{self, Person};
use crate::store::Error;
use crate::store::alert::{AlertRow, HumanStep};

/// What a link carries besides the alert.
#[derive(Clone, Debug, Deserialize, Serialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Signed {
    /// The step.
    r#do: String,
    /// The recipient.
    to: String,
    /// Its end.
    expires: i64,
    /// The signature.
    sig: String,
}

/// What the form adds.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = LinkForm)]
pub(super) struct Filled {
    r#do: String,
    to: String,
    expires: i64,
    sig: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    r#for: String,
}

/// A page.
#[derive(Debug, Default, Serialize)]
struct Page {
    title: String,
    message: Option<String>,
    is_problem: bool,
    facts: Vec<(&'static str, String)>,
    form: Option<Signed>,
    button: &'static str,
    reason: String,
}

impl Page {
    fn problem(title: impl Into<String>, message: impl Into<String>) -> Self {
        Self { title: title.into(), message: Some(message.into()), is_problem: true, ..Self::default() }
    }

    fn answer(self, status: StatusCode) -> Response {
        let mut templates = Environment::new();
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        let template = templates.template_from_named_str("act.html", include_str!("templates/act.html"));
        match template.and_then(|template| template.render(minijinja::value::Serde(&self))) {
            Ok(html) => {
                // The address is a key to the alert: it is not to be kept, framed, or sent on as a referrer.
                let headers = [
                    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                    (header::CACHE_CONTROL, "no-store"),
                    (header::REFERRER_POLICY, "no-referrer"),
                    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                    (
                        header::CONTENT_SECURITY_POLICY,
                        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
                    ),
                ];
                (status, headers, html).into_response()
            }
            Err(error) => Problem::internal(error).into_response(),
        }
    }
}

/// The link's action, if the link is good.
fn check(shared: &Shared, alert_id: i64, signed: &Signed) -> Result<Action, Useless> {
    let link = Action::parse(&signed.r#do).zip(DateTime::from_timestamp(signed.expires, 0));
    let (action, expires_at) = link.ok_or(Useless::Wrong)?;
    let context = shared.context();
    let link = Link { alert_id, action, recipient: signed.to.clone(), expires_at };
    context.signer.verify(&link, &signed.sig, context.clock.now())?;
    Ok(action)
}

/// The page that says why a link cannot be used.
fn refuse(useless: Useless) -> Response {
    let status = match useless {
        Useless::Wrong => StatusCode::FORBIDDEN,
        Useless::Expired => StatusCode::GONE,
    };
    Page::problem("This link cannot be used", useless.to_string()).answer(status)
}

fn facts(alert: &AlertRow) -> Vec<(&'static str, String)> {
    vec![
        ("Rule", alert.rule.clone()),
        ("Model", format!("{}, version {}", alert.model, alert.version)),
        ("Output", format!("{}, slice {}", alert.output, alert.slice)),
        ("State", alert.shown().to_owned()),
        ("Since", format!("{} UTC", alert.since.format("%Y-%m-%d %H:%M"))),
    ]
}

/// The page of a failure of the store.
fn failure(title: &str, error: Error) -> Response {
    let Problem { status, detail, .. } = Problem::internal(error);
    Page::problem(title, detail).answer(status)
}

/// The form of a signed link. It changes nothing.
#[utoipa::path(
    get,
    path = "/alerts/{id}/act",
    tag = "links",
    operation_id = "show_link",
    params(("id" = i64, Path, description = "The number."), Signed),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html; charset=utf-8"),
        (status = 400, description = "Something is missing.", body = String, content_type = "text/html; charset=utf-8"),
        (status = 403, description = "The link is not as it was signed.", body = String, content_type = "text/html; charset=utf-8"),
        (status = 404, description = "There is no such alert.", content(
            (String = "text/html; charset=utf-8"),
            (Document = "application/problem+json"),
        )),
        (status = 409, description = "Somebody was there first.", body = String, content_type = "text/html; charset=utf-8"),
        (status = 410, description = "The link has expired.", body = String, content_type = "text/html; charset=utf-8"),
    )
)]
pub(super) async fn get(
    State(shared): State<Shared>,
    Id(id): Id,
    signed: Result<Query<Signed>, QueryRejection>,
) -> Response {
    let Ok(Query(signed)) = signed else {
        return refuse(Useless::Wrong);
    };
    let action = match check(&shared, id, &signed) {
        Ok(action) => action,
        Err(useless) => return refuse(useless),
    };
    let title = format!("{} alert {id}", action.label());
    let alert = match shared.context().store.load_alert(id).await {
        Ok(alert) => alert,
        Err(error) => return failure(&title, error),
    };
    let is_closed = alert.closed_at.is_some();
    let page = Page {
        title,
        message: is_closed.then(|| format!("Alert {id} is {} already: there is nothing to do.", alert.state)),
        facts: facts(&alert),
        form: (!is_closed).then_some(signed),
        button: action.label(),
        ..Page::default()
    };
    page.answer(StatusCode::OK)
}

/// Take the step of a signed link.
#[utoipa::path(
    post,
    path = "/alerts/{id}/act",
    tag = "links",
    operation_id = "follow_link",
    params(("id" = i64, Path, description = "The number.")),
    request_body(content = Filled, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html; charset=utf-8"),
        (status = 400, description = "Something is missing.", body = String, content_type = "text/html; charset=utf-8"),
        (status = 403, description = "The link is not as it was signed.", body = String, content_type = "text/html; charset=utf-8"),
        (status = 404, description = "There is no such alert.", content(
            (String = "text/html; charset=utf-8"),
            (Document = "application/problem+json"),
        )),
        (status = 409, description = "Somebody was there first.", body = String, content_type = "text/html; charset=utf-8"),
        (status = 410, description = "The link has expired.", body = String, content_type = "text/html; charset=utf-8"),
        (status = 422, description = "It is refused for what it says.", body = String, content_type = "text/html; charset=utf-8"),
    )
)]
pub(super) async fn post(
    State(shared): State<Shared>,
    Id(id): Id,
    filled: Result<Form<Filled>, FormRejection>,
) -> Response {
    let Ok(Form(Filled { r#do, to, expires, sig, reason, r#for: length })) = filled else {
        return refuse(Useless::Wrong);
    };
    let signed = Signed { r#do, to, expires, sig };
    let action = match check(&shared, id, &signed) {
        Ok(action) => action,
        Err(useless) => return refuse(useless),
    };
    let title = format!("{} alert {id}", action.label());
    let again = |message: String, signed: Signed, reason: String| {
        let page = Page { form: Some(signed), button: action.label(), reason, ..Page::problem(title.clone(), message) };
        page.answer(StatusCode::UNPROCESSABLE_ENTITY)
    };
    let person = match Person::new(&signed.to, &reason) {
        Ok(person) => person,
        Err(error) => return again(error.to_string(), signed, reason),
    };
    let context = shared.context();
    let done = match action {
        Action::Acknowledge => person::step(&context, id, HumanStep::Acknowledge, &person)
            .await
            .map(|()| format!("Alert {id} is acknowledged in the name of {}.", signed.to)),
        Action::Resolve => person::step(&context, id, HumanStep::Resolve, &person)
            .await
            .map(|()| format!("Alert {id} is resolved in the name of {}.", signed.to)),
        Action::Silence => match humantime::parse_duration(&length) {
            Err(_) => return again(format!("{length:?} is no duration; write 4h or 2d"), signed, reason),
            Ok(span) => person::silence_alert(&context, id, span, &person).await.map(|(silence_id, ends_at)| {
                let until = ends_at.format("%Y-%m-%d %H:%M");
                format!(
                    "Alert {id} is silenced until {until} UTC, by silence {silence_id} in the name of {}.",
                    signed.to
                )
            }),
        },
    };
    match done {
        Ok(message) => Page { title, message: Some(message), ..Page::default() }.answer(StatusCode::OK),
        Err(error) => failure(&title, error),
    }
}
