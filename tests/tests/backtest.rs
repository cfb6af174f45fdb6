//! `forecast backtest` beside the rivals' own script: the same definitions give the same figures, and files that cannot be measured are told why.

use std::path::{Path, PathBuf};
use std::process::Command;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};
use tests::process::{Finished, Process};
use tests::service;
use tests::world::{PATIENCE, World};

/// The rivals' script with its files of series and its results, if this machine has them.
fn peers() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/peers");
    let peers = std::env::var_os("INTELLICARTEL_PEERS").map_or(beside, PathBuf::from);
    peers.join("peers.py").exists().then_some(peers)
}

/// As the rivals were measured.
const SETS: [(&str, &str); 3] = [
    (
        "rossmann_daily",
        "--freq D --season 7 --horizon 42 --windows 3 --mask open --clip0 --median-by promo --static store_type,assortment,promo2,state \
         --shift open,promo,school_holiday,state_holiday --oracle temp_mean,temp_max,precip_mm,wind_mean,cloud --ignore search_trend",
    ),
    (
        "uci_daily_top200",
        "--freq D --season 7 --horizon 28 --windows 3 --clip0 --min-train 56 --static price_median --shift bank_holiday",
    ),
    (
        "uci_weekly_top200",
        "--freq W-MON --season 52 --horizon 8 --windows 2 --clip0 --min-train 26 --static price_median",
    ),
];

/// All that there are.
const MODELS: [&str; 13] = [
    "SeasonalNaive",
    "ETS",
    "DOT",
    "CrostonSBA",
    "TSB",
    "GroupMedian",
    "Boost",
    "Boost+known",
    "Boost+oracle",
    "TiDE-Q",
    "TiDE-Q+known",
    "TiDE-Q+oracle",
    "intellicartel",
];

/// The command on a file, which writes its report into another.
fn backtest(input: &Path, out: &Path, arguments: &str) -> Vec<String> {
    let paths =
        ["--input".as_ref(), input, "--out".as_ref(), out].map(|text| text.to_string_lossy().into_owned());
    let texts = |text: &str| text.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
    [texts("forecast backtest"), paths.to_vec(), texts(arguments)].concat()
}

#[test]
fn measures_are_those_of_the_rivals_script() {
    let Some(peers) = peers() else {
        eprintln!("skipped: there is no ../shared/peers; INTELLICARTEL_PEERS may name the folder");
        return;
    };
    let world = World::on_folder();
    for (name, arguments) in SETS {
        let input = peers.join(format!("series/{name}.csv.gz"));
        let (out, saved) = (world.path("report.json"), world.path("forecasts.parquet"));
        let mut command = backtest(&input, &out, &format!("--models SeasonalNaive,GroupMedian {arguments}"));
        command.extend(["--save-pred".to_owned(), saved.to_string_lossy().into_owned()]);
        let table = run(&world, &command).expect_success().stdout;
        eprintln!("{name}\n{table}");
        let report = json_of(&out);
        let theirs = scores(&world, &peers, &saved);
        let measured = json_of(&peers.join(format!("results/{name}.json")));
        for model in ["SeasonalNaive", "GroupMedian"] {
            let ours = &report["models"][model];
            assert_same(&format!("{name}, {model}"), ours, theirs[model].as_object().expect("measures"));
            let rival = measured["models"][model].as_object().expect("measures").clone();
            let is_measure =
                |key: &str| !key.ends_with("_s") && !["timing_repeats", "windows"].contains(&key);
            assert_same(
                &format!("{name}, {model} as it was measured"),
                ours,
                &rival.into_iter().filter(|(key, _)| is_measure(key)).collect(),
            );
            let windows =
                |report: &Value| report["models"][model]["windows"].as_array().cloned().unwrap_or_default();
            assert_eq!(windows(&report).len(), windows(&measured).len());
            for (ours, theirs) in windows(&report).iter().zip(windows(&measured)) {
                assert_same(
                    &format!("a window of {name}, {model}"),
                    ours,
                    theirs.as_object().expect("measures"),
                );
            }
        }
        for key in ["series", "rows"] {
            assert_eq!(report[key], measured[key], "{name}: {key}");
        }
        assert!(
            report["models"]["SeasonalNaive"]["cov95"].is_f64()
                && report["models"]["SeasonalNaive"]["mean_bias"].is_f64()
        );
        assert!(report["models"]["GroupMedian"]["SQL"].is_null());
    }
}

fn run(world: &World, command: &[String]) -> Finished {
    world.run(&command.iter().map(String::as_str).collect::<Vec<_>>())
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a report")).expect("JSON")
}

/// What the rivals' script says of forecasts.
fn scores(world: &World, peers: &Path, saved: &Path) -> Value {
    let mut command = Command::new(service("INTELLICARTEL_PYTHON"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/score_backtest.py")).arg(peers).arg(saved);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let finished = Process::start(command, &world.path("")).finish(PATIENCE).expect_success();
    serde_json::from_str(&finished.stdout).expect("the script prints JSON")
}

/// Asserts that every figure of theirs is among ours, to 1e-6 of it or of one.
fn assert_same(whose: &str, ours: &Value, theirs: &Map<String, Value>) {
    for (key, their) in theirs {
        let our = &ours[key];
        if let Some(theirs) = their.as_object() {
            assert_same(&format!("{whose}, {key}"), our, theirs);
            continue;
        }
        let (our, their) = (our.as_f64(), their.as_f64());
        let near =
            our.zip(their).is_some_and(|(our, their)| (our - their).abs() <= 1e-6 * their.abs().max(1.0));
        assert!(near, "{whose}, {key}: {our:?} is not {their:?}");
    }
}

/// With as many rows held back: the scaled quantile loss of nine LightGBM models (`LGB-quantile+known`), and the MASE of statsforecast's `DOT`. Decisions 012 and
/// 013 say how they were measured.
const HELD_BACK: [(&str, f64, f64); 3] =
    [("126", 0.2584, 0.7571), ("84", 0.5221, 0.7685), ("16", 0.5994, 0.7934)];

/// Chosen and checked on rows before the evaluation windows, so that those stay unseen.
#[test]
fn candidates_are_as_good_as_their_rivals_on_rows_held_back() {
    let Some(peers) = peers() else {
        eprintln!("skipped: there is no ../shared/peers; INTELLICARTEL_PEERS may name the folder");
        return;
    };
    let world = World::on_folder();
    for ((name, arguments), (rows, loss, error)) in SETS.into_iter().zip(HELD_BACK) {
        let input = peers.join(format!("series/{name}.csv.gz"));
        let out = world.path("report.json");
        let more = format!("{arguments} --models DOT,CrostonSBA,TSB,Boost+known --holdback {rows}");
        let command = backtest(&input, &out, &more);
        eprintln!("{name}\n{}", run(&world, &command).expect_success().stdout);
        let report = json_of(&out);
        for (model, key, rival) in [("Boost+known", "SQL", loss), ("DOT", "MASE", error)] {
            let ours = report["models"][model][key].as_f64().expect("a measure");
            assert!(ours < 1.005 * rival, "{name}, {model}: {key} {ours}, {rival}");
        }
        // The blend learns twice for each origin: on the smallest set, here.
        if rows == "16" {
            let command =
                backtest(&input, &out, &format!("{arguments} --models intellicartel --holdback {rows}"));
            eprintln!("{}", run(&world, &command).expect_success().stdout);
            let blend = json_of(&out)["models"]["intellicartel"].clone();
            let of = |key: &str| blend[key].as_f64().expect("a measure");
            let alone = report["models"]["Boost+known"]["SQL"].as_f64().expect("a measure");
            assert!(of("SQL") < alone && of("SQL") < 0.98 * loss, "{name}: {blend}, {alone}");
            assert!((of("cov80") - 0.8).abs() < 0.05 && of("mean_bias").abs() < 0.15, "{name}: {blend}");
            assert!(of("selection_cpu_s") > 0.0, "{name}: {blend}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_measured_is_told_why() {
    let world = World::on_folder();
    let (input, out) = (world.path("series.csv"), world.path("report.json"));
    let told = |content: &str, more: &str, words: &[&str]| {
        std::fs::write(&input, content).expect("a file");
        let more = if more.contains("--freq") { more.to_owned() } else { format!("--freq D {more}") };
        let command = backtest(&input, &out, &format!("--season 7 --horizon 1 {more}"));
        let _refused = run(&world, &command).expect_failure(words);
    };
    let days = "unique_id,ds,y,open\na,2024-01-01,1,1\na,2024-01-02,2,1\n";
    told(days, "", &["no series is long enough", "15 periods are needed", "the longest has 2"]);
    told(days, "--holdback 9", &["--holdback 9 leaves nothing", "has 2 periods"]);
    told(days, "--models Oracle", &["there is no model `Oracle`", "SeasonalNaive, ETS, DOT"]);
    told(days, "--mask opened", &["--mask opened"]);
    told(days, "--shift promo", &["--shift promo"]);
    told(days, "--oracle open --median-by open", &["--median-by open", "no model may know its future"]);
    told(days, "--levels 80,90", &["90", "20, 40, 60, 80 and 95 per cent"]);
    told(days, "--boost 400,2,15", &["--boost", "a rate above 0 up to 1"]);
    told(days, "--net 1500,0", &["--net", "a rate above 0 up to 0.1"]);
    told(
        days,
        "--save-pred /nowhere/forecasts.parquet",
        &["--save-pred /nowhere/forecasts.parquet", "folder"],
    );
    told(days, "--ignore weather", &["--ignore weather", "open"]);
    told(days, "--freq 5min", &["`5min` is no frequency", "W-MON"]);
    told("unique_id,ds\na,2024-01-01\n", "", &["--input", "has no column y"]);
    told(
        "unique_id,ds,y\na,2024-01-01,1\na,2024-01-01,2\n",
        "",
        &["--input", "series `a`", "2024-01-01 twice"],
    );
    told("unique_id,ds,y\na,2024-01-01,one\n", "", &["--input", "row 1, y: `one` is no number"]);
    std::fs::remove_file(&input).expect("the file goes");
    let command = backtest(&input, &out, "--freq D --season 7 --horizon 1");
    let _refused = run(&world, &command).expect_failure(&["--input", "series.csv"]);
    assert!(!out.exists(), "a report of nothing");
}

/// Constants, zeros, gaps, infinities and a spike of 1e9: each has finite forecasts, and what is missing is nobody's error.
#[test]
fn broken_series_have_finite_forecasts() {
    let world = World::on_folder();
    let (input, out) = (world.path("series.csv"), world.path("report.json"));
    let mut text = "unique_id,ds,y\n".to_owned();
    for day in 1..=28 {
        let date = format!("2024-02-{day:02}");
        for (id, y) in [
            ("constant", "5"),
            ("zero", "0"),
            ("infinite", "inf"),
            ("spiked", if day == 9 { "1e9" } else { "1" }),
        ] {
            text += &format!("{id},{date},{y}\n");
        }
        if day % 3 == 0 {
            text += &format!("gappy,{date},{day}\n");
        }
    }
    std::fs::write(&input, text).expect("a file");
    let saved = world.path("forecasts.parquet");
    let models = MODELS.join(",");
    let mut command =
        backtest(&input, &out, &format!("--freq D --season 7 --horizon 3 --net 60,0.002 --models {models}"));
    command.extend(["--save-pred".to_owned(), saved.to_string_lossy().into_owned()]);
    let _told = run(&world, &command).expect_success();
    let report = json_of(&out);
    assert_eq!((report["series"].as_u64(), report["missing"].as_u64()), (Some(5), Some(28 + 16)));
    for model in MODELS {
        let measures = &report["models"][model];
        for key in ["MASE", "WAPE", "sMAPE", "bias", "RMSE"] {
            assert!(measures[key].is_f64(), "{model}, {key}: {measures}");
        }
        // Three series have their last three days, the gappy one has the last of its own, the infinite one has none.
        assert_eq!(measures["n_points"], 3 * 3 + 1, "{model}");
    }
    let file = std::fs::File::open(&saved).expect("the forecasts");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("a reader");
    let mut count = 0;
    for rows in reader.map(|rows| rows.expect("rows")) {
        let models = rows.column_by_name("model").expect("a column").as_string::<i32>();
        for name in ["q0.025", "q0.1", "q0.5", "q0.9", "q0.975", "mean"] {
            let values = rows.column_by_name(name).expect("a column");
            for row in 0..rows.num_rows() {
                // What is not finite is written as null.
                let is_promised = models.value(row) != "GroupMedian" || name == "q0.5";
                assert_eq!(values.is_valid(row), is_promised, "{}, {name}", models.value(row));
            }
        }
        count += rows.num_rows();
    }
    assert_eq!(count, MODELS.len() * 5 * 3);
}
