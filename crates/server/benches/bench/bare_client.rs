//! The machine's own limit for requests: a client that does nothing but POST what the server would.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use tokio::task::JoinSet;

use crate::bench::Bench;
use crate::line::{self, Line};
use crate::load::{Load, per_s};
use crate::sink::{Memory, Post};
use crate::spread::Spread;
use crate::tenant::Tenant;

pub const DEFINITION: &str = "\
bare client
  The limit of this machine for requests. hyper (HTTP/1.1, keep-alive) over rustls, 64 connections, each
  with one POST under way at a time, to the same sink, on the same cores, with nothing else running. The
  POST is one that the server made in this very run, with its headers and its body. It is measured before
  and after the scenarios; the limit is the mean of both, and how far they lie apart is the noise of the
  machine. For before_message it is measured with 8 connections, and a POST of before_message.";

/// POSTs of the server, caught in this run.
pub struct Caught {
    pub after_message: Post,
    pub before_message: Post,
}

#[derive(Clone)]
pub struct Bare {
    pub per_s: f64,
    pub times: Spread,
}

/// Has the server make one POST of each kind.
pub async fn catch(bench: &Bench) -> Result<Caught> {
    let home = bench.home()?;
    let server = home.start().await?;
    let mut posts = Vec::new();
    for trigger in ["after_message", "before_message"] {
        let tenant = Tenant::make(server.address).await?;
        tenant.webhook("sink", &bench.sink.url("/ok"), trigger).await?;
        let load = Load::make(tenant, 1).await?;
        bench.sink.begin(Memory::Sightings).await?;
        load.pace(1, Duration::from_secs(1)).await?;
        bench.sink.until_answered(1, Duration::from_secs(10)).await?;
        posts.push(bench.sink.last_post().await?);
    }
    let before_message = posts.pop().unwrap_or_default();
    let after_message = posts.pop().unwrap_or_default();
    Ok(Caught { after_message, before_message })
}

/// Posts as often as it can on so many connections.
pub async fn measure(bench: &Bench, post: &Post, to: Target, time: Duration) -> Result<Bare> {
    bench.sink.begin(Memory::Counts).await?;
    let tls = line::tls(&bench.sink.ca_pem)?;
    let headers = Arc::new(headers_of(post)?);
    let body = Bytes::from(post.body.clone());
    let mut lines = Vec::new();
    for _ in 0..to.connections {
        lines.push(Line::open_tls(bench.sink.address, &tls).await?);
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for mut line in lines {
        let (headers, body) = (headers.clone(), body.clone());
        tasks.spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < time {
                let mut request = Request::post(to.path).body(Full::new(body.clone()))?;
                request.headers_mut().clone_from(&headers);
                let sent = Instant::now();
                line.call(request).await?;
                times.push(u64::try_from(sent.elapsed().as_micros())?);
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let times = Spread::of(times);
    Ok(Bare { per_s: per_s(times.count() as u64, began.elapsed()), times })
}

/// Where to, and on how many connections.
#[derive(Clone, Copy)]
pub struct Target {
    pub path: &'static str,
    pub connections: usize,
}

fn headers_of(post: &Post) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &post.headers {
        // The client counts the body itself.
        if name != CONTENT_LENGTH.as_str() {
            headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
    }
    Ok(headers)
}
