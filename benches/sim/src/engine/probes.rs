//! Events of probes.

use super::{engine::Engine, event::Event};

impl Engine<'_, '_> {
    pub(super) fn send_probes(&mut self, client: u32) {
        for (number, server) in self.clients[client as usize].probes() {
            if self.counts(self.now) {
                self.measured.probes += 1;
            }
            let way = self.network();
            self.after(way, Event::ProbeAtServer { client, number, server });
        }
    }

    pub(super) fn probe_at_server(&mut self, client: u32, number: u32, server: u32) {
        let at = &mut self.servers[server as usize];
        if at.frozen {
            self.frozen_probes[server as usize].push((client, number));
            return;
        }
        let report = at.report(self.now);
        self.probe_reports.insert((client, number), report);
        let way = self.network();
        self.after(way, Event::ProbeAnswer { client, number });
    }

    pub(super) fn probe_answer(&mut self, client: u32, number: u32) {
        if let Some(report) = self.probe_reports.remove(&(client, number)) {
            self.clients[client as usize].probed(number, report);
            self.send_probes(client);
            let held = std::mem::take(&mut self.held[client as usize]);
            held.into_iter().for_each(|request| self.send(request));
        }
    }
}
