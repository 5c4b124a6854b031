//! Where requests wait for a free slot.

mod queue;
mod slots;

pub(crate) use self::{
    queue::{Look, Take, Ticket, WaitQueue, Watch},
    slots::Slots,
};
