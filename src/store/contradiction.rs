//! What changes, against what it derives from: every query names the rows of one table that contradict another.
//!
//! These tables are states: they cannot be sealed, but they follow from rows that are, or from entries of the audit trail.

use super::look::Look;
use super::{Named, Result};

/// A row that does not follow from what it derives from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The table.
    pub relation: &'static str,
    /// The row: its key in words.
    pub row: String,
    /// What contradicts it.
    pub what: String,
}

/// `(table, query)`: each query gives the key in words, and what contradicts the row.
const QUERIES: [(&str, &str); 12] = [
    (
        "current_estimate",
        "select concat_ws(', ', 'version_id ' || c.version_id, 'window_name ' || c.window_name, 'output_id ' || c.output_id,
                'slice ' || c.slice),
            'names estimate_id ' || c.estimate_id || ' with input_digest ' || c.input_digest || '; the newest is '
                || coalesce(n.estimate_id || ' with ' || n.input_digest, 'absent')
        from current_estimate c left join lateral (
            select estimate_id, input_digest from estimate e
            where e.version_id = c.version_id and e.output_id = c.output_id and e.slice = c.slice and e.window_name = c.window_name
            order by estimate_id desc limit 1) n on true
        where (c.estimate_id, c.input_digest) is distinct from (n.estimate_id, n.input_digest) order by 1",
    ),
    (
        "_sqlx_migrations",
        "with noted as (select n.* from (select detail from audit where action = 'schema migrated' order by audit_id desc limit 1) a,
            json_to_recordset(a.detail->'migrations') as n (version bigint, checksum text))
        select 'version ' || coalesce(m.version, n.version), 'is not what the audit trail says was applied'
        from _sqlx_migrations m full join noted n on n.version = m.version and n.checksum = encode(m.checksum, 'hex')
        where m.version is null or n.version is null order by 1",
    ),
    (
        "installation",
        "select 'the only row', 'is not what the audit trail says the installation is bound to'
        from installation i left join lateral
            (select detail from audit where action = 'installation bound' order by audit_id desc limit 1) a on true
        where (i.installation_id, i.identity_fingerprint, encode(sha256(convert_to(i.link_key, 'UTF8')), 'hex'))
            is distinct from (a.detail->>'installation', a.detail->>'identity', a.detail->>'link_key')",
    ),
    (
        "model",
        "select 'model_id ' || m.model_id, 'fold_digest is not what the audit trail says of the plan in force'
        from model m join (select detail->'models' as shapes from audit where action = 'plan adopted'
            order by audit_id desc limit 1) a on a.shapes->>m.name is not null
        where m.fold_digest <> a.shapes->>m.name order by m.model_id",
    ),
    (
        "alert",
        "select 'alert_id ' || a.alert_id, 'is ' || a.state || '; by its last event it is ' || coalesce(e.state, 'nothing')
                || ', or another of its columns is not what that event says'
        from alert a left join lateral (select state, standing from alert_event
                where alert_event.alert_id = a.alert_id order by event_id desc limit 1) e on true
            left join lateral json_to_record(e.standing) as s(severity text, breached boolean, since timestamptz, fired_at timestamptz,
                acknowledged_at timestamptz, told_at timestamptz, escalation integer, muted_by text, muted_until timestamptz,
                closed_at timestamptz) on true
        where (a.state, a.severity, a.breached, a.fired_at, a.escalation, a.muted_by, a.muted_until, a.closed_at) is distinct from
                (e.state, s.severity, s.breached, s.fired_at, s.escalation, s.muted_by, s.muted_until, s.closed_at)
            -- A clock that was set back moves these without an event; then an entry names the alert.
            or ((a.since, a.acknowledged_at, a.told_at) is distinct from (s.since, s.acknowledged_at, s.told_at)
                and not exists (select from audit where action = 'clock set back'
                    and (detail->'alerts')::jsonb @> to_jsonb(a.alert_id)))
        order by a.alert_id",
    ),
    (
        "alert_event",
        "select 'event_id ' || e.event_id, 'has no entry in the audit trail'
        from alert_event e left join audit a on a.subject = 'alert ' || e.alert_id and a.action = 'alert ' || e.transition
            and a.at = e.at and a.actor = e.actor and a.reason = e.reason
        where a.audit_id is null order by e.event_id",
    ),
    (
        "reference",
        "select 'reference_id ' || r.reference_id, 'its approval is not that of the audit trail'
        from reference r left join audit a on a.action = 'reference approved' and a.subject = 'reference ' || r.reference_id
        where (r.approved_at, r.approved_by, r.approval_reason) is distinct from (a.at, a.actor, a.reason)
        order by r.reference_id",
    ),
    (
        "silence",
        "select 'silence_id ' || s.silence_id, 'its end is not that of the audit trail'
        from silence s left join audit a on a.action = 'silence ended' and a.subject = 'silence ' || s.silence_id
        where (s.ended_at, s.ended_by, s.ended_reason) is distinct from (a.at, a.actor, a.reason) order by s.silence_id",
    ),
    (
        "token",
        "select 'token_id ' || t.token_id, 'its secret, or the end of it, is not that of the audit trail'
        from token t
            left join audit a on a.action = 'token revoked' and a.subject = 'token ' || t.token_id
            left join lateral (select at, action, detail from audit
                where subject = 'token ' || t.token_id and action in ('token created', 'token rotated')
                order by audit_id desc limit 1) s on true
        where (t.revoked_at, t.revoked_by, t.revoked_reason) is distinct from (a.at, a.actor, a.reason)
            or encode(sha256(t.hash), 'hex') is distinct from s.detail->>'fingerprint'
            or t.rotated_at is distinct from case s.action when 'token rotated' then s.at end
        order by t.token_id",
    ),
    (
        "outbox",
        "select 'outbox_id ' || o.outbox_id, 'its end or what it says is not that of the audit trail'
        from outbox o left join lateral (select at, action, detail from audit
            where subject = 'notice ' || o.outbox_id and action in ('notice sent', 'notice dead', 'notice retried')
            order by audit_id desc limit 1) a on true
        where (o.sent_at, o.dead_at) is distinct from
                (case a.action when 'notice sent' then a.at end, case a.action when 'notice dead' then a.at end)
            or (a.action <> 'notice retried' and (o.route, o.channel, o.recipient, encode(sha256(convert_to(o.report::text, 'UTF8')), 'hex'))
                is distinct from (a.detail->>'route', a.detail->>'channel', a.detail->>'recipient', a.detail->>'report'))
        order by o.outbox_id",
    ),
    (
        "evidence",
        "select concat_ws(', ', 'stream_id ' || e.stream_id, 'tier ' || e.tier,
                'day ' || to_char(e.day at time zone 'UTC', 'YYYY-MM-DD')),
            'names alert_id ' || e.alert_id || ', which is about something else'
        from evidence e join stream s using (stream_id) left join alert a using (alert_id)
        where e.alert_id is not null and not (e.alarms and (a.rule, a.version_id, a.output_id, a.slice)
            is not distinct from (s.watch, s.version_id, s.output_id, s.slice))
        order by e.stream_id, e.day, e.tier",
    ),
    (
        "stream",
        "select 'stream_id ' || s.stream_id, 'is to be looked at from a day on that its evidence covers already'
        from stream s where s.looked_until <= (select max(day) from evidence e where e.stream_id = s.stream_id)
        order by s.stream_id",
    ),
];

impl Look {
    /// Every row that contradicts what it derives from, table by table.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list_contradictions(&mut self) -> Result<Vec<Contradiction>> {
        let mut found = Vec::new();
        for (relation, query) in QUERIES {
            let rows: Vec<(String, String)> =
                sqlx::query_as(query).fetch_all(&mut *self.0).await.named("list_contradictions")?;
            found.extend(rows.into_iter().map(|(row, what)| Contradiction { relation, row, what }));
        }
        Ok(found)
    }
}
