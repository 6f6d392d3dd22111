//! Notices: rendered from templates, sent by SMTP or written as files.
//!
//! Must never: decide whether somebody is told; `alert` does. A failed attempt is an error for the caller to note: the
//! notice stays in the outbox.

use chrono::{DateTime, Utc};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls as ClientTls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use minijinja::{AutoEscape, Environment};

use crate::alert::report::Report;
use crate::config::{Notify, Smtp, Tls, Transport};

/// Why a notice was not sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message itself is wrong: trying again does not help, changing the plan does.
    #[error("the message cannot be written: {0}")]
    Message(String),
    /// The server did not take it: try again later.
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
}

/// A rendered notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Subject.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// HTML.
    pub html: String,
}

/// Render a report as plain text and as HTML.
///
/// # Errors
/// When a template is wrong, which the tests rule out.
pub fn render(report: &Report) -> Result<Rendered, Error> {
    let mut templates = Environment::new();
    templates.set_auto_escape_callback(
        |name| {
            if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None }
        },
    );
    let fill = |name: &'static str, template: &'static str| {
        let template = templates.template_from_named_str(name, template);
        template
            .and_then(|template| template.render(minijinja::value::Serde(report)))
            .map_err(|error| Error::Message(error.to_string()))
    };
    Ok(Rendered {
        subject: report.subject.clone(),
        text: fill("alert.txt", include_str!("templates/alert.txt"))?,
        html: fill("alert.html", include_str!("templates/alert.html"))?,
    })
}

/// What an email needs besides its text.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    /// Number of the outbox row.
    pub outbox_id: i64,
    /// Random name of the installation.
    pub installation: &'a str,
    /// To whom.
    pub recipient: &'a str,
    /// When it was written.
    pub written_at: DateTime<Utc>,
}

impl Envelope<'_> {
    /// The Message-ID: the same at every attempt, so that a resend is not a second message.
    #[must_use]
    pub fn message_id(&self) -> String {
        format!("<outbox-{}@{}.dosimeter>", self.outbox_id, self.installation)
    }
}

/// Sends notices by the plan's way.
#[derive(Clone, Debug)]
pub struct Sender {
    from: String,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Log,
    Directory(std::path::PathBuf),
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
}

impl Sender {
    /// The plan's way of sending.
    ///
    /// # Errors
    /// When the TLS settings cannot be used.
    pub fn new(notify: &Notify) -> Result<Self, Error> {
        let way = match &notify.transport {
            Transport::None => Way::Log,
            Transport::Directory(directory) => Way::Directory(directory.clone()),
            Transport::Smtp(smtp) => Way::Smtp(transport(smtp)?),
        };
        Ok(Self { from: notify.from.clone(), way })
    }

    /// Send one notice.
    ///
    /// # Errors
    /// When it was not taken; then it is not sent.
    pub async fn send(&self, envelope: &Envelope<'_>, rendered: &Rendered) -> Result<(), Error> {
        match &self.way {
            Way::Log => {
                tracing::warn!(subject = rendered.subject, "an alert, and neither SMTP nor a directory is configured");
                Ok(())
            }
            Way::Directory(directory) => {
                let message = self.message(envelope, rendered)?;
                let path = directory.join(format!("{:06}.eml", envelope.outbox_id));
                let part = path.with_extension("part");
                std::fs::create_dir_all(directory)
                    .and_then(|()| std::fs::write(&part, message.formatted()))
                    .and_then(|()| std::fs::rename(part, &path))
                    .map_err(|source| Error::File { path, source })
            }
            Way::Smtp(transport) => {
                transport.send(self.message(envelope, rendered)?).await?;
                Ok(())
            }
        }
    }

    fn message(&self, envelope: &Envelope<'_>, rendered: &Rendered) -> Result<Message, Error> {
        let mailbox = |address: &str| -> Result<Mailbox, Error> {
            address.parse().map_err(|error| Error::Message(format!("{address:?} is no address: {error}")))
        };
        let mut message = Message::builder()
            .from(mailbox(&self.from)?)
            .to(mailbox(envelope.recipient)?)
            .subject(&rendered.subject)
            .date(envelope.written_at.into())
            .message_id(Some(envelope.message_id()))
            .multipart(MultiPart::alternative_plain_html(rendered.text.clone(), rendered.html.clone()))
            .map_err(|error| Error::Message(error.to_string()))?;
        // Out-of-office replies to a monitor help nobody (RFC 3834).
        let name = HeaderName::new_from_ascii_str("Auto-Submitted");
        message.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
        Ok(message)
    }
}

fn transport(smtp: &Smtp) -> Result<AsyncSmtpTransport<Tokio1Executor>, Error> {
    let parameters = || TlsParameters::new(smtp.host.clone());
    let tls = match smtp.tls {
        Tls::Implicit => ClientTls::Wrapper(parameters()?),
        Tls::Starttls => ClientTls::Required(parameters()?),
        Tls::None => ClientTls::None,
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&smtp.host)
        .port(smtp.port)
        .tls(tls)
        .timeout(Some(std::time::Duration::from_secs(20)));
    if let (Some(username), Some(password)) = (&smtp.username, &smtp.password) {
        builder = builder.credentials(Credentials::new(username.clone(), password.expose().to_owned()));
    }
    Ok(builder.build())
}
