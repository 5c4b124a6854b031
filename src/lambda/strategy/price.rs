/// The price of a function, in any currency.
///
/// A negative amount, or one that is not a number, counts as 0. Amounts above 1e100 count as 1e100.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    per_request: f64,
    per_gb_second: f64,
    memory_gb: f64,
}

impl Price {
    /// Creates a price of 0.
    #[must_use]
    pub const fn new() -> Self {
        Self { per_request: 0.0, per_gb_second: 0.0, memory_gb: 0.0 }
    }

    /// Sets the price of a request regardless of its duration: of the invocation, and of traffic to
    /// another region. Default 0.
    #[must_use]
    pub fn per_request(mut self, price: f64) -> Self {
        self.per_request = amount(price);
        self
    }

    /// Sets the price of a gigabyte of memory for a second. Default 0.
    #[must_use]
    pub fn per_gb_second(mut self, price: f64) -> Self {
        self.per_gb_second = amount(price);
        self
    }

    /// Sets the function's memory in MB, of 2^20 bytes each as Lambda counts. Default 0.
    #[must_use]
    pub fn memory_mb(mut self, memory: u32) -> Self {
        self.memory_gb = f64::from(memory) / 1024.0;
        self
    }

    pub(super) fn request(self) -> f64 {
        self.per_request
    }

    /// Returns the price of a second.
    pub(super) fn second(self) -> f64 {
        self.per_gb_second * self.memory_gb
    }
}

/// The highest amount: infinity times 0 is not a number, which can't be compared.
pub(super) const MAX_AMOUNT: f64 = 1e100;

fn amount(amount: f64) -> f64 {
    if amount > 0.0 { amount.min(MAX_AMOUNT) } else { 0.0 }
}
