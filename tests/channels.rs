//! Channels to real servers: a mail server with a mind of its own, Alertmanager, and every one by `dosimeter notify test`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use dosimeter::job::Job;
use dosimeter::store::alert::HumanStep;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::alerting::write_day;
use crate::delivery::{Server, audited, config, route};
use crate::support::{Child, Installation, alertmanager, at, binary, eventually, free_port, give_away};

/// An SMTP server that refuses one recipient, has another wait, takes the rest, and lets nobody log in. It keeps whom it
/// took something for.
async fn picky_mail_server() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let taken: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = taken.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a client");
            tokio::spawn(converse(stream, kept.clone()));
        }
    });
    (port, taken)
}

async fn converse(stream: TcpStream, taken: Arc<Mutex<Vec<String>>>) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let (mut recipient, mut is_data) = (String::new(), false);
    writer.write_all(b"220 picky\r\n").await.expect("it listens");
    while let Ok(Some(line)) = lines.next_line().await {
        if is_data && line != "." {
            continue;
        }
        let answer = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => "250-picky\r\n250 AUTH PLAIN",
            "AUTH" => "535 5.7.8 who are you",
            "RCPT" if line.contains("gone@") => "550 5.1.1 no such user",
            "RCPT" if line.contains("later@") => "451 4.7.1 come back later",
            "DATA" => "354 go on",
            "." => "250 queued as 4711",
            _ => "250 ok",
        };
        if line.starts_with("RCPT") {
            recipient = line.clone();
        }
        is_data = line == "DATA";
        if line == "." {
            taken.lock().expect("no panic").push(recipient.clone());
        }
        let _ = writer.write_all(format!("{answer}\r\n").as_bytes()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_refuses_for_good_makes_a_dead_letter_and_one_that_hesitates_does_not() {
    let (port, taken) = picky_mail_server().await;
    let smtp = format!("smtp = {{ host = \"127.0.0.1\", port = {port}, tls = \"none\" }}\n");
    let people = "to = [\"gone@h.example\", \"later@h.example\", \"here@h.example\"]";
    let text = config(&(smtp.clone() + &route("people", "email", people)));
    let installation = Installation::new(&text, "2025-02-02T01:00:00Z").await;
    write_day(&installation, "2025-02-01");
    for _ in 0..4 {
        installation.pass().await;
    }
    let store = installation.context().store;
    let dead = store.list_notices(true, 10).await.expect("notices");
    assert_eq!(dead.len(), 1, "{dead:#?}");
    assert_eq!(dead[0].recipient, "gone@h.example");
    assert!(dead[0].last_error.as_ref().is_some_and(|error| error.contains("no such user")), "{dead:?}");
    assert_eq!(
        *taken.lock().expect("no panic"),
        ["RCPT TO:<here@h.example>"; 2],
        "the alert, and who has not heard of it"
    );
    let waiting = store.list_notices(false, 10).await.expect("notices");
    let waiting: Vec<_> = waiting.iter().filter(|notice| notice.sent_at.or(notice.dead_at).is_none()).collect();
    assert!(waiting.len() == 2 && waiting.iter().all(|notice| notice.recipient == "later@h.example"), "{waiting:#?}");
    let receipts = audited(&installation, "notice sent").await;
    assert!(receipts.iter().all(|receipt| receipt.3["answer"] == "SMTP 250 queued as 4711"), "{receipts:?}");

    // Who may log in is for people to mend: the notice waits for them.
    let login = smtp.replace(" }", ", username = \"u\", password = \"hidden\" }");
    let text = config(&(login + &route("people", "email", "to = [\"here@h.example\"]")));
    let installation = Installation::new(&text, "2025-02-02T01:00:00Z").await;
    write_day(&installation, "2025-02-01");
    installation.pass().await;
    let notices = installation.context().store.list_notices(false, 10).await.expect("notices");
    assert_eq!((notices.len(), notices[0].dead_at), (1, None));
    let error = notices[0].last_error.clone().unwrap_or_default();
    assert!(error.contains("who are you") && !error.contains("hidden"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_alertmanager_shows_the_alert_until_a_person_resolves_it() {
    let port = free_port();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("alertmanager.yml");
    std::fs::write(&settings, "route: { receiver: none }\nreceivers: [{ name: none }]\n").expect("a file");
    let child = Command::new(alertmanager())
        .arg(format!("--config.file={}", settings.display()))
        .arg(format!("--storage.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("Alertmanager; `make test` installs it");
    let _child = Child(child);
    let ready = || -> bool {
        let url = format!("http://127.0.0.1:{port}/-/ready");
        Command::new("python3")
            .args(["-c", "import sys, urllib.request; urllib.request.urlopen(sys.argv[1])", &url])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    eventually("Alertmanager", || ready().then_some(()));
    let alerts = || -> Vec<Value> {
        let url = format!("http://127.0.0.1:{port}/api/v2/alerts");
        let script = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())";
        let output = Command::new("python3").args(["-c", script, &url]).output().expect("python3");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    // It compares with its own clock, which is the world's: the test lives in the present.
    let today = chrono::Utc::now().format("%Y-%m-%d").to_string();
    let rest = format!("url = \"http://127.0.0.1:{port}\"");
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let installation = Installation::new(&config(&route("am", "alertmanager", &rest)), &now).await;
    let yesterday = (at(&today) - chrono::Duration::days(1)).format("%Y-%m-%d").to_string();
    write_day(&installation, &yesterday);
    installation.pass().await;
    let shown = alerts();
    assert_eq!(shown.len(), 1, "{shown:#?}");
    let labels = &shown[0]["labels"];
    assert_eq!((&labels["alertname"], &labels["slice"]), (&"auroc-low".into(), &"site=south".into()));
    assert_eq!((&labels["model"], &labels["severity"]), (&"chest-xray".into(), &"page".into()));
    assert_eq!(shown[0]["status"]["state"], "active");
    let store = installation.context().store;
    store.step_alert(1, HumanStep::Resolve, "Dr Example", "mended", at(&now)).await.expect("a step");
    Job::Notify.run(&installation.context()).await;
    assert_eq!(alerts(), Vec::<Value>::new(), "it has ended");
    let receipts = audited(&installation, "notice sent").await;
    assert_eq!(receipts.len(), 2);
    assert!(receipts.iter().all(|receipt| receipt.3["answer"] == "HTTP 200 OK"), "{receipts:?}");
}

/// Run the program against this test's database.
fn run(folder: &Path, url: &str, args: &[&str]) -> (bool, String) {
    let output = binary()
        .args(args)
        .args(["--config", &folder.join("dosimeter.toml").display().to_string()])
        .env("DATABASE_URL", url)
        .env("DOSIMETER_IDENTITY_KEY", "the identity key of the tests, long enough")
        .env("DOSIMETER_ROUTE_ON_CALL_URL", "http://127.0.0.1:9/hidden")
        .output()
        .expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_notice_says_what_came_of_every_route() {
    let server = Server::start(&[]).await;
    let routes = route("archive", "webhook", &format!("url = \"{}\"\nsecret = \"sixteen letters!\"", server.url))
        + &route("on-call", "slack", "")
        + &route("people", "email", "to = [\"a@hospital.example\"]");
    let text = config(&routes).replacen("[notify]\n", "[notify]\ndirectory = \"emails\"\n", 1);
    // The route without an address is in the file only: it stands in the program's environment.
    let known = text.replacen("channel = \"slack\"\n", "channel = \"slack\"\nurl = \"http://127.0.0.1:9/hidden\"\n", 1);
    let installation = Installation::new(&known, "2025-02-02T01:00:00Z").await;
    let folder = installation.folder.path();
    installation.write("dosimeter.toml", text.replacen("[[model]]", "[service]\ndata_dir = \"data\"\n\n[[model]]", 1));
    std::fs::create_dir_all(folder.join("emails")).expect("a folder");
    give_away(&[folder, &folder.join("emails")]);
    let (success, said) = run(folder, &installation.url, &["notify", "test", "--by", "Dr Example"]);
    assert!(!success, "one route leads nowhere: {said}");
    for part in [
        &format!("archive: webhook to {}: sent, HTTP 200 OK the server's words", server.url),
        "on-call: slack to http://127.0.0.1:9: FAILED, http://127.0.0.1:9 cannot be reached; is the route's url right",
        "people: email to a@hospital.example: sent, written to ",
        "1 of the test notices did not arrive",
    ] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
    assert!(!said.contains("hidden"), "{said}");
    assert_eq!(server.got()[0].json()["kind"], "test");
    let (success, said) = run(folder, &installation.url, &["notify", "test", "--by", "x", "--route", "archive"]);
    assert!(success && server.got().len() == 2, "{said}");
    let (success, said) = run(folder, &installation.url, &["notify", "test", "--by", "x", "--route", "nowhere"]);
    assert!(!success && said.contains("the plan has archive, on-call, people"), "{said}");
    let tests = audited(&installation, "notice tested").await;
    assert_eq!(tests.len(), 4);
    assert_eq!((tests[1].0.as_str(), tests[1].1.as_str()), ("Dr Example", "route on-call"));
    assert!(tests[1].3["error"].is_string() && tests[1].3["answer"].is_null());
    let (success, said) = run(folder, &installation.url, &["notify", "list", "--dead"]);
    assert!(success && said.starts_with("There is no such notice.\n"), "{said}");
    let retry = ["notify", "retry", "5", "--by", "x", "--reason", "y"];
    let (success, said) = run(folder, &installation.url, &retry);
    assert!(!success && said.contains("notice 5 is no dead letter"), "{said}");
}
