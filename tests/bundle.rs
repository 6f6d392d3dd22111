//! The evidence bundle: the same bytes for the same question, checked and read without the daemon.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;
use std::process::Command;

use dosimeter::bundle::{Asked, Bundle, make};
use dosimeter::person::{self, Person};
use dosimeter::store::alert::HumanStep;
use polars::prelude::{ParquetReader, SerReader};

use crate::alerting::write_day;
use crate::support::{Installation, SMALL, at, binary, window};

const RULE: &str = "[[model.alert]]\nname = \"auroc-low\"\nmetric = \"auroc\"\nslice = \"site=*\"\nwindow = \"7d\"\nbelow = 0.75\n\n[[source]]";

/// A fortnight in which the south does badly; an alert that a person has taken up.
async fn lived() -> Installation {
    let installation = Installation::new(&SMALL.replacen("[[source]]", RULE, 1), "2025-03-01").await;
    for day in 1..=14 {
        live(&installation, day).await;
    }
    let context = installation.context();
    let open = context.store.list_open_alerts().await.expect("alerts");
    let firing = open.iter().find(|alert| alert.key.slice == "site=south").expect("an alert of the south");
    let reader = Person::new("Dr Example", "the scanner <of the south> was exchanged").expect("a person");
    person::step(&context, firing.alert_id, HumanStep::Acknowledge, &reader).await.expect("acknowledged");
    installation.hand.turn_to(at("2025-03-15T08:00:00Z"));
    installation
}

async fn live(installation: &Installation, day: u32) {
    write_day(installation, &format!("2025-03-{day:02}"));
    installation.hand.turn_to(at(&format!("2025-03-{:02}T00:15:00Z", day + 1)));
    installation.pass().await;
}

fn asked(as_of: Option<&str>) -> Asked {
    let period = window("2025-03-03", "2025-03-15");
    Asked { model: "chest-xray".into(), version: None, period, as_of: as_of.map(at), recorded: None }
}

async fn made(installation: &Installation, asked: &Asked) -> Bundle {
    make(&installation.context(), asked, &Person::new("auditor", "a test").expect("a person")).await.expect("a bundle")
}

fn unpacked(bundle: &Bundle) -> BTreeMap<String, Vec<u8>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(&bundle.bytes)).expect("an archive");
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).expect("a file");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("its bytes");
        let name = file.name().expect("a name").into_owned();
        files.insert(name.split_once('/').expect("a folder").1.to_owned(), bytes);
    }
    files
}

fn text(files: &BTreeMap<String, Vec<u8>>, name: &str) -> String {
    let bytes = files.get(name).unwrap_or_else(|| panic!("no {name} among {:?}", files.keys()));
    String::from_utf8(bytes.clone()).expect("text")
}

fn rows(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Vec<csv::StringRecord> {
    let text = text(files, &format!("data/{name}.csv"));
    csv::Reader::from_reader(text.as_bytes()).records().map(|row| row.expect("a row")).collect()
}

/// The extract of the audit trail is a chain that anybody can walk; its last hash.
fn walk(entries: &[csv::StringRecord]) -> String {
    use dosimeter::chain::{Act, from_hex, hex};
    let mut previous = from_hex(&entries[0][8]).expect("a hash");
    for (number, row) in (entries[0][0].parse::<i64>().expect("a number")..).zip(entries) {
        let act = Act {
            audit_id: number,
            at: row[1].parse().expect("an instant"),
            written_at: row[2].parse().expect("an instant"),
            actor: &row[3],
            action: &row[4],
            subject: &row[5],
            reason: &row[6],
            detail: &row[7],
        };
        assert_eq!((&row[0], &row[8]), (number.to_string().as_str(), hex(&previous).as_str()), "{row:?}");
        previous = act.hash(&previous);
        assert_eq!(&row[9], hex(&previous), "{row:?}");
    }
    assert!(entries.len() > 3, "{entries:?}");
    hex(&previous)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_gives_the_same_bytes_whatever_comes_later() {
    let installation = lived().await;
    let first = made(&installation, &asked(None)).await;
    assert_eq!(first.name, "evidence-chest-xray-1-20250303-20250315.zip");
    // The act of making one is no part of it; another one that asks for the same instant is the same.
    let instant = Some("2025-03-15T08:00:00Z");
    assert_eq!(first.bytes, made(&installation, &asked(instant)).await.bytes);

    // Truth that is revised, days that follow, an alert that is resolved: none of it was known then.
    installation.write(
        "truth/late.csv",
        "study,finding,value,at,reader,status\n2025-03-10-1,effusion,1,2025-03-15T09:00:00Z,r,final\n",
    );
    for day in 15..=17 {
        live(&installation, day).await;
    }
    let resolver = Person::new("Dr Example", "mended").expect("a person");
    let open = installation.context().store.list_open_alerts().await.expect("alerts");
    for alert in open {
        person::step(&installation.context(), alert.alert_id, HumanStep::Resolve, &resolver).await.expect("resolved");
    }
    let later = made(&installation, &asked(instant)).await;
    assert_eq!(unpacked(&first).keys().collect::<Vec<_>>(), unpacked(&later).keys().collect::<Vec<_>>());
    for (name, bytes) in unpacked(&later) {
        let before = &unpacked(&first)[&name];
        assert_eq!(String::from_utf8_lossy(before), String::from_utf8_lossy(&bytes), "{name}");
    }
    assert_eq!(first.bytes, later.bytes);
    let now = made(&installation, &asked(None)).await;
    assert_ne!(first.bytes, now.bytes, "what is known today is another answer");
    let acts: Vec<(String, String, String)> =
        sqlx::query_as("select actor, subject, reason from audit where action = 'bundle made' order by audit_id")
            .fetch_all(&installation.pool().await)
            .await
            .expect("the audit trail");
    assert_eq!(acts.len(), 4);
    assert_eq!(acts[0], ("auditor".to_owned(), "chest-xray 1".to_owned(), "a test".to_owned()));

    // The command makes the same file from the words that stand in the bundle.
    let command = text(&unpacked(&first), "README.txt");
    let command = command.lines().find_map(|line| line.trim().strip_prefix("dosimeter bundle ")).expect("a command");
    let out = installation.path("again.zip");
    let mut words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    let place = words.iter().position(|word| word == "--out").expect("--out");
    words.truncate(place);
    let config = installation.path("config.toml");
    std::fs::write(&config, format!("[service]\ndata_dir = \".\"\n{}", SMALL.replacen("[[source]]", RULE, 1)))
        .expect("a file");
    crate::support::give_away(&[installation.folder.path()]);
    let output = binary()
        .env("DATABASE_URL", &installation.url)
        .env("DOSIMETER_IDENTITY_KEY", "the identity key of the tests, long enough")
        .env("DOSIMETER_ENCRYPTION_KEY", "5e".repeat(32))
        .arg("bundle")
        .args(&words)
        .args(["--by", "auditor", "--config"])
        .arg(&config)
        .arg("--out")
        .arg(&out)
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read(&out).expect("a file"), first.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_checked_and_read_by_whoever_has_only_the_file() {
    let installation = lived().await;
    let bundle = made(&installation, &asked(None)).await;
    let files = unpacked(&bundle);

    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in &files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }
    let check = |folder: &Path| {
        let command =
            Command::new("sha256sum").args(["--check", "--quiet", "MANIFEST.sha256"]).current_dir(folder).output();
        command.expect("sha256sum").status.success()
    };
    assert!(check(folder.path()), "the manifest fits the files");
    assert_eq!(text(&files, "MANIFEST.sha256").lines().count(), files.len() - 1, "it names every file but itself");
    let csv = folder.path().join("data/metrics.csv");
    std::fs::write(&csv, std::fs::read_to_string(&csv).expect("a file").replacen('1', "2", 1)).expect("a file");
    assert!(!check(folder.path()), "a changed file does not pass");

    // The page asks for nothing: the only addresses are names of the format.
    let page = text(&files, "report.html");
    for (position, _) in page.match_indices("http") {
        let before = &page[..position];
        assert!(before.ends_with("xmlns=\"") || before.ends_with("meta "), "{}", &page[position - 40..position + 60]);
    }
    for loads in ["src=", "<script", "<link", "url(", "@import", "<iframe"] {
        assert!(!page.contains(loads), "the page has {loads}");
    }
    assert!(page.contains("<svg") && page.contains("Content-Security-Policy"));
    assert!(
        page.contains("the scanner &lt;of the south&gt; was exchanged"),
        "human steps, and nothing of them is markup"
    );

    // Numbers are those that were published; each table says the same in both formats.
    let context = installation.context();
    let stored = context.store.latest_estimates().await.expect("estimates");
    for name in [
        "alerts",
        "alert_events",
        "audit",
        "coverage",
        "estimates",
        "evidence",
        "metrics",
        "references",
        "sealed_days",
        "streams",
    ] {
        let bytes = &files[&format!("data/{name}.parquet")];
        let frame = ParquetReader::new(Cursor::new(bytes)).finish().expect("a frame");
        assert_eq!(frame.height(), rows(&files, name).len(), "{name}");
    }
    let whole =
        stored.iter().find(|estimate| estimate.slice.is_all() && estimate.window_name == "7d").expect("an estimate");
    let (_, outcome) = whole.metrics.iter().find(|(key, _)| key.name == "auroc").expect("an AUROC");
    let value = outcome.as_ref().expect("a value").value;
    let id = whole.estimate_id.to_string();
    let metrics = rows(&files, "metrics");
    let row = metrics.iter().find(|row| row[0] == id && &row[5] == "auroc").expect("a row");
    assert_eq!(row[7].parse::<f64>(), Ok(value));
    let undefined = metrics.iter().filter(|row| row[7].is_empty());
    assert!(undefined.clone().count() > 0 && undefined.clone().all(|row| !row[15].is_empty()), "undefined is a reason");
    let steps = rows(&files, "alert_events");
    assert!(steps.iter().any(|row| &row[5] == "Dr Example" && &row[3] == "acknowledged"), "{steps:?}");
    let coverage = rows(&files, "coverage");
    let mut shares = coverage.iter().filter(|row| &row[0] == "effusion").map(|row| row[6].parse::<f64>());
    assert!(coverage.len() > 20 && shares.all(|share| share.is_ok_and(|share| share > 0.9)), "{coverage:?}");
    let manifest = text(&files, "MANIFEST.sha256");
    let plan = manifest.lines().find_map(|line| line.strip_suffix("  plan-1.json")).expect("a plan");
    assert!(page.contains(plan), "the digest of the file is that of the plan");
    let verification = text(&files, "verification.txt");
    assert!(verification.contains("everything fits"), "{verification}");
    let last = walk(&rows(&files, "audit"));
    assert!(verification.contains(&format!("hash of the last       {last}")), "{verification}");
    // Nothing that names a case leaves by it.
    let case: String = sqlx::query_scalar("select case_id from prediction limit 1")
        .fetch_one(&installation.pool().await)
        .await
        .expect("a case");
    for (name, bytes) in &files {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains(&case) && !text.contains("2025-03-10-1,"), "{name} names a case");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_given_is_refused_with_what_can() {
    let installation = Installation::new(SMALL, "2025-03-10").await;
    let refused = async |asked: &Asked| {
        make(&installation.context(), asked, &Person::new("auditor", "a test").expect("a person"))
            .await
            .expect_err("refused")
            .to_string()
    };
    assert!(refused(&asked(None)).await.contains("no model \"chest-xray\" that has made a prediction"));
    assert!(refused(&asked(Some("2025-04-01"))).await.contains("nothing is known yet"));
    let backwards = Asked { period: window("2025-03-15", "2025-03-03"), ..asked(None) };
    assert!(refused(&backwards).await.contains("--to must be after --from"));
    assert_eq!(installation.count("audit").await, installation.count("audit where action <> 'bundle made'").await);
}
