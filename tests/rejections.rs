//! Refused records: kept whole and encrypted, explained, exported, mended, and sent through the door again.

use dosimeter::mending::{self, Fate, Mended};
use dosimeter::person::Person;
use dosimeter::store::rejection::{Rejection, RejectionFilter};
use serde_json::{Value, json};

use crate::delivery::audited;
use crate::support::{Installation, SMALL, at, binary, give_away};

const HEADER: &str = "study,at,effusion,nodule,name\n";

fn person() -> Person {
    Person::new("Dr Example", "the export was wrong").expect("a person")
}

async fn all(installation: &Installation, resolved: Option<bool>) -> Vec<Rejection> {
    let filter = RejectionFilter { resolved, limit: 100, ..RejectionFilter::default() };
    let mut rejections = installation.context().store.list_rejections(&filter).await.expect("rejections");
    rejections.reverse();
    rejections
}

fn stored(ids: &[i64]) -> Vec<Mended> {
    ids.iter().map(|id| Mended { rejection_id: *id, record: None }).collect()
}

/// The record of an exported rejection.
async fn record(installation: &Installation, id: i64) -> Value {
    let filter = RejectionFilter { ids: Some(vec![id]), limit: 1, ..RejectionFilter::default() };
    let opened = mending::export(&installation.context(), &filter, &person()).await.expect("exported");
    serde_json::from_str(opened[0].record.as_ref().expect("a record").expose()).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_record_is_kept_whole_mended_and_taken_in() {
    let installation = Installation::new(SMALL, "2025-02-03").await;
    let rows = "S1,2025-02-01,0.5,0.1,Jane Doe\nS2,2025-02-01,1.5,0.1,John Roe\nS3,2025-02-01,\"0,5\",0.1,Jim Poe\n\
                S4,yesterday,0.5,0.1,Joe Moe\n";
    installation.write("predictions/1.csv", HEADER.to_owned() + rows);
    installation.pass().await;
    let refused = all(&installation, Some(false)).await;
    let reasons: Vec<&str> = refused.iter().map(|rejection| rejection.reason.as_str()).collect();
    assert_eq!(reasons, ["score-range", "bad-score", "bad-time"]);
    assert!(refused.iter().all(|rejection| rejection.has_record));
    let ids: Vec<i64> = refused.iter().map(|rejection| rejection.rejection_id).collect();

    // What is shown names nobody; what is exported is the row as it stood, column by column, and the audit says who saw it.
    let text: String = sqlx::query_scalar("select string_agg(rejection::text, ' ') from rejection")
        .fetch_one(&installation.pool().await)
        .await
        .expect("text");
    assert!(!text.contains("Roe") && !text.contains("\"S2\""), "{text}");
    let mut second = record(&installation, ids[0]).await;
    assert_eq!(second["columns"]["name"], "John Roe");
    assert_eq!((&second["columns"]["study"], &second["columns"]["effusion"]), (&"S2".into(), &"1.5".into()));
    let exported = audited(&installation, "rejections exported").await;
    assert_eq!((exported.len(), exported[0].0.as_str()), (1, "Dr Example"));
    assert_eq!(exported[0].3, json!({ "rejections": [ids[0]] }));

    // As they stood they are refused again, and keep their places.
    let context = installation.context();
    let fates = mending::replay(&context, stored(&ids), &person()).await.expect("replayed");
    assert!(fates.iter().all(|(_, fate)| matches!(fate, Fate::Refused { .. })), "{fates:?}");
    let again = all(&installation, None).await;
    assert_eq!(again.len(), 3);
    assert!(again.iter().all(|rejection| rejection.replayed_at == Some(at("2025-02-03"))));
    assert_eq!(installation.count("prediction").await, 1);

    // One is mended by hand, and one by the plan.
    second["columns"]["effusion"] = "0.15".into();
    let mended = vec![Mended { rejection_id: ids[0], record: Some(second.clone()) }];
    let fates = mending::replay(&context, mended.clone(), &person()).await.expect("replayed");
    assert!(matches!(fates[..], [(id, Fate::TakenIn(_))] if id == ids[0]), "{fates:?}");
    let decimal = SMALL.replacen("settle = \"0s\"", "settle = \"0s\"\ndecimal = \",\"", 1);
    let plan = crate::support::plan(&decimal, installation.folder.path(), &installation.url);
    dosimeter::app::take_up(&installation.app.context, plan).await.expect("taken up");
    let fates = mending::replay(&installation.context(), stored(&ids[1..]), &person()).await.expect("replayed");
    assert!(matches!(fates[0], (_, Fate::TakenIn(_))) && matches!(fates[1], (_, Fate::Refused { .. })), "{fates:?}");
    assert_eq!(installation.count("prediction").await, 3);
    let resolved = all(&installation, Some(true)).await;
    assert_eq!(resolved.iter().map(|rejection| rejection.rejection_id).collect::<Vec<_>>(), ids[..2]);
    let batches: Vec<i64> = sqlx::query_scalar("select batch_id from prediction order by batch_id")
        .fetch_all(&installation.pool().await)
        .await
        .expect("batches");
    assert_eq!(resolved.iter().filter_map(|rejection| rejection.resolved_by).collect::<Vec<_>>(), batches[1..]);

    // What is resolved is left; what contradicts a known record takes its new reason.
    let fates = mending::replay(&installation.context(), mended, &person()).await.expect("replayed");
    assert!(matches!(&fates[0].1, Fate::Left(why) if why.contains("was taken in by batch")), "{fates:?}");
    second["columns"]["effusion"] = "0,9".into();
    let contradicting = vec![Mended { rejection_id: ids[2], record: Some(second) }];
    let fates = mending::replay(&installation.context(), contradicting, &person()).await.expect("replayed");
    assert!(matches!(&fates[0].1, Fate::Refused { reason, .. } if reason == "conflict"), "{fates:?}");
    let open = all(&installation, Some(false)).await;
    assert_eq!((open.len(), open[0].reason.as_str(), open[0].rejection_id), (1, "conflict", ids[2]));
    assert_eq!(installation.count("rejection").await, 3, "a replay adds none");
    assert_eq!(audited(&installation, "rejections replayed").await.len(), 5);

    installation.pass().await;
    let text = installation.context().exporter.render().expect("text");
    for line in [
        "dosimeter_rejections_resolved_total{source=\"predictions\",reason=\"score-range\"} 1",
        "dosimeter_rejections_resolved_total{source=\"predictions\",reason=\"bad-score\"} 1",
        "dosimeter_rejections_resolved_total{source=\"predictions\",reason=\"bad-time\"} 0",
    ] {
        assert!(text.contains(line), "{line} is missing: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_row_with_several_statements_each_goes_its_own_way() {
    let wide = SMALL.replacen("layout = \"long\"", "layout = \"wide\"", 1).replacen(
        "columns = { case = \"study\", output = \"finding\", value = \"value\", reader = \"reader\", status = \"status\", observed_at = \"at\" }",
        "columns = { case = \"study\", observed_at = \"at\" }",
        1,
    );
    let installation = Installation::new(&wide, "2025-02-03").await;
    installation.write("truth/1.csv", "study,at,effusion,nodule\nS1,2025-02-01,1,maybe\nS2,,0,1\n");
    installation.pass().await;
    let refused = all(&installation, Some(false)).await;
    let places: Vec<(i32, &str)> = refused.iter().map(|one| (one.item, one.reason.as_str())).collect();
    assert_eq!(places, [(1, "bad-value"), (0, "missing-field")]);
    assert_eq!(installation.count("assertion").await, 1);
    let ids: Vec<i64> = refused.iter().map(|rejection| rejection.rejection_id).collect();
    let mut records = Vec::new();
    for (id, column, value) in [(ids[0], "nodule", "0"), (ids[1], "at", "2025-02-01")] {
        let mut record = record(&installation, id).await;
        record["columns"][column] = value.into();
        records.push(Mended { rejection_id: id, record: Some(record) });
    }
    let fates = mending::replay(&installation.context(), records, &person()).await.expect("replayed");
    assert!(fates.iter().all(|(_, fate)| matches!(fate, Fate::TakenIn(_))), "{fates:?}");
    assert_eq!(installation.count("assertion").await, 4, "both statements of the second row, one of the first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_file_and_an_unknown_number_are_told_apart_from_records() {
    let installation = Installation::new(SMALL, "2025-02-03").await;
    installation.write("predictions/1.csv", "nothing,of,ours\n1,2,3\n");
    installation.pass().await;
    let refused = all(&installation, None).await;
    assert_eq!((refused.len(), refused[0].reason.as_str(), refused[0].has_record), (1, "unreadable-file", false));
    let id = refused[0].rejection_id;
    let fates = mending::replay(&installation.context(), stored(&[id]), &person()).await.expect("replayed");
    assert!(matches!(&fates[0].1, Fate::Left(why) if why.contains("no record is kept")), "{fates:?}");
    let told = mending::replay(&installation.context(), stored(&[4711]), &person()).await.expect_err("unknown");
    assert!(told.to_string().contains("there is no rejection 4711"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_takes_the_record_with_its_rejection() {
    let installation = Installation::new(&format!("{SMALL}\n[retention]\nrejections = \"1d\"\n"), "2025-02-03").await;
    installation.write("predictions/1.csv", HEADER.to_owned() + "S2,2025-02-01,1.5,0.1,John Roe\n");
    installation.pass().await;
    assert_eq!(installation.count("rejection").await, 1);
    installation.hand.turn_to(at("2025-02-05"));
    installation.pass().await;
    assert_eq!(installation.count("rejection").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_list_explain_export_and_replay() {
    use std::os::unix::fs::PermissionsExt;
    let installation = Installation::new(SMALL, "2025-02-03").await;
    let rows = "S2,2025-02-01,1.5,0.1,John Roe\nS4,yesterday,0.5,0.1,Joe Moe\n";
    installation.write("predictions/1.csv", HEADER.to_owned() + rows);
    installation.pass().await;
    installation.write("config.toml", format!("[service]\ndata_dir = \"data\"\n{SMALL}"));
    give_away(&[installation.folder.path(), &installation.path("config.toml")]);
    let run = |arguments: &[&str]| {
        let mut command = binary();
        command
            .env("DATABASE_URL", &installation.url)
            .env("DOSIMETER_IDENTITY_KEY", "the identity key of the tests, long enough")
            .env("DOSIMETER_ENCRYPTION_KEY", "5e".repeat(32))
            .args(arguments)
            .arg("--config")
            .arg(installation.path("config.toml"));
        let output = command.output().expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    let who = ["--by", "Dr Example", "--reason", "mend the export"];
    let (done, text) = run(&["rejections", "list", "--since", "2025-02-02", "--reason", "score-range"]);
    assert!(done && text.contains("score-range") && !text.contains("bad-time") && !text.contains("Roe"), "{text}");
    let (done, text) = run(&["rejections", "list", "--since", "2025-02-04"]);
    assert!(done && text.contains("No such record"), "{text}");
    let first = all(&installation, None).await[0].rejection_id.to_string();
    let (done, text) = run(&["rejections", "show", &first]);
    assert!(done && text.contains("\"effusion\": \"1.5\"") && !text.contains("\"S2\""), "{text}");
    let (done, text) = run(&["rejections", "explain", &first]);
    assert!(done && text.contains("no probability") && text.contains("under the plan in force: 1.5 is not"), "{text}");
    let (done, text) = run(&["rejections", "explain", "bad-time"]);
    assert!(done && text.contains("time_format"), "{text}");
    let (done, text) = run(&["rejections", "explain", "bad-luck"]);
    assert!(!done && text.contains("score-range"), "{text}");

    let out = installation.path("refused.ndjson");
    let file = out.to_string_lossy().into_owned();
    let (done, text) = run(&[&["rejections", "export", "--output", &file][..], &who[..]].concat());
    assert!(done, "{text}");
    let mode = std::fs::metadata(&out).expect("written").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let (again, text) = run(&[&["rejections", "export", "--output", &file][..], &who[..]].concat());
    assert!(!again && text.contains("must not be there yet"), "{text}");
    let exported = std::fs::read_to_string(&out).expect("text");
    assert!(exported.contains("John Roe") && exported.lines().count() == 2, "{exported}");

    let fixed = installation.path("fixed.ndjson").to_string_lossy().into_owned();
    std::fs::write(&fixed, exported.replace("\"1.5\"", "\"0.5\"")).expect("a file");
    let replay = [&["rejections", "replay", "--file", &fixed][..], &who[..]].concat();
    let (done, text) = run(&replay);
    assert!(!done && text.contains("1 of 2 taken in") && text.contains("refused again, bad-time"), "{text}");
    std::fs::write(&fixed, exported.replace("\"1.5\"", "\"0.5\"").replace("yesterday", "2025-02-01")).expect("a file");
    let (done, text) = run(&replay);
    assert!(!done && text.contains("taken in by batch") && text.contains("left as it is"), "{text}");
    let (done, text) = run(&["rejections", "list"]);
    assert!(done && text.contains("No such record"), "{text}");
    let (_, text) = run(&["rejections", "list", "--all"]);
    assert_eq!(text.matches("taken in by batch").count(), 2, "{text}");
    assert_eq!(installation.count("prediction").await, 2);
}
