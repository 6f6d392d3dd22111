//! Alerts and their history; `change` writes what happens to them, `list` finds them as they are and as they were.

mod change;
mod list;

use chrono::{DateTime, Utc};

use super::{Error, Named, Result, Store};
use crate::alert::silence::Mute;
use crate::alert::tell::Told;
use crate::alert::{Standing, State};

pub(super) use change::refusal;
pub use change::{AlertChange, HumanStep};
pub use list::AlertFilter;

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
    /// The model's name.
    pub model: String,
    /// The version's name.
    pub version: String,
    /// The output's name.
    pub output: String,
    /// page or ticket.
    pub severity: String,
    /// Where it stands.
    pub standing: Standing,
    /// What people know of it.
    pub told: Told,
}

impl OpenAlert {
    /// The state that people read, as [`AlertRow::shown`].
    #[must_use]
    pub fn shown(&self) -> &'static str {
        let mute = self.told.mute.as_ref().filter(|_| State::OPEN.contains(&self.standing.state));
        mute.map_or(self.standing.state.as_str(), Mute::as_str)
    }
}

/// An alert as people read it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = StoredAlert)]
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
    /// When it fired.
    pub fired_at: Option<DateTime<Utc>>,
    /// When a person took it up.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// When people were last told.
    pub told_at: Option<DateTime<Utc>>,
    /// Level of escalation that they were told at.
    pub escalation: i32,
    /// What keeps it quiet: silence 4, maintenance NAME, alert 17.
    pub muted_by: Option<String>,
    /// When that ends by itself.
    pub muted_until: Option<DateTime<Utc>>,
    /// When it was closed.
    pub closed_at: Option<DateTime<Utc>>,
}

impl AlertRow {
    /// The state that people read: an open alert that something keeps quiet is silenced or inhibited. It is derived, for
    /// the state goes on beneath it.
    #[must_use]
    pub fn shown(&self) -> &str {
        let mute = self.muted_by.as_deref().filter(|_| self.closed_at.is_none());
        mute.and_then(|by| Mute::parse(by, self.muted_until)).map_or(self.state.as_str(), |mute| mute.as_str())
    }
}

/// One entry of an alert's history.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = AlertEvent)]
pub struct EventRow {
    /// When.
    pub at: DateTime<Utc>,
    /// What happened.
    pub transition: String,
    /// The state after it.
    pub state: String,
    /// Who: dosimeter, or a person.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Whether people were told, and why or why not.
    pub decision: Option<String>,
    /// The decisive estimate.
    pub estimate_id: Option<i64>,
}

impl Store {
    /// Every alert that is open, and those that a person has resolved while their condition held: they stay quiet until it
    /// has ceased.
    ///
    /// # Errors
    /// When Postgres fails or a row cannot be read.
    pub async fn list_open_alerts(&self) -> Result<Vec<OpenAlert>> {
        let rows = sqlx::query!(
            "select alert_id, rule, version_id, output_id, slice, severity, state, breached, since, acknowledged_at,
                missing_since, told_at, unanswered_since, escalation, owed, muted_by, muted_until,
                model.name as model, model_version.name as version, output.name as output
            from alert join model_version using (version_id) join output using (output_id)
                join model on model.model_id = model_version.model_id
            where closed_at is null or (state = 'resolved' and breached) order by alert_id"
        )
        .fetch_all(&self.pool)
        .await
        .named("list_open_alerts")?;
        let alerts = rows.into_iter().map(|row| {
            let corrupt = |column, value: &str| Error::Corrupt {
                table: "alert",
                column,
                row: format!("alert {}", row.alert_id),
                source: format!("{value:?} is not known").into(),
            };
            let mute = row
                .muted_by
                .as_deref()
                .map(|by| Mute::parse(by, row.muted_until).ok_or_else(|| corrupt("muted_by", by)));
            Ok(OpenAlert {
                alert_id: row.alert_id,
                standing: Standing {
                    state: State::parse(&row.state).ok_or_else(|| corrupt("state", &row.state))?,
                    breached: row.breached,
                    since: row.since,
                    acknowledged_at: row.acknowledged_at,
                    missing_since: row.missing_since,
                },
                told: Told {
                    last_at: row.told_at,
                    unanswered_since: row.unanswered_since,
                    escalation: row.escalation,
                    owed: row.owed,
                    mute: mute.transpose()?,
                },
                key: AlertKey {
                    rule: row.rule,
                    version_id: row.version_id,
                    output_id: row.output_id,
                    slice: row.slice,
                },
                model: row.model,
                version: row.version,
                output: row.output,
                severity: row.severity,
            })
        });
        alerts.collect()
    }
}

/// There is no such alert.
pub(super) fn missing(alert_id: i64) -> Error {
    Error::Missing(format!("there is no alert {alert_id}; `dosimeter alert list` shows those that there are"))
}
