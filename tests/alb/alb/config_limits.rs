//! The limits of a listener's connections, from a configuration.

use std::{future::pending, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tower_lb::alb::{LoadBalancer, config::Config};

/// Serves a fixed response with these limits.
fn serve(limits: &str) -> SocketAddr {
    let toml = format!(
        "[bindings.listen]\n8080 = [\"127.0.0.1:0\"]\n[[listeners]]\nport = 8080\n\
         default_action = {{ fixed_response = {{ status = 200, body = \"served\" }} }}\n{limits}"
    );
    let config = Config::from_toml(&toml).unwrap().check().unwrap();
    let server = LoadBalancer::builder(config).build().unwrap().bind().unwrap();
    let address = server.local_addresses()[0].1;
    tokio::spawn(server.serve(pending(), Duration::from_secs(1)));
    address
}

/// Opens a connection, and returns it if a request on it is answered.
async fn served(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    let exchange = async {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await?;
        while !answer.ends_with(b"served") && stream.read_buf(&mut answer).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    let _ = timeout(Duration::from_secs(2), exchange).await;
    answer.ends_with(b"served").then_some(stream)
}

#[tokio::test]
async fn connections_are_limited() {
    for (limits, allowed) in [
        ("", 3),
        ("limits = { connections = 2 }", 2),
        ("limits = { connections_per_address = 1 }", 1),
        ("limits = { connections = 3, connections_per_address = 2 }", 2),
    ] {
        let address = serve(limits);
        let mut open = Vec::new();
        for _ in 0..3 {
            open.extend(served(address).await);
        }
        assert_eq!(open.len(), allowed, "{limits}");
    }
}
