//! The JSON of an answer, read without a copy of what is there literally.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// From which members headers are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderMember {
    /// `headers`.
    Single,
    /// `multiValueHeaders`.
    Multi,
    /// `headers` and `cookies`.
    SingleAndCookies,
}

/// An answer's members before they are looked at.
#[derive(Default)]
pub(super) struct Members<'a> {
    pub(super) status: Scalar<'a>,
    pub(super) headers: Vec<(Cow<'a, str>, Scalar<'a>)>,
    /// As it is written.
    pub(super) body: Option<&'a RawValue>,
    pub(super) is_base64: bool,
}

pub(super) struct MembersVisitor(pub(super) HeaderMember);

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer")
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
                    let headers = map.next_value::<Option<Single<'de>>>()?;
                    members.headers.extend(headers.into_iter().flat_map(|all| all.0));
                }
                ("multiValueHeaders", HeaderMember::Multi) => {
                    let headers = map.next_value::<Option<Multi<'de>>>()?;
                    members.headers.extend(headers.into_iter().flat_map(|all| all.0));
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

    // Any other JSON has no members.

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Members<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Members::default())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Members<'de>, E> {
        Ok(Members::default())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Members<'de>, E> {
        Ok(Members::default())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Members<'de>, E> {
        Ok(Members::default())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Members<'de>, E> {
        Ok(Members::default())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Members<'de>, E> {
        Ok(Members::default())
    }

    fn visit_unit<E: Error>(self) -> Result<Members<'de>, E> {
        Ok(Members::default())
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Names to values, in order, repeated or not.
struct Single<'a>(Vec<(Cow<'a, str>, Scalar<'a>)>);

impl<'de> Deserialize<'de> for Single<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Headers;

        impl<'de> Visitor<'de> for Headers {
            type Value = Single<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Single<'de>, A::Error> {
                let mut headers = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    headers.push((name, value));
                }
                Ok(Single(headers))
            }
        }

        deserializer.deserialize_map(Headers)
    }
}

/// Names to lists of values.
struct Multi<'a>(Vec<(Cow<'a, str>, Scalar<'a>)>);

impl<'de> Deserialize<'de> for Multi<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Headers;

        impl<'de> Visitor<'de> for Headers {
            type Value = Multi<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("headers with lists of values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Multi<'de>, A::Error> {
                let mut headers = Vec::new();
                while let Some((Text(name), values)) = map.next_entry::<_, Vec<_>>()? {
                    headers.extend(values.into_iter().map(|value| (name.clone(), value)));
                }
                Ok(Multi(headers))
            }
        }

        deserializer.deserialize_map(Headers)
    }
}

/// A text, or nothing. Numbers and booleans will do: functions in looser languages write them.
#[derive(Default)]
pub(super) struct Scalar<'a>(pub(super) Option<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
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
