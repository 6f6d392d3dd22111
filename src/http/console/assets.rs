//! The files of the pages: one style sheet, one script, one picture. Their addresses carry the digest of their content, so a browser
//! keeps them for ever and has a changed one at once.

use std::sync::OnceLock;

use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::super::Problem;
use crate::chain::hex;

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const ASSETS: [Asset; 3] = [
    Asset { name: "console.css", kind: "text/css; charset=utf-8", text: include_str!("assets/console.css") },
    Asset { name: "console.js", kind: "text/javascript; charset=utf-8", text: include_str!("assets/console.js") },
    Asset { name: "icon.svg", kind: "image/svg+xml", text: include_str!("assets/icon.svg") },
];

/// The names under which the files are served.
fn names() -> &'static [String; 3] {
    static NAMES: OnceLock<[String; 3]> = OnceLock::new();
    NAMES.get_or_init(|| {
        ASSETS.map(|asset| {
            let digest: String = hex(&Sha256::digest(asset.text.as_bytes())).chars().take(16).collect();
            format!("{digest}-{}", asset.name)
        })
    })
}

/// The address of a file.
pub(super) fn address(name: &str) -> String {
    let found = ASSETS.iter().zip(names()).find(|(asset, _)| asset.name == name);
    found.map_or_else(String::new, |(_, served)| format!("/console/assets/{served}"))
}

/// Serve a file.
pub(super) async fn get(Path(name): Path<String>) -> Result<Response, Problem> {
    let found = ASSETS.iter().zip(names()).find(|(_, served)| **served == name);
    let Some((asset, _)) = found else { return Err(Problem::not_found("there is no such file of the console")) };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
    ];
    Ok((headers, asset.text).into_response())
}
