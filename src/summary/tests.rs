//! The laws of a summary, by property.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::Summary;
use super::agreement::Agreement;
use super::body::Body;
use super::classes::{Choice, ClassSummary};
use super::embedding::EmbeddingSummary;
use super::feature::FeatureSummary;
use super::value::{ValueSummary, Valued};
use crate::domain::Opinion;
use crate::stats::channel;
use crate::stats::projector::{FEATURES, Projection};
use crate::stats::spectrum::Class;

type Row = (f64, usize, u32);

/// Scores that are ordinary, tied, saturated or constant.
fn row() -> impl Strategy<Value = Row> {
    let score = prop_oneof![
        0.0..=1.0_f64,
        (0..=10_u32).prop_map(|tenths| f64::from(tenths) / 10.0),
        (0.0..1e-12_f64),
        (0.0..1e-12_f64).prop_map(|tail| 1.0 - tail),
        Just(0.5),
    ];
    (score, 0..3_usize, 0..2000_u32)
}

const THRESHOLDS: [f64; 2] = [0.1, 0.5];

fn summarise(rows: &[Row]) -> Summary {
    let mut delays = BTreeMap::new();
    for (_, class, delay) in rows {
        if *class > 0 {
            *delays.entry(*delay).or_default() += 1;
        }
    }
    let cells = rows.iter().map(|(p, class, _)| (channel::key(*p), Class::ALL[*class], 1)).collect();
    Summary::new(cells, delays, &THRESHOLDS)
}

/// Enough rows to pass the cap when repeated with small shifts.
fn many(rows: &[Row]) -> Vec<Row> {
    (0..200)
        .flat_map(|i| rows.iter().map(move |(p, class, delay)| ((p + f64::from(i) * 1e-4).min(1.0), *class, *delay)))
        .collect()
}

fn merged(parts: &[Summary]) -> Summary {
    let mut whole = Summary::default();
    for part in parts {
        whole.merge(part);
    }
    whole
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_whole_is_the_sum_of_its_parts_in_any_order(
        mut rows in prop::collection::vec(row(), 1..60),
        cut in any::<prop::sample::Index>(),
        large in any::<bool>(),
    ) {
        if large {
            rows = many(&rows);
        }
        let whole = summarise(&rows);
        let (left, right) = rows.split_at(cut.index(rows.len()));
        for parts in [[left, right], [right, left]] {
            let mut sum = merged(&parts.map(summarise));
            sum.cap(&THRESHOLDS);
            prop_assert_eq!(&sum, &whole);
        }
    }

    #[test]
    fn merging_is_associative_and_the_empty_summary_is_neutral(
        a in prop::collection::vec(row(), 0..40),
        b in prop::collection::vec(row(), 0..40),
        c in prop::collection::vec(row(), 0..40),
        large in 0..3_usize,
    ) {
        let mut parts = [a, b, c];
        parts[large] = many(&parts[large]);
        let [a, b, c] = parts.map(|rows| summarise(&rows));
        let left = merged(&[merged(&[a.clone(), b.clone()]), c.clone()]);
        let right = merged(&[a.clone(), merged(&[b, c])]);
        prop_assert_eq!(left, right);
        prop_assert_eq!(merged(&[a.clone(), Summary::default()]), a.clone());
        prop_assert_eq!(merged(&[Summary::default(), a.clone()]), a);
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same(rows in prop::collection::vec(row(), 0..40), large in any::<bool>()) {
        let summary = summarise(&if large { many(&rows) } else { rows });
        let bytes = super::codec::encode(&Body::Output(summary.clone()));
        prop_assert_eq!(super::codec::decode(&bytes), Ok(Body::Output(summary)));
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_a_crash(
        rows in prop::collection::vec(row(), 1..20),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let mut bytes = super::codec::encode(&Body::Output(summarise(&rows)));
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(super::codec::decode(&bytes).is_err());
        prop_assert!(super::codec::decode(&bytes[..at]).is_err());
    }

    #[test]
    fn counts_at_a_kept_threshold_are_exact_past_the_cap(rows in prop::collection::vec(row(), 30..60)) {
        let rows = many(&rows);
        let summary = summarise(&rows);
        for threshold in THRESHOLDS {
            let mut expected = [0; 3];
            for (p, class, _) in &rows {
                expected[*class] += u64::from(*p >= threshold);
            }
            prop_assert_eq!(summary.at_least(threshold), (expected, expected));
        }
    }
}

/// Values of a feature, of every kind that there is.
fn value() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        Just(None),
        Just(Some(" ".to_owned())),
        prop::sample::select(vec!["AP", "PA", "NaN", "inf", "-inf", "x"]).prop_map(|text| Some(text.to_owned())),
        any::<f64>().prop_map(|number| Some(number.to_string())),
        (0..20_u32).prop_map(|number| Some(number.to_string())),
    ]
}

/// A case with the opinions of up to four readers.
fn case() -> impl Strategy<Value = Vec<(String, Opinion)>> {
    let opinion = prop::sample::select(vec![Opinion::Negative, Opinion::Uncertain, Opinion::Positive]);
    prop::collection::btree_map("[a-d]", opinion, 0..5).prop_map(|readers| readers.into_iter().collect())
}

fn body(values: &[Option<String>], numeric: bool) -> Body {
    let values = values.iter().map(Option::as_deref);
    Body::Feature(if numeric { FeatureSummary::numeric(values) } else { FeatureSummary::categorical(values) })
}

fn readings(cases: &[Vec<(String, Opinion)>]) -> Body {
    let mut agreement = Agreement::default();
    cases.iter().for_each(|case| agreement.add(case));
    Body::Readers(agreement)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn features_and_readers_keep_the_laws_too(
        values in prop::collection::vec(value(), 0..60),
        numeric in any::<bool>(),
        cases in prop::collection::vec(case(), 0..30),
        cut in 0.0..1.0_f64,
    ) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let at = |length: usize| (length as f64 * cut) as usize;
        let (left, right) = values.split_at(at(values.len()));
        let (first, second) = cases.split_at(at(cases.len()));
        for (whole, parts) in [
            (body(&values, numeric), [body(left, numeric), body(right, numeric)]),
            (readings(&cases), [readings(first), readings(second)]),
        ] {
            let [a, b] = parts;
            let (mut ab, mut ba) = (a.clone(), b.clone());
            ab.merge(&b);
            ba.merge(&a);
            prop_assert_eq!(&ab, &whole);
            prop_assert_eq!(&ba, &whole);
            let bytes = super::codec::encode(&whole);
            prop_assert_eq!(super::codec::decode(&bytes), Ok(whole));
        }
        prop_assert_eq!(body(&values, numeric).feature().map(FeatureSummary::rows), Some(values.len() as u64));
    }
}

/// A choice among three classes: ordinary, tied, saturated or incomplete.
fn choice() -> impl Strategy<Value = Choice> {
    let score = prop_oneof![0.0..=1.0_f64, (0..=4_u32).prop_map(|quarter| f64::from(quarter) / 4.0), Just(1e-300)];
    let scores = prop::option::weighted(0.9, prop::collection::vec(score, 3));
    let truth = prop::option::of((0..3_usize, 0..2000_u32));
    (scores, truth).prop_map(|(scores, truth)| Choice { scores, truth })
}

/// Values that are ordinary, tied, tiny or far from zero.
fn valued() -> impl Strategy<Value = Valued> {
    let number =
        || prop_oneof![-10.0..10.0_f64, (-3..3_i32).prop_map(f64::from), 1e6..1e6 + 1.0, -1e-300..1e-300, -1e75..1e75];
    (number(), prop::option::of((number(), 0..2000_u32))).prop_map(|(predicted, truth)| Valued { predicted, truth })
}

/// What a projector may see.
fn projection() -> impl Strategy<Value = Projection> {
    (0.0..1e6_f64, 0.0..1e3_f64, -0.1..0.1_f64).prop_map(|(distance, error, feature)| Projection {
        distance,
        error,
        features: vec![feature; FEATURES],
    })
}

/// As `times` says it, and as it is done.
fn twice(body: &Body) -> Body {
    let mut sum = body.clone();
    sum.merge(body);
    sum
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn choices_values_and_embeddings_keep_the_laws_too(
        choices in prop::collection::vec(choice(), 1..40),
        values in prop::collection::vec(valued(), 1..40),
        projections in prop::collection::vec(projection(), 1..10),
        cut in any::<prop::sample::Index>(),
    ) {
        let of_choices = |rows: &[Choice]| Body::Classes(ClassSummary::of(3, rows.iter()));
        let of_values = |rows: &[Valued]| Body::Value(ValueSummary::of(rows.iter().copied()));
        let (first, second) = choices.split_at(cut.index(choices.len()));
        let (left, right) = values.split_at(cut.index(values.len()));
        let of_embeddings = |rows: &[Projection]| Body::Embedding(EmbeddingSummary::of(rows.iter().cloned()));
        let (before, after) = projections.split_at(cut.index(projections.len()));
        for (whole, parts) in [
            (of_choices(&choices), [of_choices(first), of_choices(second)]),
            (of_values(&values), [of_values(left), of_values(right)]),
            (of_embeddings(&projections), [of_embeddings(before), of_embeddings(after)]),
        ] {
            let [a, b] = parts;
            let (mut ab, mut ba) = (a.clone(), b.clone());
            ab.merge(&b);
            ba.merge(&a);
            prop_assert_eq!(&ab, &whole);
            prop_assert_eq!(&ba, &whole);
            prop_assert_eq!(&twice(&whole), &whole.times(2));
            let bytes = super::codec::encode(&whole);
            prop_assert!(super::codec::decode(&bytes[..bytes.len() - 1]).is_err());
            prop_assert_eq!(super::codec::decode(&bytes), Ok(whole));
        }
        let neutral = Body::Classes(ClassSummary::default());
        let mut sum = neutral.clone();
        sum.merge(&of_choices(&choices));
        prop_assert_eq!(&sum, &of_choices(&choices));
        prop_assert_eq!(super::codec::decode(&super::codec::encode(&neutral)), Ok(neutral));
    }
}
