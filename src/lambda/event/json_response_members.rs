//! Reads the members of a JSON response. Strings without escapes are borrowed, not copied.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The members that headers are read from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderMember {
    /// `headers`.
    Single,
    /// `multiValueHeaders`.
    Multi,
    /// `headers` and `cookies`.
    SingleAndCookies,
}

/// The members of a response, not validated.
#[derive(Default)]
pub(super) struct Members<'a> {
    pub(super) status: Scalar<'a>,
    pub(super) headers: Vec<(Cow<'a, str>, Scalar<'a>)>,
    /// The body as it is written, with quotes and escapes.
    pub(super) body: Option<&'a RawValue>,
    pub(super) is_base64: bool,
}

pub(super) struct MembersVisitor(pub(super) HeaderMember);

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a response")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(Text(name)) = map.next_key()? {
            match (&*name, self.0) {
                ("statusCode", _) => members.status = map.next_value()?,
                ("body", _) => members.body = Some(map.next_value()?),
                ("isBase64Encoded", _) => {
                    members.is_base64 = map.next_value::<Option<bool>>()?.unwrap_or_default();
                }
                ("headers", HeaderMember::Single | HeaderMember::SingleAndCookies) => {
                    let headers: Option<Pairs<'de, Scalar<'de>>> = map.next_value()?;
                    members.headers.extend(headers.into_iter().flat_map(|pairs| pairs.0));
                }
                ("multiValueHeaders", HeaderMember::Multi) => {
                    let headers: Option<Pairs<'de, Vec<Scalar<'de>>>> = map.next_value()?;
                    for (name, values) in headers.into_iter().flat_map(|pairs| pairs.0) {
                        let values = values.into_iter().map(|value| (name.clone(), value));
                        members.headers.extend(values);
                    }
                }
                ("cookies", HeaderMember::SingleAndCookies) => {
                    let cookies: Option<Vec<Scalar<'de>>> = map.next_value()?;
                    let cookies = cookies.into_iter().flatten();
                    members.headers.extend(cookies.map(|cookie| ("set-cookie".into(), cookie)));
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

/// A string, borrowed if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of an object in order, including repeated names.
struct Pairs<'a, V>(Vec<(Cow<'a, str>, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<'de, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<V> {
            type Value = Pairs<'de, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

/// A string, or `None` for `null`. Numbers and booleans are accepted, since functions in dynamic
/// languages write them.
#[derive(Default)]
pub(super) struct Scalar<'a>(pub(super) Option<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar(Some(Cow::Borrowed(text))))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                self.visit_string(text.to_owned())
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(Scalar(Some(Cow::Owned(text))))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
                self.visit_string(value.to_string())
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                self.visit_string(value.to_string())
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
                self.visit_string(value.to_string())
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
                self.visit_string(value.to_string())
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Scalar::default())
            }
        }

        deserializer.deserialize_any(Any)
    }
}
