//! Who asks: the caller of a request, and the gate that every request passes.
//!
//! What a route needs stands in `routes`; `guard` asks the gate before any handler runs. A handler that wants to know who asks
//! takes a [`Caller`] as its first argument, and asks it about the model that a request is about.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use chrono::{DateTime, TimeDelta, Utc};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::console::session::{self, Session};
use super::routes::Need;
use super::{Problem, Shared};
use crate::access::{self, Role, Token};
use crate::alert::link::is_same_secret;
use crate::config::Rate;
use crate::job::Context;
use crate::person::Person;

/// A token that was looked up is believed for so long: a revocation is in force everywhere after it.
const BELIEVED: TimeDelta = TimeDelta::seconds(5);
/// The use of a token is noted no more often.
const NOTED: TimeDelta = TimeDelta::seconds(60);
/// The rate of whoever is nobody, or nobody that is known.
const NOBODY: i64 = -1;
/// That of the configured token.
const CONFIGURED: i64 = 0;
/// Attempts to log in a second, and at once: people type seldom, and guessing is hopeless anyway.
const LOGINS: (NonZeroU32, NonZeroU32) = (NonZeroU32::MIN, NonZeroU32::MIN.saturating_add(9));

/// Who asks, and what they may do.
#[derive(Clone, Debug)]
pub struct Caller {
    name: String,
    token_id: Option<i64>,
    roles: Vec<Role>,
    models: Option<Arc<[String]>>,
    /// The session of the console that the caller has shown instead of a token.
    session: Option<Arc<str>>,
}

impl Caller {
    /// Whoever needs to show nothing.
    fn anybody(roles: &[Role]) -> Self {
        Self { name: "anybody".to_owned(), token_id: None, roles: roles.to_vec(), models: None, session: None }
    }

    /// The name of the token; `configuration` for the configured one, `anybody` while access is open.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a role of the caller's covers this one.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.iter().any(|own| own.covers(role))
    }

    /// The session that the caller has shown, if it was one.
    #[must_use]
    pub(super) fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// The only models that the caller may see and change; none: all.
    #[must_use]
    pub fn models(&self) -> Option<&[String]> {
        self.models.as_deref()
    }

    /// Whether the caller may see and change a model.
    #[must_use]
    pub fn sees(&self, model: &str) -> bool {
        self.models().is_none_or(|models| models.iter().any(|own| own == model))
    }

    /// Refuse a model that the caller may not see.
    ///
    /// # Errors
    /// 403 when the token is for other models.
    pub fn require_model(&self, model: &str) -> Result<(), Problem> {
        match self.models() {
            Some(models) if !self.sees(model) => Err(Problem::forbidden(format!(
                "token {:?} is for {} and not for {model:?}",
                self.name,
                models.join(", ")
            ))),
            _ => Ok(()),
        }
    }

    /// The model that a request without one is about: none (all) for whoever may see all.
    ///
    /// # Errors
    /// 403 when the token is for other models; 400 when it is for several and the request names none.
    pub fn scope(&self, model: Option<String>) -> Result<Option<String>, Problem> {
        match (model, self.models()) {
            (Some(model), _) => self.require_model(&model).map(|()| Some(model)),
            (None, None) => Ok(None),
            (None, Some([only])) => Ok(Some(only.clone())),
            (None, Some(models)) => {
                let names = models.join(", ");
                Err(Problem::bad_request(format!("the token is for {names}; name one of them: model=")))
            }
        }
    }

    /// The models that a list is of: the one that the request names, those that the token is for, or all (none).
    ///
    /// # Errors
    /// 403 when the token is for other models.
    pub fn scopes(&self, model: Option<String>) -> Result<Option<Vec<String>>, Problem> {
        match model {
            Some(model) => self.require_model(&model).map(|()| Some(vec![model])),
            None => Ok(self.models().map(<[String]>::to_vec)),
        }
    }

    /// Refuse what is about all models to a token that is for some.
    ///
    /// # Errors
    /// 403 when the token is for some models only.
    pub fn require_all_models(&self, what: &str) -> Result<(), Problem> {
        match self.models() {
            None => Ok(()),
            Some(models) => {
                let names = models.join(", ");
                Err(Problem::forbidden(format!("{what} is about all models, and token {:?} is for {names}", self.name)))
            }
        }
    }

    /// The person of a step: whom the request names, by the token that vouches for it; the token itself if it names nobody.
    ///
    /// # Errors
    /// 400 when the name or the reason is missing or too long.
    pub fn person(&self, by: Option<&str>, reason: &str) -> Result<Person, Problem> {
        let by = match by {
            None => self.name.clone(),
            Some(by) if by.trim().is_empty() => String::new(),
            Some(by) => format!("{} (token {})", by.trim(), self.name),
        };
        Person::new(&by, reason).map_err(Problem::internal)
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::internal(anyhow::anyhow!("a request has passed no gate")))
    }
}

type Limiter = Arc<DefaultKeyedRateLimiter<i64>>;

/// What the requests of a process share: tokens that were looked up, and who has asked how often.
#[derive(Default)]
pub struct Gate {
    tokens: Mutex<HashMap<i64, (Token, DateTime<Utc>)>>,
    has_tokens: Mutex<Option<(bool, DateTime<Utc>)>>,
    limiter: Mutex<Option<(Rate, Limiter)>>,
    logins: OnceLock<DefaultDirectRateLimiter>,
}

impl Gate {
    /// Let a request in, or say why not.
    pub(super) async fn admit(&self, context: &Context, need: Need, headers: &HeaderMap) -> Result<Caller, Problem> {
        let shown = bearer(headers);
        match need {
            Need::Nothing | Need::Link => return Ok(Caller::anybody(&[])),
            Need::Metrics => {
                let Some(wanted) = &context.plan.http.metrics_token else { return Ok(Caller::anybody(&[])) };
                if shown.is_some_and(|shown| is_same_secret(wanted.expose(), shown)) {
                    return Ok(Caller::anybody(&[]));
                }
            }
            Need::Role(_) | Need::Page(_) => {}
        }
        // A browser sends its session along by itself: it is good for pages, whose forms have a secret of their own, and for no
        // operation of the API.
        let session = session::cookie(headers, session::COOKIE).filter(|_| matches!(need, Need::Page(_)));
        let caller = match (shown, session) {
            (None, Some(cookie)) => match self.resume(context, cookie).await {
                // A cookie that is over is none: while access is open, nobody needs one.
                Err(over) if over.status == StatusCode::UNAUTHORIZED => {
                    self.identify(context, None, headers).await.map_err(|_| over)?
                }
                resumed => resumed?,
            },
            _ => self.identify(context, shown, headers).await?,
        };
        let role = match need {
            Need::Role(role) | Need::Page(role) => role,
            _ => Role::Read,
        };
        if !caller.has(role) {
            let (name, own) = (&caller.name, access::list(&caller.roles));
            let remedy = if caller.token_id.is_none() && caller.name == "anybody" {
                "this needs a token, and there is none yet: make one by `dosimeter token create`".to_owned()
            } else {
                format!("this needs the role {role}, and token {name:?} has {own}")
            };
            return Err(Problem::forbidden(remedy));
        }
        Ok(caller)
    }

    /// Who has shown this.
    async fn identify(&self, context: &Context, shown: Option<&str>, headers: &HeaderMap) -> Result<Caller, Problem> {
        let now = context.clock.now();
        let rate = context.plan.http.rate;
        let Some(shown) = shown else {
            self.count(rate, NOBODY)?;
            let is_open =
                context.plan.http.may_be_open(&context.plan.service) && !self.has_tokens(context, now).await?;
            if is_open {
                return nearby(headers);
            }
            return Err(Problem::unauthorized("show a token: Authorization: Bearer TOKEN (`dosimeter token create`)"));
        };
        if context.plan.http.token.as_ref().is_some_and(|token| is_same_secret(token.expose(), shown)) {
            self.count(rate, CONFIGURED)?;
            let name = "configuration".to_owned();
            return Ok(Caller { name, token_id: None, roles: vec![Role::Admin], models: None, session: None });
        }
        let known = match access::read(shown) {
            Some((token_id, secret)) => self.find(context, token_id, now).await?.map(|token| (token, secret)),
            None => None,
        };
        let judged = match &known {
            Some((token, secret)) => token.judge(secret, now),
            None => Err(access::Refusal::Wrong),
        };
        let token = match (known, judged) {
            (Some((token, _)), Ok(())) => token,
            (_, judged) => {
                self.count(rate, NOBODY)?;
                let refusal = judged.err().unwrap_or(access::Refusal::Wrong);
                return Err(Problem::unauthorized(refusal.to_string()));
            }
        };
        self.count(rate, token.token_id)?;
        self.note_use(context, &token, now).await;
        Ok(Caller {
            name: token.name,
            token_id: Some(token.token_id),
            roles: token.roles,
            models: token.models.map(Arc::from),
            session: None,
        })
    }

    /// Begin a session of the console for whoever shows a good token that may read: who that is, and the session.
    pub(super) async fn begin(&self, context: &Context, shown: &str, headers: &HeaderMap) -> Result<Session, Problem> {
        let quota = Quota::per_second(LOGINS.0).allow_burst(LOGINS.1);
        let limiter = self.logins.get_or_init(|| RateLimiter::direct(quota));
        limiter.check().map_err(|refused| {
            let wait = refused.wait_time_from(DefaultClock::default().now());
            Problem::too_many("too many people log in at once; try again in a moment", wait.max(Duration::from_secs(1)))
        })?;
        let caller = self.identify(context, Some(shown), headers).await?;
        if !caller.has(Role::Read) {
            let (name, own) = (&caller.name, access::list(&caller.roles));
            return Err(Problem::forbidden(format!("the console needs the role read, and token {name:?} has {own}")));
        }
        let now = context.clock.now();
        let kept = self.kept(context, caller.token_id.unwrap_or(CONFIGURED), now).await?;
        let kept = kept.ok_or_else(|| Problem::unauthorized("the token is not known here any more"))?;
        Ok(Session::begin(&context.signer, caller.token_id.unwrap_or(CONFIGURED), &kept.1, now))
    }

    /// Who has begun a session. It ends with its time, with its token, and with the token's secret.
    async fn resume(&self, context: &Context, cookie: &str) -> Result<Caller, Problem> {
        let over = || Problem::unauthorized("the session is over; log in again");
        let (rate, now) = (context.plan.http.rate, context.clock.now());
        let nobody = || self.count(rate, NOBODY);
        let Some(session) = Session::read(cookie) else {
            nobody()?;
            return Err(over());
        };
        let Some((caller, kept)) = self.kept(context, session.token_id, now).await? else {
            nobody()?;
            return Err(over());
        };
        if !session.is_good(&context.signer, &kept, now) {
            nobody()?;
            return Err(over());
        }
        self.count(rate, session.token_id)?;
        Ok(Caller { session: Some(Arc::from(cookie)), ..caller })
    }

    /// The holder of a good token with what is kept of its secret.
    async fn kept(
        &self,
        context: &Context,
        token_id: i64,
        now: DateTime<Utc>,
    ) -> Result<Option<(Caller, Vec<u8>)>, Problem> {
        if token_id == CONFIGURED {
            let configured = context.plan.http.token.as_ref();
            return Ok(configured.map(|token| {
                let name = "configuration".to_owned();
                let caller = Caller { name, token_id: None, roles: vec![Role::Admin], models: None, session: None };
                (caller, access::hash(token.expose()))
            }));
        }
        let token = self.find(context, token_id, now).await?.filter(|token| token.state(now) == "good");
        Ok(token.map(|token| {
            let caller = Caller {
                name: token.name,
                token_id: Some(token.token_id),
                roles: token.roles,
                models: token.models.map(Arc::from),
                session: None,
            };
            (caller, token.hash)
        }))
    }

    /// A token, from memory or from the database.
    async fn find(&self, context: &Context, token_id: i64, now: DateTime<Utc>) -> Result<Option<Token>, Problem> {
        let remembered = lock(&self.tokens).get(&token_id).cloned();
        match remembered {
            Some((token, at)) if now < at + BELIEVED => return Ok(Some(token)),
            Some(_) => {}
            // Guesses must not cost the database more than anything else that nobody is known for.
            None => self.count(context.plan.http.rate, NOBODY)?,
        }
        let found = context.store.find_token(token_id).await.map_err(Problem::internal)?;
        if let Some(token) = &found {
            lock(&self.tokens).insert(token_id, (token.clone(), now));
        }
        Ok(found)
    }

    /// Whether there is or was a token; once there was, access is never open again.
    async fn has_tokens(&self, context: &Context, now: DateTime<Utc>) -> Result<bool, Problem> {
        let remembered = *lock(&self.has_tokens);
        match remembered {
            Some((true, _)) => return Ok(true),
            Some((false, at)) if now < at + BELIEVED => return Ok(false),
            _ => {}
        }
        let has = context.store.has_tokens().await.map_err(Problem::internal)?;
        *lock(&self.has_tokens) = Some((has, now));
        Ok(has)
    }

    async fn note_use(&self, context: &Context, token: &Token, now: DateTime<Utc>) {
        if token.last_used_at.is_some_and(|at| now < at + NOTED) {
            return;
        }
        if let Some((remembered, _)) = lock(&self.tokens).get_mut(&token.token_id) {
            remembered.last_used_at = Some(now);
        }
        if let Err(error) = context.store.touch_token(token.token_id, now).await {
            // Whoever asks gets their answer all the same.
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(error, token_id = token.token_id, "the use of a token was not noted");
        }
    }

    /// Count a request of somebody's; refuse it when there are too many.
    fn count(&self, rate: Option<Rate>, who: i64) -> Result<(), Problem> {
        let Some(rate) = rate else { return Ok(()) };
        let limiter = {
            let mut present = lock(&self.limiter);
            match &*present {
                Some((of, limiter)) if *of == rate => limiter.clone(),
                _ => {
                    let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
                    let limiter: Limiter = Arc::new(RateLimiter::keyed(quota));
                    *present = Some((rate, limiter.clone()));
                    limiter
                }
            }
        };
        limiter.check_key(&who).map_err(|refused| {
            let wait = refused.wait_time_from(DefaultClock::default().now());
            Problem::too_many(
                format!("more than {} requests a second; ask again later (http.requests_per_second)", rate.per_second),
                wait.max(Duration::from_secs(1)),
            )
        })
    }
}

/// What may be done without a token while there is none: bring records and ask. Steps of people need one.
const OPEN: [Role; 2] = [Role::Ingest, Role::Read];

/// Somebody on this machine. A page of another place that a browser here has been led to is not: its requests carry the name of
/// that place, however it resolves.
fn nearby(headers: &HeaderMap) -> Result<Caller, Problem> {
    let text = |name| headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap_or("?"));
    let origin = text(header::ORIGIN).map(|origin| origin.split_once("://").map_or(origin, |(_, place)| place));
    if text(header::HOST).into_iter().chain(origin).all(is_here) {
        return Ok(Caller::anybody(&OPEN));
    }
    Err(Problem::forbidden(
        "while there is no token, the daemon answers those on its own machine, under localhost or a loopback address: make a \
         token by `dosimeter token create`",
    ))
}

/// Whether a host with or without a port is this machine by name.
fn is_here(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic elsewhere spoils no map: entries are put in whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(models: Option<&[&str]>) -> Caller {
        let models = models.map(|models| models.iter().map(|&model| model.to_owned()).collect());
        Caller { name: "ris".into(), token_id: Some(3), roles: vec![Role::Operate], models, session: None }
    }

    #[test]
    fn a_token_for_one_model_speaks_of_that_one() {
        let one = caller(Some(&["a"]));
        assert_eq!(one.scope(None).expect("the only one"), Some("a".to_owned()));
        assert!(one.require_model("b").expect_err("another").detail.contains("is for a and not for \"b\""));
        assert!(one.require_all_models("the audit trail").is_err());
        assert!(caller(Some(&["a", "b"])).scope(None).expect_err("which").detail.contains("a, b"));
        assert_eq!(caller(None).scope(None).expect("all"), None);
        assert!(caller(None).require_model("b").is_ok() && caller(None).require_all_models("x").is_ok());
    }

    #[test]
    fn a_step_is_in_the_name_of_a_person_and_of_the_token() {
        let caller = caller(None);
        let person = |by| caller.person(by, "night").expect("a person");
        assert_eq!(person(Some(" Dr Example ")), Person::new("Dr Example (token ris)", "night").expect("a person"));
        assert_eq!(person(None), Person::new("ris", "night").expect("a person"));
        assert!(caller.person(Some(" "), "night").is_err());
    }

    #[test]
    fn only_this_machine_is_here() {
        for here in ["localhost", "LOCALHOST:9187", "127.0.0.1:80", "127.1.2.3", "[::1]:9187", "[::1]"] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in
            ["example.org", "localhost.example.org", "10.0.0.1:9187", "", "[::2]:1", "?", "127.0.0.1.nip.io"]
        {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn who_asks_too_often_waits_and_nobody_else_does() {
        let gate = Gate::default();
        let one = |number| std::num::NonZeroU32::new(number).expect("not nought");
        let rate = Some(Rate { per_second: one(1), burst: one(2) });
        assert!(gate.count(rate, 7).is_ok() && gate.count(rate, 7).is_ok());
        let refused = gate.count(rate, 7).expect_err("a third at once");
        assert_eq!(refused.retry_after, Some(1));
        assert!(gate.count(rate, 8).is_ok() && gate.count(None, 7).is_ok());
    }
}
