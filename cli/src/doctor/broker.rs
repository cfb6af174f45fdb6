//! The cluster: whether it answers at its addresses, and the topics of the feeds.

use std::time::Duration;

use domain::{Error, ErrorKind, Result};
use futures::future::join_all;
use ingest::kafka::cluster::{Cluster, FeedTopic, look};
use tokio::net::TcpStream;

use super::{Finding, blocking, within};
use crate::config::{Config, EMBEDDED};
use crate::wire;

const CHECK: &str = "broker";

/// Connecting, asking twice, and connecting to what was answered stay within the patience of a check.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
const ASK_PATIENCE: Duration = Duration::from_secs(3);

/// The port that Kafka's clients take when an address names none.
const DEFAULT_PORT: &str = "9092";

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let brokers = &config.kafka.brokers;
    if brokers == EMBEDDED {
        let found = "kafka.brokers is `embedded`: the broker inside `demo`, which only the demo uses";
        return vec![Finding::ok(CHECK, found)];
    }
    let fix = "start the cluster, or set kafka.brokers to its host:port,... (INTELLICARTEL__KAFKA__BROKERS)";
    let addresses: Vec<String> = brokers.split(',').map(address).collect();
    let unreachable = unreachable(&addresses).await;
    if unreachable.len() == addresses.len() {
        return vec![Finding::failed(CHECK, unreachable.join("; "), fix)];
    }
    let cluster = match ask(config).await {
        Ok(cluster) => cluster,
        Err(error) => {
            let found = [vec![error.to_string()], unreachable].concat().join("; ");
            return vec![Finding::failed(CHECK, found, fix)];
        }
    };
    let mut findings = vec![judged(&cluster, &unreachable, fix).await];
    findings.extend(cluster.topics.iter().map(topic));
    findings
}

async fn ask(config: &Config) -> Result<Cluster> {
    let kafka = wire::kafka(config)?;
    blocking(move || look(&kafka, ASK_PATIENCE)).await
}

async fn judged(cluster: &Cluster, unreachable_bootstraps: &[String], fix: &str) -> Finding {
    let brokers = cluster.advertised.join(", ");
    let found = format!("cluster {} answers; brokers: {brokers}", cluster.id);
    let hidden = unreachable(&cluster.advertised).await;
    if !hidden.is_empty() {
        let fix =
            "mend advertised.listeners of the brokers, or the way to these addresses: clients use no others";
        return Finding::failed(CHECK, format!("{found}; of these, {}", hidden.join("; ")), fix);
    }
    if !unreachable_bootstraps.is_empty() {
        return Finding::warning(CHECK, format!("{found}; but {}", unreachable_bootstraps.join("; ")), fix);
    }
    Finding::ok(CHECK, found)
}

fn topic(topic: &FeedTopic) -> Finding {
    let FeedTopic { feed, name, partitions } = topic;
    let check = format!("topic {}", feed.name());
    match partitions {
        0 => Finding::warning(
            check,
            format!("there is no topic {name} yet"),
            format!(
                "`intellicartel produce {} --file FILE --map MAPPING` creates it; if it has another name, mend kafka.prefix (INTELLICARTEL__KAFKA__PREFIX)",
                feed.name()
            ),
        ),
        1 => Finding::ok(check, format!("{name}: 1 partition")),
        _ => Finding::ok(check, format!("{name}: {partitions} partitions")),
    }
}

/// Those of the addresses that nobody answers at, and why.
async fn unreachable(addresses: &[String]) -> Vec<String> {
    let tried = addresses.iter().map(|address| async move {
        let connected = async {
            let connected = TcpStream::connect(address).await;
            connected.map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))
        };
        within(CONNECT_PATIENCE, connected).await.err().map(|error| format!("{address}: {error}"))
    });
    join_all(tried).await.into_iter().flatten().collect()
}

/// An address of `kafka.brokers` as host:port.
fn address(text: &str) -> String {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, address)| address);
    if text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        text.to_owned()
    } else {
        format!("{text}:{DEFAULT_PORT}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_the_client_uses() {
        for (text, expected) in [
            (" kafka:29092", "kafka:29092"),
            ("kafka", "kafka:9092"),
            ("PLAINTEXT://kafka:1", "kafka:1"),
            ("[::1]:9093", "[::1]:9093"),
        ] {
            assert_eq!(address(text), expected);
        }
    }
}
