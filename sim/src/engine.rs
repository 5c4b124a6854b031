//! The events of a run, in the order of their times.

use std::{cmp::Reverse, collections::BinaryHeap};

use tower_lb::{outcome::Outcome, strategy::Rng};

use crate::{
    balance::{Balance, World},
    clock::{Clock, Nanos, SECOND, nanos},
    measure::{Measured, Second},
    retry::{Account, Hedge, RecentQuantile},
    scenario::{Arrivals, Environment, Happens, Scenario},
    server::{Report, Server, Try},
    work::exponential,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    /// A try reaches its server.
    AtServer(Try),
    Completion {
        server: u32,
        generation: u32,
    },
    /// A try is over whose time doesn't depend on the server's other work.
    Done {
        number: Try,
        failed: bool,
    },
    /// An answer reaches the client.
    Answer {
        number: Try,
        failed: bool,
    },
    Timeout(Try),
    CancelAtServer(Try),
    Hedge(u32),
    ProbeAtServer {
        client: u32,
        number: u32,
        server: u32,
    },
    ProbeAnswer {
        client: u32,
        number: u32,
        server: u32,
    },
    Change(u32),
    Capacity(u32),
    Stall(u32),
    StallEnds(u32),
}

#[derive(Debug)]
struct Request {
    client: u32,
    arrived: Nanos,
    work: f64,
    tries: u32,
    /// Its servers so far.
    tried: Vec<u32>,
    in_flight: Vec<Try>,
    open: bool,
}

#[derive(Debug)]
struct Attempt {
    request: u32,
    server: u32,
    /// In flight at the server when it came.
    found: u32,
    came: Nanos,
    at_server: bool,
    /// The client still waits for it.
    open: bool,
    report: Report,
}

/// What fails, fails so soon.
const FAILS_AFTER: f64 = 1e-3;

struct Engine<'a> {
    scenario: &'a Scenario,
    clock: &'a Clock,
    now: Nanos,
    sequence: u64,
    events: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    servers: Vec<Server>,
    clients: Vec<Box<dyn Balance + 'a>>,
    accounts: Vec<Account>,
    quantiles: Vec<RecentQuantile>,
    requests: Vec<Request>,
    attempts: Vec<Attempt>,
    frozen_probes: Vec<Vec<(u32, u32)>>,
    probe_reports: std::collections::HashMap<(u32, u32), Report>,
    arrivals: Rng,
    work: Rng,
    picks: Rng,
    environment: Rng,
    network: Rng,
    measured: Measured,
}

/// Runs a scenario with one client after the other made by `client`.
pub fn run<'a>(
    scenario: &Scenario,
    seed: u64,
    client: impl Fn(u64) -> Box<dyn Balance + 'a>,
) -> Measured {
    Clock::run(|clock| {
        let servers = scenario.servers.iter();
        let servers: Vec<_> = servers.map(|&(how, speed)| Server::new(how, speed)).collect();
        let rng = |concern| Rng::seeded(seed * 16 + concern);
        let mut engine = Engine {
            scenario,
            clock,
            now: 0,
            sequence: 0,
            events: BinaryHeap::new(),
            clients: (0..scenario.clients as u64).map(client).collect(),
            accounts: (0..scenario.clients).map(|_| Account::new(scenario.budget)).collect(),
            quantiles: (0..scenario.clients).map(|_| RecentQuantile::default()).collect(),
            requests: Vec::new(),
            attempts: Vec::new(),
            frozen_probes: vec![Vec::new(); servers.len()],
            probe_reports: Default::default(),
            arrivals: rng(0),
            work: rng(1),
            picks: rng(2),
            environment: rng(3),
            network: rng(4),
            measured: Measured { at_server: vec![0; servers.len()], ..Measured::default() },
            servers,
        };
        engine.run();
        let mut measured = engine.measured;
        measured.latencies.sort_unstable_by(f32::total_cmp);
        measured
    })
}

impl Engine<'_> {
    fn after(&mut self, seconds: f64, event: Event) {
        self.at(self.now + nanos(seconds), event);
    }

    fn at(&mut self, at: Nanos, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    /// One way.
    fn network(&mut self) -> f64 {
        0.0002 + exponential(0.00005, &mut self.network)
    }

    fn counts(&self, at: Nanos) -> bool {
        at as f64 >= self.scenario.warm_up * SECOND
    }

    fn second(&mut self) -> &mut Second {
        let index = (self.now as f64 / SECOND) as usize;
        if self.measured.seconds.len() <= index {
            self.measured.seconds.resize(index + 1, Second::default());
        }
        &mut self.measured.seconds[index]
    }

    fn run(&mut self) {
        self.start();
        let end = nanos(self.scenario.duration);
        let last = end + nanos(self.scenario.timeout * f64::from(self.scenario.max_tries));
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > last {
                break;
            }
            self.now = at;
            self.clock.set(at);
            match event {
                Event::Arrival if at > end => {}
                Event::Arrival => self.arrival(),
                Event::AtServer(number) => self.at_server(number),
                Event::Completion { server, generation } => self.completion(server, generation),
                Event::Done { number, failed } => self.respond(number, failed),
                Event::Answer { number, failed } => self.answer(number, failed),
                Event::Timeout(number) => self.timeout(number),
                Event::CancelAtServer(number) => self.cancel_at_server(number),
                Event::Hedge(request) => self.hedge(request),
                Event::ProbeAtServer { client, number, server } => {
                    self.probe_at_server(client, number, server);
                }
                Event::ProbeAnswer { client, number, .. } => {
                    if let Some(report) = self.probe_reports.remove(&(client, number)) {
                        self.clients[client as usize].probed(number, report);
                        self.send_probes(client);
                    }
                }
                Event::Change(index) => self.change(index as usize),
                Event::Capacity(server) => self.redraw_capacity(server),
                Event::Stall(server) => self.stall(server),
                Event::StallEnds(server) => self.stall_ends(server),
            }
        }
    }

    fn start(&mut self) {
        self.next_arrival();
        for (index, change) in (0..).zip(&self.scenario.changes) {
            self.sequence += 1;
            let event = (nanos(change.at), self.sequence, Event::Change(index));
            self.events.push(Reverse(event));
        }
        for server in 0..self.servers.len() as u32 {
            match self.scenario.environment {
                Environment::Calm => {}
                Environment::Antagonists => self.redraw_capacity(server),
                Environment::Stalls => {
                    let wait = exponential(10.0, &mut self.environment);
                    self.after(wait, Event::Stall(server));
                }
            }
        }
        (0..self.clients.len() as u32).for_each(|client| self.send_probes(client));
    }

    fn next_arrival(&mut self) {
        let wait = match self.scenario.arrivals {
            Arrivals::Fixed(rate) => 1.0 / rate,
            Arrivals::Poisson(rate) => exponential(1.0 / rate, &mut self.arrivals),
            Arrivals::Bursts { rate, peak, length, period } => {
                // What would come after the rate has changed is drawn anew from there on.
                let (start, mut wait) = (self.now as f64 / SECOND, 0.0);
                loop {
                    let phase = (start + wait) % period;
                    let (rate, left) = if phase < length {
                        (peak, length - phase)
                    } else {
                        (rate, period - phase)
                    };
                    let next = exponential(1.0 / rate, &mut self.arrivals);
                    if next < left {
                        break wait + next;
                    }
                    wait += left + 1e-9;
                }
            }
        };
        self.after(wait, Event::Arrival);
    }

    fn arrival(&mut self) {
        self.next_arrival();
        let client = self.arrivals.below(self.clients.len()) as u32;
        let work = self.scenario.work.draw(&mut self.work);
        self.accounts[client as usize].request(self.now);
        self.second().arrived += 1;
        if self.counts(self.now) {
            self.measured.requests += 1;
        }
        let request = self.requests.len() as u32;
        self.requests.push(Request {
            client,
            arrived: self.now,
            work,
            tries: 0,
            tried: Vec::new(),
            in_flight: Vec::new(),
            open: true,
        });
        self.send(request);
        // Without hedging none is ever recorded.
        if let Some(wait) = self.quantiles[client as usize].get() {
            self.at(self.now + wait, Event::Hedge(request));
        }
    }

    fn send(&mut self, index: u32) {
        let number = self.attempts.len() as Try;
        let request = &mut self.requests[index as usize];
        let client = request.client;
        let mut world = World { servers: &self.servers, rng: &mut self.picks, now: self.now };
        let server = self.clients[client as usize].pick(number, &request.tried, &mut world);
        request.tries += 1;
        request.in_flight.push(number);
        if self.scenario.max_tries > 1 || self.scenario.hedge != Hedge::Never {
            request.tried.push(server);
        }
        let counts = request.arrived as f64 >= self.scenario.warm_up * SECOND;
        self.measured.tries += u64::from(counts);
        self.measured.at_server[server as usize] += 1;
        self.second().tries += 1;
        self.servers[server as usize].under_way += 1;
        self.attempts.push(Attempt {
            request: index,
            server,
            found: 0,
            came: 0,
            at_server: false,
            open: true,
            report: Report::default(),
        });
        let way = self.network();
        self.after(way, Event::AtServer(number));
        self.after(self.scenario.timeout, Event::Timeout(number));
        self.send_probes(client);
    }

    fn send_probes(&mut self, client: u32) {
        for (number, server) in self.clients[client as usize].probes() {
            if self.counts(self.now) {
                self.measured.probes += 1;
            }
            let way = self.network();
            self.after(way, Event::ProbeAtServer { client, number, server });
        }
    }

    fn probe_at_server(&mut self, client: u32, number: u32, server: u32) {
        let at = &mut self.servers[server as usize];
        if at.frozen {
            self.frozen_probes[server as usize].push((client, number));
            return;
        }
        let report = at.report();
        self.probe_reports.insert((client, number), report);
        let way = self.network();
        self.after(way, Event::ProbeAnswer { client, number, server });
    }

    fn at_server(&mut self, number: Try) {
        let attempt = &mut self.attempts[number as usize];
        let server = &mut self.servers[attempt.server as usize];
        server.under_way -= 1;
        if !attempt.open && self.scenario.cancellation {
            return;
        }
        (attempt.came, attempt.found, attempt.at_server) = (self.now, server.in_flight, true);
        server.in_flight += 1;
        let fails = server.fails > 0.0 && self.environment.unit() < server.fails;
        match server.delay {
            _ if fails => self.after(FAILS_AFTER, Event::Done { number, failed: true }),
            Some(delay) => self.after(delay, Event::Done { number, failed: false }),
            None => {
                server.advance(self.now);
                let index = attempt.server;
                server.add(number, self.requests[attempt.request as usize].work);
                self.foresee(index);
            }
        }
    }

    /// Foresees the server's next completion anew.
    fn foresee(&mut self, index: u32) {
        let server = &mut self.servers[index as usize];
        server.generation += 1;
        let generation = server.generation;
        if let Some(at) = server.next_completion() {
            self.at(at.max(self.now), Event::Completion { server: index, generation });
        }
    }

    fn completion(&mut self, index: u32, generation: u32) {
        let server = &mut self.servers[index as usize];
        if server.generation != generation {
            return;
        }
        server.advance(self.now);
        while let Some(number) = self.servers[index as usize].complete() {
            self.respond(number, false);
        }
        self.foresee(index);
    }

    fn respond(&mut self, number: Try, failed: bool) {
        let attempt = &mut self.attempts[number as usize];
        if !std::mem::take(&mut attempt.at_server) {
            return;
        }
        let server = &mut self.servers[attempt.server as usize];
        server.in_flight -= 1;
        if !failed {
            server.latencies.record(attempt.found, (self.now - attempt.came) as f64 / SECOND);
        }
        attempt.report = server.report();
        let way = self.network();
        self.after(way, Event::Answer { number, failed });
    }

    fn answer(&mut self, number: Try, failed: bool) {
        let attempt = &self.attempts[number as usize];
        if !attempt.open {
            return;
        }
        let (index, report) = (attempt.request, attempt.report);
        let outcome = if failed { Outcome::ApplicationError } else { Outcome::Success };
        self.ended(number, outcome, Some(report));
        if failed {
            self.retry_or_fail(index);
            return;
        }
        let request = &mut self.requests[index as usize];
        if !std::mem::take(&mut request.open) {
            return;
        }
        let (client, arrived) = (request.client, request.arrived);
        for other in std::mem::take(&mut request.in_flight) {
            self.ended(other, Outcome::Cancelled, None);
            self.tell_cancelled(other);
        }
        let latency = self.now - arrived;
        if let Hedge::AtQuantile(share) = self.scenario.hedge {
            self.quantiles[client as usize].record(latency, share);
        }
        self.second().succeeded += 1;
        if self.counts(arrived) {
            self.measured.latencies.push((latency as f64 / SECOND) as f32);
        }
    }

    /// The client no longer waits for a try.
    fn ended(&mut self, number: Try, outcome: Outcome, report: Option<Report>) {
        let attempt = &mut self.attempts[number as usize];
        attempt.open = false;
        let request = &mut self.requests[attempt.request as usize];
        request.in_flight.retain(|&other| other != number);
        let (client, server) = (request.client, attempt.server);
        self.clients[client as usize].ended(number, server, outcome, report, self.now);
        self.send_probes(client);
    }

    fn tell_cancelled(&mut self, number: Try) {
        if self.scenario.cancellation {
            let way = self.network();
            self.after(way, Event::CancelAtServer(number));
        }
    }

    fn timeout(&mut self, number: Try) {
        let attempt = &self.attempts[number as usize];
        if !attempt.open {
            return;
        }
        let index = attempt.request;
        self.ended(number, Outcome::Timeout, None);
        self.tell_cancelled(number);
        let request = &self.requests[index as usize];
        if self.scenario.max_tries == 1 && request.in_flight.is_empty() {
            if self.counts(request.arrived) {
                let waited = (self.now - request.arrived) as f64 / SECOND;
                self.measured.latencies.push(waited as f32);
                self.measured.errors += 1;
            }
            self.requests[index as usize].open = false;
        } else {
            self.retry_or_fail(index);
        }
    }

    fn retry_or_fail(&mut self, index: u32) {
        let request = &self.requests[index as usize];
        if !request.open || !request.in_flight.is_empty() {
            return;
        }
        let account = &mut self.accounts[request.client as usize];
        if request.tries < self.scenario.max_tries && account.retry(self.now) {
            self.send(index);
            return;
        }
        self.measured.errors += u64::from(self.counts(request.arrived));
        self.requests[index as usize].open = false;
    }

    fn cancel_at_server(&mut self, number: Try) {
        let attempt = &mut self.attempts[number as usize];
        if !std::mem::take(&mut attempt.at_server) {
            return;
        }
        let index = attempt.server;
        let server = &mut self.servers[index as usize];
        server.in_flight -= 1;
        if server.delay.is_none() {
            server.advance(self.now);
            server.cancel(number);
            self.foresee(index);
        }
    }

    fn hedge(&mut self, index: u32) {
        let request = &self.requests[index as usize];
        if request.open && request.tries == 1 {
            self.send(index);
        }
    }

    fn change(&mut self, index: usize) {
        let change = self.scenario.changes[index];
        let server = &mut self.servers[change.server];
        server.advance(self.now);
        match change.what {
            Happens::Speed(speed) => server.speed = speed,
            Happens::Fails(share) => server.fails = share,
            Happens::Delay(delay) => server.delay = (delay > 0.0).then_some(delay),
        }
        self.foresee(change.server as u32);
    }

    fn redraw_capacity(&mut self, index: u32) {
        let often = if index.is_multiple_of(10) { 0.9 } else { 0.1 };
        let contended = self.environment.unit() < often;
        let server = &mut self.servers[index as usize];
        server.advance(self.now);
        server.capacity = if contended { 1.0 } else { 1.0 + 3.0 * self.environment.unit() };
        self.foresee(index);
        let wait = exponential(1.0, &mut self.environment);
        self.after(wait, Event::Capacity(index));
    }

    fn stall(&mut self, index: u32) {
        let server = &mut self.servers[index as usize];
        server.advance(self.now);
        server.frozen = true;
        self.foresee(index);
        let length = exponential(0.25, &mut self.environment);
        self.after(length, Event::StallEnds(index));
    }

    fn stall_ends(&mut self, index: u32) {
        let server = &mut self.servers[index as usize];
        server.advance(self.now);
        server.frozen = false;
        self.foresee(index);
        for (client, number) in std::mem::take(&mut self.frozen_probes[index as usize]) {
            self.probe_at_server(client, number, index);
        }
        let wait = exponential(10.0, &mut self.environment);
        self.after(wait, Event::Stall(index));
    }
}
