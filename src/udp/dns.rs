//! As much of DNS messages as balancing needs (RFC 1035, 4.1).

use bytes::Bytes;

use crate::ParseError;

const HEADER_BYTES: usize = 12;
const MAX_LABEL_BYTES: usize = 63;
/// Of an encoded name, with the length of each label and the end.
const MAX_NAME_BYTES: usize = 255;

/// Returns a recursive query for the A records of `name`.
pub(super) fn query(name: &str) -> Result<Bytes, ParseError> {
    let invalid = || ParseError::new("domain name", name, "labels of 1 to 63 bytes, 253 in all");
    // The id need not be random: the socket of a check has a random port, and takes datagrams of
    // the target only.
    let mut query = vec![0x17, 0x5C, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        if !(1..=MAX_LABEL_BYTES).contains(&label.len()) && name != "." {
            return Err(invalid());
        }
        if !label.is_empty() {
            query.push(label.len() as u8);
            query.extend_from_slice(label.as_bytes());
        }
    }
    query.push(0);
    if query.len() > HEADER_BYTES + MAX_NAME_BYTES {
        return Err(invalid());
    }
    // Type A, class IN.
    query.extend_from_slice(&[0, 1, 0, 1]);
    Ok(query.into())
}

/// Returns whether `reply` is a response to `query`: its id is the same, and it is a response.
pub(super) fn is_response(query: &[u8], reply: &[u8]) -> bool {
    reply.len() >= HEADER_BYTES
        && query.get(..2) == reply.get(..2)
        && reply.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

/// Returns whether `reply` is a response to `query` with the code NOERROR or NXDOMAIN.
pub(super) fn is_useful_response(query: &[u8], reply: &[u8]) -> bool {
    let code = reply.get(3).map(|flags| flags & 0x0F);
    is_response(query, reply) && matches!(code, Some(0 | 3))
}

/// For the fuzz targets: returns whether `reply` is a response to `query`, and whether its code is
/// NOERROR or NXDOMAIN.
#[cfg(tower_lb_fuzz)]
pub fn dns_response(query: &[u8], reply: &[u8]) -> (bool, bool) {
    (is_response(query, reply), is_useful_response(query, reply))
}

/// For the fuzz targets: returns the query of a health check.
#[cfg(tower_lb_fuzz)]
pub fn dns_query(name: &str) -> Result<Bytes, ParseError> {
    query(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_the_form_of_rfc_1035() {
        let query = query("a.example.").unwrap();
        assert_eq!(query[2..12], [1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(query[12..], *b"\x01a\x07example\0\0\x01\0\x01");
        assert_eq!(super::query(".").unwrap()[12..], [0, 0, 1, 0, 1]);
        let long = [&"x".repeat(63); 4].map(String::as_str).join(".");
        for invalid in ["", "a..b", &"x".repeat(64), &long] {
            assert!(super::query(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn only_a_response_to_the_query_counts() {
        let query = query("example").unwrap();
        let mut reply = query.to_vec();
        assert!(!is_response(&query, &reply), "a query");
        reply[2] |= 0x80;
        assert!(is_useful_response(&query, &reply));
        reply[3] |= 2;
        assert!(is_response(&query, &reply) && !is_useful_response(&query, &reply), "SERVFAIL");
        reply[0] ^= 1;
        assert!(!is_response(&query, &reply), "another id");
        assert!(!is_response(&query, &query[..5]));
    }
}
