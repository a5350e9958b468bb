//! Virtual machines whose hypervisor filters hardware addresses or carries no multicast.

use super::{Found, Level, Subject};
use crate::config::SourceMac;

/// Where the firmware names who made the machine.
const VENDOR: &str = "/sys/class/dmi/id/sys_vendor";
const PRODUCT: &str = "/sys/class/dmi/id/product_name";

/// A hypervisor or cloud, and what its network does.
struct Kind {
    /// Begins the vendor's or the product's name.
    name: &'static str,
    /// Drops multicast and ARP for addresses that it did not assign.
    is_cloud: bool,
    /// The setting that lets other hardware addresses pass.
    setting: &'static str,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "Amazon EC2",
        is_cloud: true,
        setting: "",
    },
    Kind {
        name: "Google",
        is_cloud: true,
        setting: "",
    },
    Kind {
        name: "DigitalOcean",
        is_cloud: true,
        setting: "",
    },
    Kind {
        name: "Hetzner",
        is_cloud: true,
        setting: "",
    },
    Kind {
        name: "Alibaba Cloud",
        is_cloud: true,
        setting: "",
    },
    Kind {
        name: "VMware",
        is_cloud: false,
        setting: "in the port group: Forged Transmits and MAC Address Changes: Accept; on old switches Promiscuous Mode too",
    },
    Kind {
        name: "Microsoft Corporation",
        is_cloud: false,
        setting: "Set-VMNetworkAdapter -VMName NAME -MacAddressSpoofing On",
    },
];

pub(super) fn check(subject: &Subject<'_>) -> Vec<Found> {
    let read = |path| subject.machine.read(path).unwrap_or_default();
    let (vendor, product) = (read(VENDOR), read(PRODUCT));
    let (vendor, product) = (vendor.trim(), product.trim());
    let Some(kind) = KINDS
        .iter()
        .find(|kind| vendor.starts_with(kind.name) || product.starts_with(kind.name))
    else {
        return Vec::new();
    };
    let seen = format!("{VENDOR}: {vendor}");
    let vhosts = subject.config.vhosts.iter();
    // Where the nodes hear each other, nothing is filtered.
    let is_heard = |name: &crate::types::Name| {
        subject.status.as_ref().is_some_and(|status| {
            status
                .vhosts
                .iter()
                .any(|vhost| vhost.name == *name && vhost.heard.is_some())
        })
    };
    if kind.is_cloud {
        let lost: Vec<_> = vhosts
            .filter(|vhost| vhost.unicast.is_empty() && !is_heard(&vhost.name))
            .collect();
        return if lost.is_empty() {
            Vec::new()
        } else {
            vec![
                Found::new(
                    Level::Error,
                    format!("networks of {} carry no multicast", kind.name),
                )
                .about(lost)
                .seen(seen)
                .so("the nodes do not hear each other: both are master")
                .mend("set `unicast`, and let a hook move the address with the provider's API"),
            ]
        };
    }
    let filtered: Vec<_> = vhosts
        .filter(|vhost| vhost.virtual_mac || vhost.source_mac == SourceMac::Virtual)
        .filter(|vhost| vhost.unicast.is_empty() && !is_heard(&vhost.name))
        .collect();
    if filtered.is_empty() {
        return Vec::new();
    }
    vec![
        Found::new(
            Level::Warning,
            format!(
                "{} drops frames from other hardware addresses unless it is told not to",
                kind.name
            ),
        )
        .about(filtered)
        .seen(seen)
        .so("advertisements come from 00:00:5e:00:01:VHID: the other nodes may never hear them")
        .mend(format!(
            "{}; or set `source-mac = \"interface\"`",
            kind.setting
        )),
    ]
}
