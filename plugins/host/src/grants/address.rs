//! What kind of address an address is: which ones a name alone never opens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How an address is to be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Under any granted name.
    Public,
    /// Under a name that stands in full among the grants, or as an address.
    Private,
    /// As an address only; the word says what it is.
    Special(&'static str),
}

const LOOPBACK: Reach = Reach::Special("loopback");
const LINK_LOCAL: Reach = Reach::Special("link-local");
const METADATA: Reach = Reach::Special("metadata");
const UNSPECIFIED: Reach = Reach::Special("unspecified");
const MULTICAST: Reach = Reach::Special("multicast");
const RESERVED: Reach = Reach::Special("reserved");

/// Where clouds tell machines their credentials, beyond the link-local 169.254.169.254: Alibaba, Azure, Oracle; AWS and Google by IPv6.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// The address that packets reach in the end: an IPv4 address within an IPv6 one (mapped, compatible, NAT64, 6to4) is taken out.
pub(crate) fn effective(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        _ => address,
    }
}

/// Of an [`effective`] address.
pub(crate) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

fn reach_v4(v4: Ipv4Addr) -> Reach {
    match v4.octets() {
        _ if METADATA_V4.contains(&v4) || v4 == Ipv4Addr::new(169, 254, 169, 254) => METADATA,
        [127, ..] => LOOPBACK,
        [169, 254, ..] => LINK_LOCAL,
        // Linux takes 0.0.0.0 for this machine.
        [0, ..] => UNSPECIFIED,
        [224..=239, ..] => MULTICAST,
        [240..=255, ..] | [192, 0, 0, _] => RESERVED,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] | [198, 18..=19, ..] => Reach::Private,
        _ => Reach::Public,
    }
}

fn reach_v6(v6: Ipv6Addr) -> Reach {
    match v6.segments() {
        _ if METADATA_V6.contains(&v6) => METADATA,
        [0, 0, 0, 0, 0, 0, 0, 1] => LOOPBACK,
        [0, 0, 0, 0, 0, 0, 0, _] => UNSPECIFIED,
        [0xfe80..=0xfebf, ..] => LINK_LOCAL,
        [0xff00..=0xffff, ..] => MULTICAST,
        // Unique local, and what was site-local before.
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Reach::Private,
        // All global unicast addresses are in 2000::/3.
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => RESERVED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: Reach) {
        let parsed = address.parse().expect("an address");
        assert_eq!(reach(effective(parsed)), expected, "{address}");
    }

    #[test]
    fn addresses_that_no_name_opens_are_known_in_every_guise() {
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"] {
            check(address, LOOPBACK);
        }
        for address in ["169.254.1.1", "fe80::1", "febf::1", "::ffff:169.254.1.1"] {
            check(address, LINK_LOCAL);
        }
        for address in ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "100.100.100.200"] {
            check(address, METADATA);
        }
        for address in ["0.0.0.0", "::", "0.1.2.3"] {
            check(address, UNSPECIFIED);
        }
        for address in ["224.0.0.1", "ff02::1"] {
            check(address, MULTICAST);
        }
        for address in ["255.255.255.255", "240.0.0.1", "192.0.0.8", "4000::1", "100::1"] {
            check(address, RESERVED);
        }
    }

    #[test]
    fn private_and_public_addresses_are_told_apart() {
        for address in ["10.0.0.1", "172.31.0.1", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12::1", "fec0::1", "::ffff:10.1.1.1"]
        {
            check(address, Reach::Private);
        }
        for address in ["8.8.8.8", "172.32.0.1", "2606:4700::1", "2002:808:808::", "100.128.0.1"] {
            check(address, Reach::Public);
        }
    }
}
