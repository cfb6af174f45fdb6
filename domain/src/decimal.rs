//! Exact decimals: text to a scaled integer and back, with no float in between.
//!
//! Arrow's own JSON reader truncates digits beyond the scale in silence; here they are an error unless they are zeros.

use std::fmt;

/// Digits that a `Decimal128(18, s)` column holds.
pub const PRECISION: u8 = 18;

/// Why a text is not a decimal of the wanted scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not of the form `[-+]digits[.digits][e[-+]digits]`.
    #[error("not a decimal number")]
    Syntax,
    /// Non-zero digits stand beyond the column's scale.
    #[error("has non-zero digits beyond the scale")]
    TooManyDecimals,
    /// More digits before the decimal point than the column holds.
    #[error("does not fit the column's 18 digits")]
    OutOfRange,
}

/// Reads `text` as `value * 10^scale`, exactly.
///
/// # Errors
/// [`DecimalError`] when the text is no number, would lose a non-zero digit, or does not fit 18 digits.
pub fn parse(text: &str, scale: u32) -> Result<i128, DecimalError> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], parse_exponent(&unsigned[at + 1..])?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || (mantissa.contains('.') && fraction.is_empty()) {
        return Err(DecimalError::Syntax);
    }
    // The digit at index i of `digits` weighs 10^(point - 1 - i) once the scale is applied.
    let point = whole.len() as i64 + exponent + i64::from(scale);
    let mut value: i128 = 0;
    let mut index = 0_i64;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return Err(DecimalError::Syntax);
        }
        let digit = i128::from(byte - b'0');
        if index < point {
            value =
                value.checked_mul(10).and_then(|v| v.checked_add(digit)).ok_or(DecimalError::OutOfRange)?;
        } else if digit != 0 {
            return Err(DecimalError::TooManyDecimals);
        }
        index += 1;
    }
    if value != 0 && index < point {
        let shift = u32::try_from(point - index).map_err(|_| DecimalError::OutOfRange)?;
        value =
            10_i128.checked_pow(shift).and_then(|p| value.checked_mul(p)).ok_or(DecimalError::OutOfRange)?;
    }
    if value >= 10_i128.pow(u32::from(PRECISION)) {
        return Err(DecimalError::OutOfRange);
    }
    Ok(if negative { -value } else { value })
}

fn parse_exponent(text: &str) -> Result<i64, DecimalError> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DecimalError::Syntax);
    }
    // An exponent too long for i32 is far beyond any column; saturating keeps the arithmetic above in range.
    let magnitude = digits.parse::<i32>().unwrap_or(i32::MAX / 2);
    Ok(i64::from(if text.starts_with('-') { -magnitude } else { magnitude }))
}

/// A scaled integer shown as a decimal with exactly `scale` digits after the point.
#[derive(Debug, Clone, Copy)]
pub struct Scaled {
    /// The value times `10^scale`.
    pub value: i128,
    /// Digits after the decimal point.
    pub scale: u32,
}

impl fmt::Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = 10_u128.pow(self.scale);
        let magnitude = self.value.unsigned_abs();
        let sign = if self.value < 0 { "-" } else { "" };
        if self.scale == 0 {
            return write!(f, "{sign}{magnitude}");
        }
        write!(f, "{sign}{}.{:0width$}", magnitude / unit, magnitude % unit, width = self.scale as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_exact_values_and_refuses_loss() {
        assert_eq!(parse("12.34", 4), Ok(123_400));
        assert_eq!(parse("-0.5", 3), Ok(-500));
        assert_eq!(parse("1.2340000", 3), Ok(1_234));
        assert_eq!(parse("1.2345", 3), Err(DecimalError::TooManyDecimals));
        assert_eq!(parse("12e-1", 3), Ok(1_200));
        assert_eq!(parse("1.5E2", 0), Ok(150));
        assert_eq!(parse("0e400", 3), Ok(0));
        assert_eq!(parse("1e400", 3), Err(DecimalError::OutOfRange));
        assert_eq!(parse("1e-400", 3), Err(DecimalError::TooManyDecimals));
        assert_eq!(parse("1e99999999999999999999", 3), Err(DecimalError::OutOfRange));
        assert_eq!(parse("999999999999999.999", 3), Ok(999_999_999_999_999_999));
        assert_eq!(parse("1000000000000000", 3), Err(DecimalError::OutOfRange));
        for text in ["", "-", ".", ".5", "5.", "1e", "1e+", "0x1", "NaN", "1,000", " 1", "1 ", "--1", "1.2.3"]
        {
            assert_eq!(parse(text, 3), Err(DecimalError::Syntax), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = parse(&text, 4);
        }

        #[test]
        fn shown_values_read_back(value in -999_999_999_999_999_999_i128..=999_999_999_999_999_999, scale in 0_u32..=6) {
            prop_assert_eq!(parse(&Scaled { value, scale }.to_string(), scale), Ok(value));
        }

        #[test]
        fn an_exponent_is_a_shifted_point(value in 0_i128..1_000_000, shift in 0_u32..6) {
            let shifted = format!("{value}e-{shift}");
            prop_assert_eq!(parse(&shifted, 6), Ok(value * 10_i128.pow(6 - shift)));
        }
    }
}
