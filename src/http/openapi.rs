//! `GET /api/v1/openapi.json`: the description of the API for programs, OpenAPI 3.1.
//!
//! Each operation describes itself beside its handler. What all have in common is added here from the table of `routes`: what a
//! route needs, and the problems that the gate answers with. `docs/openapi.json` is a copy that a test keeps up to date.

use axum::http::{HeaderValue, header};
use serde_json::{Map, Value, json};
use utoipa::PartialSchema;

use super::page::Format;
use super::problem::Document;
use super::routes::{Need, ROUTES};
use crate::access::Role;

/// The name of the security scheme.
const SCHEME: &str = "token";

/// The description, as text.
#[must_use]
pub fn document() -> String {
    // unwrap safety: the description has text keys only, which always serialise.
    let mut document = serde_json::to_value(super::operations().into_openapi()).unwrap_or_default();
    document["info"] = json!({
        "title": "dosimeter",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "A production monitor for clinical models: records come in, numbers and alerts go out.",
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    });
    document["components"]["securitySchemes"][SCHEME] = json!({
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `dosimeter token create`, or http.token of the configuration, which may do everything.",
    });
    document["components"]["schemas"]["Problem"] = serde_json::to_value(Document::schema()).unwrap_or_default();
    for route in ROUTES {
        let method = route.method.as_str().to_lowercase();
        if let Some(Value::Object(operation)) = document["paths"][route.path].get_mut(&method) {
            complete(operation, route.need);
        }
    }
    format!("{document:#}\n")
}

/// Add to an operation what it needs and which problems it shares with others.
fn complete(operation: &mut Map<String, Value>, need: Need) {
    let has_body = operation.contains_key("requestBody");
    let has_parameters = operation.contains_key("parameters");
    let mut problems = vec![("431", "The headers are too large."), ("500", "The daemon failed; its log says why.")];
    let (role, words) = match need {
        Need::Role(role) => (Some(role), format!("Needs the role {role}.")),
        Need::Metrics => (Some(Role::Read), "Needs http.metrics_token, if it is set, or the role read.".to_owned()),
        Need::Link => (None, "Needs a signed link.".to_owned()),
        // Pages are no part of the API.
        Need::Nothing | Need::Page(_) => (None, "Needs no token.".to_owned()),
    };
    let description = operation.get("description").and_then(Value::as_str);
    let description = description.map_or_else(|| words.clone(), |text| format!("{text}\n\n{words}"));
    operation.insert("description".into(), description.into());
    let security = match (role, need) {
        (Some(role), Need::Metrics) => json!([{}, { SCHEME: [role] }]),
        (Some(role), _) => json!([{ SCHEME: [role] }]),
        (None, _) => json!([]),
    };
    operation.insert("security".into(), security);
    if role.is_some() {
        problems.extend([
            ("401", "No token, or one that is not good."),
            ("403", "The token has not the role, or is for other models."),
            ("429", "Too many requests; Retry-After says when to ask again."),
            ("503", "The daemon cannot do it now; Retry-After says when to ask again."),
        ]);
    }
    if has_parameters || has_body {
        problems.push(("400", "Something that was asked or sent is malformed; the detail says what."));
        problems.push(("404", "There is no such thing; the detail says what there is."));
        problems.push(("422", "It is well formed, and refused for what it says; the detail says why."));
    }
    if has_body {
        problems.extend([("408", "The body did not go on."), ("413", "The body is too large.")]);
    }
    if has_body && need == Need::Role(Role::Operate) {
        problems.push(("409", "It is otherwise now; the detail says how."));
    }
    let lists_forms = operation
        .get("parameters")
        .and_then(Value::as_array)
        .is_some_and(|parameters| parameters.iter().any(|parameter| parameter["name"] == "format"));
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    if lists_forms {
        problems.push(("406", "No form of the answer is accepted; the detail lists those that there are."));
        let text = json!({ "schema": { "type": "string" } });
        responses["200"]["content"][Format::Csv.media_type()] = text;
        responses["200"]["content"][Format::Parquet.media_type()] = json!({});
        let link = json!({ "description": "The address of the next page (rel=next).", "schema": { "type": "string" } });
        responses["200"]["headers"] = json!({ "Link": link });
    }
    for (status, words) in problems {
        if responses.get(status).is_none() {
            let schema = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
            responses[status] = json!({ "description": words, "content": { "application/problem+json": schema } });
        }
    }
}

/// This description.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "process",
    operation_id = "describe",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value))
)]
pub(super) async fn get() -> ([(header::HeaderName, HeaderValue); 1], String) {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], document())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn operations() -> (Value, BTreeSet<(String, String)>) {
        let document: Value = serde_json::from_str(&document()).expect("JSON");
        let paths = document["paths"].as_object().expect("paths").clone();
        let methods = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().expect("methods").keys();
            methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
        });
        (document.clone(), methods.collect())
    }

    #[test]
    fn every_operation_says_what_it_needs_and_every_line_of_the_table_is_one() {
        let (_, described) = operations();
        let listed: BTreeSet<(String, String)> =
            ROUTES.iter().map(|route| (route.method.to_string(), route.path.to_owned())).collect();
        assert_eq!(described, listed, "`operations` and the table of `routes` name the same");
    }

    #[test]
    fn the_description_is_whole() {
        let (document, _) = operations();
        assert_eq!(document["openapi"], "3.1.0");
        let mut names = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("methods") {
                let id = operation["operationId"].as_str().expect("a name").to_owned();
                assert!(names.insert(id.clone()), "{id} is named twice");
                assert!(operation["security"].is_array() && operation["summary"].is_string(), "{method} {path}");
                let placed = path.matches('{').count();
                let stated = operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "path");
                assert_eq!(placed, stated.count(), "{method} {path}");
            }
        }
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        let named = text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
        for name in named {
            assert!(schemas.contains_key(name), "{name} is described nowhere");
        }
    }
}
