//! What a program needs to export the spans of tower-lb by OpenTelemetry.

use http::HeaderMap;
use opentelemetry::{propagation::TextMapPropagator, trace::TracerProvider};
use opentelemetry_http::HeaderInjector;
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Span, Subscriber, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt};

/// Returns a subscriber that exports spans by `provider`. A program adds its other layers to it,
/// such as one that prints events.
pub fn subscriber(provider: &SdkTracerProvider) -> impl Subscriber + Send + Sync + use<> {
    // Without this filter, the spans of other crates are exported too.
    let filter = Targets::new().with_target("tower_lb::trace", LevelFilter::INFO);
    let export = tracing_opentelemetry::layer().with_tracer(provider.tracer("tower-lb"));
    tracing_subscriber::registry().with(export.with_filter(filter))
}

/// Sets `traceparent` and `tracestate` to those of an attempt's span, for
/// `TraceAttempts::propagate`. It replaces the fields that a client has sent.
pub fn propagate(span: &Span, headers: &mut HeaderMap) {
    let context = span.context();
    TraceContextPropagator::new().inject_context(&context, &mut HeaderInjector(headers));
}
