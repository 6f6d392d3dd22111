//! The configuration files of the repository, and what `dosimeter check` says about good and bad ones.

use std::path::Path;

use crate::support::{SMALL, binary, database};

fn config(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

#[test]
fn every_configuration_of_the_repository_is_valid() {
    for name in ["minimal.toml", "full.toml", "demo.toml", "compose.toml", "nih.toml"] {
        let output = binary().args(["check", "--config"]).arg(config(name)).output().expect("the program runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {text}");
        assert!(text.contains("auroc"), "{name}: it says what would be monitored: {text}");
    }
}

#[test]
fn every_mistake_is_told_at_once_with_line_key_and_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[[model]]\nname = \"a\"\noutput = [{ name = \"x\" }]\nwindow = [\"7d\"]\nthresholds = [1.5]\n\n\
                [[source]]\nname = \"p\"\npaths = [\"p\"]\ntime_zone = \"Mars/Olympus\"\ncolumns = { case = \"c\", occurred_at = \"t\", version = \"v\" }\n";
    let path = folder.path().join("wrong.toml");
    std::fs::write(&path, text).expect("a file");
    let output = binary().args(["check", "--config"]).arg(&path).output().expect("the program runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for (line, key) in [("4", "window"), ("5", "thresholds"), ("10", "time_zone")] {
        let found = told.lines().any(|told| told.contains(&format!("line {line}")) && told.contains(key));
        assert!(found, "line {line}, {key}: {told}");
    }
    assert!(told.contains("windows"), "the remedy names the key that was meant: {told}");
}

#[test]
fn a_secret_is_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = std::fs::read_to_string(config("full.toml")).expect("a file").replace("change me", "hunter2-smtp");
    std::fs::write(
        folder.path().join("full.toml"),
        text.replace("dosimeter@localhost/", "dosimeter:hunter2-db@localhost/"),
    )
    .expect("a file");
    let output = binary().args(["--log", "trace", "check", "--config"]).arg(folder.path().join("full.toml")).output();
    let output = output.expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn an_import_that_finds_nothing_to_read_says_so_and_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("small.toml");
    std::fs::write(&path, format!("[service]\ndata_dir = \"data\"\n{SMALL}")).expect("a file");
    let url = database().await;
    let output = binary().args(["import", "--config"]).arg(&path).env("DATABASE_URL", url).output();
    let output = output.expect("the program runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(told.contains("nothing to read"), "{told}");
    assert!(told.contains("predictions") && told.contains("reports"), "it names the sources: {told}");
}

#[test]
fn a_plan_is_the_same_however_its_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("small.toml"), SMALL).expect("a file");
    let absolute = folder.path().join("small.toml").to_string_lossy().into_owned();
    let plans = ["small.toml", "./small.toml", absolute.as_str()].map(|name| {
        let output = binary().current_dir(folder.path()).args(["check", "--config", name]).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().next().expect("a line").to_owned()
    });
    assert!(plans[0].contains("Plan") && plans[0] == plans[1] && plans[1] == plans[2], "{plans:?}");
}

#[test]
fn an_alert_that_no_route_takes_is_pointed_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let rule = |name: &str, severity: &str| {
        format!(
            "[[model.alert]]\nname = \"{name}\"\nmetric = \"auroc\"\nwindow = \"7d\"\nbelow = 0.75\nseverity = \"{severity}\"\n\n"
        )
    };
    let rules = rule("urgent", "page") + &rule("later", "ticket");
    let route = "\n[[notify.route]]\nname = \"chat\"\nchannel = \"slack\"\nurl = \"https://hooks.example/hidden\"\nseverity = [\"page\"]\n";
    let text = SMALL.replacen("[[source]]", &format!("{rules}[[source]]"), 1) + route;
    std::fs::write(folder.path().join("small.toml"), text).expect("a file");
    let output = binary().current_dir(folder.path()).args(["check", "--config", "small.toml"]).output();
    let told = String::from_utf8_lossy(&output.expect("it runs").stdout).into_owned();
    let line = |start: &str| told.lines().find(|line| line.trim().starts_with(start)).unwrap_or_default().to_owned();
    assert!(line("alert later").ends_with("; no route tells anybody"), "{told}");
    assert!(!line("alert urgent").contains("no route"), "{told}");
    assert_eq!(line("route chat"), "route chat: page of all models, by slack to https://hooks.example");
}

#[test]
fn a_question_makes_no_database() {
    let folder = tempfile::tempdir().expect("a folder");
    crate::support::give_away(&[folder.path()]);
    let path = folder.path().join("small.toml");
    std::fs::write(&path, format!("[service]\ndata_dir = \"data\"\n{SMALL}")).expect("a file");
    let output = binary().args(["alert", "list", "--config"]).arg(&path).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("there is no database"), "{told}");
    assert!(!folder.path().join("data/postgres").exists());
}
