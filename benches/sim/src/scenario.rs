use crate::{
    retry::{Budget, Hedge},
    server::Discipline,
    work::Work,
};

/// Clients, servers, and the events of a run.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub clients: usize,
    /// The discipline and the speed of each server.
    pub servers: Vec<(Discipline, f64)>,
    /// The weight of each server that clients know; 1 for servers beyond the end.
    pub weights: Vec<u32>,
    pub work: Work,
    pub arrivals: Arrivals,
    pub environment: Environment,
    pub changes: Vec<Change>,
    /// Duration of the run in seconds.
    pub duration: f64,
    /// Seconds at the start that are not counted.
    pub warm_up: f64,
    /// Timeout of an attempt in seconds.
    pub timeout: f64,
    /// Whether a cancelled attempt is also cancelled at its server.
    pub cancellation: bool,
    /// The maximum number of attempts per request.
    pub max_tries: u32,
    /// The budget for retries.
    pub budget: Budget,
    pub hedge: Hedge,
}

/// The arrival process; rates are in requests per second.
#[derive(Clone, Copy, Debug)]
pub enum Arrivals {
    Poisson(f64),
    Fixed(f64),
    /// Poisson with the rate `peak` for `length` seconds in each `period`, otherwise with `rate`.
    Bursts {
        rate: f64,
        peak: f64,
        length: f64,
        period: f64,
    },
}

/// Random disturbances of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    Calm,
    /// Neighbours on the machine. A server has its allocation, or up to four times its allocation.
    /// The value is drawn again about every second. One of ten servers is contended nine tenths of
    /// the time, the others one tenth.
    Antagonists,
    /// Each server stalls for about 250 ms about every 10 s.
    Stalls,
}

/// A change of a server at a given second.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub at: f64,
    pub server: usize,
    pub what: Happens,
}

#[derive(Clone, Copy, Debug)]
pub enum Happens {
    Speed(f64),
    Fails(f64),
    Delay(f64),
    /// The server claims in its reports to be idle and fast.
    Claims,
    /// The server becomes a new endpoint that clients do not know. It still finishes the requests
    /// of the old endpoint.
    Replaced,
    /// All clients restart; `server` is ignored.
    ClientsRestart,
}

/// The default `warm_up`.
pub const WARM_UP: f64 = 10.0;

const SHARING_4: Discipline = Discipline::Sharing { cores: 4.0 };

/// Returns a scenario of a minute with Poisson arrivals at `load` times the servers' capacity.
fn scenario(
    name: &'static str,
    clients: usize,
    servers: Vec<(Discipline, f64)>,
    work: Work,
    load: f64,
) -> Scenario {
    let rate = load * capacity(&servers) / work.mean();
    Scenario {
        name,
        clients,
        servers,
        weights: Vec::new(),
        work,
        arrivals: Arrivals::Poisson(rate),
        environment: Environment::Calm,
        changes: Vec::new(),
        duration: 60.0,
        warm_up: WARM_UP,
        timeout: 5.0,
        cancellation: true,
        max_tries: 1,
        budget: Budget::None,
        hedge: Hedge::Never,
    }
}

fn capacity(servers: &[(Discipline, f64)]) -> f64 {
    let each = servers.iter().map(|(discipline, speed)| match discipline {
        Discipline::Sharing { cores } => cores * speed,
        Discipline::Fifo { workers } => workers * speed,
    });
    each.sum()
}

/// Returns servers whose speeds alternate between 1 and `odd`.
fn two_speeds(count: usize, discipline: Discipline, odd: f64) -> Vec<(Discipline, f64)> {
    (0..count).map(|n| (discipline, if n % 2 == 0 { 1.0 } else { odd })).collect()
}

fn twenty(name: &'static str, load: f64) -> Scenario {
    scenario(name, 10, vec![(SHARING_4, 1.0); 20], Work::Exponential(0.02), load)
}

/// Returns a scenario with many clients that each send few requests.
fn sparse(name: &'static str, clients: usize, servers: usize) -> Scenario {
    let servers = vec![(SHARING_4, 1.0); servers];
    let calm = scenario(name, clients, servers, Work::Exponential(0.02), 0.8);
    Scenario { duration: 30.0, ..calm }
}

/// Lets the first `servers` servers fail `share` of their requests from 10 s on.
fn failing(mut scenario: Scenario, servers: usize, share: f64) -> Scenario {
    scenario.changes = (0..servers)
        .map(|server| Change { at: 10.0, server, what: Happens::Fails(share) })
        .collect();
    scenario
}

/// The scenarios whose geometric mean compares strategies.
pub const COMPARED: [&str; 11] =
    ["S1", "S2", "S3", "S5", "S6", "S7", "S10", "S11", "S12", "S13", "S14"];

const SHARING_6: Discipline = Discipline::Sharing { cores: 6.0 };

/// Returns a scenario with neighbours as in Prequal's paper, at `load` times the allocation.
fn among_neighbours(name: &'static str, servers: Vec<(Discipline, f64)>, load: f64) -> Scenario {
    let calm = scenario(name, 100, servers, Work::Normal { mean: 0.08, sd: 0.08 }, load);
    Scenario { environment: Environment::Antagonists, ..calm }
}

/// Returns the nine steps of the overload ramp, as in Prequal's paper. The load rises by a ninth
/// per step, from 0.75 to 1.74 times the allocation. Above 1, servers use capacity that neighbours
/// leave.
#[must_use]
pub fn ramp() -> Vec<(f64, Scenario)> {
    let loads = (0..9).map(|step| 0.75 * (10.0_f64 / 9.0).powi(step));
    loads.map(|load| (load, among_neighbours("ramp", vec![(SHARING_6, 1.0); 100], load))).collect()
}

/// Returns all scenarios.
#[must_use]
pub fn all() -> Vec<Scenario> {
    vec![
        scenario("S1", 2, vec![(SHARING_4, 1.0); 10], Work::Exponential(0.01), 0.8),
        scenario(
            "S2",
            100,
            vec![(Discipline::Sharing { cores: 2.0 }, 1.0); 100],
            Work::Exponential(0.02),
            0.8,
        ),
        scenario(
            "S3",
            10,
            two_speeds(20, SHARING_4, 2.0),
            Work::Lognormal { mean: 0.02, sigma: 1.0 },
            0.75,
        ),
        slow_replica(),
        among_neighbours("S5", two_speeds(100, SHARING_6, 0.5), 0.9),
        among_neighbours("S6", vec![(SHARING_6, 1.0); 100], 1.27),
        sparse("S15", 400, 20),
        sparse("S15x", 16_000, 100),
        stalls("S7", Hedge::Never),
        stalls("S7h", Hedge::AtQuantile(0.99)),
        failing(twenty("S8", 0.6), 1, 1.0),
        failing(
            scenario("S8w", 100, vec![(SHARING_4, 1.0); 100], Work::Exponential(0.02), 0.6),
            2,
            1.0,
        ),
        failing(twenty("S9", 0.6), 1, 0.5),
        scenario(
            "S10",
            10,
            vec![(Discipline::Fifo { workers: 4.0 }, 1.0); 20],
            Work::Mixture { short: 0.005, long: 0.5, share: 0.005 },
            0.7,
        ),
        scenario(
            "S11",
            10,
            vec![(Discipline::Fifo { workers: 1.0 }, 1.0); 40],
            Work::Exponential(0.02),
            0.8,
        ),
        Scenario {
            changes: vec![
                Change { at: 20.0, server: 0, what: Happens::Speed(0.1) },
                Change { at: 45.0, server: 0, what: Happens::Speed(1.0) },
            ],
            ..twenty("S12", 0.65)
        },
        background_errors("S13", 0.02),
        background_errors("S13x", 0.1),
        bursts(),
    ]
}

fn slow_replica() -> Scenario {
    // The delay is fixed, because each request has its own core.
    let server = (Discipline::Sharing { cores: 1e9 }, 1.0);
    let slow = |at, what| Change { at, server: 0, what };
    Scenario {
        arrivals: Arrivals::Fixed(1000.0),
        changes: vec![slow(15.0, Happens::Delay(2.0)), slow(45.0, Happens::Delay(0.0))],
        ..scenario("S4", 1, vec![server; 11], Work::Normal { mean: 0.167, sd: 0.005 }, 0.0)
    }
}

fn stalls(name: &'static str, hedge: Hedge) -> Scenario {
    let work = Work::Lognormal { mean: 0.01, sigma: 1.0 };
    let calm = scenario(name, 10, vec![(SHARING_4, 1.0); 20], work, 0.6);
    Scenario { environment: Environment::Stalls, hedge, ..calm }
}

fn background_errors(name: &'static str, share: f64) -> Scenario {
    let mut scenario = twenty(name, 0.6);
    let fails = |server| Change { at: 0.0, server, what: Happens::Fails(share) };
    scenario.changes = (0..20).map(fails).collect();
    scenario
}

fn bursts() -> Scenario {
    let calm = twenty("S14", 0.55);
    let rate = 0.55 * 80.0 / calm.work.mean();
    let arrivals = Arrivals::Bursts { rate, peak: rate * 1.05 / 0.55, length: 0.5, period: 5.0 };
    Scenario { arrivals, ..calm }
}

impl Scenario {
    /// Returns the weight of a server that clients know.
    #[must_use]
    pub fn weight(&self, server: usize) -> u32 {
        self.weights.get(server).copied().unwrap_or(1)
    }

    /// Returns true if an endpoint is replaced.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.changes.iter().any(|change| matches!(change.what, Happens::Replaced))
    }

    fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }
}

/// Returns a scenario with ten clients, and servers whose number of cores is their weight. The
/// weights repeat `weights`.
#[must_use]
pub fn weighted(name: &'static str, weights: &[u32], servers: usize, load: f64) -> Scenario {
    let weights: Vec<_> = weights.iter().copied().cycle().take(servers).collect();
    let cores = weights.iter().map(|&weight| Discipline::Sharing { cores: weight.into() });
    let servers = cores.map(|discipline| (discipline, 1.0)).collect();
    let equal = scenario(name, 10, servers, Work::Exponential(0.02), load);
    Scenario { weights, duration: 40.0, ..equal }
}

/// Returns scenarios with weights 1 to 10, and 1 and 100, at three loads.
#[must_use]
pub fn weights() -> Vec<Scenario> {
    let ten: Vec<_> = (1..=10).collect();
    vec![
        weighted("1-10, 0.3", &ten, 20, 0.3),
        weighted("1-10, 0.7", &ten, 20, 0.7),
        weighted("1-10, 0.95", &ten, 20, 0.95),
        weighted("1:100, 0.3", &[100, 1], 10, 0.3),
        weighted("1:100, 0.7", &[100, 1], 10, 0.7),
        weighted("1:100, 0.95", &[100, 1], 10, 0.95),
    ]
}

/// Returns scenarios in which all knowledge is lost when the warm-up ends.
#[must_use]
pub fn cold() -> Vec<Scenario> {
    let ramp = || among_neighbours("", vec![(SHARING_6, 1.0); 100], 1.74);
    let change = |what| move |server| Change { at: 20.0, server, what };
    let speeds = || two_speeds(20, SHARING_4, 2.0);
    let mixed = || scenario("", 10, speeds(), Work::Lognormal { mean: 0.02, sigma: 1.0 }, 0.75);
    let all = |scenario: Scenario| Scenario { warm_up: 0.0, duration: 20.0, ..scenario };
    let later = |scenario: Scenario, what, servers| Scenario {
        warm_up: 20.0,
        duration: 40.0,
        changes: (0..servers).map(change(what)).collect(),
        ..scenario
    };
    vec![
        all(ramp()).named("cold"),
        all(mixed()).named("cold, two speeds"),
        later(ramp(), Happens::ClientsRestart, 1).named("clients restart"),
        later(ramp(), Happens::Replaced, 50).named("half replaced"),
        later(mixed(), Happens::Replaced, 10).named("half replaced, two speeds"),
    ]
}

/// Returns a scenario in which one of twenty servers claims to be idle and fast.
#[must_use]
pub fn claims(load: f64) -> Scenario {
    let changes = vec![Change { at: 0.0, server: 0, what: Happens::Claims }];
    Scenario { changes, duration: 40.0, ..twenty("claims", load) }
}

/// Returns a scenario in which all servers are slow from 20 to 30 s, which causes retries.
#[must_use]
pub fn retry_storm(budget: Budget, cancellation: bool) -> Scenario {
    let server = (Discipline::Fifo { workers: 4.0 }, 1.0);
    let calm = scenario("R1", 10, vec![server; 10], Work::Exponential(0.02), 0.7);
    let speed =
        |at, speed| (0..10).map(move |server| Change { at, server, what: Happens::Speed(speed) });
    Scenario {
        changes: speed(20.0, 0.4).chain(speed(30.0, 1.0)).collect(),
        duration: 90.0,
        timeout: 0.5,
        cancellation,
        max_tries: 4,
        budget,
        ..calm
    }
}
