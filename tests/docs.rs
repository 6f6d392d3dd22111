//! Documents that are made from code say what the code says.

use std::path::Path;

/// The committed document is the one that the code makes; `make docs` writes it.
fn is_up_to_date(name: &str, made: &str, source: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("DOSIMETER_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, made).expect("a file");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == made, "docs/{name} is not what {source} makes: run `make docs` and commit it");
}

#[test]
fn the_document_of_metrics_is_that_of_the_catalogue() {
    is_up_to_date("metrics.md", &dosimeter::metric::catalogue::document(), "src/metric/catalogue.rs");
}

#[test]
fn the_description_of_the_api_is_that_of_the_handlers() {
    is_up_to_date("openapi.json", &dosimeter::http::openapi::document(), "src/http");
}

#[test]
fn the_document_of_http_names_every_route_with_what_it_needs() {
    use dosimeter::http::routes::{Need, PAGES, ROUTES};
    let read = |name: &str| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_else(|_| panic!("{name}"))
    };
    let (api, console) = (read("docs/http.md"), read("docs/console.md"));
    let routes = ROUTES.iter().map(|route| (route, &api)).chain(PAGES.iter().map(|page| (page, &console)));
    for (route, text) in routes {
        let need = match route.need {
            Need::Nothing => "nothing".to_owned(),
            Need::Link => "a signed link".to_owned(),
            Need::Metrics => "`http.metrics_token`, if set".to_owned(),
            Need::Role(role) | Need::Page(role) => role.to_string(),
        };
        let line = format!("| `{} {}` | {need} |", route.method, route.path);
        assert!(
            text.lines().any(|found| found.starts_with(&line)),
            "docs/http.md or docs/console.md has no line {line}"
        );
    }
}
