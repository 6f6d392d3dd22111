//! Another domain, another monitor: the synthetic car loans of `NannyML`, against what `NannyML` 0.13.1 itself says.
//!
//! The files are not part of the repository: `DOSIMETER_SHARED_DATA` says where they are, `../shared/data` otherwise.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use dosimeter::domain::Window;
use dosimeter::job::Job;
use dosimeter::reference::{Maker, freeze};
use dosimeter::runtime::Outcome;
use dosimeter::store::rows::Knowledge;
use serde_json::Value;

use crate::support::{Installation, at, value};

const CONFIG: &str = r#"
[[model]]
name = "loan"
thresholds = [0.65]
minimum_n = 0
windows = ["30d"]
output = [{ name = "repaid" }]
feature = [
    { name = "car_value" },
    { name = "debt_to_income_ratio" },
    { name = "loan_length" },
    { name = "driver_tenure" },
    { name = "salary_range", kind = "categorical" },
    { name = "size_of_downpayment", kind = "categorical" },
]

[[source]]
name = "predictions"
paths = ["reference.csv.gz", "analysis.csv.gz"]
settle = "0s"
columns = { case = "id", occurred_at = "timestamp" }
constants = { version = "1" }
outputs = { repaid = "y_pred_proba" }

[[source]]
name = "truth of the reference"
record = "assertions"
paths = ["reference.csv.gz"]
settle = "0s"
columns = { case = "id", observed_at = "timestamp" }
constants = { source = "bank" }

[[source]]
name = "truth"
record = "assertions"
paths = ["target.csv.gz"]
settle = "0s"
columns = { case = "id" }
constants = { source = "bank", observed_at = "2019-12-01" }
"#;

fn instant(text: &Value) -> DateTime<Utc> {
    let text = text.as_str().expect("a text");
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").expect("an instant").and_utc()
}

#[tokio::test(flavor = "multi_thread")]
async fn realised_performance_and_univariate_drift_are_those_of_nannyml() {
    let Some(data) = crate::nih::data() else { return };
    let data = data.join("nannyml");
    let installation = Installation::new(CONFIG, "2020-01-01").await;
    for (name, file) in [
        ("reference", "synthetic_car_loan_reference"),
        ("analysis", "synthetic_car_loan_analysis"),
        ("target", "synthetic_car_loan_analysis_target"),
    ] {
        installation
            .write(&format!("{name}.csv.gz"), std::fs::read(data.join(format!("{file}.csv.gz"))).expect("a file"));
    }
    let context = installation.context();
    assert_eq!(Job::Ingest.run(&context).await, Outcome::Done);
    assert_eq!((installation.count("prediction").await, installation.count("rejection").await), (100_000, 0));
    let maker = Maker { model: "loan", version: None, person: "dr who", reason: "a test" };
    let years = Window { from: at("2018-01-01"), to: at("2018-10-30T18:00:00Z") };
    let (id, cases) = freeze(&context, &maker, years).await.expect("a reference");
    assert_eq!(cases, 50_000);
    context.store.approve_reference(id, "dr who", "a test", at("2020-01-01")).await.expect("approved");

    let text = std::fs::read_to_string(data.join("expected.json")).expect("a file");
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    let chunks = expected["realized"].as_array().expect("chunks").iter();
    let mut compared = 0;
    for (realised, drift) in chunks.zip(expected["univariate"].as_array().expect("chunks")) {
        let window = Window {
            from: instant(&realised["chunk|start_date"]),
            to: instant(&realised["chunk|end_date"]) + TimeDelta::milliseconds(1),
        };
        let mut check = |ours: f64, theirs: &Value, what: &str| {
            let theirs = theirs.as_f64().unwrap_or_else(|| panic!("no {what}"));
            // NannyML's figures are kept to ten decimals. Of a reference of more than 10,000 rows it keeps quantiles for KS
            // and bins for Wasserstein; ours are exact (scipy says 0.0131 and 0.0185046 for the first chunk).
            let is_exact = !what.starts_with("ks ") && what != "score wasserstein";
            let tolerance = if is_exact { 1e-9 } else { 3e-4 };
            assert!((ours - theirs).abs() < tolerance, "{window} {what}: {ours} against {theirs}");
            compared += 1;
        };
        let scores = installation.ask("repaid", "all", window, Knowledge::default()).await;
        assert_eq!(value(&scores, "labelled"), 5000.0);
        for (metric, name) in [("auroc", "roc_auc"), ("f1@0.65", "f1"), ("accuracy@0.65", "accuracy")] {
            check(value(&scores, metric), &realised[format!("{name}|value")], name);
        }
        check(value(&scores, "score_ks"), &drift["y_pred_proba|kolmogorov_smirnov|value"], "ks of scores");
        check(value(&scores, "score_wasserstein"), &drift["y_pred_proba|wasserstein|value"], "score wasserstein");
        for feature in ["car_value", "debt_to_income_ratio", "loan_length", "driver_tenure"] {
            let answer = installation.ask(&format!("(feature) {feature}"), "all", window, Knowledge::default()).await;
            check(
                value(&answer, "feature_ks"),
                &drift[format!("{feature}|kolmogorov_smirnov|value")],
                &format!("ks {feature}"),
            );
        }
        for feature in ["salary_range", "size_of_downpayment"] {
            let answer = installation.ask(&format!("(feature) {feature}"), "all", window, Knowledge::default()).await;
            for (metric, name) in
                [("feature_chi2", "chi2"), ("feature_js", "jensen_shannon"), ("feature_l_infinity", "l_infinity")]
            {
                check(value(&answer, metric), &drift[format!("{feature}|{name}|value")], &format!("{feature} {name}"));
            }
        }
    }
    assert_eq!(compared, 150);
}
