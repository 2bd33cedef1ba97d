//! What each crate may never name (docs/decisions/0001-four-crates.md), in its code and in its Cargo.toml.

use toml::Table;

use crate::assert_none;
use crate::tree::{files, line_of, places_of, root};

struct Rule {
    name: &'static str,
    /// Paths and words that its code does not hold.
    never: &'static [&'static str],
    /// Crates that its `[dependencies]` do not list, and features that they do not ask for.
    no_crates: &'static [&'static str],
    no_features: &'static [(&'static str, &'static str)],
    /// Of a crate below, the modules that alone it may use.
    only: &'static [(&'static str, &'static [&'static str])],
}

const RULES: [Rule; 4] = [
    Rule {
        name: "domain",
        never: &[
            "async",
            "await",
            "tokio",
            "tracing",
            "std::fs",
            "std::env",
            "std::process",
            "std::thread",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "UnixStream",
            "ToSocketAddrs",
            "SystemTime",
            "Instant",
            "rusqlite",
            "sqlx",
            "hyper",
            "axum",
            "reqwest",
            "rustls",
        ],
        no_crates: &[
            "tokio",
            "tracing",
            "async-trait",
            "rand",
            "getrandom",
            "rusqlite",
            "sqlx",
            "hyper",
            "axum",
            "reqwest",
            "rustls",
            "chathook-engine",
            "chathook-adapters",
            "chathook-server",
        ],
        no_features: &[],
        only: &[],
    },
    Rule {
        name: "engine",
        never: &[
            "axum",
            "rusqlite",
            "sqlx",
            "hyper",
            "hyper_util",
            "reqwest",
            "rustls",
            "std::env",
            "std::fs",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "tokio::net",
            "tokio::fs",
        ],
        no_crates: &[
            "axum",
            "rusqlite",
            "sqlx",
            "hyper",
            "hyper-util",
            "reqwest",
            "rustls",
            "rand",
            "getrandom",
            "chathook-adapters",
            "chathook-server",
        ],
        no_features: &[("tokio", "net"), ("tokio", "fs"), ("uuid", "v4"), ("uuid", "v7")],
        only: &[],
    },
    Rule {
        name: "adapters",
        never: &["axum", "clap"],
        no_crates: &["axum", "clap", "chathook-server"],
        no_features: &[],
        only: &[("chathook_engine", &["ports"])],
    },
    Rule {
        name: "server",
        never: &["rusqlite", "sqlx", "reqwest", "hyper::client", "hyper_util::client"],
        no_crates: &["rusqlite", "sqlx", "reqwest", "ureq"],
        no_features: &[("hyper", "client"), ("hyper-util", "client"), ("hyper-util", "client-legacy")],
        only: &[],
    },
];

#[test]
fn no_crate_names_what_it_may_not() {
    let mut breaks = Vec::new();
    for file in files(&[".rs"]) {
        let Some(rule) = RULES.iter().find(|rule| file.source_of() == Some(rule.name)) else { continue };
        let code = file.code();
        for word in rule.never {
            for at in places_of(&code, word) {
                breaks.push(format!("{}:{}: names '{word}'", file.path, line_of(&code, at)));
            }
        }
        for (below, allowed) in rule.only {
            for at in places_of(&code, &format!("{below}::")) {
                let rest = &code[at + below.len() + 2..];
                if !allowed.iter().any(|module| rest.starts_with(module)) {
                    let line = line_of(&code, at);
                    breaks.push(format!("{}:{line}: of {below} it may use only {allowed:?}", file.path));
                }
            }
        }
    }
    assert_none("A crate names what is not its own (decision 0001).", &breaks);
}

#[test]
fn no_crate_depends_on_what_it_may_not() {
    let mut breaks = Vec::new();
    for rule in RULES {
        let path = root().join(format!("crates/{}/Cargo.toml", rule.name));
        let text = std::fs::read_to_string(path).expect("the crate has a Cargo.toml");
        let manifest: Table = text.parse().expect("Cargo.toml is TOML");
        let dependencies = manifest["dependencies"].as_table().expect("a table");
        for name in rule.no_crates.iter().filter(|name| dependencies.contains_key(**name)) {
            breaks.push(format!("crates/{}/Cargo.toml: depends on {name}", rule.name));
        }
        for (name, feature) in rule.no_features {
            let features = dependencies.get(*name).and_then(|wanted| wanted.get("features")?.as_array());
            if features.is_some_and(|features| features.iter().any(|one| one.as_str() == Some(feature))) {
                breaks.push(format!("crates/{}/Cargo.toml: {name} with '{feature}'", rule.name));
            }
        }
    }
    assert_none("A crate depends on what is not its own (decision 0001).", &breaks);
}
