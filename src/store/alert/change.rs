//! What changes alerts: transitions and decisions of a pass, and steps of people. Each is one transaction with its event and
//! its audit entry.

use chrono::{DateTime, Utc};

use super::{AlertKey, missing};
use crate::alert::silence::Mute;
use crate::alert::tell::Told;
use crate::alert::{Standing, State, Transition};
use crate::store::audit::{Entry, append, append_all};
use crate::store::lease::{self, Lease};
use crate::store::outbox::{About, NewNotice, enqueue, follow_up};
use crate::store::{Error, Named, Result, Store, Transaction, seal};

/// A change to be stored: a transition, a decision to tell people, or both.
#[derive(Clone, Debug)]
pub struct AlertChange {
    /// Its number; reserved, if it is new.
    pub alert_id: i64,
    /// The state that the change starts from; `None` for a new alert.
    pub from: Option<State>,
    /// What it is about.
    pub key: AlertKey,
    /// page or ticket.
    pub severity: &'static str,
    /// What happened.
    pub transition: &'static str,
    /// Where it stands now.
    pub standing: Standing,
    /// What people know of it now.
    pub told: Told,
    /// Why it happened, in words.
    pub reason: String,
    /// Whether people are told, and why.
    pub decision: String,
    /// The decisive estimate.
    pub estimate_id: Option<i64>,
}

/// A step that a person takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HumanStep {
    /// Take it up.
    Acknowledge,
    /// Close it.
    Resolve,
}

impl HumanStep {
    /// The state that it leads to.
    #[must_use]
    pub fn state(self) -> State {
        match self {
            Self::Acknowledge => State::Acknowledged,
            Self::Resolve => State::Resolved,
        }
    }
}

impl Store {
    /// Reserve numbers for alerts that are about to be written: their notices name them.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn reserve_alert_ids(&self, count: usize) -> Result<Vec<i64>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        sqlx::query_scalar!(
            r#"select nextval(pg_get_serial_sequence('alert', 'alert_id')) as "id!" from generate_series(1, $1)"#,
            i32::try_from(count).unwrap_or(i32::MAX)
        )
        .fetch_all(&self.pool)
        .await
        .named("reserve_alert_ids")
    }

    /// Let no open alert wait for an instant that only a wrong clock has seen: what began later than now begins now. Audited.
    /// Returns how many alerts that concerned.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn turn_alerts_back(&self, now: DateTime<Utc>) -> Result<u64> {
        let mut transaction = self.begin().await?;
        let turned: Vec<i64> = sqlx::query_scalar(
            "update alert set since = least(since, $1), acknowledged_at = least(acknowledged_at, $1),
                missing_since = least(missing_since, $1), told_at = least(told_at, $1),
                unanswered_since = least(unanswered_since, $1)
            where (closed_at is null or (state = 'resolved' and breached))
                and greatest(since, acknowledged_at, missing_since, told_at, unanswered_since) > $1 + make_interval(secs => $2)
            returning alert_id",
        )
        .bind(now)
        .bind(super::super::CLOCK_SKEW.as_secs_f64())
        .fetch_all(&mut *transaction)
        .await
        .named("turn_alerts_back")?;
        if !turned.is_empty() {
            let (subject, reason) = ("the clock", "it has been set back: what waited for a later instant waits anew");
            let detail = serde_json::json!({ "alerts": turned });
            append(&mut transaction, now, "dosimeter", "clock set back", subject, reason, detail).await?;
        }
        transaction.commit().await.named("turn_alerts_back")?;
        Ok(turned.len() as u64)
    }

    /// Store changes with their events, audit entries and notices, each with the alerts that it tells of: in one
    /// transaction, all or nothing. Says whether they were stored: they are not when an alert is no longer in the state that
    /// its change started from, for then a person took a step meanwhile, and the next pass judges what they left.
    ///
    /// # Errors
    /// When Postgres fails or the lease is lost.
    pub async fn apply_alert_changes(
        &self,
        lease: &Lease,
        changes: &[AlertChange],
        notices: &[(Vec<i64>, NewNotice)],
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let mut transaction = self.begin().await?;
        lease::check(&mut transaction, lease).await?;
        let seal = seal::open(&mut transaction).await?;
        let (mut events, mut entries) = (std::collections::HashMap::new(), Vec::new());
        for change in changes {
            let is_written = match change.from {
                Some(from) => change.update(&mut transaction, from, now).await?,
                None => change.insert(&mut transaction, now).await?,
            };
            if !is_written {
                return Ok(false);
            }
            let event = Event {
                alert_id: change.alert_id,
                transition: change.transition,
                state: change.standing.state,
                actor: "dosimeter",
                reason: &change.reason,
                decision: Some(&change.decision),
                estimate_id: change.estimate_id,
            };
            let written = event.insert(&mut transaction, now).await?;
            entries.push(event.entry(&written, now));
            events.insert(change.alert_id, written.event_id);
        }
        for (alerts, notice) in notices {
            let event_id = alerts.first().and_then(|first| events.get(first)).copied();
            enqueue(&mut transaction, About { alerts, thread: None, event_id }, notice, now).await?;
        }
        seal::close(&mut transaction, seal, &["alert", "alert_event"]).await?;
        append_all(&mut transaction, &entries).await?;
        lease::commit(transaction, lease, "apply_alert_changes").await?;
        Ok(true)
    }

    /// Take up or close an alert in a person's name. Audited. Of two people who do it at once one succeeds.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such alert, [`Error::Conflict`] when its state does not allow the step, and when
    /// Postgres fails.
    pub async fn step_alert(
        &self,
        alert_id: i64,
        step: HumanStep,
        actor: &str,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let state = step.state();
        let mut transaction = self.begin().await?;
        let changed = sqlx::query!(
            "update alert set state = $2, acknowledged_at = coalesce($3, acknowledged_at), closed_at = $4, owed = false,
                unanswered_since = null, escalation = 0,
                muted_by = case when $4::timestamptz is null then muted_by end,
                muted_until = case when $4::timestamptz is null then muted_until end
            where alert_id = $1 and closed_at is null and state <> 'pending' and state <> $2",
            alert_id,
            state.as_str(),
            (step == HumanStep::Acknowledge).then_some(now),
            (step == HumanStep::Resolve).then_some(now)
        )
        .execute(&mut *transaction)
        .await
        .named("step_alert")?;
        if changed.rows_affected() == 0 {
            return Err(refusal(&mut transaction, alert_id).await?);
        }
        let event =
            Event { alert_id, transition: state.as_str(), state, actor, reason, decision: None, estimate_id: None };
        let seal = seal::open(&mut transaction).await?;
        let written = event.insert(&mut transaction, now).await?;
        follow_up(&mut transaction, (alert_id, written.event_id), &event.told(now)).await?;
        seal::close(&mut transaction, seal, &["alert_event"]).await?;
        append_all(&mut transaction, &[event.entry(&written, now)]).await?;
        transaction.commit().await.named("step_alert")
    }

    /// Keep what a person says about an alert in its history. Audited.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such alert, and when Postgres fails.
    pub async fn comment_alert(&self, alert_id: i64, actor: &str, words: &str, now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.begin().await?;
        let found: Option<String> = sqlx::query_scalar("select state from alert where alert_id = $1 for share")
            .bind(alert_id)
            .fetch_optional(&mut *transaction)
            .await
            .named("find_commented_alert")?;
        let state = found.ok_or_else(|| missing(alert_id))?;
        let state = State::parse(&state).ok_or_else(|| Error::Corrupt {
            table: "alert",
            column: "state",
            row: format!("alert {alert_id}"),
            source: format!("{state:?} is not known").into(),
        })?;
        let (transition, reason) = ("commented", words);
        let event = Event { alert_id, transition, state, actor, reason, decision: None, estimate_id: None };
        let seal = seal::open(&mut transaction).await?;
        let written = event.insert(&mut transaction, now).await?;
        seal::close(&mut transaction, seal, &["alert_event"]).await?;
        append_all(&mut transaction, &[event.entry(&written, now)]).await?;
        transaction.commit().await.named("comment_alert")
    }
}

/// Why a person cannot take a step: what the alert is, since when, and by whom.
pub(in crate::store) async fn refusal(transaction: &mut Transaction, alert_id: i64) -> Result<Error> {
    let last = sqlx::query!(
        "select alert.state, event.at, event.actor, event.reason from alert
        join alert_event event using (alert_id)
        where alert_id = $1 and event.transition not in ('told', 'muted', 'unmuted', 'commented') order by event_id desc limit 1",
        alert_id
    )
    .fetch_optional(&mut **transaction)
    .await
    .named("refusal")?;
    let Some(last) = last else { return Ok(missing(alert_id)) };
    let at = crate::domain::window::show_instant(last.at);
    Ok(Error::Conflict(match last.state.as_str() {
        "pending" => {
            format!("alert {alert_id} is pending: nobody has been told of it, so there is nothing to take up yet")
        }
        state => {
            format!("alert {alert_id} is {state} already; the last step was by {} at {at}: {}", last.actor, last.reason)
        }
    }))
}

impl AlertChange {
    /// Write a new alert; `false` when another one is open about the same.
    async fn insert(&self, transaction: &mut Transaction, now: DateTime<Utc>) -> Result<bool> {
        let Self { key, standing, told, .. } = self;
        let written = sqlx::query!(
            "insert into alert (alert_id, rule, version_id, output_id, slice, severity, state, breached, since, fired_at,
                told_at, unanswered_since, escalation, owed, muted_by, muted_until)
            overriding system value values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
            on conflict do nothing",
            self.alert_id,
            key.rule,
            key.version_id,
            key.output_id,
            key.slice,
            self.severity,
            standing.state.as_str(),
            standing.breached,
            standing.since,
            self.fired_at(now),
            told.last_at,
            told.unanswered_since,
            told.escalation,
            told.owed,
            told.mute.as_ref().map(Mute::by),
            told.mute.as_ref().and_then(Mute::until)
        )
        .execute(&mut **transaction)
        .await
        .named("insert_alert")?;
        Ok(written.rows_affected() == 1)
    }

    /// Change an alert; `false` when it is no longer in the state that the change started from.
    async fn update(&self, transaction: &mut Transaction, from: State, now: DateTime<Utc>) -> Result<bool> {
        let Self { standing, told, .. } = self;
        let written = sqlx::query!(
            "update alert set state = $2, breached = $3, since = $4, fired_at = coalesce(fired_at, $5),
                closed_at = coalesce(closed_at, $6), acknowledged_at = $7, missing_since = $8, told_at = $9,
                unanswered_since = $10, escalation = $11, owed = $12, muted_by = $13, muted_until = $14, severity = $16
            where alert_id = $1 and state = $15",
            self.alert_id,
            standing.state.as_str(),
            standing.breached,
            standing.since,
            self.fired_at(now),
            (!State::OPEN.contains(&standing.state)).then_some(now),
            standing.acknowledged_at,
            standing.missing_since,
            told.last_at,
            told.unanswered_since,
            told.escalation,
            told.owed,
            told.mute.as_ref().map(Mute::by),
            told.mute.as_ref().and_then(Mute::until),
            from.as_str(),
            self.severity
        )
        .execute(&mut **transaction)
        .await
        .named("update_alert")?;
        Ok(written.rows_affected() == 1)
    }

    fn fired_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        (self.transition == Transition::Fired.as_str()).then_some(now)
    }
}

/// An event as it was written, and what its alert is about: whoever searches the audit trail looks for that.
#[derive(sqlx::FromRow)]
struct Written {
    event_id: i64,
    rule: String,
    model: String,
    version: String,
    output: String,
    slice: String,
}

struct Event<'a> {
    alert_id: i64,
    transition: &'a str,
    state: State,
    actor: &'a str,
    reason: &'a str,
    decision: Option<&'a str>,
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

    /// Append the event.
    async fn insert(&self, transaction: &mut Transaction, now: DateTime<Utc>) -> Result<Written> {
        sqlx::query_as(
            "with event as (
                insert into alert_event (alert_id, at, transition, state, actor, reason, estimate_id, decision, standing)
                select $1, $2, $3, $4, $5, $6, $7, $8, json_build_object('severity', severity, 'breached', breached, 'since', since,
                    'fired_at', fired_at, 'acknowledged_at', acknowledged_at, 'told_at', told_at, 'escalation', escalation,
                    'muted_by', muted_by, 'muted_until', muted_until, 'closed_at', closed_at)
                from alert where alert_id = $1 returning event_id, alert_id)
            select event_id, rule, model.name as model, model_version.name as version, output.name as output, slice
            from event join alert using (alert_id) join model_version using (version_id) join model on model.model_id = model_version.model_id
                join output using (output_id)",
        )
        .bind(self.alert_id)
        .bind(now)
        .bind(self.transition)
        .bind(self.state.as_str())
        .bind(self.actor)
        .bind(self.reason)
        .bind(self.estimate_id)
        .bind(self.decision)
        .fetch_one(&mut **transaction)
        .await
        .named("insert_alert_event")
    }

    /// The entry that goes with it.
    fn entry(&self, written: &Written, at: DateTime<Utc>) -> Entry {
        let Written { rule, model, version, output, slice, .. } = written;
        let detail = serde_json::json!({
            "state": self.state.as_str(), "estimate_id": self.estimate_id, "decision": self.decision,
            "rule": rule, "model": model, "version": version, "output": output, "slice": slice
        });
        Entry {
            at,
            actor: self.actor.to_owned(),
            action: format!("alert {}", self.transition),
            subject: format!("alert {}", self.alert_id),
            reason: self.reason.to_owned(),
            detail,
        }
    }
}
