//! Posts by topic, and how people felt on a day.

use std::collections::{BTreeSet, HashMap};

use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use domain::Result;
use domain::civil::Micros;

use super::windows::Windows;
use super::work::{Columns, Work, literal};

/// Topics that a question names at most; beyond, all are read.
const MAX_NAMED: usize = 500;

/// Scored posts, by topic and time.
#[derive(Debug, Default)]
pub(super) struct Posts(HashMap<String, Vec<(Micros, f64)>>);

/// The feeling of a day.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Feeling {
    pub(super) posts: i64,
    /// The mean score; none without posts.
    pub(super) score: Option<f64>,
}

impl Posts {
    /// The posts about some topics within windows, at a version of `curated.sentiment`.
    pub(super) async fn load(
        work: &Work,
        version: u64,
        topics: &BTreeSet<&str>,
        windows: &Windows,
    ) -> Result<Self> {
        if topics.is_empty() {
            return Ok(Self::default());
        }
        // The topic is part of the key, by which posts may be left out before the newest record is chosen.
        let sql = format!(
            "SELECT topic, posted_at, score FROM curated.\"sentiment@{version}\" \
             WHERE score IS NOT NULL AND {} AND {} ORDER BY topic, posted_at, source, post_id",
            named("topic", topics),
            windows.of_instants("posted_at"),
        );
        let mut posts = Self::default();
        for batch in work.rows(&sql).await? {
            let columns = Columns(&batch);
            let names = columns.text("topic")?;
            let instants = columns.primitive::<TimestampMicrosecondType>("posted_at")?;
            let scores = columns.primitive::<Float64Type>("score")?;
            for row in 0..batch.num_rows() {
                let of_topic = posts.0.entry(names.value(row).to_owned()).or_default();
                of_topic.push((instants.value(row), scores.value(row)));
            }
        }
        Ok(posts)
    }

    /// The feeling about topics between two instants.
    pub(super) fn feeling<'a>(
        &self,
        topics: impl IntoIterator<Item = &'a str>,
        (from, to): (Micros, Micros),
    ) -> Feeling {
        let (mut posts, mut sum) = (0_i64, 0.0);
        for topic in topics {
            let Some(scored) = self.0.get(topic) else { continue };
            let first = scored.partition_point(|(at, _)| *at < from);
            for (_, score) in scored[first..].iter().take_while(|(at, _)| *at < to) {
                posts += 1;
                sum += score;
            }
        }
        Feeling { posts, score: (posts > 0).then(|| sum / posts as f64) }
    }
}

/// A condition that a column is one of some texts, unless they are too many to be named.
pub(super) fn named(column: &str, texts: &BTreeSet<&str>) -> String {
    if texts.len() > MAX_NAMED {
        return "true".to_owned();
    }
    let list: Vec<_> = texts.iter().map(|text| literal(text)).collect();
    format!("{column} IN ({})", list.join(", "))
}
