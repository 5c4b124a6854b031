mod alb_event;
mod answer;
mod answer_json;
mod error;
mod event_format;
mod event_json;
mod failure;
mod http;
mod http_body;
mod json_string;
mod response_prelude;
mod url_event;
pub(super) mod utc;
pub(super) mod uuid;

pub use self::{
    alb_event::AlbEvent,
    error::{InvalidResponse, UnsupportedRequest},
    event_format::EventFormat,
    http::{Http, HttpFuture, HttpResponse},
    http_body::HttpBody,
    url_event::UrlEvent,
};
