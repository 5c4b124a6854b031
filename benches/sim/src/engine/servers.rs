//! Events at servers.

use std::time::Duration;

use super::{engine::Engine, event::Event};
use crate::{clock::SECOND, server::Try};

/// The time until a failing request fails, in seconds.
const FAILURE_SECS: f64 = 1e-3;

impl Engine<'_, '_> {
    pub(super) fn at_server(&mut self, number: Try) {
        let attempt = &mut self.attempts[number as usize];
        let server = &mut self.servers[attempt.server as usize];
        server.arriving -= 1;
        if !attempt.open && self.scenario.cancellation {
            return;
        }
        (attempt.came, attempt.found, attempt.at_server) = (self.now, server.in_flight, true);
        server.in_flight += 1;
        let fails = server.fails > 0.0 && self.environment.unit() < server.fails;
        match server.delay {
            _ if fails => self.after(FAILURE_SECS, Event::Done { number, failed: true }),
            Some(delay) => self.after(delay, Event::Done { number, failed: false }),
            None => {
                server.advance(self.now);
                let index = attempt.server;
                server.add(number, self.requests[attempt.request as usize].work);
                self.foresee(index);
            }
        }
    }

    /// Schedules the server's next completion again.
    pub(super) fn foresee(&mut self, index: u32) {
        let server = &mut self.servers[index as usize];
        server.generation += 1;
        let generation = server.generation;
        if let Some(at) = server.next_completion() {
            self.at(at.max(self.now), Event::Completion { server: index, generation });
        }
    }

    pub(super) fn completion(&mut self, index: u32, generation: u32) {
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

    pub(super) fn respond(&mut self, number: Try, failed: bool) {
        let attempt = &mut self.attempts[number as usize];
        if !std::mem::take(&mut attempt.at_server) {
            return;
        }
        let server = &mut self.servers[attempt.server as usize];
        server.in_flight -= 1;
        if !failed {
            let latency = (self.now - attempt.came) as f64 / SECOND;
            server.latencies.record(attempt.found, latency, Duration::from_nanos(self.now));
            let weight = if server.average == 0.0 { 1.0 } else { 0.1 };
            server.average += weight * (latency - server.average);
        }
        attempt.report = server.report(self.now);
        let way = self.network();
        self.after(way, Event::Answer { number, failed });
    }

    pub(super) fn cancel_at_server(&mut self, number: Try) {
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
}
