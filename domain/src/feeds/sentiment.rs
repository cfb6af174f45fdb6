//! Sentiment: what people write about articles, categories, brands and places.

use std::sync::LazyLock;

use vader_sentimental::SentimentIntensityAnalyzer;

use super::Definition;
use super::record::{FeedRecord, Optional, Required, record};
use crate::civil::Micros;
use crate::fields::{Fields, Reject};
use crate::kinds::{Happened, Measure, Text, Whole, Words};
use crate::scope::TableScope;

pub(super) const DEFINITION: Definition = Definition {
    natural_key: &["source", "post_id", "topic"],
    kafka_key: &["source", "post_id", "topic"],
    scope: TableScope::Public,
    indexed_texts: &["source", "topic"],
    clustering: &["topic", "posted_at", "source", "post_id"],
    ..Definition::of::<SentimentColumns>("sentiment", COMMENT)
};

const COMMENT: &str = "Public posts about an article, a category, a brand or a place, for all businesses. A post without a score is scored when it \
is taken in if its language is English; others keep null. Of records of the same post and topic the newest holds.";

record! {
    /// A post about a topic.
    Post, SentimentColumns {
        source: Required<Text> = "Where it was posted",
        post_id: Required<Text> = "Post, unique within the source",
        topic: Required<Text> = "What it is about: an sku, category, brand or place",
        text: Required<Text> = "What it says",
        lang: Optional<Words> = "Language, as a BCP 47 tag like en or en-GB",
        posted_at: Required<Happened> = "When it was posted",
        score: Optional<Measure<-1, 1>> = "Feeling from -1 (bad) to 1 (good); null where nobody could tell",
        reach: Optional<Whole<0, { i64::MAX }>> = "People who may have read it",
    }
}

impl FeedRecord for SentimentColumns {
    fn complete(post: &mut Post<'_>, _: &Fields<'_>, _: Micros) -> Result<(), Reject> {
        if post.score.is_none() && post.lang.as_deref().is_some_and(is_english) {
            post.score = score(&post.text);
        }
        Ok(())
    }

    fn own_time(post: &Post<'_>) -> Micros {
        post.posted_at
    }

    fn filed_at(post: &Post<'_>) -> Option<Micros> {
        Some(post.posted_at)
    }
}

fn is_english(tag: &str) -> bool {
    tag.split(['-', '_']).next().is_some_and(|language| language.eq_ignore_ascii_case("en"))
}

/// Bytes of a post that are read; what is longer is no post.
const MAX_SCORED_BYTES: usize = 16 << 10;

/// The compound score of VADER (Hutto and Gilbert 2014), by rules and a lexicon of English.
fn score(text: &str) -> Option<f64> {
    static ANALYZER: LazyLock<SentimentIntensityAnalyzer<'static>> =
        LazyLock::new(SentimentIntensityAnalyzer::new);
    if text.len() > MAX_SCORED_BYTES {
        return None;
    }
    let compound = ANALYZER.polarity_scores(text).compound;
    // Four decimals, as VADER gives them, so that equal texts have equal scores wherever they are taken in.
    compound.is_finite().then(|| (compound * 10_000.0).round() / 10_000.0 + 0.0)
}
