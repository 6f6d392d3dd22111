//! The order of the house, read from `lib.rs`: a module uses what stands above it, and siblings never use one another.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Modules in order, each with its rank. Those that follow each other after a `// The machinery:` line share one.
fn ranks() -> HashMap<String, usize> {
    let text = fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs");
    let (mut ranks, mut rank, mut siblings) = (HashMap::new(), 0, false);
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("// ") {
            siblings = heading.starts_with("The machinery");
            rank += 1;
        }
        if let Some(name) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            rank += usize::from(!siblings);
            ranks.insert(name.to_owned(), rank);
        }
    }
    ranks
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The modules that a text names after `crate::`, in braces too.
fn named(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (position, _) in text.match_indices("crate::") {
        let rest = &text[position + "crate::".len()..];
        let word = |text: &str| -> String {
            text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
        };
        match rest.strip_prefix('{') {
            Some(list) => names.extend(list.split('}').next().unwrap_or_default().split(',').map(word)),
            None => names.push(word(rest)),
        }
    }
    names
}

#[test]
fn modules_use_only_what_stands_above_them() {
    let ranks = ranks();
    assert!(ranks.len() >= 15, "lib.rs lists its modules as `pub mod name;`: {ranks:?}");
    assert_eq!(ranks["store"], ranks["source"]);
    let source = root().join("src");
    let mut wrong = Vec::new();
    let mut uses = 0;
    for file in files(&source) {
        let relative = file.strip_prefix(&source).expect("below src");
        let module = relative.components().next().expect("a name").as_os_str().to_string_lossy().replace(".rs", "");
        let Some(own) = ranks.get(&module) else { continue };
        let text = fs::read_to_string(&file).expect("a source file");
        for name in named(&text).into_iter().filter(|name| *name != module) {
            let Some(rank) = ranks.get(&name) else { continue };
            uses += 1;
            if rank >= own {
                wrong.push(format!("{} uses {name}, which does not stand above {module}", relative.display()));
            }
        }
    }
    assert!(uses > 100, "the test reads the uses");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_calculator_is_pure() {
    let source = root().join("src");
    let forbidden = ["tokio", "sqlx", "tracing::", "async fn", "clock::", "std::fs", "std::net", "println!"];
    for module in ["stats", "domain", "summary", "metric", "detect", "alert", "chain"] {
        let single = source.join(format!("{module}.rs"));
        let all = if single.exists() { vec![single] } else { files(&source.join(module)) };
        for file in all {
            let text = fs::read_to_string(&file).expect("a source file");
            for word in forbidden {
                assert!(!text.contains(word), "{} contains {word}", file.display());
            }
        }
    }
}

#[test]
fn only_the_store_speaks_sql() {
    let source = root().join("src");
    // A source that is a database is somebody else's: its query is the plan's.
    let is_ours = |file: &PathBuf| !file.starts_with(source.join("store")) && *file != source.join("source/sql.rs");
    for file in files(&source).into_iter().filter(is_ours) {
        let text = fs::read_to_string(&file).expect("a source file");
        assert!(!text.contains("use sqlx") && !text.contains("sqlx::query"), "{} uses sqlx", file.display());
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for file in files(&root().join("src")) {
        let text = fs::read_to_string(&file).expect("a source file");
        assert!(text.starts_with("//! "), "{} does not open with what it is for", file.display());
    }
}
