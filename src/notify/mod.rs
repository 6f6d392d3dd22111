//! Notices: put into the form of a channel, and sent by it.
//!
//! A file per channel says what is spoken there, without sending it; `email` and `http` send.
//! Must never: decide whether somebody is told; `alert` does. A failed attempt is an error for the caller to note: the
//! notice stays in the outbox.

mod channel;
mod email;
mod http;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::alert::report::Report;
use crate::config::{Channel, ESCALATION_ROUTE, Heartbeat, Notify};

pub use channel::webhook::signature;
pub use email::{Rendered, render};

/// Why a notice was not sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message itself is wrong: trying again does not help, changing the plan does.
    #[error("the message cannot be written: {0}")]
    Message(String),
    /// The SMTP server did not take it.
    #[error("the SMTP server did not take it: {0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// The directory did not take it: try again later.
    #[error("the directory of notices {path} cannot be written; may the user that runs dosimeter?")]
    File {
        /// The file or directory.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The server at the route's address answered with something else than success.
    #[error("{origin} answered {status}: {answer}; {remedy}", remedy = http::remedy(*status))]
    Answer {
        /// Which server.
        origin: String,
        /// The status.
        status: u16,
        /// The beginning of its answer.
        answer: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The server at the route's address cannot be reached, or broke off: try again later.
    #[error("{origin} cannot be reached; is the route's url right, and may this host reach it?")]
    Http {
        /// Which server.
        origin: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The plan has no way for emails any more: the notice waits for one.
    #[error("the plan in force has no way for emails; set [notify.smtp] or notify.directory")]
    NoWay,
    /// The plan has no such route, or it has another channel by now.
    #[error("the plan in force has no {channel} route {route:?}; add it again, or see `dosimeter notify list`")]
    NoRoute {
        /// The route.
        route: String,
        /// The channel.
        channel: String,
    },
    /// The program cannot speak HTTP here.
    #[error("connections to servers cannot be made; are the system's certificates installed?")]
    Client(#[source] reqwest::Error),
}

impl Error {
    /// Whether the same message by the same route would fail again.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Message(_) => true,
            // RFC 5321: 5yz is final. Who may log in (53z) is a matter of the plan and the server, not of the message.
            Self::Smtp(error) => {
                error.is_permanent() && error.status().is_none_or(|code| !code.to_string().starts_with("53"))
            }
            Self::Answer { status, .. } => !matches!(status, 408 | 425 | 429 | 500..),
            Self::File { .. } | Self::Http { .. } | Self::NoRoute { .. } | Self::NoWay | Self::Client(_) => false,
        }
    }

    /// How long the server wants to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A notice with everything that its delivery needs.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// Its name within the installation: the same at every attempt, and no other notice's.
    pub key: &'a str,
    /// Random name of the installation.
    pub installation: &'a str,
    /// The alert it is about.
    pub alert_id: Option<i64>,
    /// The event of the alert it tells of.
    pub event_id: Option<i64>,
    /// The route of the plan.
    pub route: &'a str,
    /// The route's channel when the notice was written.
    pub channel: &'a str,
    /// To whom.
    pub recipient: &'a str,
    /// When it was written.
    pub written_at: DateTime<Utc>,
    /// Whether it is the first that this recipient gets about the alert.
    pub opens_thread: bool,
    /// What it says.
    pub report: &'a Report,
    /// A PNG to show.
    pub chart: Option<&'a [u8]>,
}

impl Letter<'_> {
    /// What other programs tell apart by: the same for every notice of one alert.
    #[must_use]
    pub fn dedup_key(&self) -> String {
        match self.alert_id.filter(|_| self.report.kind == crate::alert::report::Kind::Alert) {
            Some(alert_id) => format!("dosimeter-{}-alert-{alert_id}", self.installation),
            None => format!("dosimeter-{}-{}", self.installation, self.report.rule),
        }
    }
}

/// Sends notices by the plan's routes.
#[derive(Clone, Debug)]
pub struct Sender {
    mail: email::Mail,
    client: http::Client,
    channels: BTreeMap<String, Channel>,
}

impl Sender {
    /// The plan's ways of sending.
    ///
    /// # Errors
    /// When the TLS settings cannot be used.
    pub fn new(notify: &Notify) -> Result<Self, Error> {
        Ok(Self {
            mail: email::Mail::new(notify)?,
            client: http::Client::new()?,
            channels: notify
                .routes
                .iter()
                .map(|route| (route.name.clone(), route.channel.clone()))
                .chain([(ESCALATION_ROUTE.to_owned(), Channel::Email { to: Vec::new() })])
                .collect(),
        })
    }

    /// Tell whoever would miss it that the daemon lives; returns what the other side answered.
    ///
    /// # Errors
    /// When it did not take it.
    pub async fn ping(&self, heartbeat: &Heartbeat, now: DateTime<Utc>) -> Result<String, Error> {
        self.client.ping(heartbeat, now).await
    }

    /// Send one notice; returns what the other side answered.
    ///
    /// # Errors
    /// When it was not taken; then it is not sent.
    pub async fn send(&self, letter: &Letter<'_>, now: DateTime<Utc>) -> Result<String, Error> {
        let known = self.channels.get(letter.route).filter(|channel| channel.as_str() == letter.channel);
        let Some(channel) = known else {
            return Err(Error::NoRoute { route: letter.route.to_owned(), channel: letter.channel.to_owned() });
        };
        match channel {
            Channel::Email { .. } => self.mail.send(letter).await,
            Channel::Webhook { address, secret } => {
                let body = channel::webhook::document(letter).to_string();
                let headers = [
                    ("X-Dosimeter-Signature", signature(secret.expose(), now.timestamp(), &body)),
                    ("Idempotency-Key", format!("{}-{}", letter.installation, letter.key)),
                ];
                self.client.post(address, &headers, body, now).await
            }
            Channel::Slack { address } => {
                self.client.post(address, &[], channel::slack::message(letter).to_string(), now).await
            }
            Channel::Pagerduty { address, secret } => {
                let body = channel::pagerduty::event(letter, secret).to_string();
                self.client.post(address, &[], body, now).await
            }
            Channel::Alertmanager { address, secret } => {
                let address = channel::alertmanager::endpoint(address);
                let token = secret.iter().map(|token| ("Authorization", format!("Bearer {}", token.expose())));
                let body = channel::alertmanager::alerts(letter).to_string();
                self.client.post(&address, &token.collect::<Vec<_>>(), body, now).await
            }
        }
    }
}
