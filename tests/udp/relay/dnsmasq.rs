//! DNS servers and clients that others have written.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    time::{Instant, sleep},
};

/// A DNS server that knows one name.
pub(crate) struct Dnsmasq {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Dnsmasq {
    /// Starts a server that answers with `answer`; `None` if dnsmasq or dig is not installed.
    pub(crate) async fn start(answer: &str) -> Option<Self> {
        let exists = |tool: &str| {
            let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
            found.is_ok_and(|output| output.status.success())
        };
        if !["dnsmasq", "dig"].into_iter().all(exists) {
            println!("skipped: dnsmasq or dig is not installed");
            return None;
        }
        // At an address that no client has: no other socket takes the port in between.
        let free = UdpSocket::bind("127.0.1.2:0").await.unwrap().local_addr().unwrap();
        let child = Command::new("dnsmasq")
            .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"])
            .args(["--bind-interfaces", "--listen-address=127.0.1.2", "--pid-file"])
            .arg(format!("--port={}", free.port()))
            .arg(format!("--address=/shop.example/{answer}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, address: free };
        let end = Instant::now() + Duration::from_secs(5);
        while dig(server.address, "shop.example").await.as_deref() != Some(answer) {
            assert!(Instant::now() < end, "dnsmasq does not answer");
            sleep(Duration::from_millis(20)).await;
        }
        Some(server)
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks for an address; `None` if there is no answer.
pub(crate) async fn dig(server: SocketAddr, name: &str) -> Option<String> {
    let output = tokio::process::Command::new("dig")
        .args(["+short", "+tries=1", "+time=2", "-p", &server.port().to_string()])
        .args([&format!("@{}", server.ip()), name])
        .output()
        .await
        .unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| answer.trim().to_owned())
}
