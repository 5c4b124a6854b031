mod aimd;
mod aimd_limit;
mod cost_aware;
mod mean_duration;
mod pack;
mod price;
mod warmth;

pub use self::{
    aimd::{Aimd, AimdPicker},
    cost_aware::{CostAware, CostAwarePicker},
    pack::{Pack, PackPicker},
    price::Price,
};
