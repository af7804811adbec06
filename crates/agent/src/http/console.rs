//! The console: one page and what it consists of, embedded in the binary. Nothing of it comes from elsewhere.
//!
//! The page itself says nothing of the cluster: whoever has no token gets it, and is asked for the token by it.

use axum::Router;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::AppState;

/// Scripts, styles and requests of this agent and no other, and none within the page: what members say of themselves cannot
/// become a script, even if a view forgot that it is text.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A file of the page.
#[derive(Clone, Copy, Debug)]
struct Asset {
    path: &'static str,
    content: &'static str,
}

macro_rules! assets {
    ($($path:literal: $file:literal),* $(,)?) => {
        &[$(Asset { path: $path, content: include_str!(concat!("../../console/", $file)) }),*]
    };
}

const ASSETS: &[Asset] = assets![
    "/": "index.html",
    "/console/api.js": "api.js",
    "/console/chart.js": "chart.js",
    "/console/dialog.js": "dialog.js",
    "/console/dom.js": "dom.js",
    "/console/format.js": "format.js",
    "/console/icon.svg": "icon.svg",
    "/console/live.js": "live.js",
    "/console/main.js": "main.js",
    "/console/memory.js": "memory.js",
    "/console/palette.js": "palette.js",
    "/console/picture.js": "picture.js",
    "/console/rows.js": "rows.js",
    "/console/shapes.js": "shapes.js",
    "/console/store.js": "store.js",
    "/console/style.css": "style.css",
    "/console/table.js": "table.js",
    "/console/theory.js": "theory.js",
    "/console/views/aggregates.js": "views/aggregates.js",
    "/console/views/agreement.js": "views/agreement.js",
    "/console/views/cluster.js": "views/cluster.js",
    "/console/views/data.js": "views/data.js",
    "/console/views/faults.js": "views/faults.js",
    "/console/views/laboratory.js": "views/laboratory.js",
    "/console/views/member.js": "views/member.js",
    "/console/views/rumors.js": "views/rumors.js",
    "/console/views/traffic.js": "views/traffic.js",
    "/console/views/unknown.js": "views/unknown.js",
    "/console/words.js": "words.js",
];

/// Serves the page.
pub(super) fn router() -> Router<AppState> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        router.route(asset.path, get(move |request: Request| std::future::ready(asset.answer(&request))))
    })
}

/// Whether what lies there is part of the page.
pub(super) fn is_page(path: &str) -> bool {
    ASSETS.iter().any(|asset| asset.path == path)
}

impl Asset {
    fn answer(&self, request: &Request) -> Response {
        let tag = self.tag();
        let headers = [
            (CONTENT_TYPE, self.content_type()),
            // Asked for again each time, and sent again only when the agent is another one.
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (ETAG, tag.clone()),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (OPENER_POLICY, HeaderValue::from_static("same-origin")),
            (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
        ];
        if request.headers().get(IF_NONE_MATCH) == Some(&tag) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, self.content).into_response()
    }

    fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.path.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            Some(_) | None => "text/html; charset=utf-8",
        })
    }

    /// FNV-1a: another one for another content, and the same in every build.
    fn tag(&self) -> HeaderValue {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let hash = self.content.bytes().fold(0xcbf2_9ce4_8422_2325, step);
        HeaderValue::from_str(&format!("\"{hash:016x}\"")).expect("hex digits are visible characters")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    /// What the page may weigh, all files together.
    const PAGE_BYTES_MAX: usize = 300 * 1024;

    fn files_below(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
    }

    fn scripts() -> impl Iterator<Item = &'static Asset> {
        ASSETS.iter().filter(|asset| asset.content_type() == "text/javascript; charset=utf-8")
    }

    #[test]
    fn every_file_of_the_console_is_served() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
        let contents: BTreeSet<String> =
            files_below(&root).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        let served: BTreeSet<String> = ASSETS.iter().map(|asset| asset.content.to_owned()).collect();
        assert_eq!(contents.len(), files_below(&root).len(), "no two files are the same");
        assert!(contents == served, "the list of assets names all files in {}", root.display());
    }

    #[test]
    fn the_page_stays_light() {
        let weight: usize = ASSETS.iter().map(|asset| asset.content.len()).sum();
        assert!(weight <= PAGE_BYTES_MAX, "{weight} bytes");
    }

    #[test]
    fn scripts_import_only_what_is_served() {
        let mut imports = 0;
        for asset in scripts() {
            let directory = asset.path.rsplit_once('/').unwrap().0;
            let lines = asset.content.lines().filter(|line| line.starts_with("import "));
            for (_, rest) in lines.filter_map(|line| line.split_once(" from '")) {
                let named = rest.split_once('\'').unwrap().0;
                let path = match named.strip_prefix("../") {
                    Some(above) => format!("{}/{above}", directory.rsplit_once('/').unwrap().0),
                    None => format!("{directory}/{}", named.strip_prefix("./").unwrap()),
                };
                assert!(is_page(&path), "{} imports {path}", asset.path);
                imports += 1;
            }
        }
        assert!(imports > ASSETS.len(), "imports were found at all: {imports}");
    }

    #[test]
    fn no_text_becomes_markup_and_no_markup_a_script() {
        for asset in scripts() {
            for way in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"]
            {
                assert!(!asset.content.contains(way), "{} uses {way}", asset.path);
            }
        }
        let page = ASSETS[0].content;
        assert_eq!(page.matches("<script").count(), 1);
        assert!(page.contains("<script type=\"module\" src=\"/console/main.js\"></script>"));
        assert!(
            !page.contains("<style") && !page.contains("style=") && !page.contains(" on"),
            "the policy refuses these"
        );
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        for asset in ASSETS {
            let names = asset.content.replace("http://www.w3.org/", "");
            assert!(!names.contains("://"), "{} names another host", asset.path);
        }
    }
}
