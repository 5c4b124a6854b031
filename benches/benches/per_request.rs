//! What one request costs, on one thread, over endpoints that do nothing.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tower_lb_benches::contender::Contender;

const ENDPOINTS: [usize; 5] = [3, 10, 100, 1000, 10_000];

fn per_request(c: &mut Criterion) {
    let mut group = c.benchmark_group("per_request by endpoints");
    for contender in Contender::ALL {
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
