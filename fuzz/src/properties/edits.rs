//! Changes to a genuine text that bytes can spell: a mutator that knows no signature gets near a
//! token only by starting from one.

/// How many bytes spell one change.
const STEP: usize = 3;

/// The most changes that are made: more of them make no better forgery.
const MOST: usize = 64;

/// `text` after the changes that `script` spells: three bytes each say what to do, where, and with
/// which byte. An empty script changes nothing.
pub fn edited(text: &[u8], script: &[u8]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for step in script.chunks_exact(STEP).take(MOST) {
        let [what, place, with] = [step[0], step[1], step[2]];
        // A place is counted from either end, since a byte does not reach across a token.
        let place = usize::from(place).min(bytes.len().saturating_sub(1));
        let from_end = bytes.len().saturating_sub(1).saturating_sub(place);
        let at = if what & 0x80 == 0 { place } else { from_end };
        match what & 0x03 {
            0 if !bytes.is_empty() => bytes[at] = with,
            1 if !bytes.is_empty() => bytes[at] ^= 1 << (with % 8),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            // Behind the last byte as well.
            _ => bytes.insert(bytes.len().min(at + usize::from(what & 0x80 != 0)), with),
        }
    }
    bytes
}
