//! Parts of a load balancer that are made of a configuration alone.
//!
//! The check makes them as the load balancer does, so that both reject the same.

use http::{HeaderName, HeaderValue, StatusCode};

use crate::{
    ConfigError,
    alb::config,
    listener::tls::{TlsField, TlsFieldsLayer},
    rules::{Condition, FixedResponse, Pattern, Redirect},
};

/// Makes a redirect.
pub(in crate::alb) fn redirect(redirect: &config::Redirect) -> Result<Redirect, ConfigError> {
    let mut builder = Redirect::builder(status(redirect.status)?);
    if let Some(protocol) = &redirect.protocol {
        builder = builder.protocol(protocol);
    }
    if let Some(host) = &redirect.host {
        builder = builder.host(host);
    }
    if let Some(port) = &redirect.port {
        builder = builder.port(port);
    }
    if let Some(path) = &redirect.path {
        builder = builder.path(path);
    }
    if let Some(query) = &redirect.query {
        builder = builder.query(query);
    }
    builder.build()
}

/// Makes a fixed response.
pub(in crate::alb) fn fixed_response(
    fixed: &config::FixedResponse,
) -> Result<FixedResponse, ConfigError> {
    let mut builder = FixedResponse::builder(status(fixed.status)?);
    if let Some(content_type) = &fixed.content_type {
        builder = builder.content_type(content_type);
    }
    if let Some(body) = &fixed.body {
        builder = builder.body(body.clone());
    }
    builder.build()
}

fn status(status: u16) -> Result<StatusCode, ConfigError> {
    StatusCode::from_u16(status)
        .map_err(|_| ConfigError::new("status", "a status of HTTP").with_value(status))
}

/// Makes a condition.
pub(in crate::alb) fn condition(condition: &config::Condition) -> Condition {
    match condition {
        config::Condition::Host(values) => Condition::host(patterns(values)),
        config::Condition::Path(values) => Condition::path(patterns(values)),
        config::Condition::Header(header) => {
            Condition::header(header.name.clone(), patterns(&header.value))
        }
        config::Condition::Query(values) => {
            Condition::any_of(values.iter().map(|pattern| match &pattern.key {
                Some(key) => Condition::query([(key.as_str(), pattern.value.as_str())]),
                None => Condition::query([pattern.value.as_str()]),
            }))
        }
        config::Condition::Method(methods) => Condition::method(methods.iter().cloned()),
        config::Condition::SourceIp(networks) => Condition::source(networks.iter().cloned()),
    }
}

fn patterns(patterns: &config::Patterns) -> impl Iterator<Item = Pattern> + use<> {
    let values = patterns.values.iter().cloned().map(Pattern::from);
    let regexes = patterns.regex.iter().cloned().map(Pattern::regex);
    values.chain(regexes).collect::<Vec<_>>().into_iter()
}

/// Makes the layer that tells targets about TLS, with the names of a listener's attributes.
pub(in crate::alb) fn tls_fields(
    attributes: &config::ListenerAttributes,
    has_version: bool,
) -> Result<TlsFieldsLayer, ConfigError> {
    let mut builder = TlsFieldsLayer::builder().version_and_cipher_suite(has_version);
    for (name, renamed) in &attributes.request_headers {
        let field = TlsField::all().into_iter().find(|field| field.default_name() == name.as_str());
        let unknown = || ConfigError::new("request_headers", "a field of TLS").with_value(name);
        let renamed = field_name("request_headers", renamed)?;
        builder = builder.rename(field.ok_or_else(unknown)?, renamed);
    }
    builder.build()
}

pub(in crate::alb) fn field_name(
    setting: &'static str,
    name: &str,
) -> Result<HeaderName, ConfigError> {
    name.parse().map_err(|_| ConfigError::new(setting, "the name of a field").with_value(name))
}

pub(in crate::alb) fn field_value(value: &str) -> Result<HeaderValue, ConfigError> {
    HeaderValue::from_str(value)
        .map_err(|_| ConfigError::new("response_headers", "the value of a field").with_value(value))
}
