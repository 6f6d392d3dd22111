//! The sections of sources that are asked again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{HttpFeed, Kafka, Nats, Objects, Overlap, Pace, Paging, Pull, Since, Sql, Upstream};
use crate::config::Surroundings;
use crate::config::reader::Section;
use crate::config::service::{Secret, secret};
use crate::config::source::format;

/// The kinds of sources that are asked, by word.
pub(in crate::config) const WORDS: [&str; 5] = ["sql", "http", "objects", "nats", "kafka"];

/// Read a source of such a kind.
pub(in crate::config) fn pull(section: &Section<'_>, word: &str, name: &str, around: &Surroundings<'_>) -> Pull {
    let upstream = match word {
        "sql" => Upstream::Sql(sql(section, name, around)),
        "http" => Upstream::Http(http(section, name, around)),
        "objects" => Upstream::Objects(objects(section, name, around)),
        "nats" => Upstream::Nats(nats(section, name, around)),
        _ => Upstream::Kafka(kafka(section)),
    };
    let is_stream = matches!(upstream, Upstream::Nats(_) | Upstream::Kafka(_));
    let every = Duration::from_secs(if is_stream { 1 } else { 60 });
    let limit = section.integer("rows_per_second", 0, 0);
    let pace = Pace {
        every: section.duration("every", every),
        pass: section.duration("pass", Duration::from_secs(10)),
        timeout: section.duration("timeout", Duration::from_secs(30)),
        rows: usize::try_from(section.integer("rows", 5000, 1)).unwrap_or(usize::MAX),
        rows_per_second: (limit > 0).then_some(limit),
    };
    if pace.timeout.is_zero() {
        section.problem("timeout", "is no time at all; write 30s");
    }
    Pull { pace, upstream }
}

/// The environment variable of a source's secret.
fn variable(name: &str, key: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("DOSIMETER_SOURCE_{name}_{key}")
}

fn sql(section: &Section<'_>, name: &str, around: &Surroundings<'_>) -> Sql {
    let url = secret(section, "url", &variable(name, "URL"), around).unwrap_or_else(|| Secret::new(""));
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme)) {
        let variable = variable(name, "URL");
        section.problem(
            "url",
            format!(
                "is no Postgres address; write postgres://user@host:5432/database, here, in url_file or {variable}"
            ),
        );
    }
    let query = section.required_string(
        "query",
        "write a select; $1 in it is the cursor, as text: \"... where changed_at >= $1::timestamptz\"",
    );
    let query = query.trim().trim_end_matches(';').trim_end().to_owned();
    let start = section.string("start");
    if query.contains("$1") && start.is_none() {
        section.problem("start", "is missing; write what $1 is at first, as in \"2025-01-01T00:00:00Z\" or \"0\"");
    }
    Sql {
        url,
        query,
        cursor: section.required_string("cursor", "name the column by whose value reading goes on"),
        overlap: overlap(section),
        start,
    }
}

/// Text is a span of time, `"1h"`; a text of digits is a number, `"1000"`.
fn overlap(section: &Section<'_>) -> Option<Overlap> {
    section.parsed("overlap", None, |text| match text.parse::<u64>() {
        Ok(number) => Ok(Some(Overlap::Number(number))),
        Err(_) => match humantime::parse_duration(text) {
            Ok(time) => Ok(Some(Overlap::Time(time))),
            Err(_) => Err(format!(
                "{text:?} is no overlap; write \"1h\" when the cursor is an instant, \"1000\" when it is a number"
            )),
        },
    })
}

fn http(section: &Section<'_>, name: &str, around: &Surroundings<'_>) -> HttpFeed {
    let url = section.required_string("url", "write the resource's address, https://host/path");
    if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
        section.problem("url", format!("{url:?} is no address; write https://host/path"));
    }
    if url.split('/').nth(2).is_some_and(|host| host.contains('@')) {
        section.problem("url", "has a password in it, which logs would show; use token, headers or header_files");
    }
    let pointer = |key: &str| {
        let text = section.string(key);
        if text.as_ref().is_some_and(|text| !text.is_empty() && !text.starts_with('/')) {
            section.problem(key, "is no JSON pointer; write \"/items\", or \"\" for the document itself");
        }
        text
    };
    let records = pointer("records").unwrap_or_default();
    let most_megabytes = section.integer("most_megabytes", 64, 1);
    HttpFeed {
        url,
        records,
        headers: headers(section, name, around),
        paging: paging(section, pointer("next")),
        size_parameter: section.string("size_parameter"),
        since: since(section),
        requests_per_second: section.integer("requests_per_second", 10, 1),
        most_megabytes,
    }
}

fn headers(section: &Section<'_>, name: &str, around: &Surroundings<'_>) -> BTreeMap<String, Secret> {
    let plain = section.string_map("headers").into_iter().map(|(name, value)| (name, Secret::new(&value)));
    let mut headers: BTreeMap<String, Secret> = plain.collect();
    for (header, file) in section.string_map("header_files") {
        match std::fs::read_to_string(around.folder.join(&file)) {
            Ok(text) => {
                headers.insert(header, Secret::new(text.trim_end()));
            }
            Err(error) => section.problem("header_files", format!("cannot read {file}: {error}")),
        }
    }
    if let Some(token) = secret(section, "token", &variable(name, "TOKEN"), around) {
        headers.insert("authorization".to_owned(), Secret::new(&format!("Bearer {}", token.expose())));
    }
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let is_value = |value: &Secret| value.expose().bytes().all(|byte| (b' '..=b'~').contains(&byte));
    for (name, _) in headers.iter().filter(|(name, value)| name.is_empty() || !is_name(name) || !is_value(value)) {
        section.problem("headers", format!("{name:?} is no header, or its value has other characters than ASCII's"));
    }
    headers
}

fn paging(section: &Section<'_>, next: Option<String>) -> Paging {
    let word =
        section.choice("paging", "none", &[("none", "none"), ("cursor", "cursor"), ("link", "link"), ("page", "page")]);
    let parameter = section.string("page_parameter");
    let first = section.integer("first_page", 1, 0);
    match word {
        "cursor" => {
            if next.is_none() {
                section.problem("next", "is missing; write where in the answer the cursor is, \"/next_cursor\"");
            }
            Paging::Cursor { next: next.unwrap_or_default(), parameter: parameter.unwrap_or_else(|| "cursor".into()) }
        }
        "link" => Paging::Link { next },
        "page" => Paging::Page { parameter: parameter.unwrap_or_else(|| "page".into()), first },
        _ => Paging::None,
    }
}

fn since(section: &Section<'_>) -> Option<Since> {
    let (parameter, cursor) = (section.string("since_parameter"), section.string("cursor"));
    let (overlap, start) = (overlap(section), section.string("start"));
    let Some(parameter) = parameter else {
        for (key, given) in [("cursor", cursor.is_some()), ("overlap", overlap.is_some()), ("start", start.is_some())] {
            if given {
                section.problem(key, "needs since_parameter: the parameter that asks for what is new");
            }
        }
        return None;
    };
    if cursor.is_none() {
        section.problem("cursor", "is missing; name the field of the records whose newest value is asked from");
    }
    let overlap = overlap.unwrap_or(Overlap::Time(Duration::ZERO));
    Some(Since { parameter, cursor: cursor.unwrap_or_default(), overlap, start })
}

fn objects(section: &Section<'_>, name: &str, around: &Surroundings<'_>) -> Objects {
    let url = section.required_string("url", "write s3://bucket/prefix or file:///folder");
    let is_s3 = url.strip_prefix("s3://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    if !url.is_empty() && !is_s3 && !url.starts_with("file:///") {
        section.problem("url", format!("{url:?} is no place of objects; write s3://bucket/prefix or file:///folder"));
    }
    let objects = Objects {
        url,
        endpoint: section.string("endpoint"),
        region: section.string("region").unwrap_or_else(|| "us-east-1".to_owned()),
        access_key_id: secret(section, "access_key_id", &variable(name, "ACCESS_KEY_ID"), around),
        secret_access_key: secret(section, "secret_access_key", &variable(name, "SECRET_ACCESS_KEY"), around),
        allow_http: section.boolean("allow_http", false),
        format: format(section),
        ascending: section.boolean("ascending", false),
    };
    if objects.access_key_id.is_some() != objects.secret_access_key.is_some() {
        section.problem("secret_access_key", "and access_key_id belong together; give both or neither");
    }
    if objects.endpoint.as_ref().is_some_and(|url| url.starts_with("http://")) && !objects.allow_http {
        section
            .problem("endpoint", "is not encrypted; write https://, or allow_http = true on a network that you trust");
    }
    objects
}

fn nats(section: &Section<'_>, name: &str, around: &Surroundings<'_>) -> Nats {
    let servers = section.strings("servers").unwrap_or_default();
    if servers.is_empty() {
        section.problem("servers", "is missing; list them, [\"nats://host:4222\"]");
    }
    if servers.iter().any(|server| server.contains('@')) {
        section.problem("servers", "have a password in them, which logs would show; use user and password, or token");
    }
    let durable: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let durable = section.string("durable").unwrap_or_else(|| format!("dosimeter-{durable}"));
    if durable.is_empty() || durable.contains(|c: char| c.is_whitespace() || ".*>/\\".contains(c)) {
        section.problem("durable", format!("{durable:?} is no name of a consumer; leave out blanks and . * > / \\"));
    }
    Nats {
        servers,
        stream: section.required_string("stream", "name the stream; it must exist"),
        subject: section.string("subject"),
        durable,
        ack_wait: section.duration("ack_wait", Duration::from_secs(60)),
        user: section.string("user"),
        password: secret(section, "password", &variable(name, "PASSWORD"), around),
        token: secret(section, "token", &variable(name, "TOKEN"), around),
        credentials_file: section.string("credentials_file").map(|file| around.folder.join(file)),
    }
}

fn kafka(section: &Section<'_>) -> Kafka {
    if !cfg!(feature = "kafka") {
        section.problem(
            "kind",
            "\"kafka\" needs a program that was built with it: cargo build --release --features kafka",
        );
    }
    let brokers = section.strings("brokers").unwrap_or_default();
    if brokers.is_empty() {
        section.problem("brokers", "is missing; list them, [\"host:9092\"]");
    }
    Kafka { brokers, topic: section.required_string("topic", "name the topic") }
}
