//! An HTTP proxy between the binary and S3 that spoils some of the requests: it loses answers, answers 503 and 409 itself, delays, cuts connections and
//! answers. Also a store that has no conditional PUT, for the start-up probe to find out.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::net::TcpListener;

type Body = BoxBody<Bytes, std::io::Error>;
type Answer = Result<Response<Body>, std::io::Error>;

/// A fault, for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The request is done, its answer is not given: the connection ends.
    LoseAnswer,
    /// 503, nothing is done.
    Unavailable,
    /// 409, nothing is done; only for writes, as S3 gives it. A read gets 503.
    Conflict,
    /// The request comes late.
    Delay,
    /// The connection ends before anything is done.
    Cut,
    /// The request is done, half of the answer's body is given.
    HalfAnswer,
}

const FAULTS: [Fault; 6] =
    [Fault::LoseAnswer, Fault::Unavailable, Fault::Conflict, Fault::Delay, Fault::Cut, Fault::HalfAnswer];

/// A running proxy; dropped, it ends.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Debug)]
struct State {
    upstream: String,
    client: Client<HttpConnector, Full<Bytes>>,
    dice: Mutex<StdRng>,
    /// Of 1,000 requests, how many are spoilt.
    per_mille: u32,
    requests: AtomicU64,
    spoilt: [AtomicU64; FAULTS.len()],
}

impl Proxy {
    /// Starts one before `upstream`, like `http://127.0.0.1:28333`.
    ///
    /// # Panics
    /// When no port can be had.
    #[must_use]
    pub fn start(upstream: &str, seed: u64, per_mille: u32) -> Self {
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
            per_mille,
            requests: AtomicU64::new(0),
            spoilt: Default::default(),
        });
        let shared = Arc::clone(&state);
        let (runtime, address) = serve(move |request| {
            let state = Arc::clone(&shared);
            async move { state.answer(request).await }
        });
        Self { address, state, runtime: Some(runtime) }
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests came, and how many were spoilt in which way.
    #[must_use]
    pub fn counts(&self) -> String {
        let spoilt: Vec<_> = FAULTS
            .iter()
            .zip(&self.state.spoilt)
            .map(|(fault, count)| format!("{fault:?} {}", count.load(Ordering::Relaxed)))
            .collect();
        format!("{} requests: {}", self.state.requests.load(Ordering::Relaxed), spoilt.join(", "))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl State {
    fn draw(&self) -> Option<Fault> {
        let mut dice = self.dice.lock().expect("no one panics with the dice");
        (dice.random_range(0..1_000) < self.per_mille).then(|| FAULTS[dice.random_range(0..FAULTS.len())])
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let fault = match self.draw() {
            Some(Fault::Conflict) if is_read => Some(Fault::Unavailable),
            other => other,
        };
        if let Some(at) = fault.and_then(|fault| FAULTS.iter().position(|known| *known == fault)) {
            self.spoilt[at].fetch_add(1, Ordering::Relaxed);
        }
        match fault {
            Some(Fault::Unavailable) => return Ok(status(StatusCode::SERVICE_UNAVAILABLE)),
            Some(Fault::Conflict) => return Ok(status(StatusCode::CONFLICT)),
            Some(Fault::Cut) => return Err(cut()),
            Some(Fault::Delay) => tokio::time::sleep(Duration::from_millis(300)).await,
            _ => {}
        }
        let answer = self.forward(request).await?;
        match fault {
            Some(Fault::LoseAnswer) => Err(cut()),
            Some(Fault::HalfAnswer) => {
                let (parts, body) = answer.into_parts();
                let half = body.slice(..body.len() / 2);
                let frames = futures::stream::iter([Ok(Frame::data(half)), Err(cut())]);
                Ok(Response::from_parts(parts, StreamBody::new(frames).boxed()))
            }
            _ => Ok(answer.map(|body| Full::new(body).map_err(never).boxed())),
        }
    }

    /// Hands a request on as it is: the signature covers its headers, the host that it was sent to included.
    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Bytes>, std::io::Error> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = format!("{}{path}", self.upstream).parse().map_err(std::io::Error::other)?;
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let request = Request::from_parts(parts, Full::new(body));
        let (parts, body) = self.client.request(request).await.map_err(std::io::Error::other)?.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }
}

/// A store that takes every PUT, whatever its conditions: what the start-up probe must find out.
#[derive(Debug)]
pub struct CarelessStore {
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl CarelessStore {
    /// Starts one.
    ///
    /// # Panics
    /// When no port can be had.
    #[must_use]
    pub fn start() -> Self {
        let objects: Arc<Mutex<HashMap<String, Bytes>>> = Arc::default();
        let (runtime, address) = serve(move |request: Request<Incoming>| {
            let objects = Arc::clone(&objects);
            async move {
                let (parts, body) = request.into_parts();
                let (key, body) =
                    (parts.uri.path().to_owned(), body.collect().await.map_err(std::io::Error::other)?);
                let mut objects = objects.lock().expect("no one panics with the objects");
                let found = match parts.method {
                    Method::PUT => objects
                        .insert(key, body.to_bytes())
                        .map_or(Some(Bytes::new()), |_| Some(Bytes::new())),
                    Method::DELETE => objects.remove(&key).map(|_| Bytes::new()),
                    _ => objects.get(&key).cloned(),
                };
                let code = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
                let content = Full::new(found.unwrap_or_default()).map_err(never).boxed();
                let answer = Response::builder().status(code).header("etag", "\"1\"");
                answer
                    .header("last-modified", "Wed, 25 Nov 2026 00:00:00 GMT")
                    .body(content)
                    .map_err(std::io::Error::other)
            }
        });
        Self { address, runtime: Some(runtime) }
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for CarelessStore {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves on a free port of the loopback, on a runtime of its own.
fn serve<H, F>(handler: H) -> (tokio::runtime::Runtime, SocketAddr)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("its address");
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(handler.clone());
            // An error of a connection is most often one that was made here.
            tokio::spawn(async move {
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
            });
        }
    });
    (runtime, address)
}

fn status(code: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Full::new(Bytes::new()).map_err(never).boxed());
    *answer.status_mut() = code;
    answer
}

fn cut() -> std::io::Error {
    std::io::Error::other("the proxy cut the connection")
}

fn never(error: Infallible) -> std::io::Error {
    match error {}
}
