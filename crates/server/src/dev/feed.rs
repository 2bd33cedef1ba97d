//! The inbox as Server-Sent Events: first what it has recorded, then each webhook as it comes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::broadcast;

use super::inbox::{Inbox, Recorded};
use crate::doors::Stopped;

/// Ends with the server, which would wait for it, and when a reader falls too far behind; the browser then comes back by itself and is given
/// the whole record again, which the page tells apart by number and time.
pub fn webhooks(
    inbox: &Inbox,
    stopped: Stopped,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
    let (recorded, live) = inbox.subscribe();
    let reader = Reader { recorded: recorded.into(), live };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = as_event(&*reader.next().await?);
        Some((Ok(event), reader))
    });
    Sse::new(events.take_until(Box::pin(stopped.wait()))).keep_alive(KeepAlive::default())
}

struct Reader {
    recorded: VecDeque<Arc<Recorded>>,
    live: broadcast::Receiver<Arc<Recorded>>,
}

impl Reader {
    async fn next(&mut self) -> Option<Arc<Recorded>> {
        match self.recorded.pop_front() {
            Some(recorded) => Some(recorded),
            None => self.live.recv().await.ok(),
        }
    }
}

fn as_event(recorded: &Recorded) -> Event {
    let json = serde_json::to_string(recorded).expect("a recorded webhook is made of JSON values");
    Event::default().id(recorded.n.to_string()).data(json)
}
