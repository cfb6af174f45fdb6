//! How the cluster is reached.

use rdkafka::ClientConfig;

/// The largest message that is produced or fetched, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 12_000_000;

/// `kafka.*` of the configuration.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `kafka.brokers`: host:port, separated by commas.
    pub brokers: String,
    /// `kafka.prefix`: the first part of every topic.
    pub prefix: String,
    /// Whether the broker is the demo's own, in this process. Its records die with it, so that every start brings a new log, which is accepted by
    /// itself; it cannot be asked for the end of a log, and a fetch into the middle of a batch skips the rest of it: reading begins at 0, passes
    /// over what is stored, and stops at any gap.
    pub embedded: bool,
}

impl KafkaConfig {
    /// Settings that every client shares.
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "intellicartel")
            .set("socket.timeout.ms", "15000")
            .set("socket.connection.setup.timeout.ms", "5000")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "2000")
            .set("topic.metadata.refresh.interval.ms", "30000")
            .set("message.max.bytes", MAX_MESSAGE_BYTES.to_string());
        config
    }
}
