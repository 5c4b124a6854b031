mod alb_event;
mod answer;
mod answer_json;
mod event_format;
mod event_json;
mod failure;
mod http;
mod http_body;
mod json_string;
mod malformed;
mod response_prelude;
mod url_event;
pub(super) mod utc;
pub(super) mod uuid;

pub use self::{
    alb_event::AlbEvent,
    event_format::EventFormat,
    http::{Http, HttpAnswer, HttpFuture},
    http_body::HttpBody,
    malformed::{MalformedAnswer, Unspeakable},
    url_event::UrlEvent,
};
