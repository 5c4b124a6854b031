use http::{HeaderValue, header};
use xxhash_rust::xxh3::xxh3_64;

/// A file of the page.
pub(super) struct Asset {
    content: &'static str,
    content_type: &'static str,
}

const PAGE: Asset =
    Asset { content: include_str!("assets/index.html"), content_type: "text/html; charset=utf-8" };
const SCRIPT: Asset = Asset {
    content: include_str!("assets/app.js"),
    content_type: "text/javascript; charset=utf-8",
};
const STYLE: Asset =
    Asset { content: include_str!("assets/style.css"), content_type: "text/css; charset=utf-8" };

impl Asset {
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "" | "/" => Some(PAGE),
            "/app.js" => Some(SCRIPT),
            "/style.css" => Some(STYLE),
            _ => None,
        }
    }

    pub(super) fn content(&self) -> &'static str {
        self.content
    }

    pub(super) fn content_type(&self) -> &'static str {
        self.content_type
    }

    pub(super) fn etag(&self) -> String {
        format!("\"{:016x}\"", xxh3_64(self.content.as_bytes()))
    }

    /// Tells whether the client has this version, by its `If-None-Match`.
    pub(super) fn is_known(&self, headers: &http::HeaderMap) -> bool {
        let etag = self.etag();
        let lists = headers.get_all(header::IF_NONE_MATCH).iter().map(HeaderValue::as_bytes);
        lists.flat_map(|list| list.split(|&byte| byte == b',')).any(|tag| {
            let tag = tag.trim_ascii();
            tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes()
        })
    }
}
