//! Tells open pages by Server-Sent Events that something of their app has happened, so that they fetch themselves again.
//! A stream looks twice a second at the engine's pulse of the app, a counter in memory: who
//! sends or delivers knows of no stream and waits for none, a thousand changes are one event, and with no page open
//! nothing looks. An event has no data and is a hint: pages fetch themselves now and then without one.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use chathook_domain::ids::AppId;
use chathook_domain::refusal::{Code, Refusal};
use futures_util::stream;

use super::page::{Answer, PageError, Visit};
use super::session::Session;
use super::{Dashboard, Routes};
use crate::api::extract::Ids;
use crate::doors::Stopped;

/// The media type of a stream (WHATWG HTML, "Server-sent events"), by which browsers ask for one.
pub const EVENT_STREAM: &str = "text/event-stream";
/// Streams of one session. A browser opens six connections to a host over HTTP/1.1: some are left for the pages.
const OF_SESSION_MAX: usize = 4;
const LOOK_EVERY_MS: i64 = 500;
/// A sign of life while nothing happens, for proxies and doors that end what is silent for a minute.
const SIGN_EVERY_MS: i64 = 25_000;
/// Event streams say what they are and nothing else; a name of the event, because one without data is dropped.
const CHANGE: &[u8] = b"event: change\ndata:\n\n";
const SIGN: &[u8] = b":\n\n";
/// Told to proxies that would gather an answer before they pass it on.
const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

pub fn routes() -> Routes {
    Routes::new().route("/apps/{app_id}/changes", get(follow_changes))
}

/// The sessions of the streams that are open, each as often as it has one.
pub struct Streams {
    open: Mutex<Vec<Session>>,
    max: usize,
}

/// A stream's hold on its place.
struct Place {
    dashboard: Arc<Dashboard>,
    session: Session,
}

/// One stream, from one look to the next.
struct Follower {
    place: Place,
    app: AppId,
    stopped: Stopped,
    pulse: u64,
    looked_at: i64,
    said_at: i64,
    /// Whether the last look saw something new.
    is_stirred: bool,
}

async fn follow_changes(
    visit: Visit,
    Ids(app): Ids<String>,
    Extension(stopped): Extension<Stopped>,
) -> Answer {
    let app = visit.app(&app).await?.id.clone();
    let place = Place::take(&visit).ok_or_else(no_place)?;
    let tick = visit.engine().clock.ticks();
    let pulse = visit.engine().pulse(&app);
    let follower = Follower { place, app, stopped, pulse, looked_at: tick, said_at: tick, is_stirred: false };
    // The first event is for what happened between the page and its stream.
    let first = stream::once(async { Ok::<_, std::convert::Infallible>(Bytes::from_static(CHANGE)) });
    let rest = stream::unfold(follower, async |mut follower| {
        let said = follower.next().await?;
        Some((Ok(Bytes::from_static(said)), follower))
    });
    let body = Body::from_stream(stream::StreamExt::chain(first, rest));
    Ok(([(header::CONTENT_TYPE, EVENT_STREAM)], [UNBUFFERED], body).into_response())
}

fn no_place() -> PageError {
    let sentence = "As many pages follow as there are places for; this one looks now and then by itself.";
    PageError::with_status(Refusal::new(Code::TooManyRequests, sentence), StatusCode::TOO_MANY_REQUESTS)
}

impl Streams {
    /// At most so many at once, over all sessions.
    #[must_use]
    pub const fn bounded(max: usize) -> Self {
        Self { open: Mutex::new(Vec::new()), max }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Session>> {
        self.open.lock().expect("no one panics while holding this lock")
    }
}

impl Place {
    fn take(visit: &Visit) -> Option<Self> {
        let streams = &visit.dashboard.streams;
        let mut open = streams.open();
        let own = open.iter().filter(|session| **session == visit.session).count();
        if own >= OF_SESSION_MAX || open.len() >= streams.max {
            return None;
        }
        open.push(visit.session.clone());
        Some(Self { dashboard: visit.dashboard.clone(), session: visit.session.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.dashboard.streams.open();
        if let Some(at) = open.iter().position(|session| *session == self.session) {
            open.swap_remove(at);
        }
    }
}

impl Follower {
    /// What to say next; nothing more once the session is over, or the server stops.
    async fn next(&mut self) -> Option<&'static [u8]> {
        let Dashboard { api, sessions, .. } = &*self.place.dashboard;
        let clock = &api.engine.clock;
        loop {
            tokio::select! {
                () = self.stopped.clone().wait() => return None,
                () = clock.sleep_until(self.looked_at + LOOK_EVERY_MS) => {}
            }
            self.looked_at = clock.ticks();
            if !sessions.is_in(&self.place.session, self.looked_at) {
                return None;
            }
            let pulse = api.engine.pulse(&self.app);
            let is_stirred = pulse != self.pulse;
            // What is counted may be written a moment later, so that a page is told once more when it has been.
            let is_to_tell = is_stirred || self.is_stirred;
            (self.pulse, self.is_stirred) = (pulse, is_stirred);
            if is_to_tell || self.looked_at - self.said_at >= SIGN_EVERY_MS {
                self.said_at = self.looked_at;
                return Some(if is_to_tell { CHANGE } else { SIGN });
            }
        }
    }
}
