# Golden numbers by R's packages, for the data of binary.json and regression.json. Writes tests/golden/r.json.
#
# Scores are given to every program as they are, but to those named clipped within 1e-6 of zero and one. rms::val.prob leaves scores of
# 0 and 1 out of its line and its c, and stops its fit when the deviance changes by less than 0.025: glm is the one to be near to. Its c
# is up to 0.001 from the area where scores lie close together: pROC is the one to be near to.

Sys.setenv(TZ = "UTC")
packages <- c("jsonlite", "pROC", "rms", "psych", "epiR", "spc")
for (name in packages) suppressWarnings(suppressPackageStartupMessages(library(name, character.only = TRUE)))

# jsonlite writes 15 digits at most: these are the fewest that read back as the same number.
number <- function(x) {
  one <- function(v) {
    if (!is.finite(v)) return("null")
    for (digits in 15:17) if (as.numeric(text <- sprintf("%.*g", digits, v)) == v) break
    text
  }
  text <- vapply(unname(x), one, "")
  structure(if (length(text) == 1) text else paste0("[", paste(text, collapse = ", "), "]"), class = "json")
}
numbers <- function(...) lapply(list(...), number)

cut_off <- function(p) pmin(pmax(p, 1e-6), 1 - 1e-6)

val_prob <- function(p, y) {
  s <- suppressWarnings(val.prob(p, y, pl = FALSE))
  numbers(left_out_of_line = sum(p == 0 | p == 1), c = s["C (ROC)"], brier = s["Brier"], intercept = s["Intercept"],
          slope = s["Slope"], spiegelhalter_z = s["S:z"], spiegelhalter_p = s["S:p"])
}

recalibration <- function(p, y) {
  x <- qlogis(p)
  exact <- glm.control(epsilon = 1e-14, maxit = 200)
  line <- summary(glm(y ~ x, family = binomial, control = exact))$coefficients
  large <- summary(glm(y ~ 1, offset = x, family = binomial, control = exact))$coefficients
  numbers(intercept = line[1, 1], intercept_se = line[1, 2], slope = line[2, 1], slope_se = line[2, 2],
          in_the_large = large[1, 1], in_the_large_se = large[1, 2])
}

curve_of <- function(y, p) roc(y, p, levels = c(0, 1), direction = "<", quiet = TRUE)

binary <- function(case) {
  y <- case$truth
  p <- case$scores
  r <- curve_of(y, p)
  interval <- as.numeric(ci.auc(r, method = "delong"))
  partial <- auc(r, partial.auc = c(1, 0.8), partial.auc.focus = "specificity", partial.auc.correct = TRUE)
  out <- c(list(name = case$name), numbers(auc = auc(r), auc_variance = var(r, method = "delong"), auc_interval = interval[c(1, 3)],
                                           partial_auc_standardised = partial))
  out$val_prob <- val_prob(p, y)
  out$val_prob_clipped <- val_prob(cut_off(p), y)
  if (all(p > 0 & p < 1)) out$glm <- recalibration(p, y)
  out$glm_clipped <- recalibration(cut_off(p), y)
  out
}

paired <- function() {
  y <- c(0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1)
  first <- c(.1, .4, .35, .8, .2, .7, .5, .5, .9, .3, .4, .6)
  second <- c(.2, .3, .5, .6, .4, .5, .6, .7, .8, .1, .5, .4)
  test <- roc.test(curve_of(y, first), curve_of(y, second), method = "delong", paired = TRUE)
  numbers(truth = y, first = first, second = second, first_auc = test$estimate[1], second_auc = test$estimate[2], z = test$statistic, p = test$p.value)
}

regression <- function(case) {
  ccc <- function(ci) unlist(epi.ccc(case$truth, case$predictions, ci = ci)$rho.c)
  z <- ccc("z-transform")
  icc <- suppressWarnings(ICC(data.frame(case$truth, case$predictions), lmer = FALSE))$results
  icc <- icc[icc$type == "ICC2", ]
  c(list(name = case$name), numbers(ccc = z[1], ccc_interval = z[2:3], ccc_interval_asymptotic = ccc("asymptotic")[2:3], icc = icc$ICC,
                                    icc_interval = c(icc$`lower bound`, icc$`upper bound`)))
}

run_lengths <- function() {
  rows <- list()
  for (at in list(c(.5, 4, 0), c(.5, 5, 0), c(.5, 5, 1))) for (sided in c("one", "two")) {
    arl <- xcusum.arl(k = at[1], h = at[2], mu = at[3], sided = sided)
    rows <- c(rows, list(c(list(chart = "cusum", sided = sided), numbers(k = at[1], h = at[2], mu = at[3], arl = arl))))
  }
  for (mu in c(0, 1)) {
    arl <- xewma.arl(l = .1, c = 2.7, mu = mu, zr = 0, sided = "one")
    rows <- c(rows, list(c(list(chart = "ewma", sided = "one", limits = "fix"), numbers(l = .1, c = 2.7, mu = mu, arl = arl))))
  }
  rows
}

cases <- function(name) fromJSON(file.path("tests/golden", name), simplifyDataFrame = FALSE)$cases
arguments <- commandArgs(trailingOnly = TRUE)
golden <- list(made_by = "scripts/parity/reference.R", r = paste(R.version$major, R.version$minor, sep = "."),
               programs = sapply(packages, function(name) as.character(packageVersion(name)), simplify = FALSE),
               binary = lapply(cases("binary.json"), binary), paired_delong = paired(),
               regression = lapply(cases("regression.json"), regression), run_lengths = run_lengths())
cat(toJSON(golden, auto_unbox = TRUE, json_verbatim = TRUE, pretty = 1), file = if (length(arguments)) arguments[1] else "tests/golden/r.json")
