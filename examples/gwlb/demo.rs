//! A client asks three hosts through two inspectors, of which one stops.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{net::UdpSocket, task::JoinHandle, time::timeout};
use tower_lb::{
    Balancer, BoxError, discover,
    geneve::{
        self, ApplianceFailover, ApplianceTracker, Gateway, GatewayMonitor, Inspector, MemoryEnd,
        Packet, PacketEnd,
    },
    strategy::RoundRobin,
};

use super::{
    internet::{Internet, datagram},
    options::Demo,
    serve::firewall,
    tun,
};

/// Where the client is. The network is one for tests of network devices (RFC 2544).
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const PREFIX: u8 = 24;
/// The hosts' service, which returns what it gets.
const ECHO: u16 = 7;
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) async fn run(options: Demo) -> Result<(), BoxError> {
    let device = if options.in_memory {
        Err("--in-memory".into())
    } else {
        tun::create("gwlb0", Some((CLIENT, PREFIX)))
    };
    match device {
        Ok(end) => {
            println!("the client is this machine, behind the tun device gwlb0");
            demonstrate(end, &mut Client::Kernel, options.drop).await
        }
        Err(reason) => {
            println!("the client is in memory, and no tun device is created: {reason}");
            let (end, network) = geneve::memory_ends(64);
            demonstrate(end, &mut Client::Memory(network, 40_000), options.drop).await
        }
    }
}

async fn demonstrate<E>(end: E, client: &mut Client, dropped: IpAddr) -> Result<(), BoxError>
where
    E: PacketEnd + Send + Unpin + 'static,
{
    let (handle, endpoints) = discover::channel();
    let mut inspectors = Vec::new();
    for name in ["first", "second"] {
        let (address, inspector) = start_inspector(dropped).await?;
        handle.insert(name, address)?;
        inspectors.push(inspector);
    }
    let balancer = Balancer::builder()
        .track(ApplianceTracker)
        .spawn(RoundRobin::new(), geneve::appliances(endpoints))?;
    let gateway = Gateway::builder().failover(ApplianceFailover::Rebalance).build(
        Internet::new(CLIENT, end),
        UdpSocket::bind("127.0.0.1:0").await?,
        balancer.clone(),
    )?;
    let monitor = gateway.monitor();
    let gateway = tokio::spawn(gateway);

    let hosts = [[198, 18, 0, 10], [198, 18, 0, 20], [198, 18, 0, 66]].map(Ipv4Addr::from);
    println!("\nboth inspectors work, and drop what is from or to {dropped}");
    for host in hosts {
        client.ask(host).await?;
    }
    show(&monitor, &balancer.status().to_string());

    println!("\nthe first inspector stops, and is removed");
    inspectors[0].abort();
    handle.remove("first")?;
    tokio::task::yield_now().await;
    for host in hosts {
        client.ask(host).await?;
    }
    show(&monitor, &balancer.status().to_string());
    gateway.abort();
    Ok(())
}

async fn start_inspector(dropped: IpAddr) -> Result<(SocketAddr, JoinHandle<()>), BoxError> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let inspector = Inspector::builder().build(socket, firewall(Some(dropped)));
    let task = async {
        let Err(error) = inspector.await;
        eprintln!("an inspector has ended: {error}");
    };
    Ok((address, tokio::spawn(task)))
}

fn show(monitor: &GatewayMonitor, balancer: &str) {
    println!("gateway: {}\n{balancer}", monitor.status());
}

/// What sends packets to the hosts.
enum Client {
    /// Programs of this machine: the kernel routes their packets to the tun device.
    Kernel,
    /// Packets that are built here. The number is the next source port.
    Memory(MemoryEnd, u16),
}

impl Client {
    /// Sends a datagram to a host, and says whether it came back.
    async fn ask(&mut self, host: Ipv4Addr) -> Result<(), BoxError> {
        let question = format!("hello {host}");
        let answer = match self {
            Self::Kernel => {
                let socket = UdpSocket::bind((CLIENT, 0)).await?;
                socket.connect((host, ECHO)).await?;
                socket.send(question.as_bytes()).await?;
                let mut answer = [0; 64];
                let received = timeout(PATIENCE, socket.recv(&mut answer)).await;
                received.ok().transpose()?.map(|length| answer[..length].to_vec())
            }
            Self::Memory(network, port) => {
                *port += 1;
                network.send(datagram((CLIENT, *port), (host, ECHO), question.as_bytes()));
                let received = timeout(PATIENCE, network.recv()).await.ok().flatten();
                let answer = received.map(Packet::parse).transpose()?;
                answer.map(|packet| packet.payload().to_vec())
            }
        };
        match answer {
            Some(answer) if answer == question.as_bytes() => println!("  client: {host} answers"),
            Some(_) => println!("  client: {host} answers something else"),
            None => println!("  client: {host} does not answer within {PATIENCE:?}"),
        }
        Ok(())
    }
}
