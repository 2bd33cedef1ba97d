//! Styles, scripts and the icon, inside the binary. Their URLs carry a hash of what they hold, so that
//! browsers keep them for good and a new version is fetched at once.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chathook_domain::refusal::{Code, Refusal};
use sha2::{Digest as _, Sha256};

use super::ROOT;
use super::failure::PageError;

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
/// Hex digits of the hash in a URL.
const HASH_CHARS: usize = 16;

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

/// `tokens.css` is the try-it page's too.
const ASSETS: [Asset; 5] = [
    Asset { name: "tokens.css", kind: CSS, text: include_str!("../../assets/tokens.css") },
    Asset { name: "dashboard.css", kind: CSS, text: include_str!("../../assets/dashboard.css") },
    Asset { name: "dashboard.js", kind: SCRIPT, text: include_str!("../../assets/dashboard.js") },
    Asset { name: "htmx.js", kind: SCRIPT, text: include_str!("../../assets/vendor/htmx-4.0.1.min.js") },
    Asset { name: "icon.svg", kind: "image/svg+xml", text: include_str!("../../assets/icon.svg") },
];

static URLS: LazyLock<Vec<String>> = LazyLock::new(|| {
    ASSETS.iter().map(|asset| format!("{ROOT}/assets/{}/{}", hash(asset.text), asset.name)).collect()
});

/// Where an asset is; the name is one of ours.
#[must_use]
pub fn url(name: &str) -> &'static str {
    let at = ASSETS.iter().position(|asset| asset.name == name);
    &URLS[at.expect("templates name assets that there are")]
}

/// The hash is for caches: any version of an asset's URL gets what there is now.
pub async fn get_asset(Path((asked, name)): Path<(String, String)>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return PageError::from(Refusal::new(Code::ApiNotFound, "There is no such file.")).into_response();
    };
    let kept = if asked == hash(asset.text) { "public, max-age=31536000, immutable" } else { "no-store" };
    ([(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, kept)], asset.text).into_response()
}

fn hash(text: &str) -> String {
    let mut hex = hex(&Sha256::digest(text.as_bytes()));
    hex.truncate(HASH_CHARS);
    hex
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes all");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_as_they_published_it() {
        let listed: serde_json::Value =
            serde_json::from_str(include_str!("../../assets/vendor/vendor.json")).expect("JSON");
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/vendor");
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .expect("the directory")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
            .filter(|name| name != "vendor.json")
            .collect();
        names.sort();
        let files = listed["files"].as_object().expect("files by name");
        let mut known: Vec<&String> = files.keys().collect();
        known.sort();
        assert_eq!(names.iter().collect::<Vec<_>>(), known, "vendor.json lists what is there");
        for (name, expected) in files {
            let bytes = std::fs::read(format!("{dir}/{name}")).expect("a file");
            assert_eq!(hex(&Sha256::digest(&bytes)), *expected, "{name}");
        }
    }
}
