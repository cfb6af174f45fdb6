//! The demo: one command from nothing to an answer, the same totals when it runs twice, and no half-filled lake taken for a whole one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tests::verify::Report;
use tests::world::{PATIENCE, World};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../demo");
const TOTALS: [&str; 2] = ["1067371", "19287250.568"];

fn embedded() -> World {
    let mut world = World::on_folder();
    world.set("INTELLICARTEL__KAFKA__BROKERS", "embedded");
    world
}

/// The receipt lines of the one business, and the hours of the other with their trips.
fn expect_both_businesses(report: &Report) {
    assert_eq!((report.number("rows"), report.text("quantity")), (1_067_371 + 78_420, "35583935.000"));
}

/// The marker of the only load in a lake.
fn marker(world: &World) -> PathBuf {
    let loads = Path::new(&world.root).join("demo/loads");
    let mut markers = std::fs::read_dir(loads).expect("a load was begun");
    markers.next().expect("a marker").expect("it can be read").path()
}

#[test]
fn embedded_it_leaves_the_same_totals_twice_and_rebuilds_what_was_cut_off() {
    let world = embedded();
    let demo = ["demo", "--once", "--data", DATA];
    let first = world.run(&demo).expect_success();
    assert!(TOTALS.iter().all(|figure| first.stdout.contains(figure)), "{}", first.stdout);
    assert!(first.stdout.contains("model version"), "{}", first.stdout);
    let again = world.run(&demo).expect_success();
    let stands = ["nothing is sent again", "`forecast run` does so anew"];
    assert!(stands.iter().all(|word| again.stderr.contains(word)), "{}", again.stderr);
    assert!(TOTALS.iter().all(|figure| again.stdout.contains(figure)), "{}", again.stdout);
    std::fs::write(marker(&world), "begun\n").expect("the marker is written");
    let rebuilt = world.run(&demo).expect_success();
    assert!(
        rebuilt.stderr.contains("cut off") && rebuilt.stderr.contains("built anew"),
        "{}",
        rebuilt.stderr
    );
    let report = Report::of(&world);
    report.expect_exact();
    expect_both_businesses(&report);
}

#[test]
fn on_real_servers_a_cut_off_load_is_refused_until_it_is_reset() {
    let world = World::on_s3();
    let demo = ["demo", "--once", "--data", DATA];
    let cut_off = world.start(&demo);
    let begun = Instant::now();
    while world.topic_is_empty() {
        assert!(begun.elapsed() < PATIENCE, "{}", cut_off.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(cut_off);
    let _ = world.run(&demo).expect_failure(&["cut off", "demo --reset", &world.root]);
    let _ = world.run(&["demo", "--once", "--reset", "--data", DATA]).expect_success();
    let report = Report::of(&world);
    report.expect_exact();
    expect_both_businesses(&report);
}
