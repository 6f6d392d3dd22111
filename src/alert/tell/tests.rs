//! Cases of telling, and its laws over random histories.

use proptest::prelude::*;

use super::super::silence::{ANY, Matcher};
use super::super::{Terms, step};
use super::*;
use crate::config::Escalation;
use crate::detect::limit::Verdict;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn at(hours: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(hours * 3600, 0).expect("a valid instant")
}

fn alerting() -> Alerting {
    Alerting {
        repeat_page: DAY,
        repeat_ticket: 7 * DAY,
        acknowledged_for: 7 * DAY,
        expire_after: 14 * DAY,
        longest_silence: 30 * DAY,
        escalations: vec![
            Escalation { after: 4 * HOUR, to: vec!["a@b".into()] },
            Escalation { after: 12 * HOUR, to: vec!["c@d".into()] },
        ],
    }
}

fn subject(slice: &str) -> Subject<'_> {
    Subject { model: "chest", version: "1", rule: "auroc", output: "effusion", slice }
}

fn candidate(alert_id: i64, slice: &str, state: State) -> Candidate<'_> {
    Candidate {
        alert_id,
        subject: subject(slice),
        concern: Some("auroc below"),
        severity: Severity::Page,
        standing: Standing::new(state, true, at(0)),
        is_news: false,
        told: Told::default(),
    }
}

fn fired(alert_id: i64, slice: &str) -> Candidate<'_> {
    Candidate { is_news: true, ..candidate(alert_id, slice, State::Firing) }
}

fn silence(slice: &str, from: i64, to: i64) -> Silence {
    let any = || ANY.to_owned();
    let matcher = Matcher { model: any(), version: any(), rule: any(), output: any(), slice: slice.to_owned() };
    Silence { silence_id: 4, matcher, starts_at: at(from), ends_at: at(to) }
}

fn all(candidates: &[Candidate<'_>], silences: &[Silence], now: i64) -> Vec<(Decision, Told)> {
    decide(candidates, &Policy { alerting: &alerting(), maintenance: &[], silences }, at(now))
}

fn one(candidate: &Candidate<'_>, silences: &[Silence], now: i64) -> (Decision, Told) {
    all(std::slice::from_ref(candidate), silences, now).remove(0)
}

fn is_told(answer: &(Decision, Told)) -> bool {
    matches!(answer.0, Decision::Tell(_))
}

#[test]
fn what_fires_is_told_once_and_again_after_the_repeat() {
    let mut alert = fired(1, "all");
    alert.severity = Severity::Ticket;
    let quiet = Alerting { escalations: vec![], ..alerting() };
    let policy = Policy { alerting: &quiet, maintenance: &[], silences: &[] };
    let decide_at = |alert: &mut Candidate<'_>, now| {
        let (decision, told) = decide(std::slice::from_ref(alert), &policy, at(now)).remove(0);
        (alert.told, alert.is_news) = (told, false);
        decision
    };
    assert_eq!(decide_at(&mut alert, 0), Decision::Tell(Occasion::News));
    assert_eq!(decide_at(&mut alert, 167), Decision::Keep(Quiet::Known(Some(at(168)))));
    assert_eq!(decide_at(&mut alert, 168), Decision::Tell(Occasion::Repeated(7 * DAY)));
    assert_eq!(decide_at(&mut alert, 169), Decision::Keep(Quiet::Known(Some(at(336)))));
    alert.standing.state = State::Acknowledged;
    assert_eq!(decide_at(&mut alert, 400), Decision::Keep(Quiet::Acknowledged));
    alert.standing.state = State::Firing;
    alert.standing.breached = false;
    assert_eq!(decide_at(&mut alert, 400), Decision::Keep(Quiet::NotHolding));
    alert.standing.state = State::Pending;
    assert_eq!(decide_at(&mut alert, 400), Decision::Keep(Quiet::NotFiring));
}

#[test]
fn what_nobody_acknowledges_escalates_step_by_step() {
    let mut alert = fired(1, "all");
    let mut levels = Vec::new();
    for hour in 0..=30 {
        let (decision, told) = one(&alert, &[], hour);
        if matches!(decision, Decision::Tell(_)) {
            levels.push((hour, told.escalation));
        }
        (alert.told, alert.is_news) = (told, false);
    }
    // After the last step it is repeated by the page's repeat, to all who were told before.
    assert_eq!(levels, [(0, 0), (4, 1), (12, 2)]);
    let (decision, told) = one(&alert, &[], 36);
    assert_eq!((decision, told.escalation), (Decision::Tell(Occasion::Repeated(DAY)), 2));
}

#[test]
fn what_a_silence_kept_quiet_is_told_when_it_ends_and_still_holds() {
    let silences = [silence(ANY, 0, 5)];
    let (decision, told) = one(&fired(1, "all"), &silences, 0);
    assert_eq!(decision.to_string(), "not told: silenced by silence 4 until 1970-01-01T05:00:00Z");
    assert!(told.owed && told.last_at.is_none());
    let later = Candidate { told, ..candidate(1, "all", State::Firing) };
    assert!(!is_told(&one(&later, &silences, 4)));
    let (decision, after) = one(&later, &silences, 5);
    assert!(decision.to_string().starts_with("told: it was silenced by silence 4 until"), "{decision}");
    assert_eq!((after.unanswered_since, after.owed, after.mute), (Some(at(5)), false, None));
    // It has ceased meanwhile: nobody is told, until it holds again.
    let mut ceased = later.clone();
    ceased.standing.breached = false;
    let (decision, told) = one(&ceased, &silences, 5);
    assert_eq!((decision, told.owed), (Decision::Keep(Quiet::NotHolding), true));
    assert!(is_told(&one(&Candidate { told, ..candidate(1, "all", State::Firing) }, &[], 6)));
    // Somebody has taken it up: only what they could not know is told.
    let acknowledged =
        Candidate { told: Told { owed: false, ..later.told.clone() }, ..candidate(1, "all", State::Acknowledged) };
    assert_eq!(one(&acknowledged, &silences, 5).0, Decision::Keep(Quiet::Acknowledged));
}

#[test]
fn a_wider_slice_explains_a_narrower_one_that_fires_with_it() {
    let family = [fired(3, "site=north & sex=F"), fired(2, "site=north"), fired(1, "all"), fired(4, "site=south")];
    let answers = all(&family, &[], 0);
    assert_eq!(answers.iter().map(is_told).collect::<Vec<_>>(), [false, false, true, false]);
    assert_eq!(answers[1].0, Decision::Keep(Quiet::Muted(Mute::Inhibited(1))));
    assert!(answers[0].1.owed, "it is owed");
    // The parent is closed: each child whose own parent is known is still explained by that.
    let next: Vec<Candidate<'_>> = [(0, 3), (1, 2), (3, 4)]
        .map(|(index, id)| Candidate {
            told: answers[index].1.clone(),
            ..candidate(id, family[index].subject.slice, State::Firing)
        })
        .to_vec();
    let answers = all(&next, &[], 1);
    assert_eq!(answers.iter().map(is_told).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(answers[1].0.to_string(), "told: it was inhibited by alert 1");
    assert_eq!(answers[0].0, Decision::Keep(Quiet::Muted(Mute::Inhibited(2))));
}

#[test]
fn nothing_explains_what_is_not_its_own() {
    let explained =
        |parent: Candidate<'_>, silences: &[Silence]| !is_told(&all(&[parent, fired(2, "site=north")], silences, 0)[1]);
    assert!(explained(fired(1, "all"), &[]));
    let mut other = fired(1, "all");
    other.subject.output = "nodule";
    assert!(!explained(other, &[]), "outputs are siblings");
    assert!(!explained(Candidate { concern: Some("ece above"), ..fired(1, "all") }, &[]), "another metric");
    assert!(!explained(Candidate { severity: Severity::Ticket, ..fired(1, "all") }, &[]), "a ticket explains no page");
    assert!(!explained(fired(1, "all"), &[silence("all", 0, 9)]), "nobody knows of a silenced parent");
    let known =
        Candidate { told: Told { last_at: Some(at(0)), ..Told::default() }, ..candidate(1, "all", State::Firing) };
    assert!(explained(known.clone(), &[]));
    assert!(!explained(known.clone(), &[silence("all", 0, 9)]), "people knew of it, and hear nothing of it now");
    let owed = Told { owed: true, mute: Some(Mute::Inhibited(9)), ..known.told.clone() };
    assert!(explained(Candidate { told: owed, ..known }, &[]), "what is owed is told in the same pass");
    assert!(!explained(candidate(1, "all", State::Pending), &[]), "it has not fired");
    let mut ceased =
        Candidate { told: Told { last_at: Some(at(0)), ..Told::default() }, ..candidate(1, "all", State::Firing) };
    assert!(explained(ceased.clone(), &[]));
    ceased.standing.breached = false;
    assert!(!explained(ceased, &[]), "it does not hold");
}

#[test]
fn an_alert_without_a_subject_is_inhibited_only_while_its_parent_is_open() {
    let told = Told { mute: Some(Mute::Inhibited(1)), owed: true, ..Told::default() };
    let child = Candidate { concern: None, told, ..candidate(2, "site=north", State::Firing) };
    let known =
        Candidate { told: Told { last_at: Some(at(0)), ..Told::default() }, ..candidate(1, "all", State::Firing) };
    assert!(!is_told(&all(&[known.clone(), child.clone()], &[], 0)[1]));
    let mut closed = known;
    closed.standing.state = State::Resolved;
    assert!(is_told(&all(&[closed, child.clone()], &[], 0)[1]));
    assert!(is_told(&all(&[child], &[], 0)[0]), "the parent is not listed any more");
}

#[test]
fn a_parent_that_comes_and_goes_does_not_make_its_child_heard_each_time() {
    let told =
        Told { last_at: Some(at(0)), mute: Some(Mute::Inhibited(1)), unanswered_since: Some(at(0)), ..Told::default() };
    let child = Candidate { told, ..candidate(2, "site=north", State::Firing) };
    assert!(!is_told(&one(&child, &[], 3)));
    assert!(is_told(&one(&child, &[], 25)));
}

#[test]
fn what_expires_is_told_unless_it_is_silenced() {
    let mut gone = candidate(1, "all", State::Expired);
    gone.standing.breached = false;
    gone.is_news = true;
    assert!(is_told(&one(&gone, &[], 0)));
    assert!(!is_told(&one(&gone, &[silence(ANY, 0, 9)], 0)));
}

/// What happens in an hour.
#[derive(Clone, Debug)]
enum Happening {
    Breached,
    Kept,
    Unknown,
    Acknowledged,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => Just(Happening::Breached),
        2 => Just(Happening::Kept),
        1 => Just(Happening::Unknown),
        1 => Just(Happening::Acknowledged),
    ]
}

/// One hour of a life: the alert after it, the decision, and whether a silence was in force.
struct Hour {
    now: i64,
    standing: Standing,
    told: Told,
    decision: Decision,
    is_silenced: bool,
}

fn live(happenings: &[Happening], silences: &[Silence]) -> Vec<Hour> {
    let alerting = alerting();
    let terms = Terms {
        hold: Duration::ZERO,
        acknowledged_for: alerting.acknowledged_for,
        expire_after: alerting.expire_after,
    };
    let (mut open, mut told, mut hours): (Option<Standing>, Told, Vec<Hour>) = (None, Told::default(), Vec::new());
    for (now, happening) in (0..).zip(happenings) {
        let verdict = match happening {
            Happening::Breached => Verdict::Breached,
            Happening::Kept => Verdict::Kept,
            Happening::Unknown => Verdict::Undecided("no truth".into()),
            Happening::Acknowledged => {
                if let Some(standing) = open.as_mut().filter(|standing| standing.state == State::Firing) {
                    (standing.state, standing.acknowledged_at) = (State::Acknowledged, Some(at(now)));
                    told = Told { owed: false, unanswered_since: None, escalation: 0, ..told };
                }
                Verdict::Undecided("no truth".into())
            }
        };
        let step = step(open, &verdict, &terms, at(now));
        open = step.map(|step| step.standing).or(open);
        let Some(standing) = open else { continue };
        let is_news = step.is_some_and(|step| step.notifies);
        let alert = Candidate { standing, is_news, told, ..candidate(1, "all", standing.state) };
        let (decision, after) = one(&alert, silences, now);
        told = after;
        let is_silenced = silences.iter().any(|silence| silence.starts_at <= at(now) && at(now) < silence.ends_at);
        hours.push(Hour { now, standing, told: told.clone(), decision, is_silenced });
    }
    hours
}

proptest! {
    #[test]
    fn nobody_is_told_of_what_is_silenced(
        happenings in prop::collection::vec(happening(), 1..200), from in 0..200_i64, length in 1..100_i64
    ) {
        for hour in live(&happenings, &[silence(ANY, from, from + length)]) {
            prop_assert!(!(hour.is_silenced && matches!(hour.decision, Decision::Tell(_))), "hour {}", hour.now);
        }
    }

    #[test]
    fn what_fires_beyond_a_silence_is_told_at_the_first_look_after_it(
        happenings in prop::collection::vec(happening(), 1..200), from in 0..200_i64, length in 1..100_i64
    ) {
        let hours = live(&happenings, &[silence(ANY, from, from + length)]);
        for pair in hours.windows(2).filter(|pair| pair[0].is_silenced && !pair[1].is_silenced) {
            let holds = pair[1].standing.state == State::Firing && pair[1].standing.breached;
            prop_assert!(!holds || matches!(pair[1].decision, Decision::Tell(_)), "hour {}", pair[1].now);
        }
    }

    #[test]
    fn a_page_that_nobody_acknowledges_is_never_quiet_for_longer_than_its_repeat(
        happenings in prop::collection::vec(happening(), 1..400), from in 0..400_i64, length in 1..100_i64
    ) {
        for hour in live(&happenings, &[silence(ANY, from, from + length)]) {
            let owes = hour.standing.state == State::Firing && hour.standing.breached && !hour.is_silenced;
            let quiet = hour.told.last_at.map(|last| lasted(last, at(hour.now)));
            prop_assert!(!owes || quiet.is_some_and(|quiet| quiet < DAY), "hour {}: {quiet:?}", hour.now);
        }
    }

    #[test]
    fn an_acknowledged_alert_is_not_repeated_before_its_time(
        happenings in prop::collection::vec(happening(), 1..300)
    ) {
        for hour in live(&happenings, &[]).into_iter().filter(|hour| hour.standing.state == State::Acknowledged) {
            prop_assert!(!matches!(
                hour.decision,
                Decision::Tell(Occasion::Repeated(_) | Occasion::Escalated(..) | Occasion::Unmuted(_))
            ));
        }
    }
}
