//! Reading `[alarms]` and `[[model.watch]]`.

use std::time::Duration;

use super::{Budget, Measure, Method, Side, Tier, Unit, Watch, Weekends};
use crate::config::model::{Model, Quantity};
use crate::config::reader::Section;
use crate::config::rule::{SlicePattern, check_name, slice_pattern};
use crate::metric::Costs;

/// Seconds of a day.
const DAY: u64 = 86_400;

pub(in crate::config) fn budget(section: Section<'_>) -> Budget {
    let positive = |key: &str, default: f64| {
        let value = section.number(key).unwrap_or(default);
        if value <= 0.0 {
            section.problem(key, "must be above 0; a budget of no false alarm at all finds nothing either");
        }
        value
    };
    let budget = Budget {
        pages: positive("pages_per_year", 1.0),
        tickets: positive("tickets_per_year", 12.0),
        confidence: positive("confidence", 0.95),
        watched_in_error: positive("watched_in_error", 0.1),
    };
    if budget.confidence >= 1.0 {
        section.problem("confidence", "must lie between 0 and 1, such as 0.95");
    }
    if budget.watched_in_error >= 1.0 {
        section.problem("watched_in_error", "must lie between 0 and 1, such as 0.1");
    }
    section.refuse_unknown();
    budget
}

pub(in crate::config) fn watch(section: Section<'_>, model: &Model) -> Watch {
    let name = section.required_string("name", "name the watch; its alarms carry the name");
    check_name(&section, &name);
    if section.string("measure").is_none() {
        section.problem("measure", "is missing; write what to watch, such as \"auroc\"");
    }
    let measure = section.choice("measure", Measure::Auroc, &Measure::WORDS);
    let output = section.string("output").filter(|output| output != "*");
    let is_output = |name: &str| {
        let quantities = model.quantities();
        quantities.iter().any(|quantity| matches!(quantity, Quantity::Output(output) if output.name == name))
    };
    if let Some(output) = output.as_ref().filter(|output| !is_output(output)) {
        section.problem("output", format!("{output:?} is no probability of this model"));
    }
    let costs = costs(&section, measure, model, output.as_deref());
    let (threshold, limit) = numbers(&section, measure, costs.as_ref());
    let feature = feature(&section, measure, model);
    if measure == Measure::EmbeddingDrift && model.embedding.is_none() {
        section.problem("measure", "embedding_drift needs [model.embedding], which the model has not");
    }
    if output.is_some() && !measure.is_of_output() {
        section.problem("output", format!("has no meaning for {measure}, which is about what the model is given"));
    }
    let usual = Watch::plain(measure);
    let against = against(&section, measure, model);
    let side = side(&section, (measure, usual.side), limit);
    let (method, run_length) = method(&section, measure, limit);
    let tier = section.choice("tier", usual.tier, &Tier::ALL.map(|tier| (tier.as_str(), tier)));
    if method != Method::Evidence && tier == Tier::Watch {
        section.problem("tier", "a chart is judged by its own limit; write \"page\" or \"ticket\"");
    }
    if method != Method::Evidence && side == Side::Both {
        section.problem("side", "a chart watches one way; write two watches, or method = \"evidence\"");
    }
    if against.is_some() && limit.is_some() {
        section.problem(
            "limit",
            "has no meaning beside `against`; its tolerance says how much of a difference is allowed",
        );
    }
    if against.is_some() && method != Method::Evidence {
        section.problem("method", "a chart knows no pairs of versions; write \"evidence\"");
    }
    let tolerance = section.number("tolerance").unwrap_or(usual.tolerance);
    if tolerance < 0.0 {
        section.problem("tolerance", "is negative; it is room beyond the reference");
    }
    let days = u64::try_from(usual.maturity_days).unwrap_or_default();
    let maturity = section.duration("maturity", Duration::from_secs(days * DAY));
    if !maturity.as_secs().is_multiple_of(DAY) || maturity.as_secs() > 730 * DAY {
        section.problem("maturity", "must be whole days, at most 730, such as \"7d\"");
    }
    let maturity_days = i64::try_from(maturity.as_secs() / DAY).unwrap_or_default();
    let slices = slice_pattern(&section, model);
    if measure == Measure::SliceShare && matches!(&slices, SlicePattern::One(slice) if slice.is_all()) {
        section
            .problem("slice", "\"all\" is every case; name a slice, or every one of a dimension, such as \"view=*\"");
    }
    let categorical = |name: &String| model.features.iter().any(|known| known.name == *name && !known.numeric);
    let watch = Watch {
        categorical: feature.as_ref().is_some_and(categorical),
        unit: unit(&section, measure, against.is_some()),
        slices,
        costs,
        feature,
        against,
        side,
        runbook: section.string("runbook"),
        weekends: section.choice("weekends", usual.weekends, &[("apart", Weekends::Apart), ("alike", Weekends::Alike)]),
        tier,
        maturity_days,
        name,
        measure,
        method,
        run_length: run_length.unwrap_or(usual.run_length),
        output,
        threshold,
        limit,
        tolerance,
    };
    section.refuse_unknown();
    watch
}

/// Which way it is watched.
fn side(section: &Section<'_>, (measure, usual): (Measure, Side), limit: Option<f64>) -> Side {
    if measure.is_drift() {
        if section.string("side").is_some() {
            section.problem("side", format!("has no meaning for {measure}, which finds a change any way; remove it"));
        }
        return usual;
    }
    let words =
        if measure.is_share() || measure == Measure::Calibration { ["up", "down"] } else { ["worse", "better"] };
    let side = section.choice("side", usual, &[(words[0], Side::Up), (words[1], Side::Down), ("both", Side::Both)]);
    if side == Side::Both && limit.is_some() {
        let message =
            format!("a contract has one side; write side = {:?}, or leave the limit to the reference", words[0]);
        section.problem("limit", message);
    }
    side
}

/// The version that others are compared with.
fn against(section: &Section<'_>, measure: Measure, model: &Model) -> Option<String> {
    let against = section.string("against");
    match &against {
        Some(_) if !measure.has_pairs() => section.problem(
            "against",
            format!("has no meaning for {measure}, which is no mean over the same cases of two versions; remove it"),
        ),
        Some(version) if !model.versions.is_empty() && !model.versions.contains(version) => {
            section.problem("against", format!("{version:?} is not among the model's versions"));
        }
        _ => {}
    }
    against
}

/// What is independent of what. What two versions make of the same cases differs little from day to day: there cases are the usual units.
fn unit(section: &Section<'_>, measure: Measure, is_paired: bool) -> Unit {
    let usual = if is_paired { Unit::Case } else { Unit::Cluster };
    let words = [("cluster", Unit::Cluster), ("subject", Unit::Subject), ("case", Unit::Case)];
    let unit = section.choice("unit", usual, &words);
    if unit == Unit::Subject && is_paired {
        section.problem("unit", "\"subject\" has no meaning beside `against`; write \"case\" or \"cluster\"");
    }
    if unit == Unit::Subject && measure == Measure::FeatureMissing {
        section.problem("unit", "\"subject\" has no meaning for feature_missing; write \"case\" or \"cluster\"");
    }
    unit
}

/// The operating point and the contract.
fn numbers(section: &Section<'_>, measure: Measure, costs: Option<&Costs>) -> (Option<f64>, Option<f64>) {
    let threshold = section.number("threshold");
    match (measure.has_threshold(), threshold) {
        (true, None) => section.problem("threshold", format!("is missing; {measure} is measured at one")),
        (true, Some(at)) if !(0.0..=1.0).contains(&at) => section.problem("threshold", "is no probability from 0 to 1"),
        (false, Some(_)) => section.problem("threshold", format!("has no meaning for {measure}; remove it")),
        _ => {}
    }
    let limit = section.number("limit");
    match limit {
        Some(_) if !measure.has_limit() => {
            section.problem("limit", format!("has no meaning for {measure}; its tolerance says how much is allowed"));
        }
        Some(limit) if measure == Measure::LogLoss && !(0.0 < limit && limit < libm::log(100.0)) => {
            section.problem("limit", "must lie between 0 and 4.6: the logarithmic loss is cut at ln 100");
        }
        Some(limit) if measure == Measure::Cost => {
            let [least, most] = costs.map_or([0.0, 1.0], Costs::ends);
            if !(least < limit && limit < most) {
                section
                    .problem("limit", format!("must lie between the least and the greatest cost, {least} and {most}"));
            }
        }
        Some(limit) if measure != Measure::LogLoss && !(0.0 < limit && limit < 1.0) => {
            section.problem("limit", "must lie between 0 and 1");
        }
        _ => {}
    }
    (threshold, limit)
}

/// What decisions cost.
fn costs(section: &Section<'_>, measure: Measure, model: &Model, output: Option<&str>) -> Option<Costs> {
    if measure != Measure::Cost {
        return None;
    }
    let costs = model.outputs.iter().find(|own| Some(own.name.as_str()) == output).and_then(|own| own.costs);
    if costs.is_none_or(|costs| costs.ends()[0] >= costs.ends()[1]) {
        section.problem("output", "has to name an output with `costs` that differ; the measure \"cost\" is their mean");
        return None;
    }
    costs
}

fn feature(section: &Section<'_>, measure: Measure, model: &Model) -> Option<String> {
    let feature = section.string("feature");
    match (measure.is_of_feature(), &feature) {
        (true, None) => section.problem("feature", format!("is missing; {measure} is about one")),
        (true, Some(name)) if !model.features.iter().any(|feature| feature.name == *name) => {
            section.problem("feature", format!("{name:?} is no feature of this model"));
        }
        (false, Some(_)) => section.problem("feature", format!("has no meaning for {measure}; remove it")),
        _ => {}
    }
    feature
}

/// How it is watched, and a chart's run length.
fn method(section: &Section<'_>, measure: Measure, limit: Option<f64>) -> (Method, Option<f64>) {
    let method = section.choice(
        "method",
        Method::Evidence,
        &[("evidence", Method::Evidence), ("cusum", Method::Cusum), ("ewma", Method::Ewma)],
    );
    let run_length = section.number("run_length");
    match (method, run_length) {
        (Method::Evidence, Some(_)) => {
            section.problem("run_length", "has no meaning for evidence, whose budget stands in [alarms]; remove it");
        }
        (_, Some(days)) if !(10.0..=1e6).contains(&days) => section.problem("run_length", "must be 10 to 1000000 days"),
        (Method::Cusum | Method::Ewma, _) if !measure.has_limit() => {
            section.problem("method", format!("a chart needs a mean, and {measure} has none; remove it"));
        }
        (Method::Cusum | Method::Ewma, _) if limit.is_some() => {
            section.problem("limit", "has no meaning for a chart, which knows the reference's mean and deviation");
        }
        _ => {}
    }
    (method, run_length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Plan, parse};

    fn check(model: &str, watch: &str) -> Result<Plan, String> {
        let text = include_str!("../../../config/minimal.toml");
        let watch = format!("{model}\n[[model.watch]]\nname = \"own\"\n{watch}\n[[source]]");
        let parsed = parse(&text.replacen("[[source]]", &watch, 1), std::path::Path::new(""), &|_| None);
        parsed.map(|(plan, _)| plan).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    fn read(watch: &str) -> Watch {
        check("", watch).expect("valid").models[0].watches[0].clone()
    }

    const AT: &str = "threshold = 0.5\n";

    #[test]
    fn sides_have_the_words_of_their_measure() {
        let side = |measure: &str, side: &str| check("", &format!("measure = \"{measure}\"\n{AT}side = \"{side}\""));
        let own = |plan: Result<Plan, String>| plan.expect("valid").models[0].watches[0].side;
        assert_eq!(own(side("sensitivity", "worse")), Side::Up);
        assert_eq!(own(side("sensitivity", "better")), Side::Down);
        assert_eq!(own(side("alert_rate", "down")), Side::Down);
        assert_eq!(own(side("ppv", "both")), Side::Both);
        assert_eq!(read("measure = \"calibration\"").side, Side::Both);
        assert_eq!(read("measure = \"auroc\"").side, Side::Up);
        assert!(side("sensitivity", "down").is_err_and(|why| why.contains("\"worse\", \"better\", \"both\"")));
        assert!(check("", "measure = \"score_drift\"\nside = \"both\"").is_err_and(|why| why.contains("any way")));
        let contract = check("", &format!("measure = \"error\"\n{AT}limit = 0.1\nside = \"both\""));
        assert!(contract.is_err_and(|why| why.contains("a contract has one side; write side = \"worse\"")));
        let chart =
            check("", &format!("measure = \"error\"\n{AT}method = \"cusum\"\nside = \"both\"\ntier = \"watch\""));
        let why = chart.expect_err("two mistakes");
        assert!(why.contains("a chart watches one way") && why.contains("judged by its own limit"), "{why}");
    }

    #[test]
    fn versions_are_compared_by_means_over_the_same_cases() {
        let watch = read(&format!("measure = \"error\"\n{AT}against = \"1.0\""));
        assert_eq!((watch.against.as_deref(), watch.unit), (Some("1.0"), Unit::Case));
        for (rest, wanted) in [
            ("measure = \"auroc\"", "no mean over the same cases"),
            ("measure = \"ppv\"\nthreshold = 0.5", "no mean over the same cases"),
            ("measure = \"brier\"\nunit = \"subject\"", "beside `against`"),
            ("measure = \"brier\"\nlimit = 0.1", "its tolerance says how much"),
            ("measure = \"brier\"\nmethod = \"ewma\"", "a chart knows no pairs"),
        ] {
            let why = check("", &format!("{rest}\nagainst = \"1.0\"")).expect_err("a mistake");
            assert!(why.contains(wanted), "{wanted} not in {why}");
        }
    }

    #[test]
    fn what_a_model_has_not_cannot_be_watched() {
        assert!(check("", "measure = \"embedding_drift\"").is_err_and(|why| why.contains("[model.embedding]")));
        let features = "\n[[model.feature]]\nname = \"scanner\"\nkind = \"categorical\"\n";
        let plan = check(features, "measure = \"feature_drift\"\nfeature = \"scanner\"").expect("valid");
        assert!(plan.models[0].watches[0].categorical);
        let missing = check(features, "measure = \"feature_missing\"\nfeature = \"scanner\"\nunit = \"subject\"");
        assert!(missing.is_err_and(|why| why.contains("feature_missing")));
        assert!(
            check("", "measure = \"feature_drift\"\nfeature = \"age\"").is_err_and(|why| why.contains("no feature"))
        );
    }
}
