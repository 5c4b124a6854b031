use std::sync::Arc;

use crate::{
    ConfigError,
    alb::{
        config::{self, Checked, Problem, ProblemKind},
        load_balancer::resources::Resources,
    },
    listener::tls::{Certificate, Certificates, ClientAuth, SecurityPolicy, ServerTls, TrustStore},
};

/// Makes the TLS side of an HTTPS listener; `None` for one without TLS. `present` is what it
/// replaces.
pub(in crate::alb::load_balancer) fn assemble_tls(
    listener: &config::Listener,
    config: &Checked,
    resources: &Resources,
    present: Option<&ServerTls>,
    problems: &mut Vec<Problem>,
) -> Option<ServerTls> {
    if listener.protocol != config::ListenerProtocol::Https {
        return None;
    }
    let made = make_tls(listener, config, resources, present);
    made.map_err(|error| problems.push(problem(listener.port, &error))).ok()
}

/// Returns the problem with a path in the configuration, whose first certificate is the default one
/// of TLS.
fn problem(port: u16, error: &ConfigError) -> Problem {
    let named = |rest: &str| {
        let (index, rest) = rest.split_once(']')?;
        Some(format!("certificates[{}]{rest}", index.parse::<usize>().ok()? + 1))
    };
    let field = error.field();
    let field = match field.strip_prefix("default_certificates[") {
        Some(default) => format!("certificates[{default}"),
        None => {
            field.strip_prefix("certificates[").and_then(named).unwrap_or_else(|| field.to_owned())
        }
    };
    let path = format!("listeners.{port}.{field}");
    let problem = Problem::new(ProblemKind::Invalid, path, error.expected().to_owned());
    error.value().into_iter().fold(problem, Problem::with_value)
}

fn make_tls(
    listener: &config::Listener,
    config: &Checked,
    resources: &Resources,
    present: Option<&ServerTls>,
) -> Result<ServerTls, ConfigError> {
    let mut certificates = Certificates::builder();
    if let Some(present) = present {
        certificates = certificates.replacing(&present.certificates());
    }
    if let Some(provider) = &resources.crypto_provider {
        certificates = certificates.crypto_provider(Arc::clone(provider));
    }
    for (position, certificate) in listener.certificates.iter().enumerate() {
        let certificate = make_certificate(certificate, config, resources)?;
        certificates = match position {
            0 => certificates.default_certificate(certificate),
            _ => certificates.certificate(certificate),
        };
    }
    let policy = match &listener.security_policy {
        Some(name) => SecurityPolicy::alb(name)?,
        None => SecurityPolicy::intermediate(),
    };
    ServerTls::builder(certificates.build()?)
        .policy(policy)
        .client_auth(client_auth(&listener.mutual_tls, config)?)
        .build()
}

fn make_certificate(
    certificate: &config::Certificate,
    config: &Checked,
    resources: &Resources,
) -> Result<Certificate, ConfigError> {
    let unknown = || {
        let expected = "the names of certificates in `bindings.certificates`";
        ConfigError::new("certificates", expected)
    };
    match config.bound_certificate(certificate).ok_or_else(unknown)? {
        config::CertificateBinding::Files { certificate, key } => {
            Ok(Certificate::files(certificate, key))
        }
        config::CertificateBinding::Program { program } => {
            resources.certificates.get(program).cloned().ok_or_else(|| {
                let expected = "a certificate that the program supplies";
                ConfigError::new("certificates", expected).with_value(program)
            })
        }
    }
}

fn client_auth(mutual: &config::MutualTls, config: &Checked) -> Result<ClientAuth, ConfigError> {
    let (store, ignore_expiry, advertise) = match mutual {
        config::MutualTls::Off => return Ok(ClientAuth::Off),
        config::MutualTls::Passthrough => return Ok(ClientAuth::Passthrough),
        config::MutualTls::Verify { trust_store, ignore_expiry, advertise_ca_names } => {
            (trust_store, *ignore_expiry, *advertise_ca_names)
        }
    };
    let binding = config.bindings.trust_stores.get(store).ok_or_else(|| {
        let expected = "the name of a trust store in `bindings.trust_stores`";
        ConfigError::new("mutual_tls.trust_store", expected).with_value(store)
    })?;
    let mut builder = TrustStore::builder().bundle_file(&binding.certificates);
    for revocations in &binding.revocations {
        builder = builder.crl_file(revocations);
    }
    let store = builder.ignore_expiry(ignore_expiry).advertise_ca_names(advertise).build()?;
    Ok(ClientAuth::Verify(store))
}
