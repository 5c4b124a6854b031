use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use tower_lb::strategy::Rng;

use super::event::{Attempt, Event, Request};
use crate::{
    balance::Balance,
    clock::{Clock, Nanos, SECOND, nanos},
    measure::{Measured, Second},
    retry::{Account, RecentQuantile},
    scenario::{Environment, Scenario},
    server::{Report, Server},
    work::exponential,
};

/// The state of a run.
pub(super) struct Engine<'e, 'c> {
    pub(super) scenario: &'e Scenario,
    pub(super) clock: &'e Clock,
    pub(super) now: Nanos,
    sequence: u64,
    events: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    pub(super) servers: Vec<Server>,
    pub(super) clients: Vec<Box<dyn Balance + 'c>>,
    pub(super) make_client: &'e dyn Fn(u64) -> Box<dyn Balance + 'c>,
    pub(super) accounts: Vec<Account>,
    pub(super) quantiles: Vec<RecentQuantile>,
    pub(super) requests: Vec<Request>,
    /// The requests of each client that wait for a probe.
    pub(super) held: Vec<Vec<u32>>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) frozen_probes: Vec<Vec<(u32, u32)>>,
    pub(super) probe_reports: HashMap<(u32, u32), Report>,
    pub(super) arrivals: Rng,
    pub(super) work: Rng,
    pub(super) picks: Rng,
    pub(super) environment: Rng,
    pub(super) network: Rng,
    pub(super) measured: Measured,
}

/// Runs a scenario; `client` creates each client by its number.
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
            clients: (0..scenario.clients as u64).map(&client).collect(),
            make_client: &client,
            accounts: (0..scenario.clients).map(|_| Account::new(scenario.budget)).collect(),
            quantiles: (0..scenario.clients).map(|_| RecentQuantile::default()).collect(),
            requests: Vec::new(),
            held: vec![Vec::new(); scenario.clients],
            attempts: Vec::new(),
            frozen_probes: vec![Vec::new(); servers.len()],
            probe_reports: HashMap::new(),
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
        measured.by_second.iter_mut().for_each(|second| second.sort_unstable_by(f32::total_cmp));
        measured
    })
}

impl Engine<'_, '_> {
    pub(super) fn after(&mut self, seconds: f64, event: Event) {
        self.at(self.now + nanos(seconds), event);
    }

    pub(super) fn at(&mut self, at: Nanos, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    /// Draws a one-way network delay in seconds.
    pub(super) fn network(&mut self) -> f64 {
        0.0002 + exponential(0.00005, &mut self.network)
    }

    pub(super) fn counts(&self, at: Nanos) -> bool {
        at as f64 >= self.scenario.warm_up * SECOND
    }

    pub(super) fn second(&mut self) -> &mut Second {
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
                Event::HeldLong(request) => self.held_long(request),
                Event::ProbeAtServer { client, number, server } => {
                    self.probe_at_server(client, number, server);
                }
                Event::ProbeAnswer { client, number } => self.probe_answer(client, number),
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
}
