//! The promises of the alarm engine, by simulation: false alarms, a fleet's budget, delays, days that hang together; and of whole
//! watches with their references and weekends, as a user gets them.
//!
//! `make alarms` runs them at full size and prints the figures of docs/alarms.md; `make test` at a tenth of it.

use chrono::{DateTime, TimeDelta, Utc};
use dosimeter::config::{Budget, Measure, Side, Unit, Watch};
use dosimeter::detect::bets::Bank;
use dosimeter::detect::budget::{alone, threshold, watched};
use dosimeter::detect::day::{Day, Mean};
use dosimeter::detect::detector::Detector;
use dosimeter::detect::loss::{Loss, Way};
use dosimeter::detect::null_value::{Margin, of_reference};
use dosimeter::detect::sealing::{Buckets, Days};
use dosimeter::detect::stream::Stream;
use dosimeter::stats::channel::{self, Scale};
use dosimeter::stats::resample::{Binomial, normal};
use dosimeter::stats::special::{logit, sigmoid};
use dosimeter::stats::spectrum::{Class, Spectrum};
use dosimeter::summary::sealed::{Pair, Sealed, grouped};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Thresholds of one stream with a tenth of a false alarm a year.
const C: f64 = 3650.0;
const YEAR: u32 = 365;

/// How far apart positives and negatives lie for an area of .90.
const AREA_90: f64 = 1.812_387_604_873_6;

/// How often a simulation is repeated.
fn repeats(full: u32) -> u32 {
    if std::env::var_os("DOSIMETER_ALARMS").is_some() { full } else { full / 10 }
}

fn seed() -> u64 {
    std::env::var("DOSIMETER_ALARMS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_124)
}

fn day(at: u32) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(at.into())
}

fn rng(stream: u32) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed());
    rng.set_stream(stream.into());
    rng
}

/// Two hundred cases, fifteen in a hundred positive, of which the model misses a share.
fn missed(rng: &mut ChaCha8Rng, rate: f64) -> Spectrum {
    let positives = Binomial::new(200, 0.15).draw(rng);
    let missed = if positives > 0 { Binomial::new(positives, rate).draw(rng) } else { 0 };
    let at = |p: f64, n: u64| (channel::key(p), Class::Positive, n);
    Spectrum::from_cells(Scale::Probability, vec![at(0.2, missed), at(0.8, positives - missed)])
}

/// The same with binormal scores: the area under the curve is `Phi(shift / sqrt 2)`.
fn binormal(rng: &mut ChaCha8Rng, shift: f64) -> Spectrum {
    binormal_of(rng, 200, shift)
}

fn binormal_of(rng: &mut ChaCha8Rng, cases: u32, shift: f64) -> Spectrum {
    let row = |_| {
        let positive = rng.random_bool(0.15);
        let score = sigmoid(normal(rng) + if positive { shift } else { 0.0 });
        (channel::key(score), if positive { Class::Positive } else { Class::Negative }, 1)
    };
    Spectrum::from_cells(Scale::Probability, (0..cases).map(row).collect())
}

/// Scores whose log odds are off by `shift` from the truth's.
fn calibrated(rng: &mut ChaCha8Rng, shift: f64) -> Spectrum {
    let row = |_| {
        let odds = -2.2 + 1.2 * normal(rng);
        let positive = rng.random_bool(sigmoid(odds + shift));
        (channel::key(sigmoid(odds)), if positive { Class::Positive } else { Class::Negative }, 1)
    };
    Spectrum::from_cells(Scale::Probability, (0..200).map(row).collect())
}

fn scores(rng: &mut ChaCha8Rng, n: u32, shift: f64) -> Spectrum {
    let row = |_| (channel::key(sigmoid(normal(rng) + shift)), Class::Unlabelled, 1);
    Spectrum::from_cells(Scale::Probability, (0..n).map(row).collect())
}

/// Bets on drift from a reference of twenty-five days of two hundred cases.
fn drift_bank(rng: &mut ChaCha8Rng) -> Bank {
    let days: Vec<Spectrum> = (0..25).map(|_| scores(rng, 200, 0.0)).collect();
    Bank::of_drift(&days.iter().map(Day::from).collect::<Vec<_>>(), (0.05, 0.0), Unit::Case).expect("a reference")
}

/// Alarms of one stream over so many days, with resets.
fn alarms(bank: &Bank, c: f64, days: u32, mut of_day: impl FnMut(u32) -> Spectrum) -> Vec<u32> {
    let mut detector = Detector::new(bank.bets());
    let mut alarms = Vec::new();
    for at in 0..days {
        let Some(increments) = bank.increments(&at.to_string(), &of_day(at)) else { continue };
        if detector.take(day(at), &increments).log >= c.ln() {
            alarms.push(at);
            detector.reset();
        }
    }
    alarms
}

/// How often the 95 % bound of an area by blocks lies on the right side of it, by the size of the reference.
#[test]
fn the_bound_of_an_area_by_blocks_holds_about_as_often_as_it_says() {
    let margin = Margin { confidence: 0.95, tolerance: 0.0 };
    for (cases, days) in [(10, 60), (20, 60), (40, 60), (200, 60)] {
        let runs = repeats(2000);
        let holds = |run: u32| {
            let mut rng = rng(run);
            let spectra: Vec<Spectrum> = (0..days).map(|_| binormal_of(&mut rng, cases, AREA_90)).collect();
            let own: Vec<Day<'_>> = spectra.iter().map(Day::from).collect();
            let null = of_reference(Mean::AREA, (Days::All, &own), (Unit::Case, margin), None).expect("a bound");
            null.limit <= 0.9
        };
        let share = (0..runs).into_par_iter().filter(|run| holds(*run)).count() as f64 / f64::from(runs);
        let positives = f64::from(cases * days) * 0.15;
        println!("AUROC .90, a reference of {positives} positives: the 95 % bound holds in {share:.3} of {runs}");
        assert!(share >= 0.91 - 3.0 * (0.91 * 0.09 / f64::from(runs)).sqrt(), "{positives}: {share}");
    }
}

/// The share of years with an alarm and the mean number of alarms a year.
fn quiet_years(name: &str, years: u32, bound: f64, of_year: impl Fn(u32) -> usize + Sync + Send) {
    let counts: Vec<usize> = (0..years).into_par_iter().map(of_year).collect();
    let n = f64::from(years);
    let share = counts.iter().filter(|count| **count > 0).count() as f64 / n;
    let mean = counts.iter().sum::<usize>() as f64 / n;
    println!(
        "{name}: an alarm in {share:.4} of {years} quiet years, {mean:.4} alarms a year (promised: at most {bound})"
    );
    assert!(share <= bound + 3.0 * (bound * (1.0 - bound) / n).sqrt(), "{name}: {share}");
    assert!(mean <= bound + 3.0 * (bound / n).sqrt(), "{name}: {mean}");
}

/// The median number of days from a change on day 60 to the first alarm.
fn delay(name: &str, runs: u32, at_most: f64, of_run: impl Fn(u32) -> Vec<u32> + Sync + Send) {
    const CHANGE: u32 = 60;
    let delays: Vec<Option<u32>> = (0..runs)
        .into_par_iter()
        .filter_map(|run| {
            let alarms = of_run(run);
            let is_early = alarms.first().is_some_and(|at| *at < CHANGE);
            (!is_early).then(|| alarms.first().map(|at| at - CHANGE + 1))
        })
        .collect();
    let mut found: Vec<u32> = delays.iter().map(|delay| delay.unwrap_or(u32::MAX)).collect();
    found.sort_unstable();
    let quantile = |percent: usize| found[(found.len() - 1) * percent / 100];
    println!("{name}: median {} days, nine of ten within {} ({} runs)", quantile(50), quantile(90), found.len());
    assert!(f64::from(quantile(50)) <= at_most, "{name}: {}", quantile(50));
}

#[test]
fn a_quiet_year_keeps_the_promise() {
    let bank = Bank::of_counts(Mean::of(Loss::Missed(0.5)), 0.1);
    quiet_years("sensitivity .90", repeats(20_000), 0.1, |year| {
        let mut rng = rng(year);
        alarms(&bank, C, YEAR, |_| missed(&mut rng, 0.1)).len()
    });
    let shift = AREA_90;
    quiet_years("AUROC .90 by blocks", repeats(1000), 0.1, |year| {
        let bank = Bank::of_area(Way::Rise, 0.1, (Unit::Case, 0.05), &year.to_string());
        let mut rng = rng(100_000 + year);
        alarms(&bank, C, YEAR, |_| binormal(&mut rng, shift)).len()
    });
    for tolerance in [0.0, 0.1] {
        let bank = Bank::of_calibration(Side::Both, tolerance, Unit::Case);
        quiet_years(&format!("calibration, tolerance {tolerance}"), repeats(1000), 0.1, |year| {
            let mut rng = rng(200_000 + year);
            alarms(&bank, C, YEAR, |_| calibrated(&mut rng, 0.0)).len()
        });
    }
    quiet_years("drift of scores, reference of 5,000", repeats(300), 0.15, |year| {
        let mut rng = rng(300_000 + year);
        let bank = drift_bank(&mut rng);
        alarms(&bank, C, YEAR, |_| scores(&mut rng, 200, 0.0)).len()
    });
}

#[test]
fn a_fleet_keeps_its_budget() {
    // A hundred streams that share nine tenths of their days' luck.
    let bank = Bank::of_counts(Mean::of(Loss::Missed(0.5)), 0.1);
    let c = threshold(1.0, 0.01);
    let fleet = |year: u32| -> usize {
        let mut rngs: Vec<ChaCha8Rng> = (0..100).map(|stream| rng(1_000_000 + year * 100 + stream)).collect();
        let mut shared = rng(5_000_000 + year);
        let mut detectors = vec![Detector::new(bank.bets()); 100];
        let mut count = 0;
        for at in 0..YEAR {
            let common = missed(&mut shared, 0.1);
            for (detector, own) in detectors.iter_mut().zip(&mut rngs) {
                let spectrum = if own.random_bool(0.9) { common.clone() } else { missed(own, 0.1) };
                let Some(increments) = bank.increments("", &spectrum) else { continue };
                if detector.take(day(at), &increments).log >= c.ln() {
                    count += 1;
                    detector.reset();
                }
            }
        }
        count
    };
    let years = repeats(200);
    let counts: Vec<usize> = (0..years).into_par_iter().map(fleet).collect();
    let mean = counts.iter().sum::<usize>() as f64 / f64::from(years);
    let square = counts.iter().map(|count| (*count as f64 - mean).powi(2)).sum::<f64>() / f64::from(years);
    let error = (square / f64::from(years)).sqrt();
    println!(
        "fleet of 100 streams, budget of one page a year: {mean:.3} pages a year (standard error {error:.3}, {years} years)"
    );
    assert!(mean <= 1.0 + 3.0 * error.max(0.1), "{mean}");
}

#[test]
fn changes_are_found_in_time() {
    let bank = Bank::of_counts(Mean::of(Loss::Missed(0.5)), 0.1);
    let sensitivity = |name: &str, bank: &Bank, c: f64, after: f64, at_most: f64| {
        delay(name, repeats(5000), at_most, |run| {
            let mut rng = rng(10_000_000 + run);
            alarms(bank, c, 300, |at| missed(&mut rng, if at < 60 { 0.1 } else { after }))
        });
    };
    sensitivity("sensitivity .90 to .80", &bank, C, 0.2, 8.0);
    sensitivity("sensitivity .90 to .85", &bank, C, 0.15, 25.0);
    sensitivity("sensitivity .90 to .80 in a fleet of 100", &bank, 36_500.0, 0.2, 12.0);
    let means = Bank::of_means(Mean::of(Loss::Missed(0.5)), 0.1, 0.003, Unit::Cluster);
    sensitivity("sensitivity .90 to .80, days as units", &means, C, 0.2, 18.0);
    let root = 2.0_f64.sqrt();
    let (before, after) = (AREA_90, root * 1.036_433_389_494);
    delay("AUROC .90 to .85 by blocks", repeats(600), 9.0, |run| {
        let bank = Bank::of_area(Way::Rise, 0.1, (Unit::Case, 0.05), &run.to_string());
        let mut rng = rng(20_000_000 + run);
        alarms(&bank, C, 200, |at| binormal(&mut rng, if at < 60 { before } else { after }))
    });
    let bank = Bank::of_calibration(Side::Both, 0.0, Unit::Case);
    delay("calibration off by half a unit of log odds", repeats(600), 6.0, |run| {
        let mut rng = rng(30_000_000 + run);
        alarms(&bank, C, 200, |at| calibrated(&mut rng, if at < 60 { 0.0 } else { 0.5 }))
    });
    delay("scores moved by a fifth of a deviation, reference of 5,000", repeats(300), 7.0, |run| {
        let mut rng = rng(40_000_000 + run);
        let bank = drift_bank(&mut rng);
        alarms(&bank, C, 200, |at| scores(&mut rng, 200, if at < 60 { 0.0 } else { 0.2 }))
    });
}

#[test]
fn days_that_hang_together_break_case_units_and_not_cluster_units() {
    // Intraclass correlation .05: a day's rate is beta distributed about .1; drawn by a logistic normal of about that spread.
    let rate = |rng: &mut ChaCha8Rng| sigmoid(logit(0.0917) + 0.74 * normal(rng)).min(0.9);
    let mut mean = 0.0;
    let mut draws = rng(1);
    for _ in 0..100_000 {
        mean += rate(&mut draws) / 100_000.0;
    }
    assert!(mean <= 0.1 * 1.3, "{mean}");
    let scale = 0.1 / mean;
    let of_units = |bank: Bank, stream: u32| {
        move |year: u32| {
            let mut rng = rng(stream + year);
            alarms(&bank, C, YEAR, |_| {
                let rate = rate(&mut rng) * scale;
                missed(&mut rng, rate)
            })
            .len()
        }
    };
    let years = repeats(2000);
    let days = Bank::of_means(Mean::of(Loss::Missed(0.5)), 0.1, 0.007, Unit::Cluster);
    quiet_years("sensitivity with days that hang together, days as units", years, 0.1, of_units(days, 50_000_000));
    let cases = of_units(Bank::of_counts(Mean::of(Loss::Missed(0.5)), 0.1), 60_000_000);
    let broken = (0..years).into_par_iter().filter(|year| cases(*year) > 0).count();
    println!(
        "the same with cases as units: an alarm in {:.3} of the years",
        f64::from(u32::try_from(broken).expect("few")) / f64::from(years)
    );
    assert!(broken > years as usize / 2, "the assumption check is there for a reason");
}

/// A watch as a plan has it that says no more than its measure.
fn watch(measure: Measure) -> Watch {
    Watch { threshold: measure.has_threshold().then_some(0.5), maturity_days: 7, ..Watch::plain(measure) }
}

/// A department's days from a Monday on: working days of two hundred cases, weekends of sixty that are harder. `change` is when what
/// the model does gets worse by `by`.
fn department(rng: &mut ChaCha8Rng, measure: Measure, days: u32, change: u32, by: f64) -> Buckets {
    let mut sealed = |at: u32| {
        let weekend = at % 7 >= 5;
        let n = if weekend { 60 } else { 200 };
        let worse = if at >= change { by } else { 0.0 };
        let row = |rng: &mut ChaCha8Rng| {
            let positive = rng.random_bool(0.15);
            match measure {
                Measure::Sensitivity => {
                    let missed = rng.random_bool(if weekend { 0.2 } else { 0.1 } + worse);
                    (if missed { 0.2 } else { 0.8 }, positive)
                }
                Measure::Calibration => {
                    let odds = -2.2 + 1.2 * normal(rng);
                    (sigmoid(odds), rng.random_bool(sigmoid(odds + worse)))
                }
                Measure::ScoreDrift => (sigmoid(normal(rng) + if weekend { 0.3 } else { 0.0 } + worse), positive),
                _ => {
                    let shift = if weekend { 1.5 } else { 1.812 } - worse;
                    (sigmoid(normal(rng) + if positive { shift } else { 0.0 }), positive)
                }
            }
        };
        let cells = (0..n).map(|_| {
            let (score, positive) = row(rng);
            (channel::key(score), if positive { Class::Positive } else { Class::Negative }, 1)
        });
        Sealed::of(Spectrum::from_cells(Scale::Probability, cells.collect()), n, n)
    };
    // The first of January 1970 was a Thursday, the fifth a Monday; a lag of a week keeps the kind of day.
    (0..days).map(|at| (day(at + 4), sealed(at))).collect()
}

/// A watch with a reference of `weeks` and what follows: alarms as days after the change.
fn alarms_of_watch(rng: &mut ChaCha8Rng, watch: &Watch, weeks: u32, days: u32, change: u32, by: f64) -> Vec<u32> {
    let reference = department(rng, watch.measure, weeks * 7, u32::MAX, 0.0);
    let stream = Stream::new(watch, ("w", watch.maturity_days), &reference, 0.95).expect("a reference");
    let history = department(rng, watch.measure, days, change, by);
    let threshold = threshold(0.1, 1.0);
    let alarms = stream.replay(&history, threshold).alarms;
    alarms.iter().map(|alarm| u32::try_from((alarm.bucket - day(4)).num_days()).expect("days")).collect()
}

/// What a user gets who writes no more than a measure: days as units, a reference of twelve weeks, weekends that are smaller and harder.
/// A tenth of a false alarm a year, and null values that hold with 95 %.
#[test]
fn watches_as_they_come_keep_their_promise_with_weekends() {
    for (at, measure) in (1..).zip([Measure::Sensitivity, Measure::Auroc, Measure::Calibration, Measure::ScoreDrift]) {
        let years = repeats(if measure == Measure::Auroc { 300 } else { 600 });
        quiet_years(&format!("{measure}, as it comes, with weekends"), years, 0.15, |year| {
            let mut rng = rng(70_000_000 + at * 1_000_000 + year);
            alarms_of_watch(&mut rng, &watch(measure), 12, YEAR - 1, u32::MAX, 0.0).len()
        });
    }
}

#[test]
fn watches_as_they_come_find_changes() {
    let found = |name: &str, measure: Measure, by: f64, at_most: f64| {
        delay(&format!("{name}, as it comes"), repeats(300), at_most, |run| {
            let mut rng = rng(80_000_000 + run);
            alarms_of_watch(&mut rng, &watch(measure), 26, 301, 60, by)
        });
    };
    found("sensitivity down by .10", Measure::Sensitivity, 0.10, 30.0);
    found("AUROC .90 to .85", Measure::Auroc, 0.346, 30.0);
    found("calibration off by a unit of log odds", Measure::Calibration, 1.0, 60.0);
    found("scores moved by half a deviation", Measure::ScoreDrift, 0.5, 60.0);
}

/// Both ways of a sensitivity and of an area of .90, each with half of the budget.
fn either_way() -> (Bank, Bank) {
    let missed = Mean::of(Loss::Missed(0.5));
    let both = |up: Bank, down: Bank| Bank::Both { up: Box::new(up), down: Box::new(down) };
    let area = |way: Way, m0: f64| Bank::of_area(way, m0, (Unit::Case, 0.05), "both");
    (
        both(Bank::of_counts(missed, 0.1), Bank::of_counts(missed.turned(), 0.9)),
        both(area(Way::Rise, 0.1), area(Way::Fall, 0.9)),
    )
}

#[test]
fn two_sides_share_one_budget_and_an_improvement_is_found() {
    let (sensitivity, area) = either_way();
    quiet_years("sensitivity .90 both ways", repeats(5000), 0.1, |year| {
        let mut rng = rng(90_000_000 + year);
        alarms(&sensitivity, C, YEAR, |_| missed(&mut rng, 0.1)).len()
    });
    let shift = AREA_90;
    quiet_years("AUROC .90 both ways", repeats(300), 0.1, |year| {
        let mut rng = rng(91_000_000 + year);
        alarms(&area, C, YEAR, |_| binormal(&mut rng, shift)).len()
    });
    for (name, after, at_most) in [("down to .80", 0.2, 9.0), ("up to .97", 0.03, 20.0)] {
        delay(&format!("sensitivity .90 {name}, both ways watched"), repeats(1000), at_most, |run| {
            let mut rng = rng(92_000_000 + run);
            alarms(&sensitivity, C, 300, |at| missed(&mut rng, if at < 60 { 0.1 } else { after }))
        });
    }
    // Phi(2.3262 / sqrt 2) is .95.
    delay("AUROC .90 up to .95, both ways watched", repeats(300), 14.0, |run| {
        let mut rng = rng(93_000_000 + run);
        alarms(&area, C, 300, |at| binormal(&mut rng, if at < 60 { shift } else { 2.326_174_307_6 }))
    });
}

/// Two hundred cases of a day by categories with these shares.
fn categories(rng: &mut ChaCha8Rng, shares: [f64; 5]) -> Spectrum {
    let mut left = 200;
    let mut below = 1.0;
    let cells = (1..).zip(shares).map(|(key, share)| {
        let part = if share >= below { 1.0 } else { share / below };
        let n = if left > 0 { Binomial::new(left, part).draw(rng) } else { 0 };
        left -= n;
        below -= share;
        (key, Class::Unlabelled, n)
    });
    Spectrum::from_cells(Scale::Probability, cells.collect())
}

#[test]
fn shares_of_categories_keep_the_budget_and_are_found() {
    let usual = [0.5, 0.3, 0.15, 0.045, 0.005];
    let bank = |rng: &mut ChaCha8Rng| {
        let days: Vec<Spectrum> = (0..25).map(|_| categories(rng, usual)).collect();
        let days: Vec<Day<'_>> = days.iter().map(Day::from).collect();
        Bank::of_categories(&days, (0.05, 0.0), Unit::Case).expect("a reference")
    };
    quiet_years("shares of five categories, a reference of 5,000", repeats(300), 0.15, |year| {
        let mut rng = rng(94_000_000 + year);
        let bank = bank(&mut rng);
        alarms(&bank, C, YEAR, |_| categories(&mut rng, usual)).len()
    });
    for (name, moved, at_most) in [
        ("a share of .30 grows to .40", [0.4, 0.3, 0.25, 0.045, 0.005], 12.0),
        ("a new category has one case in thirty", [0.48, 0.29, 0.145, 0.047, 0.038], 12.0),
    ] {
        delay(name, repeats(300), at_most, |run| {
            let mut rng = rng(95_000_000 + run);
            let bank = bank(&mut rng);
            alarms(&bank, C, 200, |at| categories(&mut rng, if at < 60 { usual } else { moved }))
        });
    }
}

#[test]
fn two_versions_are_compared_on_the_same_cases() {
    let bank = Bank::of_pairs(Mean { paired: true, ..Mean::of(Loss::Error(0.5)) }, 0.5, Unit::Case);
    // Two hundred cases a day, about some of which one version alone is wrong.
    let run = |rng: &mut ChaCha8Rng, days: u32, of_day: &dyn Fn(u32) -> [f64; 2]| -> Vec<u32> {
        let nothing = Spectrum::default();
        let mut detector = Detector::new(bank.bets());
        let mut alarms = Vec::new();
        for at in 0..days {
            let [worse, better] = of_day(at);
            let pairs: Vec<Pair> = (0..200)
                .map(|_| {
                    let draw = rng.random::<f64>();
                    let (own, other) = if draw < worse {
                        (0.2, 0.8)
                    } else if draw < worse + better {
                        (0.8, 0.2)
                    } else {
                        (0.8, 0.9)
                    };
                    Pair { own: channel::key(own), other: channel::key(other), class: Class::Positive }
                })
                .collect();
            let day_of_pairs = Day { pairs: &pairs, ..Day::from(&nothing) };
            let increments = bank.increments("", day_of_pairs).expect("pairs");
            if detector.take(day(at), &increments).log >= C.ln() {
                alarms.push(at);
                detector.reset();
            }
        }
        alarms
    };
    quiet_years("two versions that are equally good", repeats(1000), 0.1, |year| {
        run(&mut rng(96_000_000 + year), YEAR, &|_| [0.03, 0.03]).len()
    });
    delay("a version comes to be wrong about .03 more", repeats(300), 14.0, |year| {
        run(&mut rng(97_000_000 + year), 300, &|at| if at < 60 { [0.03, 0.03] } else { [0.055, 0.025] })
    });
}

#[test]
fn many_images_of_one_patient_count_once() {
    let mean = Mean::of(Loss::Missed(0.5));
    // Sixteen patients a day with one to five images, of which all are missed or none.
    let of_unit = |bank: Bank, stream: u32, after: f64| {
        move |year: u32| -> Vec<u32> {
            let mut rng = rng(stream + year);
            let mut detector = Detector::new(bank.bets());
            let mut alarms = Vec::new();
            for at in 0..YEAR {
                let rate = if at < 60 { 0.1 } else { after };
                let subjects: Vec<Vec<(u64, Class, u64)>> = (0..16)
                    .map(|_| {
                        let score = if rng.random_bool(rate) { 0.2 } else { 0.8 };
                        vec![(channel::key(score), Class::Positive, 1); rng.random_range(1..=5)]
                    })
                    .collect();
                let spectrum = Spectrum::from_cells(Scale::Probability, subjects.concat());
                let subjects = grouped(Scale::Probability, subjects.into_iter());
                let own = Day { subjects: &subjects, ..Day::from(&spectrum) };
                let increments = bank.increments("", own).expect("positives");
                if detector.take(day(at), &increments).log >= C.ln() {
                    alarms.push(at);
                    detector.reset();
                }
            }
            alarms
        }
    };
    let subjects = || Bank::of_means(mean, 0.1, 0.09, Unit::Subject);
    let quiet = of_unit(subjects(), 98_000_000, 0.1);
    quiet_years("patients with several images, patients as units", repeats(1000), 0.1, |year| quiet(year).len());
    let years = repeats(1000);
    let cases = of_unit(Bank::of_counts(mean, 0.1), 99_000_000, 0.1);
    let broken = (0..years).into_par_iter().filter(|year| !cases(*year).is_empty()).count();
    println!("the same with images as units: an alarm in {:.3} of the years", broken as f64 / f64::from(years));
    assert!(broken > years as usize / 2, "that is what the unit is for");
    delay("sensitivity .90 to .80, patients as units", repeats(300), 14.0, of_unit(subjects(), 100_000_000, 0.2));
}

/// A hundred quiet streams that share nine tenths of their days' luck: how often is any listed at the end of a year?
#[test]
fn what_is_listed_as_watched_is_seldom_there_in_error() {
    let budget = Budget { pages: 1.0, tickets: 12.0, confidence: 0.95, watched_in_error: 0.1 };
    let bank = Bank::of_counts(Mean::of(Loss::Missed(0.5)), 0.1);
    let most = alone(&budget, 100).ln();
    let year = |(year, decayed): (u32, usize)| -> (usize, usize) {
        let mut rngs: Vec<ChaCha8Rng> = (0..100).map(|stream| rng(2_000_000 + year * 100 + stream)).collect();
        let mut shared = rng(6_000_000 + year);
        let mut detectors = vec![Detector::new(bank.bets()); 100];
        for at in 0..YEAR {
            let common = missed(&mut shared, 0.1);
            for (stream, (detector, own)) in detectors.iter_mut().zip(&mut rngs).enumerate() {
                let rate = if stream < decayed && at >= 340 { 0.2 } else { 0.1 };
                let usual = rate == 0.1 && own.random_bool(0.9);
                let spectrum = if usual { common.clone() } else { missed(own, rate) };
                let Some(increments) = bank.increments("", &spectrum) else { continue };
                let over = detector.take(day(at), &increments).log - most;
                if over > 0.0 {
                    detector.scale((-over).exp());
                }
            }
        }
        let evidence: Vec<f64> = detectors.iter().map(|detector| detector.evidence().log.exp()).collect();
        let listed = watched(&budget, &evidence);
        let count = |streams: &[bool]| streams.iter().filter(|listed| **listed).count();
        (count(&listed[..decayed]), count(&listed[decayed..]))
    };
    let years = repeats(200);
    for decayed in [0, 20] {
        let of_years: Vec<(usize, usize)> = (0..years).into_par_iter().map(|at| year((at, decayed))).collect();
        let share = |(right, wrong): &(usize, usize)| *wrong as f64 / (right + wrong).max(1) as f64;
        let wrong = of_years.iter().map(share).sum::<f64>() / f64::from(years);
        let right = of_years.iter().map(|(right, _)| *right as f64).sum::<f64>() / f64::from(years);
        println!(
            "listed as watched at the end of a year, {decayed} of 100 streams decayed for 25 days: {right:.1} of them, and a share of {wrong:.4} in error"
        );
        assert!(wrong <= 0.1 + 3.0 * (0.09 / f64::from(years)).sqrt(), "{wrong}");
        assert!(right >= 0.8 * decayed as f64, "{right}");
    }
}
