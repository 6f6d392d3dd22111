//! The outbox: notices that wait, are tried, and are sent or given up. Each end of a notice leaves a receipt in the audit.

mod list;

use chrono::{DateTime, Utc};
pub use list::NoticeRow;
use serde_json::json;

use super::audit::append;
use super::lease::Lease;
use super::status::count;
use super::{Error, Named, Result, Store, Transaction};
use crate::alert::notice::{self, Addressee};
use crate::alert::report::{Event, Report};

/// A notice to be sent.
#[derive(Clone, Debug)]
pub struct NewNotice {
    /// To whom, by which route.
    pub addressee: Addressee,
    /// What it says.
    pub report: Report,
    /// A PNG to show.
    pub chart: Option<Vec<u8>>,
    /// Level of escalation that it is told at: 0 for none.
    pub escalation: i32,
}

/// What a notice tells of.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    /// The alerts.
    pub alerts: &'a [i64],
    /// The alert in whose thread it stands; the first of them unless it answers another notice.
    pub thread: Option<i64>,
    /// The event of the first.
    pub event_id: Option<i64>,
}

/// A notice that waits in the outbox.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Its number.
    pub outbox_id: i64,
    /// The alert it is about.
    pub alert_id: Option<i64>,
    /// The event of the alert it tells of.
    pub event_id: Option<i64>,
    /// To whom, by which route.
    pub addressee: Addressee,
    /// Whether it is the first that this recipient gets about the alert.
    pub opens_thread: bool,
    /// What it says.
    pub report: Report,
    /// A PNG to show.
    pub chart: Option<Vec<u8>>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Since when it has been tried.
    pub queued_at: DateTime<Utc>,
    /// When this attempt was due.
    pub due_at: DateTime<Utc>,
    /// Attempts that failed.
    pub attempts: i32,
}

/// Put a notice into the outbox, in the transaction of what it tells of.
pub(super) async fn enqueue(
    transaction: &mut Transaction,
    about: About<'_>,
    notice: &NewNotice,
    now: DateTime<Utc>,
) -> Result<()> {
    let NewNotice { addressee, report, chart, escalation } = notice;
    // unwrap safety: a report is texts, instants and finite numbers, which always serialise.
    let report = serde_json::to_value(report).unwrap_or_default();
    let outbox_id = sqlx::query_scalar!(
        "insert into outbox (alert_id, event_id, route, channel, recipient, escalation, opens_thread, report, chart,
            created_at, queued_at, next_attempt_at, set_at, attempts)
        select $1, $2, $3, $4, $5, $9, not exists (select from outbox where alert_id = $1 and recipient = $5), $6, $7,
            $8, $8, $8, $8, 0
        returning outbox_id",
        about.thread.or(about.alerts.first().copied()),
        about.event_id,
        addressee.route,
        addressee.channel,
        addressee.recipient,
        report,
        chart.as_deref(),
        now,
        escalation
    )
    .fetch_one(&mut **transaction)
    .await
    .named("insert_notice")?;
    sqlx::query!(
        "insert into alert_notice (alert_id, outbox_id) select alert_id, $2 from unnest($1::bigint[]) as t(alert_id)",
        about.alerts,
        outbox_id
    )
    .execute(&mut **transaction)
    .await
    .named("insert_alert_notices")?;
    Ok(())
}

/// Tell whoever was told of an alert, and wants to know, what a person has done about it.
pub(super) async fn follow_up(
    transaction: &mut Transaction,
    (alert_id, event_id): (i64, i64),
    event: &Event,
) -> Result<()> {
    let rows = sqlx::query!(
        // An incident of PagerDuty is an episode, a series of Alertmanager has a severity: each is told of its end.
        "select distinct on (route, recipient, part) outbox_id, told.alert_id, route, channel, recipient, report
        from (select outbox.*, case channel when 'pagerduty' then report->>'episode' when 'alertmanager' then report->>'severity'
                else '' end as part
            from alert_notice join outbox using (outbox_id) where alert_notice.alert_id = $1) told
        order by route, recipient, part, outbox_id desc",
        alert_id
    )
    .fetch_all(&mut **transaction)
    .await
    .named("list_told")?;
    for row in rows {
        // A notice that cannot be read stops nobody from taking a step.
        let Ok(told) = read_report(row.outbox_id, row.report) else { continue };
        let addressee = Addressee { route: row.route, channel: row.channel, recipient: row.recipient };
        if let Some(report) = notice::follow_up(&addressee.channel, alert_id, &told, event) {
            let about = About { alerts: &[alert_id], thread: row.alert_id, event_id: Some(event_id) };
            let notice = NewNotice { addressee, report, chart: None, escalation: 0 };
            enqueue(transaction, about, &notice, event.at).await?;
        }
    }
    Ok(())
}

fn read_report(outbox_id: i64, report: serde_json::Value) -> Result<Report> {
    serde_json::from_value(report).map_err(|error| Error::Corrupt {
        table: "outbox",
        column: "report",
        row: format!("notice {outbox_id}"),
        source: error.into(),
    })
}

impl Store {
    /// Take back the claims of whoever held the lease before, and of an earlier run of this holder: they are not at work any
    /// more, and what they may have sent without noting it is sent again under the same name.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn void_claims(&self, lease: &Lease, now: DateTime<Utc>) -> Result<u64> {
        let voided = sqlx::query(
            "update outbox set claimed_by = null, next_attempt_at = $2, set_at = $2
            where claimed_by <= $1 and sent_at is null and dead_at is null",
        )
        .bind(lease.fencing)
        .bind(now)
        .execute(&self.pool)
        .await
        .named("void_claims")?;
        Ok(voided.rows_affected())
    }

    /// Claim the oldest notice that is due: until `claimed_until` nobody else tries it, unless the lease changes hands. A
    /// later notice of an alert waits for the earlier ones to the same recipient, so that nobody learns of the end first.
    /// Routes that are `closed` are passed over. A wait that was set at an instant to come was set by a clock that has been
    /// set back since, and is over.
    ///
    /// # Errors
    /// When Postgres fails or the row cannot be read.
    pub async fn claim_notice(
        &self,
        lease: &Lease,
        now: DateTime<Utc>,
        claimed_until: DateTime<Utc>,
        closed: &[String],
    ) -> Result<Option<Notice>> {
        loop {
            let row = sqlx::query!(
                "update outbox set next_attempt_at = $2, set_at = $1, claimed_by = $5 from (
                    select outbox_id, least(next_attempt_at, $1) as due_at from outbox o
                    where sent_at is null and dead_at is null and route <> all($3)
                        and (next_attempt_at <= $1 or set_at > $1 + make_interval(secs => $4))
                        and not exists (select from outbox earlier
                            where earlier.alert_id = o.alert_id and earlier.route = o.route and earlier.recipient = o.recipient
                                and earlier.outbox_id < o.outbox_id and earlier.sent_at is null and earlier.dead_at is null)
                    order by attempts > 0, outbox_id limit 1 for update skip locked) due
                where outbox.outbox_id = due.outbox_id
                returning outbox.outbox_id, alert_id, event_id, route, channel, recipient, opens_thread, report, chart,
                    created_at, queued_at, due.due_at as \"due_at!\", attempts",
                now,
                claimed_until,
                closed,
                super::CLOCK_SKEW.as_secs_f64(),
                lease.fencing
            )
            .fetch_optional(&self.pool)
            .await
            .named("claim_notice")?;
            let Some(row) = row else { return Ok(None) };
            match read_report(row.outbox_id, row.report) {
                Ok(report) => {
                    return Ok(Some(Notice {
                        outbox_id: row.outbox_id,
                        alert_id: row.alert_id,
                        event_id: row.event_id,
                        addressee: Addressee { route: row.route, channel: row.channel, recipient: row.recipient },
                        opens_thread: row.opens_thread,
                        report,
                        chart: row.chart,
                        created_at: row.created_at,
                        queued_at: row.queued_at,
                        due_at: row.due_at,
                        attempts: row.attempts,
                    }));
                }
                // What cannot be read can never be sent, and must not stand in the way of others.
                Err(error) => self.bury(row.outbox_id, &error, now).await?,
            }
        }
    }

    /// Give up a notice that cannot be read.
    async fn bury(&self, outbox_id: i64, error: &Error, now: DateTime<Utc>) -> Result<()> {
        let why = format!("{error}; was it written by a later release?");
        tracing::error!(notice = outbox_id, error = why, "a notice cannot be read; it is a dead letter now");
        let mut transaction = self.begin().await?;
        let buried = sqlx::query!(
            r#"update outbox set dead_at = $2, last_error = $3 where outbox_id = $1
            returning route, channel, recipient, encode(sha256(convert_to(report::text, 'UTF8')), 'hex') as "report!""#,
            outbox_id,
            now,
            why
        )
        .fetch_one(&mut *transaction)
        .await
        .named("bury_notice")?;
        let detail = json!({
            "route": buried.route, "channel": buried.channel, "recipient": buried.recipient, "report": buried.report
        });
        let subject = format!("notice {outbox_id}");
        append(&mut transaction, now, "dosimeter", "notice dead", &subject, &why, detail).await?;
        transaction.commit().await.named("bury_notice")
    }

    /// A notice was taken by a server. Audited, with the server's answer.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn notice_sent(&self, notice: &Notice, answer: &str, now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query("update outbox set sent_at = $2, claimed_by = null where outbox_id = $1")
            .bind(notice.outbox_id)
            .bind(now)
            .execute(&mut *transaction)
            .await
            .named("notice_sent")?;
        count(&mut transaction, ("notice", &notice.addressee.route, "sent"), 1).await?;
        receipt(&mut transaction, notice, ("notice sent", "it was taken"), Some(answer), now).await?;
        transaction.commit().await.named("notice_sent")
    }

    /// A notice could not be sent: try again later. `queued_at` is since when it has been tried, as it counts from now on.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn notice_failed(
        &self,
        notice: &Notice,
        error: &str,
        (queued_at, next_attempt_at): (DateTime<Utc>, DateTime<Utc>),
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "update outbox set attempts = attempts + 1, last_error = $2, next_attempt_at = $3, queued_at = $4, set_at = $5,
                claimed_by = null
            where outbox_id = $1 and sent_at is null and dead_at is null",
        )
        .bind(notice.outbox_id)
        .bind(error)
        .bind(next_attempt_at)
        .bind(queued_at)
        .bind(now)
        .execute(&mut *transaction)
        .await
        .named("notice_failed")?;
        count(&mut transaction, ("notice", &notice.addressee.route, "failed"), 1).await?;
        transaction.commit().await.named("notice_failed")
    }

    /// A notice is given up. Audited; what others are told of it is written in the same transaction.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn notice_died(
        &self,
        notice: &Notice,
        error: &str,
        others: &[NewNotice],
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        let died = sqlx::query!(
            "update outbox set attempts = attempts + 1, last_error = $2, dead_at = $3
            where outbox_id = $1 and sent_at is null and dead_at is null",
            notice.outbox_id,
            error,
            now
        )
        .execute(&mut *transaction)
        .await
        .named("notice_died")?;
        if died.rows_affected() == 0 {
            // Another process has sent it, or given it up, meanwhile.
            return Ok(());
        }
        count(&mut transaction, ("notice", &notice.addressee.route, "failed"), 1).await?;
        count(&mut transaction, ("notice", &notice.addressee.route, "dead"), 1).await?;
        for other in others {
            enqueue(&mut transaction, About { alerts: &[], thread: None, event_id: None }, other, now).await?;
        }
        receipt(&mut transaction, notice, ("notice dead", error), None, now).await?;
        transaction.commit().await.named("notice_died")
    }

    /// Send a dead letter again, in a person's name. Audited.
    ///
    /// # Errors
    /// When there is no such dead letter, or Postgres fails.
    pub async fn retry_notice(&self, outbox_id: i64, actor: &str, reason: &str, now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.begin().await?;
        let error = sqlx::query_scalar!(
            "with dead as (select outbox_id, last_error from outbox where outbox_id = $1 and dead_at is not null for update)
            update outbox set dead_at = null, attempts = 0, queued_at = $2, next_attempt_at = $2, set_at = $2
            from dead where outbox.outbox_id = dead.outbox_id returning dead.last_error",
            outbox_id,
            now
        )
        .fetch_optional(&mut *transaction)
        .await
        .named("retry_notice")?;
        let Some(error) = error else {
            return Err(Error::Refused(format!(
                "notice {outbox_id} is no dead letter; see `dosimeter notify list --dead`"
            )));
        };
        let (subject, detail) = (format!("notice {outbox_id}"), json!({ "last_error": error }));
        append(&mut transaction, now, actor, "notice retried", &subject, reason, detail).await?;
        transaction.commit().await.named("retry_notice")
    }

    /// Note what came of a test notice, which passes the outbox by.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn note_test(
        &self,
        addressee: &Addressee,
        actor: &str,
        answer: std::result::Result<&str, &str>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        let detail = json!({
            "channel": addressee.channel,
            "recipient": addressee.recipient,
            "answer": answer.ok(),
            "error": answer.err(),
        });
        let subject = format!("route {}", addressee.route);
        append(&mut transaction, now, actor, "notice tested", &subject, "to see whether notices arrive", detail)
            .await?;
        transaction.commit().await.named("note_test")
    }
}

/// Append how a notice ended to the audit.
async fn receipt(
    transaction: &mut Transaction,
    notice: &Notice,
    (action, reason): (&str, &str),
    answer: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    let Addressee { route, channel, recipient } = &notice.addressee;
    let report: String = sqlx::query_scalar(
        "select encode(sha256(convert_to(report::text, 'UTF8')), 'hex') from outbox where outbox_id = $1",
    )
    .bind(notice.outbox_id)
    .fetch_one(&mut **transaction)
    .await
    .named("digest_notice")?;
    let detail = json!({
        "alert_id": notice.alert_id,
        "event_id": notice.event_id,
        "route": route,
        "channel": channel,
        "recipient": recipient,
        "attempt": notice.attempts + 1,
        "answer": answer,
        "report": report,
    });
    let subject = format!("notice {}", notice.outbox_id);
    append(transaction, now, "dosimeter", action, &subject, reason, detail).await.map(drop)
}
