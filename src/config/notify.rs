//! How people are told.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::alerting::Alerting;
use super::model::Model;
use super::reader::Section;
use super::rule::Severity;
use super::service::{Secret, secret};
use super::{Surroundings, seconds, unique};

/// Where `PagerDuty` takes events.
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// How people are told.
#[derive(Clone, Debug, Serialize)]
pub struct Notify {
    /// As whom emails are sent.
    pub from: String,
    /// By which way emails are sent.
    pub transport: Transport,
    /// Who is told of what, by which channel; `to` is the first, named `default`.
    pub routes: Vec<Route>,
    /// First wait after a failed attempt; it doubles up to an hour.
    #[serde(serialize_with = "seconds")]
    pub retry_after: Duration,
    /// A notice that nobody has taken for so long becomes a dead letter.
    #[serde(serialize_with = "seconds")]
    pub give_up_after: Duration,
}

/// The name of the route that `to` stands for.
pub const DEFAULT_ROUTE: &str = "default";
/// The name of the email route of escalations.
pub const ESCALATION_ROUTE: &str = "escalation";

/// One way to people, and what goes by it.
#[derive(Clone, Debug, Serialize)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// What is spoken there.
    #[serde(flatten)]
    pub channel: Channel,
    /// Alerts of these severities go by it.
    pub severities: Vec<Severity>,
    /// Alerts of these models go by it; of all when empty.
    pub models: Vec<String>,
}

impl Route {
    /// Whether an alert goes by this route.
    #[must_use]
    pub fn takes(&self, severity: Severity, model: &str) -> bool {
        self.severities.contains(&severity) && (self.models.is_empty() || self.models.iter().any(|name| name == model))
    }
}

/// What is spoken at the end of a route.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "channel", rename_all = "lowercase")]
pub enum Channel {
    /// Emails, one per recipient.
    Email {
        /// To whom.
        to: Vec<String>,
    },
    /// The signed document of `docs/notices.md`.
    Webhook {
        /// Where.
        #[serde(flatten)]
        address: Address,
        /// Key of the signature.
        #[serde(skip)]
        secret: Secret,
    },
    /// An incoming webhook as Slack, Mattermost and Rocket.Chat have it. Its address is its secret.
    Slack {
        /// Where.
        #[serde(flatten)]
        address: Address,
    },
    /// The Events API v2 of `PagerDuty`.
    Pagerduty {
        /// Where.
        #[serde(flatten)]
        address: Address,
        /// The integration's routing key.
        #[serde(skip)]
        secret: Secret,
    },
    /// The API v2 of Prometheus's Alertmanager.
    Alertmanager {
        /// Where the Alertmanager is.
        #[serde(flatten)]
        address: Address,
        /// A bearer token, if it wants one.
        #[serde(skip)]
        secret: Option<Secret>,
    },
}

/// Where a channel over HTTP leads.
#[derive(Clone, Debug, Serialize)]
pub struct Address {
    /// Scheme, host and port: what may be shown.
    pub origin: String,
    /// The whole address, which may be a secret.
    #[serde(skip)]
    pub url: Secret,
}

impl Channel {
    /// The word of the configuration.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Email { .. } => "email",
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::Pagerduty { .. } => "pagerduty",
            Self::Alertmanager { .. } => "alertmanager",
        }
    }

    /// Who is told, without secrets: addresses of people, or where the server is.
    #[must_use]
    pub fn recipients(&self) -> Vec<&str> {
        match self {
            Self::Email { to } => to.iter().map(String::as_str).collect(),
            Self::Webhook { address, .. }
            | Self::Slack { address }
            | Self::Pagerduty { address, .. }
            | Self::Alertmanager { address, .. } => vec![&address.origin],
        }
    }
}

/// The way of an email.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Into the log alone: nothing is configured.
    None,
    /// As files in a directory.
    Directory(PathBuf),
    /// By SMTP.
    Smtp(Smtp),
}

/// An SMTP server.
#[derive(Clone, Debug, Serialize)]
pub struct Smtp {
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Encryption.
    pub tls: Tls,
    /// Who logs in.
    pub username: Option<String>,
    /// With what.
    #[serde(skip)]
    pub password: Option<Secret>,
}

/// Encryption of SMTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// From the first byte.
    Implicit,
    /// After STARTTLS, which is required.
    Starttls,
    /// Never.
    None,
}

/// What is told of emails that would go nowhere.
const NO_WAY: &str = "is missing, so emails would go nowhere; add [notify.smtp] with a host, or name a directory";

/// Whoever a step of escalation names is told by email, which needs a way.
pub(super) fn check_escalation(root: &Section<'_>, alerting: &Alerting, notify: &Notify) {
    if !alerting.escalations.is_empty() && matches!(notify.transport, Transport::None) {
        root.problem("notify.smtp", NO_WAY);
    }
}

pub(super) fn notify(section: Section<'_>, models: &[Model], around: &Surroundings<'_>) -> Notify {
    let from = section.string("from").unwrap_or_else(|| "dosimeter@localhost".to_owned());
    check_addresses(&section, "from", std::slice::from_ref(&from));
    let to = section.strings("to").unwrap_or_default();
    check_addresses(&section, "to", &to);
    let mut routes: Vec<Route> =
        section.sections("route").into_iter().map(|section| route(section, models, around)).collect();
    unique(&section, "route", routes.iter().map(|route| route.name.as_str()));
    if !to.is_empty() {
        routes.insert(
            0,
            Route {
                name: DEFAULT_ROUTE.to_owned(),
                channel: Channel::Email { to },
                severities: Severity::ALL.to_vec(),
                models: Vec::new(),
            },
        );
    }
    let directory = section.string("directory").map(|dir| around.folder.join(dir));
    let smtp_section = section.section("smtp");
    let smtp = smtp_section.is_present();
    let server = self::smtp(smtp_section, around);
    let has_email = routes.iter().any(|route| matches!(route.channel, Channel::Email { .. }));
    if (smtp || directory.is_some()) && !has_email {
        section
            .problem("to", "is empty; list who is told, as in [\"on-call@hospital.example\"], or add an email route");
    }
    if has_email && !smtp && directory.is_none() {
        section.problem("smtp", NO_WAY);
    }
    if smtp && directory.is_some() {
        section.problem("directory", "emails go to a directory or to SMTP; keep one");
    }
    let notify = Notify {
        from,
        transport: match (smtp, directory) {
            (true, _) => Transport::Smtp(server),
            (false, Some(directory)) => Transport::Directory(directory),
            (false, None) => Transport::None,
        },
        routes,
        retry_after: section.duration("retry_after", Duration::from_secs(30)),
        give_up_after: section.duration("give_up_after", Duration::from_secs(3 * 86_400)),
    };
    section.refuse_unknown();
    notify
}

fn check_addresses(section: &Section<'_>, key: &str, addresses: &[String]) {
    for address in addresses.iter().filter(|address| address.parse::<lettre::message::Mailbox>().is_err()) {
        section.problem(key, format!("{address:?} is no email address"));
    }
}

fn route(section: Section<'_>, models: &[Model], around: &Surroundings<'_>) -> Route {
    let name = section.required_string("name", "name the route; receipts and dead letters carry it");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.chars().all(is_plain) {
        section.problem("name", format!("{name:?} is no plain name; write letters, digits, - and _"));
    }
    let taken = [(DEFAULT_ROUTE, "notify.to"), (ESCALATION_ROUTE, "alerting.escalation")];
    if let Some((_, of)) = taken.iter().find(|(taken, _)| name == *taken) {
        section.problem("name", format!("{name:?} is the route of {of}; choose another name"));
    }
    let word = section.choice(
        "channel",
        "",
        &[
            ("email", "email"),
            ("webhook", "webhook"),
            ("slack", "slack"),
            ("pagerduty", "pagerduty"),
            ("alertmanager", "alertmanager"),
        ],
    );
    if word.is_empty() && section.string("channel").is_none() {
        section.problem("channel", "is missing; write email, webhook, slack, pagerduty or alertmanager");
    }
    let models_of_route = section.strings("models").unwrap_or_default();
    for unknown in models_of_route.iter().filter(|name| !models.iter().any(|model| model.name == **name)) {
        section.problem("models", format!("{unknown:?} is no model of this plan"));
    }
    let words = section.strings("severity").unwrap_or_else(|| vec!["page".into(), "ticket".into()]);
    let severities: Vec<Severity> = words.iter().filter_map(|word| Severity::parse(word)).collect();
    if severities.is_empty() || severities.len() < words.len() {
        section.problem("severity", "is a list of \"page\", \"ticket\" or both");
    }
    let route = Route { channel: channel(&section, word, &name, around), name, severities, models: models_of_route };
    section.refuse_unknown();
    route
}

/// The channel of a route with what it needs; a key that it has no use for is refused.
fn channel(section: &Section<'_>, word: &str, name: &str, around: &Surroundings<'_>) -> Channel {
    let variable = |what: &str| {
        let name: String = name.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_uppercase() }).collect();
        format!("DOSIMETER_ROUTE_{name}_{what}")
    };
    let to = section.strings("to");
    let url = secret(section, "url", &variable("URL"), around);
    let key = secret(section, "secret", &variable("SECRET"), around).filter(|key| !key.expose().is_empty());
    let useless = |key: &str| {
        if !word.is_empty() {
            section.problem(key, format!("has no meaning for the channel {word}; remove it"));
        }
    };
    if word == "email" {
        for (key, is_there) in [("url", url.is_some()), ("secret", key.is_some())] {
            if is_there {
                useless(key);
            }
        }
        let to = to.unwrap_or_default();
        check_addresses(section, "to", &to);
        if to.is_empty() {
            section.problem("to", "is empty; list who is told, as in [\"on-call@hospital.example\"]");
        }
        return Channel::Email { to };
    }
    if to.is_some() {
        useless("to");
    }
    let url = match (url, word) {
        (None, "pagerduty") => Some(Secret::new(PAGERDUTY)),
        (url, _) => url,
    };
    let address = address(section, word, url, &variable("URL"));
    let missing = || {
        let remedy = format!("is missing; name a file as secret_file, or set {}", variable("SECRET"));
        section.problem("secret", remedy);
        Secret::new("")
    };
    match word {
        "slack" => {
            if key.is_some() {
                useless("secret");
            }
            Channel::Slack { address }
        }
        "pagerduty" => Channel::Pagerduty { address, secret: key.unwrap_or_else(missing) },
        "alertmanager" => Channel::Alertmanager { address, secret: key },
        "webhook" => {
            let secret = key.unwrap_or_else(missing);
            if (1..16).contains(&secret.expose().len()) {
                section.problem("secret", "is too short to sign with; use at least 16 random characters");
            }
            Channel::Webhook { address, secret }
        }
        _ => Channel::Email { to: Vec::new() },
    }
}

pub(super) fn address(section: &Section<'_>, word: &str, url: Option<Secret>, variable: &str) -> Address {
    let nowhere = Address { origin: String::new(), url: Secret::new("") };
    let Some(url) = url else {
        if !word.is_empty() {
            section.problem("url", format!("is missing; write it here, name a file as url_file, or set {variable}"));
        }
        return nowhere;
    };
    // The message never shows the address: it may be a secret.
    match reqwest::Url::parse(url.expose()) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.host_str().is_some() => {
            Address { origin: parsed.origin().ascii_serialization(), url }
        }
        _ => {
            section.problem("url", "is no address of a server; write https://host/path");
            nowhere
        }
    }
}

fn smtp(section: Section<'_>, around: &Surroundings<'_>) -> Smtp {
    let tls = section.choice(
        "tls",
        Tls::Starttls,
        &[("starttls", Tls::Starttls), ("implicit", Tls::Implicit), ("none", Tls::None)],
    );
    let usual = match tls {
        Tls::Implicit => 465,
        Tls::Starttls => 587,
        Tls::None => 25,
    };
    let smtp = Smtp {
        host: if section.is_present() {
            section.required_string("host", "name the SMTP server")
        } else {
            section.string("host").unwrap_or_default()
        },
        port: u16::try_from(section.integer("port", usual, 1)).unwrap_or_else(|_| {
            section.problem("port", "is no port; write 1 to 65535");
            25
        }),
        tls,
        username: section.string("username"),
        password: secret(&section, "password", "DOSIMETER_SMTP_PASSWORD", around),
    };
    if smtp.username.is_some() && smtp.password.is_none() {
        section.problem("password_file", "is missing; a username needs a password");
    }
    section.refuse_unknown();
    smtp
}
