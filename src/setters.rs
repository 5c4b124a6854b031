/// Defines the setters of a builder that only store their argument:
/// `pub fn name(argument: Type) => field = value;`.
macro_rules! setters {
    ($(
        $(#[$attribute:meta])*
        pub fn $name:ident($argument:ident: $type:ty) => $($field:ident).+ = $value:expr;
    )+) => { $(
        $(#[$attribute])*
        #[must_use]
        pub fn $name(mut self, $argument: $type) -> Self {
            self.$($field).+ = $value;
            self
        }
    )+ };
}
