use std::error::Error as StdError;

use http::{HeaderMap, Request, Response, response::Parts};

use super::{
    body::{EndpointBody, TargetBody},
    protocol::ProtocolVersion,
};
use crate::{
    http::{ClassifyHttp, GrpcStatus, HttpStatus, UntilBodyEnd, sticky::StickyTrack},
    outcome::{Attempt, Attempts, Carry, Follow, Outcome, Track},
};

/// What a response says about its target: by its status, or by that of gRPC.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum ResponseClass {
    #[default]
    Http,
    Grpc,
}

impl ResponseClass {
    pub(super) fn of(version: ProtocolVersion) -> Self {
        match version {
            ProtocolVersion::Http1 | ProtocolVersion::Http2 => Self::Http,
            ProtocolVersion::Grpc => Self::Grpc,
        }
    }
}

impl ClassifyHttp for ResponseClass {
    fn head(&self, head: &Parts) -> Option<Outcome> {
        match self {
            Self::Http => HttpStatus.head(head),
            Self::Grpc => GrpcStatus.head(head),
        }
    }

    fn end(&self, head: Option<Outcome>, trailers: Option<&HeaderMap>) -> Outcome {
        match self {
            Self::Http => HttpStatus.end(head, trailers),
            Self::Grpc => GrpcStatus.end(head, trailers),
        }
    }
}

/// The tracker of a group: with session cookies, or without.
#[derive(Clone, Debug)]
pub(super) enum GroupTracker {
    Plain(UntilBodyEnd<ResponseClass>),
    Sticky(StickyTrack<UntilBodyEnd<ResponseClass>>),
}

impl Track<Response<EndpointBody>> for GroupTracker {
    type Response = Response<TargetBody>;

    fn response(&self, response: Response<EndpointBody>, attempt: Attempt) -> Self::Response {
        let response = match self {
            Self::Plain(tracker) => tracker.response(response, attempt),
            Self::Sticky(tracker) => tracker.response(response, attempt),
        };
        response.map(TargetBody::new)
    }

    fn error(&self, error: &(dyn StdError + 'static), attempt: Attempt) {
        match self {
            Self::Plain(tracker) => {
                Track::<Response<EndpointBody>>::error(tracker, error, attempt);
            }
            Self::Sticky(tracker) => {
                Track::<Response<EndpointBody>>::error(tracker, error, attempt);
            }
        }
    }
}

impl<B> Follow<Request<B>> for GroupTracker {
    #[inline]
    fn attempts<'r>(&self, request: &'r Request<B>) -> Option<&'r Attempts> {
        request.attempts()
    }
}
