//! The console as a browser gets it: every page with data, what a browser may do with it, the log-in, the forms, hostile names, and the
//! time machine. What it looks like, `make console-check` shows.

use dosimeter::access::{self, Role};
use dosimeter::store::server::random_text;
use dosimeter::store::token::NewToken;
use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Client, Response, StatusCode};

use crate::alerting::write_day;
use crate::lifecycle::serve;
use crate::support::{Installation, SMALL, at};

/// A rule that the south of `write_day` breaks.
const RULE: &str = "[[model.alert]]\nname = \"effusion-by-site\"\nmetric = \"auroc\"\noutput = \"effusion\"\nslice = \"site=*\"\n\
                    below = 0.9\nbound = \"value\"\n";

async fn installed() -> Installation {
    let config = SMALL.replacen("[[source]]", &format!("{RULE}[[source]]"), 1);
    let installation = Installation::new(&config, "2025-02-02T01:00:00Z").await;
    write_day(&installation, "2025-02-01");
    installation.pass().await;
    installation
}

async fn token(installation: &Installation, name: &str, role: Role) -> (i64, String) {
    let context = installation.context();
    let new = NewToken { name: name.to_owned(), roles: vec![role], models: None, expires_at: None };
    let secret = random_text();
    let made = context.store.create_token(&new, &secret, ["Dr Example", "a test"], context.clock.now()).await;
    let token_id = made.expect("a token");
    (token_id, access::write(token_id, &secret))
}

/// A browser without JavaScript that follows no redirect by itself.
struct Browser {
    client: Client,
    place: String,
    cookie: Option<String>,
}

impl Browser {
    fn new(port: u16) -> Self {
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        Self { client, place: format!("http://127.0.0.1:{port}"), cookie: None }
    }

    async fn get(&self, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.place));
        let cookie = self.cookie.clone().unwrap_or_default();
        request.header(COOKIE, cookie).header("accept", "text/html").send().await.expect("an answer")
    }

    async fn page(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.text().await.expect("text")
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.post_from(&self.place, path, fields).await
    }

    async fn post_from(&self, origin: &str, path: &str, fields: &[(&str, &str)]) -> Response {
        let body: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", dosimeter::alert::report::encode_query(value)))
            .collect();
        let request = self.client.post(format!("{}{path}", self.place)).header(ORIGIN, origin);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body.join("&"));
        request.header(COOKIE, self.cookie.clone().unwrap_or_default()).send().await.expect("an answer")
    }

    /// Log in; the cookie is kept as a browser would.
    async fn log_in(&mut self, token: &str) -> Response {
        let response = self.post("/console/login", &[("token", token), ("next", "/console/alerts")]).await;
        if let Some(set) = response.headers().get(SET_COOKIE) {
            let set = set.to_str().expect("text");
            assert!(
                set.contains("HttpOnly") && set.contains("SameSite=Strict") && set.contains("Path=/console"),
                "{set}"
            );
            let secret = access::read(token).expect("a token").1;
            assert!(!set.contains(secret), "the token stays out of the browser");
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        response
    }
}

/// The secret that a page's forms carry.
fn form_secret(page: &str) -> String {
    let after = page.split("name=\"form\" value=\"").nth(1).expect("a form of a session");
    after.split('"').next().expect("a value").to_owned()
}

fn pages(alert: i64) -> Vec<String> {
    let mut pages: Vec<String> =
        ["", "/alerts", "/alerts?open=true", "/health", "/sources", "/rejections", "/plan", "/models/chest-xray"]
            .map(|page| format!("/console{page}"))
            .to_vec();
    pages.push("/console/models/chest-xray?version=1&output=effusion&window=7d&slice=site%3Dsouth".to_owned());
    pages.push(format!("/console/alerts/{alert}"));
    pages
}

async fn first_alert(installation: &Installation) -> i64 {
    installation.context().store.list_alerts(true, 10).await.expect("alerts").last().expect("one fired").alert_id
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_whole_without_scripts_and_asks_for_nothing_from_elsewhere() {
    let installation = installed().await;
    let browser = Browser::new(serve(&installation).await);
    let alert = first_alert(&installation).await;
    for path in pages(alert) {
        let response = browser.get(&path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}: {}", response.text().await.unwrap_or_default());
        let header =
            |name: &str| response.headers().get(name).map_or("", |value| value.to_str().unwrap_or("")).to_owned();
        let policy = header("content-security-policy");
        for part in [
            "default-src 'none'",
            "style-src 'self'",
            "script-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(
            (header("x-content-type-options").as_str(), header("cache-control").as_str()),
            ("nosniff", "no-store")
        );
        assert_eq!(header("referrer-policy"), "same-origin");
        let text = response.text().await.expect("text");
        assert!(text.starts_with("<!DOCTYPE html><html lang=\"en\"") && text.contains("class=\"skip\""), "{path}");
        assert_eq!(text.matches("<h1").count(), 1, "{path}");
        for forbidden in [" style=", " onclick=", "<style", "javascript:", "src=\"http", "href=\"http", "url("] {
            assert!(!text.contains(forbidden), "{path} contains {forbidden}");
        }
        let scripts: Vec<&str> = text.split("<script").skip(1).collect();
        assert!(scripts.iter().all(|script| script.starts_with(" src=\"/console/assets/")), "{path}");
    }
    let fleet = browser.page("/console").await;
    assert!(fleet.contains("effusion") && fleet.contains("firing") && fleet.contains("95 % interval"), "{fleet}");
    for address in ["console.css", "console.js", "icon.svg"] {
        let start = fleet.find("/console/assets/").expect("assets");
        assert!(fleet[start..].contains(address));
        let name = fleet.split("/console/assets/").skip(1).filter_map(|rest| rest.split('"').next());
        let name = name.into_iter().find(|name| name.ends_with(address)).expect("an address");
        let response = browser.get(&format!("/console/assets/{name}")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.headers()["cache-control"].to_str().expect("text").contains("immutable"));
    }
    assert_eq!(browser.get("/console/assets/0000000000000000-console.css").await.status(), StatusCode::NOT_FOUND);
    let page = browser.page(&format!("/console/alerts/{alert}")).await;
    for part in ["effusion", "site south", "<svg", "role=\"img\"", "Where it comes from", "dosimeter query", "may look"]
    {
        assert!(page.contains(part), "{part} not in {page}");
    }
    let missing = browser.get("/console/nothing").await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert!(missing.text().await.expect("text").starts_with("<!DOCTYPE html>"));
    let root = browser.get("/").await;
    assert_eq!((root.status(), root.headers()[LOCATION].to_str().expect("text")), (StatusCode::SEE_OTHER, "/console"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_instant_shows_what_was_known_then_and_lets_nobody_act() {
    let installation = installed().await;
    let alert = first_alert(&installation).await;
    installation.hand.turn_to(at("2025-02-03T01:00:00Z"));
    write_day(&installation, "2025-02-02");
    installation.pass().await;
    let browser = Browser::new(serve(&installation).await);
    let then = "as_of=2025-02-02T12%3A00";
    for path in pages(alert) {
        let joint = if path.contains('?') { '&' } else { '?' };
        let page = browser.page(&format!("{path}{joint}{then}")).await;
        assert!(page.contains("As of 2025-02-02 12:00 UTC") && page.contains("Back to now"), "{path}");
        assert!(page.contains("/console/alerts?as_of=2025-02-02T12%3A00%3A00Z"), "links stay with the instant: {path}");
    }
    let [now, past] = ["/console".to_owned(), format!("/console?{then}")];
    let (now, past) = (browser.page(&now).await, browser.page(&past).await);
    assert!(
        now.contains("to 2025-02-03") && past.contains("to 2025-02-02") && !past.contains("to 2025-02-03"),
        "{past}"
    );
    let page = browser.page(&format!("/console/alerts/{alert}?{then}")).await;
    assert!(page.contains("Of the past nobody can change anything"), "{page}");
    let before = browser.page("/console/alerts?as_of=2025-02-01").await;
    assert!(before.contains("There has been no alert"), "{before}");
    for (path, status) in [
        (format!("/console/alerts/{alert}?as_of=2025-02-01"), StatusCode::NOT_FOUND),
        ("/console?as_of=2026-01-01".to_owned(), StatusCode::BAD_REQUEST),
        ("/console?as_of=yesterday".to_owned(), StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(browser.get(&path).await.status(), status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_begun_by_a_token_and_ends_with_it() {
    let installation = installed().await;
    let alert = first_alert(&installation).await;
    let (context, port) = (installation.context(), serve(&installation).await);
    let (id, operator) = token(&installation, "night", Role::Operate).await;
    let (_, reader) = token(&installation, "screen", Role::Read).await;
    let (_, sender) = token(&installation, "ris", Role::Ingest).await;
    let mut browser = Browser::new(port);
    let sent = browser.get("/console/alerts?open=true").await;
    let to = sent.headers()[LOCATION].to_str().expect("text");
    assert_eq!((sent.status(), to), (StatusCode::SEE_OTHER, "/console/login?next=%2Fconsole%2Falerts%3Fopen%3Dtrue"));
    for (wrong, status) in [("dsm_1_0000", StatusCode::UNAUTHORIZED), (sender.as_str(), StatusCode::FORBIDDEN)] {
        let refused = browser.log_in(wrong).await;
        assert_eq!(refused.status(), status);
        assert!(refused.text().await.expect("text").contains("role=\"alert\"") && browser.cookie.is_none());
    }
    let begun = browser.log_in(&operator).await;
    assert_eq!(
        (begun.status(), begun.headers()[LOCATION].to_str().expect("text")),
        (StatusCode::SEE_OTHER, "/console/alerts")
    );
    let address = format!("/console/alerts/{alert}");
    let page = browser.page(&address).await;
    let secret = form_secret(&page);
    assert!(page.contains("Log out") && !page.contains(&operator));
    assert_eq!(browser.get("/api/v1/alerts").await.status(), StatusCode::UNAUTHORIZED, "a session is no token");

    let step = format!("{address}/acknowledge");
    let fields = |form: &'static str| [("by", "Dr Example"), ("reason", "vendor called"), ("form", form)];
    assert_eq!(browser.post(&step, &fields("")).await.status(), StatusCode::FORBIDDEN, "no secret of the form");
    assert_eq!(browser.post(&step, &fields("0000")).await.status(), StatusCode::FORBIDDEN);
    let own = [("by", "Dr Example"), ("reason", "vendor called"), ("form", secret.as_str())];
    assert_eq!(browser.post_from("http://attacker.example", &step, &own).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(browser.post(&step, &[("form", &secret)]).await.status(), StatusCode::UNPROCESSABLE_ENTITY, "no reason");
    assert_eq!(browser.post(&step, &own).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(browser.post(&step, &own).await.status(), StatusCode::CONFLICT, "somebody was there first");
    let comment = [("by", ""), ("reason", "the <b>new</b> scanner"), ("form", secret.as_str())];
    assert_eq!(browser.post(&format!("{address}/comment"), &comment).await.status(), StatusCode::SEE_OTHER);
    let silence = [("reason", "works"), ("for", "2h"), ("form", secret.as_str())];
    assert_eq!(browser.post(&format!("{address}/silence"), &silence).await.status(), StatusCode::SEE_OTHER);
    let events = context.store.list_alert_events(alert).await.expect("a history");
    let said: Vec<(&str, &str, &str)> =
        events.iter().map(|event| (event.transition.as_str(), event.actor.as_str(), event.state.as_str())).collect();
    assert!(said.contains(&("acknowledged", "Dr Example (token night)", "acknowledged")), "{said:?}");
    assert!(said.contains(&("commented", "night", "acknowledged")), "{said:?}");
    let page = browser.page(&address).await;
    assert!(page.contains("the &lt;b&gt;new&lt;/b&gt; scanner"), "{page}");
    let silences = context.store.list_silences(false, context.clock.now(), 10).await.expect("silences");
    assert_eq!(silences.len(), 1);
    assert_eq!(browser.get("/console/audit").await.status(), StatusCode::FORBIDDEN);

    let mut screen = Browser::new(port);
    screen.log_in(&reader).await;
    let page = screen.page(&address).await;
    assert!(page.contains("Your token may look") && !page.contains("name=\"reason\""), "{page}");
    assert_eq!(screen.post(&format!("{address}/resolve"), &[("reason", "x")]).await.status(), StatusCode::FORBIDDEN);

    let gone = browser.post("/console/logout", &[]).await;
    assert!(gone.headers()[SET_COOKIE].to_str().expect("text").contains("Max-Age=0"));
    context.store.revoke_token(id, ["Dr Example", "a test"], context.clock.now()).await.expect("revoked");
    installation.hand.turn_to(at("2025-02-02T01:00:10Z"));
    assert_eq!(browser.get("/console").await.status(), StatusCode::SEE_OTHER, "the session ends with the token");
    installation.hand.turn_to(at("2025-02-02T13:00:10Z"));
    assert_eq!(screen.get("/console").await.status(), StatusCode::SEE_OTHER, "and with its time");
    let mut last = StatusCode::OK;
    for _ in 0..12 {
        last = screen.log_in("dsm_9_0000").await.status();
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS, "nobody guesses for long");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_page_is_searched_and_verified_by_whoever_may() {
    let installation = installed().await;
    let port = serve(&installation).await;
    let (_, auditor) = token(&installation, "auditor", Role::Audit).await;
    let mut browser = Browser::new(port);
    browser.log_in(&auditor).await;
    let page = browser.page("/console/audit?q=TOKEN%20created").await;
    assert!(
        page.contains("token created") && page.contains("Dr Example") && !page.contains("<td>plan adopted"),
        "{page}"
    );
    let page = browser.page("/console/audit?action=alert+fired").await;
    assert!(page.contains("alert fired") && !page.contains("<td>token created"), "{page}");
    let secret = form_secret(&page);
    assert_eq!(browser.post("/console/audit/verify", &[("depth", "chain")]).await.status(), StatusCode::FORBIDDEN);
    let verified = browser.post("/console/audit/verify", &[("depth", "chain"), ("form", &secret)]).await;
    assert_eq!(verified.status(), StatusCode::OK);
    assert!(verified.text().await.expect("text").contains("The record fits together"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_text_on_every_page() {
    let installation = installed().await;
    let hostile = "<script>alert(1)</script>\"'";
    let mut predictions = "study,at,effusion,nodule,site,sex\n".to_owned();
    for case in 0..40 {
        let score = if case % 2 == 0 { 0.9 } else { 0.1 };
        predictions
            .push_str(&format!("h{case},2025-02-01T10:00:00Z,{score},0.5,\"{}\",F\n", hostile.replace('"', "\"\"")));
    }
    installation.write("predictions/hostile.csv", predictions);
    installation.write(
        "truth/hostile.csv",
        format!("study,finding,value,reader,status,at\nh1,{hostile},1,x,final,2025-02-01T11:00:00Z\n"),
    );
    installation.pass().await;
    let browser = Browser::new(serve(&installation).await);
    let slice = dosimeter::alert::report::encode_query(&format!("site={hostile}"));
    for path in [
        "/console?q=%3Cscript%3Ealert(1)%3C%2Fscript%3E".to_owned(),
        "/console/rejections?reason=%22%3E%3Cscript%3E".to_owned(),
        "/console/rejections".to_owned(),
        "/console/models/chest-xray".to_owned(),
        format!("/console/models/chest-xray?slice={slice}"),
        "/console/login?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        "/console/models/%3Cscript%3E".to_owned(),
    ] {
        let text = browser.get(&path).await.text().await.expect("text");
        assert!(!text.contains("<script>") && !text.contains("alert(1)</script>"), "{path}: {text}");
    }
    let page = browser.page("/console/models/chest-xray").await;
    assert!(page.contains("site=&lt;script&gt;alert(1)&lt;/script&gt;"), "its numbers are shown all the same: {page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn light_and_dark_are_remembered_and_nobody_is_sent_elsewhere() {
    let installation = installed().await;
    let mut browser = Browser::new(serve(&installation).await);
    assert!(browser.page("/console").await.contains("data-theme=\"auto\""));
    let set = browser.post("/console/theme", &[("theme", "dark"), ("back", "https://attacker.example")]).await;
    assert_eq!((set.status(), set.headers()[LOCATION].to_str().expect("text")), (StatusCode::SEE_OTHER, "/console"));
    let cookie = set.headers()[SET_COOKIE].to_str().expect("text");
    browser.cookie = cookie.split(';').next().map(str::to_owned);
    assert!(browser.page("/console").await.contains("data-theme=\"dark\""));
    assert_eq!(browser.post("/console/theme", &[("theme", "pink")]).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        browser.post_from("null", "/console/theme", &[("theme", "dark")]).await.status(),
        StatusCode::FORBIDDEN,
        "a form of nowhere"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_in_force_is_shown_though_another_was_adopted_after_it_first() {
    // The same folders each time: they are a part of the plan.
    let small = SMALL.replace("[\"predictions\"]", "[\"/srv/predictions\"]").replace("[\"truth\"]", "[\"/srv/truth\"]");
    let first = Installation::new(&small, "2025-02-02").await;
    let other = small.replace("minimum_n = 0", "minimum_n = 7");
    drop(Installation::over(first.url.clone(), &other, "2025-02-03").await);
    let back = Installation::over(first.url.clone(), &small, "2025-02-04").await;
    let browser = Browser::new(serve(&back).await);
    let page = browser.page("/console/plan").await;
    let shown = page.split("<ol class=\"plans").next().expect("a list of plans");
    assert!(shown.contains(", in force.") && page.contains("The first plan"), "{page}");
    let other = browser.page("/console/plan?id=2").await;
    assert!(!other.contains(", in force") && other.contains("minimum_n"), "{other}");
    let then = browser.page("/console/plan?as_of=2025-02-03T12:00:00Z").await;
    assert!(then.contains(", in force then.") && then.contains("What changed against"), "{then}");
}
