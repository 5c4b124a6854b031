//! Where requests wait for a free slot, in order of arrival.
//!
//! [`Slots`] counts the requests at one endpoint and limits them. The [`WaitQueue`] of a balancer
//! has the requests that found no free slot, each with a [`Ticket`], and the tasks that only
//! [`Watch`] for room, such as a pending `poll_ready`. Requests touch the queue only when an
//! endpoint is full or missing: one that finds room reads two atomics of it when it ends.
//!
//! # States
//!
//! A slot is *free*, *used* by a request, or *offered* to a queued request. An offered slot counts
//! as used in [`Slots`], so that no newcomer can take it.
//!
//! A queued request is in one of three states:
//!
//! | state | waker | offers | ends when |
//! |---|---|---|---|
//! | *sleeping* | registered | none | it is woken: a slot is offered, or the endpoints change |
//! | *woken* | `None` | any | its task is polled and it calls [`Ticket::look`] |
//! | *looking* | registered | those seen | it takes a slot and leaves, or [declines](Ticket::decline) |
//!
//! # Hand-over
//!
//! 1. A request ends and releases its slot. If a request is queued, the slot stays used and is
//!    *offered* to one of them, which is woken.
//! 2. Only the request itself knows whether the strategy sends it there. It picks again in its own
//!    poll, and *takes* the slot or *declines* it.
//! 3. A declined slot is offered to the next request. If no queued request wants it, it becomes
//!    free, and the watchers for room are woken.
//!
//! A request that leaves the queue, for whatever reason, passes its offers on.
//!
//! # Order
//!
//! - A slot is offered to the first request that has no other offer and has not declined its
//!   endpoint since the last change of the endpoints. So a request is asked once about each
//!   endpoint after each change, and again only if it has picked that endpoint since.
//! - If all such requests hold other offers, the slot is offered to the first of them: otherwise
//!   a younger request, or a newcomer that finds the slot free, would overtake it.
//! - A request that would take a slot before an older one was asked *cedes* it: the older one
//!   decides first. The younger one is woken again and gets the slot back if the older one has not
//!   come by the time that it is polled.
//! - A request that is woken but never polled keeps its offers until another request picks the same
//!   endpoint and is polled three times. Until then `poll_ready` does not count such a slot as
//!   room.
//!
//! # No wake-up is lost
//!
//! Each side writes first and reads afterwards, so at least one of them sees the other:
//!
//! | waits | releases |
//! |---|---|
//! | 1. joins the queue or registers (`queued`, `watching`) | 1. frees the slot (`used`) |
//! | 2. looks for a free slot (`used`) | 2. reads whether a request waits (`queued`, `watching`) |
//!
//! These four accesses are sequentially consistent: with acquire and release alone, both sides
//! could read the value from before the other's write. All other state is behind the queue's lock.
//!
//! # Cost
//!
//! Each step takes time in proportion to the logarithm of the queue's length. It also visits the
//! requests that declined an endpoint while an older one was busy with another offer. There are
//! few, unless the older one is never polled.

mod declined;
mod queue;
mod slots;
mod ticket;
mod watch;

pub(crate) use self::{
    queue::WaitQueue,
    slots::Slots,
    ticket::{Look, Take, Ticket},
    watch::Watch,
};
