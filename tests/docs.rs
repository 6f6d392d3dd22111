//! Documents that are made from code say what the code says.

use std::path::Path;

#[test]
fn the_document_of_metrics_is_that_of_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let made = dosimeter::metric::catalogue::document();
    if std::env::var_os("DOSIMETER_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, &made).expect("a file");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == made,
        "docs/metrics.md is not what src/metric/catalogue.rs makes: run `make docs` and commit it"
    );
}
