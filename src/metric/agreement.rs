//! How readers agree beyond chance.

use super::{interval, real};
use crate::domain::{Estimate, MetricKey, Outcome, Undefined};
use crate::stats::interval::wald;
use crate::stats::special::Z_95;
use crate::summary::agreement::{Agreement, Couple, OPINIONS};

/// Every metric of the readers of one finding.
#[must_use]
pub fn evaluate(agreement: &Agreement) -> Vec<(MetricKey, Outcome)> {
    let cases = agreement.cases();
    let defined = if cases == 0 { Err(Undefined::NoSecondReader) } else { Ok(Table::of(agreement)) };
    let read = |of: &dyn Fn(&Table) -> Option<f64>| {
        let table = defined.as_ref().map_err(Clone::clone)?;
        of(table).map(|value| Estimate::exact(value, cases)).ok_or(Undefined::NoVariation)
    };
    let answers = [
        ("read_twice", Ok(Estimate::exact(real(cases), cases))),
        ("reader_agreement", read(&|table| Some(table.observed()))),
        ("krippendorff_alpha", read(&Table::krippendorff)),
        ("fleiss_kappa", read(&Table::fleiss)),
        ("gwet_ac1", read(&Table::gwet)),
        ("cohen_kappa", cohen(agreement)),
    ];
    answers.into_iter().map(|(name, outcome)| (MetricKey::plain(name), outcome)).collect()
}

/// Shares over the cases that were read more than once.
struct Table {
    /// Cases.
    cases: f64,
    /// Mean share of a case's opinions by kind.
    shares: [f64; OPINIONS],
    /// Mean share of a case's pairs of readers that agree.
    agreeing: f64,
    /// Krippendorff's coincidences: each case counts as many as it has readers.
    coincidences: [[f64; OPINIONS]; OPINIONS],
}

impl Table {
    fn of(agreement: &Agreement) -> Self {
        let cases = real(agreement.cases());
        let mut table =
            Self { cases, shares: [0.0; OPINIONS], agreeing: 0.0, coincidences: [[0.0; OPINIONS]; OPINIONS] };
        for (readers, readings) in &agreement.by_readers {
            let m = f64::from(*readers);
            for c in 0..OPINIONS {
                table.shares[c] += real(readings.opinions[c]) / m / cases;
                table.agreeing += real(readings.pairs[c][c]) / (m * (m - 1.0)) / cases;
                for k in 0..OPINIONS {
                    table.coincidences[c][k] += real(readings.pairs[c][k]) / (m - 1.0);
                }
            }
        }
        table
    }

    fn observed(&self) -> f64 {
        self.agreeing
    }

    /// Chance-corrected agreement; `None` when chance alone would agree always.
    fn corrected(&self, chance: f64) -> Option<f64> {
        (chance < 1.0 - 1e-15).then(|| (self.agreeing - chance) / (1.0 - chance))
    }

    /// Krippendorff's alpha for nominal values, `1 - D_o / D_e` (Krippendorff 2011).
    fn krippendorff(&self) -> Option<f64> {
        let margins: Vec<f64> = self.coincidences.iter().map(|row| row.iter().sum()).collect();
        let n: f64 = margins.iter().sum();
        let agreeing: f64 = (0..OPINIONS).map(|c| self.coincidences[c][c]).sum();
        let expected: f64 = margins.iter().map(|margin| margin * (margin - 1.0)).sum();
        let (observed, by_chance) = (n - agreeing, n * (n - 1.0) - expected);
        (by_chance > 0.0).then(|| 1.0 - (n - 1.0) * observed / by_chance)
    }

    /// Fleiss's kappa (1971), for cases with different numbers of readers too.
    fn fleiss(&self) -> Option<f64> {
        self.corrected(self.shares.iter().map(|share| share * share).sum())
    }

    /// Gwet's first coefficient (2008): it does not collapse when nearly all cases are negative. Over the two opinions or,
    /// where readers were ever uncertain, over three.
    fn gwet(&self) -> Option<f64> {
        let kinds = if self.shares[1] > 0.0 { 3.0 } else { 2.0 };
        if self.cases < 1.0 {
            return None;
        }
        self.corrected(self.shares.iter().map(|share| share * (1.0 - share)).sum::<f64>() / (kinds - 1.0))
    }
}

/// Cohen's kappa (1960) of the only two readers, with the standard error of Fleiss, Cohen and Everitt (1969).
fn cohen(agreement: &Agreement) -> Outcome {
    let mut couples = agreement.couples.values();
    let table: &Couple = match (couples.next(), couples.next()) {
        (None, _) => return Err(Undefined::NoSecondReader),
        (Some(_), Some(_)) => return Err(Undefined::ManyReaders { couples: agreement.couples.len() as u64 }),
        (Some(table), None) => table,
    };
    let n = table.iter().flatten().sum::<u64>();
    let share = |c: usize, k: usize| real(table[c][k]) / real(n);
    let row = |c: usize| (0..OPINIONS).map(|k| share(c, k)).sum::<f64>();
    let column = |k: usize| (0..OPINIONS).map(|c| share(c, k)).sum::<f64>();
    let observed: f64 = (0..OPINIONS).map(|c| share(c, c)).sum();
    let chance: f64 = (0..OPINIONS).map(|c| row(c) * column(c)).sum();
    if chance > 1.0 - 1e-15 {
        return Err(Undefined::NoVariation);
    }
    let kappa = (observed - chance) / (1.0 - chance);
    let rest = 1.0 - kappa;
    let square = |x: f64| x * x;
    let agreeing: f64 = (0..OPINIONS).map(|c| share(c, c) * square(1.0 - (row(c) + column(c)) * rest)).sum();
    let pairs = (0..OPINIONS).flat_map(|c| (0..OPINIONS).map(move |k| (c, k))).filter(|(c, k)| c != k);
    let differing: f64 = pairs.map(|(c, k)| share(c, k) * square(column(c) + row(k))).sum();
    let variance =
        (agreeing + rest * rest * differing - square(kappa - chance * rest)) / (square(1.0 - chance) * real(n));
    let standard_error = libm::sqrt(variance.max(0.0));
    Ok(Estimate {
        interval: interval(wald(kappa, standard_error, Z_95), "fleiss-cohen-everitt"),
        standard_error: Some(standard_error),
        ..Estimate::exact(kappa, n)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Opinion;

    /// Cases as texts of opinions, one letter a reader: - ? +, a blank for a reader who has not read it.
    fn agreement(cases: &[&str]) -> Agreement {
        let mut agreement = Agreement::default();
        for case in cases {
            let opinions = case.chars().zip('a'..).filter_map(|(letter, reader)| {
                let opinion = match letter {
                    '-' => Opinion::Negative,
                    '?' => Opinion::Uncertain,
                    '+' => Opinion::Positive,
                    _ => return None,
                };
                Some((reader.to_string(), opinion))
            });
            agreement.add(&opinions.collect::<Vec<_>>());
        }
        agreement
    }

    fn value(agreement: &Agreement, name: &str) -> f64 {
        let answers = evaluate(agreement);
        let (_, outcome) = answers.iter().find(|(key, _)| key.name == name).expect("answered");
        outcome.as_ref().unwrap_or_else(|why| panic!("{name}: {why}")).value
    }

    /// Golden: `scripts/parity/agreement.py` (statsmodels, krippendorff, scikit-learn).
    #[test]
    fn every_coefficient_is_that_of_the_fields_own_programs() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/golden/agreement.json")).expect("JSON");
        for case in golden["cases"].as_array().expect("cases") {
            let readings: Vec<&str> = case["readings"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|text| text.as_str().expect("a text"))
                .collect();
            let agreement = agreement(&readings);
            for (name, expected) in case["values"].as_object().expect("values") {
                let (actual, expected) = (value(&agreement, name), expected.as_f64().expect("a number"));
                assert!((actual - expected).abs() < 1e-12, "{} {name}: {actual} against {expected}", case["name"]);
            }
            if let Some(expected) = case["cohen_standard_error"].as_f64() {
                let estimate = cohen(&agreement).expect("two readers");
                assert!((estimate.standard_error.expect("an error") - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn without_a_second_reader_or_without_variation_there_is_a_reason() {
        assert_eq!(evaluate(&agreement(&["+", "-"]))[1].1, Err(Undefined::NoSecondReader));
        let same = agreement(&["--", "--"]);
        assert_eq!(evaluate(&same)[2].1, Err(Undefined::NoVariation));
        assert!((value(&same, "reader_agreement") - 1.0).abs() < 1e-12);
        assert!((value(&same, "gwet_ac1") - 1.0).abs() < 1e-12, "it does not collapse");
    }
}
