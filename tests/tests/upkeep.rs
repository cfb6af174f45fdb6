//! Upkeep by the command line, on the lake of a real ingest on S3: tables get smaller and no reader, ours or another's, sees another row.

use std::time::Duration;

use lake::LakeOptions;
use lake::operations::vacuum::{VacuumMode, VacuumOptions, vacuum};
use serde_json::Value;
use tests::stream;
use tests::verify::Report;
use tests::world::World;

const RECORDS: i64 = 600;
const BATCHES: i64 = 4;

/// Sends and ingests the stream's records in several batches, so that the tables have several files.
fn ingest_in_batches(world: &World) {
    world.create_topic(1);
    for batch in 0..BATCHES {
        let producer = world.producer();
        for offset in batch * RECORDS / BATCHES..(batch + 1) * RECORDS / BATCHES {
            let sent =
                producer.send_raw(&world.topic(), Some(0), None, Some(&stream::value(0, offset)), false);
            sent.expect("it is taken");
        }
        producer.finish().expect("all is acknowledged");
        world.ingest_to_the_end();
    }
}

/// What a command of the binary says as JSON.
fn json(world: &World, arguments: &[&str]) -> Value {
    let said = world.run(&[arguments, &["--output", "json"]].concat()).expect_success().stdout;
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn text(world: &World, arguments: &[&str]) -> String {
    world.run(arguments).expect_success().stdout
}

/// What an independent reader finds must stay, whatever upkeep does.
fn rows_and_periods(report: &Report) -> Value {
    let figures = ["rows", "letters", "partitions", "quantity", "revenue", "periods"];
    figures.into_iter().map(|name| (name.to_owned(), report.json()[name].clone())).collect()
}

#[test]
fn tables_are_compacted_checkpointed_and_vacuumed_and_read_the_same() {
    let world = World::on_s3();
    ingest_in_batches(&world);
    let before = Report::of(&world);
    before.expect_stream(&[RECORDS]);
    let log_version =
        json(&world, &["lake", "describe", "curated.sales"])["version"].as_u64().expect("a version");
    let pinned = format!("SELECT count(*), sum(quantity) FROM curated.\"sales@{log_version}\"");
    let pinned_says = world.sql(&pinned);

    for (table, files) in [("curated.sales", 8), ("raw.dead_letters", 4)] {
        let report = json(&world, &["lake", "compact", table]);
        assert_eq!(report["files_before"], files, "{report}");
        assert_eq!(report["given_up"], Value::Null);
        assert_eq!(text(&world, &["lake", "compact", table]), "nothing to do\n");
        let checkpoint = json(&world, &["lake", "checkpoint", table]);
        assert_eq!(checkpoint["version"], report["version"], "{checkpoint}");
        for mode in [&[][..], &["--full"]] {
            let found = json(&world, &[&["lake", "vacuum", table, "--apply"], mode].concat());
            assert_eq!((&found["files"], &found["retention_hours"]), (&0.into(), &24.into()), "{found}");
        }
    }
    assert_eq!(world.sql(&pinned), pinned_says, "an older version within the retention");
    let compacted = Report::of(&world);
    compacted.expect_stream(&[RECORDS]);
    assert_eq!(rows_and_periods(&compacted), rows_and_periods(&before));

    // As if the retention had passed: the files that compaction removed go.
    let lake = world.try_lake(LakeOptions::Upkeep).expect("the lake opens");
    for (mode, table, files) in
        [(VacuumMode::Lite, "curated.sales", 8), (VacuumMode::Full, "raw.dead_letters", 4)]
    {
        let options = VacuumOptions { mode, apply: true, unsafe_retention: Some(Duration::ZERO) };
        let table = lake.table(table).expect("a table");
        assert_eq!(world.block_on(vacuum(table, &options)).expect("vacuum").files, files);
        assert_eq!(world.block_on(vacuum(table, &options)).expect("vacuum").files, 0);
    }
    let vacuumed = Report::of(&world);
    assert_eq!(vacuumed.json(), compacted.json(), "versions and history too");
    let said = world.ingest_to_the_end().stderr;
    assert!(said.contains("0 rows and 0 dead letters in 0 commits"), "{said}");
}

#[test]
fn the_command_line_tells_of_tables_and_commits() {
    let world = World::on_s3();
    ingest_in_batches(&world);
    let tables = json(&world, &["lake", "tables"]);
    let table = |name: &str| {
        let list = tables.as_array().expect("a list");
        list.iter().find(|table| table["table"] == name).cloned().expect("a table")
    };
    let bad = stream::bad_before(RECORDS);
    assert_eq!(table("curated.sales")["rows"], RECORDS - bad);
    assert_eq!(table("raw.dead_letters")["rows"], bad);
    assert!(text(&world, &["lake", "tables"]).contains("curated.sales"));

    let description = json(&world, &["lake", "describe", "curated.sales"]);
    let columns = description["columns"].as_array().expect("columns");
    assert!(columns.iter().all(|column| column["comment"].as_str().is_some_and(|text| !text.is_empty())));
    let positions = description["transactions"].as_array().expect("transactions");
    let position = format!("main/{}/1/0", world.topic());
    assert!(positions.iter().any(|p| p["transaction"] == position.as_str() && p["version"] == RECORDS));
    let described = text(&world, &["lake", "describe", "curated.sales"]);
    assert!(
        [&position, "intellicartel.contract"].iter().all(|word| described.contains(*word)),
        "{described}"
    );

    let _ = json(&world, &["lake", "compact", "curated.sales", "--period", "2026-01"]);
    let history = json(&world, &["lake", "history", "curated.sales", "--limit", "2"]);
    let operations: Vec<_> = history.as_array().expect("a list").iter().map(|c| &c["operation"]).collect();
    assert_eq!(operations, ["OPTIMIZE", "WRITE"]);
    assert_eq!(history[0]["files_removed"], BATCHES);
    assert_eq!(history[0]["rows_added"], history[0]["rows_removed"]);
    assert!(text(&world, &["lake", "history", "curated.sales"]).contains("CREATE TABLE"));

    let _ = world
        .run(&["lake", "describe", "curated.sails"])
        .expect_failure(&["`curated.sails`", "curated.sales"]);
    let wrong = world.run(&["lake", "compact", "curated.sales", "--period", "January"]);
    assert_eq!(wrong.expect_failure(&["January", "YYYY-MM"]).status.code(), Some(2));
}

#[test]
fn a_mistyped_root_is_told_and_not_created() {
    for mut world in [World::on_folder(), World::on_s3()] {
        let root = format!("{}-mistyped", world.root);
        world.set("INTELLICARTEL__LAKE__ROOT", &root);
        for command in [
            &["sql", "SELECT count(*) FROM curated.sales"][..],
            &["lake", "tables"],
            &["lake", "describe", "curated.sales"],
            &["lake", "compact", "curated.sales"],
            &["lake", "vacuum", "curated.sales", "--apply"],
            &["dlq", "list"],
        ] {
            let said = world.run(command).expect_failure(&["lake.root", "mistyped"]);
            assert_eq!(said.status.code(), Some(1), "{command:?}: {}", said.stderr);
        }
        assert!(!std::path::Path::new(&root).exists());
    }
}

#[test]
fn dead_letters_are_listed_and_shown_whole() {
    let world = World::on_s3();
    world.create_topic(1);
    let producer = world.producer();
    let long = format!(r#"{{"tenant":"gift-uk","store":"s1","note":"{}"}}"#, "ü".repeat(5_000));
    let binary = [0xff, 0xfe, 0x00];
    for value in [&stream::value(0, 0)[..], long.as_bytes(), &binary] {
        producer.send_raw(&world.topic(), Some(0), Some(b"key"), Some(value), false).expect("it is taken");
    }
    producer.finish().expect("all is acknowledged");
    world.ingest_to_the_end();

    let letters = json(&world, &["dlq", "list"]);
    let seen =
        |letter: &Value| (letter["_offset"].clone(), letter["error_class"].clone(), letter["status"].clone());
    let listed: Vec<_> = letters.as_array().expect("a list").iter().map(seen).collect();
    assert_eq!(
        listed,
        [(2.into(), "invalid_utf8".into(), "dead".into()), (1.into(), "missing_field".into(), "dead".into())]
    );
    let only = |arguments: &[&str]| {
        let list = json(&world, &[&["dlq", "list"], arguments].concat());
        list.as_array().expect("a list").len()
    };
    assert_eq!(only(&["--limit", "1"]), 1);
    assert_eq!(only(&["--class", "missing_field", "--feed", "sales", "--since", "2020-01-01"]), 1);
    assert_eq!(only(&["--class", "it's"]), 0);
    assert_eq!(only(&["--since", "2999-01-01T00:00:00Z"]), 0);
    let table = text(&world, &["dlq", "list"]);
    assert!(table.contains(&format!("{}/1/0/1", world.topic())), "{table}");

    let shown = json(&world, &["dlq", "show", &format!("{}/1/0/1", world.topic())]);
    assert_eq!(
        (shown["raw_value"].as_str(), shown["raw_value_encoding"].as_str()),
        (Some(&*long), Some("utf-8"))
    );
    assert_eq!((shown["raw_key"].as_str(), shown["status"].as_str()), (Some("key"), Some("dead")));
    assert_eq!((shown["tenant"].as_str(), shown["store"].as_str()), (Some("gift-uk"), Some("s1")));
    let topic = world.topic();
    let named = ["dlq", "show", "--topic", &topic, "--log", "1", "--partition", "0", "--offset", "2"];
    let shown = json(&world, &named);
    assert_eq!(
        (shown["raw_value"].as_str(), shown["raw_value_encoding"].as_str()),
        (Some("fffe00"), Some("hex"))
    );
    assert!(text(&world, &["dlq", "show", &format!("{topic}/1/0/1")]).contains(&long), "it is not shortened");

    let _ = world
        .run(&["dlq", "show", &format!("{topic}/1/0/0")])
        .expect_failure(&["no dead letter", "dlq list"]);
    let _ = world.run(&["dlq", "show", &topic]).expect_failure(&["TOPIC/LOG/PARTITION/OFFSET"]);
    assert_eq!(world.run(&["dlq", "show"]).expect_failure(&["RECORD"]).status.code(), Some(2));

    // A newer decoder, or a replay, puts the record into the feed's table: the letter is resolved.
    resolve(&world, 1);
    assert_eq!(json(&world, &["dlq", "show", &format!("{topic}/1/0/1")])["status"], "resolved");
    let letters = json(&world, &["dlq", "list"]);
    let listed: Vec<_> = letters.as_array().expect("a list").iter().map(|letter| &letter["status"]).collect();
    assert_eq!(listed, ["dead", "resolved"]);
}

/// Puts a row with these coordinates into the feed's table, as a decoder that takes the record would.
fn resolve(world: &World, offset: i64) {
    use domain::Feed;
    use domain::feeds::RecordMetadata;
    use domain::ids::Pipeline;
    use domain::ports::{Append, Batch, CommitOutcome};
    use domain::position::PartitionRange;
    let lake = world.try_lake(LakeOptions::Write).expect("the lake opens");
    let topic = world.topic();
    let now = domain::civil::now();
    let metadata = RecordMetadata {
        topic: &topic,
        log: 1,
        partition: 0,
        offset,
        timestamp: Some(now),
        ingested_at: now,
        history: false,
    };
    let mut rows = Feed::Sales.builder();
    rows.push(Some(&stream::value(0, 0)), &metadata, now).expect("a good record");
    let committed = world.block_on(async {
        let batch = Batch {
            id: uuid::Uuid::new_v4(),
            feed: Feed::Sales,
            pipeline: Pipeline::new("main").expect("a name"),
            topic: topic.clone(),
            log: 1,
            ranges: vec![PartitionRange { partition: 0, from: Some(3), to: 4 }],
            dead_letters: Vec::new(),
            files: lake.stage(Feed::Sales, rows.finish()).await.expect("a file"),
            marks: None,
            max_age: std::time::Duration::from_secs(3_600),
        };
        lake.commit(&batch).await.expect("the store answers")
    });
    assert!(matches!(committed, CommitOutcome::Committed { .. }), "{committed:?}");
}
