//! What people do about an alert on its page: acknowledge, resolve, silence, comment.

use axum::extract::State;
use axum::response::Redirect;

use super::super::alert::require;
use super::super::auth::Caller;
use super::super::id::Id;
use super::super::step::length;
use super::super::{Problem, Shared};
use super::frame::Filled;
use crate::person::{self, Person};
use crate::store::alert::HumanStep;

/// The person of a form: whom it names, by the token that vouches for it.
async fn person(caller: &Caller, shared: &Shared, id: i64, filled: &Filled) -> Result<Person, Problem> {
    let by = Some(filled.field("by")).filter(|by| !by.trim().is_empty());
    let person = caller.person(by, filled.field("reason"))?;
    require(caller, shared, id).await?;
    Ok(person)
}

fn back(id: i64) -> Redirect {
    Redirect::to(&format!("/console/alerts/{id}"))
}

/// Take an alert up.
pub(super) async fn acknowledge(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    filled: Filled,
) -> Result<Redirect, Problem> {
    let person = person(&caller, &shared, id, &filled).await?;
    person::step(&shared.context(), id, HumanStep::Acknowledge, &person).await.map_err(Problem::internal)?;
    Ok(back(id))
}

/// Close an alert.
pub(super) async fn resolve(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    filled: Filled,
) -> Result<Redirect, Problem> {
    let person = person(&caller, &shared, id, &filled).await?;
    person::step(&shared.context(), id, HumanStep::Resolve, &person).await.map_err(Problem::internal)?;
    Ok(back(id))
}

/// Tell nobody about an alert for a while.
pub(super) async fn silence(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    filled: Filled,
) -> Result<Redirect, Problem> {
    let person = person(&caller, &shared, id, &filled).await?;
    let length = length(filled.field("for"))?;
    person::silence_alert(&shared.context(), id, length, &person).await.map_err(Problem::internal)?;
    Ok(back(id))
}

/// Say something about an alert.
pub(super) async fn comment(
    caller: Caller,
    State(shared): State<Shared>,
    Id(id): Id,
    filled: Filled,
) -> Result<Redirect, Problem> {
    let person = person(&caller, &shared, id, &filled).await?;
    person::comment(&shared.context(), id, &person).await.map_err(Problem::internal)?;
    Ok(back(id))
}
