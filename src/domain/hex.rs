//! 16 bytes as 32 lower-case hexadecimal digits.

use std::fmt;

/// Writes the digits to `f`.
pub(crate) fn write(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(std::str::from_utf8(&digits(bytes)).unwrap_or_default())
}

/// The digits as text.
pub(crate) fn text<T: for<'a> From<&'a str>>(bytes: &[u8; 16]) -> T {
    std::str::from_utf8(&digits(bytes)).unwrap_or_default().into()
}

/// Every request has some made, and formatting a number as hexadecimal takes ten times as long.
fn digits(bytes: &[u8; 16]) -> [u8; 32] {
    let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' + half - 10 };
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
    digits
}

/// Reads 32 lower-case hexadecimal digits; anything else is `None`.
pub(crate) fn parse16(text: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(text, 16).ok()?;
    // A sign, upper case or another number of digits would be read as well.
    (format!("{number:032x}") == text).then(|| number.to_be_bytes())
}

/// What an identifier of 16 bytes has in common with others: its bytes, and its text of 32 digits
/// in `Display`, `Debug` and serde.
macro_rules! identifier {
    ($id:ident) => {
        impl $id {
            /// The identifier with these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Reads 32 lower-case hexadecimal digits.
            pub fn parse(text: &str) -> Option<Self> {
                $crate::domain::hex::parse16(text).map(Self)
            }
        }

        impl std::fmt::Display for $id {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::domain::hex::write(&self.0, f)
            }
        }

        impl std::fmt::Debug for $id {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($id))
            }
        }

        impl serde::Serialize for $id {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $id {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not 32 hex digits"))
            }
        }
    };
}
pub(crate) use identifier;
