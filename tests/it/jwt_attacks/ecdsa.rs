//! Signatures of P-256 as numbers: what Wycheproof tries on those who check them.

/// The order of the group (SEC 2, section 2.4.2).
pub(super) const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// `one - other`, modulo 2^256.
pub(super) fn minus(one: &[u8], other: &[u8]) -> [u8; 32] {
    let mut difference = [0; 32];
    let mut borrow = 0_i16;
    for place in (0..32).rev() {
        let digit = i16::from(one[place]) - i16::from(other[place]) - borrow;
        borrow = i16::from(digit < 0);
        difference[place] = digit.rem_euclid(256).to_le_bytes()[0];
    }
    difference
}

/// The other signature of the same message by the same key: `r` and `n - s`.
pub(super) fn twin(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(32);
    [r, &minus(&ORDER, s)].concat()
}

/// Signatures made of this one that are none, or none as JWTs have them (RFC 7518, section 3.4).
pub(super) fn wrong(signature: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (r, s) = signature.split_at(32);
    let (zero, mut one) = ([0; 32], [0; 32]);
    one[31] = 1;
    let before_order = minus(&ORDER, &one);
    let pair = |r: &[u8], s: &[u8]| [r, s].concat();
    vec![
        ("r = 0", pair(&zero, s)),
        ("s = 0", pair(r, &zero)),
        ("r = s = 0", pair(&zero, &zero)),
        ("r = 0, s = 1", pair(&zero, &one)),
        ("r = 1, s = 0", pair(&one, &zero)),
        ("r = s = 1", pair(&one, &one)),
        ("r = n", pair(&ORDER, s)),
        ("s = n", pair(r, &ORDER)),
        ("r = s = n", pair(&ORDER, &ORDER)),
        ("r = n, s = 0", pair(&ORDER, &zero)),
        ("r = s = n - 1", pair(&before_order, &before_order)),
        ("r = s = 2^256 - 1", pair(&[0xff; 32], &[0xff; 32])),
        ("n - r", pair(&minus(&ORDER, r), s)),
        ("-s", pair(r, &minus(&zero, s))),
        ("s and r", pair(s, r)),
        ("DER", der(r, s)),
        ("r alone", r.to_vec()),
        ("a zero before each", [&[0][..], r, &[0], s].concat()),
        ("as for P-384", [&[0; 16][..], r, &[0; 16], s].concat()),
    ]
}

/// ASN.1, as X.509 and most libraries have it.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let start = number.iter().position(|byte| *byte != 0).unwrap_or(31);
        let sign = if number[start] & 0x80 == 0 { &[][..] } else { &[0][..] };
        let length = u8::try_from(sign.len() + 32 - start).unwrap();
        [&[2, length][..], sign, &number[start..]].concat()
    };
    let numbers = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(numbers.len()).unwrap()][..], &numbers].concat()
}
