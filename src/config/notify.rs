//! How people are told.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::reader::Section;
use super::service::{Secret, secret};
use super::{Surroundings, seconds};

/// How people are told.
#[derive(Clone, Debug, Serialize)]
pub struct Notify {
    /// Who.
    pub to: Vec<String>,
    /// As whom.
    pub from: String,
    /// By which way.
    pub transport: Transport,
    /// First wait after a failed attempt; it doubles up to an hour.
    #[serde(serialize_with = "seconds")]
    pub retry_after: Duration,
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

pub(super) fn notify(section: Section<'_>, around: &Surroundings<'_>) -> Notify {
    let to = section.strings("to").unwrap_or_default();
    let from = section.string("from").unwrap_or_else(|| "dosimeter@localhost".to_owned());
    for (key, address) in to.iter().map(|address| ("to", address)).chain([("from", &from)]) {
        if address.parse::<lettre::message::Mailbox>().is_err() {
            section.problem(key, format!("{address:?} is no email address"));
        }
    }
    let directory = section.string("directory").map(|dir| around.folder.join(dir));
    let smtp_section = section.section("smtp");
    let smtp = smtp_section.is_present();
    let server = self::smtp(smtp_section, around);
    if smtp && to.is_empty() {
        section.problem("to", "is empty; list who is told, as in [\"on-call@hospital.example\"]");
    }
    if directory.is_some() && to.is_empty() {
        section.problem("to", "is empty; list who is told, as in [\"on-call@hospital.example\"]");
    }
    if smtp && directory.is_some() {
        section.problem("directory", "emails go to a directory or to SMTP; keep one");
    }
    let notify = Notify {
        to,
        from,
        transport: match (smtp, directory) {
            (true, _) => Transport::Smtp(server),
            (false, Some(directory)) => Transport::Directory(directory),
            (false, None) => Transport::None,
        },
        retry_after: section.duration("retry_after", Duration::from_secs(30)),
    };
    section.refuse_unknown();
    notify
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
