//! Numbers as `strtoul` with base 0 reads them: that is what ucarp does.

/// Decimal, `0x` for hexadecimal, `0` for octal; what follows the digits is ignored, nothing is 0,
/// too much is the largest number, and a minus sign wraps.
pub(super) fn strtoul(text: &str) -> u64 {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (base, digits) =
        match hexadecimal.filter(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit())) {
            Some(rest) => (16, rest),
            None if text.starts_with('0') => (8, text),
            None => (10, text),
        };
    let mut value: u64 = 0;
    for digit in digits.chars().map_while(|c| c.to_digit(base)) {
        match value
            .checked_mul(base.into())
            .and_then(|v| v.checked_add(digit.into()))
        {
            Some(sum) => value = sum,
            None => return u64::MAX,
        }
    }
    if negative {
        value.wrapping_neg()
    } else {
        value
    }
}

/// The lowest byte, as ucarp's `(unsigned char)`.
pub(super) const fn byte(value: u64) -> u8 {
    let [lowest, ..] = value.to_le_bytes();
    lowest
}

/// The lowest four bytes, as ucarp's `(unsigned int)`.
pub(super) const fn word(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_c_library_reads_them() {
        for (text, value) in [
            ("42", 42),
            ("42abc", 42),
            ("0x2a", 42),
            ("0X2A", 42),
            ("052", 42),
            ("08", 0),
            ("0x", 0),
            ("0xg", 0),
            (" \t+42", 42),
            ("abc", 0),
            ("", 0),
            ("-1", u64::MAX),
            ("99999999999999999999", u64::MAX),
            ("-99999999999999999999", u64::MAX),
        ] {
            assert_eq!(strtoul(text), value, "{text:?}");
        }
    }

    #[test]
    fn narrow_numbers_wrap() {
        assert_eq!((byte(300), byte(256), byte(u64::MAX)), (44, 0, 255));
        assert_eq!((word(u64::MAX), word(1 << 32)), (u32::MAX, 0));
    }
}
