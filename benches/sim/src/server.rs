use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashSet, VecDeque},
    time::Duration,
};

use crate::{
    clock::{Nanos, SECOND},
    latency_by_load::LatencyByLoad,
};

/// The number of an attempt.
pub type Try = u32;

/// The discipline by which a server serves several requests.
#[derive(Clone, Copy, Debug)]
pub enum Discipline {
    /// Serves all requests at once: each of `n` requests advances at min(1, cores / n).
    Sharing { cores: f64 },
    /// Serves `workers` requests at a time; other requests wait in order of arrival.
    Fifo { workers: f64 },
}

/// The report of a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    pub in_flight: u32,
    /// The number of further requests that the server can serve at full speed.
    pub free: f64,
    /// Latency in seconds of requests that arrived at a similar load; 0 without such requests.
    pub latency: f64,
    /// A moving average of latencies in seconds; 0 before the first.
    pub average: f64,
}

#[derive(Debug)]
pub struct Server {
    pub discipline: Discipline,
    pub speed: f64,
    /// A factor on the number of cores.
    pub capacity: f64,
    pub frozen: bool,
    /// The share of requests that fail immediately.
    pub fails: f64,
    /// Whether reports claim that the server is idle and fast.
    pub claims: bool,
    /// A fixed time for all requests, independent of their work and number.
    pub delay: Option<f64>,
    /// Requests in flight, including waiting and failing requests.
    pub in_flight: u32,
    pub(crate) latencies: LatencyByLoad,
    /// A moving average of latencies, in seconds; 0 before the first.
    pub average: f64,
    /// Requests on their way to the server; for oracles.
    pub arriving: u32,
    /// Changes with each schedule, so that outdated completions are recognised.
    pub generation: u32,
    /// The work that a request would have received if it always ran, in seconds.
    progress: f64,
    since: Nanos,
    running: BinaryHeap<Reverse<Job>>,
    count: usize,
    waiting: VecDeque<(Try, f64)>,
    cancelled: HashSet<Try>,
}

/// A running request, and the progress at which it completes.
#[derive(Clone, Copy, Debug)]
struct Job {
    due: f64,
    number: Try,
}

impl Ord for Job {
    fn cmp(&self, other: &Self) -> Ordering {
        self.due.total_cmp(&other.due).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Job {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Job {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Job {}

impl Server {
    #[must_use]
    pub fn new(discipline: Discipline, speed: f64) -> Self {
        Self {
            discipline,
            speed,
            capacity: 1.0,
            frozen: false,
            fails: 0.0,
            claims: false,
            delay: None,
            in_flight: 0,
            latencies: LatencyByLoad::default(),
            average: 0.0,
            arriving: 0,
            generation: 0,
            progress: 0.0,
            since: 0,
            running: BinaryHeap::new(),
            count: 0,
            waiting: VecDeque::new(),
            cancelled: HashSet::new(),
        }
    }

    /// Returns the number of requests that the server serves at full speed.
    #[must_use]
    pub fn cores(&self) -> f64 {
        match self.discipline {
            Discipline::Sharing { cores } => cores * self.capacity,
            Discipline::Fifo { workers } => workers,
        }
    }

    fn rate(&self) -> f64 {
        match self.discipline {
            _ if self.frozen => 0.0,
            Discipline::Sharing { .. } => {
                self.speed * (self.cores() / self.count.max(1) as f64).min(1.0)
            }
            Discipline::Fifo { .. } => self.speed,
        }
    }

    /// Updates the progress to `now`. Call this before each change of the server.
    pub fn advance(&mut self, now: Nanos) {
        self.progress += self.rate() * (now - self.since) as f64 / SECOND;
        self.since = now;
    }

    pub fn add(&mut self, number: Try, work: f64) {
        if matches!(self.discipline, Discipline::Fifo { workers } if self.count as f64 >= workers) {
            self.waiting.push_back((number, work));
        } else {
            self.run(number, work);
        }
    }

    fn run(&mut self, number: Try, work: f64) {
        self.count += 1;
        self.running.push(Reverse(Job { due: self.progress + work, number }));
    }

    /// Returns the time of the next completion, if nothing changes.
    pub fn next_completion(&mut self) -> Option<Nanos> {
        while let Some(Reverse(job)) = self.running.peek() {
            if !self.cancelled.remove(&job.number) {
                let left = (job.due - self.progress).max(0.0);
                let rate = self.rate();
                return (rate > 0.0).then(|| self.since + (left / rate * SECOND).ceil() as Nanos);
            }
            self.running.pop();
        }
        None
    }

    /// Removes and returns a completed request.
    pub fn complete(&mut self) -> Option<Try> {
        let Reverse(job) = self.running.peek()?;
        // A nanosecond of work is the tolerance for rounding.
        if job.due > self.progress + 1e-9 {
            return None;
        }
        let number = job.number;
        self.running.pop();
        if self.cancelled.remove(&number) {
            return self.complete();
        }
        self.left();
        Some(number)
    }

    fn left(&mut self) {
        self.count -= 1;
        if let Some((number, work)) = self.waiting.pop_front() {
            self.run(number, work);
        }
    }

    /// Cancels a request at this server.
    pub fn cancel(&mut self, number: Try) {
        if let Some(index) = self.waiting.iter().position(|(waiting, _)| *waiting == number) {
            self.waiting.remove(index);
        } else {
            self.cancelled.insert(number);
            self.left();
        }
    }

    pub fn report(&mut self, now: Nanos) -> Report {
        if self.claims {
            return Report { in_flight: 0, free: self.cores(), latency: 1e-4, average: 1e-4 };
        }
        let in_flight = self.in_flight;
        let free = (self.cores() - f64::from(in_flight)).max(0.0);
        let (latency, average) =
            (self.latencies.near(in_flight, Duration::from_nanos(now)), self.average);
        Report { in_flight, free, latency, average }
    }
}
