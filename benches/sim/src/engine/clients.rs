//! Events at clients: requests, their attempts and their results.

use tower_lb::outcome::Outcome;

use super::{
    engine::Engine,
    event::{Attempt, Event, Request},
};
use crate::{
    balance::World,
    clock::SECOND,
    ours::MAX_PROBE_WAIT,
    retry::Hedge,
    scenario::Arrivals,
    server::{Report, Try},
    work::exponential,
};

impl Engine<'_, '_> {
    pub(super) fn next_arrival(&mut self) {
        let wait = match self.scenario.arrivals {
            Arrivals::Fixed(rate) => 1.0 / rate,
            Arrivals::Poisson(rate) => exponential(1.0 / rate, &mut self.arrivals),
            Arrivals::Bursts { rate, peak, length, period } => {
                // An arrival after a change of the rate is drawn again from the change on.
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

    pub(super) fn arrival(&mut self) {
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
        // Without hedging, no latency is recorded, so this is `None`.
        if let Some(wait) = self.quantiles[client as usize].get() {
            self.at(self.now + wait, Event::Hedge(request));
        }
    }

    /// Sends an attempt, or holds it until a probe has its response.
    pub(super) fn send(&mut self, index: u32) {
        let client = self.requests[index as usize].client;
        if self.clients[client as usize].holds(index) {
            self.held[client as usize].push(index);
            self.after(MAX_PROBE_WAIT.as_secs_f64(), Event::HeldLong(index));
            self.send_probes(client);
            return;
        }
        let number = self.attempts.len() as Try;
        let request = &mut self.requests[index as usize];
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
        self.servers[server as usize].arriving += 1;
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

    /// Sends a held request that has waited for `MAX_PROBE_WAIT`.
    pub(super) fn held_long(&mut self, index: u32) {
        let client = self.requests[index as usize].client;
        let held = &mut self.held[client as usize];
        if let Some(at) = held.iter().position(|&request| request == index) {
            held.remove(at);
            self.send(index);
        }
    }

    pub(super) fn answer(&mut self, number: Try, failed: bool) {
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
            self.measured.latency(arrived, latency);
        }
    }

    /// Ends an attempt: the client no longer waits for it.
    pub(super) fn ended(&mut self, number: Try, outcome: Outcome, report: Option<Report>) {
        let attempt = &mut self.attempts[number as usize];
        attempt.open = false;
        let request = &mut self.requests[attempt.request as usize];
        request.in_flight.retain(|&other| other != number);
        let (client, server) = (request.client, attempt.server);
        self.clients[client as usize].ended(number, server, outcome, report, self.now);
        self.send_probes(client);
    }

    pub(super) fn tell_cancelled(&mut self, number: Try) {
        if self.scenario.cancellation {
            let way = self.network();
            self.after(way, Event::CancelAtServer(number));
        }
    }

    pub(super) fn timeout(&mut self, number: Try) {
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
                self.measured.latency(request.arrived, self.now - request.arrived);
                self.measured.errors += 1;
            }
            self.requests[index as usize].open = false;
        } else {
            self.retry_or_fail(index);
        }
    }

    pub(super) fn retry_or_fail(&mut self, index: u32) {
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

    pub(super) fn hedge(&mut self, index: u32) {
        let request = &self.requests[index as usize];
        if request.open && request.tries == 1 {
            self.send(index);
        }
    }
}
