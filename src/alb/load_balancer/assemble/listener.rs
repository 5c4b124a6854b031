use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use tower_layer::Layer;

use super::rules::RuleSources;
use crate::{
    ConfigError,
    alb::{
        config::{self, Checked, Problem, parts},
        edge::{
            ClientAddress, ErrorResponses, ErrorResponsesLayer, ListenerEdge, ListenerEdgeLayer,
            ListenerSettings, RequestEdge, RequestEdgeLayer, RequestFilter, RequestSettings,
            ResponseCounters,
        },
        load_balancer::{assemble::GroupService, login_router::LoginRouter, resources::Resources},
    },
    http::{ForwardedFields, Proxy, ProxyLayer, Tunnels},
    listener::{ListenerBuilder, tls::TlsFields},
};

/// What serves the requests of a listener, from the outside in.
pub(in crate::alb::load_balancer) type NodeService =
    ListenerEdge<Proxy<ErrorResponses<RequestEdge<TlsFields<NodeRules>>>>>;

type NodeRules = LoginRouter<GroupService>;

/// The time by which the listener's limit exceeds that of the targets, so that a client gets status
/// 504 before its connection ends.
const IDLE_MARGIN: Duration = Duration::from_secs(5);

/// Gives a listener the attributes of the load balancer.
pub(in crate::alb::load_balancer) fn listener_builder(
    builder: ListenerBuilder,
    listener: &config::Listener,
    config: &Checked,
) -> ListenerBuilder {
    let attributes = &config.load_balancer.attributes;
    let idle: Duration = attributes.idle_timeout.into();
    let config::ListenerLimits { connections, connections_per_address } = listener.limits;
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let builder = match connections {
        Some(number) => builder.max_connections(count(number)),
        None => builder,
    };
    let builder = match connections_per_address {
        Some(number) => builder.max_connections_per_address(count(number)),
        None => builder,
    };
    builder
        .name(listener.port.to_string())
        .http2(attributes.http2)
        .idle_timeout(idle.saturating_add(IDLE_MARGIN))
        .tunnel_idle(idle)
        .head_timeout(idle)
        .keep_alive(idle)
        .max_age(attributes.client_keep_alive.into())
        // What is longer gets the load balancer's own response.
        .max_head_bytes(96 << 10)
}

/// Puts the rules of a listener behind what the load balancer does with each request.
pub(in crate::alb::load_balancer) fn node_service(
    listener: &config::Listener,
    sources: &RuleSources<'_, GroupService>,
    rules: NodeRules,
    counters: &Arc<ResponseCounters>,
    tunnels: &Tunnels,
    problems: &mut Vec<Problem>,
) -> Option<NodeService> {
    let made = assemble(listener, sources, rules, counters, tunnels);
    let path = format!("listeners.{}.attributes", listener.port);
    made.map_err(|error| problems.push(Problem::from_config_error(&path, &error))).ok()
}

fn assemble(
    listener: &config::Listener,
    sources: &RuleSources<'_, GroupService>,
    rules: NodeRules,
    counters: &Arc<ResponseCounters>,
    tunnels: &Tunnels,
) -> Result<NodeService, ConfigError> {
    let attributes = &sources.config.load_balancer.attributes;
    let proxy = ProxyLayer::builder()
        // The edge of the request writes these fields as an Application Load Balancer does.
        .forwarded_fields(ForwardedFields::Keep)
        .via(None)
        .body_idle(attributes.idle_timeout.into())
        .upgrades(tunnels.clone())
        .build()?;
    let service = (
        ListenerEdgeLayer::new(listener_settings(listener, counters)?),
        proxy,
        ErrorResponsesLayer,
        RequestEdgeLayer::new(request_settings(attributes, sources.resources)),
        parts::tls_fields(&listener.attributes, attributes.tls_headers)?,
    );
    Ok(service.layer(rules))
}

fn listener_settings(
    listener: &config::Listener,
    responses: &Arc<ResponseCounters>,
) -> Result<ListenerSettings, ConfigError> {
    let attributes = &listener.attributes;
    let mut fields = Vec::with_capacity(attributes.response_headers.len());
    for (name, value) in &attributes.response_headers {
        fields.push((parts::field_name("response_headers", name)?, parts::field_value(value)?));
    }
    let server = attributes.server_header.then(|| HeaderValue::from_static("tower-lb"));
    let (port, responses) = (Some(listener.port), Arc::clone(responses));
    Ok(ListenerSettings { port, server, fields, responses })
}

fn request_settings(
    attributes: &config::LoadBalancerAttributes,
    resources: &Resources,
) -> RequestSettings {
    let client_address = match attributes.x_forwarded_for {
        config::ForwardedForMode::Append if attributes.x_forwarded_for_port => {
            ClientAddress::AppendWithPort
        }
        config::ForwardedForMode::Append => ClientAddress::Append,
        config::ForwardedForMode::Preserve => ClientAddress::Preserve,
        config::ForwardedForMode::Remove => ClientAddress::Remove,
    };
    let filter = resources.filter.clone();
    RequestSettings {
        client_address,
        preserve_host: attributes.preserve_host_header,
        drop_invalid_fields: attributes.drop_invalid_header_fields,
        filter: filter.map(|filter| RequestFilter::new(filter, attributes.waf_fail_open)),
    }
}
