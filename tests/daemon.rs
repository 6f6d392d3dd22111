//! The daemon as it is run: the binary, a real Prometheus that scrapes it, every query of every dashboard.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Child, binary, database, eventually, free_port, give_away, tool};

/// `GET` by HTTP/1.0: status and body; `None` when nobody answers.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// What Prometheus answers now; each series with its labels and value.
fn query(port: u16, expression: &str) -> Result<Vec<Value>, String> {
    let (_, body) =
        get(port, &format!("/api/v1/query?query={}", encoded(expression))).ok_or("Prometheus does not answer")?;
    let answer: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
    match &answer["data"]["result"] {
        Value::Array(series) => Ok(series.clone()),
        _ => Err(answer["error"].to_string()),
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A department of the last forty days, a reference, a daemon that serves it. An alert that is bound to fire.
struct Served {
    folder: tempfile::TempDir,
    url: String,
    port: u16,
    _daemon: Child,
    pid: i32,
}

impl Served {
    async fn start() -> Self {
        let url = database().await;
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let plan = crate::intake::department_plan()
            .replace("127.0.0.1:9187", &format!("127.0.0.1:{port}"))
            .replace("tick = \"10m\"", "tick = \"1s\"")
            .replace("below = 0.85", "below = 0.99");
        std::fs::write(folder.path().join("config.toml"), plan).expect("a file");
        give_away(&[folder.path()]);
        let mut served =
            Self { folder, url, port, _daemon: Child(Command::new("true").spawn().expect("a child")), pid: 0 };
        let out = served.folder.path().to_owned();
        run(binary().arg("simulate").args(["--cases", "100000", "--start", "-40d", "--end", "now", "--out"]).arg(&out));
        served.dosimeter(&["import"]);
        let (from, to) = (days_ago(40), days_ago(20));
        for model in ["chest-xray", "chest-xray-quality"] {
            let why = ["--by", "test", "--reason", "a test"];
            let freeze = ["reference", "freeze", "--model", model, "--from", &from, "--to", &to];
            let made = served.dosimeter(&[&freeze[..], &why[..]].concat());
            let id: String =
                made.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
            served.dosimeter(&[&["reference", "approve", &id][..], &why[..]].concat());
        }
        let log = std::fs::File::create(served.folder.path().join("log")).expect("a file");
        let daemon = binary()
            .env("DATABASE_URL", &served.url)
            .args(["serve", "--config"])
            .arg(served.config())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        served.pid = daemon.id().cast_signed();
        served._daemon = Child(daemon);
        eventually("the daemon to be ready", || get(port, "/readyz").filter(|(status, _)| *status == 200));
        served
    }

    fn config(&self) -> std::path::PathBuf {
        self.folder.path().join("config.toml")
    }

    /// Run another command of the program on the same installation.
    fn dosimeter(&self, arguments: &[&str]) -> String {
        run(binary().env("DATABASE_URL", &self.url).args(arguments).arg("--config").arg(self.config()))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn metrics(&self) -> String {
        get(self.port, "/metrics").expect("the daemon answers").1
    }
}

fn days_ago(days: u64) -> String {
    (dosimeter::clock::Clock::system().now().date_naive() - chrono::Days::new(days)).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_finds_data_for_every_panel_and_the_rest_of_the_wire_holds() {
    let served = Served::start().await;

    let mut promtool = Command::new(tool("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    promtool.stdin.take().expect("a pipe").write_all(served.metrics().as_bytes()).expect("promtool reads");
    let checked = promtool.wait_with_output().expect("promtool ends");
    let complaints = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && complaints.trim().is_empty(), "{complaints}");

    let port = free_port();
    let _prometheus = prometheus(&served, port);
    eventually("two scrapes", || query(port, "count_over_time(up[1m]) >= 3").ok().filter(|series| !series.is_empty()));
    crate::dashboards::show_data(|expression| query(port, expression));
    let pool = sqlx::PgPool::connect(&served.url).await.expect("the database answers");
    let firing: i64 = sqlx::query_scalar("select max(alert_id) from alert where state = 'firing'")
        .fetch_one(&pool)
        .await
        .expect("an alert that fires");
    served.dosimeter(&["alert", "ack", &firing.to_string(), "--by", "test", "--reason", "a test"]);
    crate::dashboards::show_history(&served.url, false).await;

    let (status, body) = get(served.port, "/api/v1/alerts?open=true").expect("an answer");
    assert_eq!((status, body.contains("effusion-auroc")), (200, true), "{body}");
    let ask = format!("/api/v1/query?model=chest-xray&output=edema&from={}&to={}", days_ago(10), days_ago(1));
    let (status, body) = get(served.port, &ask).expect("an answer");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, answer["read_from"].as_str()), (200, Some("summaries")), "{body}");
    let same: Value = serde_json::from_str(&served.dosimeter(&[
        "query",
        "--model",
        "chest-xray",
        "--output",
        "edema",
        "--from",
        &days_ago(10),
        "--to",
        &days_ago(1),
        "--format",
        "json",
    ]))
    .expect("JSON");
    assert_eq!(same["metrics"], answer["metrics"], "the command line and the API say the same");
    for wrong in ["/api/v1/query", "/api/v1/query?model=x&output=edema&from=2025-01-01&to=2025-01-02", "/nothing"] {
        let (status, body) = get(served.port, wrong).expect("an answer");
        let problem: Value = serde_json::from_str(&body).expect("problem+json");
        assert!((400..500).contains(&status) && problem["title"].is_string(), "{wrong}: {body}");
    }
    a_changed_plan_is_taken_up_or_refused_whole(&served);
}

fn prometheus(served: &Served, port: u16) -> Child {
    let config = served.folder.path().join("prometheus.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: dosimeter\n    static_configs:\n      - targets: [\"127.0.0.1:{}\"]\n",
        served.port
    );
    std::fs::write(&config, text).expect("a file");
    let mut command = Command::new(tool("prometheus"));
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", served.folder.path().join("tsdb").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    Child(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("prometheus starts"))
}

fn a_changed_plan_is_taken_up_or_refused_whole(served: &Served) {
    let before = std::fs::read_to_string(served.config()).expect("a file");
    let hang_up = || nix::sys::signal::kill(nix::unistd::Pid::from_raw(served.pid), nix::sys::signal::Signal::SIGHUP);
    std::fs::write(served.config(), before.replace("thresholds = [0.2, 0.5]", "thresholds = [0.2, 1.5]"))
        .expect("a file");
    hang_up().expect("it runs");
    eventually("the refusal", || served.log().contains("refused the plan").then_some(()));
    assert!(served.metrics().contains("threshold=\"0.5\""), "the old plan stays in force");

    // A new threshold, a new slice, an output less: taken up, filled in from rows, and what is gone is gone.
    let after = before
        .replace("thresholds = [0.2, 0.5]", "thresholds = [0.2, 0.35]")
        .replace("    { name = \"nodule\" },\n", "")
        .replace("crossings = [\"site & vendor\"]", "crossings = [\"site & sex\"]");
    std::fs::write(served.config(), after).expect("a file");
    hang_up().expect("it runs");
    let metrics = eventually("the new plan's numbers", || {
        let text = served.metrics();
        (text.contains("threshold=\"0.35\"") && text.contains("sex=F & site=south")).then_some(text)
    });
    assert!(metrics.contains("output=\"edema\""));
    eventually("the old series to be gone", || {
        let text = served.metrics();
        let mut own = text.lines().filter(|line| line.contains("model=\"chest-xray\""));
        let gone = ["output=\"nodule\"", "threshold=\"0.5\"", "vendor=A & "];
        own.all(|line| gone.iter().all(|old| !line.contains(old))).then_some(())
    });
}
