//! What one request costs, on one thread, over endpoints that do nothing.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tower_lb_benches::contender::Contender;

const ENDPOINTS: [usize; 5] = [3, 10, 100, 1000, 10_000];

fn per_request(c: &mut Criterion) {
    compare(c, "per_request by endpoints", Contender::ALL);
    compare(c, "wrappers and more by endpoints", Contender::MORE);
}

fn compare(c: &mut Criterion, name: &str, contenders: &[Contender]) {
    let mut group = c.benchmark_group(name);
    for contender in contenders {
        for n in ENDPOINTS {
            let id = BenchmarkId::new(contender.name, n);
            // Set up only if it is not filtered out, and once: the endpoints stay warm.
            let mut run = None;
            group.bench_function(id, |bencher| {
                bencher.iter_custom(run.get_or_insert_with(|| (contender.over)(n)));
            });
        }
    }
}

criterion_group!(benches, per_request);
criterion_main!(benches);
