//! A query of any Postgres, read on by the value of a column.
//!
//! The query is wrapped: rows come in the order of the cursor, and of their content where cursors are equal, so that a page ends
//! at one place whatever the values are. Postgres writes every value as text, with all its digits, instants as RFC 3339. A sweep
//! starts behind the newest value by the overlap and goes up to the end; the next one finds rows that came late.
//! It is somebody else's database: this is the only SQL outside `store`, in transactions that cannot write.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Executor, SqlSafeStr, Statement, TypeInfo};

use super::Row;
use super::feed::{Failure, Feed, Page, Positions, within};
use crate::config::{Overlap, Sql};

/// The server itself gives a statement up in time; one that does not even do that is given up so much later.
const GRACE: Duration = Duration::from_secs(5);

/// How far a query has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// The greatest value of all.
    high: Option<String>,
    /// Where the present sweep started; `None` between two.
    low: Option<String>,
    /// Up to where it has come: the value, and the digest of the row.
    at: Option<(String, String)>,
}

/// A query with its connection.
pub struct SqlFeed {
    plan: Sql,
    timeout: Duration,
    connection: PgConnection,
    columns: Arc<HashMap<String, usize>>,
    cursor_type: String,
    overlap: Option<Overlap>,
}

impl SqlFeed {
    /// Connect, and see what the query gives.
    ///
    /// # Errors
    /// When the server cannot be reached, or the query is wrong.
    pub async fn open(plan: &Sql, timeout: Duration) -> Result<Self, Failure> {
        let connect = async {
            let options: PgConnectOptions = plan.url.expose().parse().map_err(failure)?;
            options.application_name("dosimeter").disable_statement_logging().connect().await.map_err(failure)
        };
        let mut connection = within(timeout, connect).await?;
        let text = connection.prepare("select $1::text".into_sql_str()).await.map_err(failure)?;
        let text = text.columns()[0].type_info().clone();
        let wrapped = AssertSqlSafe(format!("select t.* from ({}\n) t", plan.query)).into_sql_str();
        let prepare = async { connection.prepare_with(wrapped, &[text]).await.map_err(failure) };
        let statement = within(timeout, prepare).await?;
        let mut columns = HashMap::new();
        for (index, column) in statement.columns().iter().enumerate() {
            if columns.insert(column.name().to_owned(), index).is_some() {
                return Err(Failure::Misconfigured(format!(
                    "the query gives the column {:?} twice; name each column once",
                    column.name()
                )));
            }
        }
        let cursor = columns.get(&plan.cursor).ok_or_else(|| {
            let message = format!("the query gives no column {:?}; correct the source's cursor", plan.cursor);
            Failure::Misconfigured(message)
        })?;
        let cursor_type = statement.columns()[*cursor].type_info().name().to_owned();
        let is_instant = ["TIMESTAMPTZ", "TIMESTAMP", "DATE"].contains(&cursor_type.as_str());
        let is_number = ["INT2", "INT4", "INT8", "NUMERIC", "FLOAT4", "FLOAT8"].contains(&cursor_type.as_str());
        let fits = match plan.overlap {
            None => true,
            Some(Overlap::Time(_)) => is_instant,
            Some(Overlap::Number(_)) => is_number,
        };
        if !fits {
            return Err(Failure::Misconfigured(format!(
                "the cursor {:?} is of type {cursor_type}; an overlap such as \"1h\" needs one that is an instant, \"1000\" one \
                 that is a number",
                plan.cursor
            )));
        }
        // Even without an overlap an instant to come is no reason to leave out today's.
        let overlap = plan.overlap.or_else(|| is_instant.then_some(Overlap::Time(Duration::ZERO)));
        Ok(Self { plan: plan.clone(), timeout, columns: Arc::new(columns), cursor_type, overlap, connection })
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        // Times without a zone are the server's own; what has one is told in UTC.
        let settings = format!(
            "begin transaction read only; set local statement_timeout = {}; set local timezone = 'UTC';
            set local datestyle = 'ISO, YMD'; set local extra_float_digits = 1",
            self.timeout.as_millis()
        );
        sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut self.connection).await.map_err(failure)?;
        Ok(())
    }

    /// Where a sweep starts: behind the greatest value by the overlap. An instant to come is no reason to leave out today's.
    async fn low(&mut self, high: &str) -> Result<String, Failure> {
        let cursor_type = &self.cursor_type;
        let (statement, overlap) = match self.overlap {
            None => return Ok(high.to_owned()),
            Some(Overlap::Time(time)) => (
                format!(
                    "select (least($1::{cursor_type}, now()::{cursor_type}) - make_interval(secs => $2::float8))::{cursor_type}::text"
                ),
                time.as_secs_f64().to_string(),
            ),
            Some(Overlap::Number(number)) => {
                (format!("select ($1::{cursor_type} - $2::numeric)::{cursor_type}::text"), number.to_string())
            }
        };
        let query = sqlx::query_scalar(AssertSqlSafe(statement)).bind(high).bind(overlap).persistent(false);
        query.fetch_one(&mut self.connection).await.map_err(failure)
    }

    /// The next rows, with the cursor and the digest of each.
    async fn rows(&mut self, position: &Position, limit: usize) -> Result<Vec<Found>, Failure> {
        let Self { plan, cursor_type, .. } = self;
        let cursor = format!("t.\"{}\"", plan.cursor.replace('"', "\"\""));
        let tie = "encode(sha256(convert_to(row_to_json(t)::text, 'UTF8')), 'hex')";
        let from = match (&position.at, &position.low) {
            (Some(_), _) => format!("({cursor}, {tie}) > ($2::text::{cursor_type}, $3::text)"),
            (None, Some(_)) => format!("{cursor} >= $2::text::{cursor_type} and $3::text is null"),
            (None, None) => format!("{cursor} is not null and $2::text is null and $3::text is null"),
        };
        let statement = format!(
            "select array(select key from json_each_text(line)), array(select value from json_each_text(line)), cursor::text, tie
            from (select row_to_json(t) as line, {cursor} as cursor, {tie} as tie from ({}\n) t
                where {from} order by {cursor}, {tie} limit {limit}) page
            order by page.cursor, tie",
            plan.query
        );
        let (value, tie) = match &position.at {
            Some((value, tie)) => (Some(value), Some(tie)),
            None => (position.low.as_ref(), None),
        };
        // Throughout a sweep the query itself sees where it started: `>` and `>=` in it are alike at the pages' ends.
        let start = position.low.as_ref().or(plan.start.as_ref());
        let query = sqlx::query_as(AssertSqlSafe(statement)).bind(start).bind(value).bind(tie).persistent(false);
        query.fetch_all(&mut self.connection).await.map_err(failure)
    }
}

/// Names and values of a row, its cursor, its digest.
type Found = (Vec<String>, Vec<Option<String>>, String, String);

#[async_trait::async_trait]
impl Feed for SqlFeed {
    async fn read(&mut self, positions: &Positions, limit: usize) -> Result<Page, Failure> {
        within(self.timeout + GRACE, self.page(positions, limit)).await
    }
}

impl SqlFeed {
    async fn page(&mut self, positions: &Positions, limit: usize) -> Result<Page, Failure> {
        let mut position: Position =
            positions.get("").cloned().and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default();
        self.begin().await?;
        if position.at.is_none()
            && let Some(high) = &position.high
        {
            position.low = Some(self.low(high).await?);
        }
        let found = self.rows(&position, limit).await?;
        sqlx::raw_sql("commit").execute(&mut self.connection).await.map_err(failure)?;
        let is_last = found.len() < limit;
        let last = found.last().map(|(_, _, cursor, tie)| (cursor.clone(), tie.clone()));
        // Of a sweep that started behind it, the greatest value is that of its end.
        let high = if is_last {
            last.as_ref().or(position.at.as_ref()).map(|(cursor, _)| cursor.clone()).or(position.high)
        } else {
            position.high
        };
        let position = if is_last {
            Position { high, low: None, at: None }
        } else {
            Position { high, low: position.low, at: last }
        };
        let rows = found.into_iter().map(|(names, mut values, ..)| {
            let mut ordered = vec![None; self.columns.len()];
            for (name, value) in names.iter().zip(&mut values) {
                if let Some(index) = self.columns.get(name) {
                    ordered[*index] = value.take();
                }
            }
            Ok(Row::typed(0, self.columns.clone(), ordered))
        });
        Ok(Page {
            origin: self.plan.place(),
            partition: String::new(),
            rows: rows.collect(),
            position: serde_json::json!(position),
            is_last,
        })
    }
}

/// What a failure of Postgres means for us.
fn failure(error: sqlx::Error) -> Failure {
    let Some(database) = error.as_database_error() else {
        return match error {
            sqlx::Error::Configuration(error) => Failure::Misconfigured(format!("the address is wrong: {error}")),
            other => Failure::Unreachable(format!("the server cannot be reached: {}", super::feed::causes(&other))),
        };
    };
    let (code, message) = (database.code().unwrap_or_default().into_owned(), database.message().to_owned());
    match code.get(..2).unwrap_or_default() {
        "28" => Failure::Refused(message),
        "57" if code == "57014" => Failure::Server(format!("{message}; raise the source's timeout, or lower rows")),
        "57" | "08" => Failure::Unreachable(message),
        "53" => Failure::Throttled { message, after: None },
        "42" if message.contains(">= text") || message.contains("> text") => {
            Failure::Misconfigured(format!("{message}; $1 is a text, cast it: $1::timestamptz"))
        }
        "25" => Failure::Misconfigured(format!("{message}; a source only reads")),
        "22" | "42" | "3D" | "0A" => Failure::Misconfigured(format!("{message}; correct the source's query")),
        _ => Failure::Server(message),
    }
}
