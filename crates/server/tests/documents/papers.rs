//! What the papers say of the program is true: their calls are served, their flags, variables and codes are
//! there, and their payloads are as the documents say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chathook_domain::refusal::Code;
use chathook_domain::trigger::Trigger;
use chathook_server::reference::{asyncapi, openapi};
use serde_json::Value;

use crate::requests::operations;
use crate::schema::Schemas;

/// Flags of other programs, and of `scripts/bench`.
const OTHERS: [&str; 7] = ["--file", "--full", "--help", "--only", "--path", "--release", "--version"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every paper for users, with its name.
fn papers() -> Vec<(String, String)> {
    let mut paths =
        vec![root().join("README.md"), root().join("ARCHITECTURE.md"), root().join("CHANGELOG.md")];
    for entry in std::fs::read_dir(root().join("docs")).expect("docs") {
        paths.push(entry.expect("an entry").path());
    }
    paths.retain(|path| path.extension().is_some_and(|end| end == "md"));
    let read = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&path).expect("a text"))
    };
    paths.into_iter().map(read).collect()
}

/// All words of the text that begin so, as far as their characters are these.
fn words(text: &str, beginning: &str, is_of_word: impl Fn(char) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices(beginning) {
        let is_inside = text[..at].ends_with(|c: char| is_of_word(c));
        let rest = &text[at..];
        let end =
            rest[beginning.len()..].find(|c| !is_of_word(c)).map_or(rest.len(), |end| end + beginning.len());
        if !is_inside && end > beginning.len() {
            found.insert(rest[..end].to_owned());
        }
    }
    found
}

#[test]
fn every_call_that_a_paper_names_is_in_the_document() {
    let document = openapi::document();
    let all = operations(&document);
    let is_served = |method: &str, path: &str| {
        let asked: Vec<&str> = path.split('/').collect();
        all.iter().any(|operation| {
            let parts: Vec<&str> = operation.path.split('/').collect();
            let fits = |(said, asked): (&&str, &&str)| said == asked || said.starts_with('{');
            operation.method == method && parts.len() == asked.len() && parts.iter().zip(&asked).all(fits)
        })
    };
    let mut seen = 0;
    for (name, text) in papers() {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            for (at, _) in text.match_indices(&format!("{method} ")) {
                let rest = &text[at + method.len() + 1..];
                let end =
                    rest.find(|c: char| c.is_whitespace() || "`?),;|'".contains(c)).unwrap_or(rest.len());
                let path =
                    rest[..end].replace('…', "/apps/{appId}/webhooks/{webhookId}").replace("/v3.0/", "/v3/");
                if path.starts_with('/') {
                    assert!(is_served(method, &path), "{name}: {method} {path}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 40, "the papers were not understood: {seen}");
}

#[test]
fn every_flag_that_a_paper_names_is_one_of_the_program() {
    let dir = tempfile::tempdir().expect("a directory");
    let man = std::process::Command::new(env!("CARGO_BIN_EXE_chathook")).arg("man").arg(dir.path()).status();
    assert!(man.expect("the binary runs").success());
    let mut known = BTreeSet::new();
    let is_of_flag = |c: char| c.is_ascii_lowercase() || c == '-';
    for entry in std::fs::read_dir(dir.path()).expect("manual pages") {
        let page = std::fs::read_to_string(entry.expect("an entry").path()).expect("a text");
        // Without what ends bold type, and what keeps a hyphen whole.
        let page = page.replace("\\fR", " ").replace('\\', "");
        known.extend(words(&page, "--", is_of_flag));
    }
    for (name, text) in papers() {
        for flag in words(&text, "--", is_of_flag) {
            let is_known = known.contains(&flag) || OTHERS.contains(&flag.as_str());
            assert!(is_known || flag.trim_matches('-').is_empty(), "{name}: {flag}");
        }
    }
}

#[test]
fn papers_and_sources_name_the_same_variables() {
    let is_of_variable = |c: char| c.is_ascii_uppercase() || c == '_';
    let variables = |text: &str| words(text, "CHATHOOK_", is_of_variable);
    let read: BTreeSet<String> = ["crates/server/src", "crates/adapters/src"]
        .iter()
        .flat_map(|dir| variables(&below(&root().join(dir))))
        .collect();
    let told: BTreeSet<String> = papers().iter().flat_map(|(_, text)| variables(text)).collect();
    assert_eq!(told.difference(&read).collect::<Vec<_>>(), Vec::<&String>::new(), "named and not read");
    assert_eq!(read.difference(&told).collect::<Vec<_>>(), Vec::<&String>::new(), "read and not named");
}

/// All Rust below a directory as one text.
fn below(dir: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.push_str(&below(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            all.push_str(&std::fs::read_to_string(&path).expect("a text"));
        }
    }
    all
}

#[test]
fn every_code_that_a_paper_names_is_sent() {
    let known: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let is_of_code = |c: char| c.is_ascii_uppercase() || c == '_';
    for (name, text) in papers() {
        for beginning in ["ERR_", "AUTH_ERR_"] {
            for code in words(&text, beginning, is_of_code) {
                assert!(known.contains(code.as_str()), "{name}: {code}");
            }
        }
    }
}

/// A code that nothing gives any more would stay in the papers as if it could come.
#[test]
fn every_code_is_given_somewhere() {
    let crates = ["domain", "engine", "adapters", "server"];
    let sources: String =
        crates.iter().map(|name| below(&root().join("crates").join(name).join("src"))).collect();
    // The table of statuses names each.
    let (before, rest) = sources.split_once("pub const fn status_of").expect("the table");
    let (_, after) = rest.split_once("#[cfg(test)]").expect("its tests follow");
    let is_of_name = |c: char| c.is_ascii_alphanumeric();
    let given: BTreeSet<String> =
        [before, after].iter().flat_map(|text| words(text, "Code::", is_of_name)).collect();
    for code in Code::ALL {
        assert!(given.contains(&format!("Code::{code:?}")), "{code:?} is given nowhere");
    }
}

#[test]
fn the_readmes_payloads_are_as_the_document_says() {
    let document = asyncapi::document();
    let schemas = Schemas::of(&document);
    let readme = std::fs::read_to_string(root().join("README.md")).expect("a text");
    let mut told = Vec::new();
    for block in readme.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let payload: Value = serde_json::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}"));
        let trigger = Trigger::ALL.into_iter().find(|trigger| payload["trigger"] == trigger.payload_name());
        let trigger = trigger.expect("a trigger's payload");
        let said = &document["components"]["messages"][format!("{}.webhook", trigger.id())]["payload"];
        assert_eq!(schemas.complaints(said, &payload), Vec::<String>::new(), "{block}");
        told.push(trigger);
    }
    let expected =
        [Trigger::AfterMessage, Trigger::MessageDeliveryReceipt, Trigger::UserConnectionStatusChange];
    assert_eq!(told, expected);
}
