//! Requests made from the document: what each operation asks for, and what it does not take.

use serde_json::{Value, json};

use crate::schema::Schemas;
use crate::support::TestServer;
use crate::support::http::Reply;
use crate::world::World;

/// What makes a request a wish for a WebSocket (the nonce is that of RFC 6455, 1.3).
pub const UPGRADE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// An operation of the document.
pub struct Operation<'a> {
    pub id: &'a str,
    pub method: String,
    pub path: &'a str,
    pub said: &'a Value,
}

/// A request, as the document makes it or spoilt.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

pub fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, said) in item.as_object().expect("operations") {
            let id = said["operationId"].as_str().expect("an operation has an id");
            found.push(Operation { id, method: method.to_uppercase(), path, said });
        }
    }
    found
}

impl Operation<'_> {
    /// A request that is to succeed.
    pub fn request(&self, world: &World, schemas: &Schemas<'_>) -> Request {
        let mut path = self.path.to_owned();
        for name in self.path_parameters() {
            path = path.replace(&format!("{{{name}}}"), &world.value_of(self.id, name));
        }
        let mut headers = world.credentials(self.id, &self.said["security"]);
        if self.success() == 101 {
            headers.extend(UPGRADE.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        let body = self.example(schemas).map_or(Vec::new(), |mut body| {
            if let Some(id) = body.get_mut("messageId") {
                *id = json!(world.boundary_of(self.id));
            }
            body.to_string().into_bytes()
        });
        Request { method: self.method.clone(), path, headers, body }
    }

    /// The status of a call that succeeds.
    pub fn success(&self) -> u16 {
        if self.said["responses"].get("101").is_some() { 101 } else { 200 }
    }

    pub fn path_parameters(&self) -> Vec<&str> {
        self.path.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name).collect()
    }

    /// The parameters of its query.
    pub fn query<'b>(&'b self, schemas: &'b Schemas<'_>) -> Vec<&'b Value> {
        let all = self.said["parameters"].as_array().into_iter().flatten();
        all.map(|parameter| schemas.resolved(parameter))
            .filter(|parameter| parameter["in"] == "query")
            .collect()
    }

    /// The schema of its body, and the example there.
    pub fn body<'b>(&'b self, schemas: &'b Schemas<'_>) -> Option<&'b Value> {
        let schema = self.said.pointer("/requestBody/content/application~1json/schema")?;
        Some(schemas.resolved(schema))
    }

    pub fn example(&self, schemas: &Schemas<'_>) -> Option<Value> {
        let schema = self.body(schemas)?;
        let example = &schema["examples"][0];
        assert!(example.is_object(), "{}: its body has no example", self.id);
        assert_eq!(schemas.complaints(schema, example), Vec::<String>::new(), "{}: its example", self.id);
        Some(example.clone())
    }

    /// What the document says of an answer that came, and what is wrong with it.
    pub fn complaints(&self, schemas: &Schemas<'_>, reply: &Reply) -> Vec<String> {
        let Some(response) = self.said["responses"].get(reply.status.to_string()) else {
            return vec![format!("the status {} is not described: {}", reply.status, reply.json)];
        };
        let Some(content) = response.get("content") else {
            let is_empty = reply.bytes.is_empty();
            return if is_empty { Vec::new() } else { vec!["a body is not described".to_owned()] };
        };
        let kind = reply.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        let headers = response["headers"].as_object().into_iter().flatten();
        let lacking = headers.filter(|(name, said)| {
            said["required"] == true && !reply.headers.contains_key(name.to_lowercase().as_str())
        });
        let mut found: Vec<String> =
            lacking.map(|(name, _)| format!("the header '{name}' is missing")).collect();
        match content.get(kind) {
            None => found.push(format!("the kind '{kind}' is not described")),
            Some(_) if kind.starts_with("text/") => {}
            Some(content) => found.extend(schemas.complaints(&content["schema"], &reply.json)),
        }
        found
    }
}

impl Request {
    pub async fn send(&self, server: &TestServer) -> Reply {
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        server.raw(&self.method, &self.path, &headers, self.body.clone()).await
    }

    pub fn with_body(&self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self.clone() }
    }

    pub fn with_query(&self, name: &str, value: &str) -> Self {
        Self { path: format!("{}?{name}={value}", self.path), ..self.clone() }
    }
}
