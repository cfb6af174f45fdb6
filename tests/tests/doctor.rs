//! `doctor` against real servers: all well, everything broken at once, and that it leaves nothing behind.

use std::net::TcpListener;

use serde_json::Value;
use tests::process::Finished;
use tests::world::{PATIENCE, World};

/// What it found, by check.
struct Report {
    finished: Finished,
    findings: Vec<Value>,
}

impl Report {
    fn of(world: &World) -> Self {
        let finished = world.run(&["doctor", "--output", "json"]);
        let findings = serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", finished.stdout, finished.stderr));
        Self { finished, findings }
    }

    /// Expects a status of a check, with these words in what was found and in the fix.
    fn expect(&self, check: &str, status: &str, words: &[&str]) -> &Self {
        let finding = self.findings.iter().find(|finding| finding["check"] == check);
        let finding = finding.unwrap_or_else(|| panic!("no check {check} in {:#?}", self.findings));
        assert_eq!(finding["status"], status, "{finding:#}");
        assert_eq!(finding["fix"].is_null(), status == "ok", "{finding:#}");
        let text = format!("{} {}", finding["found"], finding["fix"]);
        for word in words {
            assert!(text.contains(word), "`{word}` is not in {finding:#}");
        }
        self
    }

    fn expect_exit(&self, code: i32) {
        assert_eq!(self.finished.status.code(), Some(code), "{:#?}", self.findings);
        assert_eq!(self.finished.stderr, "", "everything is told on stdout");
    }
}

/// An address that is taken, but where nobody answers.
fn taken_port() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    (listener, address)
}

fn set_free_port(world: &mut World) {
    let (listener, address) = taken_port();
    drop(listener);
    world.set("INTELLICARTEL__HTTP__LISTEN", &address);
}

#[test]
fn all_is_well_and_nothing_is_left_behind() {
    for mut world in [World::on_s3(), World::on_folder()] {
        set_free_port(&mut world);
        world.create_topic(3);
        let topic = world.topic();
        let before = world.keys();
        let report = Report::of(&world);
        report.expect("http", "ok", &["is free"]).expect("broker", "ok", &["cluster", "answers"]);
        report.expect("topic sales", "ok", &[&topic, "3 partitions"]).expect("store", "ok", &[&world.root]);
        report.expect("lake", "ok", &["no lake yet"]).expect("clock", "ok", &[]).expect("memory", "ok", &[]);
        report.expect_exit(0);
        assert_eq!(world.keys(), before);
        assert!(world.root.starts_with("s3:") || !std::path::Path::new(&world.root).exists());

        world.ingest_to_the_end();
        let before = world.keys();
        let report = Report::of(&world);
        report.expect("store", "ok", &["concurrent creates"]).expect("lake", "ok", &["layout 1"]);
        report.expect_exit(0);
        assert_eq!(world.keys(), before);
        let table = world.run(&["doctor"]).expect_success().stdout;
        assert!(table.starts_with("check") && table.contains(&topic), "{table}");
    }
}

#[test]
fn everything_is_broken_at_once() {
    let mut world = World::on_s3();
    let (listener, address) = taken_port();
    let (closed, closed_address) = taken_port();
    drop(closed);
    world.set("INTELLICARTEL__HTTP__LISTEN", &address);
    world.set("INTELLICARTEL__KAFKA__BROKERS", &closed_address);
    world.set("INTELLICARTEL__S3__SECRET_ACCESS_KEY", "wrong");
    world.set("INTELLICARTEL__INGEST__MEMORY_CAP_BYTES", "4611686018427387904");
    world.set("TMPDIR", "/nowhere");
    let report = Report::of(&world);
    report.expect("http", "failed", &[&address, "http.listen", "--listen"]);
    report.expect("broker", "failed", &[&closed_address, "refused", "kafka.brokers"]);
    report.expect("store", "failed", &["access is refused", "s3.secret_access_key"]);
    report.expect("lake", "warning", &[]).expect("clock", "warning", &["not compared"]);
    report.expect("memory", "failed", &["ingest.memory_cap_bytes"]);
    report.expect("temp disk", "failed", &["/nowhere", "TMPDIR"]);
    report.expect_exit(1);

    // Somebody takes connections there, and says nothing.
    world.set("INTELLICARTEL__KAFKA__BROKERS", &address);
    world.set("INTELLICARTEL__S3__ENDPOINT", &format!("http://{address}"));
    let report = Report::of(&world);
    report.expect("broker", "failed", &[&address, "kafka.brokers"]);
    report.expect("store", "failed", &["no answer within 10 s", "s3.endpoint", &address]);
    report.expect_exit(1);
    drop(listener);

    world.set("INTELLICARTEL__S3__ENDPOINT", &format!("http://{closed_address}"));
    Report::of(&world).expect("store", "failed", &["s3.endpoint", &closed_address]).expect_exit(1);
}

#[test]
fn each_fault_is_told_for_itself() {
    let mut world = World::on_folder();
    set_free_port(&mut world);
    let file = world.path("file");
    std::fs::write(&file, "").expect("a file");
    for root in [file.clone(), file.join("lake")] {
        world.set("INTELLICARTEL__LAKE__ROOT", &root.to_string_lossy());
        Report::of(&world).expect("store", "failed", &["lake.root", "file"]).expect_exit(1);
    }
    world.set("INTELLICARTEL__LAKE__ROOT", "/proc/nowhere/lake");
    let report = Report::of(&world);
    report.expect("lake disk", "failed", &["/proc/nowhere/lake", "lake.root"]);
    report.expect("topic sales", "warning", &[&world.topic(), "intellicartel produce sales", "kafka.prefix"]);

    let root = world.root.clone();
    world.set("INTELLICARTEL__LAKE__ROOT", &root);
    std::fs::create_dir_all(format!("{root}/lake")).expect("a folder");
    let layout = r#"{"layout": 99, "created_by": "another", "created_at": "2030-01-01T00:00:00Z"}"#;
    std::fs::write(format!("{root}/lake/_layout.json"), layout).expect("a layout");
    let report = Report::of(&world);
    report.expect("store", "ok", &[]).expect("lake", "failed", &["layout 99"]).expect_exit(1);

    world.set("INTELLICARTEL__KAFKA__BROKERS", "embedded");
    Report::of(&world).expect("broker", "ok", &["only the demo"]);
}

#[test]
fn a_bucket_that_is_not_there() {
    let mut world = World::on_s3();
    set_free_port(&mut world);
    world.set("INTELLICARTEL__LAKE__ROOT", "s3://no-such-bucket-of-ours/lake");
    Report::of(&world).expect("store", "failed", &["bucket does not exist", "lake.root"]).expect_exit(1);
}

#[test]
fn our_own_server_on_the_port_is_no_fault() {
    let mut world = World::on_folder();
    set_free_port(&mut world);
    world.create_topic(1);
    world.ingest_to_the_end();
    let mut server = world.start(&["serve"]);
    let begun = std::time::Instant::now();
    while !server.log().contains(" answers") {
        assert!(server.is_running() && begun.elapsed() < PATIENCE, "{}", server.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let report = Report::of(&world);
    report.expect("http", "ok", &["an intellicartel answers"]).expect_exit(0);
}
