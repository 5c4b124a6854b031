//! Events that change servers: changes of the scenario, neighbours, stalls.

use super::{engine::Engine, event::Event};
use crate::{latency_by_load::LatencyByLoad, scenario::Happens, work::exponential};

impl Engine<'_, '_> {
    pub(super) fn change(&mut self, index: usize) {
        let change = self.scenario.changes[index];
        let server = &mut self.servers[change.server];
        server.advance(self.now);
        match change.what {
            Happens::Speed(speed) => server.speed = speed,
            Happens::Fails(share) => server.fails = share,
            Happens::Delay(delay) => server.delay = (delay > 0.0).then_some(delay),
            Happens::Claims => server.claims = true,
            Happens::Replaced => {
                (server.latencies, server.average) = (LatencyByLoad::default(), 0.0);
                let replaced = change.server as u32;
                self.clients.iter_mut().for_each(|client| client.replaced(replaced));
            }
            Happens::ClientsRestart => {
                self.clients = (0..self.clients.len() as u64).map(self.make_client).collect();
                (0..self.clients.len() as u32).for_each(|client| self.send_probes(client));
            }
        }
        self.foresee(change.server as u32);
    }

    pub(super) fn redraw_capacity(&mut self, index: u32) {
        let often = if index.is_multiple_of(10) { 0.9 } else { 0.1 };
        let contended = self.environment.unit() < often;
        let server = &mut self.servers[index as usize];
        server.advance(self.now);
        server.capacity = if contended { 1.0 } else { 1.0 + 3.0 * self.environment.unit() };
        self.foresee(index);
        let wait = exponential(1.0, &mut self.environment);
        self.after(wait, Event::Capacity(index));
    }

    pub(super) fn stall(&mut self, index: u32) {
        let server = &mut self.servers[index as usize];
        server.advance(self.now);
        server.frozen = true;
        self.foresee(index);
        let length = exponential(0.25, &mut self.environment);
        self.after(length, Event::StallEnds(index));
    }

    pub(super) fn stall_ends(&mut self, index: u32) {
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
