//! What cannot work is refused, or stops, with an error that names the setting and the fix, and nothing is lost or half-done.

use std::path::PathBuf;

use tests::proxy::CarelessStore;
use tests::stream;
use tests::verify::Report;
use tests::world::World;

const UNTIL_END: [&str; 4] = ["ingest", "--feeds", "sales", "--until-end"];

fn world_with_records(count: i64) -> World {
    let world = World::on_folder();
    world.create_topic(1);
    let producer = world.producer();
    for offset in 0..count {
        producer
            .send_raw(&world.topic(), Some(0), None, Some(&stream::value(0, offset)), false)
            .expect("it is taken");
    }
    producer.finish().expect("all is acknowledged");
    world
}

/// A nobody's port: bound, never listened on.
fn closed_port() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    (listener, format!("127.0.0.1:{port}"))
}

#[test]
fn a_missing_topic_and_an_unreachable_broker() {
    let mut world = World::on_folder();
    let _ = world.run(&UNTIL_END).expect_failure(&["there is no topic", &world.topic(), "produce sales"]);
    let (listener, address) = closed_port();
    drop(listener);
    world.set("INTELLICARTEL__KAFKA__BROKERS", &address);
    let refused = world.run(&UNTIL_END).expect_failure(&["kafka.brokers", &address]);
    assert_eq!(refused.stderr.lines().count(), 1, "the error, and no noise of clients: {}", refused.stderr);
    world.set("RUST_LOG", "debug");
    // The client speaks in threads of its own, and the end of the process may cut it short.
    let says_why = |_| {
        let said = world.run(&UNTIL_END).expect_failure(&["kafka.brokers", &address]).stderr;
        ["librdkafka", "Connect to"].iter().all(|word| said.contains(word))
    };
    assert!((0..5).any(says_why), "what the client says is in no log");
}

#[test]
fn a_store_that_cannot_be_used() {
    let mut world = World::on_s3();
    world.create_topic(1);
    world.set("INTELLICARTEL__S3__SECRET_ACCESS_KEY", "wrong");
    let _ = world.run(&UNTIL_END).expect_failure(&["access is refused", "s3.secret_access_key"]);

    let mut world = World::on_s3();
    let (listener, address) = closed_port();
    drop(listener);
    world.set("INTELLICARTEL__S3__ENDPOINT", &format!("http://{address}"));
    let _ = world.run(&UNTIL_END).expect_failure(&["s3.endpoint", &address]);
}

#[test]
fn a_store_without_a_true_conditional_put() {
    let mut world = World::on_s3();
    let store = CarelessStore::start();
    world.set("INTELLICARTEL__S3__ENDPOINT", &store.endpoint());
    let _ = world.run(&UNTIL_END).expect_failure(&[
        "not safe for commits",
        "16 concurrent creates",
        "If-None-Match",
    ]);

    let mut world = World::on_s3();
    world.set("AWS_S3_LOCKING_PROVIDER", "dynamodb");
    let _ = world.run(&UNTIL_END).expect_failure(&["AWS_S3_LOCKING_PROVIDER=dynamodb"]);
}

#[test]
fn a_lake_of_another_release() {
    let world = world_with_records(10);
    let layout = PathBuf::from(&world.root).join("lake/_layout.json");
    std::fs::create_dir_all(layout.parent().expect("it has one")).expect("a folder");
    std::fs::write(
        &layout,
        r#"{"layout": 99, "created_by": "intellicartel 9.0.0", "created_at": "2030-01-01T00:00:00Z"}"#,
    )
    .expect("the layout is written");
    let _ =
        world.run(&UNTIL_END).expect_failure(&["layout 99", "intellicartel 9.0.0", "this release knows 1"]);
    std::fs::remove_file(&layout).expect("the layout is removed");
    world.ingest_to_the_end();
    Report::of(&world).expect_stream(&[10]);
}

#[test]
fn a_full_disk_stops_the_feed_and_nothing_is_lost() {
    let mut world = world_with_records(40_000);
    let Some(disk) = SmallDisk::mount(world.path("disk")) else {
        eprintln!(
            "skipped: this system lets tests mount no disk to fill (it takes root, or sudo without a password)"
        );
        return;
    };
    world.set("INTELLICARTEL__LAKE__ROOT", &disk.0.join("lake").to_string_lossy());
    world.set("INTELLICARTEL__INGEST__FLUSH_BYTES", "1000000");
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![0; 5_600_000]).expect("the ballast fits");
    let _ = world.run(&UNTIL_END).expect_failure(&["the disk is full"]);
    std::fs::remove_file(&ballast).expect("the ballast is thrown off");
    world.ingest_to_the_end();
    world.root = disk.0.join("lake").to_string_lossy().into_owned();
    Report::of(&world).expect_stream(&[40_000]);
}

/// A file system of 6 MB; dropped, it is unmounted.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&at).expect("a folder");
        let id = std::process::Command::new("id").arg("-u").output().expect("id runs").stdout;
        let mut command = std::process::Command::new(if id == b"0\n" { "mount" } else { "sudo" });
        if id != b"0\n" {
            command.args(["-n", "mount"]);
        }
        let mounted = command.args(["-t", "tmpfs", "-o", "size=6m,mode=0777", "tmpfs"]).arg(&at).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_mapping_that_does_not_fit_its_file() {
    let world = World::on_folder();
    let (file, map) = (world.path("sales.csv"), world.path("map.toml"));
    std::fs::write(&file, "Invoice,Price\n1,2.50\n").expect("a file");
    let demo = include_str!("../../demo/online_retail_ii.toml");
    std::fs::write(&map, demo).expect("a mapping");
    let (file, map) = (file.to_string_lossy().into_owned(), map.to_string_lossy().into_owned());
    let produce = ["produce", "sales", "--file", &file, "--map", &map];
    let _ = world.run(&produce).expect_failure(&["the file has no column", "it has Invoice, Price"]);
    std::fs::write(&map, demo.replace("[feeds.sales]", "[feeds.sails]")).expect("a mapping");
    let _ = world.run(&produce).expect_failure(&["there is no feed `sails`", "sales"]);
    std::fs::write(&map, demo.replace("sku = { column", "sku = { colum")).expect("a mapping");
    let _ = world.run(&produce).expect_failure(&["sku", "colum"]);
    let missing = ["produce", "sales", "--file", "nowhere.csv", "--map", &map];
    let _ = world.run(&missing).expect_failure(&["--map"]);
}

#[test]
fn a_mistyped_column_of_json_lines_or_parquet_sends_nothing() {
    let world = World::on_folder();
    world.create_topic(1);
    let (file, map) = (world.path("sales"), world.path("map.toml"));
    let (name, mapping) = (file.to_string_lossy(), map.to_string_lossy());
    let produce = ["produce", "sales", "--file", &name, "--map", &mapping];
    let demo = include_str!("../../demo/online_retail_ii.toml");

    std::fs::write(&file, "{\"Invoice\": \"1\", \"item\": {\"price\": 2.50}}\n".repeat(5_000))
        .expect("a file");
    std::fs::write(&map, format!("file_format = \"json_lines\"\n{demo}")).expect("a mapping");
    let fault = ["the file has no column", "in its first 1000 objects", "it has Invoice, item.price"];
    let _ = world.run(&produce).expect_failure(&fault);

    let invoices: arrow_array::ArrayRef = std::sync::Arc::new(arrow_array::StringArray::from(vec!["1"]));
    let batch = arrow_array::RecordBatch::try_from_iter([("Invoice", invoices)]).expect("a batch");
    let content = std::fs::File::create(&file).expect("a file");
    let mut writer = parquet::arrow::ArrowWriter::try_new(content, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("a row is written");
    writer.close().expect("the file is closed");
    std::fs::write(&map, format!("file_format = \"parquet\"\n{demo}")).expect("a mapping");
    let _ = world.run(&produce).expect_failure(&["the file has no column", "it has Invoice"]);
    std::fs::write(&map, format!("file_format = \"json_lines\"\n{demo}")).expect("a mapping");
    let _ = world.run(&produce).expect_failure(&["--file", "line 1: "]);
    assert!(world.topic_is_empty());
}

#[test]
fn settings_that_are_not_known_or_not_usable() {
    let mut world = World::on_folder();
    world.set("INTELLICARTEL__INGEST__FLUSH_SECONDS", "1");
    assert_eq!(world.run(&UNTIL_END).expect_failure(&["flush_seconds"]).status.code(), Some(2));
    for (variable, value, word) in [
        ("INTELLICARTEL__INGEST__PIPELINE", "a/b", "ingest.pipeline"),
        ("INTELLICARTEL__LAKE__ROOT", "gs://bucket", "lake.root"),
        ("INTELLICARTEL__INGEST__MEMORY_CAP_BYTES", "1000", "ingest.memory_cap_bytes"),
    ] {
        let mut world = World::on_folder();
        world.set(variable, value);
        assert_eq!(world.run(&UNTIL_END).expect_failure(&[word]).status.code(), Some(2));
    }
    let world = World::on_folder();
    let _ = world.run(&["sql", "SELECT 1"]).expect_failure(&["there is no folder lake.root"]);
    let world = world_with_records(3);
    world.ingest_to_the_end();
    let _ = world.run(&["sql", "DELETE FROM curated.sales"]).expect_failure(&["DML"]);
    Report::of(&world).expect_stream(&[3]);
}
