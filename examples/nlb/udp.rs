//! Flows of UDP.

use tokio::{net::UdpSocket, sync::oneshot};
use tower_lb::{
    Balancer, BoxError, discover,
    health::{HealthExt, OutlierDetection},
    strategy::Maglev,
    udp::{self, Flow, UdpRelay, UdpTarget, UntilFlowEnd},
};

use super::{
    health,
    options::{Options, UdpOptions},
    stop,
};

pub(crate) async fn run(options: &Options, of_udp: &UdpOptions) -> Result<(), BoxError> {
    let socket = UdpSocket::bind(options.listen)
        .await
        .map_err(|error| format!("--listen {}: {error}", options.listen))?;
    println!("listening on {}", socket.local_addr()?);

    let balancer = balancer(options, of_udp)?;
    let relay = UdpRelay::builder()
        .idle_timeout(options.idle_timeout)
        .drain_timeout(options.drain)
        .build(socket, balancer.clone())?;

    let handle = relay.handle();
    let (stop, stopped) = oneshot::channel::<()>();
    let serve = relay.serve(async { drop(stopped.await) });
    let drained = stop::drain(serve, || drop(stop), options.drain).await?;
    if let Some(served) = drained {
        served?;
        stop::print_end(handle.status().flows_ended.stopped, "flows");
    }
    println!("{}\n{}", handle.status(), balancer.status());
    Ok(())
}

/// The key of a flow, which decides its target.
type Key = fn(&Flow) -> Option<u64>;

/// The targets: their health, and the choice between them.
fn balancer(
    options: &Options,
    of_udp: &UdpOptions,
) -> Result<Balancer<UdpTarget, Maglev<Key>, UntilFlowEnd>, BoxError> {
    let targets = discover::addresses(options.targets.clone())
        .health_checked(health::every(options.health_interval, of_udp.health.clone()))?
        // Targets that refuse datagrams (ICMP).
        .outlier_detected(OutlierDetection::new())?;
    let key: Key = match options.sticky_source {
        true => |flow| Some(flow.source_hash()),
        false => |flow| Some(flow.hash()),
    };
    let builder = Balancer::builder().track(UntilFlowEnd).name("targets");
    // Comes last: it tells flows what became of their target.
    Ok(builder.spawn(Maglev::new(key), udp::targets(targets))?)
}
