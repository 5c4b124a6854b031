use std::{
    cell::RefCell,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use metainfo::{METAINFO, MetaInfo};
use volo::{
    context::Endpoint,
    discovery::StaticDiscover,
    loadbalance::{
        LoadBalance, RequestHash,
        consistent_hash::{ConsistentHashBalance, ConsistentHashOption},
        random::WeightedRandomBalance,
    },
};

use crate::{addresses::addresses, contender::Run};

/// volo's balancers only say which instance it is; there is nothing to call.
fn select<B>(balance: B, n: usize) -> Run
where
    B: LoadBalance<StaticDiscover>,
{
    let discover = StaticDiscover::from(addresses(n).collect::<Vec<_>>());
    let service = Endpoint::new("service".into());
    Box::new(move |requests| {
        let cx = &mut Context::from_waker(Waker::noop());
        // Where volo looks for the hash of a request.
        METAINFO.sync_scope(RefCell::new(MetaInfo::new()), || {
            let start = Instant::now();
            for n in 0..requests {
                let hash = RequestHash(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                METAINFO.with(|info| info.borrow_mut().insert(hash));
                let picker = pin!(balance.get_picker(&service, &discover)).poll(cx);
                let Poll::Ready(Ok(mut picker)) = picker else { panic!("ready at once") };
                black_box(picker.next().expect("an instance"));
            }
            start.elapsed()
        })
    })
}

pub fn random(n: usize) -> Run {
    select(WeightedRandomBalance::new(), n)
}

pub fn consistent_hash(n: usize) -> Run {
    select(ConsistentHashBalance::new(ConsistentHashOption::default()), n)
}
