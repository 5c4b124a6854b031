//! Reads and changes header fields, in particular those that are lists (RFC 9110, 5.6.1).

#![cfg_attr(not(feature = "proxy"), allow(dead_code))]

use http::{HeaderMap, HeaderName, HeaderValue, header::Entry};

/// Returns the elements of all fields with the name, without those that are empty.
pub(crate) fn elements<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let values = headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    let elements = values.flat_map(|value| value.split(|&byte| byte == b','));
    elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Returns whether the list has the token, without parameters and whatever its case.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let without_parameters =
        |element: &'_ [u8]| element.iter().position(|&byte| byte == b';').unwrap_or(element.len());
    elements(headers, name).any(|element| {
        let element = element[..without_parameters(element)].trim_ascii();
        element.eq_ignore_ascii_case(token.as_bytes())
    })
}

/// Joins values to one. Valid values with a printable separator between them are a valid value, so
/// the result is never `None` for those of a header map.
pub(crate) fn join<'a>(
    values: impl Iterator<Item = &'a HeaderValue>,
    separator: &str,
) -> Option<HeaderValue> {
    let values: Vec<_> = values.map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&values.join(separator.as_bytes())).ok()
}

/// Adds an element to a list, as the last one of one field: some endpoints read only the first
/// field, and would believe what the client sent.
pub(crate) fn append_element(headers: &mut HeaderMap, name: HeaderName, element: HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(entry) => {
            entry.insert(element);
        }
        Entry::Occupied(mut entry) => {
            let sent = entry.iter().filter(|value| !value.is_empty());
            if let Some(list) = join(sent.chain([&element]), ", ") {
                entry.insert(list);
            }
        }
    }
}

/// Removes the fields whose names match.
pub(crate) fn remove_if(headers: &mut HeaderMap, is_removed: impl Fn(&HeaderName) -> bool) {
    // Most messages have none of the fields. Then this allocates nothing.
    let names: Vec<_> = headers.keys().filter(|name| is_removed(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CONNECTION, TE};

    use super::*;

    #[test]
    fn all_fields_of_a_list_are_read() {
        let mut headers = HeaderMap::new();
        for value in ["close , X-A,,", "", "x-b", "\"a"] {
            headers.append(CONNECTION, HeaderValue::from_static(value));
        }
        headers.insert(TE, HeaderValue::from_static("gzip;q=0.5, Trailers ;q=1"));
        let found: Vec<_> = elements(&headers, &CONNECTION).collect();
        assert_eq!(found, [&b"close"[..], b"X-A", b"x-b", b"\"a"]);
        assert!(has_token(&headers, &CONNECTION, "x-a") && has_token(&headers, &TE, "trailers"));
        assert!(!has_token(&headers, &CONNECTION, "x") && !has_token(&headers, &TE, "q=1"));
        assert_eq!(
            join(headers.get_all(CONNECTION).iter(), "; ").unwrap(),
            "close , X-A,,; ; x-b; \"a"
        );
    }
}
