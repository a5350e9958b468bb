//! Programs that the API has no function for: a command line with holes, to be granted.

use std::path::Path;

use super::{Arg, Untranslated};
use crate::effect::Hole;
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

/// Programs that do something to files whose names they are given.
const OF_FILES: [&str; 16] = [
    "rm", "mv", "cp", "ln", "mkdir", "rmdir", "chmod", "chown", "chgrp", "install", "cat", "tee",
    "dd", "truncate", "unlink", "test",
];

const AWK: [&str; 3] = ["awk", "gawk", "mawk"];

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
    let here = match lower.path_from_there(Expr::Text(name.to_owned())) {
        Expr::Text(path) if name.contains('/') => path,
        _ => name.to_owned(),
    };
    let name = here.as_str();
    if name.contains('/') && !name.starts_with('/') {
        return Err(format!("{name} has no absolute path"));
    }
    if name.is_empty() || name.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(format!("{name:?} is no program"));
    }
    let mut line = environment(lower);
    line.push(located(lower, name));
    let program = name;
    let mut shape = line.clone();
    let mut holes: Vec<(String, Expr)> = Vec::new();
    let of_files = OF_FILES.contains(&base_of(name));
    for arg in args {
        match &arg.text {
            Some(text) if !(text.starts_with('{') && text.ends_with('}')) => {
                line.push(text.clone());
                shape.push(text.clone());
            }
            // It would be taken for a hole; to awk, a blank at its end is nothing.
            Some(text) if AWK.contains(&base_of(name)) => {
                line.push(format!("{text} "));
                shape.push(text.clone());
            }
            Some(text) if !Hole::Text.takes(text) => {
                return Err(format!("{text:?} would be taken for a hole"));
            }
            Some(text) => {
                let hole = format!("arg{}", holes.len() + 1);
                line.push(format!("{{{hole}:text}}"));
                shape.push("{}".to_owned());
                holes.push((hole, Expr::Text(text.clone())));
            }
            // One file, and no hole that any would fit.
            None if of_files && let Some(path) = lower.path_here(&arg.value) => {
                line.push(path);
                shape.push("{}".to_owned());
            }
            None => {
                if of_files && base_of(name) != "test" && lower.may_be_path(&arg.value) {
                    lower.open(format!(
                        "its grant lets the hook name any file to {}: write the file out there",
                        base_of(name)
                    ));
                }
                let (mut base, mut kind) = hole(lower, arg, holes.len())?;
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
                shape.push("{}".to_owned());
                if !holes.iter().any(|(known, _)| *known == name) {
                    holes.push((name, arg.value.clone()));
                }
            }
        }
    }
    let line: Vec<String> = lower.there().into_iter().chain(line).collect();
    let name = lower.command_name(&line, &shape);
    Ok(Run {
        name,
        argv: line,
        holes,
        must: lower.must_work(),
    })
}

/// The name of a program without its directory.
fn base_of(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
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
    lower: &mut Lower<'_>,
    arg: &Arg,
    number: usize,
) -> Result<(String, &'static str), Untranslated> {
    let value = &arg.value;
    Ok(match value {
        Expr::Dev => ("interface".into(), "dev"),
        Expr::Vip => ("address".into(), "ip"),
        Expr::Cidr => ("cidr".into(), "cidr"),
        Expr::Xparam => ("xparam".into(), kind(lower, arg)?),
        Expr::Var(name) | Expr::Outside(name) => (name.to_lowercase(), kind(lower, arg)?),
        Expr::Join(parts) => match parts.as_slice() {
            [Expr::Vip, Expr::Text(prefix)] if prefix.starts_with('/') => ("cidr".into(), "cidr"),
            [Expr::Text(text), ..] if text.starts_with('-') => {
                return Err(
                    "an option with a value in it cannot be granted: a hole must be a whole argument without a leading dash"
                        .into(),
                );
            }
            _ => (format!("arg{}", number + 1), kind(lower, arg)?),
        },
        _ => (format!("arg{}", number + 1), kind(lower, arg)?),
    })
}

/// What a hole must take: a word, or any text where the value may be another one.
fn kind(lower: &mut Lower<'_>, arg: &Arg) -> Result<&'static str, Untranslated> {
    let value = &arg.value;
    if let Some(values) = lower.values(value) {
        let fits = |hole: Hole| values.iter().all(|text| hole.takes(text));
        return if fits(Hole::Word) {
            Ok("word")
        } else if fits(Hole::Text) {
            Ok("text")
        } else {
            Err("an argument that may begin with a dash fits no hole".into())
        };
    }
    // A part that no word has.
    let odd =
        |part: &Expr| matches!(part, Expr::Text(text) if !Hole::Word.takes(&format!("x{text}")));
    let odd = odd(value) || matches!(value, Expr::Join(parts) if parts.iter().any(odd));
    if lower.is_one_word(value) && !odd {
        return Ok("word");
    }
    // Whoever fills it in sees to it.
    if lower.is_bare(arg) && !lower.is_filled_in(value) {
        lower.guess(format!(
            "{} may be empty or several words, and is taken to be one: where it is not, the command is left out",
            shown(value)
        ));
        return Ok("word");
    }
    Ok(if lower.is_bare(arg) { "word" } else { "text" })
}

/// An argument, as a person knows it.
fn shown(value: &Expr) -> String {
    match value {
        Expr::Var(name) | Expr::Outside(name) => format!("${name}"),
        Expr::Arg(_, number) => format!("${number}"),
        Expr::Xparam => "$3".to_owned(),
        _ => "an argument".to_owned(),
    }
}
