"""Which network addresses a server may be led to by what others typed. Source: IANA's special-purpose registries."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

# What `is_global` does not tell in every version of Python, or what carries an IPv4 address within it.
_CLOSED: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
            "::/8",  # unspecified, loopback, IPv4-compatible and IPv4-mapped
            "64:ff9b::/96", "64:ff9b:1::/48",  # NAT64
            "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",  # Teredo, 6to4, ...
            "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
        ),
    )
)  # fmt: skip


def parse_ranges(text: str) -> tuple[Network, ...]:
    """The networks of a comma-separated list of CIDR. Raises ValueError for anything else."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def is_allowed(address: str, allowed: Sequence[Network]) -> bool:
    """True for a public address, and for one in an allowed range."""
    return is_within(address, allowed) or is_public(address)


def is_within(address: str, ranges: Sequence[Network]) -> bool:
    """Whether one of `ranges` holds the address."""
    found = ip_address(address.partition("%")[0])
    return any(found in network for network in ranges if network.version == found.version)


def is_public(address: str) -> bool:
    """Whether it may be reached from anywhere.

    >>> [is_public(each) for each in ("1.1.1.1", "2606:4700::1111", "127.0.0.1", "::ffff:1.1.1.1", "64:ff9b::101:101")]
    [True, True, False, False, False]
    """
    found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    return found.is_global and not found.is_multicast and not is_within(address, _CLOSED)
