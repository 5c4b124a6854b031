//! Reads the members of JSON objects.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::json_string::split_string;

/// The members of an object in their order, including those of the same name.
pub(super) struct Members<'a, V>(pub(super) Vec<(Name<'a>, V)>);

/// A string, borrowed if it has no escapes.
#[derive(Deserialize)]
pub(super) struct Name<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// The value of a member.
pub(super) struct JsonValue<'a> {
    /// The value as JSON.
    pub(super) json: &'a str,
    /// The text of a string, if it has been read already.
    pub(super) text: Option<Cow<'a, str>>,
}

impl<V> Default for Members<'_, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a> From<&'a RawValue> for JsonValue<'a> {
    fn from(json: &'a RawValue) -> Self {
        Self { json: json.get(), text: None }
    }
}

impl<'a> Members<'a, JsonValue<'a>> {
    /// Returns the members of an object.
    ///
    /// This reads each string once, while `serde_json` reads it once to find its end and again for
    /// its text. `serde_json` reads the other values. It also parses the whole object if this
    /// function rejects it, and returns the error.
    pub(super) fn of_object(json: &'a [u8]) -> serde_json::Result<Self> {
        match std::str::from_utf8(json).ok().and_then(Self::split) {
            Some(members) => Ok(members),
            None => serde_json::from_slice::<Members<'_, &RawValue>>(json).map(Self::from),
        }
    }

    fn split(json: &'a str) -> Option<Self> {
        let mut members = Vec::new();
        let mut rest = trimmed(trimmed(json).strip_prefix('{')?);
        while rest.starts_with('"') {
            let (name, after) = split_string(rest)?;
            let (value, after) = JsonValue::split(trimmed(trimmed(after).strip_prefix(':')?))?;
            members.push((Name(name), value));
            rest = trimmed(after);
            match rest.strip_prefix(',') {
                // Another name must follow a comma.
                Some(after) => rest = Some(trimmed(after)).filter(|rest| rest.starts_with('"'))?,
                None => break,
            }
        }
        let is_end = rest.strip_prefix('}').is_some_and(|rest| trimmed(rest).is_empty());
        is_end.then_some(Self(members))
    }
}

impl<'a> From<Members<'a, &'a RawValue>> for Members<'a, JsonValue<'a>> {
    fn from(members: Members<'a, &'a RawValue>) -> Self {
        Self(members.0.into_iter().map(|(name, value)| (name, value.into())).collect())
    }
}

impl<'a> JsonValue<'a> {
    /// Returns the same value with borrowed text.
    pub(super) fn by_ref(&self) -> JsonValue<'_> {
        JsonValue { json: self.json, text: self.text.as_deref().map(Cow::Borrowed) }
    }

    fn split(json: &'a str) -> Option<(Self, &'a str)> {
        if json.starts_with('"') {
            let (text, rest) = split_string(json)?;
            let json = &json[..json.len() - rest.len()];
            return Some((Self { json, text: Some(text) }, rest));
        }
        let mut values = serde_json::Deserializer::from_str(json).into_iter::<&RawValue>();
        let value = values.next()?.ok()?;
        Some((value.into(), &json[values.byte_offset()..]))
    }
}

/// Removes whitespace as JSON defines it from the start.
fn trimmed(json: &str) -> &str {
    json.trim_start_matches([' ', '\t', '\n', '\r'])
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Members<'de, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Pairs<V> {
            type Value = Members<'de, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Members(pairs))
            }
        }

        deserializer.deserialize_map(Pairs(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Pairs = Vec<(String, String)>;

    fn split(json: &str) -> Option<Pairs> {
        let Members(members) = Members::split(json)?;
        let pair = |(Name(name), value): (Name<'_>, JsonValue<'_>)| {
            let is_text = value.json.starts_with('"');
            assert_eq!(value.text.is_some(), is_text);
            if let Some(text) = value.text {
                assert_eq!(text, serde_json::from_str::<String>(value.json).unwrap());
            }
            (name.into_owned(), value.json.to_owned())
        };
        Some(members.into_iter().map(pair).collect())
    }

    fn by_serde_json(json: &str) -> Option<Pairs> {
        let Members(members) = serde_json::from_str::<Members<'_, &RawValue>>(json).ok()?;
        let pair = |(Name(name), value): (Name<'_>, &RawValue)| {
            (name.into_owned(), value.get().to_owned())
        };
        Some(members.into_iter().map(pair).collect())
    }

    #[test]
    fn all_members_are_read_in_their_order() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
        for json in [
            "{}",
            " {\t}\r\n",
            r#"{"a":1,"a":"2","a":null}"#,
            r#"{ "a" : true , "b" : [ {"c":"\"}"} ] , "d" : {"}":"{"} }"#,
            r#"{"\u0061\n":"\u00e9\\","":""}"#,
            r#"{"a":1e400,"b":-0.0,"c":123456789012345678901234567890}"#,
            r#"{"a":["\ud800"]}"#,
            &deep,
        ] {
            let found = split(json);
            assert!(found.is_some(), "{json}");
            assert_eq!(found, by_serde_json(json), "{json}");
        }
    }

    #[test]
    fn what_is_no_object_is_left_to_serde_json() {
        for json in [
            "",
            "{",
            "[]",
            "\"a\"",
            "7",
            "{}{}",
            "{} x",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":1"b":2}"#,
            r#"{"a":"1""b":2}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":t}"#,
            r#"{"a":nullx}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":"\x"}"#,
            r#"{a:1}"#,
            r#"{"a":1}}"#,
            r#"{"a"::1}"#,
            "{\"a\":\"\n\"}",
            "\u{c}{}",
            "\u{feff}{}",
            "{\u{a0}}",
        ] {
            assert_eq!(split(json), None, "{json}");
            assert!(by_serde_json(json).is_none(), "{json}");
            assert!(Members::of_object(json.as_bytes()).is_err(), "{json}");
        }
        assert!(Members::of_object(b"{\"a\":\"\xff\"}").is_err());
        // A surrogate without its pair is an error only where the text is read.
        let lone = r#"{"a":"\ud800"}"#;
        assert_eq!(split(lone), None);
        let Members(members) = Members::of_object(lone.as_bytes()).unwrap();
        assert!(members[0].1.text.is_none());
        assert_eq!(members[0].1.json, r#""\ud800""#);
    }

    /// Pieces of JSON, mostly in an order that makes an object.
    fn nearly() -> impl Strategy<Value = String> {
        let of = |pieces: &'static [&'static str]| prop::sample::select(pieces);
        let space = of(&["", "", "", " ", "\n\t\r "]);
        let name = of(&[r#""a""#, r#""b\n""#, r#""\ud83d\ude00""#, r#""\ud83d""#, "a", ""]);
        let value = of(&[
            "1",
            "-1.5e+7",
            "01",
            "true",
            "null",
            "nul",
            r#""text""#,
            r#""\"\\""#,
            r#""\ud800""#,
            "[]",
            "{}",
            r#"{"a":[1,{"b":"]"}]}"#,
            "[1",
            "1]",
            "",
            "\"",
        ]);
        let colon = of(&[":", ":", ":", ":", "::", ""]);
        let comma = of(&[",", ",", ",", ",", "}", ""]);
        let member = (space.clone(), name, colon, space.clone(), value, space.clone())
            .prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f].concat());
        let members = prop::collection::vec((member, comma), 0..5);
        let end = of(&["}", "}", "}", "}}", ",}", "} ", "", "} 7"]);
        (space, members, end).prop_map(|(space, members, end)| {
            let mut json = format!("{space}{{");
            for (number, (member, comma)) in members.iter().enumerate() {
                json.push_str(if number == 0 { "" } else { comma });
                json.push_str(member);
            }
            json + end
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn objects_are_read_as_serde_json_reads_them(json in nearly()) {
            let expected = by_serde_json(&json);
            let found = Members::of_object(json.as_bytes());
            prop_assert_eq!(found.is_ok(), expected.is_some());
            if let Some(found) = split(&json) {
                prop_assert_eq!(Some(found), expected);
            } else if expected.is_some() {
                // The one thing that only `serde_json` accepts.
                prop_assert!(json.to_lowercase().contains("\\ud8"), "{}", json);
            }
        }
    }
}
