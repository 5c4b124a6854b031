use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Response, header};
use openidconnect::url::form_urlencoded;

use super::{
    answer::{Failure, redirect},
    builder::Settings,
    head::RequestHead,
    login::Login,
    tokens::CodeGrant,
};

/// The parameters with which the provider sends a browser back (RFC 6749, 4.1.2 and RFC 9207).
#[derive(Default)]
pub(super) struct CallbackParameters<'a> {
    pub(super) state: Option<Cow<'a, str>>,
    code: Option<Cow<'a, str>>,
    error: Option<Cow<'a, str>>,
    issuer: Option<Cow<'a, str>>,
}

impl<'a> CallbackParameters<'a> {
    /// Reads the query. `None` if a parameter occurs twice.
    pub(super) fn parse(query: &'a str) -> Option<Self> {
        let mut parameters = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let parameter = match &*name {
                "state" => &mut parameters.state,
                "code" => &mut parameters.code,
                "error" => &mut parameters.error,
                "iss" => &mut parameters.issuer,
                _ => continue,
            };
            if parameter.replace(value).is_some() {
                return None;
            }
        }
        Some(parameters)
    }
}

impl Settings {
    /// Finishes a login: answers the request with which the provider sends the browser back.
    ///
    /// The cookie of the login is deleted in any case, so that its `state` is of no more use.
    pub(super) async fn finish_login(
        &self,
        head: &RequestHead,
    ) -> Result<Response<Bytes>, Failure> {
        let invalid = || Failure::Refused("the request to the callback path is not valid");
        if head.method != Method::GET {
            return Err(invalid());
        }
        let parameters = CallbackParameters::parse(head.uri.query().unwrap_or_default());
        let parameters = parameters.ok_or_else(invalid)?;
        let state = parameters.state.as_deref().ok_or_else(invalid)?;
        let login = self
            .open_state(state, head.origin.host())
            .ok_or(Failure::Refused("the state is not of this realm and host, or forged"))?;

        let ended = self.cookies.delete_login(&login.id);
        let mut response = match self.log_in(&login, &parameters, head).await {
            Ok(response) => response,
            Err(failure) => {
                self.failures.log(&failure);
                failure.respond()
            }
        };
        if let Some(cookie) = ended {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }

    async fn log_in(
        &self,
        login: &Login,
        parameters: &CallbackParameters<'_>,
        head: &RequestHead,
    ) -> Result<Response<Bytes>, Failure> {
        self.check_login(login, &head.cookies)?;
        // A provider that names itself must be the one that was asked (RFC 9207).
        let issuer = parameters.issuer.as_deref();
        if issuer.is_some_and(|issuer| issuer != self.tokens.provider.issuer.as_str()) {
            return Err(Failure::Refused("the answer is of another provider"));
        }
        if let Some(error) = &parameters.error {
            return Err(Failure::Provider(format!("error {error}")));
        }
        let code = parameters.code.as_deref().filter(|code| !code.is_empty());
        let session = self
            .tokens
            .login(CodeGrant {
                code: code.ok_or(Failure::Refused("there is no code"))?.to_owned(),
                verifier: login.verifier.clone(),
                nonce: login.nonce.clone(),
                redirect: self.redirect_url(&head.origin)?,
            })
            .await?;
        let cookies = self.session_cookies(&session, head)?;
        tracing::debug!(realm = self.failures.realm, "user logged in");
        redirect(&login.return_url(&head.origin), cookies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_occur_once() {
        let parameters = CallbackParameters::parse("state=a%20b&code=c&x=1&x=2&iss=i").unwrap();
        assert_eq!(parameters.state.as_deref(), Some("a b"));
        assert_eq!(parameters.code.as_deref(), Some("c"));
        assert_eq!((parameters.error, parameters.issuer.as_deref()), (None, Some("i")));
        for query in ["state=a&state=a", "code=a&code=b", "error=&error=", "iss=a&iss=b"] {
            assert!(CallbackParameters::parse(query).is_none(), "{query}");
        }
    }
}
