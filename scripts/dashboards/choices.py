"""Choices and values: models that choose among classes or state numbers, and embeddings of their input."""

from grafana import BLUE, Dashboard, dashed, fixed, named


def place(output):
    return f'model="$model",version="$version",output="${output}",slice="$slice",window="$window"'


def make():
    d = Dashboard("choices-and-values", "Choices and values",
                  "Models that choose among classes or state a value, and the embeddings of their input.")
    d.prometheus()
    d.variable("model", "Model", "The monitored model.", 'label_values({__name__=~"dosimeter_multiclass_brier|dosimeter_mae"}, model)')
    d.variable("version", "Version", "The release of the model; the newest comes first.",
               'label_values(dosimeter_predictions{model="$model"}, version)', sort=8)
    d.variable("choice", "Choice", "A choice among classes.",
               'label_values(dosimeter_multiclass_brier{model="$model",version="$version"}, output)')
    d.variable("value", "Value", "A predicted value.", 'label_values(dosimeter_mae{model="$model",version="$version"}, output)')
    d.variable("slice", "Slice", "A part of the cases; all is the slice of everything.",
               'label_values(dosimeter_predictions{model="$model",version="$version"}, slice)', sort=7, preferred="all")
    d.window().alert_marks()
    choice(d)
    value(d)
    embedding(d)
    return d


def choice(d):
    here = place("choice")
    d.row("Choice: $choice, slice $slice, window $window")
    d.estimate("Accuracy", "Share of cases whose class is the predicted one. The band is the 95 % interval, the dashed line the value on the approved reference.",
               "multiclass_accuracy", "accuracy", reference=True, place=here, unit="percentunit", decimals=3)
    d.estimate("Hand and Till's M", """How well the scores of each class tell it from each other class, whatever the mix: 0.5 is chance, 1 is perfect. The band
        is the 95 % interval, the dashed line the value on the approved reference.""", "multiclass_auroc_hand_till", "M", reference=True,
               place=here, decimals=3)
    d.lines("Recall by class", "Share of the cases of each class that are predicted to be of it.",
            [("{{class}}", f"max by (class) (dosimeter_class_recall{{{here}}})")], unit="percentunit", decimals=3)
    d.lines("Balanced accuracy and kappa", "Mean recall of the classes, and agreement of truth and prediction beyond chance.", [
        ("balanced accuracy", f"max(dosimeter_multiclass_balanced_accuracy{{{here}}})"), ("kappa", f"max(dosimeter_multiclass_kappa{{{here}}})"),
    ], decimals=3, w=6)
    d.distance("Calibration error of the top score", "How far the greatest score is from the share of hits. Below the dashed line chance alone explains it.",
               "multiclass_top_label_ece", "ECE", place=here, decimals=3, w=6)
    d.distance("Drift of the predicted mix", "Population stability index of the predicted classes against the reference. Below the dashed line chance alone explains it.",
               "predicted_psi", "PSI", place=here, decimals=3, w=6)
    d.lines("Cases of the choice", "Predictions in the window, those whose class is known, and those that lack a score for some class.", [
        ("predictions", f"max(dosimeter_predictions{{{here}}})"), ("with truth", f"max(dosimeter_labelled{{{here}}})"),
        ("incomplete", f"max(dosimeter_incomplete_predictions{{{here}}})"),
    ], unit="short", decimals=0, minimum=0, w=6)


def value(d):
    here = place("value")
    d.row("Value: $value, slice $slice, window $window")
    d.estimate("Mean absolute error", "Mean distance of prediction and truth, in their unit. The band is the 95 % interval, the dashed line the value on the approved reference.",
               "mae", "MAE", reference=True, place=here, decimals=3)
    d.lines("Bias and limits of agreement", """Mean of prediction minus truth, and the limits between which nineteen of twenty errors lie (Bland and Altman). A model
        without bias has its line at zero.""", [
            ("lower limit", f"max(dosimeter_loa_lower{{{here}}})"), ("bias", f"max(dosimeter_bias{{{here}}})"),
            ("upper limit", f"max(dosimeter_loa_upper{{{here}}})"),
            ("reference", 'max(dosimeter_reference_bias{model="$model",version="$version",output="$value",slice="$slice"})'),
        ], decimals=3, overrides=[named("bias", color=fixed(BLUE)), dashed("reference")])
    d.estimate("Within tolerance", "Share of cases whose error is within the tolerance of the plan, with its 95 % interval.", "within_tolerance",
               "within tolerance", place=here, unit="percentunit", decimals=3)
    d.lines("Explained variance", "One minus the squared errors over the variance of the truth: it falls when errors grow, and when the truth varies less.",
            [("R2", f"max(dosimeter_r2{{{here}}})")], decimals=3, w=6)
    d.distance("Drift of the predicted values", "Distances of the predicted values from the reference. Below the dashed line chance alone explains the PSI.",
               "score_psi", "PSI", place=here, decimals=3, w=6, extra=[("KS", f"max(dosimeter_score_ks{{{here}}})")])
    d.lines("Root mean square and median error", "Typical sizes of the error, in the unit of the value: the first heeds the largest errors, the second does not.", [
        ("RMSE", f"max(dosimeter_rmse{{{here}}})"), ("median", f"max(dosimeter_median_absolute_error{{{here}}})"),
    ], decimals=3, w=6)
    d.lines("Cases of the value", "Predictions in the window, and those whose true value is known.", [
        ("predictions", f"max(dosimeter_predictions{{{here}}})"), ("with truth", f"max(dosimeter_labelled{{{here}}})"),
    ], unit="short", decimals=0, minimum=0, w=6)


def embedding(d):
    here = 'model="$model",version="$version",output="(embedding)",slice="all"'
    of_window = here + ',window="$window"'
    d.row("Embeddings of the input, window $window")
    d.distance("Discrepancy of embeddings", "Squared maximum mean discrepancy of the embeddings from those of the reference. Below the dashed line chance alone explains it.",
               "embedding_mmd2", "MMD2", place=of_window, decimals=3)
    d.distance("Embeddings far from the reference", "Share of embeddings farther from the middle than all but one in a hundred of the reference. Below the dashed line chance alone explains it.",
               "embedding_mahalanobis_share", "far away", place=of_window, unit="percentunit", decimals=3,
               extra=[("missing", f"max(dosimeter_embedding_missing{{{of_window}}})")])
    d.lines("Reconstruction error", "Mean distance of embeddings from the plane of the main directions of the reference, in its standard deviations. The dashed line is that of the reference.", [
        ("error", f"max(dosimeter_embedding_reconstruction_error{{{of_window}}})"),
        ("reference", f"max(dosimeter_reference_embedding_reconstruction_error{{{here}}})"),
    ], decimals=3, overrides=[named("error", color=fixed(BLUE)), dashed("reference")])
