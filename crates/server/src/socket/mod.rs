//! The socket (design 8): JSON-RPC 2.0 over WebSocket text frames. Who may do what is the engine's to say.

mod calls;
mod end;
mod frames;
mod live;
mod log_in;
pub mod methods;
pub mod shapes;
mod turns;
mod writer;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::WebSocket;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::get;
use chathook_adapters::local_bus::LocalBus;
use chathook_domain::refusal::Code;
use chathook_engine::engine::Engine;
use futures_util::StreamExt;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::extract::Upgrade;
use crate::api::shapes::refuses;

pub use end::close_codes;

/// Largest frame and message from a client (design 8).
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// A usual call fits, and every idle socket holds it.
const READ_BUFFER_BYTES: usize = 512;
/// Above the largest frame that the server writes.
const WRITE_BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What all sockets share.
pub struct Sockets {
    pub engine: Arc<Engine>,
    pub bus: Arc<LocalBus>,
    /// Turns true when the server goes away.
    pub shutdown: tokio::sync::watch::Receiver<bool>,
}

pub fn router(sockets: Arc<Sockets>) -> Router {
    // The other spelling of the version leads to the same.
    Router::from(routes()).route("/v3.0/socket", get(open_socket)).with_state(sockets)
}

/// The route with its description.
pub fn routes() -> OpenApiRouter<Arc<Sockets>> {
    OpenApiRouter::default().routes(routes!(open_socket))
}

/// Opens a client's socket
///
/// A WebSocket. Its first call, `login`, says who comes; this and all that follows is described in
/// `/asyncapi.json`.
#[utoipa::path(
    get, path = "/v3/socket", tag = "streams",
    responses((status = 101, description = "The socket is open")),
    extensions(("x-refusals" = json!(refuses(&[Code::BadRequest])))),
)]
async fn open_socket(
    State(sockets): State<Arc<Sockets>>,
    Upgrade(upgrade): Upgrade,
    headers: HeaderMap,
) -> Response {
    let origin = foreign_origin(&headers);
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(FRAME_BYTES_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .on_upgrade(move |socket| welcome(sockets, socket, origin))
}

/// The page's origin, where it is not this very host, whose pages are our own.
fn foreign_origin(headers: &HeaderMap) -> Option<String> {
    let origin = String::from_utf8_lossy(headers.get(header::ORIGIN)?.as_bytes()).into_owned();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_own = match (origin.split_once("://"), host) {
        (Some((_, authority)), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    };
    (!is_own).then_some(origin)
}

/// One socket, from its upgrade to its log-in. From there it goes on in a task of its own, which as it
/// idles holds no room for an upgrade and a log-in.
async fn welcome(sockets: Arc<Sockets>, socket: WebSocket, origin: Option<String>) {
    let (mut sink, mut stream) = socket.split();
    match log_in::log_in(&sockets, &mut sink, &mut stream, origin).await {
        Ok(entry) => drop(tokio::spawn(live::live(sockets, *entry, sink, stream))),
        Err(end) => end::finish(&*sockets.engine.clock, end, &mut sink, &mut stream).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, header::HeaderValue::from_static("localhost:8080"));
        headers.insert(header::ORIGIN, header::HeaderValue::from_static(origin));
        headers
    }

    #[test]
    fn pages_of_this_host_are_our_own() {
        assert_eq!(foreign_origin(&headers("http://localhost:8080")), None);
        assert_eq!(foreign_origin(&HeaderMap::new()), None);
        assert!(foreign_origin(&headers("http://localhost:9090")).is_some());
        assert!(foreign_origin(&headers("null")).is_some());
    }
}
