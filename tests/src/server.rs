//! `intellicartel serve` over a world's lake, and what a client sends to it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::HeaderValue;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::process::{Finished, Process};
use crate::world::{PATIENCE, World};

/// Where questions in SQL are asked.
pub const SQL: &str = "/api/v1/data/sql";

/// A running server; dropped, it is killed.
#[derive(Debug)]
pub struct Server<'a> {
    world: &'a World,
    process: Process,
    address: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, by names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Panics unless it is a refusal in the envelope that names this code and all of these words; gives `details`.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn expect_refusal(&self, status: u16, code: &str, words: &[&str]) -> Value {
        let body = self.json();
        assert_eq!((self.status, &body["success"]), (status, &Value::Bool(false)), "{body}");
        assert_eq!(body["error"]["code"], code, "{body}");
        assert_eq!(body["meta"]["request_id"], self.headers["x-request-id"].as_str(), "{body}");
        let message = body["error"]["message"].as_str().expect("a message");
        assert!(words.iter().all(|word| message.contains(word)), "{words:?} in: {message}");
        body["error"]["details"].clone()
    }

    /// Panics unless it is a success in the envelope; gives it.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn expect_success(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        let body = self.json();
        assert_eq!(body["success"], true, "{body}");
        assert_eq!(body["meta"]["request_id"], self.headers["x-request-id"].as_str(), "{body}");
        body
    }
}

impl<'a> Server<'a> {
    /// Starts one that answers questions and does nothing else on a free port, and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(world: &'a World) -> Self {
        Self::start_as(world, &["serve", "--roles", "api"])
    }

    /// Starts another command that listens, on a free port.
    ///
    /// # Panics
    /// When it does not listen.
    #[must_use]
    pub fn start_as(world: &'a World, arguments: &[&str]) -> Self {
        let mut process = world.start(&[arguments, &["--listen", "127.0.0.1:0"]].concat());
        let begun = Instant::now();
        let address = loop {
            let log = process.log();
            let said = log.split_once("http://").and_then(|(_, rest)| rest.split_once(" answers"));
            if let Some((address, _)) = said {
                break address.to_owned();
            }
            assert!(begun.elapsed() < PATIENCE && process.is_running(), "no server: {log}");
            std::thread::sleep(Duration::from_millis(20));
        };
        Self { world, process, address, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has logged up to now.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until it does nothing any more.
    ///
    /// # Panics
    /// When it goes on for longer than `patience`.
    pub fn await_idle(&self, patience: Duration) {
        let begun = Instant::now();
        loop {
            let before = self.process.cpu_ticks();
            std::thread::sleep(Duration::from_millis(200));
            if self.process.cpu_ticks() - before <= 2 {
                return;
            }
            assert!(begun.elapsed() < patience, "it works on: {}", self.log());
        }
    }

    /// Asks with GET.
    #[must_use]
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, Bytes::new())
    }

    /// Asks a question in SQL as a business, for JSON.
    #[must_use]
    pub fn sql(&self, tenant: &str, question: &Value) -> Answer {
        self.post(SQL, &[("x-intellicartel-tenant", tenant)], question)
    }

    /// Sends JSON with POST.
    #[must_use]
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.send(Method::POST, path, &headers, Bytes::from(body.to_string()))
    }

    /// Sends anything.
    ///
    /// # Panics
    /// When no answer comes.
    #[must_use]
    pub fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        let asked = self.asked(method, path, headers, body);
        let asked = self.world.block_on(async { tokio::time::timeout(PATIENCE, asked).await });
        asked.expect("an answer in time")
    }

    /// Begins to ask a question in SQL, and leaves before the answer.
    pub fn ask_and_leave(&self, tenant: &str, question: &Value) {
        let asked = self.asked_sql(tenant, question);
        self.world.block_on(async {
            tokio::select! {
                answer = asked => panic!("it should not have been answered: {answer:?}"),
                () = self.under_way(1) => {}
            }
            self.under_way(0).await;
        });
    }

    /// Asks a question in SQL, and shuts the server down while it is answered.
    ///
    /// # Panics
    /// When no answer comes, or the server does not end.
    #[must_use]
    pub fn ask_across_shutdown(self, tenant: &str, question: &Value) -> (Answer, Finished) {
        let asked = self.asked_sql(tenant, question);
        let answer = self.world.block_on(async {
            let (answer, ()) = tokio::join!(asked, async {
                self.under_way(1).await;
                self.process.signal("TERM");
            });
            answer
        });
        (answer, self.process.finish(PATIENCE))
    }

    /// Waits until so many questions in SQL are under way.
    async fn under_way(&self, wanted: u32) {
        let line = format!(r#"intellicartel_http_requests_in_flight{{route="{SQL}"}} {wanted}"#);
        let waiting = async {
            while !self.asked(Method::GET, "/metrics", &[], Bytes::new()).await.text().contains(&line) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the server counts its requests");
    }

    fn asked_sql(&self, tenant: &str, question: &Value) -> impl Future<Output = Answer> + use<> {
        let headers = [("x-intellicartel-tenant", tenant), ("content-type", "application/json")];
        self.asked(Method::POST, SQL, &headers, Bytes::from(question.to_string()))
    }

    fn asked(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> impl Future<Output = Answer> + use<> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.client.request(request.body(Full::new(body)).expect("a request"));
        async move {
            let (parts, body) = answer.await.expect("an answer").into_parts();
            let body = body.collect().await.expect("a whole answer").to_bytes();
            let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            Answer { status: parts.status.as_u16(), headers, body }
        }
    }

    /// Shuts it down and waits for its end.
    #[must_use]
    pub fn end(self) -> Finished {
        self.process.signal("TERM");
        self.process.finish(PATIENCE)
    }
}
