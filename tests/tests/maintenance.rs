//! A lake that needs no hand: roles as processes of their own beside a live stream, one of them killed; flushes that slow down and come back; and
//! what `status` says of all that.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::process::Finished;
use tests::server::Server;
use tests::stream::{Stream, bad_before};
use tests::verify::Report;
use tests::world::{PATIENCE, World};

const PARTITIONS: i32 = 4;

fn status(world: &World) -> (Value, Finished) {
    let finished = world.run(&["status", "--output", "json"]);
    let said = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", finished.stdout, finished.stderr));
    (said, finished)
}

fn of_table<'a>(status: &'a Value, name: &str) -> &'a Value {
    let tables = status["tables"].as_array().expect("tables");
    tables.iter().find(|table| table["table"] == name).unwrap_or_else(|| panic!("{name} in {status:#}"))
}

fn of_sales(status: &Value) -> &Value {
    let feeds = status["feeds"].as_array().expect("feeds");
    feeds.iter().find(|feed| feed["feed"] == "sales").expect("the sales")
}

fn commands(status: &Value) -> Vec<&str> {
    let to_do = status["to_do"].as_array().expect("a list");
    to_do.iter().map(|to_do| to_do["command"].as_str().expect("a command")).collect()
}

/// Waits until something is as it should be.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn hasty(world: &mut World) {
    world.set("INTELLICARTEL__INGEST__FLUSH_MS", "50");
    world.set("INTELLICARTEL__MAINTENANCE__INTERVAL_MS", "200");
    world.set("INTELLICARTEL__MAINTENANCE__LEASE_SECONDS", "3");
}

#[test]
fn roles_are_processes_and_one_that_is_killed_is_followed() {
    for mut world in [World::on_folder(), World::on_s3()] {
        hasty(&mut world);
        world.create_topic(PARTITIONS);
        world.open_stores(&["s0", "s1", "s2"].map(|store| ("kill", store)));
        let ingest = Server::start_as(&world, &["serve", "--roles", "ingest"]);
        let maintainers = [0, 1].map(|_| Server::start_as(&world, &["serve", "--roles", "maintenance"]));
        let stream = Stream::start(&world, PARTITIONS, 2_000);
        let joined =
            |status: &Value| of_table(status, "curated.sales")["compacted_at"].as_str().map(str::to_owned);
        let mut first_leader = None;
        until("files are joined", || {
            let (said, _) = status(&world);
            first_leader = said["maintenance"]["leader"].as_str().map(str::to_owned);
            joined(&said).is_some() && first_leader.is_some()
        });
        let first_leader = first_leader.expect("one leads");
        let (leader, other): (Vec<_>, Vec<_>) = maintainers
            .into_iter()
            .partition(|server| first_leader.starts_with(&format!("process {} ", server.id())));
        assert_eq!((leader.len(), other.len()), (1, 1), "{first_leader}");
        leader.into_iter().for_each(Server::kill);
        let (at_the_kill, _) = status(&world);
        let other = other.into_iter().next().expect("the other one");
        until("the other follows and joins files", || {
            let (said, _) = status(&world);
            let leader = said["maintenance"]["leader"].as_str().unwrap_or_default().to_owned();
            leader.starts_with(&format!("process {} ", other.id())) && joined(&said) > joined(&at_the_kill)
        });

        let checks = other.get("/readyz?verbose", &[]).expect_success()["data"]["checks"].clone();
        assert_eq!((&checks["maintenance"], &checks["lake"]), (&"ok".into(), &"ok".into()), "{checks}");
        let metrics = other.get("/metrics", &[]).text();
        assert!(metrics.contains("intellicartel_lake_maintenance_leads 1"), "{metrics}");
        assert_eq!(other.get("/livez", &[]).status, 200);
        assert_eq!(other.get("/api/v1/forecast/predictions", &[]).status, 404, "it answers no questions");
        let metrics = ingest.get("/metrics", &[]).text();
        assert!(metrics.contains(r#"intellicartel_lake_small_files{table="curated.sales"}"#), "{metrics}");
        assert!(
            metrics.contains(r#"intellicartel_lake_log_tail_commits{table="curated.sales"}"#),
            "{metrics}"
        );

        let acknowledged = stream.end();
        until("all is taken in", || of_sales(&status(&world).0)["lag"] == 0);
        let (said, finished) = status(&world);
        let feed = of_sales(&said);
        assert_eq!((&feed["feed"], &feed["topic"]), (&"sales".into(), &world.topic().into()), "{feed:#}");
        assert_eq!(feed["partitions"].as_array().map(Vec::len), Some(4), "{feed:#}");
        let bad: i64 = acknowledged.iter().map(|&count| bad_before(count)).sum();
        let rows: i64 = acknowledged.iter().sum::<i64>() - bad;
        assert_eq!((&feed["rows"], &feed["dead_letters"]), (&rows.into(), &bad.into()), "{feed:#}");
        assert_eq!(feed["unresolved_24h"], bad, "{feed:#}");
        assert!(feed["freshness_seconds"].as_i64().is_some_and(|seconds| seconds < 180), "{feed:#}");
        // The stream's bad records alone need a hand.
        let commands = commands(&said);
        assert!(
            commands.len() == 1 && commands[0].contains("dlq list --feed sales --status dead --since"),
            "{said:#}"
        );
        assert_eq!(finished.status.code(), Some(3));
        let text = world.run(&["status"]).stdout;
        assert!(
            text.contains("maintained by process") && text.contains("run: intellicartel dlq list"),
            "{text}"
        );
        assert!(of_table(&said, "curated.sales")["vacuumed_at"].is_string(), "{said:#}");

        let _ = ingest.end().expect_success();
        let _ = other.end().expect_success();
        Report::of(&world).expect_stream(&acknowledged);
        until("the lease has run out, and somebody is asked for", || {
            let (said, finished) = status(&world);
            let is_asked_for = said["to_do"].to_string().contains("serve --roles maintenance");
            is_asked_for && finished.status.code() == Some(3)
        });
    }
}

#[test]
fn one_process_does_everything_and_waits_for_its_topic() {
    let mut world = World::on_folder();
    hasty(&mut world);
    let server = Server::start_as(&world, &["serve"]);
    let checks = || server.get("/readyz?verbose", &[]).json()["data"]["checks"].clone();
    until("the feed waits for its topic", || {
        checks()["feed sales"].as_str().is_some_and(|told| told.contains("its topic is not there yet"))
    });
    assert_eq!(server.get("/readyz", &[]).status, 200, "questions can be answered");
    assert_eq!(
        server.sql("gift-uk", &serde_json::json!({ "sql": "SELECT 1 FROM curated.sales" })).status,
        200
    );
    let (said, finished) = status(&world);
    assert_eq!((commands(&said).len(), finished.status.code()), (0, Some(0)), "{said:#}");

    world.create_topic(1);
    let stream = Stream::start(&world, 1, 500);
    until("the topic is read", || of_sales(&status(&world).0)["rows"].as_i64() > Some(0));
    until("files are joined", || of_table(&status(&world).0, "curated.sales")["compacted_at"].is_string());
    let acknowledged = stream.end();
    until("all is taken in", || of_sales(&status(&world).0)["lag"] == 0);
    let _ = server.end().expect_success();
    Report::of(&world).expect_stream(&acknowledged);
}

/// The value of a metric without other labels than the feed.
fn flush_seconds(server: &Server<'_>) -> Option<f64> {
    let metrics = server.get("/metrics", &[]).text();
    let line = metrics.lines().find(|line| line.starts_with("intellicartel_ingest_flush_seconds"));
    line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok())
}

#[test]
fn flushes_slow_down_while_files_are_too_many_and_come_back() {
    let mut world = World::on_folder();
    hasty(&mut world);
    world.set("INTELLICARTEL__MAINTENANCE__SMALL_FILES_CAP", "100");
    world.create_topic(1);
    let ingest = Server::start_as(&world, &["serve", "--roles", "ingest"]);
    let stream = Stream::start(&world, 1, 1_000);
    until("flushes slow down", || flush_seconds(&ingest) >= Some(0.2));
    assert!(ingest.log().contains("too many small files"), "{}", ingest.log());
    let (said, _) = status(&world);
    assert!(commands(&said).contains(&"intellicartel lake compact curated.sales"), "{said:#}");
    assert!(commands(&said).contains(&"intellicartel serve --roles maintenance"), "{said:#}");
    let maintenance = Server::start_as(&world, &["serve", "--roles", "maintenance"]);
    until("flushes come back", || flush_seconds(&ingest) == Some(0.05));
    let acknowledged = stream.end();
    until("all is taken in", || of_sales(&status(&world).0)["lag"] == 0);
    let _ = ingest.end().expect_success();
    let _ = maintenance.end().expect_success();
    Report::of(&world).expect_stream(&acknowledged);
}

#[test]
fn status_tells_what_it_cannot_see() {
    let mut world = World::on_folder();
    let nothing = world.run(&["status"]).expect_failure(&["lake.root"]);
    assert_eq!(nothing.status.code(), Some(1));
    world.create_topic(1);
    world.ingest_to_the_end();
    let producer = world.producer();
    for offset in 0..4 {
        let value = tests::stream::value(0, offset);
        producer.send_raw(&world.topic(), Some(0), None, Some(&value), false).expect("it is taken");
    }
    producer.finish().expect("all is acknowledged");
    let (said, finished) = status(&world);
    assert_eq!(of_sales(&said)["lag"], 4);
    assert_eq!(
        commands(&said),
        ["intellicartel serve --roles ingest", "intellicartel serve --roles maintenance"]
    );
    assert_eq!(finished.status.code(), Some(3));
    let doctor = world.run(&["doctor"]).stdout;
    assert!(doctor.contains("nobody has maintained this lake yet"), "{doctor}");

    world.delete_topic();
    world.create_topic(1);
    until("the topic is another log", || {
        commands(&status(&world).0)[0].starts_with("intellicartel ingest accept-log")
    });

    world.set("INTELLICARTEL__KAFKA__BROKERS", "127.0.0.1:9");
    let (said, finished) = status(&world);
    assert!(
        said["kafka"].as_str().is_some_and(|told| told.contains("kafka.brokers = 127.0.0.1:9")),
        "{said:#}"
    );
    assert_eq!(of_sales(&said)["lag"], Value::Null);
    assert_eq!((commands(&said)[0], finished.status.code()), ("intellicartel doctor", Some(3)));
    assert!(world.run(&["status"]).stdout.contains("Kafka does not answer"));
    let refused = world.run(&["serve", "--roles", "cook"]);
    assert_eq!(refused.expect_failure(&["cook", "maintenance"]).status.code(), Some(2));
}
