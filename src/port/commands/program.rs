//! Programs that the API has no function for: a command line with holes, to be granted.

use std::path::Path;

use super::{Arg, Untranslated};
use crate::port::ir::{Expr, Run};
use crate::port::lower::Lower;

/// Where programs are looked for, as service(8) has it.
const PATH: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// What signals processes by their numbers.
pub(crate) const KILL: &str = "/usr/bin/kill";

/// Programs that Debian, Red Hat and their kin have in /usr/sbin.
const SBIN: &str = "arp arping arptables bridge brctl chroot conntrack conntrackd dmidecode dmsetup drbdadm \
    drbdsetup ebtables ethtool exportfs fence_node getcap haproxy ifconfig ifdown ifenslave \
    ifup insmod ip ip6tables ip6tables-restore ip6tables-save ipmaddr ipset iptables \
    iptables-restore iptables-save iptunnel ipvsadm iwconfig keepalived killall5 ldconfig \
    logrotate losetup lsmod lvchange lvm mii-tool modinfo modprobe multipath nameif nft nginx \
    ntpdate pidof plipconfig postfix pvs rarp reboot rmmod route rpc.nfsd runuser sendmail \
    service setcap shorewall shutdown squid sshd swapoff swapon sysctl tc tcpdump ucarp ufw \
    update-rc.d vconfig vgchange vgs xtables-multi zebra";

/// And those in /usr/bin.
const BIN: &str = "ab at awk basename bash batch bc bunzip2 bzip2 cat chattr chgrp chmod chown chrt cksum cmp \
    comm cp crontab curl cut date dd df diff dig dirname dmesg docker du echo egrep env expr \
    false fgrep find firewall-cmd flock free ftp fuser gawk getent getopt git gpg grep gzip \
    head host hostname hostnamectl id install ionice ipcalc ipcrm ipcs journalctl jq kill \
    killall kubectl last ln logger loginctl ls lsattr lsblk lsof mail mailx md5sum mkdir \
    mkfifo mknod mktemp mount mountpoint mutt mv mysql mysqladmin mysqldump nc ncat netstat \
    nice nmap nmcli nohup nproc nslookup ntpq openssl passwd perl pgrep php ping ping6 pkill \
    podman printenv printf ps psql pwd python python3 readlink realpath redis-cli renice \
    resolvectl rm rmdir rsync ruby sar scp sed seq setsid sftp sh sha1sum sha256sum sleep \
    snmpget snmpset snmptrap sort split ss ssh stat stdbuf strace stty su sudo sync systemctl \
    systemd-cat systemd-run tac tail tar taskset tee telnet test timedatectl timeout top touch \
    tr traceroute true tty umount uname uniq unlink unzip uptime vtysh w wall watch wc wg wget \
    whoami who write xargs xz yes zcat zip";

/// The command line of a program of its own.
///
/// # Errors
/// An argument that cannot stand in a hole, or a name that is no program's.
pub(crate) fn program(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Run, Untranslated> {
    if name.contains('/') && !name.starts_with('/') {
        return Err(format!("{name} has no absolute path"));
    }
    if name.is_empty() || name.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(format!("{name:?} is no program"));
    }
    let mut line = environment(lower);
    line.push(located(lower, name));
    let program = name;
    let mut holes: Vec<(String, Expr)> = Vec::new();
    for arg in args {
        match &arg.text {
            Some(text) if !(text.starts_with('{') && text.ends_with('}')) => {
                line.push(text.clone());
            }
            Some(text) => return Err(format!("{text:?} would be taken for a hole")),
            None => {
                let (mut base, mut kind) = hole(lower, &arg.value, holes.len())?;
                if program == KILL {
                    // No group of processes, and nothing but the number of one.
                    kind = "int:2..4194304";
                    if !matches!(arg.value, Expr::Var(_)) {
                        "pid".clone_into(&mut base);
                    }
                }
                let fits = |name: &String| {
                    holes
                        .iter()
                        .all(|(known, value)| known != name || *value == arg.value)
                };
                let numbered = (2..=args.len() + 1).map(|n| format!("{base}{n}"));
                let name = std::iter::once(base.clone())
                    .chain(numbered)
                    .find(fits)
                    .unwrap_or_default();
                line.push(format!("{{{name}:{kind}}}"));
                if !holes.iter().any(|(known, _)| *known == name) {
                    holes.push((name, arg.value.clone()));
                }
            }
        }
    }
    let name = lower.command_name(&line);
    Ok(Run {
        name,
        argv: line,
        holes,
        must: lower.is_strict(),
    })
}

/// `env NAME=VALUE` before the program, for what the script exports.
fn environment(lower: &Lower<'_>) -> Vec<String> {
    let given = lower.environment();
    if given.is_empty() {
        return Vec::new();
    }
    std::iter::once("/usr/bin/env".to_owned())
        .chain(given.iter().map(|(name, value)| format!("{name}={value}")))
        .collect()
}

/// Where a program is, or would be.
pub(super) fn place(lower: &mut Lower<'_>, name: &str) -> Result<String, Untranslated> {
    if name.is_empty() || (name.contains('/') && !name.starts_with('/')) {
        return Err(format!("{name:?} is no program"));
    }
    Ok(located(lower, name))
}

/// By the table, so that the same comes out on every machine; otherwise where this machine has it.
fn located(lower: &mut Lower<'_>, name: &str) -> String {
    if name.starts_with('/') {
        return name.to_owned();
    }
    for (directory, programs) in [("/usr/sbin", SBIN), ("/usr/bin", BIN)] {
        if programs.split(' ').any(|known| known == name) {
            return format!("{directory}/{name}");
        }
    }
    let own = lower.path().iter().map(String::as_str);
    let found = own
        .chain(PATH.iter().copied())
        .map(|directory| format!("{}/{name}", directory.trim_end_matches('/')))
        .find(|path| Path::new(path).exists());
    if let Some(path) = &found {
        lower.differs(format!("{path} is where {name} is on this machine"));
    }
    found.unwrap_or_else(|| {
        lower.guess(format!(
            "{name} is no common program, and not on this machine: /usr/sbin/{name} is a guess, correct it in the grants"
        ));
        format!("/usr/sbin/{name}")
    })
}

/// A hole's name and type.
fn hole(
    lower: &Lower<'_>,
    value: &Expr,
    number: usize,
) -> Result<(String, &'static str), Untranslated> {
    Ok(match value {
        Expr::Dev => ("interface".into(), "dev"),
        Expr::Vip => ("address".into(), "ip"),
        Expr::Cidr => ("cidr".into(), "cidr"),
        Expr::Xparam => ("xparam".into(), "word"),
        Expr::Var(name) | Expr::Outside(name) => (name.to_lowercase(), kind(lower, value)?),
        Expr::Join(parts) => match parts.as_slice() {
            [Expr::Vip, Expr::Text(prefix)] if prefix.starts_with('/') => ("cidr".into(), "cidr"),
            [Expr::Text(text), ..] if text.starts_with('-') => {
                return Err(
                    "an option with a value in it cannot be granted: a hole must be a whole argument without a leading dash"
                        .into(),
                );
            }
            parts => {
                // A part that no hole takes would only fail when it runs.
                let fits = |part: &Expr| match part {
                    Expr::Text(text) => crate::effect::Hole::Word.takes(&format!("x{text}")),
                    _ => true,
                };
                if !parts.iter().all(fits) {
                    return Err("an argument with blanks or other signs fits no hole".into());
                }
                (format!("arg{}", number + 1), kind(lower, value)?)
            }
        },
        _ => (format!("arg{}", number + 1), kind(lower, value)?),
    })
}

fn kind(lower: &Lower<'_>, value: &Expr) -> Result<&'static str, Untranslated> {
    let Some(values) = lower.values(value) else {
        return Ok("word");
    };
    let fits = |hole: crate::effect::Hole| values.iter().all(|text| hole.takes(text));
    if fits(crate::effect::Hole::Word) {
        Ok("word")
    } else {
        Err("an argument with blanks or other signs fits no hole".into())
    }
}
