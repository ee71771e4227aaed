//! `host:port` of a node: a name, an IPv4 address, or an IPv6 address in brackets.

use std::fmt;

/// A host and a port; the host is resolved at each dial, so that a moved name is found again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    host: String,
    port: u16,
}

/// What is wrong with an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No colon before the port.
    #[error("no port; write host:port")]
    NoPort,
    /// The port is not a number from 1 to 65535.
    #[error("port \"{0}\" is not 1 to 65535")]
    Port(String),
    /// The host is empty or has characters that no host has.
    #[error("host \"{0}\" is not a name, an IPv4 address or an IPv6 address in brackets")]
    Host(String),
}

impl Address {
    /// Reads `host:port`; a leading `http://` is ignored, as etcd's settings have it.
    ///
    /// # Errors
    /// When host or port are missing or malformed.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let text = text.trim();
        let text = text.strip_prefix("http://").unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
        let number: u16 = port.parse().map_err(|_| AddressError::Port(port.to_owned()))?;
        if number == 0 {
            return Err(AddressError::Port(port.to_owned()));
        }
        Ok(Address { host: host_of(host)?, port: number })
    }

    /// The host without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn host_of(text: &str) -> Result<String, AddressError> {
    let bad = || AddressError::Host(text.to_owned());
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        inner.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
        return Ok(inner.to_owned());
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if text.is_empty() || text.len() > 253 || !text.bytes().all(allowed) {
        return Err(bad());
    }
    Ok(text.to_owned())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_both_kinds_of_address_parse() {
        for text in ["db-1.example:7001", "10.0.0.1:1", "[fe80::1]:65535"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(Address::parse("host"), Err(AddressError::NoPort));
        assert_eq!(Address::parse("host:0"), Err(AddressError::Port("0".to_owned())));
        assert_eq!(Address::parse("host:70000"), Err(AddressError::Port("70000".to_owned())));
        assert_eq!(Address::parse("a b:1"), Err(AddressError::Host("a b".to_owned())));
        assert_eq!(Address::parse("::1:80"), Err(AddressError::Host("::1".to_owned())));
    }
}
