use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashSet, VecDeque},
    time::Duration,
};

use crate::{
    clock::{Nanos, SECOND},
    latency_by_load::LatencyByLoad,
};

/// A try's number.
pub type Try = u32;

/// How a server serves several requests.
#[derive(Clone, Copy, Debug)]
pub enum Discipline {
    /// All at once: `n` requests advance at min(1, cores / n) each.
    Sharing { cores: f64 },
    /// So many at a time, the others wait in order.
    Fifo { workers: f64 },
}

/// What a server says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    pub in_flight: u32,
    /// How many more it could serve at full speed.
    pub free: f64,
    /// Seconds that requests took which came at a load like the present one; 0 if none did yet.
    pub latency: f64,
    /// A moving average of the seconds that requests took; 0 if none was done yet.
    pub average: f64,
}

#[derive(Debug)]
pub struct Server {
    pub discipline: Discipline,
    pub speed: f64,
    /// Factor on its cores.
    pub capacity: f64,
    pub frozen: bool,
    /// Share of requests that fail at once.
    pub fails: f64,
    /// Its reports say that it is idle and fast.
    pub claims: bool,
    /// What all requests take, whatever their work and however many there are.
    pub delay: Option<f64>,
    /// Requests in flight, waiting ones and failing ones included.
    pub in_flight: u32,
    pub(crate) latencies: LatencyByLoad,
    /// A moving average of latencies, in seconds; 0 before the first.
    pub average: f64,
    /// Requests on their way here; for oracles.
    pub under_way: u32,
    /// Tells completions that were foreseen from those that hold.
    pub generation: u32,
    /// What a request that runs all the time would have got, in seconds of work.
    progress: f64,
    since: Nanos,
    running: BinaryHeap<Reverse<Job>>,
    count: usize,
    waiting: VecDeque<(Try, f64)>,
    cancelled: HashSet<Try>,
}

/// A running request, and the progress at which it is done.
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
            under_way: 0,
            generation: 0,
            progress: 0.0,
            since: 0,
            running: BinaryHeap::new(),
            count: 0,
            waiting: VecDeque::new(),
            cancelled: HashSet::new(),
        }
    }

    /// How many requests it serves at full speed.
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

    /// Brings the progress up to date: to be called before anything changes.
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

    /// When the next will be done, if nothing changes.
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

    /// Takes out one that is done.
    pub fn complete(&mut self) -> Option<Try> {
        let Reverse(job) = self.running.peek()?;
        // A nanosecond's work of tolerance for rounding.
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

    /// Stops one that is here.
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
