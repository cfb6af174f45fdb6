//! Several processes that share a topic's partitions as a consumer group, and partitions that are added while they are read: whoever comes, goes,
//! sleeps or is killed, every record that Kafka acknowledged stands exactly once.
//!
//! `KILLS` and `SEED` choose how many members go and which; a seeded ten run in CI, `make kill-test` runs a hundred.
#![expect(clippy::print_stdout, reason = "a kill test says what it did, for the record")]

use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::beside::{Compactor, Reader};
use tests::process::Process;
use tests::proxy::Proxy;
use tests::server::Server;
use tests::stream::{Stream, bad_before};
use tests::verify::Report;
use tests::world::{PATIENCE, World};
use tests::{service, setting};

const PARTITIONS: i32 = 4;
const PER_SECOND: u32 = 3_000;
/// Of 1,000 requests to S3, so many are spoilt.
const SPOILT_PER_MILLE: u32 = 60;
/// Longer than a session: whoever is away for so long has lost its partitions.
const AWAY: Duration = Duration::from_millis(7_500);

/// A process of the group.
struct Member {
    /// Under which it keeps its partitions when it comes back in time; none: it gets others.
    instance: Option<&'static str>,
    process: Process,
}

impl Member {
    fn start(world: &World, instance: Option<&'static str>) -> Self {
        Self { instance, process: start(world, instance, &[]) }
    }

    /// Another process takes its place.
    fn start_again(&mut self, world: &World) {
        self.process = start(world, self.instance, &[]);
    }
}

fn start(world: &World, instance: Option<&str>, arguments: &[&str]) -> Process {
    let settings = [
        ("INTELLICARTEL__INGEST__GROUP", world.prefix.as_str()),
        ("INTELLICARTEL__INGEST__GROUP_INSTANCE", instance.unwrap_or_default()),
    ];
    world.start_with(&[&["ingest", "--feeds", "sales"], arguments].concat(), &settings)
}

/// Ends a process in order. One that has not begun to read yet may be ended by the signal itself.
fn end(process: Process) {
    process.signal("TERM");
    let ended = process.finish(PATIENCE);
    assert!(ended.status.success() || ended.status.signal().is_some(), "{}", ended.stderr);
}

#[test]
fn members_come_and_go_and_a_partition_is_added_and_every_record_stands_once() {
    let (turns, seed) = (setting("KILLS", 10), setting("SEED", 7));
    let mut dice = StdRng::seed_from_u64(seed);
    let mut world = World::on_s3();
    let proxy = Proxy::start(&service("INTELLICARTEL__S3__ENDPOINT"), seed, SPOILT_PER_MILLE);
    world.set("INTELLICARTEL__S3__ENDPOINT", &proxy.endpoint());
    world.create_topic(PARTITIONS);
    let stream = Stream::start(&world, PARTITIONS, PER_SECOND);
    let mut added = None;
    let world = Arc::new(world);
    let reader = Reader::start(&world);
    let compactor = Compactor::start(&world, seed);
    let mut members = Vec::from([Some("a"), Some("b"), None].map(|instance| Member::start(&world, instance)));
    for turn in 0..turns {
        std::thread::sleep(Duration::from_millis(dice.random_range(200..2_000)));
        if turn == turns / 2 {
            world.grow_topic(PARTITIONS as usize + 1);
            added = Some(Stream::start_on(&world, PARTITIONS..PARTITIONS + 1, PER_SECOND / 4));
        }
        let chosen = dice.random_range(0..members.len());
        let member = &mut members[chosen];
        assert!(member.process.is_running(), "a member ended by itself: {}", member.process.log());
        match turn % 5 {
            0 | 2 => {
                member.process.kill();
                member.start_again(&world);
            }
            1 => {
                member.process.signal("STOP");
                std::thread::sleep(AWAY);
                member.process.signal("CONT");
            }
            3 => {
                let Member { instance, process } = members.swap_remove(chosen);
                end(process);
                members.push(Member::start(&world, instance));
            }
            _ => {
                member.process.kill();
                std::thread::sleep(AWAY);
                member.start_again(&world);
            }
        }
    }
    // Until somebody reads the partition that was added, and files were compacted beside it.
    world.await_positions(&mut members[0].process, |positions| {
        positions.get(&PARTITIONS).is_some_and(|next| *next > 0)
            && (compactor.files() > 0 || compactor.is_over())
    });
    for member in members {
        end(member.process);
    }
    let mut acknowledged = stream.end();
    acknowledged.extend(added.expect("a partition was added").end());
    let compacted = compactor.end();
    world.ingest_to_the_end();
    let reads = reader.end();
    let report = Report::of(&world);
    println!(
        "seed {seed}, {turns} turns of three members on S3: {} rows, {} dead letters of {} records; {reads} consistent reads and {compacted} beside it; {}",
        report.number("rows"),
        report.number("letters"),
        acknowledged.iter().sum::<i64>(),
        proxy.counts(),
    );
    report.expect_stream(&acknowledged);
    assert!(reads > 0, "the reader saw nothing");
}

#[test]
fn a_second_process_with_the_same_instance_takes_the_place_of_the_first_which_says_so() {
    let world = World::on_folder();
    world.create_topic(2);
    let stream = Stream::start(&world, 2, 1_000);
    let mut first = start(&world, Some("a"), &[]);
    world.await_positions(&mut first, |positions| positions.len() == 2);
    let mut second = start(&world, Some("a"), &[]);
    let words = ["FencedInstanceId", "ingest.group_instance = a", "give each process an instance of its own"];
    let _ = first.finish(PATIENCE).expect_failure(&words);
    let stored = world.topic_state().next_offsets;
    world.await_positions(&mut second, |positions| {
        positions.iter().all(|(partition, next)| *next > stored[&(1, *partition)])
    });
    second.signal("TERM");
    let _ = second.finish(PATIENCE).expect_success();
    let acknowledged = stream.end();
    world.ingest_to_the_end();
    Report::of(&world).expect_stream(&acknowledged);
}

#[test]
fn partitions_that_are_added_are_read_from_their_beginning_without_a_restart() {
    let world = World::on_folder();
    world.create_topic(1);
    let stream = Stream::start(&world, 1, 500);
    let mut ingest = world.start(&["ingest", "--feeds", "sales"]);
    world.await_positions(&mut ingest, |positions| positions.len() == 1);
    world.grow_topic(3);
    let added = Stream::start_on(&world, 1..3, 500);
    world.await_positions(&mut ingest, |positions| positions.len() == 3);
    let acknowledged = [stream.end(), added.end()].concat();
    world.await_positions(&mut ingest, |positions| positions.values().eq(&acknowledged));
    ingest.signal("TERM");
    let said = ingest.finish(PATIENCE).expect_success().stderr;
    assert!(said.contains("0 batches dropped"), "{said}");
    Report::of(&world).expect_stream(&acknowledged);
}

#[test]
fn members_that_read_until_the_end_leave_nothing_behind_that_a_killed_one_had() {
    let world = World::on_folder();
    world.create_topic(PARTITIONS);
    let stream = Stream::start(&world, PARTITIONS, 20_000);
    std::thread::sleep(Duration::from_secs(3));
    let acknowledged = stream.end();
    let mut members: Vec<Process> = (0..3).map(|_| start(&world, None, &["--until-end"])).collect();
    world.await_positions(&mut members[0], |positions| !positions.is_empty());
    members.remove(0).kill();
    for member in members {
        let _ = member.finish(PATIENCE).expect_success();
    }
    Report::of(&world).expect_stream(&acknowledged);
}

#[test]
fn two_lakes_that_name_their_groups_alike_have_all_records_each() {
    let world = World::on_folder();
    world.create_topic(PARTITIONS);
    let stream = Stream::start(&world, PARTITIONS, 4_000);
    std::thread::sleep(Duration::from_secs(1));
    let acknowledged = stream.end();
    let mut first = start(&world, None, &[]);
    world.await_positions(&mut first, |positions| positions.values().eq(&acknowledged));
    let other = world.path("other").to_string_lossy().into_owned();
    let settings =
        [("INTELLICARTEL__INGEST__GROUP", world.prefix.as_str()), ("INTELLICARTEL__LAKE__ROOT", &other)];
    let second = world.start_with(&["ingest", "--feeds", "sales", "--until-end"], &settings);
    let said = second.finish(PATIENCE).expect_success().stderr;
    let letters: i64 = acknowledged.iter().copied().map(bad_before).sum();
    let rows = acknowledged.iter().sum::<i64>() - letters;
    assert!(said.contains(&format!("{rows} rows and {letters} dead letters")), "{said}");
    end(first);
    Report::of(&world).expect_stream(&acknowledged);
}

#[test]
fn servers_share_the_partitions_and_tell_which_they_own() {
    let mut world = World::on_folder();
    world.set("INTELLICARTEL__INGEST__GROUP", &world.prefix.clone());
    world.create_topic(PARTITIONS);
    let stream = Stream::start(&world, PARTITIONS, 1_000);
    let serve = ["serve", "--roles", "ingest", "--feeds", "sales"];
    let servers = [Server::start_as(&world, &serve), Server::start_as(&world, &serve)];
    await_owned(&servers.each_ref(), &[2, 2]);
    let [first, second] = servers;
    let told = second.get("/readyz?verbose", &[]).text();
    assert!(told.contains("reads partitions "), "{told}");
    let ended = Instant::now();
    assert!(first.end().status.success());
    await_owned(&[&second], &[4]);
    println!(
        "partitions of a member that left were taken over {:.1?} after it was told to end",
        ended.elapsed()
    );
    let metrics = second.get("/metrics", &[]).text();
    let rebalances = metrics.lines().find(|line| line.starts_with("intellicartel_ingest_rebalances_total"));
    assert!(rebalances.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
    assert!(second.end().status.success());
    let acknowledged = stream.end();
    world.ingest_to_the_end();
    Report::of(&world).expect_stream(&acknowledged);
}

#[test]
fn a_server_whose_place_was_taken_stands_still_and_says_why() {
    let mut world = World::on_folder();
    world.set("INTELLICARTEL__INGEST__GROUP", &world.prefix.clone());
    world.set("INTELLICARTEL__INGEST__GROUP_INSTANCE", "a");
    world.create_topic(PARTITIONS);
    let serve = ["serve", "--roles", "ingest", "--feeds", "sales"];
    let first = Server::start_as(&world, &serve);
    await_owned(&[&first], &[4]);
    let second = Server::start_as(&world, &serve);
    await_owned(&[&first, &second], &[0, 4]);
    let told = first.get("/readyz?verbose", &[]);
    assert!(told.text().contains("FencedInstanceId") && told.status == 503, "{}", told.text());
    // Long enough for a feed that is tried again to take its place back.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(owned(&second).len(), PARTITIONS as usize, "it keeps them: {}", second.log());
    assert!(first.end().status.success() && second.end().status.success());
}

/// Waits until the servers own so many partitions each, and together each of them once.
fn await_owned(servers: &[&Server<'_>], expected: &[usize]) {
    let begun = Instant::now();
    loop {
        let owned: Vec<Vec<String>> = servers.iter().map(|server| owned(server)).collect();
        let mut all = owned.concat();
        all.sort();
        all.dedup();
        if owned.iter().map(Vec::len).eq(expected.iter().copied()) && all.len() == PARTITIONS as usize {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{owned:?}: {}", servers[0].log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The partitions that a server says it owns.
fn owned(server: &Server<'_>) -> Vec<String> {
    let metrics = server.get("/metrics", &[]).text();
    let owned = metrics
        .lines()
        .filter(|line| line.starts_with("intellicartel_ingest_partition_owned{") && line.ends_with(" 1"));
    let partition = |line: &str| line.split("partition=\"").nth(1)?.split('"').next().map(ToOwned::to_owned);
    owned.filter_map(partition).collect()
}
