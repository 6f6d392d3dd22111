//! The door, record by record.

use super::*;
use crate::config::{CaseIds, Secret};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000, 0).expect("a valid instant")
}

fn door() -> Door {
    let text = include_str!("../../config/minimal.toml");
    let (plan, _) = crate::config::parse(text, std::path::Path::new(""), &|_| None).expect("a valid plan");
    let names = ["effusion", "pneumothorax"].map(str::to_owned);
    let numbers = ModelNumbers {
        quantities: std::collections::HashMap::new(),
        model_id: 1,
        outputs: names.clone().into_iter().zip(1..).collect(),
        findings: names.into_iter().zip(10..).collect(),
    };
    let pseudonyms = Pseudonyms::new(CaseIds::Hash, &Secret::new("a key of sufficient length for us"));
    Door::new(plan.models[0].clone(), numbers, plan.intake, pseudonyms)
}

fn draft() -> PredictionDraft {
    PredictionDraft {
        case: "study 1".into(),
        occurred_at: now(),
        version: "1.0".into(),
        scores: vec![("effusion".into(), "effusion".into(), "0.25".into())],
        ..PredictionDraft::default()
    }
}

fn admit(draft: Draft) -> Result<Admitted, Problem> {
    door().admit(draft, Position { line: 2, item: 0 }, now())
}

fn reason(draft: PredictionDraft) -> Reason {
    admit(Draft::Prediction(draft)).expect_err("refused").reason
}

#[test]
fn a_prediction_loses_its_raw_ids() {
    let Ok(Admitted::Prediction(record)) = admit(Draft::Prediction(draft())) else { panic!("admitted") };
    assert_eq!(record.version, "1.0");
    assert!(!format!("{record:?}").contains("study 1"));
}

#[test]
fn every_kind_of_bad_prediction_has_its_reason() {
    let with_score =
        |text: &str| PredictionDraft { scores: vec![("effusion".into(), "p".into(), text.into())], ..draft() };
    assert_eq!(reason(with_score("high")), Reason::BadScore);
    for text in ["1.0000001", "-0.1", "NaN", "inf", "-inf", "1e400"] {
        assert_eq!(reason(with_score(text)), Reason::ScoreRange, "{text}");
    }
    let unknown = vec![("cardiomegaly".into(), "p".into(), "0.5".into())];
    assert_eq!(reason(PredictionDraft { scores: unknown, ..draft() }), Reason::UnknownOutput);
    assert_eq!(reason(PredictionDraft { scores: vec![], ..draft() }), Reason::NoScores);
    assert_eq!(reason(PredictionDraft { case: "  ".into(), ..draft() }), Reason::MissingField);
    assert_eq!(reason(PredictionDraft { case: "x".repeat(600), ..draft() }), Reason::TooLong);
    assert_eq!(reason(PredictionDraft { version: "1\u{0}".into(), ..draft() }), Reason::BadText);
    for seconds in [0, 4_000_000_000] {
        let occurred_at = DateTime::from_timestamp(seconds, 0).expect("a valid instant");
        assert_eq!(reason(PredictionDraft { occurred_at, ..draft() }), Reason::TimeRange);
    }
}

#[test]
fn an_assertion_may_name_the_finding_or_the_output() {
    let draft = AssertionDraft {
        case: "study 1".into(),
        finding: "effusion".into(),
        value: ("value".into(), "1".into()),
        source: "report".into(),
        observed_at: now(),
        ..AssertionDraft::default()
    };
    assert!(admit(Draft::Assertion(draft.clone())).is_ok());
    let reason = |draft| admit(Draft::Assertion(draft)).expect_err("refused").reason;
    assert_eq!(reason(AssertionDraft { value: ("value".into(), "maybe".into()), ..draft.clone() }), Reason::BadValue);
    assert_eq!(reason(AssertionDraft { status: Some("done".into()), ..draft.clone() }), Reason::BadStatus);
    assert_eq!(reason(AssertionDraft { finding: "fracture".into(), ..draft }), Reason::UnknownOutput);
}

#[test]
fn a_batch_holds_each_identity_once() {
    let mut collector = Collector::default();
    let other = PredictionDraft { scores: vec![("effusion".into(), "p".into(), "0.75".into())], ..draft() };
    for draft in [draft(), draft(), other] {
        collector.admit(admit(Draft::Prediction(draft)).expect("admitted"), || Kept::of_text("a row"));
    }
    assert_eq!((collector.predictions.len(), collector.duplicates), (1, 1));
    assert_eq!(collector.rejections[0].reason, Reason::Conflict);
}

#[test]
fn versions_beyond_the_limit_are_refused_with_the_remedy() {
    let mut collector = Collector::default();
    for version in ["1", "2", "3", "1"] {
        let draft = PredictionDraft { version: version.into(), case: format!("{version} case"), ..draft() };
        collector.admit(admit(Draft::Prediction(draft)).expect("admitted"), || Kept::of_text("a row"));
    }
    collector.limit_versions(["0".to_owned(), "3".to_owned()], 3);
    assert_eq!(collector.versions().into_iter().collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(collector.rejections.len(), 1);
    assert!(collector.rejections[0].message.contains("most_versions"));
}
