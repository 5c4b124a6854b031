use crate::{
    retry::{Budget, Hedge},
    server::Discipline,
    work::Work,
};

/// Clients, servers, and what happens to them.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub clients: usize,
    /// How each server serves, and its speed.
    pub servers: Vec<(Discipline, f64)>,
    /// The weight that clients know for each server; 1 for those beyond the end.
    pub weights: Vec<u32>,
    pub work: Work,
    pub arrivals: Arrivals,
    pub environment: Environment,
    pub changes: Vec<Change>,
    /// Seconds in all, and those at the start that are not counted.
    pub duration: f64,
    pub warm_up: f64,
    /// Seconds that a try may take.
    pub timeout: f64,
    /// Whether servers are told that nobody waits any more.
    pub cancellation: bool,
    /// Tries for each request, and what bounds retries.
    pub max_tries: u32,
    pub budget: Budget,
    pub hedge: Hedge,
}

/// When requests come, in requests per second.
#[derive(Clone, Copy, Debug)]
pub enum Arrivals {
    Poisson(f64),
    Fixed(f64),
    /// Poisson, at another rate for `length` seconds in each `period`.
    Bursts {
        rate: f64,
        peak: f64,
        length: f64,
        period: f64,
    },
}

/// What befalls servers at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    Calm,
    /// Neighbours on the machine: a server has its allocation, or up to four times that, drawn anew about
    /// each second. One in ten is contended nine tenths of the time, the others one tenth.
    Antagonists,
    /// Each stands still for about 250 ms about every 10 s.
    Stalls,
}

/// Something that happens to a server at a given second.
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
    /// The server comes back as a new endpoint that clients know nothing of. It has the old one's
    /// requests yet to finish.
    Replaced,
    /// All clients begin anew, whichever server is named.
    ClientsRestart,
}

/// Seconds at the start of most scenarios that are not counted.
pub const WARM_UP: f64 = 10.0;

const SHARING_4: Discipline = Discipline::Sharing { cores: 4.0 };

/// `load` of the servers' capacity in Poisson arrivals, for a minute.
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

/// Two speeds, half the servers each; alternating.
fn two_speeds(count: usize, discipline: Discipline, odd: f64) -> Vec<(Discipline, f64)> {
    (0..count).map(|n| (discipline, if n % 2 == 0 { 1.0 } else { odd })).collect()
}

fn twenty(name: &'static str, load: f64) -> Scenario {
    scenario(name, 10, vec![(SHARING_4, 1.0); 20], Work::Exponential(0.02), load)
}

/// Many clients, each of which sends little.
fn sparse(name: &'static str, clients: usize, servers: usize) -> Scenario {
    let servers = vec![(SHARING_4, 1.0); servers];
    let calm = scenario(name, clients, servers, Work::Exponential(0.02), 0.8);
    Scenario { duration: 30.0, ..calm }
}

/// The same server starts to fail this share of requests at 10 s.
fn failing(mut scenario: Scenario, servers: usize, share: f64) -> Scenario {
    scenario.changes = (0..servers)
        .map(|server| Change { at: 10.0, server, what: Happens::Fails(share) })
        .collect();
    scenario
}

/// The scenarios whose geometric mean is what strategies are compared by.
pub const COMPARED: [&str; 11] =
    ["S1", "S2", "S3", "S5", "S6", "S7", "S10", "S11", "S12", "S13", "S14"];

const SHARING_6: Discipline = Discipline::Sharing { cores: 6.0 };

/// A hundred servers with neighbours, as Prequal's paper has them, at so much of their allocation.
fn among_neighbours(name: &'static str, servers: Vec<(Discipline, f64)>, load: f64) -> Scenario {
    let calm = scenario(name, 100, servers, Work::Normal { mean: 0.08, sd: 0.08 }, load);
    Scenario { environment: Environment::Antagonists, ..calm }
}

/// How the overload ramp rises, in nine steps of a ninth each, as in Prequal's paper: from
/// 0.75 to 1.74 times what the servers were allocated. Beyond that they have what neighbours leave.
#[must_use]
pub fn ramp() -> Vec<(f64, Scenario)> {
    let loads = (0..9).map(|step| 0.75 * (10.0_f64 / 9.0).powi(step));
    loads.map(|load| (load, among_neighbours("ramp", vec![(SHARING_6, 1.0); 100], load))).collect()
}

/// All scenarios.
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
    // A fixed delay: as many cores as there may be requests.
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
    /// The weight that clients know for a server.
    #[must_use]
    pub fn weight(&self, server: usize) -> u32 {
        self.weights.get(server).copied().unwrap_or(1)
    }

    /// True if an endpoint is replaced.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.changes.iter().any(|change| matches!(change.what, Happens::Replaced))
    }

    fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }
}

/// Ten clients and servers whose cores are as many as their weights say, in the proportion of `weights`
/// over and over, at this load.
#[must_use]
pub fn weighted(name: &'static str, weights: &[u32], servers: usize, load: f64) -> Scenario {
    let weights: Vec<_> = weights.iter().copied().cycle().take(servers).collect();
    let cores = weights.iter().map(|&weight| Discipline::Sharing { cores: weight.into() });
    let servers = cores.map(|discipline| (discipline, 1.0)).collect();
    let equal = scenario(name, 10, servers, Work::Exponential(0.02), load);
    Scenario { weights, duration: 40.0, ..equal }
}

/// Weights 1 to 10 and 1 to 100, at three loads.
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

/// Everything that is known is lost at the start of the seconds that count.
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

/// One of twenty servers claims to be idle and fast.
#[must_use]
pub fn claims(load: f64) -> Scenario {
    let changes = vec![Change { at: 0.0, server: 0, what: Happens::Claims }];
    Scenario { changes, duration: 40.0, ..twenty("claims", load) }
}

/// A slowdown of all servers from 20 to 30 s that calls for retries.
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
