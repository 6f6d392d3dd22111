//! Who may do what over HTTP, encryption, limits, and the description of the API.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use dosimeter::access::{self, Role};
use dosimeter::http::routes::{Need, PAGES, ROUTES};
use dosimeter::store::server::random_text;
use dosimeter::store::token::NewToken;
use serde_json::Value;

use crate::lifecycle::serve;
use crate::support::{Installation, SMALL, at, binary, give_away};

const WHO: [&str; 2] = ["Dr Example", "a test"];

/// A token in the installation's database, as its holder shows it.
pub async fn token(installation: &Installation, name: &str, roles: &[Role], models: Option<&[&str]>) -> (i64, String) {
    let context = installation.context();
    let models = models.map(|models| models.iter().map(|&model| model.to_owned()).collect());
    let new = NewToken { name: name.to_owned(), roles: roles.to_vec(), models, expires_at: None };
    let secret = random_text();
    let made = context.store.create_token(&new, &secret, WHO, context.clock.now()).await;
    let token_id = made.expect("a token");
    (token_id, access::write(token_id, &secret))
}

/// An answer: status, head in lower case, body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn read(mut stream: TcpStream) -> Self {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).expect("an answer");
        let text = String::from_utf8_lossy(&text);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("an answer, not {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// What a problem says; it is one of RFC 9457.
    fn problem(&self) -> String {
        assert!(self.head.contains("content-type: application/problem+json"), "{}", self.head);
        let problem: Value = serde_json::from_str(&self.body).expect("JSON");
        assert_eq!(problem["status"], self.status);
        problem["detail"].as_str().expect("a detail").to_owned()
    }
}

/// A request by HTTP/1.0 with headers of its own.
fn send(port: u16, line: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server answers");
    let length = body.len();
    // A server that has refused the head need not read the body.
    let _ = write!(stream, "{line} HTTP/1.0\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
    Answer::read(stream)
}

fn ask(port: u16, line: &str, token: Option<&str>) -> Answer {
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    send(port, line, &format!("Host: localhost\r\nContent-Type: application/json\r\n{token}"), "")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_the_roles_that_cover_its_own_and_no_others() {
    let installation = Installation::new(SMALL, "2025-03-01").await;
    let port = serve(&installation).await;
    let mut tokens = Vec::new();
    for role in Role::ALL {
        tokens.push((role, token(&installation, role.as_str(), &[role], None).await.1));
    }
    for route in ROUTES.iter().chain(PAGES) {
        let path = route.path.replace("{id}", "1").replace("{model}", "chest-xray");
        let line = format!("{} {path}", route.method);
        for (role, token) in &tokens {
            let status = ask(port, &line, Some(token)).status;
            match route.need {
                Need::Role(needed) | Need::Page(needed) if !role.covers(needed) => {
                    assert_eq!(status, 403, "{line} by {role}");
                }
                // Without a signature there is a page that says so.
                Need::Link => assert_eq!(status, 403, "{line} by {role}"),
                _ => assert!(![401, 403, 405, 429].contains(&status) && status != 500, "{line} by {role}: {status}"),
            }
        }
        let nobody = ask(port, &line, None);
        match route.need {
            Need::Role(_) => {
                assert_eq!(nobody.status, 401, "{line} by nobody");
                assert!(nobody.head.contains("www-authenticate: bearer"), "{}", nobody.head);
                assert!(nobody.problem().contains("dosimeter token create"));
            }
            // A page leads whoever reads it to the log-in.
            Need::Page(_) => {
                let is_read = route.method == "GET";
                assert_eq!(nobody.status, if is_read { 303 } else { 401 }, "{line} by nobody");
                assert!(!is_read || nobody.head.contains("location: /console/login?next="), "{}", nobody.head);
                assert_eq!(ask(port, &line, Some("dsm_1_0000")).status, nobody.status, "{line} by a wrong token");
            }
            Need::Link => assert_eq!(nobody.status, 403, "{line} by nobody"),
            Need::Nothing | Need::Metrics => assert_ne!(nobody.status, 401, "{line} by nobody"),
        }
        for wrong in ["dsm_1_0000", "dsm_99_x", "x", ""] {
            if matches!(route.need, Need::Role(_)) {
                assert_eq!(ask(port, &line, Some(wrong)).status, 401, "{line} by {wrong:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_ends_by_rotation_revocation_and_time() {
    let installation = Installation::new(SMALL, "2025-03-01").await;
    let (context, port) = (installation.context(), serve(&installation).await);
    let (id, old) = token(&installation, "ris", &[Role::Read], None).await;
    let status = |token: &str| ask(port, "GET /api/v1/alerts", Some(token));
    assert_eq!(status(&old).status, 200);
    let used: Option<chrono::DateTime<chrono::Utc>> =
        context.store.find_token(id).await.expect("a row").expect("a token").last_used_at;
    assert_eq!(used, Some(at("2025-03-01")));

    let secret = random_text();
    let new = access::write(id, &secret);
    context.store.rotate_token(id, &secret, at("2025-03-02"), WHO, context.clock.now()).await.expect("rotated");
    installation.hand.turn_to(at("2025-03-01T00:00:05Z"));
    assert_eq!((status(&old).status, status(&new).status), (200, 200), "both, while the old one's grace lasts");
    installation.hand.turn_to(at("2025-03-02"));
    let refused = status(&old);
    assert!(refused.status == 401 && refused.problem().contains("has a new secret"), "{}", refused.body);
    assert_eq!(status(&new).status, 200);

    context.store.revoke_token(id, WHO, context.clock.now()).await.expect("revoked");
    installation.hand.turn_to(at("2025-03-02T00:00:05Z"));
    let refused = status(&new);
    assert!(refused.status == 401 && refused.problem().contains("was revoked"), "{}", refused.body);
    let again = context.store.revoke_token(id, WHO, context.clock.now()).await.expect_err("revoked already");
    assert!(again.to_string().contains("by Dr Example"), "{again}");
    assert!(context.store.rotate_token(id, "x", at("2025-03-03"), WHO, context.clock.now()).await.is_err());

    let expires_at = Some(at("2025-03-03"));
    let brief = NewToken { name: "brief".into(), roles: vec![Role::Read], models: None, expires_at };
    let token_id = context.store.create_token(&brief, &secret, WHO, context.clock.now()).await.expect("a token");
    let again =
        context.store.create_token(&brief, &secret, WHO, context.clock.now()).await.expect_err("one name, one token");
    assert!(again.to_string().contains("there is or was"), "{again}");
    let brief = access::write(token_id, &secret);
    assert_eq!(status(&brief).status, 200);
    installation.hand.turn_to(at("2025-03-03"));
    let refused = status(&brief);
    assert!(refused.status == 401 && refused.problem().contains("expired at 2025-03-03"), "{}", refused.body);

    let (_, auditor) = token(&installation, "auditor", &[Role::Audit], None).await;
    let trail = ask(port, "GET /api/v1/audit", Some(&auditor));
    let trail: Value = serde_json::from_str(&trail.body).expect("JSON");
    let of = |subject: String| {
        let entries =
            trail["items"].as_array().expect("a list").iter().rev().filter(|entry| entry["subject"] == subject);
        entries.map(|entry| entry["action"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(format!("token {id}")), ["token created", "token rotated", "token revoked"]);
    let listed = ask(port, "GET /api/v1/tokens", Some(&auditor)).body;
    assert!(
        listed.contains("\"state\":\"revoked\"") && !listed.contains("hash") && !listed.contains(&secret),
        "{listed}"
    );
    let kept: String = sqlx::query_scalar("select string_agg(token::text || audit::text, '') from token, audit")
        .fetch_one(&installation.pool().await)
        .await
        .expect("rows");
    assert!(!kept.contains(&secret), "a secret is kept nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_some_models_is_refused_others() {
    let two = SMALL.replace("[[source]]\n", "[[source]]\nmodel = \"chest-xray\"\n")
        + "\n[[model]]\nname = \"knee\"\noutput = [{ name = \"tear\" }]\n";
    let installation = Installation::new(&two, "2025-03-01").await;
    let port = serve(&installation).await;
    let roles = [Role::Operate, Role::Audit];
    let (_, own) = token(&installation, "thorax", &roles, Some(&["chest-xray"])).await;
    let (_, all) = token(&installation, "everything", &roles, None).await;
    let window = "from=2025-02-01&to=2025-03-01";
    for (line, scoped) in [
        // There is no prediction yet, and it may be asked.
        (format!("GET /api/v1/query?model=chest-xray&output=effusion&{window}"), 404),
        (format!("GET /api/v1/query?model=knee&output=tear&{window}"), 403),
        (format!("GET /api/v1/curve?model=knee&output=tear&kind=roc&{window}"), 403),
        (format!("GET /api/v1/compare?model=knee&output=tear&{window}"), 403),
        (format!("GET /api/v1/drift?model=knee&{window}"), 403),
        ("GET /api/v1/health?model=knee".to_owned(), 403),
        ("GET /api/v1/streams?model=knee".to_owned(), 403),
        ("GET /api/v1/streams".to_owned(), 200),
        ("GET /api/v1/rejections".to_owned(), 400),
        ("GET /api/v1/rejections?source=reports".to_owned(), 200),
        ("GET /api/v1/audit".to_owned(), 403),
        ("GET /api/v1/tokens".to_owned(), 403),
        ("GET /api/v1/budget".to_owned(), 403),
    ] {
        let answer = ask(port, &line, Some(&own));
        assert_eq!(answer.status, scoped, "{line}: {}", answer.body);
        assert_ne!(ask(port, &line, Some(&all)).status, 403, "{line}");
    }
    let silence = |model: &str, token: &str| {
        let body = format!(r#"{{{model}"rule": "*", "slice": "all", "for": "1h", "reason": "works"}}"#);
        let headers = format!("Content-Type: application/json\r\nAuthorization: Bearer {token}\r\n");
        send(port, "POST /api/v1/silences", &headers, &body).status
    };
    assert_eq!(silence("\"model\": \"knee\", ", &own), 403);
    assert_eq!(silence("", &own), 403, "any model is more than its own");
    assert_eq!((silence("\"model\": \"knee\", ", &all), silence("\"model\": \"chest-xray\", ", &own)), (200, 200));
    let headers = format!("Content-Type: application/json\r\nAuthorization: Bearer {own}\r\n");
    let end = |id: u8| send(port, &format!("POST /api/v1/silences/{id}/end"), &headers, r#"{"reason": "done"}"#).status;
    assert_eq!((end(1), end(2)), (403, 200));
    let seen = ask(port, "GET /api/v1/silences?all=true", Some(&own)).body;
    assert!(seen.contains("chest-xray") && !seen.contains("knee"), "{seen}");
    let ended: Vec<(Option<String>, String)> =
        sqlx::query_as("select ended_by, created_by from silence order by silence_id")
            .fetch_all(&installation.pool().await)
            .await
            .expect("silences");
    assert_eq!(
        ended[1],
        (Some("thorax".to_owned()), "thorax".to_owned()),
        "the token's name, where it names nobody else"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn access_is_open_to_this_machine_until_there_is_a_token_and_never_again() {
    let installation = Installation::new(SMALL, "2025-03-01").await;
    let port = serve(&installation).await;
    let get = |headers: &str| send(port, "GET /api/v1/alerts", headers, "").status;
    assert_eq!(get("Host: localhost\r\n"), 200);
    assert_eq!(get("Host: 127.0.0.1:9187\r\nOrigin: http://localhost:3000\r\n"), 200);
    assert_eq!(get("Host: attacker.example\r\n"), 403, "a name that was bent to this machine");
    assert_eq!(get("Host: localhost\r\nOrigin: https://attacker.example\r\n"), 403, "a page of another place");
    assert_eq!(ask(port, "GET /api/v1/audit", None).status, 403);
    let (id, shown) = token(&installation, "first", &[Role::Read], None).await;
    assert_eq!(ask(port, "GET /api/v1/alerts", Some(&shown)).status, 200, "a new token is good at once");
    installation.hand.turn_to(at("2025-03-01T00:00:05Z"));
    assert_eq!(get("Host: localhost\r\n"), 401);
    let context = installation.context();
    context.store.revoke_token(id, WHO, context.clock.now()).await.expect("revoked");
    installation.hand.turn_to(at("2025-03-01T01:00:00Z"));
    assert_eq!(get("Host: localhost\r\n"), 401, "the last token's end opens no door");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_may_have_a_token_of_their_own() {
    let secret = "what Prometheus shows, long enough for it";
    let config = format!("{SMALL}\n[http]\nmetrics_token = \"{secret}\"\n");
    let installation = Installation::new(&config, "2025-03-01").await;
    installation.pass().await;
    let port = serve(&installation).await;
    let (_, reader) = token(&installation, "reader", &[Role::Read], None).await;
    let (_, sender) = token(&installation, "sender", &[Role::Ingest], None).await;
    let status = |token: Option<&str>| ask(port, "GET /metrics", token).status;
    assert_eq!((status(None), status(Some("wrong")), status(Some(&sender))), (401, 401, 403));
    assert_eq!((status(Some(secret)), status(Some(&reader))), (200, 200));
    assert_eq!(ask(port, "GET /api/v1/alerts", Some(secret)).status, 401, "it is good for nothing else");
    let text = ask(port, "GET /metrics", Some(secret)).body;
    for line in [
        "dosimeter_http_requests_total{method=\"GET\",route=\"/metrics\",status=\"4xx\"} 3",
        "dosimeter_http_requests_total{method=\"GET\",route=\"/metrics\",status=\"2xx\"} 2",
        "dosimeter_http_refused_total{reason=\"unauthorised\"} 3",
        "dosimeter_http_refused_total{reason=\"forbidden\"} 1",
        "dosimeter_http_request_seconds_count{method=\"GET\",route=\"/api/v1/alerts\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} not in {text}");
    }
    // A connection that has been answered may be open for a moment longer than whoever asked looks at it.
    let began = Instant::now();
    while !ask(port, "GET /metrics", Some(secret)).body.lines().any(|line| line == "dosimeter_http_connections 1") {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not come down to the connection that asks");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_too_slow_or_too_often_is_told_so() {
    let limits = "[http]\nheader_timeout = \"300ms\"\nbody_timeout = \"300ms\"\nmax_header_bytes = 2048\nmax_body_bytes = 4096\n\
                  max_connections = 2\nrequests_per_second = 1\nburst = 4\n";
    let installation = Installation::new(&format!("{SMALL}\n{limits}"), "2025-03-01").await;
    let port = serve(&installation).await;
    let (_, operator) = token(&installation, "operator", &[Role::Operate], None).await;
    let (_, other) = token(&installation, "other", &[Role::Operate], None).await;
    let headers = format!("Content-Type: application/json\r\nAuthorization: Bearer {operator}\r\n");

    let large = send(port, "POST /api/v1/silences", &headers, &" ".repeat(4097));
    assert_eq!((large.status, large.problem().contains("http.max_body_bytes")), (413, true));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it answers");
    let chunked = format!(
        "POST /api/v1/silences HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{headers}\r\n"
    );
    write!(stream, "{chunked}1001\r\n{}\r\n0\r\n\r\n", " ".repeat(4097)).expect("it listens");
    assert_eq!(Answer::read(stream).status, 413, "a body that does not say how long it is");

    let wide = send(port, "GET /livez", &format!("X-Filler: {}\r\n", "x".repeat(2048)), "");
    assert_eq!((wide.status, wide.problem().contains("http.max_header_bytes")), (431, true));
    let huge = send(port, "GET /livez", &format!("X-Filler: {}\r\n", "x".repeat(1 << 20)), "");
    assert_eq!(huge.status, 431, "more than is read at all");

    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it answers");
    write!(
        stream,
        "POST /api/v1/silences HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 50\r\n{headers}\r\n{{"
    )
    .expect("it listens");
    let idle = Answer::read(stream);
    assert_eq!((idle.status, idle.problem().contains("http.body_timeout")), (408, true));

    // A head that never ends, and connections that say nothing: they go, and whoever waits behind them is served.
    let mut slow = [0, 1].map(|_| TcpStream::connect(("127.0.0.1", port)).expect("it answers"));
    write!(slow[0], "GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ").expect("it listens");
    let began = Instant::now();
    assert_eq!(ask(port, "GET /livez", None).status, 200);
    assert!(began.elapsed() >= Duration::from_millis(200), "two connections at most: {:?}", began.elapsed());
    for stream in &mut slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }

    // Another token than the one that has spent some of its burst above.
    let answers: Vec<Answer> = (0..6).map(|_| ask(port, "GET /api/v1/alerts", Some(&other))).collect();
    assert!(answers[..4].iter().all(|answer| answer.status == 200));
    let refused = answers.last().expect("the sixth");
    assert_eq!((refused.status, refused.problem().contains("http.requests_per_second")), (429, true));
    assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    assert_eq!(ask(port, "GET /livez", None).status, 200, "whether it lives is always said");
}

/// A certificate for localhost and its key, made by openssl.
fn make_certificate(folder: &Path) -> String {
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            "new.key",
            "-out",
            "new.pem",
        ])
        .current_dir(folder)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::rename(folder.join("new.key"), folder.join("server.key")).expect("a key");
    std::fs::rename(folder.join("new.pem"), folder.join("server.pem")).expect("a certificate");
    std::fs::read_to_string(folder.join("server.pem")).expect("a certificate")
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_encrypted_and_a_new_certificate_is_taken_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = make_certificate(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let config = format!(
        "{SMALL}\n[http]\ntls = {{ certificate = \"{}\", key = \"{}\" }}\n",
        file("server.pem"),
        file("server.key")
    );
    let installation = Installation::new(&config, "2025-03-01").await;
    assert_eq!(installation.context().plan.service.public_url, "https://127.0.0.1:9187");
    let port = serve(&installation).await;
    let get = async |trusted: &str| {
        let root = reqwest::Certificate::from_pem(trusted.as_bytes()).expect("a certificate");
        let client = reqwest::Client::builder().tls_built_in_root_certs(false).add_root_certificate(root).build();
        let sent = client.expect("a client").get(format!("https://localhost:{port}/livez")).send().await;
        sent.map(|answer| answer.status().as_u16())
    };
    assert_eq!(get(&first).await.expect("an answer"), 200);
    let plain = reqwest::get(format!("http://127.0.0.1:{port}/livez")).await;
    assert!(plain.is_err(), "nothing goes in the clear: {plain:?}");

    let second = make_certificate(folder.path());
    assert!(get(&second).await.is_err(), "not looked at yet");
    installation.hand.turn_to(at("2025-03-01T00:00:10Z"));
    let mut taken_up = false;
    for _ in 0..200 {
        taken_up = get(&second).await.is_ok();
        if taken_up {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(taken_up, "the new one within ten seconds of the clock");
    assert!(get(&first).await.is_err(), "and the old one is gone");

    // One that cannot be used leaves the one before it.
    std::fs::write(folder.path().join("server.pem"), &first).expect("a file");
    installation.hand.turn_to(at("2025-03-01T00:01:00Z"));
    assert_eq!(get(&second).await.expect("an answer"), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_make_list_rotate_and_revoke_tokens() {
    let installation = Installation::new(SMALL, "2025-03-01").await;
    installation.write("config.toml", format!("[service]\ndata_dir = \"data\"\n{SMALL}"));
    give_away(&[installation.folder.path()]);
    let run = |arguments: &[&str]| {
        let mut command = binary();
        command.env("DATABASE_URL", &installation.url);
        command.env("DOSIMETER_IDENTITY_KEY", "the identity key of the tests, long enough");
        let output = command.args(arguments).arg("--config").arg(installation.path("config.toml")).output();
        let output = output.expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let create =
        |more: &[&str]| run(&[&["token", "create", "--by", "Dr Example", "--reason", "a test"][..], more].concat());
    let (done, shown, told) =
        create(&["--name", "ris", "--role", "read", "--role", "ingest", "--model", "chest-xray", "--expires", "90d"]);
    assert!(done && told.contains("\"ris\": ingest, read, good until"), "{told}");
    let shown = shown.strip_suffix('\n').expect("a line");
    let (token_id, secret) = access::read(shown).expect("nothing but the token, so that it can be piped");
    assert_eq!((token_id, secret.len()), (1, 64));
    for (more, part) in [
        (&["--name", "ris", "--role", "read"][..], "there is or was a token"),
        (&["--name", "x", "--role", "write"], "ingest, read, operate, audit, admin"),
        (&["--name", "x", "--role", "read", "--model", "knee"], "known are chest-xray"),
        (&["--name", "dosimeter", "--role", "read"], "name of the daemon's own"),
    ] {
        let (done, shown, told) = create(more);
        assert!(!done && shown.is_empty() && told.contains(part), "{part} not in {told}");
    }
    let (_, listed, _) = run(&["token", "list"]);
    assert!(listed.contains("ris") && listed.contains("good") && !listed.contains(secret), "{listed}");
    let person = ["--by", "Dr Example", "--reason", "yearly"];
    let (done, rotated, told) = run(&[&["token", "rotate", "1", "--grace", "4h"][..], &person[..]].concat());
    assert!(done && told.contains("the old one is good until"), "{told}");
    assert!(access::read(rotated.trim_end()).is_some_and(|(id, new)| id == 1 && new != secret), "{rotated}");
    let (done, text, _) = run(&[&["token", "revoke", "1"][..], &person[..]].concat());
    assert!(done && text.contains("revoked"), "{text}");
    let (done, _, told) = run(&[&["token", "revoke", "1"][..], &person[..]].concat());
    assert!(!done && told.contains("was revoked already, by Dr Example"), "{told}");
    let (done, _, told) = run(&[&["token", "rotate", "7"][..], &person[..]].concat());
    assert!(!done && told.contains("there is no token 7"), "{told}");
    let (_, listed, _) = run(&["token", "list", "--format", "json"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed[0]["revoked_reason"], "yearly");
}

#[test]
fn a_plan_that_would_show_tokens_to_a_network_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    make_certificate(folder.path());
    let check = |http: &str, listen: &str| {
        let text = format!("[service]\nlisten = \"{listen}\"\n[http]\n{http}\n{SMALL}");
        std::fs::write(folder.path().join("plan.toml"), text).expect("a file");
        let output =
            binary().args(["check", "--config"]).arg(folder.path().join("plan.toml")).output().expect("it runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (done, told) = check("", "0.0.0.0:9187");
    assert!(!done && told.contains("http.tls") && told.contains("behind_proxy = true"), "{told}");
    assert!(check("behind_proxy = true", "0.0.0.0:9187").0);
    assert!(check("", "[::1]:9187").0);
    let (done, told) = check("tls = { certificate = \"server.pem\", key = \"server.key\" }", "0.0.0.0:9187");
    assert!(done, "{told}");
    for (http, part) in [
        ("tls = { certificate = \"server.pem\" }", "http.tls.key: is missing"),
        ("tls = { certificate = \"none.pem\", key = \"server.key\" }", "none.pem"),
        ("tls = { certificate = \"server.key\", key = \"server.key\" }", "it has no certificate"),
        ("tls = { certificate = \"server.pem\", key = \"server.pem\" }", "http.tls.key: cannot use"),
        ("tls = { certificate = \"server.pem\", key = \"server.key\" }\nbehind_proxy = true", "exclude each other"),
        ("metrics_token = \"short\"", "http.metrics_token: is too short"),
        ("requests_per_seconds = 3", "did you mean \"requests_per_second\""),
        ("body_timeout = \"1ms\"", "write at least 100ms"),
    ] {
        let (done, told) = check(http, "127.0.0.1:9187");
        assert!(!done && told.contains(part), "{http}: {part} not in {told}");
    }
}
