//! Netmasks: `ip` takes them in place of a prefix length, a hook's functions do not.

use std::net::Ipv4Addr;

use super::{Arg, join};
use crate::port::ir::Expr;
use crate::port::lower::Lower;

/// The prefix length that a netmask stands for, if its bits are in a row.
pub(super) fn length(mask: &str) -> Option<u32> {
    let bits = u32::from(mask.parse::<Ipv4Addr>().ok()?);
    let is_mask = bits.leading_ones() + bits.trailing_zeros() >= 32;
    is_mask.then_some(bits.leading_ones())
}

/// The arguments with prefix lengths in place of netmasks, as far as these are known here.
pub(super) fn as_lengths(lower: &Lower<'_>, args: &[Arg]) -> Vec<Arg> {
    args.iter().map(|arg| as_length(lower, arg)).collect()
}

fn as_length(lower: &Lower<'_>, arg: &Arg) -> Arg {
    let given = |value: Expr| Arg {
        text: lower.fixed(&value),
        value,
        split: arg.split,
    };
    let counted = |text: &str| {
        let (address, mask) = text.rsplit_once('/')?;
        Some(format!("{address}/{}", length(mask)?))
    };
    if let Some(text) = &arg.text {
        return counted(text).map_or_else(|| arg.clone(), Arg::fixed);
    }
    let Expr::Join(parts) = &arg.value else {
        return arg.clone();
    };
    // What stands behind the slash, in however many parts.
    let slash = |part: &Expr| matches!(part, Expr::Text(text) if text.contains('/'));
    let Some(at) = parts.iter().rposition(slash) else {
        return arg.clone();
    };
    let (before, behind) = parts.split_at(at);
    let behind = join(behind.to_vec());
    match lower.fixed(&behind).as_deref().and_then(counted) {
        Some(text) => given(join([before, &[Expr::Text(text)]].concat())),
        None => arg.clone(),
    }
}
