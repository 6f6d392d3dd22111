//! Emails: plain text and HTML, the chart beside the HTML, one thread per alert and recipient.

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls as ClientTls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use minijinja::{AutoEscape, Environment};

use super::{Error, Letter};
use crate::alert::report::{Kind, Report};
use crate::config::{Notify, Smtp, Tls, Transport};

/// What the HTML calls the chart.
const CHART: &str = "chart@dosimeter";

/// A rendered notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
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
        text: fill("alert.txt", include_str!("templates/alert.txt"))?,
        html: fill("alert.html", include_str!("templates/alert.html"))?,
    })
}

/// The plan's way of emails.
#[derive(Clone, Debug)]
pub(super) struct Mail {
    from: String,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Nowhere,
    Directory(std::path::PathBuf),
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
}

impl Mail {
    pub(super) fn new(notify: &Notify) -> Result<Self, Error> {
        let way = match &notify.transport {
            Transport::None => Way::Nowhere,
            Transport::Directory(directory) => Way::Directory(directory.clone()),
            Transport::Smtp(smtp) => Way::Smtp(transport(smtp)?),
        };
        Ok(Self { from: notify.from.clone(), way })
    }

    pub(super) async fn send(&self, letter: &Letter<'_>) -> Result<String, Error> {
        match &self.way {
            // A plan is refused that names somebody and no way; what was written under another plan waits for one.
            Way::Nowhere => Err(Error::NoWay),
            Way::Directory(directory) => {
                let message = message(&self.from, letter)?;
                let path = directory.join(format!("{}.eml", letter.key));
                let part = path.with_extension("part");
                std::fs::create_dir_all(directory)
                    .and_then(|()| std::fs::write(&part, message.formatted()))
                    .and_then(|()| std::fs::rename(part, &path))
                    .map_err(|source| Error::File { path: path.clone(), source })?;
                Ok(format!("written to {}", path.display()))
            }
            Way::Smtp(transport) => {
                let response = transport.send(message(&self.from, letter)?).await?;
                let text: Vec<&str> = response.message().collect();
                Ok(format!("SMTP {} {}", response.code(), text.join(" ")))
            }
        }
    }
}

/// Message-ID, and that of the thread's first message: the same at every attempt, so that a resend is no second message.
fn message_ids(letter: &Letter<'_>) -> (String, Option<String>) {
    let Letter { key, installation, .. } = letter;
    let own = format!("<{key}@{installation}.dosimeter>");
    match letter.alert_id.filter(|_| letter.report.kind == Kind::Alert) {
        None => (own, None),
        Some(alert_id) => {
            let first = format!("<alert-{alert_id}@{installation}.dosimeter>");
            if letter.opens_thread { (first, None) } else { (own, Some(first)) }
        }
    }
}

fn message(from: &str, letter: &Letter<'_>) -> Result<Message, Error> {
    let mailbox = |address: &str| -> Result<Mailbox, Error> {
        address.parse().map_err(|error| Error::Message(format!("{address:?} is no address: {error}")))
    };
    let rendered = render(letter.report)?;
    let html = SinglePart::html(rendered.html.replace("cid:chart", &format!("cid:{CHART}")));
    let content = MultiPart::alternative().singlepart(SinglePart::plain(rendered.text));
    let content = match letter.chart {
        None => content.singlepart(html),
        Some(chart) => {
            let kind = ContentType::parse("image/png").map_err(|error| Error::Message(error.to_string()))?;
            let image = Attachment::new_inline_with_name(CHART.to_owned(), "chart.png".to_owned());
            content.multipart(MultiPart::related().singlepart(html).singlepart(image.body(chart.to_vec(), kind)))
        }
    };
    let (message_id, thread) = message_ids(letter);
    let builder = Message::builder()
        .from(mailbox(from)?)
        .to(mailbox(letter.recipient)?)
        .subject(&letter.report.subject)
        .date(letter.written_at.into())
        .message_id(Some(message_id));
    let builder = match thread {
        Some(first) => builder.in_reply_to(first.clone()).references(first),
        None => builder,
    };
    let mut message = builder.multipart(content).map_err(|error| Error::Message(error.to_string()))?;
    // Out-of-office replies to a monitor help nobody (RFC 3834).
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    message.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
    Ok(message)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::channel::example;

    #[test]
    fn later_notices_answer_the_first_and_ids_do_not_change() {
        let report = example::report();
        let first = Letter { opens_thread: true, ..example::letter(&report) };
        let later = Letter { opens_thread: false, ..first };
        assert_eq!(message_ids(&first), ("<alert-17@0123.dosimeter>".to_owned(), None));
        assert_eq!(
            message_ids(&later),
            ("<outbox-42@0123.dosimeter>".to_owned(), Some("<alert-17@0123.dosimeter>".to_owned()))
        );
        let text = String::from_utf8(message("d@h.example", &later).expect("a message").formatted()).expect("text");
        for line in [
            "Message-ID: <outbox-42@0123.dosimeter>",
            "In-Reply-To: <alert-17@0123.dosimeter>",
            "References: <alert-17@0123.dosimeter>",
            "Auto-Submitted: auto-generated",
        ] {
            assert!(text.contains(line), "{line} is missing: {text}");
        }
        let lost = Report { kind: Kind::DeadLetter, ..report.clone() };
        assert_eq!(message_ids(&Letter { report: &lost, ..later }).1, None, "a dead letter is in no thread");
    }

    #[test]
    fn the_chart_stands_beside_the_html_that_shows_it() {
        let report = Report { chart: Some("auroc over 60 days".to_owned()), ..example::report() };
        let letter = Letter { chart: Some(b"\x89PNG and so on"), ..example::letter(&report) };
        let text = String::from_utf8(message("d@h.example", &letter).expect("a message").formatted()).expect("text");
        let position = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is missing: {text}"));
        assert!(position("multipart/alternative") < position("text/plain"));
        assert!(position("text/plain") < position("multipart/related"));
        assert!(position("multipart/related") < position("text/html"));
        assert!(position("text/html") < position("Content-ID: <chart@dosimeter>"));
        assert!(text.contains("image/png") && text.contains("Content-Disposition: inline"));
        let rendered = render(&report).expect("templates are right");
        assert!(rendered.html.contains("src=\"cid:chart\"") && rendered.html.contains("alt=\"auroc over 60 days\""));
        assert!(rendered.text.contains("auroc over 60 days"), "who reads plain text is told too");
        assert!(!render(&example::report()).expect("right").html.contains("<img"));
    }

    #[test]
    fn what_comes_from_records_is_escaped_in_html() {
        let mut report = example::report();
        report.lines.push(("Where".to_owned(), "<script>alert(1)</script>".to_owned()));
        let rendered = render(&report).expect("templates are right");
        assert!(!rendered.html.contains("<script>") && rendered.html.contains("&lt;script&gt;"), "{}", rendered.html);
    }

    #[test]
    fn the_html_fits_a_telephone() {
        let mut report = example::report();
        report.slices.push(["site=north".into(), "0.880".into(), "0.850 to 0.910".into(), "210".into()]);
        let html = render(&report).expect("templates are right").html;
        assert!(html.contains("name=\"viewport\" content=\"width=device-width"), "{html}");
        // Nothing states a width in pixels, and what cannot break scrolls by itself.
        assert!(!html.contains("width=\"") && html.contains("max-width: 46em") && html.contains("overflow-x: auto"));
    }
}
