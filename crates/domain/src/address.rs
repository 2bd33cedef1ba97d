//! Which addresses a webhook may call. Pure: it judges an address, it never resolves a name.
//!
//! An address is public only if nothing speaks against it: IPv4 by the IANA special-purpose
//! registry, IPv6 by default-deny. What an address embeds (mapped, NAT64, 6to4, Teredo and
//! their kin) is judged as well, because the packet may end up there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
pub use url::Host;

/// What kind of place an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// On the public internet; may always be called.
    Public,
    /// Private, loopback, shared or otherwise special; closed until the operator opens it.
    Private,
    /// Carries an IPv4 address inside an IPv6 one. Closed until the operator opens it, and even
    /// then what it carries must be callable itself.
    Embedding,
    /// Link-local or a cloud's metadata service; never open.
    LinkLocalOrMetadata,
    /// Unspecified, "this network", multicast or broadcast: no endpoint lives there. Never open.
    NotUnicast,
}

/// Why an address may not be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The address as judged: unmapped where it was an IPv4-mapped one.
    pub address: IpAddr,
    pub class: AddressClass,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.class {
            AddressClass::Public => "is public",
            AddressClass::Private => "is not a public address",
            AddressClass::Embedding => "carries another address inside",
            AddressClass::LinkLocalOrMetadata => "is a link-local or metadata address",
            AddressClass::NotUnicast => "is not the address of one host",
        };
        write!(f, "{} {why}", self.address)
    }
}

impl std::error::Error for Refused {}

/// The networks that the operator opened, on top of the public internet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenNetworks(Vec<IpNet>);

impl OpenNetworks {
    /// Reads CIDRs such as `10.0.0.0/8` or `fd00::/8`; a bare address opens that one address.
    ///
    /// # Errors
    /// A sentence naming the first entry that is not a network.
    pub fn parse<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, String> {
        let networks = entries.into_iter().map(|entry| parse_network(entry.as_ref().trim()));
        networks.collect::<Result<Vec<_>, _>>().map(Self)
    }

    /// The networks, as they were opened.
    #[must_use]
    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }

    /// Worth a warning at start: `0.0.0.0/0` or `::/0` is among them.
    #[must_use]
    pub fn opens_everything(&self) -> bool {
        self.0.iter().any(|network| network.prefix_len() == 0)
    }

    /// Judges one address, and every address that it carries inside.
    ///
    /// # Errors
    /// The address that spoke against it, and why.
    pub fn may_call(&self, address: IpAddr) -> Result<(), Refused> {
        let outer = canonical(address);
        self.judge(outer)?;
        embedded(outer).into_iter().try_for_each(|inner| self.judge(IpAddr::V4(inner)))
    }

    /// Whether the operator opened a network that holds this address, and it may be called.
    /// Plain `http` asks for this; a public address alone is not enough.
    #[must_use]
    pub fn is_opened(&self, address: IpAddr) -> bool {
        self.holds(canonical(address)) && self.may_call(address).is_ok()
    }

    fn judge(&self, address: IpAddr) -> Result<(), Refused> {
        let class = class_of(address);
        let is_callable = match class {
            AddressClass::Public => true,
            AddressClass::Private | AddressClass::Embedding => self.holds(address),
            AddressClass::LinkLocalOrMetadata | AddressClass::NotUnicast => false,
        };
        if is_callable { Ok(()) } else { Err(Refused { address, class }) }
    }

    fn holds(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Judges the host of a URL where it is a literal address. Names pass: they are judged at each
/// connection, when it is known where they lead.
///
/// # Errors
/// The literal address may not be called.
pub fn judge_literal_host<S: AsRef<str>>(host: Host<S>, open_networks: &OpenNetworks) -> Result<(), Refused> {
    let literal = match host {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        // The URL parser finds every numeric form; this holds even if a caller did not use it.
        Host::Domain(name) => {
            let name = name.as_ref();
            let inside = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
            inside.parse().ok()
        }
    };
    literal.map_or(Ok(()), |address| open_networks.may_call(address))
}

/// The address that a connection really goes to: IPv4-mapped IPv6 addresses are IPv4.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The kind of an address, by itself; what it embeds is not looked at.
#[must_use]
pub fn class_of(address: IpAddr) -> AddressClass {
    match canonical(address) {
        IpAddr::V4(v4) => class_of_v4(v4),
        IpAddr::V6(v6) => class_of_v6(v6),
    }
}

/// Every IPv4 address that an IPv6 address may be translated or tunnelled to.
#[must_use]
pub fn embedded(address: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(v6) = address else {
        return Vec::new();
    };
    let s = v6.segments();
    let low = v4_of(s[6], s[7]);
    match s {
        _ if is_in(v6, &[LOOPBACK_V6]) => Vec::new(),
        // NAT64 (RFC 6052), IPv4-compatible, mapped and translated (RFC 2765, 4291).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0, 0 | 0xffff, ..] => vec![low],
        [0, 0, 0, 0, 0xffff, 0, ..] => vec![low],
        // 6to4 (RFC 3056).
        [0x2002, a, b, ..] => vec![v4_of(a, b)],
        // Teredo (RFC 4380): the server, and the client with its bits inverted.
        [0x2001, 0, a, b, ..] => vec![v4_of(a, b), v4_of(!s[6], !s[7])],
        _ if is_isatap(s) => vec![low],
        _ => Vec::new(),
    }
}

/// Interface identifiers of RFC 5214, whatever the network in front of them.
fn is_isatap(s: [u16; 8]) -> bool {
    s[4] & !0x0300 == 0 && s[5] == 0x5efe
}

fn v4_of(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

fn class_of_v4(address: Ipv4Addr) -> AddressClass {
    let found = V4_SPECIAL.iter().find(|(network, _)| network.contains(&address));
    found.map_or(AddressClass::Public, |(_, class)| *class)
}

fn class_of_v6(address: Ipv6Addr) -> AddressClass {
    if let Some((_, class)) = V6_SPECIAL.iter().find(|(network, _)| network.contains(&address)) {
        return *class;
    }
    if !embedded(IpAddr::V6(address)).is_empty() {
        AddressClass::Embedding
    } else if is_in(address, &[V6_GLOBAL]) && !is_in(address, &V6_NOT_GLOBAL) {
        AddressClass::Public
    } else {
        AddressClass::Private
    }
}

fn is_in(address: Ipv6Addr, networks: &[Ipv6Net]) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

fn parse_network(entry: &str) -> Result<IpNet, String> {
    let network = match entry.parse::<IpNet>() {
        Ok(network) => network.trunc(),
        Err(_) => entry
            .parse::<IpAddr>()
            .map(IpNet::from)
            .map_err(|_| format!("`{entry}` is not a network such as 10.0.0.0/8"))?,
    };
    // Addresses are unmapped before they are judged, so a mapped network would open nothing.
    let is_mapped = matches!(network, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some());
    if is_mapped {
        return Err(format!("`{entry}` is an IPv4-mapped network: write it as IPv4"));
    }
    Ok(network)
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(s: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = s;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

use AddressClass::{Embedding, LinkLocalOrMetadata, NotUnicast, Private};

/// IANA IPv4 Special-Purpose Address Registry, multicast, and the metadata services outside
/// link-local. The first row that holds an address decides, so exceptions stand at the top.
const V4_SPECIAL: [(Ipv4Net, AddressClass); 22] = [
    (v4(255, 255, 255, 255, 32), NotUnicast),
    (v4(100, 100, 100, 200, 32), LinkLocalOrMetadata), // Alibaba Cloud
    (v4(168, 63, 129, 16, 32), LinkLocalOrMetadata),   // Azure: a public number, a local service
    (v4(192, 0, 0, 192, 32), LinkLocalOrMetadata),     // Oracle Cloud, classic
    (v4(169, 254, 0, 0, 16), LinkLocalOrMetadata),
    (v4(0, 0, 0, 0, 8), NotUnicast),
    (v4(224, 0, 0, 0, 4), NotUnicast),
    (v4(10, 0, 0, 0, 8), Private),
    (v4(100, 64, 0, 0, 10), Private),
    (v4(127, 0, 0, 0, 8), Private),
    (v4(172, 16, 0, 0, 12), Private),
    (v4(192, 0, 0, 0, 24), Private),
    (v4(192, 0, 2, 0, 24), Private),
    (v4(192, 31, 196, 0, 24), Private),
    (v4(192, 52, 193, 0, 24), Private),
    (v4(192, 88, 99, 0, 24), Private),
    (v4(192, 168, 0, 0, 16), Private),
    (v4(192, 175, 48, 0, 24), Private),
    (v4(198, 18, 0, 0, 15), Private),
    (v4(198, 51, 100, 0, 24), Private),
    (v4(203, 0, 113, 0, 24), Private),
    (v4(240, 0, 0, 0, 4), Private),
];

/// IPv6 addresses that no opened network opens, and the one embedding form whose inner address
/// cannot be read because its place depends on the operator (RFC 8215).
const V6_SPECIAL: [(Ipv6Net, AddressClass); 8] = [
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), NotUnicast),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), NotUnicast),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), LinkLocalOrMetadata),
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32), LinkLocalOrMetadata), // AWS
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0], 32), LinkLocalOrMetadata),  // Google Cloud
    (v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128), LinkLocalOrMetadata), // Oracle Cloud
    (v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128), LinkLocalOrMetadata), // Scaleway
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), Embedding),
];

const LOOPBACK_V6: Ipv6Net = v6([0, 0, 0, 0, 0, 0, 0, 1], 128);

/// What IANA gives to the regional registries; everything else is closed.
const V6_GLOBAL: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// The special-purpose rows inside it: protocol assignments, documentation, 6to4, AS112.
const V6_NOT_GLOBAL: [Ipv6Net; 5] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("the test wrote an address")
    }

    fn opened(networks: &[&str]) -> OpenNetworks {
        OpenNetworks::parse(networks).expect("the test wrote networks")
    }

    fn judge(url: &str, networks: &[&str]) -> Result<(), Refused> {
        let url = Url::parse(url).expect("the test wrote a URL");
        judge_literal_host(url.host().expect("it has a host"), &opened(networks))
    }

    /// First and last addresses of every row of both IANA special-purpose registries, the
    /// multicast blocks and the deprecated site-local one.
    const REGISTRY_ROWS: [&str; 52] = [
        "0.0.0.0/8",
        "0.0.0.0/32",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.0.0/29",
        "192.0.0.8/32",
        "192.0.0.9/32",
        "192.0.0.10/32",
        "192.0.0.170/32",
        "192.0.0.171/32",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.88.99.2/32",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "240.0.0.0/4",
        "255.255.255.255/32",
        "224.0.0.0/4",
        "::1/128",
        "::/128",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "100:0:0:1::/64",
        "2001::/23",
        "2001::/32",
        "2001:1::1/128",
        "2001:1::2/128",
        "2001:1::3/128",
        "2001:2::/48",
        "2001:3::/32",
        "2001:4:112::/48",
        "2001:10::/28",
        "2001:20::/28",
        "2001:30::/28",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
    ];

    #[test]
    fn no_row_of_the_special_registries_is_public() {
        for row in REGISTRY_ROWS.into_iter().chain(["ff00::/8", "fec0::/10", "4000::/3", "::/96"]) {
            let network: IpNet = row.parse().expect("a network");
            for address in [network.network(), network.broadcast()] {
                // The mapped block holds public IPv4 addresses: only its own end is special.
                let class = class_of(address);
                assert_ne!(class, AddressClass::Public, "{address} of {row}");
                assert!(OpenNetworks::default().may_call(address).is_err(), "{address} of {row}");
            }
        }
    }

    #[test]
    fn public_addresses_may_be_called() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "168.63.129.15",
            "2606:4700:4700::1111",
            "2001:200::1",
            "2a00:1450:4001::1",
            "2003::",
            "2001:db9::",
            "3ffe:ffff::",
            "2620:4f:8001::",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(OpenNetworks::default().may_call(ip(address)), Ok(()), "{address}");
        }
    }

    #[test]
    fn every_way_to_write_a_closed_address_in_a_url_is_refused() {
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "0X7F.0.0.1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "0",
            "0.0.0.0",
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "[::1]",
            "[::]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[::ffff:0:127.0.0.1]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b::8.8.8.8]",
            "[2002:7f00:1::]",
            "[2002:808:808::1]",
            "[2001::1]",
            "[2001:0:808:808::f5f5:f5f5]",
            "[fe80::1]",
            "[fec0::1]",
            "[fd00:ec2::254]",
            "[ff02::1]",
            "[100::1]",
            "[5f00::1]",
            "[2606:4700::5efe:10.0.0.1]",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
        ] {
            let url = format!("https://{host}/hook");
            assert!(judge(&url, &[]).is_err(), "{url}");
        }
    }

    #[test]
    fn names_pass_until_it_is_known_where_they_lead() {
        for url in ["https://example.com/", "https://localhost/", "https://8.8.8.8/"] {
            assert_eq!(judge(url, &[]), Ok(()), "{url}");
        }
    }

    #[test]
    fn a_literal_that_no_url_parser_saw_is_refused_too() {
        for name in ["127.0.0.1", "[::1]", "::1"] {
            assert!(judge_literal_host(Host::Domain(name), &opened(&[])).is_err(), "{name}");
        }
    }

    #[test]
    fn an_opened_network_is_callable_and_nothing_next_to_it() {
        let networks = opened(&["10.1.2.3/8", "fd12::/16", "127.0.0.1"]);
        for open in ["10.255.0.1", "fd12::1", "127.0.0.1", "::ffff:10.0.0.1"] {
            assert_eq!(networks.may_call(ip(open)), Ok(()), "{open}");
            assert!(networks.is_opened(ip(open)), "{open}");
        }
        for closed in ["127.0.0.2", "192.168.0.1", "fd13::1", "::1"] {
            assert!(networks.may_call(ip(closed)).is_err(), "{closed}");
        }
        assert!(!networks.is_opened(ip("8.8.8.8")), "public, but not opened");
    }

    #[test]
    fn link_local_and_metadata_stay_closed_when_everything_is_open() {
        let networks = opened(&["0.0.0.0/0", "::/0"]);
        assert!(networks.opens_everything());
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "2001:0:a9fe:a9fe::1",
            "2001:0:808:808::5601:5601",
            "2606:4700::5efe:169.254.169.254",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(networks.may_call(ip(address)).is_err(), "{address}");
        }
        assert_eq!(networks.may_call(ip("::1")), Ok(()));
    }

    #[test]
    fn an_opened_nat64_prefix_leads_only_to_callable_addresses() {
        let networks = opened(&["64:ff9b::/96"]);
        assert_eq!(networks.may_call(ip("64:ff9b::8.8.8.8")), Ok(()));
        let refused = networks.may_call(ip("64:ff9b::10.0.0.1")).expect_err("private inside");
        assert_eq!(refused.address, ip("10.0.0.1"));
    }

    #[test]
    fn a_mistyped_network_is_named() {
        for entry in ["10.0.0.0/33", "ten", "", "::ffff:127.0.0.0/104"] {
            let error = OpenNetworks::parse([entry]).expect_err("no network");
            assert!(error.contains(&format!("`{entry}`")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_mapped_address_is_judged_as_what_it_maps(bits: u32) {
            let plain = Ipv4Addr::from_bits(bits);
            let mapped = IpAddr::V6(plain.to_ipv6_mapped());
            prop_assert_eq!(class_of(mapped), class_of(IpAddr::V4(plain)));
        }

        #[test]
        fn no_embedded_form_is_callable_by_default(bits: u32) {
            let [a, b] = [(bits >> 16) as u16, bits as u16];
            for address in [
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b),
                Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, a, b, 0, 0, !a, !b),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, a, b),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, a, b),
            ] {
                prop_assert!(OpenNetworks::default().may_call(IpAddr::V6(address)).is_err());
            }
        }

        #[test]
        fn a_public_ipv6_address_lies_in_the_global_block(bits: u128) {
            let address = Ipv6Addr::from_bits(bits);
            if class_of(IpAddr::V6(address)) == AddressClass::Public {
                prop_assert_eq!(bits >> 125, 1);
            }
        }

        #[test]
        fn what_is_closed_for_good_is_closed_under_any_opening(low: u16, prefix in 0_u8..=16) {
            let link_local = Ipv4Addr::new(169, 254, (low >> 8) as u8, low as u8);
            let network = Ipv4Net::new(link_local, prefix).expect("a prefix").to_string();
            prop_assert!(opened(&[&network]).may_call(IpAddr::V4(link_local)).is_err());
        }
    }
}
