//! The rules of Prometheus and their runbooks: tested by promtool, complete, and with commands that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::tool;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn list(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|own| own == extension)).collect();
    found.sort();
    found
}

/// The files of the rules.
pub fn files() -> Vec<PathBuf> {
    list(&root().join("config/rules"), "yml")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The alerts with their text, and the names of the recorded series.
fn rules() -> (BTreeMap<String, String>, BTreeSet<String>) {
    let (mut alerts, mut records) = (BTreeMap::new(), BTreeSet::new());
    for file in files() {
        for part in read(&file).split("\n      - ").skip(1) {
            let (kind, rest) = part.split_once(": ").expect("a rule");
            let name = rest.lines().next().expect("a name").trim().to_owned();
            match kind {
                "alert" => assert!(alerts.insert(name.clone(), rest.to_owned()).is_none(), "{name} is there twice"),
                "record" => assert!(records.insert(name.clone()), "{name} is there twice"),
                other => panic!("{}: {other} is neither an alert nor a record", file.display()),
            }
        }
    }
    (alerts, records)
}

fn promtool(arguments: &[&str], files: &[PathBuf]) {
    let output = Command::new(tool("promtool")).args(arguments).args(files).output().expect("promtool runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

#[test]
fn the_rules_pass_their_tests() {
    promtool(&["check", "rules", "--lint-fatal"], &files());
    promtool(&["check", "config"], &[root().join("config/prometheus.yml")]);
    promtool(&["test", "rules"], &list(&root().join("config/rules/tests"), "yml"));
}

#[test]
fn every_rule_is_tested_and_every_alert_has_its_page() {
    let (alerts, records) = rules();
    assert!(alerts.len() >= 20 && !records.is_empty(), "{} alerts, {} records", alerts.len(), records.len());
    let tests: String = list(&root().join("config/rules/tests"), "yml").iter().map(|file| read(file)).collect();
    for name in &records {
        assert!(tests.contains(name), "{name} has no test in config/rules/tests");
    }
    let pages: BTreeSet<String> = list(&root().join("docs/runbooks"), "md")
        .iter()
        .map(|page| page.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    let named: BTreeSet<String> = alerts.keys().cloned().collect();
    assert_eq!(named, pages, "each alert has a page in docs/runbooks, and each page an alert");
    for (name, rule) in &alerts {
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} has no test in config/rules/tests");
        let url = format!("runbook_url: https://dosimeter.example/docs/runbooks/{name}.md");
        for key in [url.as_str(), "severity: ", "summary: ", "description: "] {
            // Of what repeats the daemon's own alerts the severity is theirs.
            let is_theirs = key == "severity: " && rule.contains("severity) (");
            assert!(rule.contains(key) || is_theirs, "{name} lacks {key}");
        }
        let page = read(&root().join("docs/runbooks").join(format!("{name}.md")));
        for heading in [&format!("# {name}\n") as &str, "## What it means", "## What to look at", "## What to do"] {
            assert!(page.contains(heading), "docs/runbooks/{name}.md lacks {heading:?}");
        }
    }
}

#[test]
fn the_commands_of_the_runbooks_exist() {
    let mut checked = 0;
    for page in list(&root().join("docs/runbooks"), "md") {
        let text = read(&page);
        let spans = text.split('`').skip(1).step_by(2).map(str::to_owned);
        let lines = text.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned);
        for line in spans.chain(lines).filter(|line| line.starts_with("dosimeter ")) {
            let mut words = words(&line);
            if !words.iter().any(|word| word == "--config") {
                words.extend(["--config".to_owned(), "dosimeter.toml".to_owned()]);
            }
            let parsed = dosimeter::cli::command().try_get_matches_from(&words);
            assert!(parsed.is_ok(), "{}: {line}: {}", page.display(), parsed.expect_err("it failed"));
            checked += 1;
        }
    }
    assert!(checked >= 20, "{checked} commands");
}

/// A line as a shell splits it, as far as the runbooks go.
fn words(line: &str) -> Vec<String> {
    let quoted = line.split('"').enumerate().flat_map(|(index, part)| {
        if index % 2 == 1 { vec![part.to_owned()] } else { part.split_whitespace().map(str::to_owned).collect() }
    });
    quoted.collect()
}
