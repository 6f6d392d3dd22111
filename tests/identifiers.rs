//! The map from pseudonyms back to ids: encrypted, erasable, asked in a person's name, under keys that can be changed.

use std::path::Path;

use dosimeter::config::Secret;
use dosimeter::store::identifier::{IdKind, Resolved};
use dosimeter::vault::Ring;

use crate::delivery::audited;
use crate::support::{Installation, SMALL, at, binary, database, give_away};

fn config() -> String {
    SMALL.replacen("columns = { case = \"study\",", "columns = { case = \"study\", subject = \"patient\",", 1)
}

const PREDICTIONS: &str = "study,patient,at,effusion,nodule\nSTUDY-1,PATIENT-7,2025-02-01,0.5,0.1\n";
const TRUTH: &str = "study,finding,value,at\nSTUDY-2,effusion,1,2025-02-01\n";

async fn dump(installation: &Installation, table: &str) -> String {
    let query = format!("select coalesce(string_agg({table}::text, ' '), '') from {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&installation.pool().await).await.expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_kept_encrypted_told_with_a_reason_and_erased_for_good() {
    let installation = Installation::new(&config(), "2025-02-03").await;
    installation.write("predictions/1.csv", PREDICTIONS);
    installation.write("truth/1.csv", TRUTH);
    installation.pass().await;
    assert_eq!(installation.count("identifier").await, 3, "two studies, one patient");
    let context = installation.context();
    let (store, now) = (&context.store, at("2025-02-03"));
    let [one, two] = ["STUDY-1", "STUDY-2"].map(|id| context.pseudonyms.case(id));
    let patient = context.pseudonyms.subject("PATIENT-7");
    let resolve = async |pseudonym: &str| store.resolve(pseudonym, "Dr Example", "incident 12", now).await;
    for (pseudonym, kind, id) in
        [(&one, IdKind::Case, "STUDY-1"), (&two, IdKind::Case, "STUDY-2"), (&patient, IdKind::Subject, "PATIENT-7")]
    {
        assert_eq!(resolve(pseudonym).await.expect("answers"), Resolved::Id(kind, Secret::new(id)));
    }
    assert_eq!(resolve("nobody").await.expect("answers"), Resolved::Unknown);

    // Nowhere in the database does an id stand in clear, nor in what the audit keeps of the questions.
    for table in ["identifier", "prediction", "assertion", "record_key", "audit"] {
        let text = dump(&installation, table).await;
        for id in ["STUDY-1", "STUDY-2", "PATIENT-7"] {
            let hex: String = id.bytes().map(|byte| format!("{byte:02x}")).collect();
            assert!(!text.contains(id) && !text.contains(&hex), "{table}: {text}");
        }
    }
    let asked = audited(&installation, "identifier asked for").await;
    assert_eq!(asked.len(), 4);
    assert_eq!((asked[0].0.as_str(), asked[0].1.as_str()), ("Dr Example", format!("pseudonym {one}").as_str()));
    assert_eq!((asked[0].2.as_str(), &asked[3].3["outcome"]), ("incident 12", &"unknown".into()));

    // Erased is erased, though the record comes again.
    assert!(store.erase_identifier(&one, "Dr Example", "the patient asked", now).await.expect("answers"));
    assert!(!store.erase_identifier(&one, "Dr Example", "again", now).await.expect("answers"));
    installation.write("predictions/2.csv", PREDICTIONS.replace("0.5,0.1", "0.6,0.1").replace("02-01", "02-02"));
    installation.pass().await;
    assert_eq!(installation.count("identifier").await, 3);
    assert_eq!(resolve(&one).await.expect("answers"), Resolved::Erased(IdKind::Case, now));
    assert_eq!(audited(&installation, "identifier erased").await.len(), 1);
    assert_eq!(resolve(&patient).await.expect("answers"), Resolved::Id(IdKind::Subject, Secret::new("PATIENT-7")));

    // A row that is passed off as another is found out.
    let swap =
        "update identifier set sealed = (select sealed from identifier where pseudonym = $2) where pseudonym = $1";
    sqlx::query(swap).bind(&two).bind(&patient).execute(&installation.pool().await).await.expect("swapped");
    let told = resolve(&two).await.expect_err("it is about somebody else").to_string();
    assert!(told.contains("identifier.sealed") && told.contains(&two), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_of_ids_that_are_pseudonyms_or_must_not_be_resolved() {
    for identity in ["case_ids = \"pseudonym\"", "resolvable = false"] {
        let text = format!("[identity]\n{identity}\n{}", config());
        let installation = Installation::new(&text, "2025-02-03").await;
        installation.write("predictions/1.csv", PREDICTIONS);
        installation.pass().await;
        assert_eq!(
            (installation.count("prediction").await, installation.count("identifier").await),
            (1, 0),
            "{identity}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_killed_goes_on_and_loses_nothing() {
    let installation = Installation::new(&config(), "2025-02-03").await;
    let mut rows = "study,patient,at,effusion,nodule\n".to_owned();
    for case in 0..1200 {
        rows.push_str(&format!("STUDY-{case},,2025-02-01,0.5,0.1\n"));
    }
    rows.push_str("STUDY-X,,2025-02-01,high,0.1\n");
    installation.write("predictions/1.csv", rows);
    installation.pass().await;
    let context = installation.context();
    let old = context.store.ring().expect("a ring").clone();
    let (new, old_text) = ("a1".repeat(32), "5e".repeat(32));
    let both = Ring::parse(&format!("{new}\n{old_text}\n")).expect("a ring");
    let keys = async || {
        let keys = context.store.list_keys().await.expect("keys");
        keys.into_iter().map(|key| (key.key_id, key.identifiers, key.rejections)).collect::<Vec<_>>()
    };
    assert_eq!(keys().await, [(old.newest().to_owned(), 1200, 1)]);
    // The new ring reads what the old one wrote, and after the first thousand both keys are in use.
    assert_eq!(context.store.reseal(&both).await.expect("changed"), 1001);
    assert_eq!(keys().await.len(), 2);
    while context.store.reseal(&both).await.expect("changed") > 0 {}
    assert_eq!(keys().await, [(both.newest().to_owned(), 1200, 1)]);
    let store = context.store.clone().with_ring(Some(Ring::parse(&new).expect("a ring")));
    for case in [0, 599, 1199] {
        let id = format!("STUDY-{case}");
        let resolved = store.resolve(&context.pseudonyms.case(&id), "a", "b", at("2025-02-03")).await.expect("answers");
        assert_eq!(resolved, Resolved::Id(IdKind::Case, Secret::new(&id)));
    }
    // Who has only the old key is told what is missing.
    let told = context.store.resolve(&context.pseudonyms.case("STUDY-0"), "a", "b", at("2025-02-03")).await;
    let told = told.expect_err("the key is gone").to_string();
    assert!(told.contains(both.newest()) && told.contains("backup"), "{told}");
}

/// The program on an installation of its own: its code, and what it said.
pub fn run(folder: &Path, url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = binary();
    command.env("DATABASE_URL", url).args(arguments).arg("--config").arg(folder.join("config.toml"));
    let output = command.output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_resolve_forget_and_rotate_with_codes_for_programs() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, url) = (tempfile::tempdir().expect("a folder"), database().await);
    let text = format!("[service]\ndata_dir = \"data\"\n{}", config());
    for (name, content) in [("config.toml", text.as_str()), ("predictions/1.csv", PREDICTIONS), ("truth/1.csv", TRUTH)]
    {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }
    give_away(&[folder.path()]);
    let (code, told) = run(folder.path(), &url, &["import"]);
    assert_eq!(code, Some(0), "{told}");
    let ring = folder.path().join("data/encryption.keys");
    let mode = std::fs::metadata(&ring).expect("made once").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");

    let pool = sqlx::PgPool::connect(&url).await.expect("the database answers");
    let patient: String = sqlx::query_scalar("select pseudonym from identifier where kind = 2")
        .fetch_one(&pool)
        .await
        .expect("a pseudonym");
    let person = ["--by", "Dr Example", "--reason", "a call back"];
    let ask =
        |command: &str, pseudonym: &str| run(folder.path(), &url, &[&[command, pseudonym][..], &person[..]].concat());
    let (code, told) = ask("resolve", &patient);
    assert!(code == Some(0) && told.starts_with("subject PATIENT-7\n"), "{told}");
    let (code, told) = ask("resolve", &"0".repeat(32));
    assert!(code == Some(3) && told.contains("no id is kept"), "{told}");
    let (code, told) = run(folder.path(), &url, &["resolve", &patient, "--by", "x", "--reason", ""]);
    assert!(code != Some(0) && !told.contains("PATIENT-7"), "no reason, no answer: {told}");

    for rotation in 1..=2 {
        let (code, told) = run(folder.path(), &url, &[&["key", "rotate"][..], &person[..]].concat());
        assert!(code == Some(0) && told.contains("3 rows were encrypted anew"), "{told}");
        let lines = std::fs::read_to_string(&ring).expect("a ring").lines().count();
        assert_eq!(lines, rotation + 1, "the new key stands before the old ones");
    }
    let (_, told) = run(folder.path(), &url, &["key", "list"]);
    let encrypts = told.lines().find(|line| line.contains("encrypts")).expect("the newest");
    assert!(
        encrypts.split_whitespace().eq([encrypts.split_whitespace().next().unwrap_or_default(), "encrypts", "3", "0"]),
        "{told}"
    );
    assert_eq!(told.matches("decrypts").count(), 2, "{told}");
    assert!(ask("resolve", &patient).1.starts_with("subject PATIENT-7\n"));

    assert_eq!(ask("forget", &patient).0, Some(0));
    let (code, told) = ask("resolve", &patient);
    assert!(code == Some(4) && told.contains("was erased at"), "{told}");

    // A ring that is lost is not made anew behind everybody's back.
    std::fs::rename(&ring, folder.path().join("elsewhere")).expect("moved");
    let (code, told) = run(folder.path(), &url, &["import"]);
    assert!(code != Some(0) && told.contains("encryption.keys is missing") && told.contains("backup"), "{told}");
    assert!(!ring.exists());
}
