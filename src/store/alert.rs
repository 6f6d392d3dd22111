//! Alerts, their history and the audit trail.

use chrono::{DateTime, Utc};

use super::lease::Lease;
use super::outbox::NewNotice;
use super::{Error, Named, Result, Store, Transaction};
use crate::alert::{Standing, State};

/// What an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertKey {
    /// The rule.
    pub rule: String,
    /// The version.
    pub version_id: i32,
    /// The output.
    pub output_id: i32,
    /// The slice in canonical form.
    pub slice: String,
}

/// An open alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAlert {
    /// Its number.
    pub alert_id: i64,
    /// What it is about.
    pub key: AlertKey,
    /// Where it stands.
    pub standing: Standing,
}

/// An alert as people read it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AlertRow {
    /// Its number.
    pub alert_id: i64,
    /// The rule.
    pub rule: String,
    /// The model.
    pub model: String,
    /// The version.
    pub version: String,
    /// The output.
    pub output: String,
    /// The slice.
    pub slice: String,
    /// page or ticket.
    pub severity: String,
    /// Its state.
    pub state: String,
    /// Whether the condition holds at present.
    pub breached: bool,
    /// When the condition began to hold.
    pub since: DateTime<Utc>,
    /// When people were told.
    pub fired_at: Option<DateTime<Utc>>,
    /// When it was closed.
    pub closed_at: Option<DateTime<Utc>>,
}

/// A transition to be stored.
#[derive(Clone, Debug)]
pub struct AlertChange {
    /// The open alert, if there is one.
    pub alert_id: Option<i64>,
    /// The state that the transition starts from.
    pub from: Option<State>,
    /// What it is about.
    pub key: AlertKey,
    /// page or ticket.
    pub severity: &'static str,
    /// What happened.
    pub transition: &'static str,
    /// Where it stands now.
    pub standing: Standing,
    /// Why, in words.
    pub reason: String,
    /// The decisive estimate.
    pub estimate_id: Option<i64>,
    /// Notices to send, one per addressee.
    pub notices: Vec<NewNotice>,
}

/// A step that a person takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HumanStep {
    /// Take it up.
    Acknowledge,
    /// Close it.
    Resolve,
}

impl Store {
    /// Every alert that is open, and those that a person has resolved while their condition held: they stay quiet until it
    /// has ceased.
    ///
    /// # Errors
    /// When Postgres fails or a row cannot be read.
    pub async fn list_open_alerts(&self) -> Result<Vec<OpenAlert>> {
        let rows = sqlx::query!(
            "select alert_id, rule, version_id, output_id, slice, state, breached, since
            from alert where closed_at is null or (state = 'resolved' and breached)"
        )
        .fetch_all(&self.pool)
        .await
        .named("list_open_alerts")?;
        let alerts = rows.into_iter().map(|row| {
            let state = State::parse(&row.state).ok_or_else(|| Error::Corrupt {
                table: "alert",
                column: "state",
                row: format!("alert {}", row.alert_id),
                source: format!("{:?} is no state", row.state).into(),
            })?;
            Ok(OpenAlert {
                alert_id: row.alert_id,
                key: AlertKey {
                    rule: row.rule,
                    version_id: row.version_id,
                    output_id: row.output_id,
                    slice: row.slice,
                },
                standing: Standing { state, breached: row.breached, since: row.since },
            })
        });
        alerts.collect()
    }

    /// Alerts, the latest first; only open ones if asked.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_alerts(&self, open_only: bool, limit: i64) -> Result<Vec<AlertRow>> {
        sqlx::query_as!(
            AlertRow,
            "select alert_id, rule, model.name as model, model_version.name as version, output.name as output, slice,
                severity, state, breached, since, fired_at, closed_at
            from alert join model_version using (version_id) join output using (output_id)
                join model on model.model_id = model_version.model_id
            where not $1 or closed_at is null order by alert_id desc limit $2",
            open_only,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .named("list_alerts")
    }

    /// Store a transition with its event, its audit entry and its notices, in one transaction. Returns the alert's number,
    /// or `None` when the alert is no longer in the state that the transition started from: then nothing is stored.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn apply_alert_change(
        &self,
        lease: &Lease,
        change: &AlertChange,
        now: DateTime<Utc>,
    ) -> Result<Option<i64>> {
        let mut transaction = self.begin().await?;
        super::lease::check(&mut transaction, lease).await?;
        let AlertChange { key, standing, .. } = change;
        let fired_at = (change.transition == "fired").then_some(now);
        let closed_at = (!State::OPEN.contains(&standing.state)).then_some(now);
        let alert_id = match change.alert_id {
            Some(alert_id) => {
                let changed = sqlx::query!(
                    "update alert set state = $2, breached = $3, fired_at = coalesce(fired_at, $4), closed_at = coalesce(closed_at, $5),
                        since = $7
                    where alert_id = $1 and state = $6",
                    alert_id,
                    standing.state.as_str(),
                    standing.breached,
                    fired_at,
                    closed_at,
                    change.from.map(State::as_str),
                    standing.since
                )
                .execute(&mut *transaction)
                .await
                .named("update_alert")?;
                if changed.rows_affected() == 0 {
                    // A person took a step meanwhile: the next pass judges what they left.
                    return Ok(None);
                }
                alert_id
            }
            None => sqlx::query_scalar!(
                "insert into alert (rule, version_id, output_id, slice, severity, state, breached, since, fired_at)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning alert_id",
                key.rule,
                key.version_id,
                key.output_id,
                key.slice,
                change.severity,
                standing.state.as_str(),
                standing.breached,
                standing.since,
                fired_at
            )
            .fetch_one(&mut *transaction)
            .await
            .named("insert_alert")?,
        };
        let event = Event {
            alert_id,
            transition: change.transition,
            state: standing.state,
            actor: "dosimeter",
            reason: &change.reason,
            estimate_id: change.estimate_id,
        };
        let event_id = event.insert(&mut transaction, now).await?;
        super::outbox::enqueue(&mut transaction, Some((alert_id, event_id)), &change.notices, now).await?;
        super::lease::commit(transaction, lease, "apply_alert_change").await?;
        Ok(Some(alert_id))
    }

    /// Take up or close an alert in a person's name. Audited.
    ///
    /// # Errors
    /// When there is no such open alert, or Postgres fails.
    pub async fn step_alert(
        &self,
        alert_id: i64,
        step: HumanStep,
        actor: &str,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let (state, transition, closed_at) = match step {
            HumanStep::Acknowledge => (State::Acknowledged, "acknowledged", None),
            HumanStep::Resolve => (State::Resolved, "resolved", Some(now)),
        };
        let mut transaction = self.begin().await?;
        let changed = sqlx::query!(
            "update alert set state = $2, closed_at = $3
            where alert_id = $1 and closed_at is null and state <> 'pending' and state <> $2",
            alert_id,
            state.as_str(),
            closed_at
        )
        .execute(&mut *transaction)
        .await
        .named("step_alert")?;
        if changed.rows_affected() == 0 {
            return Err(Error::Refused(format!(
                "alert {alert_id} is not open or is {} already; see `dosimeter alert list`",
                state.as_str()
            )));
        }
        let event = Event { alert_id, transition, state, actor, reason, estimate_id: None };
        let event_id = event.insert(&mut transaction, now).await?;
        let told = event.told(now);
        super::outbox::follow_up(&mut transaction, (alert_id, event_id), &told).await?;
        transaction.commit().await.named("step_alert")
    }
}

struct Event<'a> {
    alert_id: i64,
    transition: &'a str,
    state: State,
    actor: &'a str,
    reason: &'a str,
    estimate_id: Option<i64>,
}

impl Event<'_> {
    /// The event as notices tell of it.
    fn told(&self, at: DateTime<Utc>) -> crate::alert::report::Event {
        crate::alert::report::Event {
            transition: self.transition.to_owned(),
            state: self.state.as_str().to_owned(),
            at,
            actor: self.actor.to_owned(),
            reason: self.reason.to_owned(),
        }
    }

    /// Append the event and its audit entry; returns the event's number.
    async fn insert(&self, transaction: &mut Transaction, now: DateTime<Utc>) -> Result<i64> {
        let event_id = sqlx::query_scalar!(
            "insert into alert_event (alert_id, at, transition, state, actor, reason, estimate_id)
            values ($1, $2, $3, $4, $5, $6, $7) returning event_id",
            self.alert_id,
            now,
            self.transition,
            self.state.as_str(),
            self.actor,
            self.reason,
            self.estimate_id
        )
        .fetch_one(&mut **transaction)
        .await
        .named("insert_alert_event")?;
        let detail = serde_json::json!({ "state": self.state.as_str(), "estimate_id": self.estimate_id });
        let (action, subject) = (format!("alert {}", self.transition), format!("alert {}", self.alert_id));
        audit(transaction, now, self.actor, &action, &subject, self.reason, detail).await?;
        Ok(event_id)
    }
}

/// Append an audit entry.
pub(super) async fn audit(
    transaction: &mut Transaction,
    at: DateTime<Utc>,
    actor: &str,
    action: &str,
    subject: &str,
    reason: &str,
    detail: serde_json::Value,
) -> Result<()> {
    sqlx::query!(
        "insert into audit (at, actor, action, subject, reason, detail) values ($1, $2, $3, $4, $5, $6)",
        at,
        actor,
        action,
        subject,
        reason,
        detail
    )
    .execute(&mut **transaction)
    .await
    .named("insert_audit")?;
    Ok(())
}
