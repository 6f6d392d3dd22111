//! Broken input: none of it crashes the daemon, none is lost, each has its reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dosimeter::store::rows::Knowledge;

use crate::support::{Installation, SMALL, value, window};

const PREDICTIONS: &str = "study,at,effusion,nodule,site,sex";

/// Rows of a predictions file that are broken in one way each, with the reason to expect.
fn predictions() -> Vec<(String, &'static str)> {
    let row = |study: &str, at: &str, effusion: &str, nodule: &str| format!("{study},{at},{effusion},{nodule},north,F");
    let good = "2025-02-01T10:00:00Z";
    let mut rows: Vec<(String, &'static str)> = Vec::new();
    let times = [
        "yesterday",
        "2025-02-30T10:00:00Z",
        "2025-13-01T00:00:00Z",
        "2025-02-01T25:00:00Z",
        "2025-02-01T10:61:00Z",
        "10:00",
        "01.02.2025",
        "2025/02/01 10:00",
        "20250201",
        "-",
        "null",
        "NaN",
        "0x10",
        "2025-02-01T10:00:00+99:00",
        "1e400",
        "2025-02-01T10:00:00Z extra",
        "１２",
        "2025-W05-6",
    ];
    rows.extend(times.map(|time| (row("t", time, "0.5", "0.5"), "bad-time")));
    let ranges =
        ["1999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2025-03-03T00:00:00Z", "9999-12-31T23:59:59Z", "1970-01-01"];
    rows.extend(ranges.map(|time| (row("r", time, "0.5", "0.5"), "time-range")));
    let scores = [
        "high", "0,5x", "0.5.5", "--1", "1/2", "50%", "0x1p-1", "true", "none", "½", "0.5f", "1 2", "#REF!", "()",
        "0..5", "e5",
    ];
    rows.extend(
        scores.iter().filter(|score| !score.contains(',')).map(|score| (row("s", good, score, "0.5"), "bad-score")),
    );
    let beyond =
        ["1.0000001", "-0.0000001", "2", "-1", "NaN", "nan", "inf", "-inf", "Infinity", "1e10", "100", "1e308"];
    rows.extend(beyond.map(|score| (row("b", good, "0.5", score), "score-range")));
    rows.push((row("", good, "0.5", "0.5"), "missing-field"));
    rows.push((row("   ", good, "0.5", "0.5"), "missing-field"));
    rows.push((row("m", "", "0.5", "0.5"), "missing-field"));
    rows.push((row("m", " ", "0.5", "0.5"), "missing-field"));
    rows.push((row("n", good, "", ""), "no-scores"));
    rows.push((row("n", good, "  ", " "), "no-scores"));
    rows.push((row(&"x".repeat(600), good, "0.5", "0.5"), "too-long"));
    rows.push((format!("l,{good},0.5,0.5,{},F", "y".repeat(300)), "too-long"));
    for control in ["\u{1}", "\u{7f}", "\u{1b}[31m", "\u{0}", "\u{85}"] {
        rows.push((row(&format!("c{control}c"), good, "0.5", "0.5"), "bad-text"));
        rows.push((format!("a{},{good},0.5,0.5,no{control}rth,F", rows.len()), "bad-text"));
    }
    rows.push((format!("amp,{good},0.5,0.5,north & south,F"), "bad-text"));
    for fields in ["too", "too,few", "too,few,fields", "one,two,three,four,five,six,seven", ",,,,,,,,,,"] {
        rows.push((fields.to_owned(), "malformed-row"));
    }
    rows.push((format!("q,{good},\"0.5,0.5,north,F"), "malformed-row"));
    rows.push((format!("\"q,{good},0.5,0.5,north,F"), "malformed-row"));
    rows.push((format!("q,{good},0.5,0.5,nor\"th,F"), "malformed-row"));
    rows.push((";;;;".to_owned(), "malformed-row"));
    rows.push(("<html><body>502 Bad Gateway</body></html>".to_owned(), "malformed-row"));
    rows.push((row("good", good, "0.9", "0.9"), "conflict"));
    rows
}

/// The same for a truth file.
fn assertions() -> Vec<(String, &'static str)> {
    let row = |study: &str, finding: &str, value: &str, status: &str, at: &str| {
        format!("{study},{finding},{value},dr,{status},{at}")
    };
    let good = "2025-02-02T10:00:00Z";
    let mut rows: Vec<(String, &'static str)> = Vec::new();
    let values = ["maybe", "2", "-2", "0.5", "yes!", "NaN", "1,", "++", "10", "１"];
    rows.extend(
        values.iter().filter(|v| !v.contains(',')).map(|v| (row("v", "effusion", v, "final", good), "bad-value")),
    );
    let statuses = ["done", "FINAL!", "drafted", "ok", "0", "signed?"];
    rows.extend(statuses.map(|status| (row("s", "effusion", "1", status, good), "bad-status")));
    for finding in ["fracture", "effusions", "*", "all", "0", "effusion;nodule"] {
        rows.push((row("f", finding, "1", "final", good), "unknown-output"));
    }
    rows.push((row("", "effusion", "1", "final", good), "missing-field"));
    rows.push((row("m", "", "1", "final", good), "missing-field"));
    rows.push((row("m", "effusion", "", "final", good), "missing-field"));
    rows.push((row("m", "effusion", "1", "final", ""), "missing-field"));
    rows.push((row("t", "effusion", "1", "final", "soon"), "bad-time"));
    rows.push((row("t", "effusion", "1", "final", "2031-01-01T00:00:00Z"), "time-range"));
    rows.push((row("good", "effusion", "0", "final", good), "conflict"));
    rows.push(("1".to_owned(), "malformed-row"));
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_kinds_of_broken_rows_are_kept_with_their_reasons() {
    let installation = Installation::new(SMALL, "2025-03-01").await;
    let mut wanted = Vec::new();
    let mut files = BTreeMap::new();
    let truth_header = "study,finding,value,reader,status,at";
    let kinds = [
        ("predictions/a.csv", PREDICTIONS, "good,2025-02-01T10:00:00Z,0.25,0.75,north,F", predictions()),
        ("truth/a.csv", truth_header, "good,effusion,1,dr,final,2025-02-02T10:00:00Z", assertions()),
    ];
    for (name, header, good, broken) in kinds {
        let mut text = format!("{header}\n{good}\n");
        let mut line = 3;
        for (row, reason) in broken {
            // A row with a stray quote has good rows after it, so that it cannot close its quote with another's.
            let _ = writeln!(text, "{row}");
            wanted.push((installation.path(name).to_string_lossy().into_owned(), line, reason.to_owned()));
            line += 1;
            let _ = writeln!(text, "{good}");
            line += 1;
        }
        files.insert(name, text);
    }
    assert!(wanted.len() >= 100, "{} kinds", wanted.len());
    for (name, text) in files {
        installation.write(name, text);
    }
    installation.pass().await;
    wanted.sort();
    let found = installation.rejections().await;
    let missing: Vec<_> = wanted.iter().filter(|row| !found.contains(row)).collect();
    let extra: Vec<_> = found.iter().filter(|row| !wanted.contains(row)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:#?}\nbesides {extra:#?}");
    let asked = installation.ask("effusion", "all", window("2025-02-01", "2025-02-02"), Knowledge::default()).await;
    assert_eq!((value(&asked, "predictions"), value(&asked, "positives")), (1.0, 1.0));
    // Reading the same again changes nothing.
    installation.write("predictions/b.csv", std::fs::read(installation.path("predictions/a.csv")).expect("a file"));
    installation.pass().await;
    assert_eq!(installation.rejections().await.len(), wanted.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_files_are_rejections_and_the_others_are_read() {
    let installation = Installation::new(SMALL, "2025-03-01").await;
    installation.write("predictions/empty.csv", "");
    installation.write("predictions/header-only.csv", format!("{PREDICTIONS}\n"));
    installation.write("predictions/twice.csv", "study,at,effusion,effusion\na,2025-02-01,0.5,0.5\n");
    installation.write("predictions/columns.csv", "patient,when\n1,2025-02-01\n");
    installation.write("predictions/utf16.csv", b"\xff\xfes\0t\0u\0d\0y\0\n\0".as_slice());
    installation.write("predictions/not.gz.csv.gz", "not gzip at all");
    installation.write("predictions/not.parquet", "PAR1 but not really");
    installation.write("predictions/not.zst.csv.zst", b"\x28\xb5\x2f\xfd\x00garbage".as_slice());
    installation.write("predictions/lines.ndjson", "{\"study\":\"n1\",\"at\":\"2025-02-01T00:00:00Z\",\"effusion\":0.5}\nnot json\n[1,2]\n\"text\"\n{\"study\":\n{\"study\":\"n2\",\"at\":\"2025-02-01T00:00:00Z\",\"effusion\":{\"p\":0.5}}\n");
    installation.write("predictions/notes.txt", "hello");
    installation.write("predictions/zz-good.csv", format!("{PREDICTIONS}\ng,2025-02-01T10:00:00Z,0.5,0.5,north,F\n"));
    installation.pass().await;
    let reasons: BTreeMap<String, Vec<String>> =
        installation.rejections().await.into_iter().fold(BTreeMap::new(), |mut reasons, (origin, _, reason)| {
            let name = origin.rsplit('/').next().unwrap_or_default().to_owned();
            reasons.entry(name).or_insert_with(Vec::new).push(reason);
            reasons
        });
    for name in
        ["empty.csv", "twice.csv", "columns.csv", "utf16.csv", "not.gz.csv.gz", "not.parquet", "not.zst.csv.zst"]
    {
        assert_eq!(reasons.get(name), Some(&vec!["unreadable-file".to_owned()]), "{name}: {reasons:?}");
    }
    assert_eq!(
        reasons["lines.ndjson"],
        ["malformed-row", "malformed-row", "malformed-row", "malformed-row", "no-scores"]
    );
    assert!(!reasons.contains_key("header-only.csv"));
    assert_eq!(installation.count("prediction").await, 2, "the good rows are in: {reasons:?}");
}
