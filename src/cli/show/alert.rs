//! Alerts and silences as people read them.

use std::fmt::Write;

use super::{columns, minute};
use crate::store::alert::{AlertRow, EventRow};
use crate::store::outbox::NoticeRow;
use crate::store::silence::SilenceRow;

/// Alerts as a table.
pub(in crate::cli) fn alerts(alerts: &[AlertRow]) -> String {
    if alerts.is_empty() {
        return "There are no such alerts.\n".to_owned();
    }
    let header = ["id", "state", "severity", "rule", "model", "output", "slice", "since", "holds"].map(str::to_owned);
    let cells = alerts.iter().map(|alert| {
        [
            alert.alert_id.to_string(),
            alert.shown().to_owned(),
            alert.severity.clone(),
            alert.rule.clone(),
            format!("{} {}", alert.model, alert.version),
            alert.output.clone(),
            alert.slice.clone(),
            alert.since.format("%Y-%m-%d %H:%M").to_string(),
            if alert.breached { "yes" } else { "no" }.to_owned(),
        ]
    });
    columns(&std::iter::once(header).chain(cells).collect::<Vec<_>>())
}

/// One alert with its history and its notices.
pub(in crate::cli) fn alert(alert: &AlertRow, events: &[EventRow], notices: &[NoticeRow]) -> String {
    let mut out = alerts(std::slice::from_ref(alert));
    if let Some(by) = &alert.muted_by {
        let until = alert.muted_until.map(|until| format!(" until {}", minute(until))).unwrap_or_default();
        let _ = writeln!(out, "\nNobody is told: {by}{until}");
    }
    let _ = writeln!(out, "\nHistory");
    for event in events {
        let _ = writeln!(out, "{}  {} by {}: {}", minute(event.at), event.transition, event.actor, event.reason);
        if let Some(decision) = &event.decision {
            let _ = writeln!(out, "                  {decision}");
        }
    }
    let _ = writeln!(out, "\nNotices{}", if notices.is_empty() { ": none" } else { "" });
    for notice in notices {
        let sent = match (notice.sent_at, &notice.last_error) {
            (Some(at), _) => format!("sent at {}", minute(at)),
            (None, Some(error)) => format!("waiting; {} attempts failed: {error}", notice.attempts),
            (None, None) => "waiting".to_owned(),
        };
        let escalation = match notice.escalation {
            0 => String::new(),
            level => format!(", escalation {level}"),
        };
        let _ = writeln!(
            out,
            "{}  {} to {}{escalation}: {sent}",
            minute(notice.created_at),
            notice.outbox_id,
            notice.recipient
        );
    }
    out
}

/// Silences as a table.
pub(in crate::cli) fn silences(silences: &[SilenceRow]) -> String {
    if silences.is_empty() {
        return "There are no such silences.\n".to_owned();
    }
    let header =
        ["id", "model", "version", "rule", "output", "slice", "from", "until", "by", "reason"].map(str::to_owned);
    let cells = silences.iter().map(|silence| {
        [
            silence.silence_id.to_string(),
            silence.model.clone(),
            silence.version.clone(),
            silence.rule.clone(),
            silence.output.clone(),
            silence.slice.clone(),
            minute(silence.starts_at),
            minute(silence.ended_at.unwrap_or(silence.ends_at)),
            silence.created_by.clone(),
            silence.reason.clone(),
        ]
    });
    columns(&std::iter::once(header).chain(cells).collect::<Vec<_>>())
}
