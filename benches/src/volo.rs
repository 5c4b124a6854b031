use std::{
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use volo::{
    context::Endpoint,
    discovery::StaticDiscover,
    loadbalance::{LoadBalance, random::WeightedRandomBalance},
};

use crate::{addresses::addresses, contender::Run};

/// volo's weighted random choice, which only says which instance it is; there is nothing to call.
pub fn select(n: usize) -> Run {
    let discover = StaticDiscover::from(addresses(n).collect::<Vec<_>>());
    let balance = WeightedRandomBalance::with_discover(&discover);
    let service = Endpoint::new("service".into());
    Box::new(move |requests| {
        let cx = &mut Context::from_waker(Waker::noop());
        let start = Instant::now();
        for _ in 0..requests {
            let picker = pin!(balance.get_picker(&service, &discover)).poll(cx);
            let Poll::Ready(Ok(mut picker)) = picker else { panic!("ready at once") };
            black_box(picker.next().expect("an instance"));
        }
        start.elapsed()
    })
}
