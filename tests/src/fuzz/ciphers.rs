//! SM4-GCM: every implementation of `shangmi` against RustCrypto's.

use aes_gcm::AesGcm;
use shangmi::sm4::{
    Implementation, Sm4Gcm,
    aead::{AeadInOut, KeyInit, consts::U12, inout::InOutBuf},
};

use super::input::Input;

/// What lies around the data, and in an output nothing may be written to.
const FILL: u8 = 0xe7;

/// What every implementation is given, beside the key.
struct Case {
    nonce: [u8; 12],
    aad: Vec<u8>,
    plaintext: Vec<u8>,
    /// Bytes before the data in its buffer: kernels load from any address.
    gap: usize,
}

/// Seals and opens by every implementation; then one bit is changed on the way.
pub(crate) fn sm4_gcm(data: &[u8]) {
    let mut input = Input::new(data);
    let (key, nonce): ([u8; 16], _) = (input.array(), input.array());
    let (aad_len, gap) = (usize::from(input.u8()), usize::from(input.below(64)));
    let (kind, place, bit) = (input.below(4), usize::from(input.u16()), input.below(8));
    let aad = input.take(aad_len).to_vec();
    let case = Case { nonce, aad, plaintext: input.rest().to_vec(), gap };

    let mut ciphertext = case.plaintext.clone();
    let tag = AesGcm::<sm4::Sm4, U12>::new(&key.into())
        .encrypt_inout_detached(&nonce.into(), &case.aad, ciphertext.as_mut_slice().into())
        .expect("a short message");
    let mut changed = Case { aad: case.aad.clone(), plaintext: ciphertext.clone(), ..case };
    let mut changed_tag = tag.0;
    {
        let (tag, nonce) = (changed_tag.as_mut_slice(), changed.nonce.as_mut_slice());
        let changes = [&mut *tag, nonce, &mut changed.aad, &mut changed.plaintext];
        let chosen = changes.into_iter().nth(usize::from(kind)).expect("one of four");
        // Where there is nothing to change, the tag is.
        match chosen.len() {
            0 => changed_tag[place % 16] ^= 1 << bit,
            len => chosen[place % len] ^= 1 << bit,
        }
    }

    for implementation in Implementation::ALL.into_iter().filter(|it| it.is_available()) {
        let cipher = Sm4Gcm::with_implementation(&key, implementation).expect("it is available");
        let sealed = seal(&cipher, &case);
        assert!(sealed == (ciphertext.clone(), tag.0), "{implementation:?} seals otherwise");
        let opened =
            open(&cipher, &Case { aad: case.aad.clone(), plaintext: ciphertext.clone(), ..case }, &tag.0);
        assert!(opened.as_ref() == Some(&case.plaintext), "{implementation:?} opens otherwise");
        assert!(open(&cipher, &changed, &changed_tag).is_none(), "{implementation:?} opens what was changed");
    }
}

/// In place and apart, which must give the same; nothing around the data is touched.
fn seal(cipher: &Sm4Gcm, case: &Case) -> (Vec<u8>, [u8; 16]) {
    let nonce = case.nonce.into();
    let mut buffer = Buffer::holding(&case.plaintext, case.gap);
    let tag =
        cipher.encrypt_inout_detached(&nonce, &case.aad, buffer.data().into()).expect("a short message");
    let mut output = Buffer::holding(&vec![FILL; case.plaintext.len()], 63 - case.gap);
    let apart = InOutBuf::new(&case.plaintext, output.data()).expect("one length");
    let tag_apart = cipher.encrypt_inout_detached(&nonce, &case.aad, apart).expect("a short message");
    assert!(tag == tag_apart, "in place and apart differ");
    let sealed = buffer.into_data();
    assert!(sealed == output.into_data(), "in place and apart differ");
    (sealed, tag.into())
}

/// The plaintext, or none; then the buffer still holds the ciphertext, and an output what it held.
fn open(cipher: &Sm4Gcm, case: &Case, tag: &[u8; 16]) -> Option<Vec<u8>> {
    let (nonce, ciphertext) = (case.nonce.into(), &case.plaintext);
    let mut buffer = Buffer::holding(ciphertext, case.gap);
    let opened = cipher.decrypt_inout_detached(&nonce, &case.aad, buffer.data().into(), tag.into());
    let mut output = Buffer::holding(&vec![FILL; ciphertext.len()], 63 - case.gap);
    let apart = InOutBuf::new(ciphertext, output.data()).expect("one length");
    let opened_apart = cipher.decrypt_inout_detached(&nonce, &case.aad, apart, tag.into());
    assert!(opened.is_ok() == opened_apart.is_ok(), "in place and apart differ");
    let (buffer, output) = (buffer.into_data(), output.into_data());
    if opened.is_err() {
        assert!(buffer == *ciphertext, "refused, and the buffer written to");
        assert!(output.iter().all(|byte| *byte == FILL), "refused, and the output written to");
        return None;
    }
    assert!(buffer == output, "in place and apart differ");
    Some(buffer)
}

/// Data between bytes that are nobody's.
struct Buffer {
    bytes: Vec<u8>,
    gap: usize,
    len: usize,
}

impl Buffer {
    fn holding(data: &[u8], gap: usize) -> Self {
        let bytes = [&vec![FILL; gap], data, &[FILL; 64]].concat();
        Self { bytes, gap, len: data.len() }
    }

    fn data(&mut self) -> &mut [u8] {
        &mut self.bytes[self.gap..self.gap + self.len]
    }

    fn into_data(self) -> Vec<u8> {
        let (before, rest) = self.bytes.split_at(self.gap);
        let (data, after) = rest.split_at(self.len);
        assert!(
            before.iter().chain(after).all(|byte| *byte == FILL),
            "bytes beside the data were written to"
        );
        data.to_vec()
    }
}
