//! `dlq show`: one letter whole, with every attempt that was made.

use std::sync::Arc;

use ::engine::{Limits, Output as Answer, write_output};
use ::lake::Lake;
use clap::ArgGroup;
use domain::ports::Letters;
use domain::replay::{LetterFilter, LetterStatus, Place, PlaceRange};
use domain::{Error, ErrorKind, Principal, Result};
use serde_json::{Map, Value};

use crate::report::{Form, Output, write_json, write_record, write_text};
use crate::wire;

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("place").required(true).args(["record", "topic"]))]
pub(crate) struct Args {
    /// The record, as TOPIC/LOG/PARTITION/OFFSET.
    #[arg(value_name = "RECORD", conflicts_with_all = ["topic", "log", "partition", "offset"])]
    record: Option<Place>,
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

pub(crate) async fn run(lake: Arc<Lake>, args: Args) -> Result<()> {
    let form = args.output.form;
    let named = || {
        let topic = args.topic.as_deref()?.into();
        Some(Place { topic, log: args.log?, partition: args.partition?, offset: args.offset? })
    };
    let place = args
        .record
        .clone()
        .or_else(named)
        .ok_or_else(|| Error::invalid("name a record, as TOPIC/LOG/PARTITION/OFFSET"))?;
    let filter = LetterFilter { places: Some(vec![PlaceRange::from(&place)]), ..LetterFilter::default() };
    let selection = lake.select(&filter).await?;
    let status = selection.entries().first().map_or(LetterStatus::Dead, |entry| entry.status);
    let mut letters = attempts(lake, &place).await?;
    if letters.is_empty() {
        let what = format!("there is no dead letter {place}: `dlq list` shows those that are");
        return Err(Error::new(ErrorKind::NotFound, what));
    }
    for letter in &mut letters {
        letter.insert("status".to_owned(), status.as_str().into());
        show_bytes(letter, "raw_key")?;
        show_bytes(letter, "raw_value")?;
    }
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

/// Every attempt of a letter, with all columns; bytes are hexadecimal, and nulls are left out.
async fn attempts(lake: Arc<Lake>, place: &Place) -> Result<Vec<Map<String, Value>>> {
    let Place { topic, log, partition, offset } = place;
    let sql = format!(
        "SELECT * FROM raw.dead_letters WHERE _topic = {} AND _log = {log} AND _partition = {partition} AND _offset = {offset} \
         ORDER BY attempt",
        literal(topic)
    );
    let session = wire::engine(lake)?.session(Principal::Operator);
    let mut bytes = Vec::new();
    write_output(session.query(&sql, Limits::default()).await?, Answer::Json, &mut bytes).await?;
    serde_json::from_slice(&bytes).map_err(|error| Error::internal(format!("an answer is not JSON: {error}")))
}

/// A text as SQL writes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
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
