//! The caller of a request: its address and program, as far as known.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The longest user agent that is stored, in bytes.
pub const MAX_USER_AGENT: usize = 256;

/// The origin of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The client's address: the peer's, or the one a trusted proxy names.
    pub address: IpAddr,
    /// The `User-Agent` header, cut at [`MAX_USER_AGENT`] bytes; empty if there was none.
    pub user_agent: String,
}

impl Client {
    /// A client at `address`. IPv4-mapped IPv6 addresses are stored as IPv4; a long user agent is
    /// cut at a character boundary.
    pub fn new(address: IpAddr, user_agent: &str) -> Self {
        let end = user_agent.floor_char_boundary(MAX_USER_AGENT);
        let user_agent = user_agent.get(..end).unwrap_or_default().to_owned();
        Self { address: address.to_canonical(), user_agent }
    }

    /// The address block that limits count as one client.
    pub fn block(&self) -> AddressBlock {
        AddressBlock::of(self.address)
    }
}

/// A block of addresses that limits count as one client: a single IPv4 address, or an IPv6 /64, the
/// smallest block that networks assign (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressBlock(IpAddr);

impl AddressBlock {
    /// The block that `address` belongs to.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                Self(IpAddr::V6(Ipv6Addr::from(network)))
            }
        }
    }
}

/// `192.0.2.7`, or `2001:db8:0:1::/64`.
impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(address: &str) -> String {
        AddressBlock::of(address.parse().unwrap()).to_string()
    }

    #[test]
    fn ipv6_counts_by_64_and_ipv4_by_address() {
        assert_eq!(block("2001:db8:0:1:aaaa::1"), "2001:db8:0:1::/64");
        assert_eq!(block("2001:db8:0:1:bbbb::2"), "2001:db8:0:1::/64");
        assert_eq!(block("192.0.2.7"), "192.0.2.7");
        assert_eq!(block("::ffff:192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn a_long_user_agent_is_cut_between_characters() {
        let client = Client::new("::1".parse().unwrap(), &"ä".repeat(200));
        assert_eq!(client.user_agent, "ä".repeat(128));
        let client = Client::new("::1".parse().unwrap(), &format!("x{}", "ä".repeat(200)));
        assert_eq!(client.user_agent.len(), 255);
    }
}
