//! What the sink does with a POST, and what it remembers of it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{Counts, Memory, Post, Sighting};
use crate::machine::now_us;

const WAIT: Duration = Duration::from_millis(5);

#[derive(Default)]
pub struct Endpoint {
    answered: AtomicU64,
    hung: AtomicU64,
    connections: AtomicU64,
    first_at_us: AtomicU64,
    last_at_us: AtomicU64,
    is_watching: AtomicBool,
    sightings: Mutex<Vec<Sighting>>,
    last_post: Mutex<Post>,
}

impl Endpoint {
    pub fn begin(&self, memory: Memory) {
        self.is_watching.store(memory == Memory::Sightings, Ordering::SeqCst);
        for count in [&self.answered, &self.hung, &self.connections, &self.first_at_us, &self.last_at_us] {
            count.store(0, Ordering::SeqCst);
        }
        held(&self.sightings).clear();
        *held(&self.last_post) = Post::default();
    }

    pub fn counts(&self) -> Counts {
        Counts {
            answered: self.answered.load(Ordering::SeqCst),
            hung: self.hung.load(Ordering::SeqCst),
            connections: self.connections.load(Ordering::SeqCst),
            first_at_us: self.first_at_us.load(Ordering::SeqCst),
            last_at_us: self.last_at_us.load(Ordering::SeqCst),
        }
    }

    pub fn sightings(&self) -> Vec<Sighting> {
        held(&self.sightings).clone()
    }

    pub fn last_post(&self) -> Post {
        held(&self.last_post).clone()
    }

    /// Takes connections for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tls: TlsAcceptor) {
        loop {
            // A handle too few is the next scenario's failure, not the end of the sink.
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            tokio::spawn(self.clone().serve_connection(stream, tls.clone()));
        }
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream, tls: TlsAcceptor) {
        // Who is killed in the middle of a handshake or request leaves an error here.
        let Ok(stream) = tls.accept(stream).await else { return };
        self.connections.fetch_add(1, Ordering::Relaxed);
        let service = service_fn(|request| self.receive(request));
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn receive(&self, request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let at_us = now_us();
        let _ = self.first_at_us.compare_exchange(0, at_us, Ordering::Relaxed, Ordering::Relaxed);
        let path = head.uri.path();
        if path.starts_with("/hang") {
            self.hung.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
        if path.starts_with("/wait5") {
            tokio::time::sleep(WAIT).await;
        }
        if self.is_watching.load(Ordering::Relaxed) {
            self.remember(&head.headers, &body, at_us);
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.last_at_us.store(now_us(), Ordering::Relaxed);
        Ok(Response::new(Empty::new()))
    }

    fn remember(&self, headers: &HeaderMap, body: &Bytes, at_us: u64) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        held(&self.sightings).push(Sighting {
            number: number_in(body),
            at_us,
            id: text("webhook-id").to_owned(),
            sequence: text("chathook-sequence").parse().unwrap_or(0),
        });
        let mut last = held(&self.last_post);
        // One is as good as another, and the copying should not grow with the load.
        if last.body.is_empty() {
            last.headers = headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
                .collect();
            last.body = String::from_utf8_lossy(body).into_owned();
        }
    }
}

/// The digits after the first `"#` of the body; 0 where there are none.
fn number_in(body: &[u8]) -> u64 {
    let after = body.windows(2).position(|pair| pair == b"\"#").map_or(body.len(), |at| at + 2);
    let digits = body[after..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no one panics while holding this lock")
}
