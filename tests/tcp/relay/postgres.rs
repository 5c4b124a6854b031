//! PostgreSQL behind the load balancer: long connections, pools, and a server that restarts.

use std::{net::SocketAddr, process::Command, time::Duration};

use tower::Layer;
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    health::{HealthCheck, HealthExt},
    retry::{RetryFailures, RetryLayer},
    strategy::LeastLoaded,
    tcp::{RelayCheck, Relays},
};

use crate::{
    nlb::{loopback, serve, until},
    target::closed,
    tools::{Directory, await_port, is_installed, output},
};

struct Server<'a> {
    directory: &'a Directory,
    address: SocketAddr,
}

const BINARIES: &str = "/usr/lib/postgresql";

/// PostgreSQL does not run as root.
fn unprivileged(program: &str) -> Option<Command> {
    let version = std::fs::read_dir(BINARIES).ok()?.flatten().next()?.path();
    let program = version.join("bin").join(program);
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    Some(command)
}

impl<'a> Server<'a> {
    async fn start(directory: &'a Directory) -> Option<Self> {
        let mut chown = Command::new("chown");
        chown.arg("postgres").arg(directory.path());
        output(chown).await;
        let mut initdb = unprivileged("initdb")?;
        initdb.args(["-A", "trust", "-N", "-D"]).arg(directory.path().join("data"));
        if !output(initdb).await.contains("Success") {
            eprintln!("skipped: PostgreSQL cannot be set up here");
            return None;
        }
        let server = Self { directory, address: closed().await };
        server.restart().await;
        Some(server)
    }

    async fn restart(&self) {
        let options = format!(
            "-h 127.0.0.1 -p {} -c unix_socket_directories= -c fsync=off",
            self.address.port()
        );
        let mut start = unprivileged("pg_ctl").unwrap();
        start.args(["-w", "-o", &options, "-l"]).arg(self.directory.path().join("log"));
        start.arg("-D").arg(self.directory.path().join("data")).arg("start");
        output(start).await;
        await_port(self.address).await;
    }

    fn stop(&self) {
        if let Some(mut stop) = unprivileged("pg_ctl") {
            stop.args(["-m", "immediate", "-D"]).arg(self.directory.path().join("data"));
            let _ = stop.arg("stop").output();
        }
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_served_while_a_server_restarts() {
    if !is_installed("runuser", "--version") || unprivileged("initdb").is_none() {
        return;
    }
    let directories = [Directory::new("tcp-pg-1"), Directory::new("tcp-pg-2")];
    let Some(one) = Server::start(&directories[0]).await else { return };
    let Some(two) = Server::start(&directories[1]).await else { return };

    let relays = Relays::builder().build().unwrap();
    let check = HealthCheck::new(RelayCheck).interval(Duration::from_millis(200)).fall(1).rise(1);
    let endpoints = discover::addresses([one.address, two.address])
        .connect(relays.connector())
        .health_checked(check)
        .unwrap();
    let balancer = Builder::tcp().spawn(LeastLoaded::default(), endpoints).unwrap();
    let retry = RetryLayer::builder(RetryFailures::default()).attempts(3).build().unwrap();
    let nlb = serve(loopback(), &relays, retry.layer(balancer.clone()));
    let eligible = || balancer.status().endpoints.iter().filter(|one| one.is_eligible).count();
    until("both servers are healthy", || eligible() == 2).await;

    let script = directories[0].write("script.sql", "select 1;\n");
    let port = nlb.address.port().to_string();
    let bench = async |more: &[&str]| {
        let mut pgbench = unprivileged("pgbench").unwrap();
        pgbench.args(["-n", "-h", "127.0.0.1", "-p", &port, "-f"]).arg(&script).args(more);
        pgbench.arg("postgres");
        let told = output(pgbench).await;
        assert!(!told.contains("error:") && told.contains("tps = "), "{told}");
        told
    };
    // Long connections, spread over both.
    bench(&["-c", "8", "-T", "2"]).await;
    let served = |address: SocketAddr| {
        let status = balancer.status();
        let of = status.endpoints.iter().find(|one| *one.name == *address.to_string()).unwrap();
        of.outcomes.success
    };
    nlb.idle().await;
    assert!(served(one.address) >= 3 && served(two.address) >= 3, "{}", balancer.status());

    // A connection for each transaction, from the moment in which a server is gone.
    two.stop();
    let before = served(two.address);
    let told = bench(&["-C", "-c", "4", "-t", "50"]).await;
    assert!(told.contains("number of transactions actually processed: 200/200"), "{told}");
    nlb.idle().await;
    assert_eq!(served(two.address), before);

    two.restart().await;
    until("both servers are healthy again", || eligible() == 2).await;
    // Its failures are charged to it for some seconds.
    for _ in 0..60 {
        bench(&["-C", "-c", "4", "-t", "50"]).await;
        nlb.idle().await;
        if served(two.address) > before {
            return;
        }
    }
    panic!("the server that is back is not used: {}", balancer.status());
}
