//! `dlq`: the dead letters, with what became of them. A letter is *resolved* once its coordinates stand in its feed's table, else it is *dead*.

use std::collections::{BTreeMap, HashSet};

use ::engine::{Limits, Output as Answer, Session, write_output};
use ::lake::LakeOptions;
use clap::{ArgGroup, Args, Subcommand};
use domain::{Error, ErrorKind, Feed, Principal, Result, civil};
use serde_json::{Map, Value};

use crate::config::Config;
use crate::report::Form;
use crate::report::{Output, write_json, write_record, write_rows, write_text};
use crate::wire;

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Lists dead letters, newest first.
    List {
        /// Only of this feed.
        #[arg(long)]
        feed: Option<String>,
        /// Only of this kind of fault, like missing_field.
        #[arg(long)]
        class: Option<String>,
        /// Only those taken in since this day (YYYY-MM-DD, UTC) or instant (RFC 3339).
        #[arg(long, value_parser = instant)]
        since: Option<civil::Micros>,
        /// Letters at most.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Shows a dead letter whole: the record's bytes as text where they are UTF-8, else in hexadecimal.
    Show(Show),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("place").required(true).args(["coordinates", "topic"]))]
pub(crate) struct Show {
    /// The record, as TOPIC/LOG/PARTITION/OFFSET.
    #[arg(value_parser = coordinates, conflicts_with_all = ["topic", "log", "partition", "offset"])]
    coordinates: Option<Coordinates>,
    /// Its topic, with --log, --partition and --offset.
    #[arg(long, requires_all = ["log", "partition", "offset"])]
    topic: Option<String>,
    /// The number of the topic's log.
    #[arg(long, requires = "topic")]
    log: Option<i64>,
    /// Its partition.
    #[arg(long, requires = "topic")]
    partition: Option<i32>,
    /// Its offset.
    #[arg(long, requires = "topic")]
    offset: Option<i64>,
    #[command(flatten)]
    output: Output,
}

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Coordinates {
    topic: String,
    log: i64,
    partition: i32,
    offset: i64,
}

fn coordinates(text: &str) -> Result<Coordinates, String> {
    let read = || {
        let mut parts = text.splitn(4, '/');
        let topic = parts.next().filter(|topic| !topic.is_empty())?.to_owned();
        let log = parts.next()?.parse().ok()?;
        let partition = parts.next()?.parse().ok()?;
        let offset = parts.next()?.parse().ok()?;
        Some(Coordinates { topic, log, partition, offset })
    };
    read().ok_or_else(|| {
        "write it as TOPIC/LOG/PARTITION/OFFSET, like intellicartel.sales.v1/1/0/42".to_owned()
    })
}

fn instant(text: &str) -> Result<civil::Micros, String> {
    civil::parse_instant(text)
        .or_else(|| civil::parse_instant(&format!("{text}T00:00:00Z")))
        .ok_or_else(|| "write a day like 2026-01-31, or an instant like 2026-01-31T08:00:00Z".to_owned())
}

pub(crate) async fn run(config: &Config, action: Action) -> Result<()> {
    let letters = Letters::open(config).await?;
    match action {
        Action::List { feed, class, since, limit, output } => {
            let feed = feed.as_deref().map(Feed::from_name).transpose()?;
            letters.list(&conditions(feed, class.as_deref(), since), limit, output.form).await
        }
        Action::Show(show) => {
            let Show { coordinates, topic, log, partition, offset, output } = show;
            let named =
                || Some(Coordinates { topic: topic?, log: log?, partition: partition?, offset: offset? });
            let place = coordinates
                .or_else(named)
                .ok_or_else(|| Error::invalid("name a record, as TOPIC/LOG/PARTITION/OFFSET"))?;
            letters.show(&place, output.form).await
        }
    }
}

fn conditions(feed: Option<Feed>, class: Option<&str>, since: Option<civil::Micros>) -> String {
    let mut conditions = vec!["true".to_owned()];
    conditions.extend(feed.map(|feed| format!("feed = {}", literal(feed.name()))));
    conditions.extend(class.map(|class| format!("error_class = {}", literal(class))));
    conditions.extend(since.map(|since| {
        let (period, since) = (civil::period(since), civil::format_instant(since));
        format!(
            "period >= {} AND _ingested_at >= arrow_cast({}, 'Timestamp(Microsecond, Some(\"UTC\"))')",
            literal(&period),
            literal(&since)
        )
    }));
    conditions.join(" AND ")
}

/// A text as SQL writes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

struct Letters {
    session: Session,
    /// The feeds whose tables are there.
    feeds: Vec<Feed>,
}

impl Letters {
    async fn open(config: &Config) -> Result<Self> {
        let lake = wire::lake(config, LakeOptions::Read).await?;
        let mut feeds = Vec::new();
        for feed in Feed::ALL {
            match lake.table(&format!("curated.{}", feed.name()))?.snapshot().await {
                Ok(_) => feeds.push(feed),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { session: wire::engine(lake)?.session(Principal::Operator), feeds })
    }

    async fn list(&self, conditions: &str, limit: u32, form: Form) -> Result<()> {
        let sql = format!(
            "SELECT _topic, _log, _partition, _offset, feed, error_class, field, value, expected, tenant, store, pipeline, attempt, \
             _timestamp, _ingested_at FROM raw.dead_letters WHERE {conditions} \
             ORDER BY _ingested_at DESC, _topic, _log DESC, _partition, _offset DESC LIMIT {limit}"
        );
        let mut letters = self.query(&sql).await?;
        self.judge(&mut letters).await?;
        for letter in &mut letters {
            let place = place_of(letter)?;
            let text = format!("{}/{}/{}/{}", place.topic, place.log, place.partition, place.offset);
            letter.insert("record".to_owned(), text.into());
        }
        let columns = [
            "record",
            "status",
            "feed",
            "error_class",
            "field",
            "value",
            "expected",
            "tenant",
            "store",
            "_ingested_at",
        ];
        let rows: Vec<Value> = letters.into_iter().map(Value::Object).collect();
        write_rows(form, &columns, &rows)
    }

    async fn show(&self, place: &Coordinates, form: Form) -> Result<()> {
        let Coordinates { topic, log, partition, offset } = place;
        let sql = format!(
            "SELECT * FROM raw.dead_letters WHERE _topic = {} AND _log = {log} AND _partition = {partition} AND _offset = {offset} \
             ORDER BY attempt",
            literal(topic)
        );
        let mut letters = self.query(&sql).await?;
        if letters.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "there is no dead letter {topic}/{log}/{partition}/{offset}: `dlq list` shows those that are"
                ),
            ));
        }
        self.judge(&mut letters).await?;
        for letter in &mut letters {
            show_bytes(letter, "raw_key")?;
            show_bytes(letter, "raw_value")?;
        }
        // A record that was replayed and refused again has a letter for each attempt.
        if form == Form::Json && letters.len() > 1 {
            return write_json(&letters.into_iter().map(Value::Object).collect::<Vec<_>>().into());
        }
        for (at, letter) in letters.into_iter().enumerate() {
            if at > 0 {
                write_text("\n")?;
            }
            write_record(form, letter.into_iter().collect())?;
        }
        Ok(())
    }

    /// Says of each letter what became of it. Feed tables are asked for the letters' offsets only, so that most of their files are left out.
    async fn judge(&self, letters: &mut [Map<String, Value>]) -> Result<()> {
        let mut asked: BTreeMap<(Feed, String, i64, i32), Vec<i64>> = BTreeMap::new();
        for letter in letters.iter() {
            let place = place_of(letter)?;
            let name = letter.get("feed").and_then(Value::as_str).unwrap_or_default();
            if let Some(&feed) = self.feeds.iter().find(|feed| feed.name() == name) {
                asked.entry((feed, place.topic, place.log, place.partition)).or_default().push(place.offset);
            }
        }
        let mut resolved = HashSet::new();
        for ((feed, topic, log, partition), offsets) in asked {
            let (least, most) =
                (offsets.iter().min().copied().unwrap_or(0), offsets.iter().max().copied().unwrap_or(0));
            let offsets: Vec<String> = offsets.iter().map(ToString::to_string).collect();
            let sql = format!(
                "SELECT DISTINCT _topic, _log, _partition, _offset FROM curated.{} WHERE _topic = {} AND _log = {log} \
                 AND _partition = {partition} AND _offset BETWEEN {least} AND {most} AND _offset IN ({})",
                feed.name(),
                literal(&topic),
                offsets.join(", ")
            );
            for row in self.query(&sql).await? {
                resolved.insert(place_of(&row)?);
            }
        }
        for letter in letters {
            let status = if resolved.contains(&place_of(letter)?) { "resolved" } else { "dead" };
            letter.insert("status".to_owned(), status.into());
        }
        Ok(())
    }

    /// The rows of an answer, as JSON objects; bytes are hexadecimal in them, and nulls are left out.
    async fn query(&self, sql: &str) -> Result<Vec<Map<String, Value>>> {
        let mut bytes = Vec::new();
        write_output(self.session.query(sql, Limits::default()).await?, Answer::Json, &mut bytes).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::internal(format!("an answer is not JSON: {error}")))
    }
}

fn place_of(row: &Map<String, Value>) -> Result<Coordinates> {
    let read = || {
        Some(Coordinates {
            topic: row.get("_topic")?.as_str()?.to_owned(),
            log: row.get("_log")?.as_i64()?,
            partition: row.get("_partition")?.as_i64()?.try_into().ok()?,
            offset: row.get("_offset")?.as_i64()?,
        })
    };
    read().ok_or_else(|| Error::internal("a row lacks its coordinates"))
}

/// Replaces the hexadecimal digits of a column by its text, where the bytes are text, and says which it is.
fn show_bytes(letter: &mut Map<String, Value>, column: &str) -> Result<()> {
    let Some(digits) = letter.get(column).and_then(Value::as_str) else { return Ok(()) };
    let bytes = from_hex(digits).ok_or_else(|| Error::internal(format!("{column} is not hexadecimal")))?;
    let encoding = match String::from_utf8(bytes) {
        Ok(text) => {
            letter.insert(column.to_owned(), text.into());
            "utf-8"
        }
        Err(_) => "hex",
    };
    letter.insert(format!("{column}_encoding"), encoding.into());
    Ok(())
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| Some(nibble(*pair.first()?)? << 4 | nibble(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_instants_are_read_or_refused_with_the_form() {
        let place = coordinates("p.sales.v1/2/3/44").expect("valid");
        assert_eq!(place, Coordinates { topic: "p.sales.v1".to_owned(), log: 2, partition: 3, offset: 44 });
        for wrong in ["", "p", "p/1/2", "p/1/2/x", "p/1/2/3/4", "/1/2/3"] {
            assert!(coordinates(wrong).expect_err(wrong).contains("TOPIC/LOG/PARTITION/OFFSET"));
        }
        assert_eq!(instant("2026-01-31"), instant("2026-01-31T00:00:00Z"));
        assert!(instant("31/01/2026").is_err());
    }

    #[test]
    fn bytes_are_text_where_they_are_and_digits_where_not() {
        let mut letter: Map<String, Value> =
            [("a".to_owned(), "c3a9".into()), ("b".to_owned(), "fffe00".into())].into_iter().collect();
        for column in ["a", "b", "c"] {
            show_bytes(&mut letter, column).expect("hexadecimal");
        }
        let shown = |name: &str| letter.get(name).and_then(Value::as_str).map(str::to_owned);
        assert_eq!((shown("a"), shown("a_encoding")), (Some("é".to_owned()), Some("utf-8".to_owned())));
        assert_eq!((shown("b"), shown("b_encoding")), (Some("fffe00".to_owned()), Some("hex".to_owned())));
        assert_eq!(shown("c_encoding"), None);
    }

    #[test]
    fn quotes_stay_inside_their_text() {
        assert_eq!(literal("x' OR '1'='1"), "'x'' OR ''1''=''1'");
    }
}
