//! Reading TOML with positions: every key is asked for by name, every problem is collected with its line.
//!
//! Serde stops at the first error and does not know the keys that nobody asked for. A hospital engineer who has made
//! three mistakes wants to see three messages, so tables are read by hand through [`Section`].

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use toml_edit::{Array, Item, TableLike, Value};

/// One problem in a configuration: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1.
    pub line: usize,
    /// The key, with its tables: `model[0].windows`.
    pub key: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.key, self.message)
    }
}

/// What all sections of one file share.
pub struct Notes {
    text: String,
    problems: RefCell<Vec<Problem>>,
    asked: RefCell<BTreeSet<String>>,
}

impl Notes {
    /// Notes about a file of this text.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), problems: RefCell::default(), asked: RefCell::default() }
    }

    /// The problems found, by line.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.problems.borrow().clone();
        problems.sort_by_key(|problem| problem.line);
        problems
    }

    /// Every key that was asked for, without indices: the whole vocabulary of the configuration.
    pub fn vocabulary(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    /// The line of a byte offset, from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
    }

    fn add(&self, at: Option<Range<usize>>, key: String, message: impl Into<String>) {
        let line = at.map_or(1, |span| self.line(span.start));
        self.problems.borrow_mut().push(Problem { line, key, message: message.into() });
    }
}

/// One table of the file, or its absence.
pub struct Section<'a> {
    table: Option<&'a dyn TableLike>,
    span: Option<Range<usize>>,
    path: String,
    generic: String,
    notes: &'a Notes,
    known: RefCell<BTreeSet<String>>,
}

impl<'a> Section<'a> {
    /// The root table.
    pub fn root(table: &'a dyn TableLike, notes: &'a Notes) -> Self {
        Self::new(Some(table), None, String::new(), String::new(), notes)
    }

    fn new(
        table: Option<&'a dyn TableLike>,
        span: Option<Range<usize>>,
        path: String,
        generic: String,
        notes: &'a Notes,
    ) -> Self {
        Self { table, span, path, generic, notes, known: RefCell::default() }
    }

    /// Whether the file has this table.
    pub fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// The path of a key below this section.
    pub fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Report a problem about a key of this section.
    pub fn problem(&self, key: &str, message: impl Into<String>) {
        let at = self.table.and_then(|table| table.get(key)).and_then(Item::span).or_else(|| self.span.clone());
        self.notes.add(at, self.path_of(key), message);
    }

    fn item(&self, key: &str) -> Option<&'a Item> {
        self.known.borrow_mut().insert(key.to_owned());
        self.notes.asked.borrow_mut().insert(join(&self.generic, key));
        self.table?.get(key)
    }

    fn typed<T>(&self, key: &str, expected: &str, read: impl Fn(&'a Item) -> Option<T>) -> Option<T> {
        let item = self.item(key)?;
        let value = read(item);
        if value.is_none() {
            self.problem(key, format!("is {}; write {expected}", a(item.type_name())));
        }
        value
    }

    /// A text.
    pub fn string(&self, key: &str) -> Option<String> {
        self.typed(key, "a text in quotes", |item| item.as_str().map(str::to_owned))
    }

    /// A text that must be there and not be empty.
    pub fn required_string(&self, key: &str, remedy: &str) -> String {
        match self.string(key) {
            Some(text) if !text.trim().is_empty() => text,
            Some(_) => {
                self.problem(key, format!("is empty; {remedy}"));
                String::new()
            }
            None => {
                if self.item(key).is_none() {
                    self.problem(key, format!("is missing; {remedy}"));
                }
                String::new()
            }
        }
    }

    /// A text parsed by `parse`, whose error names the remedy.
    pub fn parsed<T>(&self, key: &str, default: T, parse: impl Fn(&str) -> Result<T, String>) -> T {
        let Some(text) = self.string(key) else { return default };
        parse(&text).unwrap_or_else(|message| {
            self.problem(key, message);
            default
        })
    }

    /// One of several words.
    pub fn choice<T: Copy>(&self, key: &str, default: T, choices: &[(&str, T)]) -> T {
        self.parsed(key, default, |text| {
            choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<String> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
                format!("{text:?} is not known; write one of {}", words.join(", "))
            })
        })
    }

    /// A whole number of at least `least`.
    pub fn integer(&self, key: &str, default: u64, least: u64) -> u64 {
        let Some(number) = self.typed(key, "a whole number", Item::as_integer) else { return default };
        match u64::try_from(number) {
            Ok(number) if number >= least => number,
            _ => {
                self.problem(key, format!("is {number}; write a whole number of at least {least}"));
                default
            }
        }
    }

    /// Whether a key is written as `false`: what it tunes is turned off.
    pub fn is_false(&self, key: &str) -> bool {
        self.item(key).and_then(Item::as_bool) == Some(false)
    }

    /// Yes or no.
    pub fn boolean(&self, key: &str, default: bool) -> bool {
        self.typed(key, "true or false", Item::as_bool).unwrap_or(default)
    }

    /// A number.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.typed(key, "a number", number)
    }

    /// A span of time such as "15m" or "2d".
    pub fn duration(&self, key: &str, default: Duration) -> Duration {
        self.parsed(key, default, |text| {
            humantime::parse_duration(text).map_err(|_| format!("{text:?} is no duration; write 30s, 15m, 2h, 7d"))
        })
    }

    /// A list of texts.
    pub fn strings(&self, key: &str) -> Option<Vec<String>> {
        let read = |array: &Array| array.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
        self.typed(key, "a list of texts, [\"...\"]", |item| item.as_array().and_then(read))
    }

    /// A list of numbers.
    pub fn numbers(&self, key: &str) -> Option<Vec<f64>> {
        let read = |array: &Array| array.iter().map(value_number).collect::<Option<Vec<_>>>();
        self.typed(key, "a list of numbers, [0.5]", |item| item.as_array().and_then(read))
    }

    /// A list of lists of numbers.
    pub fn number_lists(&self, key: &str) -> Option<Vec<Vec<f64>>> {
        let row = |value: &Value| value.as_array()?.iter().map(value_number).collect::<Option<Vec<_>>>();
        let read = |array: &Array| array.iter().map(row).collect::<Option<Vec<_>>>();
        self.typed(key, "a list of lists of numbers, [[0, 1], [1, 0]]", |item| item.as_array().and_then(read))
    }

    /// The texts of a table of free keys, in the order of the file.
    pub fn string_map(&self, key: &str) -> Vec<(String, String)> {
        let read = |item: &'a Item| {
            let table = item.as_table_like()?;
            table.iter().map(|(k, v)| Some((k.to_owned(), v.as_str()?.to_owned()))).collect::<Option<Vec<_>>>()
        };
        self.typed(key, "a table of texts, { name = \"...\" }", read).unwrap_or_default()
    }

    /// A table; absent tables read as their defaults.
    pub fn section(&self, key: &str) -> Section<'a> {
        let item = self.item(key);
        let table = item.and_then(Item::as_table_like);
        if item.is_some() && table.is_none() {
            self.problem(key, format!("must be a table, [{}]", self.path_of(key)));
        }
        let span = item.and_then(Item::span).or_else(|| self.span.clone());
        Section::new(table, span, self.path_of(key), join(&self.generic, key), self.notes)
    }

    /// A list of tables, `[[key]]`, or of inline tables.
    pub fn sections(&self, key: &str) -> Vec<Section<'a>> {
        let Some(item) = self.item(key) else { return Vec::new() };
        let section = |index: usize, table: &'a dyn TableLike, span: Option<Range<usize>>| {
            let path = format!("{}[{index}]", self.path_of(key));
            Section::new(Some(table), span, path, join(&self.generic, key), self.notes)
        };
        if let Some(tables) = item.as_array_of_tables() {
            return tables.iter().enumerate().map(|(i, t)| section(i, t, t.span())).collect();
        }
        if let Some(array) = item.as_array() {
            let inline = array.iter().map(|value| Some((value.as_inline_table()?, value.span())));
            if let Some(inline) = inline.collect::<Option<Vec<_>>>() {
                return inline.into_iter().enumerate().map(|(i, (t, span))| section(i, t, span)).collect();
            }
        }
        self.problem(key, format!("must be a list of tables, [[{}]]", self.generic_of(key)));
        Vec::new()
    }

    fn generic_of(&self, key: &str) -> String {
        join(&self.generic, key)
    }

    /// Refuse the keys that nobody asked for.
    pub fn refuse_unknown(&self) {
        let Some(table) = self.table else { return };
        let known = self.known.borrow();
        for (key, item) in table.iter().filter(|(key, _)| !known.contains(*key)) {
            let span = table.get_key_value(key).and_then(|(key, _)| key.span()).or_else(|| item.span());
            let likely = known.iter().min_by_key(|candidate| distance(key, candidate));
            let hint = if let Some(candidate) = likely.filter(|candidate| distance(key, candidate) <= 2) {
                format!("is not a key here; did you mean {candidate:?}?")
            } else {
                let all: Vec<&str> = known.iter().map(String::as_str).collect();
                format!("is not a key here; known keys are {}", all.join(", "))
            };
            self.notes.add(span, self.path_of(key), hint);
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[allow(clippy::cast_precision_loss, reason = "configured numbers are small")]
fn number(item: &Item) -> Option<f64> {
    item.as_value().and_then(value_number)
}

#[allow(clippy::cast_precision_loss, reason = "configured numbers are small")]
fn value_number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|n| n as f64)).filter(|n| n.is_finite())
}

fn a(type_name: &str) -> String {
    let article = if type_name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {type_name}")
}

/// Edit distance, for "did you mean".
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
