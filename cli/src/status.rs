//! `status`: how feeds and tables are, and what needs a hand, with the command for it. It writes nothing.

mod duplicates;
mod marts;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ::ingest::kafka::cluster::{TopicBounds, topic_bounds};
use ::lake::maintenance::status::{LakeStatus, TableStatus, ToDo, status};
use ::lake::{Lake, LakeOptions};
use domain::civil::{self, Micros};
use domain::ids::Pipeline;
use domain::ports::{Append as _, Letters as _};
use domain::position::TopicState;
use domain::replay::{LetterEntry, LetterFilter, LetterStatus};
use domain::{Error, Feed, Result};
use serde_json::{Value, json};

use crate::config::{Config, EMBEDDED};
use crate::report::{Form, Output, PARTIAL, write_json, write_rows, write_text};
use crate::{lake, wire};
use duplicates::Duplicates;

/// How long a cluster may take to answer at all.
const ASK_PATIENCE: Duration = Duration::from_secs(5);

/// Records that wait while nothing was taken in for so long wait for somebody.
const STALLED: Micros = 120_000_000;

/// Markers of transactions stand in a log and never become rows: so many records may seem to wait at the end of a partition.
const MARKERS: i64 = 2;

const DAY: Micros = 86_400_000_000;

pub(crate) async fn run(config: &Config, output: Output) -> Result<ExitCode> {
    let lake = wire::lake(config, LakeOptions::Read).await?;
    let (tables, bounds) = tokio::join!(status(&lake), bounds(config));
    let tables = tables?;
    if tables.tables.is_empty() {
        return Err(lake::no_table(&config.lake.root));
    }
    let letters = letters(&lake, &tables).await?;
    let duplicates = Duplicates::see(config, &lake, &tables).await?;
    let mut feeds = Vec::new();
    let mut to_do = Vec::new();
    if let Kafka::Unreachable(error) = &bounds {
        to_do.push(ToDo::new(error.clone(), "intellicartel doctor"));
    }
    for feed in Feed::ALL {
        let seen = FeedStatus::see(config, &lake, &tables, &bounds, feed, &letters).await?;
        to_do.extend(seen.to_do(tables.seen_at));
        feeds.push(seen);
    }
    let marts = marts::MartsStatus::see(&lake, &tables).await?;
    to_do.extend(marts.to_do(tables.seen_at));
    to_do.extend(tables.to_do(config.maintenance.small_files_cap));
    match output.form {
        Form::Json => write_json(&json!({
            "seen_at": civil::format_instant(tables.seen_at),
            "kafka": bounds.to_json(),
            "maintenance": leader(&tables),
            "feeds": feeds.iter().map(|feed| feed.to_json(tables.seen_at)).collect::<Vec<_>>(),
            "daily_marts": marts.to_json(),
            "duplicates": duplicates.as_ref().map(Duplicates::to_json),
            "tables": tables.tables.iter().map(table).collect::<Vec<_>>(),
            "to_do": to_do.iter().map(|to_do| json!({ "what": to_do.what, "command": to_do.command })).collect::<Vec<_>>(),
        }))?,
        Form::Table => write_tables(&tables, &bounds, &feeds, (&marts, duplicates.as_ref()), &to_do)?,
    }
    Ok(if to_do.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(PARTIAL) })
}

/// What Kafka says of the feeds' topics.
enum Kafka {
    Topics(BTreeMap<Feed, TopicBounds>),
    /// The settings name no cluster.
    None,
    Unreachable(String),
}

impl Kafka {
    fn to_json(&self) -> Value {
        match self {
            Self::Topics(_) => "ok".into(),
            Self::None => "kafka.brokers names no cluster".into(),
            Self::Unreachable(error) => error.as_str().into(),
        }
    }
}

async fn bounds(config: &Config) -> Kafka {
    if config.kafka.brokers == EMBEDDED {
        return Kafka::None;
    }
    let asked = match wire::kafka(config) {
        Ok(kafka) => {
            tokio::task::spawn_blocking(move || topic_bounds(&kafka, &Feed::ALL, ASK_PATIENCE)).await
        }
        Err(error) => Ok(Err(error)),
    };
    match asked.unwrap_or_else(|error| Err(Error::internal(error.to_string()))) {
        Ok(topics) => Kafka::Topics(topics),
        Err(error) => Kafka::Unreachable(error.to_string()),
    }
}

/// The dead letters of a feed.
#[derive(Debug, Clone, Copy, Default)]
struct Letters {
    /// Ever, resolved ones too.
    all: i64,
    /// Taken in within a day, and standing nowhere else.
    unresolved_of_day: i64,
    newest_at: Option<Micros>,
}

/// Counts the dead letters, by the feed's name.
async fn letters(lake: &Arc<Lake>, tables: &LakeStatus) -> Result<BTreeMap<String, Letters>> {
    if !tables.tables.iter().any(|table| table.name == "raw.dead_letters") {
        return Ok(BTreeMap::new());
    }
    let of_day = LetterFilter { since: Some(tables.seen_at - DAY), ..LetterFilter::default() };
    let of_day = lake.select(&of_day).await?;
    let unresolved = |feed: &str| {
        let is_meant =
            |letter: &&LetterEntry| letter.feed.name() == feed && letter.status == LetterStatus::Dead;
        i64::try_from(of_day.entries().iter().filter(is_meant).count()).unwrap_or(i64::MAX)
    };
    // A letter has a row for each attempt.
    let sql = "SELECT feed, count(*) FILTER (WHERE attempt = 1) AS letters, max(_ingested_at) AS newest \
         FROM raw.dead_letters GROUP BY feed";
    let rows = wire::ask(lake, sql).await?;
    let counted = rows.iter().map(|row| {
        let number = |name: &str| row.get(name).and_then(Value::as_i64).unwrap_or(0);
        let newest_at = row.get("newest").and_then(Value::as_str).and_then(civil::parse_instant);
        let feed = row.get("feed").and_then(Value::as_str).unwrap_or_default().to_owned();
        let unresolved_of_day = unresolved(&feed);
        (feed, Letters { all: number("letters"), unresolved_of_day, newest_at })
    });
    Ok(counted.collect())
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy)]
struct Partition {
    number: i32,
    /// The next offset that the table waits for.
    stored: Option<i64>,
    first: i64,
    end: i64,
}

impl Partition {
    /// Records that are not in the table yet.
    fn lag(self) -> i64 {
        (self.end - self.stored.unwrap_or(0).max(self.first)).max(0)
    }

    /// Why a feed cannot go on from where the table stands.
    fn gap(self) -> Option<String> {
        let stored = self.stored.unwrap_or(0);
        let log = (self.first, self.end);
        match log {
            (first, _) if stored < first && self.stored.is_some() => {
                Some(format!("the table stands at {stored}, but the log begins at {first}"))
            }
            (_, end) if stored > end => {
                Some(format!("the table stands at {stored}, but the log ends at {end}"))
            }
            _ => None,
        }
    }
}

/// How a feed is.
struct FeedStatus {
    feed: Feed,
    topic: String,
    /// Empty where the topic is not there or Kafka was not asked.
    partitions: Vec<Partition>,
    /// The table's positions are for another log than the topic is now.
    is_other_log: bool,
    rows: Option<u64>,
    newest_at: Option<Micros>,
    letters: Letters,
}

impl FeedStatus {
    async fn see(
        config: &Config,
        lake: &Lake,
        tables: &LakeStatus,
        kafka: &Kafka,
        feed: Feed,
        letters: &BTreeMap<String, Letters>,
    ) -> Result<Self> {
        let topic = feed.topic(&config.kafka.prefix);
        let table_name = format!("curated.{}", feed.name());
        let table = tables.tables.iter().find(|table| table.name == table_name);
        let pipeline = Pipeline::new(config.ingest.pipeline.clone())?;
        let state = match table {
            Some(_) => lake.topic_state(feed, &pipeline, &topic).await?,
            None => TopicState::default(),
        };
        let current = state.current(pipeline.as_str());
        let bounds = match kafka {
            Kafka::Topics(topics) => topics.get(&feed),
            Kafka::None | Kafka::Unreachable(_) => None,
        };
        let is_other_log =
            bounds.zip(current).is_some_and(|(bounds, current)| bounds.identity != current.identity);
        let partition = |(&number, &(first, end)): (&i32, &(i64, i64))| {
            let known = current.filter(|_| !is_other_log);
            let stored = known.and_then(|log| state.next_offsets.get(&(log.number, number)).copied());
            Partition { number, stored, first, end }
        };
        Ok(Self {
            feed,
            topic,
            partitions: bounds
                .into_iter()
                .flat_map(|bounds| bounds.partitions.iter())
                .map(partition)
                .collect(),
            is_other_log,
            rows: table.and_then(|table| table.size.rows),
            newest_at: table.and_then(|table| table.newest_ingested_at),
            letters: letters.get(feed.name()).copied().unwrap_or_default(),
        })
    }

    fn lag(&self) -> Option<i64> {
        (!self.partitions.is_empty()).then(|| self.partitions.iter().map(|partition| partition.lag()).sum())
    }

    fn to_do(&self, now: Micros) -> Vec<ToDo> {
        let (feed, topic) = (self.feed.name(), &self.topic);
        if self.is_other_log {
            return vec![ToDo::new(
                format!(
                    "feed {feed} stands still: topic {topic} is another log than the one that the table knows"
                ),
                format!("intellicartel ingest accept-log {topic} --from earliest|latest|OFFSET"),
            )];
        }
        let mut to_do = Vec::new();
        for partition in &self.partitions {
            to_do.extend(partition.gap().map(|gap| {
                let number = partition.number;
                ToDo::new(
                    format!("feed {feed} stands still: topic {topic} partition {number}: {gap}"),
                    format!(
                        "intellicartel ingest accept-log {topic} --partition {number} --from earliest|latest|OFFSET"
                    ),
                )
            }));
        }
        let waits = self.partitions.iter().any(|partition| partition.lag() > MARKERS);
        let newest_at = self.newest_at.max(self.letters.newest_at);
        if to_do.is_empty() && waits && newest_at.is_none_or(|at| now - at > STALLED) {
            let since = newest_at.map_or_else(
                || "and nothing was taken in yet".to_owned(),
                |at| format!("and nothing was taken in since {}", civil::format_instant(at)),
            );
            to_do.push(ToDo::new(
                format!("feed {feed}: {} records wait in {topic}, {since}", self.lag().unwrap_or(0)),
                "intellicartel serve --roles ingest",
            ));
        }
        if self.letters.unresolved_of_day > 0 {
            to_do.push(ToDo::new(
                format!(
                    "feed {feed}: {} records were refused in the last 24 hours, and stand in no table",
                    self.letters.unresolved_of_day
                ),
                format!(
                    "intellicartel dlq list --feed {feed} --status dead --since {}",
                    civil::format_instant(now - DAY)
                ),
            ));
        }
        to_do
    }

    fn to_json(&self, now: Micros) -> Value {
        let lags = self.partitions.iter().map(|partition| {
            json!({
                "partition": partition.number,
                "position": partition.stored,
                "end": partition.end,
                "lag": partition.lag(),
            })
        });
        json!({
            "feed": self.feed.name(),
            "topic": self.topic,
            "lag": self.lag(),
            "partitions": lags.collect::<Vec<_>>(),
            "rows": self.rows,
            "newest_ingested_at": self.newest_at.map(civil::format_instant),
            "freshness_seconds": self.newest_at.map(|at| (now - at).max(0) / 1_000_000),
            "dead_letters": self.letters.all,
            "unresolved_24h": self.letters.unresolved_of_day,
        })
    }
}

fn leader(tables: &LakeStatus) -> Value {
    let leader = tables.leader();
    json!({
        "leader": leader.map(|leader| &leader.process),
        "lease_expires_at": leader.map(|leader| civil::format_instant(leader.expires_at)),
    })
}

fn table(table: &TableStatus) -> Value {
    let record = &table.record;
    // Whoever commits writes checkpoints too, and the log knows of all of them.
    let checkpointed_at = table.checkpoint.map(|last| last.written_at);
    let instant = |at: Option<Micros>| at.map(civil::format_instant);
    json!({
        "table": table.name,
        "version": table.size.version,
        "files": table.size.files,
        "small_files": table.small_files,
        "files_to_join": table.waiting_files,
        "bytes": table.size.bytes,
        "rows": table.size.rows,
        "log_tail": table.log_tail,
        "compacted_at": instant(record.compacted_at),
        "vacuumed_at": instant(record.vacuumed_at),
        "swept_at": instant(record.swept_at),
        "checkpointed_at": instant(checkpointed_at),
        "failure": record.failure.as_ref().map(|failure| json!({
            "at": civil::format_instant(failure.at), "step": failure.step, "message": failure.message,
        })),
    })
}

fn write_tables(
    tables: &LakeStatus,
    kafka: &Kafka,
    feeds: &[FeedStatus],
    (marts, duplicates): (&marts::MartsStatus, Option<&Duplicates>),
    to_do: &[ToDo],
) -> Result<()> {
    let feeds: Vec<Value> = feeds
        .iter()
        .map(|feed| {
            let mut row = feed.to_json(tables.seen_at);
            row["lag"] = match (kafka, feed.lag()) {
                (Kafka::Topics(_), None) => "no topic yet".into(),
                (Kafka::Unreachable(_), _) => "Kafka does not answer".into(),
                (Kafka::None, _) => Value::Null,
                (Kafka::Topics(_), Some(lag)) => {
                    let by_partition = feed.partitions.iter().map(|at| format!("{}:{}", at.number, at.lag()));
                    format!("{lag} ({})", by_partition.collect::<Vec<_>>().join(" ")).into()
                }
            };
            row
        })
        .collect();
    let columns = ["feed", "topic", "lag", "freshness_seconds", "rows", "dead_letters", "unresolved_24h"];
    write_rows(Form::Table, &columns, &feeds)?;
    write_text("\n")?;
    if let Some(duplicates) = duplicates {
        duplicates.write()?;
    }
    let rows: Vec<Value> = tables.tables.iter().map(table).collect();
    let columns = [
        "table",
        "version",
        "files",
        "small_files",
        "bytes",
        "log_tail",
        "compacted_at",
        "vacuumed_at",
        "checkpointed_at",
    ];
    write_rows(Form::Table, &columns, &rows)?;
    let maintained = match tables.leader() {
        Some(leader) => format!("maintained by {}", leader.process),
        None => "maintained by nobody".to_owned(),
    };
    write_text(&format!("\n{}{maintained}\n", marts.lines()))?;
    if to_do.is_empty() {
        return write_text("nothing to do\n");
    }
    let lines = to_do.iter().map(|to_do| format!("- {}\n  run: {}\n", to_do.what, to_do.command));
    write_text(&format!("to do:\n{}", lines.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = 1_800_000_000_000_000;

    fn feed(partitions: Vec<Partition>) -> FeedStatus {
        FeedStatus {
            feed: Feed::Sales,
            topic: "x.sales.v1".to_owned(),
            partitions,
            is_other_log: false,
            rows: None,
            newest_at: Some(NOW - STALLED),
            letters: Letters::default(),
        }
    }

    fn partition(stored: Option<i64>, first: i64, end: i64) -> Partition {
        Partition { number: 0, stored, first, end }
    }

    #[test]
    fn lag_is_what_can_still_be_read() {
        for (stored, first, end, lag) in
            [(Some(5), 0, 9, 4), (None, 0, 9, 9), (None, 4, 9, 5), (Some(9), 0, 9, 0), (Some(12), 0, 9, 0)]
        {
            assert_eq!(partition(stored, first, end).lag(), lag, "{stored:?} in {first}..{end}");
        }
    }

    #[test]
    fn what_stands_still_is_told_with_its_command() {
        let commands = |feed: &FeedStatus| -> Vec<String> {
            feed.to_do(NOW).into_iter().map(|to_do| to_do.command).collect()
        };
        let lagging = feed(vec![partition(Some(5), 0, 9)]);
        assert_eq!(commands(&lagging), Vec::<String>::new(), "it was read just now");
        let stalled =
            FeedStatus { newest_at: Some(NOW - STALLED - 1), ..feed(vec![partition(Some(5), 0, 9)]) };
        assert_eq!(commands(&stalled), ["intellicartel serve --roles ingest"]);
        let markers = FeedStatus { newest_at: None, ..feed(vec![partition(Some(7), 0, 9)]) };
        assert_eq!(commands(&markers), Vec::<String>::new());
        for (stored, word) in [(2, "begins at 3"), (10, "ends at 9")] {
            let lost = feed(vec![partition(Some(stored), 3, 9)]);
            let to_do = lost.to_do(NOW);
            assert!(to_do[0].what.contains(word), "{to_do:?}");
            assert!(to_do[0].command.contains("accept-log x.sales.v1 --partition 0"), "{to_do:?}");
        }
        let other = FeedStatus { is_other_log: true, ..feed(vec![partition(None, 0, 9)]) };
        assert_eq!(
            commands(&other),
            ["intellicartel ingest accept-log x.sales.v1 --from earliest|latest|OFFSET"]
        );
        let refused = FeedStatus {
            letters: Letters { all: 3, unresolved_of_day: 1, newest_at: Some(NOW) },
            ..feed(vec![partition(Some(9), 0, 9)])
        };
        assert!(
            commands(&refused)[0].starts_with("intellicartel dlq list --feed sales --status dead --since 20")
        );
    }
}
