use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

use crate::BoxError;

/// The shortest RSA modulus that is accepted (RFC 7518, 3.3).
const MIN_RSA_BITS: usize = 2048;

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// Returns the keys of a JWK set (RFC 7517) that can verify signatures.
///
/// Keys for another use, keys of an unknown type, symmetric keys and short RSA keys are left out. A
/// set with more than `max_keys` keys of any kind is an error, and so is one without a usable key.
pub(super) fn verification_keys(text: &[u8], max_keys: usize) -> Result<Vec<Value>, BoxError> {
    // An error of the parser could quote the document.
    let document: Document =
        serde_json::from_slice(text).map_err(|_| "the document is not a JSON Web Key Set")?;
    if document.keys.len() > max_keys {
        return Err(format!("the key set has more than {max_keys} keys").into());
    }
    let keys: Vec<_> = document.keys.into_iter().filter(is_verification_key).collect();
    if keys.is_empty() {
        return Err("the key set has no key that verifies signatures".into());
    }
    Ok(keys)
}

fn is_verification_key(key: &Value) -> bool {
    let for_signatures = match key.get("use") {
        None => true,
        Some(purpose) => purpose == "sig",
    };
    let verifies = match key.get("key_ops") {
        None => true,
        Some(operations) => {
            operations.as_array().is_some_and(|operations| operations.iter().any(|o| o == "verify"))
        }
    };
    let is_usable = match key.get("kty").and_then(Value::as_str) {
        Some("RSA") => key.get("n").and_then(Value::as_str).is_some_and(is_long_modulus),
        Some("EC" | "OKP") => true,
        _ => false,
    };
    for_signatures && verifies && is_usable
}

fn is_long_modulus(text: &str) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(text) else { return false };
    let mut significant = bytes.iter().skip_while(|&&byte| byte == 0);
    let Some(first) = significant.next() else { return false };
    let bits = 8 * (1 + significant.count()) - first.leading_zeros() as usize;
    bits >= MIN_RSA_BITS
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn usable(keys: Value) -> Result<usize, String> {
        let text = json!({ "keys": keys }).to_string();
        verification_keys(text.as_bytes(), 10)
            .map(|keys| keys.len())
            .map_err(|error| error.to_string())
    }

    fn rsa(bits: usize) -> Value {
        let mut modulus = vec![0; 1];
        modulus.push(1 << ((bits - 1) % 8));
        modulus.resize(1 + bits.div_ceil(8), 1);
        json!({ "kty": "RSA", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode(modulus) })
    }

    #[test]
    fn keys_that_cannot_verify_are_left_out() {
        let with = |name: &str, value: Value| {
            let mut key = rsa(2048);
            key[name] = value;
            key
        };
        assert_eq!(usable(json!([rsa(2048), rsa(4096), rsa(2047), rsa(1024)])), Ok(2));
        let (sig, verify) = (with("use", json!("sig")), with("key_ops", json!(["sign", "verify"])));
        assert_eq!(usable(json!([sig, verify, { "kty": "EC" }, { "kty": "OKP" }])), Ok(4));
        let none = "the key set has no key that verifies signatures";
        for key in [
            rsa(2047),
            with("use", json!("enc")),
            with("use", Value::Null),
            with("key_ops", json!(["encrypt"])),
            with("n", json!("AQ=")),
            with("kty", json!("rsa")),
            json!({ "kty": "oct", "k": "c2VjcmV0" }),
            json!({}),
            json!(1),
        ] {
            assert_eq!(usable(json!([key])), Err(none.to_owned()), "{key}");
        }
    }

    #[test]
    fn the_number_of_keys_is_limited() {
        assert_eq!(usable(json!(vec![rsa(2048); 10])), Ok(10));
        assert_eq!(
            usable(json!(vec![json!({ "kty": "oct" }); 11])),
            Err("the key set has more than 10 keys".to_owned())
        );
        for text in ["", "{}", "[]", "{\"keys\":{}}", "{\"keys\":\"secret\"}"] {
            let error = verification_keys(text.as_bytes(), 10).unwrap_err().to_string();
            assert_eq!(error, "the document is not a JSON Web Key Set", "{text}");
        }
    }
}
