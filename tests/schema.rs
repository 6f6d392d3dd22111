//! The schema: everything is commented, and the rules that let it be distributed over a Citus cluster hold.

use crate::support::Installation;

#[tokio::test(flavor = "multi_thread")]
async fn every_table_and_column_has_a_comment() {
    let installation = Installation::new(crate::support::SMALL, "2025-03-01").await;
    let bare: Vec<String> = sqlx::query_scalar(
        "select c.relname || coalesce('.' || a.attname, '') from pg_class c
        left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace
            and c.relname <> '_sqlx_migrations'
            and (obj_description(c.oid) is null or col_description(c.oid, a.attnum) is null)
        order by 1",
    )
    .fetch_all(&installation.pool().await)
    .await
    .expect("the catalogue can be read");
    assert!(bare.is_empty(), "without a comment: {bare:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_distributed_by_case_keeps_the_rules_of_citus() {
    let installation = Installation::new(crate::support::SMALL, "2025-03-01").await;
    let pool = installation.pool().await;
    for table in ["prediction", "assertion", "record_key"] {
        let keys: Vec<String> = sqlx::query_scalar(
            "select pg_get_indexdef(indexrelid, 1, true) from pg_index where indrelid = $1::text::regclass and indisunique",
        )
        .bind(table)
        .fetch_all(&pool)
        .await
        .expect("indexes");
        assert!(keys.iter().all(|first| first == "case_id"), "{table}: unique keys start with case_id, not {keys:?}");
        let (triggers, foreign): (i64, i64) = sqlx::query_as(
            "select (select count(*) from pg_trigger where tgrelid = $1::text::regclass and not tgisinternal),
                (select count(*) from pg_constraint where conrelid = $1::text::regclass and contype = 'f')",
        )
        .bind(table)
        .fetch_one(&pool)
        .await
        .expect("the catalogue");
        assert_eq!((triggers, foreign), (0, 0), "{table} has no trigger and no foreign key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_any_time_finds_a_partition() {
    let config =
        crate::support::SMALL.to_owned() + "\n[intake]\nearliest = \"1900-01-01\"\nfuture_tolerance = \"40000d\"\n";
    let installation = Installation::new(&config, "2025-03-01").await;
    let days = ["1901-02-03", "2025-02-28", "2025-03-01", "2099-12-31"];
    let rows: String = days.iter().map(|day| format!("{day},{day}T10:00:00Z,0.5\n")).collect();
    installation.write("predictions/a.csv", format!("study,at,effusion\n{rows}"));
    installation.pass().await;
    assert_eq!(installation.rejections().await, []);
    assert_eq!(installation.count("prediction").await, 4);
    // Ahead of need: the next months are there before the first row of theirs.
    let ahead: i64 = sqlx::query_scalar(
        "select count(*) from pg_class where relname in ('prediction_2025_04', 'prediction_2025_05')",
    )
    .fetch_one(&installation.pool().await)
    .await
    .expect("a count");
    assert_eq!(ahead, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_may_migrate_one_database_at_once() {
    let url = crate::support::database().await;
    let start = || Installation::over(url.clone(), crate::support::SMALL, "2025-03-01");
    let (first, second, third) = tokio::join!(start(), start(), start());
    assert_eq!((first.count("model").await, first.count("_sqlx_migrations").await), (1, 1));
    drop((second, third));
}
