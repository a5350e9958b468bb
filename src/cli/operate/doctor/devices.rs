//! What `ip` says of the devices of this network namespace, as far as checks need it.

use std::net::IpAddr;
use std::process::Command;

use serde::Deserialize;

/// A network device.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Device {
    #[serde(rename = "ifname")]
    pub(super) name: String,
    #[serde(rename = "ifindex")]
    pub(super) index: u32,
    /// The bridge, bond or VRF that it is a port of.
    pub(super) master: Option<String>,
    #[serde(default)]
    pub(super) flags: Vec<String>,
    #[serde(default, rename = "linkinfo")]
    pub(super) kind: Kind,
    #[serde(default, rename = "addr_info")]
    pub(super) addresses: Vec<Address>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Kind {
    #[serde(default, rename = "info_kind")]
    pub(super) name: String,
    #[serde(default, rename = "info_data")]
    pub(super) data: Data,
    #[serde(default, rename = "info_slave_data")]
    pub(super) port: Port,
}

/// Of a bridge.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Data {
    #[serde(default, rename = "mcast_snooping")]
    pub(super) snoops: u8,
    #[serde(default, rename = "mcast_querier")]
    pub(super) queries: u8,
}

/// Of a port of a bridge.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Port {
    #[serde(rename = "mcast_flood")]
    pub(super) floods_multicast: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Address {
    #[serde(rename = "local")]
    pub(super) address: Option<IpAddr>,
    #[serde(default, rename = "prefixlen")]
    pub(super) prefix: u8,
}

impl Device {
    pub(super) fn is_up(&self) -> bool {
        self.flags.iter().any(|flag| flag == "UP")
    }

    /// Its addresses with their prefix lengths.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (IpAddr, u8)> + '_ {
        self.addresses
            .iter()
            .filter_map(|one| Some((one.address?, one.prefix)))
    }
}

/// All devices here, or why they cannot be listed.
pub(super) fn list() -> Result<Vec<Device>, String> {
    let output = Command::new("ip")
        .args(["-json", "-details", "address", "show"])
        .output()
        .map_err(|error| format!("cannot run ip: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    parse(&output.stdout)
}

fn parse(json: &[u8]) -> Result<Vec<Device>, String> {
    // Each by itself: a device of a kind that says the same words of something else is no reason to
    // see none.
    let devices: Vec<serde_json::Value> = serde_json::from_slice(json)
        .map_err(|error| format!("ip says something else than expected: {error}"))?;
    Ok(devices
        .into_iter()
        .filter_map(|device| serde_json::from_value(device).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_and_their_ports_are_read() {
        let json = br#"[
            {"ifindex":2,"ifname":"br0","flags":["BROADCAST","MULTICAST","UP"],"linkinfo":{"info_kind":"bridge","info_data":{"mcast_snooping":1,"mcast_querier":0}},
             "addr_info":[{"family":"inet","local":"10.0.0.1","prefixlen":24},{"family":"inet6","local":"fe80::1","prefixlen":64}]},
            {"ifindex":3,"ifname":"e0","flags":[],"master":"br0","linkinfo":{"info_slave_kind":"bridge","info_slave_data":{"mcast_flood":false}},"addr_info":[]},
            {}, {"ifindex":4,"ifname":"x","addr_info":[{}]}
        ]"#;
        let devices = parse(json).unwrap();
        let [bridge, port, odd] = devices.as_slice() else {
            panic!("{devices:?}")
        };
        assert!(bridge.is_up() && bridge.kind.name == "bridge");
        assert_eq!((bridge.kind.data.snoops, bridge.kind.data.queries), (1, 0));
        assert_eq!(bridge.addresses().count(), 2);
        assert_eq!(port.master.as_deref(), Some("br0"));
        assert_eq!(port.kind.port.floods_multicast, Some(false));
        assert_eq!(odd.addresses().count(), 0);
        assert!(parse(b"Segmentation fault").is_err());
    }
}
