//! Durations and sizes as people write them: `500ms`, `10s`, `16MiB`.

use std::time::Duration;

/// Reads a whole number with `ms`, `s`, `m` or `h`.
///
/// # Errors
/// What is wrong with the text, for the operator.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text, "a duration, as in \"500ms\", \"10s\" or \"1m\"")?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => return Err(format!("{text:?} needs a unit: ms, s, m or h")),
        _ => return Err(format!("{unit:?} is not a unit of time: ms, s, m or h")),
    };
    number
        .checked_mul(millis)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is too long"))
}

/// Reads a whole number with `B`, `KiB`, `MiB` or `GiB`.
///
/// # Errors
/// What is wrong with the text, for the operator.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text, "a size, as in \"64KiB\" or \"16MiB\"")?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "" => return Err(format!("{text:?} needs a unit: B, KiB, MiB or GiB")),
        _ => {
            return Err(format!(
                "{unit:?} is not a unit of size: B, KiB, MiB or GiB"
            ));
        }
    };
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("{text:?} is too large"))
}

/// The shortest way to write a duration that [`parse_duration`] reads back.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

/// The shortest way to write a size that [`parse_size`] reads back.
pub(super) fn show_size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = units
        .iter()
        .find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    fits.map_or_else(
        || format!("{bytes}B"),
        |(shift, unit)| format!("{}{unit}", bytes >> shift),
    )
}

fn split<'t>(text: &'t str, what: &str) -> Result<(u64, &'t str), String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!("{text:?} is not {what}"));
    }
    let number = number
        .parse()
        .map_err(|_| format!("{number} is too large"))?;
    Ok((number, unit.trim_start()))
}
