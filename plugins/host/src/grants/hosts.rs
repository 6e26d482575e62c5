//! Which hosts a plugin may reach, as `plugin.grants.hosts` says it.
//!
//! An entry is a host with a port behind a colon; without one, or with `*`, it stands for all ports. The host is a name
//! (`api.example.com`), all names below one (`*.example.org`, at any depth, but not `example.org`), all names (`*`), an address
//! (`10.1.2.3`, `[2001:db8::1]`) or a network (`10.0.0.0/8`, `[2001:db8::/32]`). A request that names a host is allowed by names, one
//! that gives an address by addresses and networks.
//!
//! What a name resolves to counts as well. Public addresses are reached under any granted name; private ones under a name that stands
//! in full among the entries, not by `*`; loopback, link-local, metadata and other special ones only where an address or network of their kind
//! is an entry itself. `localhost` is the one name that opens loopback, and no `*` stands for it.

use std::fmt;
use std::net::IpAddr;

use penstock_api::config::split_list;

use super::address::{Reach, effective, reach};

/// More would slow each request down.
const ENTRIES_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 253;
const LOCALHOST: &str = "localhost";

/// Hosts that may be reached; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hosts(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    host: Host,
    /// `None`: all.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    AnyName,
    /// All names that end with a dot and this.
    Below(String),
    Name(String),
    Network(IpAddr, u8),
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// In lower case, without a dot at the end.
    Name(String),
    Address(IpAddr),
}

impl Asked {
    /// The host of a URL.
    pub(crate) fn new(host: &str) -> Self {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse() {
            Ok(address) => Asked::Address(address),
            Err(_) => Asked::Name(bare.trim_end_matches('.').to_ascii_lowercase()),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Name(name) => f.write_str(name),
            Asked::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Asked::Address(address) => write!(f, "{address}"),
        }
    }
}

impl Hosts {
    /// Reads a list of entries.
    ///
    /// # Errors
    /// Which entry is wrong, and how it should look.
    pub(crate) fn parse(list: &str) -> Result<Self, String> {
        let entries = split_list(list);
        if entries.len() > ENTRIES_MAX {
            return Err(format!("{} entries: at most {ENTRIES_MAX} are allowed", entries.len()));
        }
        entries.iter().map(|entry| Entry::parse(entry)).collect::<Result<_, _>>().map(Hosts)
    }

    /// Whether there is anything to ask for.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first entry that none of the ceiling's covers.
    pub(crate) fn beyond(&self, ceiling: &Hosts) -> Option<String> {
        let is_covered = |entry: &&Entry| ceiling.0.iter().any(|other| other.covers(entry));
        self.0.iter().find(|entry| !is_covered(entry)).map(ToString::to_string)
    }

    /// Whether somebody may ask for it at all. Addresses of a name are looked at once they are known.
    pub(crate) fn allow(&self, asked: &Asked, port: u16) -> bool {
        match asked {
            Asked::Name(name) => self.at(port).any(|entry| entry.host.stands_for(name)),
            Asked::Address(address) => self.open(effective(*address), port),
        }
    }

    /// Whether somebody may ask for the addresses of a name, for whatever port.
    pub(crate) fn allow_name(&self, name: &str) -> bool {
        self.0.iter().any(|entry| entry.host.stands_for(name))
    }

    /// Whether a connection may go to this address, for somebody who is allowed to ask for it.
    ///
    /// # Errors
    /// What kind of address it is that must not be reached so.
    pub(crate) fn permit(&self, asked: &Asked, address: IpAddr, port: u16) -> Result<(), &'static str> {
        let address = effective(address);
        let reach = reach(address);
        if matches!((asked, reach), (Asked::Name(_), Reach::Public)) || self.open(address, port) {
            return Ok(());
        }
        let Asked::Name(name) = asked else { return Err("not granted") };
        let stands_in_full = self.at(port).any(|entry| entry.host == Host::Name(name.clone()));
        match reach {
            Reach::Private if stands_in_full => Ok(()),
            Reach::Private => Err("private"),
            Reach::Special("loopback") if name == LOCALHOST && stands_in_full => Ok(()),
            Reach::Special(kind) => Err(kind),
            Reach::Public => Ok(()),
        }
    }

    fn at(&self, port: u16) -> impl Iterator<Item = &Entry> {
        self.0.iter().filter(move |entry| entry.port.is_none_or(|granted| granted == port))
    }

    /// Whether an address or network among the entries opens this address.
    fn open(&self, address: IpAddr, port: u16) -> bool {
        self.at(port).any(|entry| matches!(entry.host, Host::Network(base, bits) if opens(base, bits, address)))
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, entry) in self.0.iter().enumerate() {
            write!(f, "{}{entry}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return Err(format!("{text}: a host is listed, not a URL, as in api.example.com:443"));
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inside, behind) = rest.split_once(']').ok_or_else(|| format!("{text}: a bracket is not closed"))?;
                let port = match behind {
                    "" => None,
                    _ => Some(behind.strip_prefix(':').ok_or_else(|| format!("{text}: a port follows a colon"))?),
                };
                (
                    Host::network(inside).ok_or_else(|| format!("{text}: between brackets stands an IPv6 address or network"))?,
                    port,
                )
            }
            None => {
                if text.matches(':').count() > 1 {
                    return Err(format!("{text}: an IPv6 address stands in brackets, as in [2001:db8::1]:443"));
                }
                let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
                (Host::parse(host).map_err(|why| format!("{text}: {why}"))?, port)
            }
        };
        let port = match port {
            None | Some("*") => None,
            Some(number) => match number.parse::<u16>() {
                Ok(port) if port > 0 && !number.starts_with('+') => Some(port),
                _ => return Err(format!("{text}: a port is a number from 1 to 65535, or *")),
            },
        };
        Ok(Self { host, port })
    }

    /// Whether whoever may grant this may grant the other.
    fn covers(&self, other: &Entry) -> bool {
        let has_port = self.port.is_none() || self.port == other.port;
        has_port
            && match (&self.host, &other.host) {
                (_, Host::Name(name)) => self.host.stands_for(name),
                (Host::AnyName, Host::AnyName | Host::Below(_)) => true,
                (Host::Below(own), Host::Below(name)) => own == name || is_below(name, own),
                (Host::Network(base, bits), Host::Network(other, others)) => bits <= others && opens(*base, *bits, *other),
                _ => false,
            }
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(network) = Host::network(text) {
            return Ok(network);
        }
        if text == "*" {
            return Ok(Host::AnyName);
        }
        match text.strip_prefix("*.") {
            Some(name) => name_of(name).map(Host::Below),
            None => name_of(text).map(Host::Name),
        }
    }

    /// An address or a network; of an address with the bits of all.
    fn network(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let all = width(address);
        let bits = bits.map_or(Some(all), |bits| bits.parse().ok().filter(|bits| *bits <= all))?;
        match effective(address) {
            inner if inner == address => (masked(address, bits) == address).then_some(Host::Network(address, bits)),
            inner => (bits == all).then(|| Host::Network(inner, width(inner))),
        }
    }

    /// Whether a name is one of those it stands for.
    fn stands_for(&self, name: &str) -> bool {
        match self {
            Host::Name(own) => own == name,
            Host::AnyName => name != LOCALHOST,
            Host::Below(own) => is_below(name, own),
            Host::Network(..) => false,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::AnyName => f.write_str("*"),
            Host::Below(name) => write!(f, "*.{name}"),
            Host::Name(name) => f.write_str(name),
            Host::Network(base, bits) => {
                let (open, close) = if base.is_ipv6() { ("[", "]") } else { ("", "") };
                let bits = if *bits == width(*base) { String::new() } else { format!("/{bits}") };
                write!(f, "{open}{base}{bits}{close}")
            }
        }?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn is_below(name: &str, above: &str) -> bool {
    name.strip_suffix(above).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
}

/// Whether a network opens an address: it holds it, and if the address is a special one the network is of that kind itself.
fn opens(base: IpAddr, bits: u8, address: IpAddr) -> bool {
    let holds = base.is_ipv4() == address.is_ipv4() && masked(address, bits) == base;
    holds
        && match reach(address) {
            Reach::Special(_) => reach(base) == reach(address),
            Reach::Public | Reach::Private => true,
        }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)).into()),
    }
}

/// A name of a host in lower case.
fn name_of(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label =
        |label: &str| (1..=63).contains(&label.len()) && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_label) {
        return Err("it is no name of a host, address or network. Names hold ASCII letters, digits, - and dots; * stands alone or before \
                    the first dot"
            .to_owned());
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.chars().all(|c| c.is_ascii_digit()) || last.starts_with("0x") {
        return Err("it is no IPv4 address: write four numbers, or a network such as 10.0.0.0/8".to_owned());
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &str) -> Hosts {
        Hosts::parse(list).expect(list)
    }

    /// What becomes of a request for `host` with this port, when the name resolves to `address`.
    fn outcome(grants: &str, host: &str, port: u16, address: &str) -> &'static str {
        let (grants, asked) = (hosts(grants), Asked::new(host));
        if !grants.allow(&asked, port) {
            return "not asked for";
        }
        grants.permit(&asked, address.parse().expect("an address"), port).err().unwrap_or("goes")
    }

    #[test]
    fn entries_read_as_they_are_written() {
        for entry in [
            "api.example.com:443",
            "*.example.org",
            "127.0.0.1:8080",
            "*",
            "10.0.0.0/8",
            "[2001:db8::1]:443",
            "[fd00::/8]",
            "localhost",
        ] {
            assert_eq!(hosts(entry).to_string(), entry);
        }
        assert_eq!(hosts("API.Example.com.:*, *:80").to_string(), "api.example.com, *:80");
        assert!(hosts("").is_empty());
    }

    #[test]
    fn wrong_entries_are_told() {
        for (entry, says) in [
            ("api.example.com:0", "1 to 65535"),
            ("api.example.com:http", "1 to 65535"),
            ("https://api.example.com", "not a URL"),
            ("a.*.com", "no name of a host"),
            ("a..com", "no name of a host"),
            ("münchen.de", "no name of a host"),
            ("::1", "stands in brackets"),
            ("[::1", "not closed"),
            ("[::1]443", "follows a colon"),
            ("[api.example.com]", "between brackets"),
            ("10.0.0.1/8", "no name of a host"),
            ("127.1", "no IPv4 address"),
            ("2130706433", "no IPv4 address"),
            ("a,,b", "no name of a host"),
        ] {
            let why = Hosts::parse(entry).expect_err(entry);
            assert!(why.contains(says), "{entry}: {why}");
        }
    }

    #[test]
    fn names_are_allowed_by_names_and_addresses_by_addresses() {
        for (grants, host, port, expected) in [
            ("api.example.com:443", "api.example.com", 443, "goes"),
            ("api.example.com:443", "API.example.com.", 443, "goes"),
            ("api.example.com:443", "api.example.com", 80, "not asked for"),
            ("api.example.com", "api.example.com", 80, "goes"),
            ("api.example.com", "xapi.example.com", 80, "not asked for"),
            ("*.example.org", "a.b.example.org", 1, "goes"),
            ("*.example.org", "example.org", 1, "not asked for"),
            ("*.example.org", "evilexample.org", 1, "not asked for"),
            ("*.example.org", ".example.org", 1, "not asked for"),
            ("*", "any.where", 1, "goes"),
            ("*", "8.8.8.8", 1, "not asked for"),
            ("8.0.0.0/8", "8.8.8.8", 1, "goes"),
            ("8.0.0.0/8", "9.8.8.8", 1, "not asked for"),
            ("8.0.0.0/8", "dns.example.com", 1, "not asked for"),
            ("", "api.example.com", 443, "not asked for"),
        ] {
            let address = if host == "9.8.8.8" { host } else { "8.8.8.8" };
            assert_eq!(outcome(grants, host, port, address), expected, "{grants}: {host}:{port}");
        }
    }

    #[test]
    fn what_a_name_resolves_to_counts() {
        for (grants, host, address, expected) in [
            ("api.example.com", "api.example.com", "10.0.0.1", "goes"),
            ("*.example.com", "api.example.com", "10.0.0.1", "private"),
            ("*.example.com, 10.0.0.0/24", "api.example.com", "10.0.0.1", "goes"),
            ("api.example.com", "api.example.com", "127.0.0.1", "loopback"),
            ("api.example.com", "api.example.com", "169.254.169.254", "metadata"),
            ("api.example.com", "api.example.com", "::ffff:127.0.0.1", "loopback"),
            ("api.example.com", "api.example.com", "fe80::1", "link-local"),
            ("api.example.com, 127.0.0.1", "api.example.com", "127.0.0.1", "goes"),
            ("api.example.com, 127.0.0.1:81", "api.example.com", "127.0.0.1", "loopback"),
            ("localhost", "localhost", "127.0.0.1", "goes"),
            ("localhost", "localhost", "::1", "goes"),
            ("localhost", "localhost", "169.254.1.1", "link-local"),
            ("*", "localhost", "127.0.0.1", "not asked for"),
            ("*", "2130706433", "127.0.0.1", "loopback"),
            ("*", "app.localhost", "127.0.0.1", "loopback"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.1", "goes"),
            ("127.0.0.1", "[::ffff:127.0.0.1]", "::ffff:127.0.0.1", "goes"),
            ("127.0.0.0/8", "127.0.0.9", "127.0.0.9", "goes"),
            ("0.0.0.0/0", "127.0.0.1", "127.0.0.1", "not asked for"),
            ("0.0.0.0/0", "169.254.169.254", "169.254.169.254", "not asked for"),
            ("0.0.0.0/0", "10.0.0.1", "10.0.0.1", "goes"),
            ("168.63.0.0/16", "168.63.129.16", "168.63.129.16", "not asked for"),
        ] {
            assert_eq!(outcome(grants, host, 80, address), expected, "{grants}: {host} is {address}");
        }
    }

    #[test]
    fn a_ceiling_covers_what_lies_within_it() {
        for (ceiling, wanted, beyond) in [
            ("*.example.org", "api.example.org:443", None),
            ("*.example.org", "*.api.example.org", None),
            ("*.example.org", "example.org", Some("example.org")),
            ("*.example.org:443", "api.example.org", Some("api.example.org")),
            ("*", "*, *.a.b, c.d:1", None),
            ("*", "localhost:80", Some("localhost:80")),
            ("localhost", "localhost:80", None),
            ("*", "127.0.0.1:80", Some("127.0.0.1:80")),
            ("0.0.0.0/0", "127.0.0.1:80", Some("127.0.0.1:80")),
            ("127.0.0.0/8", "127.0.0.1:80", None),
            ("10.0.0.0/8", "10.1.0.0/16:80", None),
            ("10.1.0.0/16", "10.0.0.0/8", Some("10.0.0.0/8")),
            ("0.0.0.0/0", "0.0.0.0/0", None),
            ("[::/0]", "[2001:db8::1]:443", None),
            ("", "a.b", Some("a.b")),
            ("a.b", "", None),
        ] {
            let found = hosts(wanted).beyond(&hosts(ceiling));
            assert_eq!(found.as_deref(), beyond, "{ceiling}: {wanted}");
        }
    }
}
