//! The commands that say whether something is fit: an endpoint, a machine, a backup. Each is the real binary,
//! against real endpoints, directories and ports.

#[path = "../support/mod.rs"]
mod support;

mod check;
mod doctor;
mod restore;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use support::command::Ran;
use support::*;

/// The findings of a report made for programs.
struct Report {
    code: i32,
    findings: Vec<Value>,
}

impl Report {
    #[track_caller]
    fn of(ran: &Ran) -> Self {
        let report: Value = serde_json::from_str(&ran.out)
            .unwrap_or_else(|error| panic!("no report ({error}): {} {}", ran.out, ran.err));
        assert_eq!(report["fit"], ran.code == 0, "{report}");
        assert!([0, 1].contains(&ran.code), "{}", ran.err);
        Self { code: ran.code, findings: report["findings"].as_array().expect("findings").clone() }
    }

    /// The finding about this, if there is one.
    fn find(&self, about: &str) -> Option<&Value> {
        self.findings.iter().find(|finding| finding["about"] == about)
    }

    #[track_caller]
    fn says(&self, about: &str, grade: &str, words: &str) {
        let finding =
            self.find(about).unwrap_or_else(|| panic!("nothing about {about}: {:?}", self.findings));
        let seen = finding["seen"].as_str().expect("a sentence");
        assert!(finding["grade"] == grade && seen.contains(words), "{finding}");
        let wants_cure = ["warn", "fail"].contains(&grade);
        assert!(!wants_cure || finding["cure"].is_string(), "no cure: {finding}");
    }

    /// What this grade was given to.
    fn graded(&self, grade: &str) -> Vec<&str> {
        let graded = self.findings.iter().filter(|finding| finding["grade"] == grade);
        graded.map(|finding| finding["about"].as_str().expect("a name")).collect()
    }
}

fn pem(dir: &Path, name: &str, kind: &str, der: &[u8]) -> PathBuf {
    let file = dir.join(name);
    let text = format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der));
    std::fs::write(&file, text).expect("written");
    file
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("a path in Unicode")
}
