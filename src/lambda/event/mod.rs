mod alb_event;
mod error;
mod event_format;
mod event_json;
mod failure;
mod http_body;
mod http_function;
mod json_response;
mod json_response_members;
mod json_string;
mod response_prelude;
mod url_event;
pub(super) mod utc;
pub(super) mod uuid;

pub use self::{
    alb_event::AlbEvent,
    error::{InvalidResponse, UnsupportedRequest},
    event_format::EventFormat,
    http_body::HttpBody,
    http_function::{FunctionResponse, HttpFunction, HttpFunctionFuture},
    url_event::UrlEvent,
};
