//! Limits on the size of an answer, so that a broken or hostile source uses a bounded amount of
//! memory.

#[cfg(any(feature = "consul", feature = "kubernetes"))]
pub(crate) use self::bounded_vec::BoundedVec;

/// The largest number of endpoints in one answer. The largest Kubernetes clusters have 150 000
/// pods.
pub(crate) const MAX_ENDPOINTS: usize = 500_000;

#[cfg(any(feature = "consul", feature = "kubernetes"))]
mod bounded_vec {
    use std::{fmt, marker::PhantomData};

    use serde::{
        Deserialize, Deserializer,
        de::{self, SeqAccess, Visitor},
    };

    /// A sequence of at most `MAX` items. Deserializing a longer one fails at the first item above
    /// the limit, before the rest is read.
    #[derive(Clone, Debug)]
    pub(crate) struct BoundedVec<T, const MAX: usize>(pub(crate) Vec<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for BoundedVec<T, MAX> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Items<T, const MAX: usize>(PhantomData<T>);

            impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
                type Value = BoundedVec<T, MAX>;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a sequence")
                }

                fn visit_seq<A: SeqAccess<'de>>(
                    self,
                    mut sequence: A,
                ) -> Result<Self::Value, A::Error> {
                    let mut items = Vec::new();
                    while let Some(item) = sequence.next_element()? {
                        if items.len() >= MAX {
                            return Err(de::Error::custom(format_args!("more than {MAX} items")));
                        }
                        items.push(item);
                    }
                    Ok(BoundedVec(items))
                }
            }

            deserializer.deserialize_seq(Items(PhantomData))
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn one_item_too_many_is_an_error() {
            let all: BoundedVec<u8, 3> = serde_json::from_str("[1,2,3]").unwrap();
            assert_eq!(all.0, [1, 2, 3]);
            let error = serde_json::from_str::<BoundedVec<u8, 3>>("[1,2,3,4]").unwrap_err();
            assert!(error.to_string().starts_with("more than 3 items"), "{error}");
        }
    }
}
