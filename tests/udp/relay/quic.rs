//! quinn, with a client that changes its port.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use quinn::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, ServerConfig,
    TokioRuntime,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::{net::UdpSocket, time::timeout};
use tower_lb::{
    Balancer, discover, endpoint,
    strategy::Maglev,
    udp::{ByServerId, Flow, QuicLb, SERVER_ID_LABEL, ServerId, UdpRelay, UntilFlowEnd, targets},
};

use crate::peers::SOON;

/// Issues connection ids that name the server.
struct NamesServer {
    layout: QuicLb,
    server_id: ServerId,
    next: u32,
}

impl ConnectionIdGenerator for NamesServer {
    fn generate_cid(&mut self) -> ConnectionId {
        self.next += 1;
        ConnectionId::new(
            &self.layout.connection_id(self.server_id, &self.next.to_be_bytes()).unwrap(),
        )
    }

    fn cid_len(&self) -> usize {
        self.layout.connection_id(self.server_id, &[0; 4]).unwrap().len()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Starts a server that replies to each stream with its id.
fn server(layout: QuicLb, server_id: ServerId, config: ServerConfig) -> SocketAddr {
    let mut endpoint_config = EndpointConfig::default();
    endpoint_config.cid_generator(move || {
        Box::new(NamesServer { layout, server_id, next: 0 }) as Box<dyn ConnectionIdGenerator>
    });
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let runtime = Arc::new(TokioRuntime);
    let endpoint = Endpoint::new(endpoint_config, Some(config), socket, runtime).unwrap();
    let address = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let Ok(connection) = incoming.await else { return };
                while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                    let _ = receive.read_to_end(100).await;
                    let _ = send.write_all(server_id.to_string().as_bytes()).await;
                    let _ = send.finish();
                }
            });
        }
    });
    address
}

async fn ask(connection: &quinn::Connection) -> Option<String> {
    timeout(SOON, async {
        let (mut send, mut receive) = connection.open_bi().await.ok()?;
        send.write_all(b"who").await.ok()?;
        send.finish().ok()?;
        String::from_utf8(receive.read_to_end(100).await.ok()?).ok()
    })
    .await
    .ok()?
}

#[tokio::test]
async fn a_connection_survives_a_new_port_of_its_client() {
    let certified = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client_config = ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();

    let layout = QuicLb::new(2, 8).unwrap();
    let servers = (1..=4_u64).map(|number| {
        let server_id = ServerId::new(&number.to_be_bytes()).unwrap();
        let address = server(layout, server_id, config.clone());
        let endpoint = endpoint::Endpoint::new(address);
        (address, endpoint.with_metadata(SERVER_ID_LABEL, format!("0x{server_id}")))
    });
    let strategy = ByServerId::new(Maglev::new(|flow: &Flow| Some(flow.hash())));
    let balancer = Balancer::builder().track(UntilFlowEnd);
    let balancer = balancer.spawn(strategy, targets(discover::list(servers))).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let relay = UdpRelay::builder().max_flows(1000).quic(layout);
    let relay = relay.build(socket, balancer.clone()).unwrap();
    let (address, handle) = (relay.local_address(), relay.handle());
    tokio::spawn(relay.serve(std::future::pending()));

    let mut seen = Vec::new();
    for _ in 0..8 {
        let mut client = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        client.set_default_client_config(client_config.clone());
        let connecting = client.connect(address, "shop.example").unwrap();
        let connection = timeout(SOON, connecting).await.unwrap().unwrap();
        let first = ask(&connection).await.unwrap();
        for _ in 0..5 {
            // As a NAT that forgets its binding does, or a phone that changes its network.
            client.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            assert_eq!(ask(&connection).await.as_ref(), Some(&first));
        }
        // Another connection from the same port.
        let another = client.connect(address, "shop.example").unwrap();
        let another = timeout(SOON, another).await.unwrap().unwrap();
        assert!(ask(&another).await.is_some());
        assert_eq!(ask(&connection).await.as_ref(), Some(&first));
        seen.push(first);
    }
    seen.sort();
    seen.dedup();
    assert!(seen.len() > 1, "connections are spread");
    let status = handle.status();
    // A new port may be one that another client has had: its flow is shared, or stands beside it.
    assert!((40..=56).contains(&status.flows_created), "{status:?}");
    assert_eq!(status.dropped.total(), 0, "{status:?}");
}
