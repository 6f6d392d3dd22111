//! A simulated radiology department: cases, scores, and truth that comes late.
//!
//! Scores follow a binormal model that is calibrated by construction: a signal `x ~ N(+-d/2, 1)` and
//! `logit p = logit prevalence + d x`, so AUROC is `Phi(d / sqrt 2)`. A day depends on the seed and its number alone.

use chrono::{DateTime, Datelike, TimeDelta, Utc, Weekday};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::stats::special::{logit, sigmoid};

/// A finding of the simulated model: its name, its prevalence and the separation of its signal.
const FINDINGS: [(&str, f64, f64); 5] = [
    ("effusion", 0.14, 1.95),
    ("pneumothorax", 0.06, 2.30),
    ("consolidation", 0.09, 1.90),
    ("edema", 0.08, 2.10),
    ("nodule", 0.10, 1.90),
];

/// Sites with their share of the cases, and the vendor of their scanner.
const SITES: [(&str, f64, &str); 3] = [("north", 0.40, "A"), ("south", 0.35, "A"), ("west", 0.25, "B")];

/// A scanner replacement that spoils one finding at one site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// First day of the new scanner, from 0.
    pub day: u32,
    /// Where.
    pub site: &'static str,
    /// Which finding suffers.
    pub finding: &'static str,
    /// The new scanner's vendor.
    pub vendor: &'static str,
}

/// The demo's replacement.
pub const REPLACEMENT: Replacement = Replacement { day: 80, site: "south", finding: "effusion", vendor: "B" };

/// Cases on an ordinary working day of the demo.
pub const CASES_PER_DAY: u32 = 100;

/// The department.
#[derive(Clone, Copy, Debug)]
pub struct Department {
    /// Seed of everything.
    pub seed: u64,
    /// First day.
    pub start: DateTime<Utc>,
    /// Cases on an ordinary working day.
    pub cases_per_day: u32,
    /// What happens to it.
    pub replacement: Replacement,
}

/// One study with its scores and its truth.
#[derive(Clone, Debug)]
pub struct Study {
    /// Its id.
    pub study_uid: String,
    /// Its patient.
    pub patient_id: String,
    /// When the model spoke.
    pub created_at: DateTime<Utc>,
    /// Site, vendor, sex, age, view.
    pub attributes: [String; 5],
    /// Probability by finding.
    pub scores: [f64; 5],
    /// What is said about it later.
    pub statements: Vec<Statement>,
    /// What the model of image quality says, and what is true.
    pub quality: Quality,
}

/// Projections that the model of image quality tells apart.
const PROJECTIONS: [&str; 3] = ["AP", "PA", "lateral"];

/// The projection and the cardiothoracic ratio of one film.
#[derive(Clone, Debug, Default)]
pub struct Quality {
    /// Probability by projection.
    pub scores: [f64; 3],
    /// The predicted ratio.
    pub ratio: f64,
    /// What the model made of the film inside.
    pub embedding: [f64; 4],
    /// The true projection, the measured ratio and when they were noted; of the films that somebody has looked at.
    pub noted: Option<(&'static str, f64, DateTime<Utc>)>,
}

/// One statement of truth.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The study.
    pub study_uid: String,
    /// The finding.
    pub finding: &'static str,
    /// Whether it is present.
    pub present: bool,
    /// Who says so.
    pub reader: &'static str,
    /// final or corrected.
    pub status: &'static str,
    /// When.
    pub observed_at: DateTime<Utc>,
}

impl Department {
    /// The beginning of a day.
    #[must_use]
    pub fn midnight(&self, day: u32) -> DateTime<Utc> {
        self.start + TimeDelta::days(i64::from(day))
    }

    /// The studies of one day, in the order of time. They depend on the seed and the date, and on whether the replacement
    /// has come.
    #[must_use]
    pub fn day(&self, day: u32) -> Vec<Study> {
        let midnight = self.midnight(day);
        let date = u64::from(midnight.num_days_from_ce().unsigned_abs());
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed.wrapping_mul(1_000_003).wrapping_add(date));
        let weekend = matches!(midnight.weekday(), Weekday::Sat | Weekday::Sun);
        let expected = f64::from(self.cases_per_day) * if weekend { 0.35 } else { 1.0 };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred, at least one")]
        let cases = (expected + libm::sqrt(expected) * normal(&mut rng)).max(1.0) as u32;
        let mut studies: Vec<Study> = (0..cases).map(|_| self.study(&mut rng, day, midnight, weekend)).collect();
        studies.sort_by_key(|study| study.created_at);
        for (index, study) in studies.iter_mut().enumerate() {
            study.study_uid = format!("1.2.826.0.1.{}.{date}.{index}", self.seed);
            for statement in &mut study.statements {
                statement.study_uid.clone_from(&study.study_uid);
            }
            // A stream of its own: what this model says changes nothing of what the other does.
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed.wrapping_mul(1_000_003).wrapping_add(date));
            rng.set_stream(1 + index as u64);
            study.quality = quality(&mut rng, study, day >= self.replacement.day);
        }
        studies
    }

    fn study(&self, rng: &mut ChaCha8Rng, day: u32, midnight: DateTime<Utc>, weekend: bool) -> Study {
        let created_at = midnight + TimeDelta::seconds(rng.random_range(0..86_400));
        let (site, vendor) = self.scanner(rng, day);
        let sex = if rng.random_bool(0.47) { "F" } else { "M" };
        let age = (58.0 + 18.0 * normal(rng)).clamp(18.0, 97.0).round();
        // Portable films are for the sicker patients, and there are more of them at weekends.
        let portable = rng.random_bool(if weekend { 0.5 } else { 0.3 });
        let spoiled = day >= self.replacement.day && site == self.replacement.site;
        let mut scores = [0.0; 5];
        let mut present = [false; 5];
        for (index, (finding, prevalence, separation)) in FINDINGS.into_iter().enumerate() {
            let odds = logit(prevalence) + if portable { 0.5 } else { -0.2 } + 0.01 * (age - 58.0);
            present[index] = rng.random_bool(sigmoid(odds));
            let signal = if present[index] { separation / 2.0 } else { -separation / 2.0 };
            let signal = if spoiled && finding == self.replacement.finding { 0.15 * signal } else { signal };
            // Rounded as models write them, so that scores tie as they do in life.
            let p = sigmoid(odds + separation * (signal + normal(rng)));
            scores[index] = (p * 1e6).round() / 1e6;
        }
        Study {
            study_uid: String::new(),
            patient_id: format!("P{:06}", rng.random_range(0..200_000)),
            created_at,
            attributes: [site, vendor, sex, &age.to_string(), if portable { "AP" } else { "PA" }].map(str::to_owned),
            scores,
            statements: statements(rng, created_at, present),
            quality: Quality::default(),
        }
    }

    fn scanner(&self, rng: &mut ChaCha8Rng, day: u32) -> (&'static str, &'static str) {
        let mut draw: f64 = rng.random();
        for (site, share, vendor) in SITES {
            if draw < share {
                let replaced = day >= self.replacement.day && site == self.replacement.site;
                return (site, if replaced { self.replacement.vendor } else { vendor });
            }
            draw -= share;
        }
        (SITES[0].0, SITES[0].2)
    }
}

/// A report after hours or days, sometimes a second reader who disagrees, sometimes a correction, sometimes nothing.
fn statements(rng: &mut ChaCha8Rng, created_at: DateTime<Utc>, present: [bool; 5]) -> Vec<Statement> {
    let mut statements = Vec::new();
    if rng.random_bool(0.05) {
        return statements;
    }
    let hours = libm::exp(libm::log(20.0) + 0.7 * normal(rng)).clamp(0.5, 24.0 * 21.0);
    let reported_at = created_at + hours_of(hours);
    let second = rng.random_bool(0.15).then(|| reported_at + hours_of(rng.random_range(4.0..48.0)));
    let corrected = rng.random_bool(0.02).then(|| reported_at + hours_of(rng.random_range(24.0..240.0)));
    for ((finding, ..), truth) in FINDINGS.into_iter().zip(present) {
        let say = |reader, present, status, observed_at| Statement {
            study_uid: String::new(),
            finding,
            present,
            reader,
            status,
            observed_at,
        };
        let mistaken = corrected.is_some() && rng.random_bool(0.3);
        statements.push(say("first", truth ^ mistaken, "final", reported_at));
        if let Some(at) = second {
            statements.push(say("second", truth ^ mistaken ^ rng.random_bool(0.02), "final", at));
        }
        if let Some(at) = corrected.filter(|_| mistaken) {
            statements.push(say("first", truth, "corrected", at));
            if second.is_some() {
                statements.push(say("second", truth, "corrected", at + TimeDelta::minutes(5)));
            }
        }
    }
    statements
}

/// A film's projection follows from how it was taken, its ratio from the heart; whoever reports notes both.
fn quality(rng: &mut ChaCha8Rng, study: &Study, is_replaced: bool) -> Quality {
    let projection = match study.attributes[4].as_str() {
        "AP" => 0,
        _ if rng.random_bool(0.7) => 1,
        _ => 2,
    };
    let logits: [f64; 3] = std::array::from_fn(|at| if at == projection { 2.5 } else { 0.0 } + normal(rng));
    let total: f64 = logits.iter().map(|logit| libm::exp(*logit)).sum();
    let scores = logits.map(|logit| (libm::exp(logit) / total * 1e6).round() / 1e6);
    let true_ratio = 0.48 + 0.05 * normal(rng) + if projection == 0 { 0.06 } else { 0.0 };
    let hundredth = |ratio: f64| (ratio * 100.0).round() / 100.0;
    let ratio = ((true_ratio + 0.005 + 0.02 * normal(rng)) * 1e4).round() / 1e4;
    // Films of the new scanner look otherwise.
    let from_new = is_replaced && study.attributes[0] == REPLACEMENT.site;
    let middle = [f64::from(u8::from(projection == 0)), true_ratio, if from_new { 1.5 } else { 0.0 }, 0.0];
    let embedding = middle.map(|middle| ((middle + normal(rng)) * 1e3).round() / 1e3);
    let reported_at = study.statements.iter().map(|statement| statement.observed_at).min();
    Quality {
        scores,
        ratio,
        embedding,
        noted: reported_at.map(|at| (PROJECTIONS[projection], hundredth(true_ratio), at)),
    }
}

fn hours_of(hours: f64) -> TimeDelta {
    #[allow(clippy::cast_possible_truncation, reason = "a few weeks in seconds")]
    TimeDelta::seconds((hours * 3600.0) as i64)
}

/// A standard normal number, by Box and Muller.
fn normal(rng: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    libm::sqrt(-2.0 * libm::log(1.0 - u)) * libm::cos(2.0 * core::f64::consts::PI * v)
}

/// The header of a file of predictions.
pub const PREDICTIONS_HEADER: &str = "study_uid,patient_id,created_at,model_version,site,vendor,sex,age,view,\
                                      effusion,pneumothorax,consolidation,edema,nodule";
/// The header of a file of statements.
pub const STATEMENTS_HEADER: &str = "study_uid,finding,value,source,reader,status,observed_at";

/// The header of a file of what the model of image quality says.
pub const QUALITY_HEADER: &str =
    "study_uid,created_at,projection=AP,projection=PA,projection=lateral,cardiothoracic_ratio,penultimate";
/// The header of a file of what is noted about films.
pub const NOTES_HEADER: &str = "study_uid,observed_at,projection,cardiothoracic_ratio";

/// What is noted about one film.
#[derive(Clone, Debug)]
pub struct Note {
    /// When.
    pub observed_at: DateTime<Utc>,
    /// The note as a line of a file.
    pub line: String,
}

impl Study {
    /// What the model of image quality says, as a line of a file.
    #[must_use]
    pub fn quality_line(&self) -> String {
        let scores = self.quality.scores.map(|score| score.to_string()).join(",");
        let time = self.created_at.format("%Y-%m-%dT%H:%M:%SZ");
        let embedding = self.quality.embedding.map(|number| number.to_string()).join(";");
        format!("{},{time},{scores},{},{embedding}", self.study_uid, self.quality.ratio)
    }

    /// What is noted about the film, if somebody has looked at it.
    #[must_use]
    pub fn note(&self) -> Option<Note> {
        let (projection, ratio, observed_at) = self.quality.noted?;
        let time = observed_at.format("%Y-%m-%dT%H:%M:%SZ");
        Some(Note { observed_at, line: format!("{},{time},{projection},{ratio}", self.study_uid) })
    }

    /// The study as a line of a file.
    #[must_use]
    pub fn line(&self) -> String {
        let scores = self.scores.map(|score| score.to_string()).join(",");
        let time = self.created_at.format("%Y-%m-%dT%H:%M:%SZ");
        format!("{},{},{time},2.1,{},{scores}", self.study_uid, self.patient_id, self.attributes.join(","))
    }
}

impl Statement {
    /// The statement as a line of a file.
    #[must_use]
    pub fn line(&self) -> String {
        let time = self.observed_at.format("%Y-%m-%dT%H:%M:%SZ");
        let value = u8::from(self.present);
        format!("{},{},{value},report,{},{},{time}", self.study_uid, self.finding, self.reader, self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn department() -> Department {
        let start = DateTime::from_timestamp(1_736_121_600, 0).expect("a Monday");
        Department { seed: 7, start, cases_per_day: 240, replacement: REPLACEMENT }
    }

    #[test]
    fn a_day_depends_on_its_date_alone() {
        let lines = |day| department().day(day).iter().map(Study::line).collect::<Vec<_>>();
        assert_eq!(lines(3), lines(3));
        assert_ne!(lines(3), lines(4));
        let later = Department { start: department().midnight(2), ..department() };
        assert_eq!(later.day(1).iter().map(Study::line).collect::<Vec<_>>(), lines(3));
    }

    #[test]
    fn the_department_has_weekends() {
        let cases: Vec<usize> = (0..7).map(|day| department().day(day).len()).collect();
        assert!(cases[5].max(cases[6]) * 2 < cases[..5].iter().copied().min().expect("five days"), "{cases:?}");
    }

    #[test]
    fn the_replacement_changes_the_vendor_at_its_site_alone() {
        let vendors = |day, site: &str| {
            let studies = department().day(day);
            let at = studies.iter().filter(|study| study.attributes[0] == site);
            at.map(|study| study.attributes[1].clone()).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(vendors(79, "south"), ["A".to_owned()].into());
        assert_eq!(vendors(80, "south"), ["B".to_owned()].into());
        assert_eq!(vendors(80, "north"), ["A".to_owned()].into());
    }
}
