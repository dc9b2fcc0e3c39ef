//! Certificates out of subjects, and their way to and from files.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use super::{Error, Identity, Names, files};

/// How long a CA lives.
const CA_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// How long a certificate lives.
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// A start that finds less life left than this makes a new certificate.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(60 * 24);
/// Clocks of other machines may be behind.
const BACKDATE: SignedDuration = SignedDuration::from_hours(24);

/// Whom a certificate is for.
pub struct Subject {
    common_name: String,
    organization: Option<String>,
    names: Names,
    usage: Vec<ExtendedKeyUsagePurpose>,
}

impl Subject {
    pub fn new(common_name: &str, organization: Option<&str>) -> Self {
        Self {
            common_name: common_name.to_owned(),
            organization: organization.map(str::to_owned),
            names: Names::default(),
            usage: Vec::new(),
        }
    }

    pub fn names(mut self, names: &Names) -> Self {
        self.names = names.clone();
        self
    }

    pub fn usage(mut self, usage: ExtendedKeyUsagePurpose) -> Self {
        self.usage.push(usage);
        self
    }

    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    pub fn params(&self, now: Timestamp) -> Result<CertificateParams, Error> {
        let fail = |source| Error::Issue { subject: self.common_name.clone(), source };
        let mut params = CertificateParams::new(Vec::new()).map_err(fail)?;
        for name in &self.names.dns {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().map_err(fail)?));
        }
        params.subject_alt_names.extend(self.names.addresses.iter().copied().map(SanType::IpAddress));
        params.distinguished_name = DistinguishedName::new();
        if let Some(organization) = &self.organization {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        params.distinguished_name.push(DnType::CommonName, &self.common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.clone_from(&self.usage);
        params.use_authority_key_identifier_extension = true;
        set_life(&mut params, now, LEAF_LIFE);
        Ok(params)
    }
}

/// The CA in `dir`, made when there is none. A CA is never renewed silently: everything hangs on it.
pub fn open_ca(dir: &Path, now: Timestamp) -> Result<(Issuer<'static, KeyPair>, String), Error> {
    let key = open_key(&dir.join("ca.key"))?;
    let path = dir.join("ca.crt");
    let ca_pem = match files::read(&path)? {
        Some(pem) => pem,
        None => {
            let mut params = Subject::new("gannet-ca", None).params(now)?;
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages =
                vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
            set_life(&mut params, now, CA_LIFE);
            let made = params.self_signed(&key);
            let pem = made.map_err(|source| Error::Issue { subject: "gannet-ca".to_owned(), source })?.pem();
            files::write_private(&path, &pem)?;
            pem
        }
    };
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, key).map_err(|source| Error::Damaged { path, source })?;
    Ok((issuer, ca_pem))
}

/// The key in a file, made when there is none.
pub fn open_key(path: &Path) -> Result<KeyPair, Error> {
    let damaged = |source| Error::Damaged { path: path.to_path_buf(), source };
    if let Some(pem) = files::read(path)? {
        return KeyPair::from_pem(&pem).map_err(damaged);
    }
    let key = KeyPair::generate().map_err(|source| Error::Issue { subject: "a key".to_owned(), source })?;
    files::write_private(path, &key.serialize_pem())?;
    Ok(key)
}

/// The certificate `name.crt` with its key, issued anew when it is missing, near its end, of another CA or of other names.
pub fn open_leaf(
    dir: &Path,
    name: &str,
    subject: &Subject,
    issuer: &Issuer<'_, KeyPair>,
    now: Timestamp,
) -> Result<Identity, Error> {
    let key = open_key(&dir.join(format!("{name}.key")))?;
    let path = dir.join(format!("{name}.crt"));
    let kept = files::read(&path)?.filter(|pem| serves(pem, subject, issuer, &key, now));
    let cert_pem = match kept {
        Some(pem) => pem,
        None => {
            let issued = subject.params(now)?.signed_by(&key, issuer);
            let pem = issued.map_err(|source| Error::Issue { subject: subject.common_name.clone(), source })?.pem();
            files::write_private(&path, &pem)?;
            pem
        }
    };
    Ok(Identity { cert_pem, key_pem: key.serialize_pem() })
}

/// Whether a certificate on disk still does for this subject.
fn serves(pem: &str, subject: &Subject, issuer: &Issuer<'_, KeyPair>, key: &KeyPair, now: Timestamp) -> bool {
    let Some(der) = certificate_der(pem) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    let lives = certificate.validity().not_after.timestamp() > (now + RENEW_BEFORE).as_second();
    let ours = certificate.public_key().raw == rcgen::PublicKeyData::subject_public_key_info(key);
    let signed = x509_parser::prelude::SubjectPublicKeyInfo::from_der(&rcgen::PublicKeyData::subject_public_key_info(
        issuer.key(),
    ))
    .is_ok_and(|(_, issuer_key)| certificate.verify_signature(Some(&issuer_key)).is_ok());
    lives && ours && signed && names_of(&certificate) == subject.names
}

fn names_of(certificate: &X509Certificate<'_>) -> Names {
    let mut names = Names::default();
    for extension in certificate.extensions() {
        let ParsedExtension::SubjectAlternativeName(list) = extension.parsed_extension() else { continue };
        for name in &list.general_names {
            match name {
                GeneralName::DNSName(name) => {
                    names.dns.insert((*name).to_owned());
                }
                GeneralName::IPAddress(bytes) => {
                    if let Ok(bytes) = <[u8; 4]>::try_from(*bytes) {
                        names.addresses.insert(bytes.into());
                    } else if let Ok(bytes) = <[u8; 16]>::try_from(*bytes) {
                        names.addresses.insert(bytes.into());
                    }
                }
                // Other kinds of names are never issued here.
                _ => {}
            }
        }
    }
    names
}

/// The first certificate of a PEM text.
pub fn certificate_der(pem: &str) -> Option<Vec<u8>> {
    let parsed = rustls_pemfile::certs(&mut pem.as_bytes()).next()?.ok()?;
    Some(parsed.to_vec())
}

fn set_life(params: &mut CertificateParams, now: Timestamp, life: SignedDuration) {
    let day = |moment: Timestamp| {
        let date = moment.to_zoned(jiff::tz::TimeZone::UTC).date();
        let month = u8::try_from(date.month()).expect("a month is 1 to 12");
        let day = u8::try_from(date.day()).expect("a day is 1 to 31");
        rcgen::date_time_ymd(i32::from(date.year()), month, day)
    };
    params.not_before = day(now - BACKDATE);
    params.not_after = day(now + life);
}
