//! What people do about alerts: one door for the commands, the API and the links of notices.
//!
//! Whoever does something gives a name and a reason; both are kept in the audit trail with what was done. Of two people who
//! do the same at once one succeeds, and the other is told how things stand.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::alert::silence::{ANY, Matcher, check};
use crate::config::{HealthRule, Model, Plan, Quantity};
use crate::domain::Slice;
use crate::job::Context;
use crate::store::alert::HumanStep;
use crate::store::silence::NewSilence;
use crate::store::{Error, Result};

/// The longest name and the longest reason.
const LONGEST: [usize; 2] = [200, 2000];

/// Who does something, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    by: String,
    reason: String,
}

impl Person {
    /// A person with a reason.
    ///
    /// # Errors
    /// When one of them is missing, longer than a line or a page, or holds control characters.
    pub fn new(by: &str, reason: &str) -> Result<Self> {
        for ((what, text), longest) in [("by: who does it", by), ("reason: why", reason)].into_iter().zip(LONGEST) {
            if text.trim().is_empty() {
                return Err(Error::Refused(format!("{what} is missing; the audit trail keeps it")));
            }
            if text.chars().count() > longest {
                return Err(Error::Refused(format!("{what} is longer than {longest} characters; shorten it")));
            }
            if text.chars().any(|letter| letter.is_control() && !(letter == '\n' || letter == '\t' || letter == '\r')) {
                return Err(Error::Refused(format!("{what} holds a control character; leave it out")));
            }
        }
        Ok(Self { by: by.trim().to_owned(), reason: reason.trim().to_owned() })
    }

    /// The name and the reason.
    #[must_use]
    pub fn words(&self) -> (&str, &str) {
        (&self.by, &self.reason)
    }
}

impl Person {
    /// Their name and their reason.
    #[must_use]
    pub fn said(&self) -> [&str; 2] {
        [&self.by, &self.reason]
    }
}

/// Acknowledge or resolve an alert.
///
/// # Errors
/// When there is no such alert, its state does not allow it, or the store fails.
pub async fn step(context: &Context, alert_id: i64, step: HumanStep, person: &Person) -> Result<()> {
    let now = context.clock.now();
    context.store.step_alert(alert_id, step, &person.by, &person.reason, now).await?;
    tracing::info!(alert_id, transition = step.state().as_str(), "a person took a step");
    Ok(())
}

/// Say something about an alert, open or closed. It changes nothing else.
///
/// # Errors
/// When there is no such alert, or the store fails.
pub async fn comment(context: &Context, alert_id: i64, person: &Person) -> Result<()> {
    context.store.comment_alert(alert_id, &person.by, &person.reason, context.clock.now()).await?;
    tracing::info!(alert_id, "a person commented on an alert");
    Ok(())
}

/// Silence one alert for a while. Returns the number of the silence and its end.
///
/// # Errors
/// When there is no such open alert, the time is too long, or the store fails.
pub async fn silence_alert(
    context: &Context,
    alert_id: i64,
    length: Duration,
    person: &Person,
) -> Result<(i64, DateTime<Utc>)> {
    let now = context.clock.now();
    let alert = context.store.load_alert(alert_id).await?;
    let [model, version, rule, output, slice] =
        [&alert.model, &alert.version, &alert.rule, &alert.output, &alert.slice].map(Clone::clone);
    let matcher = Matcher { model, version, rule, output, slice };
    let ends_at = end(now, length);
    check(&matcher, now, ends_at, context.plan.alerting.longest_silence, now).map_err(Error::Refused)?;
    let silence_id = context.store.silence_alert(alert_id, ends_at, &person.by, &person.reason, now).await?;
    tracing::info!(alert_id, silence_id, "a person silenced an alert");
    Ok((silence_id, ends_at))
}

/// Silence whatever a matcher covers, from now or a later instant on. Returns the number of the silence and its end.
///
/// # Errors
/// When it names what the plan does not have, covers everything, is too long, or the store fails.
pub async fn add_silence(
    context: &Context,
    matcher: Matcher,
    starts_at: Option<DateTime<Utc>>,
    length: Duration,
    person: &Person,
) -> Result<(i64, DateTime<Utc>)> {
    let now = context.clock.now();
    let matcher = known(&context.plan, matcher).map_err(Error::Refused)?;
    let starts_at = starts_at.unwrap_or(now);
    let ends_at = end(starts_at, length);
    check(&matcher, starts_at, ends_at, context.plan.alerting.longest_silence, now).map_err(Error::Refused)?;
    let (created_by, reason) = (person.by.clone(), person.reason.clone());
    let silence = NewSilence { matcher, starts_at, ends_at, created_by, reason };
    let silence_id = context.store.add_silence(&silence, now).await?;
    tracing::info!(silence_id, covers = %silence.matcher, "a person made a silence");
    Ok((silence_id, ends_at))
}

/// End a silence early.
///
/// # Errors
/// When there is no such silence, it is over, or the store fails.
pub async fn end_silence(context: &Context, silence_id: i64, person: &Person) -> Result<()> {
    context.store.end_silence(silence_id, &person.by, &person.reason, context.clock.now()).await?;
    tracing::info!(silence_id, "a person ended a silence");
    Ok(())
}

fn end(starts_at: DateTime<Utc>, length: Duration) -> DateTime<Utc> {
    let length = TimeDelta::from_std(length).ok();
    length.and_then(|length| starts_at.checked_add_signed(length)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A matcher whose names the plan knows, its slice in canonical form: a misspelt silence would keep nothing quiet. Versions
/// come with the predictions, so any may be named.
fn known(plan: &Plan, matcher: Matcher) -> std::result::Result<Matcher, String> {
    let models: Vec<&Model> =
        plan.models.iter().filter(|model| matcher.model == ANY || model.name == matcher.model).collect();
    let list = |names: Vec<&str>| names.join(", ");
    if models.is_empty() {
        let names = plan.models.iter().map(|model| model.name.as_str()).collect();
        return Err(format!("there is no model {:?}; known are {}", matcher.model, list(names)));
    }
    let rules: Vec<&str> = models
        .iter()
        .flat_map(|model| {
            let watches = model.watches.iter().map(|watch| watch.name.as_str());
            model.alerts.iter().map(|rule| rule.name.as_str()).chain(watches)
        })
        .collect();
    let is_health = HealthRule::of_alert(&matcher.rule).is_some();
    if matcher.rule != ANY && !is_health && !rules.contains(&matcher.rule.as_str()) {
        let health = HealthRule::ALL.map(|rule| rule.alert_name(""));
        let rules: Vec<&str> = rules.into_iter().chain(health.iter().map(String::as_str)).collect();
        return Err(format!("there is no rule {:?}; known are {}", matcher.rule, list(rules)));
    }
    let outputs: Vec<String> =
        models.iter().flat_map(|model| model.quantities()).map(|quantity| quantity.name()).collect();
    let is_known = |output: &str| output == Quantity::Whole.name() || outputs.iter().any(|known| known == output);
    if matcher.output != ANY && !is_known(&matcher.output) {
        return Err(format!("there is no output {:?}; known are {}", matcher.output, outputs.join(", ")));
    }
    let slice = match matcher.slice.as_str() {
        ANY => ANY.to_owned(),
        text => text.parse::<Slice>()?.to_string(),
    };
    Ok(Matcher { slice, ..matcher })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(model: &str, rule: &str, output: &str, slice: &str) -> std::result::Result<Matcher, String> {
        let text = include_str!("../config/full.toml");
        let (plan, _) = crate::config::parse(text, std::path::Path::new(""), &|_| None).expect("valid");
        let [model, version, rule, output, slice] = [model, ANY, rule, output, slice].map(str::to_owned);
        known(&plan, Matcher { model, version, rule, output, slice })
    }

    #[test]
    fn a_misspelt_silence_is_refused_with_what_is_known() {
        assert!(matcher("knee", ANY, ANY, ANY).expect_err("unknown").contains("known are chest-xray"));
        assert!(matcher(ANY, "aurok", ANY, ANY).expect_err("unknown").contains("effusion-auroc"));
        assert!(matcher(ANY, ANY, "efusion", ANY).expect_err("unknown").contains("effusion"));
        assert!(matcher(ANY, ANY, ANY, "north").expect_err("malformed").contains("not of the form"));
        assert!(matcher(ANY, "health/no_truth/effusion", "(model)", "all").is_ok(), "alerts about the data, too");
        let known = matcher("chest-xray", "effusion-auroc", "effusion", "site=north & sex=F").expect("known");
        assert_eq!(known.slice, "sex=F & site=north", "in canonical form");
    }

    #[test]
    fn whoever_does_something_says_who_and_why() {
        assert!(Person::new(" ", "why").expect_err("nobody").to_string().contains("by: who does it is missing"));
        assert!(Person::new("a", "").expect_err("no reason").to_string().contains("reason: why is missing"));
        assert!(Person::new("a", &"x".repeat(2001)).expect_err("long").to_string().contains("shorten it"));
        assert_eq!(Person::new(" a ", " b ").expect("fine"), Person { by: "a".into(), reason: "b".into() });
    }
}
