//! HTTP in front of functions: requests as events, and responses of functions as HTTP responses.

mod alb_event;
mod event_format;
pub(super) mod event_json;
mod failure;
mod http_body;
mod http_function;
mod json_members;
mod json_response;
mod json_string;
mod request_fields;
mod url_event;

pub use self::{
    alb_event::AlbEvent,
    event_format::{EventFormat, InvalidResponse, UnsupportedRequest},
    http_body::HttpBody,
    http_function::{FunctionResponse, HttpFunction, HttpFunctionFuture},
    url_event::UrlEvent,
};
