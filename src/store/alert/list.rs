//! Alerts as they are, and as they were at an instant: each event keeps where its alert stood after it.

use chrono::{DateTime, Utc};

use super::{AlertRow, EventRow, missing};
use crate::store::outbox::NoticeRow;
use crate::store::{Named, Result, Store};

/// Which alerts; what is left out restricts nothing.
#[derive(Clone, Debug, Default)]
pub struct AlertFilter {
    /// The only models.
    pub models: Option<Vec<String>>,
    /// Only those that are open.
    pub open_only: bool,
    /// The version's name.
    pub version: Option<String>,
    /// The rule.
    pub rule: Option<String>,
    /// The output's name.
    pub output: Option<String>,
    /// The slice in canonical form.
    pub slice: Option<String>,
    /// The state.
    pub state: Option<String>,
    /// The number.
    pub alert_id: Option<i64>,
    /// As they were at this instant; as they are without.
    pub as_of: Option<DateTime<Utc>>,
    /// Those with a lower number only: the next page.
    pub before: Option<i64>,
}

impl Store {
    /// Alerts, the latest first; only open ones if asked.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_alerts(&self, open_only: bool, limit: i64) -> Result<Vec<AlertRow>> {
        self.find_alerts(&AlertFilter { open_only, ..AlertFilter::default() }, limit).await
    }

    /// The alerts that a filter lets through, the latest first.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn find_alerts(&self, filter: &AlertFilter, limit: i64) -> Result<Vec<AlertRow>> {
        sqlx::query_as!(
            AlertRow,
            r#"select alert_id as "alert_id!", rule as "rule!", model as "model!", version as "version!", output as "output!",
                slice as "slice!", severity as "severity!", state as "state!", breached as "breached!", since as "since!",
                fired_at, acknowledged_at, told_at, escalation as "escalation!", muted_by, muted_until, closed_at
            from (select a.alert_id, a.rule, m.name as model, v.name as version, o.name as output, a.slice, stood.*
                from alert a join model_version v using (version_id) join output o using (output_id)
                    join model m on m.model_id = v.model_id
                cross join lateral (
                    select a.severity, a.state, a.breached, a.since, a.fired_at, a.acknowledged_at, a.told_at, a.escalation,
                        a.muted_by, a.muted_until, a.closed_at where $1::timestamptz is null
                    union all (select s.severity, e.state, s.breached, s.since, s.fired_at, s.acknowledged_at, s.told_at,
                        s.escalation, s.muted_by, s.muted_until, s.closed_at
                    from alert_event e, json_to_record(e.standing) as s(severity text, breached boolean, since timestamptz,
                        fired_at timestamptz, acknowledged_at timestamptz, told_at timestamptz, escalation integer,
                        muted_by text, muted_until timestamptz, closed_at timestamptz)
                    where e.alert_id = a.alert_id and e.at <= $1 order by e.event_id desc limit 1)) stood) known
            where ($2::text[] is null or model = any($2)) and (not $3 or closed_at is null)
                and ($4::text is null or version = $4) and ($5::text is null or rule = $5)
                and ($6::text is null or output = $6) and ($7::text is null or slice = $7)
                and ($8::text is null or state = $8) and ($9::bigint is null or alert_id = $9)
                and ($10::bigint is null or alert_id < $10)
            order by alert_id desc limit $11"#,
            filter.as_of,
            filter.models.as_deref(),
            filter.open_only,
            filter.version.as_deref(),
            filter.rule.as_deref(),
            filter.output.as_deref(),
            filter.slice.as_deref(),
            filter.state.as_deref(),
            filter.alert_id,
            filter.before,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .named("find_alerts")
    }

    /// One alert.
    ///
    /// # Errors
    /// When there is none of this number, or Postgres fails.
    pub async fn load_alert(&self, alert_id: i64) -> Result<AlertRow> {
        self.load_alert_as_of(alert_id, None).await
    }

    /// One alert as it was at an instant; as it is without.
    ///
    /// # Errors
    /// When there was none of this number, or Postgres fails.
    pub async fn load_alert_as_of(&self, alert_id: i64, as_of: Option<DateTime<Utc>>) -> Result<AlertRow> {
        let filter = AlertFilter { alert_id: Some(alert_id), as_of, ..AlertFilter::default() };
        self.find_alerts(&filter, 1).await?.pop().ok_or_else(|| missing(alert_id))
    }

    /// The history of an alert, the earliest first: transitions, human steps, and every decision to tell people or not.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_alert_events(&self, alert_id: i64) -> Result<Vec<EventRow>> {
        self.list_alert_events_as_of(alert_id, None).await
    }

    /// The history of an alert up to an instant; all of it without.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_alert_events_as_of(&self, alert_id: i64, as_of: Option<DateTime<Utc>>) -> Result<Vec<EventRow>> {
        sqlx::query_as!(
            EventRow,
            "select at, transition, state, actor, reason, decision, estimate_id from alert_event
            where alert_id = $1 and ($2::timestamptz is null or at <= $2) order by event_id",
            alert_id,
            as_of
        )
        .fetch_all(&self.pool)
        .await
        .named("list_alert_events")
    }

    /// The notices that tell of an alert, the earliest first, as long as retention keeps them.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_alert_notices(&self, alert_id: i64) -> Result<Vec<NoticeRow>> {
        self.list_alert_notices_as_of(alert_id, None).await
    }

    /// The notices that told of an alert at an instant, and whether they had been sent by then.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_alert_notices_as_of(
        &self,
        alert_id: i64,
        as_of: Option<DateTime<Utc>>,
    ) -> Result<Vec<NoticeRow>> {
        sqlx::query_as!(
            NoticeRow,
            r#"select outbox_id, outbox.alert_id, route, channel, recipient, escalation,
                coalesce(report->>'subject', '(cannot be read)') as "subject!", created_at, attempts, last_error,
                case when $2::timestamptz is null or sent_at <= $2 then sent_at end as sent_at,
                case when $2::timestamptz is null or dead_at <= $2 then dead_at end as dead_at
            from alert_notice join outbox using (outbox_id)
            where alert_notice.alert_id = $1 and ($2::timestamptz is null or created_at <= $2) order by outbox_id"#,
            alert_id,
            as_of
        )
        .fetch_all(&self.pool)
        .await
        .named("list_alert_notices")
    }
}
