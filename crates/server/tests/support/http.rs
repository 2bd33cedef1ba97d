//! One HTTP request on a connection of its own.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::in_time;

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
    /// `Null` where the body is no JSON.
    pub json: Value,
}

impl Reply {
    /// The `data` of a success.
    #[track_caller]
    pub fn data(&self) -> &Value {
        assert_eq!(self.status, 200, "{}", self.json);
        &self.json["data"]
    }

    /// Asserts a refusal in the spec's envelope (spec 4.2), and gives its error object.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> &Value {
        let error = &self.json["error"];
        assert_eq!((self.status, error["code"].as_str()), (status, Some(code)), "{}", self.json);
        assert_error_object(error);
        error
    }

    /// As [`Self::refused`], and the error names this field.
    #[track_caller]
    pub fn refused_for(&self, status: u16, code: &str, field: &str) {
        let error = self.refused(status, code);
        assert!(error["details"][field][0].is_string(), "no details of '{field}': {error}");
        assert!(error["message"].as_str().is_some_and(|m| m.contains(field)), "{error}");
    }
}

#[track_caller]
pub fn assert_error_object(error: &Value) {
    for name in ["message", "devMessage", "source", "code"] {
        assert!(error[name].as_str().is_some_and(|text| !text.is_empty()), "no '{name}' in {error}");
    }
}

pub async fn send(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Reply {
    in_time(&format!("{method} {path}"), async {
        let tcp = TcpStream::connect(to).await.expect("the server listens");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.expect("the server speaks HTTP");
        let driver = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", to.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).expect("a request");
        let answer = sender.send_request(request).await.expect("an answer");
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await.expect("a whole answer").to_bytes();
        driver.abort();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Reply { status: head.status.as_u16(), headers: head.headers, bytes, json }
    })
    .await
}
