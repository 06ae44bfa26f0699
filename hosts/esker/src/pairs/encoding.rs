//! Bytes as text: UTF-8 as it stands, hexadecimal, base64.

use data_encoding::{BASE64, DecodeError, DecodeKind, HEXLOWER, HEXLOWER_PERMISSIVE};

use super::Bad;
use crate::arguments::Encoding;

/// Appends the bytes that `text` stands for.
pub fn decode(encoding: Encoding, text: &[u8], bytes: &mut Vec<u8>) -> Result<(), Bad> {
    match encoding {
        Encoding::Text => match std::str::from_utf8(text) {
            Ok(_) => bytes.extend_from_slice(text),
            Err(error) => {
                return Err(Bad::new(
                    error.valid_up_to(),
                    "not UTF-8; write keys and values in hex or base64, and say `--encoding hex` or `base64`",
                ));
            }
        },
        Encoding::Hex => permissive(&HEXLOWER_PERMISSIVE, text, bytes, |kind| match kind {
            DecodeKind::Length => "hex has two digits for each byte, and here is one too few",
            _ => "not a hexadecimal digit, as `--encoding hex` wants them",
        })?,
        Encoding::Base64 => permissive(&BASE64, text, bytes, |kind| match kind {
            DecodeKind::Symbol => {
                "not a letter of base64 (A-Z a-z 0-9 + /), as `--encoding base64` wants them"
            }
            _ => {
                "not base64 as `--encoding base64` wants it: groups of four letters, the last one filled up with ="
            }
        })?,
    }
    Ok(())
}

fn permissive(
    encoding: &data_encoding::Encoding,
    text: &[u8],
    bytes: &mut Vec<u8>,
    why: impl Fn(DecodeKind) -> &'static str,
) -> Result<(), Bad> {
    let bad = |error: DecodeError| Bad::new(error.position, why(error.kind));
    let most = encoding.decode_len(text.len()).map_err(bad)?;
    let start = bytes.len();
    bytes.resize(start + most, 0);
    match encoding.decode_mut(text, &mut bytes[start..]) {
        Ok(len) => {
            bytes.truncate(start + len);
            Ok(())
        }
        Err(partial) => {
            bytes.truncate(start);
            Err(bad(partial.error))
        }
    }
}

/// Appends the text for these bytes; `Err`: they are not UTF-8, and there is none.
pub fn encode(encoding: Encoding, bytes: &[u8], text: &mut String) -> Result<(), NotText> {
    match encoding {
        Encoding::Text => text.push_str(std::str::from_utf8(bytes).map_err(|_| NotText)?),
        Encoding::Hex => HEXLOWER.encode_append(bytes, text),
        Encoding::Base64 => BASE64.encode_append(bytes, text),
    }
    Ok(())
}

/// The bytes are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotText;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(encoding: Encoding, text: &[u8]) -> Result<Vec<u8>, usize> {
        let mut bytes = b"before ".to_vec();
        match decode(encoding, text, &mut bytes) {
            Ok(()) => Ok(bytes.strip_prefix(b"before ").unwrap().to_vec()),
            Err(bad) => {
                assert_eq!(bytes, b"before ", "nothing is left of what is refused");
                Err(bad.at)
            }
        }
    }

    #[test]
    fn what_is_wrong_is_found_where_it_is() {
        assert_eq!(decoded(Encoding::Text, b"abc\xFFd"), Err(3));
        assert_eq!(decoded(Encoding::Text, "\u{fc}\0".as_bytes()), Ok(b"\xc3\xbc\0".to_vec()));
        assert_eq!(decoded(Encoding::Hex, b"00ffAb"), Ok(vec![0, 255, 0xab]));
        assert_eq!(decoded(Encoding::Hex, b"00f"), Err(2));
        assert_eq!(decoded(Encoding::Hex, b"00fg"), Err(3));
        assert_eq!(decoded(Encoding::Hex, b"0 00"), Err(1));
        assert_eq!(decoded(Encoding::Base64, b"YWI="), Ok(b"ab".to_vec()));
        assert_eq!(decoded(Encoding::Base64, b"YW-="), Err(2));
        assert_eq!(decoded(Encoding::Base64, b"YWI"), Err(0));
        assert!(decoded(Encoding::Base64, b"YWJ=").is_err(), "bits that no byte has");
        for encoding in [Encoding::Text, Encoding::Hex, Encoding::Base64] {
            assert_eq!(decoded(encoding, b""), Ok(Vec::new()));
        }
    }

    #[test]
    fn text_is_not_what_is_not_utf_8() {
        assert_eq!(encode(Encoding::Text, b"\xFF", &mut String::new()), Err(NotText));
    }

    proptest! {
        #![proptest_config(crate::pairs::property_config())]

        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            for encoding in [Encoding::Text, Encoding::Hex, Encoding::Base64] {
                let mut text = String::new();
                if encode(encoding, &bytes, &mut text).is_ok() {
                    prop_assert_eq!(decoded(encoding, text.as_bytes()), Ok(bytes.clone()));
                } else {
                    prop_assert_eq!(encoding, Encoding::Text);
                }
            }
        }
    }
}
