//! Every metric that there is: its formula, what it is read from, its interval, its edge cases, its source, and what it was
//! checked against. `docs/metrics.md` is this table; a test says so.

use std::fmt::Write;

use crate::summary::body::Kind;

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name in the API, the history and, with the prefix `dosimeter_`, in Prometheus.
    pub name: &'static str,
    /// One line that explains it.
    pub help: &'static str,
    /// Its formula.
    pub formula: &'static str,
    /// What of a summary it is read from.
    pub read_from: &'static str,
    /// Its 95 % interval or its null distribution.
    pub interval: &'static str,
    /// When it has no value, and other edges.
    pub edges: &'static str,
    /// Where the formula comes from.
    pub source: &'static str,
    /// What it was checked against.
    pub parity: &'static str,
    /// Who computes it when.
    pub tier: Tier,
    /// The chapter of the document.
    pub chapter: Chapter,
}

/// Who computes a metric when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// For every window, and exposed to Prometheus.
    Exposed,
    /// For every window, kept in the history, not exposed unless the plan asks for it.
    Kept,
    /// When somebody asks.
    Asked,
    /// When somebody asks in particular, from rows.
    Rows,
}

/// The chapters of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chapter {
    /// How much there is.
    Volume,
    /// How well scores tell positives from negatives.
    Discrimination,
    /// At a threshold.
    OperatingPoint,
    /// How true the stated probabilities are.
    Calibration,
    /// Of a choice among classes.
    Multiclass,
    /// Of a predicted value.
    Regression,
    /// How far from the reference.
    Drift,
    /// Of the input.
    Feature,
    /// Of what models make of the input inside.
    Embedding,
    /// Over all outputs.
    Model,
    /// Between readers.
    Readers,
    /// On the reference.
    Reference,
}

impl Chapter {
    /// All chapters, in the order of the document.
    pub const ALL: [Self; 12] = [
        Self::Volume,
        Self::Discrimination,
        Self::OperatingPoint,
        Self::Calibration,
        Self::Multiclass,
        Self::Regression,
        Self::Drift,
        Self::Feature,
        Self::Embedding,
        Self::Model,
        Self::Readers,
        Self::Reference,
    ];

    /// Its heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Volume => "Volume",
            Self::Discrimination => "Discrimination",
            Self::OperatingPoint => "Operating points",
            Self::Calibration => "Calibration and proper scores",
            Self::Multiclass => "Choices among classes",
            Self::Regression => "Predicted values",
            Self::Drift => "Drift against the reference",
            Self::Feature => "Features of the input",
            Self::Embedding => "Embeddings of the input",
            Self::Model => "Means over the outputs",
            Self::Readers => "Agreement of readers",
            Self::Reference => "On the reference",
        }
    }
}

impl Entry {
    /// Whether it is measured at an operating point.
    #[must_use]
    pub fn has_threshold(&self) -> bool {
        self.chapter == Chapter::OperatingPoint || self.name == "prevalence_bbse"
    }

    /// Whether its estimates have an interval.
    #[must_use]
    pub fn has_interval(&self) -> bool {
        let null_only = self.chapter == Chapter::Drift && !self.name.starts_with("prevalence_");
        !null_only && !self.interval.is_empty() && self.interval != NONE && !self.interval.contains("null")
    }

    /// The kinds of summary that answer it.
    #[must_use]
    pub fn kinds(&self) -> &'static [Kind] {
        const SAID: [Kind; 3] = [Kind::Output, Kind::Classes, Kind::Value];
        match self.chapter {
            Volume if ["positives", "prevalence", "mean_score"].contains(&self.name) => &[Kind::Output],
            Drift if self.name.starts_with("prevalence_") => &[Kind::Output],
            Drift if self.name.starts_with("score_") => &[Kind::Output, Kind::Value],
            Volume | Drift => &SAID,
            Discrimination | OperatingPoint | Calibration => &[Kind::Output],
            Multiclass => &[Kind::Classes],
            Regression => &[Kind::Value],
            Feature => &[Kind::Feature],
            Embedding => &[Kind::Embedding],
            Readers => &[Kind::Readers],
            Model | Reference => &[],
        }
    }

    /// Whether it is about one class of several.
    #[must_use]
    pub fn has_class(&self) -> bool {
        self.name.starts_with("class_")
    }

    /// Whether a rule can watch it: it is computed for every window and is about the window itself.
    #[must_use]
    pub fn is_watchable(&self) -> bool {
        let of_outputs = !matches!(
            self.chapter,
            Chapter::Reference | Chapter::Feature | Chapter::Embedding | Chapter::Model | Chapter::Readers
        );
        !matches!(self.tier, Tier::Asked | Tier::Rows) && of_outputs && !self.name.starts_with("dimension_")
    }
}

/// Find a metric by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// `docs/metrics.md`.
#[must_use]
pub fn document() -> String {
    let mut out = PREFACE.to_owned();
    for chapter in Chapter::ALL {
        let _ = writeln!(out, "\n## {}", chapter.title());
        for entry in ENTRIES.iter().filter(|entry| entry.chapter == chapter) {
            let _ = writeln!(out, "\n### `{}`\n\n{}\n", entry.name, entry.help);
            let tier = match entry.tier {
                Tier::Exposed => "every window; Prometheus",
                Tier::Kept => "every window; history",
                Tier::Asked => "questions (`query`)",
                Tier::Rows => "questions that ask for it (`query --by-subject`)",
            };
            let rows = [
                ("formula", entry.formula),
                ("read from", entry.read_from),
                ("interval", entry.interval),
                ("edges", entry.edges),
                ("source", entry.source),
                ("checked against", entry.parity),
                ("computed for", tier),
            ];
            let _ = writeln!(out, "| | |\n|---|---|");
            for (label, text) in rows.into_iter().filter(|(_, text)| !text.is_empty()) {
                let _ = writeln!(out, "| {label} | {} |", text.replace('|', "\\|"));
            }
        }
    }
    out
}

const PREFACE: &str = "\
# Metrics

Made from `src/metric/catalogue.rs` by `make docs`; a test compares the two.

Conventions: `p` is the stated probability, `y` the truth; `m` positives, `n` negatives, `N = m + n` rows with truth; a case is
flagged at threshold `t` when `p >= t`. `z` is the normal quantile of the two-sided 95 % interval. Every value comes with its
`n`; undefined is a reason, never NaN and never 0. Performance of fewer rows than the plan's `minimum_n` is withheld.

*Exactness.* Up to 4,096 distinct scores in a bucket everything is exact. Beyond, scores are coarsened to channels; counts at
the plan's thresholds, reliability tables and power sums stay exact beside them, and what is read from channels states the
bracket in which the exact value lies, or says that it is approximate.

*Checked against* names the programs whose numbers are committed in `tests/golden/`; `make parity` computes them anew.
";

const NEEDS_TRUTH: &str = "without truth: no-truth";
const NEEDS_BOTH: &str = "without positives or negatives: no-positives, no-negatives";
const POWER_SUMS: &str = "power sums of the score by class: exact however coarse the spectrum";
const SPECTRUM: &str = "spectrum; bracketed when coarse";
const COUNTS: &str = "counts at the threshold: exact when the plan has it, bracketed otherwise";
const TABLE: &str = "reliability table of ten equal-width bins, closed on the right: exact";
const SKLEARN: &str = "scikit-learn";
const CONFUSION: &str = "counts by true and predicted class: exact";
const CLASS_SCORES: &str = "spectra of every class's score by true class; approximate when coarse";
const DELTA: &str =
    "delta method over the multinomial cells with a numerical gradient, Fisher's scale; none at its ends";
const MOVER: &str = "square-and-add of the classes' intervals";
const OF_SHARE: &str = "Wilson of hits / (true or predicted), mapped";
const FULL: &str = "mean of the parts' ends: full correlation, an upper bound";
const EVERY_CLASS: &str = "a class without cases: no-case-of-class";
const SUMS: &str = "exact sums of values, errors and their products";
const NONE: &str = "none in closed form; `query --bootstrap` where it is computed for every window";

use Chapter::{
    Calibration, Discrimination, Drift, Embedding, Feature, Model, Multiclass, OperatingPoint, Readers, Reference,
    Regression, Volume,
};
use Tier::{Asked, Exposed, Kept, Rows};

#[rustfmt::skip]
macro_rules! entries {
    ($($chapter:ident $tier:ident $name:literal, $help:literal, $formula:expr, $read:expr, $interval:expr, $edges:expr, $source:expr, $parity:expr;)*) => {
        &[$(Entry { name: $name, help: $help, formula: $formula, read_from: $read, interval: $interval, edges: $edges, source: $source, parity: $parity, tier: $tier, chapter: $chapter }),*]
    };
}

/// All metrics, in the order of the document.
#[rustfmt::skip]
pub const ENTRIES: &[Entry] = entries![
    Volume Exposed "predictions", "Predictions in the window.", "count", "totals", "", "", "", "";
    Volume Exposed "labelled", "Predictions in the window whose truth is known.", "count", "totals", "", "", "", "";
    Volume Exposed "positives", "Predictions in the window whose truth is positive.", "count", "totals", "", "", "", "";
    Volume Exposed "label_coverage", "Share of the window's predictions whose truth is known.", "labelled / predictions", "totals", "Wilson", "no-predictions", "Wilson 1927", "statsmodels";
    Volume Exposed "label_delay_p50_seconds", "Median delay from prediction to truth, of the labels that have arrived.", "quantile of whole hours", "delays by hour; the bracket is the hour", "", "only labels that are there count, so recent windows show the fast ones; no-truth", "", "";
    Volume Exposed "label_delay_p90_seconds", "90 % quantile of the delay from prediction to truth, of the labels that have arrived.", "quantile of whole hours", "delays by hour; the bracket is the hour", "", "as the median", "", "";
    Volume Exposed "prevalence", "Share of positives among the predictions with truth.", "m / N", "totals", "Wilson", NEEDS_TRUTH, "Wilson 1927", "statsmodels";
    Volume Exposed "mean_score", "Mean score of all predictions in the window.", "sum p / predictions", POWER_SUMS, "normal", "no-predictions", "", "numpy";
    OperatingPoint Exposed "alert_rate", "Share of all predictions that are flagged at the threshold.", "flagged / predictions", COUNTS, "Wilson", "needs no truth, so minimum_n does not withhold it", "Wilson 1927", "statsmodels";
    Discrimination Exposed "auroc", "Area under the ROC curve.", "share of (positive, negative) pairs in the right order, ties one half", SPECTRUM, "DeLong's variance from placements, on the logit scale; Newcombe's method 5 with fewer than two of a class or at 0 and 1", NEEDS_BOTH, "DeLong, DeLong and Clarke-Pearson 1988; Newcombe 2006", "scikit-learn, pROC";
    Discrimination Kept "partial_auroc", "Area under the ROC curve up to a false-positive rate of 0.2, standardised to 1/2 for chance and 1 for perfection.", "(1 + (A - f^2/2) / (f - f^2/2)) / 2 with A the area by trapezoids up to f = 0.2", SPECTRUM, NONE, NEEDS_BOTH, "McClish 1989", "scikit-learn (max_fpr)";
    Discrimination Exposed "average_precision", "Average precision.", "sum (R_k - R_(k-1)) P_k over distinct scores, descending", SPECTRUM, "logit scale with m (Boyd)", "no-positives", "Boyd, Eng and Page 2013", SKLEARN;
    Discrimination Kept "average_precision_lift", "Average precision over the prevalence, its value without skill.", "AP N / m", SPECTRUM, "that of average precision, scaled", "no-positives", "", SKLEARN;
    Discrimination Kept "average_precision_adjusted", "Average precision at the reference's prevalence: it does not move when only the prevalence does.", "AP with precision pi TPR / (pi TPR + (1 - pi) FPR)", SPECTRUM, "logit scale with m (Boyd)", "only with a reference that has truth", "", "numpy";
    Discrimination Rows "auroc_by_subject", "Area under the ROC curve whose variance lets the studies of one subject depend on each other.", "as auroc", "rows", "Obuchowski's clustered variance, on the logit scale", "as auroc; fewer than two subjects with a positive or a negative: below-minimum", "Obuchowski 1997", "DeLong on single clusters";
    OperatingPoint Exposed "true_positives", "Cases with truth, flagged and positive.", "TP", COUNTS, "", NEEDS_TRUTH, "", SKLEARN;
    OperatingPoint Exposed "false_positives", "Cases with truth, flagged and negative.", "FP", COUNTS, "", NEEDS_TRUTH, "", SKLEARN;
    OperatingPoint Exposed "true_negatives", "Cases with truth, not flagged and negative.", "TN", COUNTS, "", NEEDS_TRUTH, "", SKLEARN;
    OperatingPoint Exposed "false_negatives", "Cases with truth, not flagged and positive.", "FN", COUNTS, "", NEEDS_TRUTH, "", SKLEARN;
    OperatingPoint Exposed "sensitivity", "Share of positives that are flagged at the threshold.", "TP / (TP + FN)", COUNTS, "Wilson", "no-positives", "Wilson 1927", "scikit-learn, statsmodels";
    OperatingPoint Exposed "specificity", "Share of negatives that are not flagged at the threshold.", "TN / (TN + FP)", COUNTS, "Wilson", "no-negatives", "Wilson 1927", "scikit-learn, statsmodels";
    OperatingPoint Exposed "ppv", "Positive predictive value at the threshold.", "TP / (TP + FP)", COUNTS, "Wilson", "nothing flagged: none-flagged", "Wilson 1927", "scikit-learn, statsmodels";
    OperatingPoint Exposed "npv", "Negative predictive value at the threshold.", "TN / (TN + FN)", COUNTS, "Wilson", "everything flagged: none-flagged", "Wilson 1927", "scikit-learn, statsmodels";
    OperatingPoint Kept "accuracy", "Share of cases that are flagged or not as they should be.", "(TP + TN) / N", COUNTS, "Wilson", NEEDS_TRUTH, "Wilson 1927", SKLEARN;
    OperatingPoint Kept "balanced_accuracy", "Mean of sensitivity and specificity.", "(Se + Sp) / 2", COUNTS, "square-and-add of the two Wilson intervals", NEEDS_BOTH, "Newcombe 1998", SKLEARN;
    OperatingPoint Kept "youden", "Youden's index.", "Se + Sp - 1", COUNTS, "square-and-add of the two Wilson intervals", NEEDS_BOTH, "Youden 1950; Newcombe 1998", SKLEARN;
    OperatingPoint Kept "f1", "Harmonic mean of PPV and sensitivity.", "2 TP / (2 TP + FP + FN)", COUNTS, "delta method over the four multinomial cells, logit scale", "no positives and nothing flagged: none-flagged", "", SKLEARN;
    OperatingPoint Kept "mcc", "Matthews' correlation of flag and truth.", "(TP TN - FP FN) / sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN))", COUNTS, "delta method over the four multinomial cells, Fisher's scale", "an empty margin is undefined (scikit-learn says 0)", "Matthews 1975", SKLEARN;
    OperatingPoint Kept "lr_positive", "How much more often positives are flagged than negatives.", "Se / (1 - Sp)", COUNTS, "log method", "no negative flagged: infinite-ratio", "Simel, Samsa and Matchar 1991", "scikit-learn";
    OperatingPoint Kept "lr_negative", "How much more often positives are not flagged than negatives.", "(1 - Se) / Sp", COUNTS, "log method", "every negative flagged: infinite-ratio", "Simel, Samsa and Matchar 1991", "scikit-learn";
    OperatingPoint Kept "ppv_adjusted", "Positive predictive value at the reference's prevalence.", "Se pi / (Se pi + (1 - Sp)(1 - pi))", COUNTS, "logit method", "only with a reference that has truth; none-flagged", "Mercaldo, Lau and Zhou 2007", "numpy";
    OperatingPoint Kept "npv_adjusted", "Negative predictive value at the reference's prevalence.", "Sp (1 - pi) / ((1 - Se) pi + Sp (1 - pi))", COUNTS, "logit method", "only with a reference that has truth; none-flagged", "Mercaldo, Lau and Zhou 2007", "numpy";
    OperatingPoint Kept "net_benefit", "Net benefit of acting on the flag, the threshold as the odds at which acting pays.", "TP/N - FP/N t/(1-t)", COUNTS, "normal, from the contribution of each case", "t = 1: no-weight", "Vickers and Elkin 2006", "dcurves";
    OperatingPoint Kept "net_benefit_all", "Net benefit of acting on every case.", "pi - (1 - pi) t/(1-t)", COUNTS, "", "t = 1: no-weight", "Vickers and Elkin 2006", "dcurves";
    OperatingPoint Kept "net_benefit_standardised", "Net benefit as a share of the greatest possible one.", "NB / pi", COUNTS, "normal", "no-positives", "Kerr et al. 2016", "dcurves";
    OperatingPoint Kept "expected_cost", "Mean cost per case under the plan's costs.", "sum cost / N", COUNTS, "normal, from the cost of each case", "only for outputs with costs", "", "numpy";
    OperatingPoint Kept "normalised_cost", "Mean cost over that of the better of flagging everybody and nobody.", "EC / min(EC_all, EC_none)", COUNTS, "", "a constant decision that costs nothing: no-weight", "Drummond and Holte 2006", "numpy";
    OperatingPoint Kept "cost_regret", "Mean cost above that of the best threshold in hindsight.", "EC(t) - min over s of EC(s)", SPECTRUM, "", "only for outputs with costs", "", "numpy";
    Calibration Exposed "brier", "Brier score.", "sum (p - y)^2 / N", POWER_SUMS, "normal, from the loss of each case", NEEDS_TRUTH, "Brier 1950", SKLEARN;
    Calibration Kept "brier_scaled", "One minus the Brier score over that of the prevalence.", "1 - B / (pi (1 - pi))", POWER_SUMS, "that of the Brier score, scaled", NEEDS_BOTH, "", SKLEARN;
    Calibration Kept "brier_reliability", "Murphy's reliability: the calibration part of the Brier score over ten bins.", "sum n_k (p_k - y_k)^2 / N", TABLE, NONE, NEEDS_TRUTH, "Murphy 1973", "numpy";
    Calibration Kept "brier_reliability_corrected", "The same without its bias.", "REL - sum n_k/N y_k (1 - y_k)/(n_k - 1)", TABLE, NONE, NEEDS_TRUTH, "Ferro and Fricker 2012", "numpy";
    Calibration Kept "brier_resolution", "Murphy's resolution: how far the bins' truth differs from the prevalence.", "sum n_k (y_k - y)^2 / N", TABLE, NONE, NEEDS_TRUTH, "Murphy 1973", "numpy";
    Calibration Kept "brier_resolution_corrected", "The same without its bias.", "RES - bias + y (1 - y)/(N - 1)", TABLE, NONE, NEEDS_TRUTH, "Ferro and Fricker 2012", "numpy";
    Calibration Kept "brier_uncertainty", "The Brier score of the prevalence.", "y (1 - y)", TABLE, "", NEEDS_TRUTH, "Murphy 1973", "numpy";
    Calibration Kept "brier_within_bins", "What scores vary within bins: the rest of the Brier score.", "B - (REL - RES + UNC) = WBV - WBC", "table and power sums", NONE, NEEDS_TRUTH, "Stephenson, Coelho and Jolliffe 2008", "numpy";
    Calibration Exposed "log_loss", "Logarithmic loss.", "-mean ln p_y, p clipped to machine precision", "fixed-point sums: exact", "normal, from the loss of each case", NEEDS_TRUTH, "", SKLEARN;
    Calibration Exposed "observed_expected", "Observed over expected positives.", "sum y / sum p; its p-value by (O - E) / sqrt(sum p (1 - p))", POWER_SUMS, "log scale, sqrt((1 - O/N) / O)", "every score 0: none-expected", "", "numpy";
    Calibration Kept "spiegelhalter", "Spiegelhalter's statistic: standard normal under perfect calibration.", "sum (y - p)(1 - 2p) / sqrt(sum (1 - 2p)^2 p (1 - p))", POWER_SUMS, "its null distribution", "every score 0, 1/2 or 1: separation", "Spiegelhalter 1986", "rms::val.prob";
    Calibration Exposed "ece", "Expected calibration error over ten equal-width bins; biased upwards at small n.", "sum n_b/N |y_b - p_b|", TABLE, "null band by 200 seeded resamples of the truth", NEEDS_TRUTH, "Naeini, Cooper and Hauskrecht 2015", "numpy (netcal's rule)";
    Calibration Kept "rms_calibration_error", "Root mean square calibration error over the bins, without its bias.", "sqrt(max(0, sum n_b/N [(y_b - p_b)^2 - y_b (1 - y_b)/(n_b - 1)]))", TABLE, NONE, "bins of one row are left out", "Kumar, Liang and Ma 2019; Broecker 2012", "numpy";
    Calibration Kept "mce", "The largest gap of a bin.", "max |y_b - p_b|", TABLE, "null band by 200 seeded resamples of the truth", NEEDS_TRUTH, "Naeini, Cooper and Hauskrecht 2015", "numpy";
    Calibration Exposed "calibration_intercept", "Calibration in the large: shift of log odds at slope one.", "maximum likelihood, Newton", "spectrum; approximate when coarse", "Wald", NEEDS_BOTH, "Cox 1958", "R glm, statsmodels";
    Calibration Exposed "calibration_slope", "Slope of the logistic recalibration.", "logit P(y) = a + b logit p, p clipped to [1e-6, 1 - 1e-6]", "spectrum; approximate when coarse", "Wald", "constant or separating scores: separation", "Cox 1958", "R glm, statsmodels";
    Calibration Kept "calibration_line_intercept", "Intercept of the same line.", "a of the line", "spectrum; approximate when coarse", "Wald", "separation", "Cox 1958", "R glm, statsmodels";
    Calibration Kept "calibration_likelihood_ratio", "Likelihood-ratio statistic of the line against perfect calibration.", "2 (l(a, b) - l(0, 1)), chi-square with 2 degrees of freedom", "spectrum; approximate when coarse", "its null distribution", "separation", "", "statsmodels";
    Calibration Asked "ece_equal_mass", "Expected calibration error over ten bins of equal numbers, ties together.", "sum n_b/N |y_b - p_b|", "spectrum; approximate when coarse", "null band", NEEDS_TRUTH, "", "numpy";
    Calibration Asked "ece_after_shift", "Expected calibration error after the log odds are shifted so that O = E: what a change of prevalence does not explain.", "ECE of sigma(logit p + calibration_intercept)", "spectrum; approximate when coarse", "null band", NEEDS_BOTH, "", "numpy";
    Calibration Asked "smooth_ece", "Smooth calibration error: no bins, a kernel whose width is the error itself.", "fixed point of s = integral |sum K_s(t, p_i)(y_i - p_i)| dt / N", "spectrum, on a grid of 512 cells: approximate", NONE, NEEDS_TRUTH, "Blasiok and Nakkiran 2023", "quadrature in numpy (2e-3); relplot (2e-2)";
    Calibration Asked "corp_miscalibration", "Calibration part of the Brier score by isotonic regression.", "B - B of the pooled fit", "spectrum; approximate when coarse", NONE, NEEDS_TRUTH, "Dimitriadis, Gneiting and Jordan 2021", SKLEARN;
    Calibration Asked "corp_discrimination", "Discrimination part of the Brier score by isotonic regression.", "B of the prevalence - B of the pooled fit", "spectrum; approximate when coarse", NONE, NEEDS_TRUTH, "Dimitriadis, Gneiting and Jordan 2021", SKLEARN;
    Calibration Asked "ici", "Mean distance between score and isotonic fit.", "mean |p - g(p)|", "spectrum; approximate when coarse", NONE, NEEDS_TRUTH, "Austin and Steyerberg 2019, with an isotonic fit instead of loess", SKLEARN;
    Calibration Asked "e50", "Median distance between score and isotonic fit.", "median |p - g(p)|", "spectrum; approximate when coarse", NONE, NEEDS_TRUTH, "as ici", SKLEARN;
    Calibration Asked "e90", "90 % quantile of the distance between score and isotonic fit.", "quantile of |p - g(p)|", "spectrum; approximate when coarse", NONE, NEEDS_TRUTH, "as ici", SKLEARN;
    Calibration Asked "emax", "Largest distance between score and isotonic fit.", "max |p - g(p)|", "spectrum; approximate when coarse", NONE, NEEDS_TRUTH, "as ici", SKLEARN;
    Multiclass Exposed "incomplete_predictions", "Predictions that lack a score for some class: they count nowhere else.", "count", "counts", "", "", "", "";
    Multiclass Exposed "multiclass_accuracy", "Share of cases whose class is the predicted one: that of the greatest score, of several the first of the plan.", "hits / N", CONFUSION, "Wilson", NEEDS_TRUTH, "Wilson 1927", SKLEARN;
    Multiclass Exposed "multiclass_balanced_accuracy", "Mean recall of the classes.", "mean over k of hits_k / N_k", CONFUSION, MOVER, EVERY_CLASS, "", SKLEARN;
    Multiclass Kept "multiclass_mcc", "Correlation of true and predicted class.", "Gorodkin's R_K: (c s - sum p t) / sqrt((s^2 - sum p^2)(s^2 - sum t^2))", CONFUSION, DELTA, "one class only is true or predicted: all-the-same", "Gorodkin 2004", SKLEARN;
    Multiclass Exposed "multiclass_kappa", "Cohen's kappa of truth and prediction.", "1 - observed / expected disagreement", CONFUSION, DELTA, "as multiclass_mcc", "Cohen 1960; Fleiss, Cohen and Everitt 1969", SKLEARN;
    Multiclass Kept "multiclass_quadratic_kappa", "Kappa whose disagreement grows with the square of the distance, for classes in an order.", "as multiclass_kappa with weights (i - j)^2", CONFUSION, DELTA, "as multiclass_mcc", "Cohen 1968", SKLEARN;
    Multiclass Kept "multiclass_precision_macro", "Mean precision of the classes.", "mean over k of hits_k / predicted_k", CONFUSION, MOVER, "a class that is never predicted: never-predicted (scikit-learn says 0); as multiclass_balanced_accuracy", "", SKLEARN;
    Multiclass Kept "multiclass_precision_weighted", "The same, each class weighted by its cases.", "sum N_k/N hits_k / predicted_k", CONFUSION, MOVER, "as multiclass_precision_macro", "", SKLEARN;
    Multiclass Kept "multiclass_f1_macro", "Mean F1 of the classes.", "mean over k of 2 hits_k / (N_k + predicted_k)", CONFUSION, MOVER, EVERY_CLASS, "", SKLEARN;
    Multiclass Kept "multiclass_f1_weighted", "The same, each class weighted by its cases.", "sum N_k/N F1_k", CONFUSION, MOVER, EVERY_CLASS, "", SKLEARN;
    Multiclass Kept "multiclass_auroc_ovr_macro", "Mean AUROC of each class against all others.", "mean over k of AUROC_k", CLASS_SCORES, FULL, EVERY_CLASS, "", SKLEARN;
    Multiclass Kept "multiclass_auroc_ovr_weighted", "The same, each class weighted by its cases.", "sum N_k/N AUROC_k", CLASS_SCORES, FULL, EVERY_CLASS, "", SKLEARN;
    Multiclass Exposed "multiclass_auroc_hand_till", "Hand and Till's M: how well the scores of each class tell it from each other one, whatever the mix.", "mean over i, j of P(p_i of a case of i > p_i of a case of j), ties one half", CLASS_SCORES, FULL, EVERY_CLASS, "Hand and Till 2001", "scikit-learn (ovo)";
    Multiclass Kept "multiclass_top_2_accuracy", "Share of cases whose class has one of the two greatest scores.", "rank < 2; ties in the order of the plan", "ranks of the true class", "Wilson", "three classes or more; no-truth", "", "numpy";
    Multiclass Kept "multiclass_top_3_accuracy", "Share of cases whose class has one of the three greatest scores.", "rank < 3; ties in the order of the plan", "ranks of the true class", "Wilson", "four classes or more; no-truth", "", "numpy";
    Multiclass Exposed "multiclass_brier", "Brier score over all classes.", "mean of sum over k of (p_k - [y = k])^2", "fixed-point sums: exact", "normal, from the loss of each case", NEEDS_TRUTH, "Brier 1950", "numpy";
    Multiclass Exposed "multiclass_log_loss", "Logarithmic loss.", "-mean ln p_y, p clipped to machine precision; scores are not normalised", "fixed-point sums: exact", "normal, from the loss of each case", NEEDS_TRUTH, "", SKLEARN;
    Multiclass Exposed "multiclass_top_label_ece", "Expected calibration error of the greatest score, over fifteen equal-width bins.", "sum n_b/N |share of hits - mean score|", "table of the greatest score: exact", "null band by 200 seeded resamples of the truth", NEEDS_TRUTH, "Guo et al. 2017", "numpy";
    Multiclass Kept "multiclass_classwise_ece", "Mean over the classes of the expected calibration error of their scores, over fifteen equal-width bins.", "mean over k of ECE_k", CLASS_SCORES, NONE, NEEDS_TRUTH, "Kull et al. 2019", "numpy";
    Multiclass Kept "multiclass_expected_cost", "Mean cost per case under the plan's matrix of costs.", "sum C[y][predicted] / N", CONFUSION, "normal, from the cost of each case", "only for choices with costs", "", "numpy";
    Multiclass Kept "multiclass_normalised_cost", "Mean cost over that of the best constant decision.", "EC / min over k of EC(always k)", CONFUSION, "", "a constant decision that costs nothing: no-weight", "Drummond and Holte 2006", "numpy";
    Multiclass Kept "class_precision", "Share of the cases predicted to be of a class that are.", "hits_k / predicted_k", CONFUSION, "Wilson", "never-predicted", "Wilson 1927", SKLEARN;
    Multiclass Exposed "class_recall", "Share of the cases of a class that are predicted to be.", "hits_k / N_k", CONFUSION, "Wilson", "no-case-of-class", "Wilson 1927", SKLEARN;
    Multiclass Kept "class_f1", "Harmonic mean of precision and recall of a class.", "2 hits_k / (N_k + predicted_k)", CONFUSION, OF_SHARE, "neither true nor predicted: no-case-of-class", "", SKLEARN;
    Multiclass Kept "class_auroc", "AUROC of a class against all others.", "as auroc", CLASS_SCORES, "as auroc", "no case of the class, or no other: no-positives, no-negatives", "DeLong, DeLong and Clarke-Pearson 1988", SKLEARN;
    Multiclass Exposed "predicted_psi", "Population stability index of the mix of predicted classes against the reference.", "as score_psi over the classes", "counts by predicted class: exact", "null (1/n + 1/n_ref) chi2(K - 1)", "no-reference, other-shape, one-cell", "", "numpy";
    Multiclass Kept "predicted_js", "Jensen-Shannon distance (base 2) of the same mix.", "as score_js over the classes", "counts by predicted class: exact", "null chi2(K - 1)", "as predicted_psi", "Lin 1991", "scipy";
    Multiclass Kept "predicted_hellinger", "Hellinger distance of the same mix.", "sqrt(1 - sum sqrt(p q))", "counts by predicted class: exact", "null chi2(K - 1)", "as predicted_psi", "", "numpy";
    Multiclass Kept "predicted_chi2", "Chi-square statistic of the same mix.", "sum (O - E)^2 / E over two rows of cells", "counts by predicted class: exact", "null chi2(K - 1)", "as predicted_psi", "Pearson 1900", "scipy";
    Multiclass Kept "predicted_l_infinity", "The largest change of a predicted class's share.", "max |p - q|", "counts by predicted class: exact", NONE, "as predicted_psi", "", "numpy";
    Regression Exposed "mae", "Mean absolute error.", "sum |e| / N with e = prediction - truth", SUMS, "normal, from the error of each case", NEEDS_TRUTH, "", SKLEARN;
    Regression Exposed "rmse", "Root mean square error.", "sqrt(sum e^2 / N)", SUMS, "normal of the mean square, by its root", NEEDS_TRUTH, "", SKLEARN;
    Regression Exposed "bias", "Mean error: how far predictions are too high.", "sum e / N", SUMS, "normal", NEEDS_TRUTH, "", "numpy";
    Regression Exposed "loa_lower", "Lower limit of agreement: one case in forty has an error below it.", "bias - z sd(e)", SUMS, "normal, error sd sqrt(1/N + z^2 / (2 (N - 1)))", "fewer than two cases: too-few", "Bland and Altman 1986, 1999", "numpy";
    Regression Exposed "loa_upper", "Upper limit of agreement: one case in forty has an error above it.", "bias + z sd(e)", SUMS, "normal, error sd sqrt(1/N + z^2 / (2 (N - 1)))", "fewer than two cases: too-few", "Bland and Altman 1986, 1999", "numpy";
    Regression Exposed "median_absolute_error", "Median of the absolute errors.", "median |e|", "spectrum of the errors; bracketed when coarse", NONE, NEEDS_TRUTH, "", SKLEARN;
    Regression Kept "mape", "Mean absolute error relative to the truth, over the cases whose truth is not zero.", "mean |e / y|", SUMS, NONE, "every true value zero: no-weight", "", SKLEARN;
    Regression Exposed "r2", "Share of the variance of the truth that the prediction explains.", "1 - sum e^2 / sum (y - mean y)^2", SUMS, NONE, "constant truth: all-the-same", "", SKLEARN;
    Regression Kept "pearson_r", "Pearson's correlation of prediction and truth.", "s_yf / (s_y s_f)", SUMS, "Fisher's scale, 1 / sqrt(N - 3)", "constant truth or prediction: all-the-same", "Fisher 1915", "scipy";
    Regression Kept "ccc", "Lin's concordance: correlation with the line of identity.", "2 s_yf / (s_y^2 + s_f^2 + bias^2)", SUMS, "Fisher's scale, with Lin's error", "as pearson_r", "Lin 1989, 2000", "R epiR";
    Regression Kept "icc", "Intraclass correlation of truth and prediction as two raters, absolute agreement of one: ICC(2,1).", "(MSR - MSE) / (MSR + MSE + 2 (MSC - MSE) / N)", SUMS, NONE, "constant truth: all-the-same", "Shrout and Fleiss 1979", "R psych";
    Regression Kept "value_calibration_slope", "Slope of the line of truth on prediction.", "least squares: s_yf / s_f^2", SUMS, "normal, error of least squares", "as pearson_r; fewer than three cases: too-few", "", "statsmodels";
    Regression Kept "value_calibration_intercept", "Intercept of the same line.", "mean y - slope mean f", SUMS, "normal, error of least squares", "as value_calibration_slope", "", "statsmodels";
    Regression Exposed "within_tolerance", "Share of cases whose error is within the plan's tolerance.", "share of |e| <= tolerance", "spectrum of the errors; bracketed when coarse", "Wilson", "only for values with a tolerance; no-truth", "Wilson 1927", "numpy";
    Drift Exposed "score_psi", "Population stability index of the scores against the reference.", "sum (p - q) ln (p / q), half a count added to every cell", "16 quantile bins of the reference; approximate when coarse", "null (1/n + 1/n_ref) chi2(B - 1)", "no-reference, other-shape, one-cell", "Yurdakul 2018", "numpy";
    Drift Exposed "score_js", "Jensen-Shannon distance (base 2) of the scores from the reference.", "sqrt of the mean divergence from the mixture", "16 quantile bins of the reference; approximate when coarse", "null chi2(B - 1) of 8 JSD / (1/n + 1/n_ref)", "as score_psi", "Lin 1991", "scipy";
    Drift Kept "score_hellinger", "Hellinger distance of the scores from the reference.", "sqrt(1 - sum sqrt(p q))", "16 quantile bins of the reference; approximate when coarse", "null chi2(B - 1) of 8 H^2 / (1/n + 1/n_ref)", "as score_psi", "", "numpy";
    Drift Exposed "score_ks", "Kolmogorov-Smirnov distance of the scores from the reference.", "sup |F - G|", SPECTRUM, "asymptotic Kolmogorov distribution", "as score_psi", "", "scipy";
    Drift Kept "score_wasserstein", "Mean distance that scores have moved from the reference.", "integral |F - G|", "spectrum; approximate when coarse", NONE, "as score_psi", "", "scipy";
    Drift Kept "score_energy", "Energy distance of the scores from the reference.", "sqrt(2 integral (F - G)^2)", "spectrum; approximate when coarse", NONE, "as score_psi", "Szekely and Rizzo 2013", "scipy";
    Drift Exposed "dimension_psi", "Population stability index of a slice dimension's mix against the reference.", "as score_psi over the dimension's values", "totals of the slices: exact", "null (1/n + 1/n_ref) chi2(B - 1)", "no-reference, other-shape, one-cell", "", "numpy";
    Drift Exposed "dimension_js", "Jensen-Shannon distance (base 2) of a slice dimension's mix from the reference.", "as score_js over the dimension's values", "totals of the slices: exact", "null chi2(B - 1)", "as dimension_psi", "", "scipy";
    Drift Exposed "dimension_ks", "Kolmogorov-Smirnov distance of an ordered slice dimension's mix from the reference.", "sup |F - G| over the cuts", "totals of the slices: exact", "asymptotic Kolmogorov distribution", "a dimension without cuts: unordered", "", "scipy";
    Drift Kept "dimension_hellinger", "Hellinger distance of a slice dimension's mix from the reference.", "sqrt(1 - sum sqrt(p q))", "totals of the slices: exact", "null chi2(B - 1)", "as dimension_psi", "", "numpy";
    Drift Kept "dimension_chi2", "Chi-square statistic of a slice dimension's mix against the reference's.", "sum (O - E)^2 / E over two rows of cells", "totals of the slices: exact", "chi2(B - 1)", "as dimension_psi", "Pearson 1900", "scipy";
    Drift Kept "dimension_cramer_v", "Cramer's V of the same table, without its bias.", "sqrt(max(0, X2/N - (B - 1)/(N - 1)) / min(...))", "totals of the slices: exact", NONE, "as dimension_psi", "Bergsma 2013", "numpy";
    Drift Kept "dimension_l_infinity", "The largest change of a value's share.", "max |p - q|", "totals of the slices: exact", NONE, "as dimension_psi", "", "numpy";
    Drift Kept "prevalence_bbse", "Prevalence that the alert rate implies, if only the prevalence has changed.", "(alert rate - FPR_ref) / (TPR_ref - FPR_ref)", COUNTS, "delta method", "a reference that cannot tell the classes apart: no-weight", "Lipton, Wang and Smola 2018", "numpy";
    Drift Kept "prevalence_em", "Prevalence that the scores imply, if only the prevalence has changed and they were calibrated on the reference.", "fixed point of the mean posterior", "spectrum; approximate when coarse", "Wald, from the observed information", "needs the reference's prevalence", "Saerens, Latinne and Decaestecker 2002", "numpy";
    Feature Exposed "feature_psi", "Population stability index of a feature against the reference.", "as score_psi, with cells for missing, no number, infinite, out of range and unseen", "16 quantile bins of the reference, or its categories; approximate when coarse", "null (1/n + 1/n_ref) chi2(B - 1)", "no-reference, other-shape, one-cell", "Yurdakul 2018", "numpy";
    Feature Exposed "feature_js", "Jensen-Shannon distance (base 2) of a feature from the reference.", "as score_js over the same cells", "the same cells", "null chi2(B - 1)", "as feature_psi", "Lin 1991", "scipy";
    Feature Kept "feature_hellinger", "Hellinger distance of a feature from the reference.", "as score_hellinger over the same cells", "the same cells", "null chi2(B - 1)", "as feature_psi", "", "numpy";
    Feature Exposed "feature_ks", "Kolmogorov-Smirnov distance of a numeric feature from the reference.", "sup |F - G| over finite values", "spectrum of the values; bracketed when coarse", "null: asymptotic Kolmogorov distribution", "a category: unordered", "", "scipy, NannyML";
    Feature Kept "feature_wasserstein", "Mean distance that a numeric feature has moved, in standard deviations of the reference.", "integral |F - G| / sd_ref", "spectrum of the values; approximate when coarse", NONE, "a category: unordered; a constant reference: no-weight", "", "scipy";
    Feature Kept "feature_chi2", "Chi-square statistic of a feature against the reference.", "sum (O - E)^2 / E over two rows of cells", "the same cells", "null chi2(B - 1)", "as feature_psi", "Pearson 1900", "scipy, NannyML";
    Feature Kept "feature_cramer_v", "Cramer's V of the same table, without its bias.", "as dimension_cramer_v", "the same cells", NONE, "as feature_psi", "Bergsma 2013", "numpy";
    Feature Kept "feature_l_infinity", "The largest change of a cell's share.", "max |p - q|", "the same cells", NONE, "as feature_psi", "", "NannyML";
    Feature Exposed "feature_missing", "Share of predictions without a value for the feature.", "missing / predictions", "special counts", "Wilson", "no-predictions", "Wilson 1927", "";
    Feature Exposed "feature_unseen", "Share of predictions whose value the reference never had: a new category, or out of its range.", "(below + above + new categories) / predictions", "spectrum and categories", "Wilson", "no-reference, other-shape", "Wilson 1927", "";
    Embedding Exposed "embedding_missing", "Share of predictions without an embedding.", "missing / predictions", "counts", "Wilson", "no-predictions", "Wilson 1927", "";
    Embedding Exposed "embedding_mahalanobis_share", "Share of embeddings farther from the reference's mean than all but one in a hundred of the reference's own.", "share of d^2 = (x - m)' S^-1 (x - m) above the limit; S shrunk after Ledoit and Wolf; the limit from the held-out half of the reference", "spectrum of the distances; bracketed when coarse", "Wilson; its null is negative hypergeometric, whatever the distribution", "no-reference, other-shape", "Ledoit and Wolf 2004; Gibbons and Chakraborti 2003", "scikit-learn (LedoitWolf)";
    Embedding Kept "embedding_mahalanobis_ks", "Kolmogorov-Smirnov distance of the distances from the reference's.", "sup |F - G| of d^2", "spectrum of the distances; bracketed when coarse", "null: asymptotic Kolmogorov distribution", "as embedding_mahalanobis_share", "", "scipy";
    Embedding Exposed "embedding_reconstruction_error", "Mean distance of embeddings, in the reference's standard deviations, from the plane of its main directions.", "mean |z - V V' z|, V the directions that explain 65 % of the variance", "exact sums", "normal, from the error of each case", "as embedding_mahalanobis_share", "", "scikit-learn (PCA), as NannyML has it";
    Embedding Kept "embedding_reconstruction_ks", "Kolmogorov-Smirnov distance of these errors from the reference's.", "sup |F - G| of the errors", "spectrum of the errors; bracketed when coarse", "null: asymptotic Kolmogorov distribution", "as embedding_mahalanobis_share", "", "scipy";
    Embedding Exposed "embedding_mmd2", "Squared maximum mean discrepancy of a Gaussian kernel whose bandwidth is the median distance within the reference, by 256 random features.", "|mean phi - mean phi_ref|^2, phi = sqrt(2/D) cos(W x + b)", "fixed-point sums of the features: approximate", "null: gamma with the mean and the variance of the sum of squares", "as embedding_mahalanobis_share", "Rahimi and Recht 2007; Gretton et al. 2012", "the exact kernel in numpy (35 %)";
    Model Exposed "macro_auroc", "Mean AUROC of the outputs.", "mean over outputs", "the outputs' summaries", "standard error of full correlation (an upper bound), normal", "an output without a value: output-undefined", "", SKLEARN;
    Model Exposed "macro_average_precision", "Mean average precision of the outputs.", "mean over outputs", "the outputs' summaries", NONE, "as macro_auroc", "", SKLEARN;
    Model Kept "macro_brier", "Mean Brier score of the outputs.", "mean over outputs", "the outputs' summaries", "as macro_auroc", "as macro_auroc", "", SKLEARN;
    Model Kept "macro_log_loss", "Mean logarithmic loss of the outputs.", "mean over outputs", "the outputs' summaries", "as macro_auroc", "as macro_auroc", "", SKLEARN;
    Model Kept "macro_ece", "Mean expected calibration error of the outputs.", "mean over outputs", "the outputs' summaries", NONE, "as macro_auroc", "", "numpy";
    Readers Exposed "read_twice", "Cases that more than one reader has read.", "count", "readings", "", "", "", "";
    Readers Exposed "reader_agreement", "Mean share of a case's pairs of readers that agree.", "mean of agreeing pairs / pairs", "pairs of opinions by number of readers", NONE, "no-second-reader", "", "numpy";
    Readers Exposed "krippendorff_alpha", "Krippendorff's alpha, nominal.", "1 - D_o / D_e from coincidences", "pairs of opinions by number of readers", NONE, "all opinions the same: no-variation", "Krippendorff 2011", "krippendorff";
    Readers Kept "fleiss_kappa", "Fleiss's kappa.", "(P - sum p_j^2) / (1 - sum p_j^2)", "pairs of opinions by number of readers", NONE, "no-variation", "Fleiss 1971", "statsmodels";
    Readers Exposed "gwet_ac1", "Gwet's first coefficient: it does not collapse at low prevalence.", "chance = sum pi_k (1 - pi_k) / (K - 1)", "pairs of opinions by number of readers", NONE, "no-second-reader", "Gwet 2008", "numpy";
    Readers Kept "cohen_kappa", "Cohen's kappa of two readers.", "(p_o - p_e) / (1 - p_e)", "table of the couple", "normal, with the error of Fleiss, Cohen and Everitt", "more than two readers: many-readers", "Cohen 1960; Fleiss, Cohen and Everitt 1969", "scikit-learn, statsmodels";
    Reference Exposed "reference_multiclass_accuracy", "Share of cases whose class is the predicted one, on the approved reference.", "as multiclass_accuracy", "the reference", "as multiclass_accuracy", "as multiclass_accuracy", "", "";
    Reference Exposed "reference_multiclass_auroc_hand_till", "Hand and Till's M on the approved reference.", "as multiclass_auroc_hand_till", "the reference", "as multiclass_auroc_hand_till", "as multiclass_auroc_hand_till", "", "";
    Reference Exposed "reference_embedding_reconstruction_error", "Mean reconstruction error of the held-out half of the approved reference.", "as embedding_reconstruction_error", "the reference", "as embedding_reconstruction_error", "as embedding_reconstruction_error", "", "";
    Reference Exposed "reference_mae", "Mean absolute error on the approved reference.", "as mae", "the reference", "as mae", "as mae", "", "";
    Reference Exposed "reference_bias", "Mean error on the approved reference.", "as bias", "the reference", "as bias", "as bias", "", "";
    Reference Exposed "reference_auroc", "Area under the ROC curve on the approved reference.", "as auroc", "the reference", "as auroc", "as auroc", "", "";
    Reference Exposed "reference_average_precision", "Average precision on the approved reference.", "as average_precision", "the reference", "as average_precision", "as average_precision", "", "";
    Reference Exposed "reference_brier", "Brier score on the approved reference.", "as brier", "the reference", "as brier", "as brier", "", "";
    Reference Exposed "reference_observed_expected", "Observed over expected positives on the approved reference.", "as observed_expected", "the reference", "as observed_expected", "as observed_expected", "", "";
    Reference Exposed "reference_prevalence", "Prevalence on the approved reference.", "as prevalence", "the reference", "as prevalence", "as prevalence", "", "";
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
