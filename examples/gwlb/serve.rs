//! A gateway and an appliance, until SIGTERM.

use std::{
    convert::Infallible,
    future::pending,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tower::{Service, service_fn};
use tower_lb::{
    Balancer, BoxError, discover,
    geneve::{self, ApplianceFailover, ApplianceTracker, Gateway, Inspector, NewFlow, Packet},
    health::{Check, HealthCheck, HealthExt, InitialState},
    strategy::{Maglev, Panic},
};

use super::{
    options::{self, CheckOptions},
    tun,
};

/// Flows go to appliances by hash. While none is healthy, they go to any.
pub(crate) async fn gateway(options: options::Gateway) -> Result<(), BoxError> {
    let end = tun::create(&options.tun, None).map_err(|error| format!("--tun: {error}"))?;
    let socket = UdpSocket::bind(options.listen).await?;
    let endpoints = geneve::appliances(
        discover::addresses(options.appliances.clone()).health_checked(check(&options))?,
    );
    // The rule holds only when no appliance is healthy.
    let strategy = Panic::new(Maglev::new(NewFlow::hash)).below_share(0.0)?.below_count(1)?;
    let balancer = Balancer::builder().track(ApplianceTracker).spawn(strategy, endpoints)?;
    let failover = if options.rebalance {
        ApplianceFailover::Rebalance
    } else {
        ApplianceFailover::NoRebalance
    };
    let gateway = Gateway::builder()
        .failover(failover)
        .reset_on_idle(options.reset)
        .reset_on_unhealthy(options.reset && !options.rebalance)
        .build(end, socket, balancer.clone())?;
    let monitor = gateway.monitor();
    println!("packets of {} go through {} appliances", options.tun, options.appliances.len());
    tokio::select! {
        ended = gateway => ended?,
        stopped = stop() => stopped?,
    }
    println!("{}\n{}", monitor.status(), balancer.status());
    Ok(())
}

fn check(options: &options::Gateway) -> HealthCheck<impl Check<SocketAddr> + use<>> {
    let port = options.check.as_ref().map(|check| check.port);
    let check = HealthCheck::new(move |appliance: SocketAddr| async move {
        let Some(port) = port else { return Ok(()) };
        TcpStream::connect((appliance.ip(), port)).await.map(drop)
    });
    let check = check.fall(2).initial(InitialState::Up);
    match &options.check {
        Some(CheckOptions { interval, .. }) => check.interval(*interval).idle_interval(*interval),
        None => check,
    }
}

/// An appliance that drops the packets from and to one host.
pub(crate) async fn inspector(options: options::Inspect) -> Result<(), BoxError> {
    let socket = UdpSocket::bind(options.listen).await?;
    let address = socket.local_addr()?;
    let inspector = Inspector::builder().build(socket, firewall(options.drop));
    let monitor = inspector.monitor();
    println!("inspecting on {address}");
    tokio::select! {
        ended = inspector => match ended? {},
        failed = checks(address.ip(), options.check_port) => failed?,
        stopped = stop() => stopped?,
    }
    println!("{}", monitor.status());
    Ok(())
}

/// The whole appliance: it lets a packet pass or drops it.
pub(crate) fn firewall(
    dropped: Option<IpAddr>,
) -> impl Service<Packet, Response = Option<Packet>, Error = Infallible, Future: Send> + Clone {
    service_fn(move |packet: Packet| async move {
        let is_dropped = [packet.source(), packet.destination()].map(Some).contains(&dropped);
        if is_dropped {
            println!("  inspector: dropped {packet}");
        }
        Ok((!is_dropped).then_some(packet))
    })
}

/// Accepts the connections of health checks.
async fn checks(address: IpAddr, port: Option<u16>) -> Result<(), BoxError> {
    let Some(port) = port else { return pending().await };
    let listener = TcpListener::bind((address, port)).await?;
    loop {
        if listener.accept().await.is_err() {
            // Such as a lack of descriptors, which passes.
            sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn stop() -> Result<(), BoxError> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
