//! From a bad number to a person: state, events, audit, and an email through a real SMTP server.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use dosimeter::job::Job;
use dosimeter::runtime::Outcome;
use dosimeter::store::alert::HumanStep;

use crate::support::{Child, Installation, SMALL, at, eventually, free_port};

fn config(port: u16) -> String {
    let rule = "[[model.alert]]\nname = \"auroc-low\"\nmetric = \"auroc\"\nslice = \"site=*\"\nwindow = \"7d\"\nbelow = 0.75\nfor = \"1d\"\n\n";
    let notify = format!(
        "\n[notify]\nto = [\"on-call@hospital.example\"]\nfrom = \"dosimeter@hospital.example\"\nretry_after = \"30s\"\n\
         smtp = {{ host = \"127.0.0.1\", port = {port}, tls = \"none\" }}\n"
    );
    SMALL.replacen("[[source]]", &format!("{rule}[[source]]"), 1) + &notify
}

/// A day of predictions and their truth: good in the north, guesses in the south. Names of files below a folder, with contents.
pub fn day_files(day: &str) -> [(String, String); 2] {
    let (mut predictions, mut truth) =
        ("study,at,effusion,nodule,site,sex\n".to_owned(), "study,finding,value,at\n".to_owned());
    for case in 0..60_u32 {
        let (site, present) = (["north", "south"][case as usize % 2], case % 3 == 0);
        let guess = f64::from(case * 37 % 60) / 60.0;
        let score = if site == "south" { guess } else { f64::from(u8::from(present)).mul_add(0.5, guess / 3.0) };
        let _ = writeln!(predictions, "{day}-{case},{day}T10:00:00Z,{score:.4},0.5,{site},F");
        let _ = writeln!(truth, "{day}-{case},effusion,{},{day}T12:00:00Z", u8::from(present));
    }
    [(format!("predictions/{day}.csv"), predictions), (format!("truth/{day}.csv"), truth)]
}

/// Write such a day into the sources of an installation.
pub fn write_day(installation: &Installation, day: &str) {
    for (name, content) in day_files(day) {
        installation.write(&name, content);
    }
}

/// aiosmtpd, which keeps what it receives as a Maildir.
pub fn smtp_server(port: u16, maildir: &Path) -> Child {
    for folder in ["new", "cur", "tmp"] {
        std::fs::create_dir_all(maildir.join(folder)).expect("a folder");
    }
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/usr/lib/python3/dist-packages");
    let child = Command::new("python3")
        .env("PYTHONPATH", packages)
        .args(["-m", "aiosmtpd", "-n", "-l", &format!("127.0.0.1:{port}"), "-c", "aiosmtpd.handlers.Mailbox"])
        .arg(maildir)
        .stdout(Stdio::null())
        .spawn()
        .expect("python3 with aiosmtpd; `make test` installs it");
    let child = Child(child);
    eventually("the SMTP server", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    child
}

pub fn received(maildir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(maildir.join("new")).expect("a folder").flatten();
    files.map(|file| std::fs::read_to_string(file.path()).expect("an email")).collect()
}

/// A header of an email, unfolded.
fn header(email: &str, name: &str) -> String {
    let unfolded = email.replace("\r\n", "\n").replace("\n ", " ");
    let line = unfolded.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {name} in {email}"))
}

/// The image that stands beside the HTML.
fn png_of(email: &str) -> Vec<u8> {
    let email = email.replace("\r\n", "\n");
    assert!(email.contains("multipart/related") && email.contains("cid:chart@dosimeter"), "{email}");
    let part = email.split("\n--").find(|part| part.contains("Content-Type: image/png")).expect("an image");
    assert!(part.contains("Content-ID: <chart@dosimeter>"), "{part}");
    let (_, body) = part.split_once("\n\n").expect("a body");
    let text: String = body.split_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_waits_fires_once_and_its_email_survives_a_dead_server() {
    let port = free_port();
    let installation = Installation::new(&config(port), "2025-02-02T01:00:00Z").await;
    write_day(&installation, "2025-02-01");
    installation.pass().await;
    let alerts = installation.context().store.list_alerts(false, 10).await.expect("alerts");
    assert_eq!(alerts.len(), 1, "the south alone: {alerts:?}");
    assert_eq!((alerts[0].slice.as_str(), alerts[0].state.as_str()), ("site=south", "pending"));
    assert_eq!(installation.count("outbox").await, 0, "nobody is told before the rule has held for a day");

    installation.hand.turn_to(at("2025-02-03T02:00:00Z"));
    write_day(&installation, "2025-02-02");
    // The server is down: every job succeeds but the mailroom, and the notice stays.
    for job in Job::ALL {
        let outcome = job.run(&installation.context()).await;
        assert!(outcome != Outcome::Failed || job == Job::Notify, "{}", job.name());
    }
    let alerts = installation.context().store.list_alerts(true, 10).await.expect("alerts");
    assert_eq!(alerts[0].state.as_str(), "firing");
    let waiting: (i64, i32, Option<String>) =
        sqlx::query_as("select count(*) over (), attempts, last_error from outbox")
            .fetch_one(&installation.pool().await)
            .await
            .expect("the outbox");
    assert_eq!((waiting.0, waiting.1), (1, 1), "{waiting:?}");
    assert!(waiting.2.is_some_and(|error| !error.is_empty()));

    let maildir = installation.path("maildir");
    let _server = smtp_server(port, &maildir);
    Job::Notify.run(&installation.context()).await;
    assert!(received(&maildir).is_empty(), "the wait after a failure is kept");
    installation.hand.turn_to(at("2025-02-03T02:01:00Z"));
    for _ in 0..3 {
        assert_ne!(Job::Notify.run(&installation.context()).await, Outcome::Failed);
    }
    let emails = received(&maildir);
    assert_eq!(emails.len(), 1, "later, and once");
    let email = emails[0].replace("=\n", "").replace("=3D", "=");
    for part in [
        "Message-ID: <alert-1@",
        "To: on-call@hospital.example",
        "auroc",
        "effusion",
        "site=south",
        "chest-xray",
        "Auto-Submitted: auto-generated",
    ] {
        assert!(email.contains(part), "{part} is missing: {email}");
    }
    assert!(!email.contains("2025-02-01-7"), "no case id");
    assert!(!email.contains("In-Reply-To"), "the first of its thread");
    let chart = png_of(&emails[0]);
    assert!(chart.starts_with(b"\x89PNG\r\n\x1a\n") && chart.len() > 5000, "a chart of {} bytes", chart.len());

    // Only the end is told by email, and in the same thread.
    let context = installation.context();
    for (step, reason) in [(HumanStep::Acknowledge, "looking"), (HumanStep::Resolve, "scanner exchanged")] {
        context.store.step_alert(1, step, "Dr Example", reason, at("2025-02-03T03:00:00Z")).await.expect("a step");
    }
    installation.hand.turn_to(at("2025-02-03T03:00:00Z"));
    Job::Notify.run(&context).await;
    let emails = received(&maildir);
    assert_eq!(emails.len(), 2);
    let (thread, later) = (header(&email, "Message-ID"), emails.iter().find(|email| email.contains("In-Reply-To")));
    let later = later.expect("an answer");
    assert_eq!(header(later, "In-Reply-To"), thread);
    assert_eq!(header(later, "References"), thread);
    assert_eq!(header(later, "Subject"), format!("Re: {}", header(&email, "Subject")));
    assert!(later.contains("scanner exchanged") && later.contains("resolved by Dr Example"), "{later}");
    assert!(!later.contains("looking"), "the acknowledgement is told to nobody by email");

    // Every send has its receipt, with the server's own words.
    let receipts: Vec<(String, serde_json::Value)> =
        sqlx::query_as("select subject, detail from audit where action = 'notice sent' order by audit_id")
            .fetch_all(&installation.pool().await)
            .await
            .expect("the audit");
    assert_eq!(receipts.len(), 2);
    assert_eq!(receipts[0].0, "notice 1");
    let detail = &receipts[0].1;
    assert_eq!((&detail["channel"], &detail["recipient"]), (&"email".into(), &"on-call@hospital.example".into()));
    assert_eq!(detail["attempt"], 2, "{detail}");
    assert!(detail["answer"].as_str().is_some_and(|answer| answer.starts_with("SMTP 250")), "{detail}");

    // What happened is on record: the events, the audit, and the estimate that each step was decided on.
    let steps: Vec<(String, String, bool)> =
        sqlx::query_as("select transition, actor, estimate_id is not null from alert_event order by event_id")
            .fetch_all(&installation.pool().await)
            .await
            .expect("events");
    let transitions: Vec<&str> = steps.iter().map(|(transition, ..)| transition.as_str()).collect();
    assert_eq!(transitions, ["began", "fired", "acknowledged", "resolved"]);
    assert!(steps[..2].iter().all(|(_, actor, has_estimate)| actor == "dosimeter" && *has_estimate));
    assert!(steps[2..].iter().all(|(_, actor, has_estimate)| actor == "Dr Example" && !has_estimate));
    let audited: i64 = sqlx::query_scalar("select count(*) from audit where action like 'alert %'")
        .fetch_one(&installation.pool().await)
        .await
        .expect("the audit");
    assert_eq!(audited, 4);
    let text = installation.context().exporter.render().expect("text");
    assert!(text.contains("dosimeter_alerts{"));
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_before_the_time_tells_nobody_and_a_person_resolves_what_fired() {
    let installation = Installation::new(&config(9), "2025-02-02T01:00:00Z").await;
    write_day(&installation, "2025-02-01");
    installation.pass().await;
    // A correction: the window improves before the rule has held for a day.
    installation.hand.turn_to(at("2025-02-02T02:00:00Z"));
    let fixed: String = (0..60_u32)
        .filter(|case| case % 2 == 1)
        .map(|case| format!("2025-02-01-{case},effusion,{},2025-02-02T00:00:00Z\n", u8::from(case * 37 % 60 > 40)))
        .collect();
    installation.write("truth/fixed.csv", format!("study,finding,value,at\n{fixed}"));
    installation.pass().await;
    let alerts = installation.context().store.list_alerts(false, 10).await.expect("alerts");
    assert_eq!(alerts[0].state.as_str(), "cleared");
    assert_eq!((installation.count("outbox").await, installation.count("alert").await), (0, 1));
}
