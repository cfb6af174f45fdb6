//! How long after `kill -9` and a restart the table has caught up with what was acknowledged before the restart, while the stream goes on.

use std::time::{Duration, Instant};

use domain::Feed;
use engine::Limits;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::latency::ask;
use crate::place::{Ground, PATIENCE, Place, engine};
use crate::stream::Stream;
use crate::usage::measured;
use crate::{percentile, setting};

const PER_SECOND: u64 = 5_000;

pub(crate) fn run() {
    let (kills, seed) = (setting("KILLS", 20), setting("SEED", 7));
    println!(
        "\n## Recovery: `kill -9` of ingest {kills} times at {PER_SECOND} events/s, seed {seed}; from the restart to all that was acknowledged by then\n"
    );
    println!("| lake | p50 s | slowest s | records | rows | doubled |\n|---|---|---|---|---|---|");
    for ground in [Ground::Folder, Ground::S3] {
        on(ground, kills, seed);
    }
}

fn on(ground: Ground, kills: u64, seed: u64) {
    let place = Place::new(ground, &Place::fresh_prefix());
    place.create_topic();
    let arguments = ["ingest", "--feeds", "sales"];
    let mut dice = StdRng::seed_from_u64(seed);
    let mut ingest = place.start(&arguments);
    let stream = Stream::start(&place, PER_SECOND);
    let lake = place.lake();
    let mut seconds = Vec::new();
    for kill in 1..=kills {
        std::thread::sleep(Duration::from_millis(dice.random_range(500..3_000)));
        ingest.kill().expect("it can be killed");
        ingest.wait().expect("it ends");
        let acknowledged = i64::try_from(stream.acknowledged()).expect("fewer");
        let restarted = Instant::now();
        ingest = place.start(&arguments);
        while place.covered(&lake, Feed::Sales) < acknowledged {
            assert!(
                restarted.elapsed() < PATIENCE,
                "it does not catch up; its log is {}",
                place.log().display()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        seconds.push(restarted.elapsed().as_secs_f64());
        eprintln!("{ground}: kill {kill} of {kills}, caught up after {:.2} s", seconds[seconds.len() - 1]);
    }
    ingest.kill().expect("it can be killed");
    ingest.wait().expect("it ends");
    let records = stream.end().len();
    measured(place.start(&["ingest", "--feeds", "sales", "--until-end"]), Instant::now());
    let engine = engine(&lake);
    let sql = "SELECT count(*), count(*) - count(DISTINCT CAST(_partition AS BIGINT) * 1000000000000 + _offset) FROM curated.sales";
    let counts = place.runtime.block_on(ask(&engine, sql, Limits::default()));
    seconds.sort_by(f64::total_cmp);
    println!(
        "| {ground} | {:.2} | {:.2} | {records} | {} | {} |",
        percentile(&seconds, 50),
        percentile(&seconds, 100),
        counts[0].0,
        counts[0].1
    );
}
