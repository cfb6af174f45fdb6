//! From a record's acknowledgement to the first answer in SQL that has it, at an even rate, with what ingest and the servers take meanwhile.

use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use engine::{Engine, Limits};
use futures::TryStreamExt;

use crate::place::{Ground, PARTITIONS, Place, engine, server};
use crate::stream::{Acknowledged, Stream};
use crate::usage::{cpu_seconds, peak};
use crate::{percentile, setting};

const PER_SECOND: u64 = 20_000;

/// Between two looks at the table.
const LOOK: Duration = Duration::from_millis(20);

/// The start of ingest, during which nothing is measured.
const WARM_UP: Duration = Duration::from_secs(5);

/// The offsets that stand in the table at a time, by partition.
struct Seen {
    at: Instant,
    last: Vec<i64>,
}

pub(crate) fn run() {
    let seconds = setting("SECONDS", 60);
    println!(
        "\n## Latency: acknowledged to visible in SQL, {PER_SECOND} events/s for {seconds} s, flush of 1 s\n"
    );
    println!(
        "| lake | records | p50 s | p99 s | slowest s | ingest: CPU s, peak MiB | CPU s of the broker | of SeaweedFS |\n|---|---|---|---|---|---|---|---|"
    );
    for ground in [Ground::Folder, Ground::S3] {
        on(ground, seconds);
    }
}

fn on(ground: Ground, seconds: u64) {
    let place = Place::new(ground, &Place::fresh_prefix());
    place.create_topic();
    let mut ingest = place.start(&["ingest", "--feeds", "sales"]);
    let lake = place.lake();
    let engine = engine(&lake);
    let stream = Stream::start(&place, PER_SECOND);
    std::thread::sleep(WARM_UP);
    let measuring = Instant::now();
    let servers = [ingest.id(), server("kafka"), server("s3")];
    let before = servers.map(cpu_seconds);
    let (mut seen, end) = (Vec::new(), measuring + Duration::from_secs(seconds));
    let mut last = vec![-1; usize::try_from(PARTITIONS).expect("a few")];
    while Instant::now() < end {
        look(&place, &engine, &mut last);
        seen.push(Seen { at: Instant::now(), last: last.clone() });
        std::thread::sleep(LOOK);
    }
    let after = servers.map(cpu_seconds);
    let memory = peak(ingest.id()).unwrap_or(0.0);
    // What is acknowledged by then is looked for to the end.
    let acknowledged = stream.end();
    let wanted: usize = acknowledged.iter().filter(|record| record.at < end).count();
    while last.iter().map(|offset| offset + 1).sum::<i64>() < i64::try_from(wanted).expect("fewer") {
        look(&place, &engine, &mut last);
        seen.push(Seen { at: Instant::now(), last: last.clone() });
    }
    ingest.kill().expect("it can be killed");
    ingest.wait().expect("it ends");
    let mut delays = delays(&acknowledged, &seen, measuring, end);
    delays.sort_by(f64::total_cmp);
    println!(
        "| {ground} | {} | {:.2} | {:.2} | {:.2} | {:.1}, {memory:.0} | {:.1} | {:.1} |",
        delays.len(),
        percentile(&delays, 50),
        percentile(&delays, 99),
        percentile(&delays, 100),
        after[0] - before[0],
        after[1] - before[1],
        after[2] - before[2],
    );
}

/// Seconds from acknowledgement to sight, of the records that were acknowledged while it was measured.
fn delays(acknowledged: &[Acknowledged], seen: &[Seen], from: Instant, to: Instant) -> Vec<f64> {
    let measured = acknowledged.iter().filter(|record| record.at >= from && record.at < to);
    measured
        .filter_map(|record| {
            let partition = usize::try_from(record.partition).expect("a partition");
            let first = seen.partition_point(|look| look.last[partition] < record.offset);
            seen.get(first).map(|look| look.at.saturating_duration_since(record.at).as_secs_f64())
        })
        .collect()
}

/// Asks SQL what is new in each partition.
fn look(place: &Place, engine: &Engine, last: &mut [i64]) {
    let new: Vec<_> = last
        .iter()
        .enumerate()
        .map(|(partition, last)| format!("(_partition = {partition} AND _offset > {last})"))
        .collect();
    let sql = format!(
        "SELECT _partition, max(_offset) FROM curated.sales WHERE {} GROUP BY _partition",
        new.join(" OR ")
    );
    for (partition, offset) in place.runtime.block_on(ask(engine, &sql, Limits::default())) {
        last[usize::try_from(partition).expect("a partition")] = offset;
    }
}

/// The rows of an answer of two whole numbers.
pub(crate) async fn ask(engine: &Engine, sql: &str, limits: Limits) -> Vec<(i64, i64)> {
    let answer = engine.session(domain::Principal::Operator).query(sql, limits).await;
    let answer = answer.unwrap_or_else(|error| panic!("{error}"));
    let batches: Vec<_> = answer.stream.try_collect().await.expect("an answer");
    let numbers = |batch: &arrow::array::RecordBatch, at: usize| {
        cast(batch.column(at), &DataType::Int64)
            .expect("a number")
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    };
    batches.iter().flat_map(|batch| numbers(batch, 0).into_iter().zip(numbers(batch, 1))).collect()
}
