//! An even stream of sales, and when the cluster acknowledged each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::place::{PARTITIONS, Place};

/// When the record at an offset of a partition was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acknowledged {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) at: Instant,
}

/// Every acknowledgement, in the order in which they came.
#[derive(Clone, Default)]
struct Acknowledgements(Arc<Mutex<Vec<Acknowledged>>>);

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let message =
            result.as_ref().unwrap_or_else(|(error, _)| panic!("a record was not acknowledged: {error}"));
        let acknowledged =
            Acknowledged { partition: message.partition(), offset: message.offset(), at: Instant::now() };
        self.0.lock().expect("no one panics with it").push(acknowledged);
    }
}

/// A thread that sends so many records a second until it is ended.
pub(crate) struct Stream {
    stop: Arc<AtomicBool>,
    acknowledgements: Acknowledgements,
    thread: std::thread::JoinHandle<()>,
}

impl Stream {
    /// Starts sending to a place's topic, which must be empty.
    pub(crate) fn start(place: &Place, per_second: u64) -> Self {
        let acknowledgements = Acknowledgements::default();
        let producer: ThreadedProducer<Acknowledgements> = place
            .kafka()
            .client()
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .create_with_context(acknowledgements.clone())
            .expect("a producer");
        let (topic, stop) = (place.topic(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (begun, mut sent) = (Instant::now(), 0_u64);
            while !stopped.load(Ordering::Relaxed) {
                let due = (begun.elapsed().as_secs_f64() * per_second as f64) as u64;
                while sent < due {
                    send(&producer, &topic, sent);
                    sent += 1;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            producer.flush(Duration::from_secs(60)).expect("all is acknowledged");
        });
        Self { stop, acknowledgements, thread }
    }

    /// How many records were acknowledged up to now.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledgements.0.lock().expect("no one panics with it").len()
    }

    /// Ends it.
    pub(crate) fn end(self) -> Vec<Acknowledged> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the producer ended well");
        std::mem::take(&mut *self.acknowledgements.0.lock().expect("no one panics with it"))
    }
}

fn send(producer: &ThreadedProducer<Acknowledgements>, topic: &str, number: u64) {
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let value = format!(
        r#"{{"tenant":"bench","store":"s{}","transaction_id":"t{number}","line":1,"sku":"sku-{}","product_name":"a product with a name of usual length","quantity":"{}","unit_price":"12.75","currency":"GBP","kind":"sale","channel":"till","customer":"c{}","occurred_at":"{now}"}}"#,
        number % 20,
        number % 4_000,
        1 + number % 5,
        number % 50_000,
    );
    let partition = (number % PARTITIONS.unsigned_abs() as u64) as i32;
    loop {
        let record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(topic).partition(partition).payload(value.as_bytes());
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err((error, _)) => panic!("{error}"),
        }
    }
}
