use crate::rng::Rng;

/// Returns a random UUID of version 4, for ids in events.
pub(crate) fn uuid() -> String {
    let mut rng = Rng::from_entropy();
    let [a, b] = [rng.bits(), rng.bits()];
    let (time, version) = (a >> 16 & 0xffff, a & 0xfff);
    format!(
        "{:08x}-{time:04x}-4{version:03x}-{:04x}-{:012x}",
        a >> 32,
        b >> 50 | 0x8000,
        b & ((1 << 48) - 1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_version_4() {
        for _ in 0..100 {
            let id = uuid();
            let parts: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert!(id[14..].starts_with('4') && "89ab".contains(&id[19..20]), "{id}");
        }
    }
}
