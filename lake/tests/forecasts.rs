//! Runs of forecasts in `marts.forecasts`, and artefacts beside the tables: what was written again stands there once.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use chrono::{Days, NaiveDate};
use domain::ErrorKind;
use domain::forecast::{Backtest, DayForecast, Effects, ForecastRun, SeriesForecast, Subject, Total};
use domain::planning::Override;
use domain::ports::{Blobs, ForecastSink, OverrideSink as _, Snapshots, WrittenRows};
use futures::future::join_all;
use lake::{Lake, LakeOptions};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use support::*;

const FORECASTS: &str = "marts.forecasts";
const DAYS: u64 = 28;

fn version_of(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// A run of a model version over some articles, told apart by when it was made.
fn run(digit: char, articles: usize, origin: &str, created_at: i64) -> ForecastRun {
    let origin: NaiveDate = origin.parse().expect("a date");
    let day = |ahead| DayForecast {
        date: origin + Days::new(ahead),
        mean: 1.5,
        quantiles: std::array::from_fn(|at| at as f64),
        total: Total { mean: 1.5 * ahead as f64, median: 1.0, q900: 3.0, q975: 4.0 },
        effects: Effects { base: 2.0, weather: -0.5, ..Effects::default() },
    };
    let forecast = |article: usize| SeriesForecast {
        tenant: "gift-uk".to_owned(),
        subject: Subject::Sku { store: "online".to_owned(), sku: format!("sku-{article}") },
        product_name: article.is_multiple_of(2).then(|| format!("Article {article}")),
        origin,
        days: (1..=DAYS).map(day).collect(),
        backtest: Backtest { wape: Some(0.5), naive_wape: None, coverage_80: Some(0.75), n: 112 },
        fallback: (article == 1).then(|| "too short".to_owned()),
    };
    ForecastRun {
        model_version: version_of(digit),
        lake_versions: [("curated.sales".to_owned(), 12)].into(),
        created_at,
        forecasts: (0..articles).map(forecast).collect(),
    }
}

async fn write(lake: &Lake, run: ForecastRun) -> WrittenRows {
    lake.write_forecasts(run).await.expect("the forecasts are written")
}

async fn rows(lake: &Lake) -> Vec<RecordBatch> {
    let log = lake.table(FORECASTS).expect("a table").snapshot().await.expect("a state");
    rows_at(lake, FORECASTS, &log)
}

/// Physical rows by model version and instant of making.
async fn counts(lake: &Lake) -> BTreeMap<(char, i64), usize> {
    let mut counts = BTreeMap::new();
    for batch in rows(lake).await {
        let column = |name: &str| Arc::clone(batch.column_by_name(name).expect("a column"));
        let (versions, created) = (column("model_version"), column("created_at"));
        let (versions, created) =
            (versions.as_string::<i32>(), created.as_primitive::<TimestampMicrosecondType>());
        for row in 0..batch.num_rows() {
            let digit = versions.value(row).chars().next().expect("a digit");
            *counts.entry((digit, created.value(row))).or_default() += 1;
        }
    }
    counts
}

/// The application ids of the table.
async fn app_ids(lake: &Lake) -> Vec<String> {
    let log = lake.table(FORECASTS).expect("a table").snapshot().await.expect("a state");
    log.transactions().keys().cloned().collect()
}

#[tokio::test]
async fn a_run_stands_in_the_month_of_its_origin_with_all_its_figures() {
    let folder = folder();
    let lake = open(folder.path()).await;
    let written = write(&lake, run('a', 3, "2011-12-09", 5)).await;
    assert_eq!(written, WrittenRows { version: 1, rows: 3 * DAYS, replaced_rows: 0 });
    assert_eq!(lake.newest_version(FORECASTS).await.expect("a version"), 1);
    let log = lake.table(FORECASTS).expect("a table").snapshot().await.expect("a state");
    let periods: Vec<_> = log.files().values().map(|file| file.period.as_str()).collect();
    assert_eq!(periods, ["2011-12"]);

    let batch = &rows(&lake).await[0];
    let mut text = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut text);
    writer.write(&batch.slice(29, 1)).expect("JSON");
    writer.finish().expect("JSON");
    let row: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(
        row,
        json!({
            "tenant": "gift-uk", "level": "sku", "store": "online", "sku": "sku-1", "unit": "units",
            "forecast_date": "2011-12-11", "origin": "2011-12-09", "mean": 1.5,
            "q025": 0.0, "q100": 1.0, "q200": 2.0, "q300": 3.0, "q400": 4.0, "q500": 5.0, "q600": 6.0, "q700": 7.0,
            "q800": 8.0, "q900": 9.0, "q975": 10.0, "total_mean": 3.0, "total_q500": 1.0, "total_q900": 3.0, "total_q975": 4.0,
            "effect_base": 2.0, "effect_trend": 0.0, "effect_season": 0.0, "effect_promotion": 0.0, "effect_events": 0.0,
            "effect_weather": -0.5, "effect_adjustment": 0.0,
            "model_version": version_of('a'),
            "lake_versions": "{\"curated.sales\":12}", "backtest_wape": 0.5, "coverage_80": 0.75, "backtest_n": 112,
            "fallback": "too short", "created_at": "1970-01-01T00:00:00.000005Z",
        })
    );
}

#[tokio::test]
async fn the_same_run_again_takes_the_place_of_the_first() {
    let folder = folder();
    let lake = open(folder.path()).await;
    write(&lake, run('a', 3, "2011-12-09", 1)).await;
    write(&lake, run('b', 4, "2011-12-08", 1)).await;
    assert!(app_ids(&lake).await.is_empty(), "runs that remove nothing need no application id");
    // By this process and by another, and more than once.
    for (again, lake) in [(2, &lake), (3, &open(folder.path()).await), (4, &lake)] {
        let written = write(lake, run('a', 3, "2011-12-09", again)).await;
        assert_eq!((written.rows, written.replaced_rows), (3 * DAYS, 3 * DAYS));
        assert_eq!(written.version, version(lake, FORECASTS).await);
        assert_eq!(counts(lake).await, [(('a', again), 84), (('b', 1), 112)].into());
        // One id, however many runs: each would stay in every checkpoint for ever.
        assert_eq!(app_ids(lake).await, ["rewrite/marts.forecasts"]);
    }
}

/// Makes one file of all active ones, as a compaction does.
async fn merge_files(lake: &Lake, with_statistics: bool) {
    let log = lake.table(FORECASTS).expect("a table").snapshot().await.expect("a state");
    let path = "period=2011-12/merged.parquet";
    let file = std::fs::File::create(table_folder(lake, FORECASTS).join(path)).expect("a file");
    let batches = rows_at(lake, FORECASTS, &log);
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), None).expect("a writer");
    batches.iter().for_each(|batch| writer.write(batch).expect("rows"));
    writer.close().expect("a file");
    let size = std::fs::metadata(table_folder(lake, FORECASTS).join(path)).expect("a file").len();
    let stats = with_statistics.then(|| {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let bound = |digit| json!({ "model_version": version_of(digit) });
        json!({ "numRecords": rows, "minValues": bound('a'), "maxValues": bound('c') }).to_string()
    });
    let partition = json!({ "period": "2011-12" });
    let mut entry = vec![json!({ "add": {
        "path": path, "size": size, "modificationTime": 0, "dataChange": false, "partitionValues": partition, "stats": stats,
    }})];
    entry.extend(log.files().keys().map(
        |path| json!({ "remove": { "path": path, "dataChange": false, "deletionTimestamp": 0, "partitionValues": partition } }),
    ));
    let text: Vec<String> = entry.iter().map(Value::to_string).collect();
    let next = support::entry(lake, FORECASTS, log.version() + 1);
    std::fs::write(next, text.join("\n")).expect("a log entry");
}

#[tokio::test]
async fn rows_of_other_versions_in_the_same_file_stay() {
    for with_statistics in [true, false] {
        let folder = folder();
        let lake = open(folder.path()).await;
        for digit in ['a', 'b', 'c'] {
            // More rows than a reader gives in one batch.
            write(&lake, run(digit, 400, "2011-12-09", 1)).await;
        }
        merge_files(&lake, with_statistics).await;
        let written = write(&lake, run('b', 400, "2011-12-09", 2)).await;
        assert_eq!(written.replaced_rows, 400 * DAYS);
        let expected = [(('a', 1), 11_200), (('b', 2), 11_200), (('c', 1), 11_200)].into();
        assert_eq!(counts(&lake).await, expected, "statistics: {with_statistics}");
        let log = lake.table(FORECASTS).expect("a table").snapshot().await.expect("a state");
        assert_eq!(log.files().len(), 2, "the others are one file, not one for each batch of a reader");

        // A version that the merged file might hold, but does not.
        let written = write(&lake, run('9', 400, "2011-12-09", 1)).await;
        assert_eq!(written.replaced_rows, 0);
        assert_eq!(counts(&*open(folder.path()).await).await.len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runs_that_race_leave_each_version_once() {
    let folder = folder();
    let lakes = [open(folder.path()).await, open(folder.path()).await];
    for round in 0..3 {
        let racers = (0..8_i64).map(|racer| {
            let lake = Arc::clone(&lakes[racer as usize % 2]);
            let digit = if racer % 4 < 2 { 'a' } else { 'b' };
            tokio::spawn(async move { write(&lake, run(digit, 5, "2011-12-09", round * 8 + racer)).await })
        });
        let written: Vec<_> = join_all(racers).await.into_iter().map(|end| end.expect("written")).collect();
        assert!(written.iter().all(|written| written.rows == 5 * DAYS));
        let counts = counts(&lakes[0]).await;
        let versions: Vec<_> = counts.iter().map(|((digit, _), rows)| (*digit, *rows)).collect();
        assert_eq!(
            versions,
            [('a', 140), ('b', 140)],
            "round {round}: each version once, of one racer: {counts:?}"
        );
    }
    assert_eq!(app_ids(&lakes[1]).await, ["rewrite/marts.forecasts"]);
}

#[tokio::test]
async fn figures_that_no_reader_should_meet_are_refused() {
    let folder = folder();
    let lake = open(folder.path()).await;
    let spoil = |change: fn(&mut DayForecast)| {
        let mut run = run('a', 2, "2011-12-09", 1);
        change(&mut run.forecasts[1].days[20]);
        run
    };
    let empty = ForecastRun { forecasts: Vec::new(), ..run('a', 0, "2011-12-09", 1) };
    for (run, word) in [
        (spoil(|day| day.mean = f64::NAN), "sku online sku-1"),
        (spoil(|day| day.quantiles[10] = f64::INFINITY), "sku online sku-1"),
        (spoil(|day| day.quantiles[0] = -0.1), "sku online sku-1"),
        (spoil(|day| day.quantiles[3] = 9.0), "sku online sku-1"),
        (spoil(|day| day.total.q900 = 0.5), "sku online sku-1"),
        (empty, "without forecasts"),
    ] {
        let error = lake.write_forecasts(run).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_eq!(version(&lake, FORECASTS).await, 0);
}

#[tokio::test]
async fn artefacts_are_stored_whole_and_replaced() {
    let folder = folder();
    let lake = open(folder.path()).await;
    let name = "ml-models/forecasting/0f/manifest.json";
    assert_eq!(lake.get(name).await.expect("an answer"), None);
    for text in ["first", "second, longer"] {
        lake.put(name, text.into()).await.expect("stored");
        let reader = Lake::open(&settings(folder.path()), LakeOptions::Read).await.expect("it opens");
        assert_eq!(reader.get(name).await.expect("an answer").as_deref(), Some(text.as_bytes()));
        assert_eq!(std::fs::read_to_string(folder.path().join(name)).expect("a file"), text);
    }
    let outside = folder.path().parent().expect("a parent").join("outside");
    for name in ["../outside", "a/../../outside", &outside.to_string_lossy(), "lake/marts/forecasts/x"] {
        assert_eq!(lake.put(name, vec![1]).await.expect_err(name).kind(), ErrorKind::Invalid);
        assert_eq!(lake.get(name).await.expect_err(name).kind(), ErrorKind::Invalid);
    }
    assert!(!Path::new(&outside).exists());
}

#[tokio::test]
async fn words_of_planners_are_added_and_those_that_no_reader_should_meet_refused() {
    let folder = folder();
    let lake = open(folder.path()).await;
    let word = |units: Option<f64>| Override {
        tenant: "t".to_owned(),
        store: "s".to_owned(),
        sku: "a".to_owned(),
        forecast_date: "2011-12-24".parse().expect("a date"),
        units,
        author: "Ada".to_owned(),
        reason: "a fair".to_owned(),
        at: 1,
        model_version: version_of('a'),
        origin: "2011-12-09".parse().expect("a date"),
        mean: 2.0,
    };
    for refused in [vec![], vec![word(Some(-1.0))], vec![word(None), word(Some(f64::NAN))]] {
        assert_eq!(lake.add_overrides(&refused).await.expect_err("refused").kind(), ErrorKind::Invalid);
    }
    assert_eq!(lake.add_overrides(&[word(Some(3.0)), word(None)]).await.expect("they are added"), 1);
    assert_eq!(lake.add_overrides(&[word(Some(0.0))]).await.expect("it is added"), 2);
}
