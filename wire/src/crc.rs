/// CRC-8/ITU (catalogue name CRC-8/I-432-1) of `bytes`; §2.
#[must_use]
pub fn crc8_itu(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| shift_byte(crc ^ byte)) ^ FINAL_XOR
}

const fn shift_byte(mut crc: u8) -> u8 {
    let mut bit = 0u8;
    while bit < 8 {
        let carry = crc & 0x80 != 0;
        crc <<= 1;
        if carry {
            crc ^= POLYNOMIAL;
        }
        bit = bit.wrapping_add(1);
    }
    crc
}

const POLYNOMIAL: u8 = 0x07;
const FINAL_XOR: u8 = 0x55;
