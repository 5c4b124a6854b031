/// What a function costs, in any currency.
///
/// What is negative or no number counts as 0, and what is more than 1e100 as that.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    per_request: f64,
    per_gb_second: f64,
    memory_gb: f64,
}

impl Price {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { per_request: 0.0, per_gb_second: 0.0, memory_gb: 0.0 }
    }

    /// Sets what a request costs, whatever it does: the price of an invocation, and of what it sends
    /// to another region. Default 0.
    #[must_use]
    pub fn per_request(mut self, price: f64) -> Self {
        self.per_request = amount(price);
        self
    }

    /// Sets what a gigabyte of memory costs for a second. Default 0.
    #[must_use]
    pub fn per_gb_second(mut self, price: f64) -> Self {
        self.per_gb_second = amount(price);
        self
    }

    /// Sets the function's memory, in units of 2^20 bytes as Lambda counts it. Default 0.
    #[must_use]
    pub fn memory_mb(mut self, memory: u32) -> Self {
        self.memory_gb = f64::from(memory) / 1024.0;
        self
    }

    pub(super) fn request(self) -> f64 {
        self.per_request
    }

    /// What a second costs.
    pub(super) fn second(self) -> f64 {
        self.per_gb_second * self.memory_gb
    }
}

/// An amount that can be counted with: infinity times nothing is no number, and nothing compares with that.
pub(super) fn amount(amount: f64) -> f64 {
    if amount > 0.0 { amount.min(1e100) } else { 0.0 }
}
